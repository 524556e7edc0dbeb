#!/usr/bin/env bash
# Builds the Debian package and prints its path in the last line. Installs cargo-deb if it is missing.
#
#   systemd/package.sh [--binary FILE] [--version VERSION] [--fast 1] [--reference FILE]
#
# --binary: use this chancery instead of building a release.
# --version: of the package; the crate's, with -1, by default.
# --fast 1: less compression, for tests.
# --reference: another configuration than config/chancery.toml, for tests.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
STAGE=target/package

main() {
    local binary="" version="" fast=""
    REFERENCE=config/chancery.toml
    while [ $# -gt 0 ]; do
        case $1 in
            --binary) binary=$2 ;;
            --version) version=$2 ;;
            --fast) fast=--fast ;;
            --reference) REFERENCE=$2 ;;
            *) sed -n '/^#   /s/^#  */usage: /p' "$0" >&2; exit 2 ;;
        esac
        shift 2
    done
    type -P cargo-deb >/dev/null || cargo install --locked --quiet cargo-deb
    if [ -z "$binary" ]; then
        cargo build --release --locked --bin chancery
        binary=target/release/chancery
    fi
    stage "$binary"
    cargo deb --no-build --no-strip --locked --quiet --output "$STAGE/" ${fast:+$fast} ${version:+--deb-version "$version"}
    find "$PWD/$STAGE" -name '*.deb'
}

# stage BINARY: generates the files of the package that are not in the repository.
stage() {
    rm -rf "$STAGE"
    mkdir -p "$STAGE"/{man,completions}
    strip -o "$STAGE/chancery" "$1"
    "$1" man "$STAGE/man"
    "$1" completions bash >"$STAGE/completions/chancery"
    "$1" completions zsh >"$STAGE/completions/_chancery"
    "$1" completions fish >"$STAGE/completions/chancery.fish"
    # Under systemd the secrets are credentials. Everything else is as in the reference.
    sed -e 's|^private_key = .*|private_key = "credential:tls-key"|' \
        -e 's|^pin_file = .*|pin_file = "credential:pin"|' "$REFERENCE" >"$STAGE/chancery.toml"
    [ "$(grep -c '^[a-z_]* = "credential:' "$STAGE/chancery.toml")" = 2 ]
}

main "$@"
