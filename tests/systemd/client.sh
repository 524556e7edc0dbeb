#!/bin/bash
# Inside the container, as a client of the appliance.
#   client.sh issue        one certificate; prints the HTTP status
#   client.sh load FILE    issues until FILE.stop is there; a line with a status, or curl's words, each
set -u
cd /etc/chancery/tls || exit 1
url=https://localhost:8443/v1/acme.dmv.x509/x509-service-api/certificate
body='{"certificateData":{"subjectName":{"commonName":"Leaf","country":"NL"},"isCertificateAuthority":false,
"keyUsage":["DigitalSignature"]},"subjectPublicKeySource":{"type":"key-descriptor","keyDescriptor":
{"type":"kms-hosted-key-descriptor","keyIdPath":"acme.dmv.kms.leaf-1"}},"issuer":{"type":"self-signed"}}'

issue() {
    curl -sS --max-time 60 --cacert ca.pem --cert client.pem --key client.key -o "/run/answer.$$" \
        -w '%{http_code}\n' -H 'Content-Type: application/json' -d "$body" "$url" 2>&1
}

case $1 in
    issue)
        status=$(issue)
        echo "$status"
        [ "$status" = 200 ] || { cat "/run/answer.$$"; exit 1; }
        ;;
    load) until [ -e "$2.stop" ]; do issue; done >>"$2" ;;
esac
