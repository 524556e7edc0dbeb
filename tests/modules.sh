#!/usr/bin/env bash
# Runs the test of tests/it/modules.rs on every PKCS#11 module that Debian has, in the full sandbox. Prints a
# table: which key types pass, which the module cannot make, and why a module was SKIPPED. Can be repeated.
# Arguments are names of modules; without any, all are tested. opencryptoki is used where it is installed on the
# system: its daemon is started, and its token is initialized again.
#
#   ./tests/modules.sh                     softhsm p11-kit nss tpm opencryptoki, and kryoptic once built
#   ./tests/modules.sh --kryoptic          builds kryoptic before that (OpenSSL included: 12 minutes)
#   ./tests/modules.sh nss tpm
#   ./tests/modules.sh --suite nss         also the tests of the API, with kryoptic for SoftHSM (a minute)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=softhsm/provision.sh
source "$ROOT/softhsm/provision.sh"

ALL=(softhsm p11-kit nss tpm opencryptoki kryoptic)
# Key types that each module must make at least.
EC_AND_RSA="secp256r1 secp384r1 secp521r1 RSA RSA3072 RSA4096"
declare -A MAKES=(
    [softhsm]="$EC_AND_RSA Ed25519"
    [p11-kit]=$EC_AND_RSA
    [nss]=$EC_AND_RSA
    [tpm]="secp256r1 secp384r1 RSA RSA3072"
    [opencryptoki]="RSA RSA3072 RSA4096"
    [kryoptic]="$EC_AND_RSA Ed25519"
)
LIB=/usr/lib/$(uname -m)-linux-gnu
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
KRYOPTIC=$TARGET/kryoptic/release/libkryoptic_module.so
WORK=
# Processes that were started for a module, to be stopped at the end.
STARTED=()

main() {
    local build=false suite=false names=()
    for argument in "$@"; do
        case $argument in
        --kryoptic) build=true ;;
        --suite) suite=true ;;
        *) names+=("$argument") ;;
        esac
    done
    [ ${#names[@]} -gt 0 ] || names=("${ALL[@]}")
    WORK=$(mktemp -d)
    trap clean_up EXIT
    install_missing jq "type -P jq"
    "$build" && build_kryoptic
    cd "$ROOT"
    echo "building the tests"
    cargo test --locked --quiet --test it --no-run
    : >"$WORK/table"
    for name in "${names[@]}"; do
        try "$name"
    done
    "$suite" && try_suite
    echo
    printf '%-13s %-9s %-13s %s\n' MODULE VERSION RESULT DETAIL
    cat "$WORK/table"
    echo "$(grep -c ' SKIPPED ' "$WORK/table") skipped"
    ! grep -q ' FAILS ' "$WORK/table"
}

clean_up() {
    stop_started
    rm -rf "$WORK"
}

stop_started() {
    for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null || true; done
    # Wait for pkcsslotd, which is not a child of this shell.
    for pid in "${STARTED[@]}"; do
        wait "$pid" 2>/dev/null || true
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    done
    STARTED=()
}

# install_for MODULE: installs its packages.
install_for() {
    case $1 in
    p11-kit) install_missing "${P11_KIT[@]}" ;;
    nss)
        install_missing libnss3-tools "type -P certutil" libnss3 "test -e '$LIB/libsoftokn3.so'"
        ;;
    tpm)
        install_missing \
            swtpm "type -P swtpm" \
            tpm2-abrmd "type -P tpm2-abrmd" \
            libtss2-tcti-tabrmd0 "test -e '$LIB/libtss2-tcti-tabrmd.so.0'" \
            libtpm2-pkcs11-1 "test -e '$LIB/pkcs11/libtpm2_pkcs11.so'" \
            libtpm2-pkcs11-tools "type -P tpm2_ptool" \
            dbus "type -P dbus-daemon"
        ;;
    opencryptoki) install_missing opencryptoki "type -P pkcsslotd" ;;
    esac
}

build_kryoptic() {
    install_missing \
        libclang-14-dev "test -e /usr/lib/llvm-14/lib/libclang.so" \
        libsqlite3-dev "test -e /usr/include/sqlite3.h" \
        pkg-config "type -P pkg-config"
    cargo build --release --locked --target-dir "$TARGET/kryoptic" \
        --manifest-path "$ROOT/tests/modules/kryoptic/Cargo.toml"
}

# row MODULE VERSION RESULT DETAIL: adds a row to the table.
row() {
    printf '%-13s %-9s %-13s %s\n' "$@" | tee -a "$WORK/table"
}

# try MODULE: sets it up and tests it.
try() {
    local name=$1 dir=$WORK/$1
    echo "== $name"
    mkdir -p "$dir"
    # The PIN of throwaway tokens.
    (umask 077 && echo 12345678 >"$dir/pin")
    local version=- why=
    if ! install_for "$name"; then
        row "$name" "$version" SKIPPED "it cannot be installed"
    elif ! "bring_${name//-/_}" "$dir"; then
        row "$name" "$version" SKIPPED "${why:-it could not be set up}"
    else
        ask "$name" "$version" "$dir"
    fi
    stop_started
}

# The modules of tests/it whose tests sign.
SUITE=(accepted:: idempotency:: judges:: keys:: stores:: vical::)
# Tests that cannot pass on kryoptic: three expect SoftHSM's warning or its file, and one deletes a public key
# object, which kryoptic does not need.
NOT_OF_KRYOPTIC=(
    --skip accepted::dev::a_private_jwk_is_certified_like_a_public_one
    --skip keys::import_is_off_unless_it_is_on
    --skip idempotency::keys::after_an_error_the_key_may_be_used_again_also_with_another_body
    --skip keys::keys_are_listed_by_path_with_those_of_table_and_template_and_read_as_pem
)

# try_suite: runs the tests of the API on an appliance with kryoptic.
try_suite() {
    local dir=$WORK/suite log=$TARGET/modules-suite.log
    if [ ! -e "$KRYOPTIC" ]; then
        row "the API on" kryoptic SKIPPED "not built: ./tests/modules.sh --kryoptic"
        return
    fi
    echo "== the tests of the API, on kryoptic"
    mkdir -p "$dir/db"
    kryoptic_configuration "$dir"
    SOFTHSM_MODULE=$KRYOPTIC KRYOPTIC_CONF=$dir/kryoptic.conf provision "$dir"
    sed -i -e "s|^module = .*|module = \"$KRYOPTIC\"|" \
        -e 's|^environment_paths = .*|environment_paths = { KRYOPTIC_CONF = "kryoptic.conf" }|' \
        -e 's|^sandbox = .*|sandbox = { write = ["db"] }|' "$dir/chancery.toml"
    if CHANCERY_APPLIANCE=$dir cargo test --locked --test it -- "${SUITE[@]}" "${NOT_OF_KRYOPTIC[@]}" \
        >"$log" 2>&1; then
        row "the API on" kryoptic works "$(grep -oE '[0-9]+ passed' "$log") of SoftHSM's tests"
    else
        row "the API on" kryoptic FAILS "$(grep -c '\.\.\. FAILED' "$log") tests, see $log"
    fi
}

# ask MODULE VERSION DIR: runs the test on DIR/token.
ask() {
    local name=$1 version=$2 dir=$3 log=$TARGET/modules-$1.log
    if ! CHANCERY_MODULE=$dir/token cargo test --locked --quiet --test it -- --ignored --exact \
        modules::the_module_that_is_named_does_what_is_asked_of_a_module --nocapture >"$log" 2>&1; then
        row "$name" "$version" FAILS "$(reason "$log")"
        echo "   the whole log: $log"
        return
    fi
    local refused wanted
    refused=$(jq -r '[.refused[][0]] | join(" ")' "$dir/token.outcome")
    for wanted in ${MAKES[$name]}; do
        if [[ " $refused " == *" $wanted "* ]]; then
            row "$name" "$version" FAILS "$wanted: $(reason "$log")"
            return
        fi
    done
    row "$name" "$version" works "$(jq -r '(.works | join(" ")) + "; a certificate in " +
        (.certificate_ms | tostring) + " ms"' "$dir/token.outcome")${refused:+; refused: $refused}"
}

# reason LOG: prints the last fault of a token in the log, or the panic if there is none.
reason() {
    local words
    words=$(grep -oE '(reason|detail)="[^"]+"' "$1" | tail -1) ||
        words=$(grep -A1 'panicked at' "$1" | tail -1) || words="see $1"
    printf '%s' "${words:0:300}"
}

version_of() {
    dpkg-query -W -f '${Version}' "$1" | sed 's/^[0-9]*://; s/[-+].*//'
}

# Each bring_MODULE DIR writes DIR/token and sets version. If it cannot, it sets why to the reason.

bring_softhsm() {
    version=$(version_of softhsm2)
    softhsm_token "$1"
    cat >"$1/token" <<TOML
module = "$SOFTHSM_MODULE"
label = "chancery"
pin_file = "$1/pin"
environment_paths = { SOFTHSM2_CONF = "$1/softhsm2.conf" }
TOML
}

softhsm_token() {
    mkdir -p "$1/tokens"
    echo "directories.tokendir = $1/tokens" >"$1/softhsm2.conf"
    SOFTHSM2_CONF=$1/softhsm2.conf softhsm2-util --init-token --free --label chancery \
        --so-pin 12345678 --pin "$(cat "$1/pin")" >/dev/null
}

bring_p11_kit() {
    version=$(version_of p11-kit)
    softhsm_token "$1"
    SOFTHSM2_CONF=$1/softhsm2.conf p11-kit server -f --provider "$SOFTHSM_MODULE" \
        --name "$1/socket" pkcs11:token=chancery >/dev/null &
    STARTED+=($!)
    wait_for "$1/socket" || return 1
    cat >"$1/token" <<TOML
module = "$LIB/pkcs11/p11-kit-client.so"
label = "chancery"
pin_file = "$1/pin"
environment = { P11_KIT_SERVER_ADDRESS = "unix:path=$1/socket" }
TOML
}

bring_nss() {
    version=$(version_of libnss3)
    mkdir -p "$1/db"
    certutil -N -d "sql:$1/db" -f "$1/pin" >/dev/null || return 1
    cat >"$1/token" <<TOML
module = "$LIB/libsoftokn3.so"
label = "NSS Certificate DB"
pin_file = "$1/pin"
module_arguments = "configdir='sql:$1/db' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
sandbox = { write = ["$1/db"] }
environment = {}
TOML
}

bring_tpm() {
    version=$(version_of libtpm2-pkcs11-1)
    mkdir -p "$1/state" "$1/store"
    dbus-daemon --session --fork --print-address=3 --print-pid=4 3>"$1/bus" 4>"$1/bus.pid"
    STARTED+=("$(cat "$1/bus.pid")")
    local bus command data
    bus=$(cat "$1/bus") command=$(free_port) data=$((command + 1))
    swtpm socket --tpm2 --tpmstate "dir=$1/state" --flags not-need-init,startup-clear \
        --server "type=tcp,port=$command,bindaddr=127.0.0.1" \
        --ctrl "type=tcp,port=$data,bindaddr=127.0.0.1" &
    STARTED+=($!)
    sleep 0.5
    local as_root=()
    [ "$(id -u)" = 0 ] && as_root=(--allow-root)
    DBUS_SESSION_BUS_ADDRESS=$bus tpm2-abrmd "${as_root[@]}" --session \
        --tcti="swtpm:host=127.0.0.1,port=$command" >"$1/abrmd.log" 2>&1 &
    STARTED+=($!)
    export DBUS_SESSION_BUS_ADDRESS=$bus TPM2_PKCS11_STORE=$1/store
    export TPM2TOOLS_TCTI=tabrmd:bus_type=session TPM2_PKCS11_TCTI=tabrmd:bus_type=session
    for _ in {1..50}; do
        tpm2_ptool init >"$1/ptool.log" 2>&1 && break
        sleep 0.1
    done
    tpm2_ptool addtoken --pid=1 --label=chancery --sopin=12345678 --userpin="$(cat "$1/pin")" \
        >>"$1/ptool.log" 2>&1 || { why=$(tail -1 "$1/ptool.log"); return 1; }
    unset DBUS_SESSION_BUS_ADDRESS TPM2_PKCS11_STORE TPM2TOOLS_TCTI TPM2_PKCS11_TCTI
    cat >"$1/token" <<TOML
module = "$LIB/pkcs11/libtpm2_pkcs11.so"
label = "chancery"
pin_file = "$1/pin"
processes = 1
start_deadline_ms = 60000
sign_deadline_ms = 20000
environment_paths = { TPM2_PKCS11_STORE = "$1/store" }
environment = { DBUS_SESSION_BUS_ADDRESS = "$bus", TPM2_PKCS11_TCTI = "tabrmd:bus_type=session" }
TOML
}

bring_opencryptoki() {
    version=$(version_of opencryptoki)
    [ "$(id -u)" = 0 ] || { why="its slot daemon needs root"; return 1; }
    mkdir -p /run/opencryptoki /run/lock/opencryptoki/swtok
    chgrp -R pkcs11 /run/opencryptoki /run/lock/opencryptoki
    if ! pgrep -x pkcsslotd >/dev/null; then
        pkcsslotd >/dev/null 2>&1 || { why="pkcsslotd does not start"; return 1; }
        STARTED+=("$(pgrep -x pkcsslotd)")
    fi
    local module=$LIB/pkcs11/libopencryptoki.so
    # 87654321 is the SO PIN of a new token.
    for so_pin in 87654321 12345678; do
        pkcs11-tool --module "$module" --slot 3 --init-token --label chancery \
            --so-pin "$so_pin" >"$1/init.log" 2>&1 && break
    done
    pkcs11-tool --module "$module" --slot 3 --login --login-type so --so-pin "$so_pin" \
        --init-pin --new-pin "$(cat "$1/pin")" >>"$1/init.log" 2>&1 ||
        { why=$(tail -1 "$1/init.log"); return 1; }
    cat >"$1/token" <<TOML
module = "$module"
label = "chancery"
pin_file = "$1/pin"
environment = {}
sandbox = { network = "local", read = ["/etc/opencryptoki"], write = ["/var/lib/opencryptoki", "/run/opencryptoki", "/run/lock/opencryptoki", "/dev/shm"] }
TOML
}

bring_kryoptic() {
    version=$(grep -oE 'kryoptic-lib = \{ version = "=[0-9.]+' "$ROOT/tests/modules/kryoptic/Cargo.toml" |
        grep -oE '[0-9.]+$')
    [ -e "$KRYOPTIC" ] || { why="not built: ./tests/modules.sh --kryoptic"; return 1; }
    mkdir -p "$1/db"
    kryoptic_configuration "$1"
    local tool=(env "KRYOPTIC_CONF=$1/kryoptic.conf" pkcs11-tool --module "$KRYOPTIC" --slot 1)
    if ! { "${tool[@]}" --init-token --label chancery --so-pin 12345678 &&
        "${tool[@]}" --login --login-type so --so-pin 12345678 --init-pin \
            --new-pin "$(cat "$1/pin")"; } >"$1/init.log" 2>&1; then
        why=$(tail -1 "$1/init.log")
        return 1
    fi
    cat >"$1/token" <<TOML
module = "$KRYOPTIC"
label = "chancery"
pin_file = "$1/pin"
environment_paths = { KRYOPTIC_CONF = "$1/kryoptic.conf" }
sandbox = { write = ["$1/db"] }
TOML
}

# kryoptic_configuration DIR: writes DIR/kryoptic.conf.
kryoptic_configuration() {
    printf '[[slots]]\nslot = 1\ndbtype = "sqlite"\ndbargs = "%s/db/token.sql"\n' "$1" >"$1/kryoptic.conf"
}

wait_for() {
    for _ in {1..100}; do
        [ -e "$1" ] && return
        sleep 0.1
    done
    return 1
}

main "$@"
