#!/usr/bin/env bash
# Checks the exposure of the unit with systemd-analyze(1): at most 1.0, and 0.3 with the drop-in no-network.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=softhsm/provision.sh
source softhsm/provision.sh
install_missing systemd "type -P systemd-analyze"

# exposure MOST DROP_IN...: fails if the unit with these drop-ins is above MOST tenths.
exposure() {
    local most=$1 units drop_in
    shift
    units=$(mktemp -d)
    cp systemd/chancery.service "$units"
    mkdir "$units/chancery.service.d"
    for drop_in in "$@"; do cp "systemd/drop-ins/$drop_in.conf" "$units/chancery.service.d"; done
    echo "chancery.service with: ${*:-no drop-in}"
    systemd-analyze security --no-pager --offline=true --threshold="$most" "$units/chancery.service" | tail -1
    rm -r "$units"
}

exposure 10
exposure 10 encrypted-credentials
exposure 3 no-network
