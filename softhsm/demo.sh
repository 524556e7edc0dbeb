#!/usr/bin/env bash
# Issues certificates of every kind over mutual TLS, with keys in a SoftHSM2 token, and checks each with
# openssl.
#
#   demo.sh                    set up, build, issue the documented examples, check, stop
#   demo.sh --provision DIR    only make token, keys, TLS files and configuration in DIR
#   demo.sh --serve DIR [...]  provision DIR and serve in the foreground; once ready, DIR/env can be
#                              sourced. Further arguments go to the daemon (--dev)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=softhsm/provision.sh
source "$ROOT/softhsm/provision.sh"

main() {
    case ${1:-} in
    --provision)
        install_missing
        provision "${2:?a directory}"
        ;;
    --serve)
        local dir=${2:?a directory}
        shift 2
        install_missing
        build
        provision "$dir"
        serve "$(cd "$dir" && pwd)" "$@"
        echo
        print_commands "$(cd "$dir" && pwd)"
        wait "$DAEMON"
        ;;
    "")
        install_missing
        build
        demonstrate
        ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
    esac
}

build() {
    (cd "$ROOT" && cargo build --release --locked --bin chancery)
    BIN=$(cd "$ROOT" && target_directory)/release/chancery
}

target_directory() {
    cargo metadata --format-version 1 --no-deps --offline |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# Starts the daemon in the background, waits until it is ready, and writes DIR/env.
serve() {
    local dir=$1
    shift
    rm -f "$dir/env"
    "$BIN" serve --config "$dir/chancery.toml" "$@" 2>"$dir/chancery.log" &
    DAEMON=$!
    trap 'kill "$DAEMON" 2>/dev/null || true' INT TERM EXIT
    local operations
    operations=http://$(sed -n '/^\[operations\]/,/^listen/s/^listen = "\(.*\)"/\1/p' "$dir/chancery.toml")
    local deadline=$((SECONDS + 30))
    until curl -sf "$operations/readyz" >/dev/null 2>&1; do
        if ! kill -0 "$DAEMON" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            echo "the daemon did not become ready:" >&2
            tail -20 "$dir/chancery.log" >&2
            exit 1
        fi
        sleep 0.1
    done
    write_env "$dir" "$operations"
}

write_env() {
    local api distribution
    api=$(sed -n '/^\[api\]/,/^listen/s/^listen = "\(.*\)"/\1/p' "$1/chancery.toml")
    distribution=$(sed -n '/^\[distribution\]/,/^listen/s/^listen = "\(.*\)"/\1/p' "$1/chancery.toml")
    cat >"$1/env.new" <<ENV
export CHANCERY_URL=$(quoted "https://$api")
export CHANCERY_OPERATIONS_URL=$(quoted "$2")
export CHANCERY_DISTRIBUTION_URL=$(quoted "http://$distribution")
export CHANCERY_CACERT=$(quoted "$1/pki/server-ca.pem")
export CHANCERY_CERT=$(quoted "$1/pki/client.pem")
export CHANCERY_KEY=$(quoted "$1/pki/client.key")
export CHANCERY_CONFIG=$(quoted "$1/chancery.toml")
export CHANCERY_BIN=$(quoted "$BIN")
export CHANCERY_TOKEN_LABEL=$(quoted "$TOKEN_LABEL")
export SOFTHSM2_CONF=$(quoted "$1/softhsm2.conf")
ENV
    mv "$1/env.new" "$1/env"
    # shellcheck source=/dev/null
    source "$1/env"
}

# quoted WORD: quotes a word for any POSIX shell.
quoted() {
    printf "'%s'" "${1//\'/\'\\\'\'}"
}

print_commands() {
    local service=$CHANCERY_URL/v1/test.tenant1.x509-service-1/x509-service-api
    cat <<TEXT
Chancery serves at $CHANCERY_URL (log: $1/chancery.log). In another shell:

. $(quoted "$1/env")
curl --cacert "\$CHANCERY_CACERT" --cert "\$CHANCERY_CERT" --key "\$CHANCERY_KEY" -H 'Content-Type: application/json' \\
     -d @$(quoted "$ROOT/tests/requests/iacas-create.request.json") $service/iso/iacas
curl --cacert "\$CHANCERY_CACERT" --cert "\$CHANCERY_CERT" --key "\$CHANCERY_KEY" \\
     $CHANCERY_URL/v1/test.tenant1.x509-store-1/x509-store-api/certificates/ids
curl "\$CHANCERY_OPERATIONS_URL/readyz"

Ctrl-C stops it.
TEXT
}

demonstrate() {
    local out=$ROOT/target/demo
    rm -rf "$out"
    mkdir -p "$out"
    echo "== A token with ${#KEYS[@]} keys, TLS files, a configuration: $out/appliance"
    provision "$out/appliance"
    serve "$out/appliance"
    "$BIN" check --config "$out/appliance/chancery.toml" >"$out/check.txt"
    echo "== chancery check: $(grep -c signs "$out/check.txt") keys sign"
    cd "$out"
    echo "== Issuing over mutual TLS"

    issue iaca iso/iacas "$ROOT/tests/requests/iacas-create.request.json" "secp256r1"
    verified iaca iaca

    # The documented request describes its IACA. The first such request pins the description.
    issue document-signer iso/document-signers \
        "$ROOT/tests/requests/document-signers-create.request.json" "iaca-secp256r1"
    # Issue the IACA that was described, so that openssl can check the chain.
    iaca_of_the_description >iaca-described.request.json
    issue iaca-described iso/iacas iaca-described.request.json "iaca-secp256r1"
    verified iaca-described iaca-described
    verified document-signer iaca-described

    issue leaf certificate "$ROOT/tests/requests/certificate-self-signed-leaf.request.json" \
        "leaf-secp256r1"
    verified leaf leaf

    generic_root >root.request.json
    issue root certificate root.request.json "root-secp256r1"
    verified root root
    issue intermediate certificate \
        "$ROOT/tests/requests/certificate-ca-signed-intermediate.request.json" "root-secp256r1"
    verified intermediate root

    ds_csr >csr.request.json
    request csrs csr.request.json csr.response.json
    pem csrPem csr.response.json >csr.pem
    openssl req -verify -noout -in csr.pem 2>/dev/null || fail "openssl req -verify csr.pem"
    row csr.pem "ds-from-csr" "$(openssl req -noout -subject -nameopt RFC2253 -in csr.pem)"

    ds_from_csr >document-signer-2.request.json
    issue document-signer-2 iso/document-signers document-signer-2.request.json "iaca-secp256r1"
    verified document-signer-2 iaca-described

    echo
    echo "Each certificate was accepted by openssl verify -x509_strict, the CSR by openssl req -verify."
    echo "Files: $out (requests, responses, PEM); audit entries: $(audit_entries)"
    stop
    echo "done"
}

# issue NAME ROUTE REQUEST SIGNING_KEY: writes NAME.response.json and NAME.pem, prints one line.
issue() {
    request "$2" "$3" "$1.response.json"
    pem certificatePEM "$1.response.json" >"$1.pem"
    row "$1.pem" "$4" "$(openssl x509 -noout -subject -nameopt RFC2253 -in "$1.pem")"
}

row() {
    [ -n "${HEADED:-}" ] || printf '   %-24s %-18s %s\n' FILE "SIGNED BY KEY" SUBJECT
    HEADED=yes
    printf '   %-24s %-18s %s\n' "$1" "$2" "${3#subject=}"
}

request() {
    local status
    status=$(curl -sS --cacert "$CHANCERY_CACERT" --cert "$CHANCERY_CERT" --key "$CHANCERY_KEY" \
        -H 'Content-Type: application/json' --data-binary "@$2" -o "$3" -w '%{http_code}' \
        "$CHANCERY_URL/v1/test.tenant1.x509-service-1/x509-service-api/$1")
    [ "$status" = 200 ] || fail "$1 answered $status: $(cat "$3")"
}

verified() {
    openssl verify -x509_strict -CAfile "$2.pem" "$1.pem" >/dev/null || fail "openssl verify $1.pem"
}

# Prints the PEM in a JSON member, whose only escape is \n.
pem() {
    printf '%b' "$(sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$2")"
}

# Prints a file as the content of a JSON string.
json_string() {
    awk '{printf "%s\\n", $0}' "$1"
}

kms_key() {
    printf '{"type":"kms-hosted-key-descriptor","keyIdPath":"%s.%s"}' "$KMS" "$1"
}

iaca_of_the_description() {
    cat <<JSON
{
  "storedCertificateId": "iaca-described",
  "certificateData": {
    "country": "US", "commonName": "Example IACA",
    "notBefore": "2025-05-28T12:23:01Z", "notAfter": "2040-05-24T12:23:01Z",
    "issuerAlternativeNameConf": { "uri": "https://iaca.example.com" }
  },
  "iacaKeyDesc": $(kms_key iaca-secp256r1)
}
JSON
}

generic_root() {
    cat <<JSON
{
  "storedCertificateId": "generic-root-01",
  "certificateData": {
    "subjectName": { "commonName": "Example Root CA", "country": "US" },
    "isCertificateAuthority": true, "pathLengthConstraint": 1, "keyUsage": ["KeyCertSign", "CRLSign"]
  },
  "subjectPublicKeySource": { "type": "key-descriptor", "keyDescriptor": $(kms_key root-secp256r1) },
  "issuer": { "type": "self-signed" }
}
JSON
}

ds_csr() {
    cat <<JSON
{
  "type": "iso-document-signer",
  "subjectKeyDescriptor": $(kms_key ds-from-csr),
  "certificateData": { "country": "US", "commonName": "Example DS 2" }
}
JSON
}

ds_from_csr() {
    cat <<JSON
{
  "storedCertificateId": "ds-from-csr",
  "iacaSigner": {
    "type": "iaca-pem-cert-descriptor",
    "iacaPemEncodedCertificate": "$(json_string iaca-described.pem)",
    "iacaKeyDesc": $(kms_key iaca-secp256r1)
  },
  "certificateData": {
    "country": "US", "commonName": "Example DS 2", "crlDistributionPointUri": "https://crl-example.com"
  },
  "dsPublicKeySource": { "type": "csr", "csrPem": "$(json_string csr.pem)" }
}
JSON
}

# Prints the number of audit entries: indices in answers start at 0.
audit_entries() {
    sed -n 's/.*audit_index=\([0-9]*\).*/\1/p' appliance/chancery.log | tail -1 | awk '{print $1 + 1}'
}

stop() {
    kill "$DAEMON"
    wait "$DAEMON"
    trap - INT TERM EXIT
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

main "$@"
