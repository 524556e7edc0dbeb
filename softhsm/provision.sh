# shellcheck shell=bash
# Sourced by demo.sh and the test scripts. Makes all files of a development appliance in one directory:
#
#   DIR/softhsm2.conf, DIR/tokens   a SoftHSM2 token of its own, never the system's
#   DIR/pin, DIR/so-pin             its PINs (random; readable by the owner alone)
#   DIR/pki                         throwaway CAs, a server certificate, a client certificate
#   DIR/chancery.toml               config/dev.toml with three free ports
#
# Existing files are kept, so running it again changes nothing.

SOFTHSM_MODULE=${SOFTHSM_MODULE:-/usr/lib/softhsm/libsofthsm2.so}
TOKEN_LABEL=chancery-dev
KMS=test.tenant1.kms1
# name:type of the keys, generated inside the token.
KEYS=(
    secp256r1:EC:secp256r1
    iaca-secp256r1:EC:secp256r1
    ds-secp256r1:EC:secp256r1
    leaf-secp256r1:EC:secp256r1
    root-secp256r1:EC:secp256r1
    intermediate-secp256r1:EC:secp256r1
    ds-from-csr:EC:secp256r1
    tls-secp256r1:EC:secp256r1
    iaca-secp384r1:EC:secp384r1
    iaca-secp521r1:EC:secp521r1
    rsa2048:rsa:2048
    root-rsa3072:rsa:3072
    root-rsa4096:rsa:4096
)

# Debian packages, each with a command that succeeds if the package is installed.
PACKAGES=(
    softhsm2 "type -P softhsm2-util && test -e '$SOFTHSM_MODULE'"
    opensc "type -P pkcs11-tool"
    openssl "type -P openssl"
    curl "type -P curl"
    gcc "type -P cc"
    libc6-dev "test -e /usr/include/stdlib.h"
)

# More packages, for tests of a token behind a socket.
# shellcheck disable=SC2034 # used by those who source this
P11_KIT=(
    p11-kit "type -P p11-kit"
    p11-kit-modules "test -e '/usr/lib/$(uname -m)-linux-gnu/pkcs11/p11-kit-client.so'"
)

# install_missing [PACKAGE CHECK]...: installs what is missing of the packages above and of these.
install_missing() {
    local missing=()
    set -- "${PACKAGES[@]}" "$@"
    while [ $# -gt 0 ]; do
        bash -c "$2" >/dev/null 2>&1 || missing+=("$1")
        shift 2
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing: ${missing[*]}"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

provision() {
    mkdir -p "$1"
    local dir
    dir=$(cd "$1" && pwd)
    chmod 700 "$dir"
    provision_token "$dir"
    provision_keys "$dir"
    provision_pki "$dir/pki"
    provision_config "$dir"
}

provision_token() {
    local dir=$1
    [ -e "$dir/token.ready" ] && return
    rm -rf "$dir/tokens"
    mkdir -p "$dir/tokens"
    cat >"$dir/softhsm2.conf" <<CONF
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
slots.removable = false
slots.mechanisms = ALL
CONF
    (umask 077 && random_digits >"$dir/pin" && random_digits >"$dir/so-pin")
    token_tool "$dir" --slot-index 0 --init-token --label "$TOKEN_LABEL" --so-pin env:SO_PIN
    token_tool "$dir" --token-label "$TOKEN_LABEL" --login --login-type so --so-pin env:SO_PIN \
        --init-pin --new-pin env:PIN
    touch "$dir/token.ready"
}

# Runs pkcs11-tool on the token of DIR. It gets the PINs of this throwaway token as environment variables.
# Chancery itself reads its PIN only from a file.
token_tool() {
    local dir=$1
    shift
    SOFTHSM2_CONF=$dir/softhsm2.conf PIN=$(cat "$dir/pin") SO_PIN=$(cat "$dir/so-pin") \
        pkcs11-tool --module "$SOFTHSM_MODULE" "$@" >>"$dir/provision.log" 2>&1 ||
        { tail -5 "$dir/provision.log" >&2; return 1; }
}

provision_keys() {
    local dir=$1 key name type
    mkdir -p "$dir/keys"
    # For test signatures of /readyz only. It is not a key of the KMS service.
    if [ ! -e "$dir/keys/canary" ]; then
        generate_key "$dir" canary EC:secp256r1
        touch "$dir/keys/canary"
    fi
    for key in "${KEYS[@]}"; do
        name=${key%%:*} type=${key#*:}
        [ -e "$dir/keys/$name" ] && continue
        generate_key "$dir" "$KMS.$name" "$type"
        touch "$dir/keys/$name"
    done
}

# generate_key DIR KEY_PATH TYPE: CKA_LABEL is the key path, CKA_ID the first 20 octets of its SHA-256.
generate_key() {
    local id
    id=$(printf %s "$2" | sha256sum | cut -c1-40)
    token_tool "$1" --token-label "$TOKEN_LABEL" --login --pin env:PIN --keypairgen \
        --key-type "$3" --label "$2" --id "$id" --usage-sign
}

provision_pki() {
    local pki=$1
    [ -e "$pki/ready" ] && return
    mkdir -p "$pki"
    certification_authority "$pki" server-ca
    certification_authority "$pki" client-ca
    certificate "$pki" server-ca server "/O=Chancery demo/CN=localhost" serverAuth \
        "DNS:localhost,DNS:chancery.localhost,DNS:*.chancery.localhost,IP:127.0.0.1,IP:::1"
    certificate "$pki" client-ca client "/O=Chancery demo/CN=demo" clientAuth "DNS:demo"
    touch "$pki/ready"
}

certification_authority() {
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$1/$2.key")
    openssl req -x509 -new -key "$1/$2.key" -days 30 -subj "/O=Chancery demo/CN=$2" \
        -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$1/$2.pem"
}

# certificate PKI CA NAME SUBJECT EXTENDED_KEY_USAGE SUBJECT_ALTERNATIVE_NAMES
certificate() {
    local pki=$1 ca=$2 name=$3
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$name.key")
    openssl req -new -key "$pki/$name.key" -subj "$4" |
        openssl x509 -req -CA "$pki/$ca.pem" -CAkey "$pki/$ca.key" -days 30 \
            -set_serial "0x$(openssl rand -hex 16)" -extfile <(
                echo "basicConstraints=critical,CA:FALSE"
                echo "subjectKeyIdentifier=hash"
                echo "authorityKeyIdentifier=keyid"
                echo "keyUsage=critical,digitalSignature"
                echo "extendedKeyUsage=$5"
                echo "subjectAltName=$6"
            ) -out "$pki/$name.pem" 2>/dev/null
}

provision_config() {
    local dir=$1
    [ -e "$dir/chancery.toml" ] && return
    sed -e "s|\.\./target/dev/||" \
        -e "s|127.0.0.1:8443|127.0.0.1:$(free_port)|" \
        -e "s|127.0.0.1:9443|127.0.0.1:$(free_port)|" \
        -e "s|127.0.0.1:8080|127.0.0.1:$(free_port)|" \
        "$ROOT/config/dev.toml" >"$dir/chancery.toml"
}

# Prints a free port below the range that the kernel uses for outgoing connections.
free_port() {
    local port
    while :; do
        port=$((10000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

random_digits() {
    local digits
    digits=$(od -An -N8 -tu8 /dev/urandom | tr -d ' ')
    printf '%s\n' "${digits:0:12}"
}
