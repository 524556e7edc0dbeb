#!/bin/bash
# Runs inside the container as a client of the service.
#   client.sh issue        one certificate; prints the HTTP status
#   client.sh publish      a VICAL, by a signer whose certificate is issued and stored before; the same
#   client.sh load FILE    issues until FILE.stop is there; a line with a status, or curl's words, each
set -u
cd /etc/chancery/tls || exit 1
url=https://localhost:8443/v1/acme.dmv
x509=$url.x509/x509-service-api

# self_signed KEY MORE: the body of a request for a certificate
self_signed() {
    printf '%s' '{"certificateData":{"subjectName":{"commonName":"Leaf","country":"NL"},
"isCertificateAuthority":false,"keyUsage":["DigitalSignature"]},"subjectPublicKeySource":{"type":"key-descriptor",
"keyDescriptor":{"type":"kms-hosted-key-descriptor","keyIdPath":"acme.dmv.kms.'"$1"'"}},
"issuer":{"type":"self-signed"}'"$2}"
}

# post URL BODY: prints the HTTP status
post() {
    curl -sS --max-time 60 --cacert ca.pem --cert client.pem --key client.key -o "/run/answer.$$" \
        -w '%{http_code}\n' -H 'Content-Type: application/json' -d "$2" "$1" 2>&1
}

issue() { post "$x509/certificate" "$(self_signed leaf-1 '')"; }

# done_with STATUS: prints it, and the answer unless all is well
done_with() {
    echo "$1"
    case $1 in 2??) ;; *) cat "/run/answer.$$" >&2; exit 1 ;; esac
}

case $1 in
    issue) done_with "$(issue)" ;;
    publish)
        signer=',"storedCertificateId":"vical-signer-2026"'
        status=$(post "$x509/certificate" "$(self_signed vical-signer "$signer")")
        # It is stored already after the first time.
        [ "$status" = 409 ] || done_with "$status" >/dev/null
        done_with "$(post "$url.vical/vical-service-api/publish" '{"vicalProvider":"Acme"}')"
        ;;
    load) until [ -e "$2.stop" ]; do issue; done >>"$2" ;;
esac
