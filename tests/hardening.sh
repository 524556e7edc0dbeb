#!/usr/bin/env bash
# The unit's exposure by systemd-analyze(1), offline: at most 1.0 as it is, at most 0.3 without a network.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=softhsm/provision.sh
source softhsm/provision.sh
install_missing systemd "type -P systemd-analyze"

# exposure MOST DROP_IN...: of the unit with these drop-ins; more than MOST tenths fail.
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
