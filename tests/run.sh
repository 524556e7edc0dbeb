#!/usr/bin/env bash
# Sets up all that the tests need (on Debian, with Rust there) and runs them. Can be run again.
# Arguments go to cargo test: ./tests/run.sh --test it judges
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=softhsm/provision.sh
source "$ROOT/softhsm/provision.sh"

main() {
    cd "$ROOT"
    install_missing "${P11_KIT[@]}" \
        procps "type -P kill" \
        p11-kit "type -P p11-kit" \
        p11-kit-modules "compgen -G '/usr/lib/*/pkcs11/p11-kit-client.so'" \
        python3 "type -P python3" \
        python3-venv "python3 -c 'import ensurepip, venv'"
    # Where tests/it/judges.rs and tests/it/openapi.rs look.
    summon_judges requirements.txt "$ROOT/target/judges"
    summon_judges requirements-openapi.txt "$ROOT/target/judges-openapi"
    summon_promtool "$ROOT/target/promtool"
    run_tests "$@"
    # Modules that change nothing on the machine; kryoptic where it was built.
    [ $# -gt 0 ] || ./tests/modules.sh --suite nss tpm kryoptic
}

# summon_judges PINS DIRECTORY: a virtual environment with the pinned judges, made anew when the pins
# change.
summon_judges() {
    local pins=$ROOT/tests/judges/$1 directory=$2
    cmp -s "$pins" "$directory/requirements.txt" && return
    echo "installing the judges of $1"
    python3 -m venv --clear "$directory"
    "$directory/bin/pip" install --quiet --require-hashes -r "$pins"
    cp "$pins" "$directory/requirements.txt"
}

# summon_promtool DIRECTORY: the checker alone out of Debian's prometheus, whose server nobody needs.
# Without it, tests/it/metrics.rs reads the text with a reader of its own.
summon_promtool() {
    local directory=$1
    [ -x "$directory/usr/bin/promtool" ] && return
    echo "fetching promtool"
    mkdir -p "$directory"
    (cd "$directory" && apt-get download -qq prometheus >/dev/null &&
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool &&
        rm prometheus_*.deb) || echo "no promtool: some checks will be skipped"
}

# Libraries, programs, tests and documentation examples. Benches are built by .ci/run: running them
# is for people.
run_tests() {
    local log=$ROOT/target/tests.log status=0
    cargo test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
    echo
    echo "== Test results"
    grep -E '^( +Running|   Doc-tests|test result:)|\.\.\. (ignored|FAILED)' "$log" || true
    # Why a test failed is not lost among the others.
    grep -A 6 "panicked at" "$log" || true
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { printf "total: %d passed; %d failed; %d ignored (not run)\n", passed, failed, ignored }' "$log"
    return "$status"
}

main "$@"
