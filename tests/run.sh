#!/usr/bin/env bash
# Installs what the tests need and runs them. Needs Debian and Rust. Can be repeated.
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
    # The directories where tests/it/judges.rs and tests/it/openapi.rs look for the judges.
    summon_judges requirements.txt "$ROOT/target/judges"
    summon_judges requirements-openapi.txt "$ROOT/target/judges-openapi"
    summon_promtool "$ROOT/target/promtool"
    run_tests "$@"
    # Modules that can be tested without changing the system; kryoptic only if it was built.
    [ $# -gt 0 ] || ./tests/modules.sh --suite nss tpm kryoptic
}

# summon_judges PINS DIRECTORY: makes a virtual environment with the pinned judges, again when the pins change.
summon_judges() {
    local pins=$ROOT/tests/judges/$1 directory=$2
    cmp -s "$pins" "$directory/requirements.txt" && return
    echo "installing the judges of $1"
    python3 -m venv --clear "$directory"
    "$directory/bin/pip" install --quiet --require-hashes -r "$pins"
    cp "$pins" "$directory/requirements.txt"
}

# summon_promtool DIRECTORY: takes promtool out of Debian's package prometheus, without installing the server.
# Without promtool, tests/it/metrics.rs checks the text with a reader of its own.
summon_promtool() {
    local directory=$1
    [ -x "$directory/usr/bin/promtool" ] && return
    echo "fetching promtool"
    mkdir -p "$directory"
    (cd "$directory" && apt-get download -qq prometheus >/dev/null &&
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool &&
        rm prometheus_*.deb) || echo "no promtool: some checks will be skipped"
}

# Runs unit tests, test programs and examples in documentation. Benchmarks are not run here.
run_tests() {
    local log=$ROOT/target/tests.log status=0
    cargo test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
    echo
    echo "== Test results"
    grep -E '^( +Running|   Doc-tests|test result:)|\.\.\. (ignored|FAILED)' "$log" || true
    # Show why a test failed.
    grep -A 6 "panicked at" "$log" || true
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { printf "total: %d passed; %d failed; %d ignored (not run)\n", passed, failed, ignored }' "$log"
    return "$status"
}

main "$@"
