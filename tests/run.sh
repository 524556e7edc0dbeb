#!/usr/bin/env bash
# Sets up all that the tests need (on Debian, with Rust there) and runs them. Can be run again.
# Arguments go to cargo test: ./tests/run.sh --test it judges
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=softhsm/provision.sh
source "$ROOT/softhsm/provision.sh"
# Where tests/it/judges.rs looks.
JUDGES=$ROOT/target/judges
REQUIREMENTS=$ROOT/tests/judges/requirements.txt

main() {
    cd "$ROOT"
    install_missing \
        procps "type -P kill" \
        python3 "type -P python3" \
        python3-venv "python3 -c 'import ensurepip, venv'"
    summon_judges
    run_tests "$@"
}

# A virtual environment with the pinned judges, made anew when the pins change.
summon_judges() {
    cmp -s "$REQUIREMENTS" "$JUDGES/requirements.txt" && return
    echo "installing the judges: $(sed -n 's/^\([a-z].*==[^ ]*\).*/\1/p' "$REQUIREMENTS" | xargs)"
    python3 -m venv --clear "$JUDGES"
    "$JUDGES/bin/pip" install --quiet --require-hashes -r "$REQUIREMENTS"
    cp "$REQUIREMENTS" "$JUDGES/requirements.txt"
}

# Libraries, programs, tests and documentation examples. Benches are built by .ci/run: running them
# is for people.
run_tests() {
    local log=$ROOT/target/tests.log status=0
    cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
    echo
    echo "== Test results"
    grep -E '^( +Running|   Doc-tests|test result:)|\.\.\. ignored' "$log" || true
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { printf "total: %d passed; %d failed; %d ignored (not run)\n", passed, failed, ignored }' "$log"
    return "$status"
}

main "$@"
