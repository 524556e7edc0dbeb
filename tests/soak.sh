#!/usr/bin/env bash
# Runs the daemon under load for a long time while signers are killed, on SoftHSM2. Prints memory, descriptors,
# threads, processes and sessions of the daemon and its signers over time, and fails if they grow.
# Usage: ./tests/soak.sh [SECONDS]
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=softhsm/provision.sh
source "$ROOT/softhsm/provision.sh"

cd "$ROOT"
install_missing
CHANCERY_SOAK_SECONDS=${1:-600} cargo test --quiet --locked --test soak
