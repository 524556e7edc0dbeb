#!/usr/bin/env bash
# Builds the image of systemd/Containerfile, on the Debian tree that tests/systemd.sh makes, and runs it as an
# unprivileged user on a read-only file system. Issues a certificate, stops the daemon, starts it again and checks
# that the certificate is still there.
#
# Needs root and podman. Prints SKIPPED and exits with 77 if no container can be run here.
#
#   tests/container.sh [--binary FILE]     FILE: use this chancery instead of building one
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
# shellcheck source=softhsm/provision.sh
source softhsm/provision.sh
SUITE=bookworm
# shellcheck source=tests/systemd/machine.sh
source tests/systemd/machine.sh
ROOT=$PWD

NAME=chancery-$$
PLACE=$PWD/target/container
PODMAN=(podman)
# Limits that also work on a small machine.
MORE=(--network=host --ulimit=nofile=4096:4096 --ulimit=nproc=4096:4096)

main() {
    [ "$(id -u)" = 0 ] || skip "not root"
    install_missing podman "type -P podman" runc "type -P runc" mmdebstrap "type -P mmdebstrap"
    local binary=${2:-}
    if [ -z "$binary" ]; then
        cargo build --locked --bin chancery
        binary=${CARGO_TARGET_DIR:-target}/debug/chancery
    fi
    trap clean_up EXIT
    make_tar
    build "$binary"
    appliance
    run
    first_certificate
    "${PODMAN[@]}" stop --time 30 "$NAME" >/dev/null
    [ "$("${PODMAN[@]}" inspect --format '{{.State.ExitCode}}' "$NAME")" = 0 ] || fail "no end in order"
    "${PODMAN[@]}" rm "$NAME" >/dev/null
    run
    [ "$(certificates)" = 1 ] || fail "the certificate is gone"
    echo "passed in $SECONDS s"
}

fail() {
    echo "FAILED: $1" >&2
    "${PODMAN[@]}" logs "$NAME" >&2 || true
    exit 1
}

clean_up() {
    "${PODMAN[@]}" rm --force --ignore "$NAME" >/dev/null 2>&1 || true
    podman rmi --force "$NAME" >/dev/null 2>&1 || true
}

build() {
    mkdir -p target/package
    strip -o target/package/chancery "$1"
    podman import --quiet "$TREE" chancery-debian >/dev/null || skip "podman does not work here"
    # No isolation is needed while the image is built.
    podman build --quiet --pull=never --isolation=chroot --from chancery-debian -f systemd/Containerfile \
        -t "$NAME" . >/dev/null
    if ! "${PODMAN[@]}" run --rm "${MORE[@]}" "$NAME" --version >/dev/null 2>&1; then
        # For machines that use both versions of control groups.
        PODMAN=(podman --cgroup-manager=cgroupfs --runtime=runc)
        "${PODMAN[@]}" run --rm "${MORE[@]}" "$NAME" --version || skip "no container can be run here"
    fi
}

# Makes what a user brings: a token, TLS files, a configuration.
appliance() {
    rm -rf "$PLACE"
    provision "$PLACE/etc"
    mkdir "$PLACE/state"
    mv "$PLACE/etc/tokens" "$PLACE/state"
    sed -i "s|^directories.tokendir = .*|directories.tokendir = /var/lib/chancery/tokens|" "$PLACE/etc/softhsm2.conf"
    sed -i 's|^path = "ledger.sqlite"|path = "/var/lib/chancery/ledger.sqlite"|' "$PLACE/etc/chancery.toml"
    chown -R 10001:10001 "$PLACE/etc" "$PLACE/state"
}

run() {
    "${PODMAN[@]}" run --detach --name "$NAME" "${MORE[@]}" --read-only --cap-drop=all \
        --security-opt=no-new-privileges -v "$PLACE/etc:/etc/chancery:ro" -v "$PLACE/state:/var/lib/chancery" \
        "$NAME" >/dev/null
    wait_for 30 "ready" curl -sf "http://$(listens operations)/readyz"
    local status
    status=/proc/$("${PODMAN[@]}" inspect --format '{{.State.Pid}}' "$NAME")/status
    [ "$(awk '/^Uid:/ { print $2 }' "$status")" = 10001 ] || fail "another user"
    [ "$(awk '/^CapBnd:/ { print $2 }' "$status")" = 0000000000000000 ] || fail "capabilities"
    [ "$(stat -c %u "${status%status}environ")" = 0 ] || fail "it can be dumped"
    "${PODMAN[@]}" logs "$NAME" 2>&1 | grep 'cage: no new' || fail "no cage"
}

client() {
    curl -sSf --cacert "$PLACE/etc/pki/server-ca.pem" --cert "$PLACE/etc/pki/client.pem" \
        --key "$PLACE/etc/pki/client.key" "$@"
}

first_certificate() {
    client -H 'Content-Type: application/json' -d @tests/requests/iacas-create.request.json \
        "$(api)/v1/test.tenant1.x509-service-1/x509-service-api/iso/iacas" | grep -c BEGIN >/dev/null ||
        fail "no certificate"
}
certificates() {
    client "$(api)/v1/test.tenant1.x509-service-1/x509-service-api/certificates" | grep -o '"serial"' | wc -l
}
api() { echo "https://$(listens api)"; }
listens() { sed -n "/^\[$1\]/,/^\[/s/^listen = \"\(.*\)\"/\1/p" "$PLACE/etc/chancery.toml"; }

main "$@"
