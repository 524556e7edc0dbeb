#!/usr/bin/env bash
# A long run under load while signers are killed, on SoftHSM2: prints what the daemon and its signers
# had of memory, descriptors, threads, processes and sessions, and fails when that is not flat.
# Usage: ./tests/soak.sh [SECONDS]
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=softhsm/provision.sh
source "$ROOT/softhsm/provision.sh"

cd "$ROOT"
install_missing
CHANCERY_SOAK_SECONDS=${1:-600} cargo test --quiet --locked --test soak
