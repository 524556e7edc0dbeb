#!/usr/bin/env bash
# Outages of the HSM under load, on SoftHSM2 and the module of tests/chaos: prints what clients saw and
# how long service took to return, and leaves the table in target/outages.md. About two minutes.
# Arguments choose outages by words of their names: ./tests/outages.sh frozen "C_Sign hangs"
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=softhsm/provision.sh
source "$ROOT/softhsm/provision.sh"

cd "$ROOT"
install_missing "${P11_KIT[@]}"
cargo test --quiet --locked --test outages -- "$@"
