# shellcheck shell=bash
# Sourced by tests/systemd.sh: boots a Debian container with systemd as process 1 and a network of its own, on hosts
# with and without systemd.
#
#   SUITE     of Debian
#   CACHE     holds the tree of Debian packages between runs
#   ROOT      the tree of this run

CACHE=$PWD/target/systemd
ROOT=$CACHE/root
NAME=chancery-$$
TREE_PACKAGES=systemd,systemd-sysv,dbus,libpam-systemd,softhsm2,opensc,openssl,procps,iproute2,curl,ca-certificates,man-db,p11-kit,p11-kit-modules

# skip REASON: exits with 77, which means neither passed nor failed.
skip() {
    echo "SKIPPED: $1"
    exit 77
}

fail() {
    echo "FAILED: $1" >&2
    inside journalctl --no-pager -u 'chancery*' -n 60 >&2 || true
    exit 1
}

# Makes the tree of Debian packages in TREE, unless it exists.
make_tar() {
    TREE=$CACHE/$SUITE-2.tar
    mkdir -p "$CACHE"
    if [ ! -e "$TREE" ]; then
        echo "   making the tree of Debian packages"
        mmdebstrap --quiet --format=tar --variant=minbase --include="$TREE_PACKAGES" "$SUITE" "$TREE.new" ||
            skip "mmdebstrap cannot make a Debian tree here"
        mv "$TREE.new" "$TREE"
    fi
}

make_tree() {
    make_tar
    rm -rf "$ROOT"
    mkdir "$ROOT"
    tar -xf "$TREE" -C "$ROOT"
    printf '127.0.0.1 localhost\n' >"$ROOT/etc/hosts"
}

# Sets up the control groups of the container: version 1 (several hierarchies) or version 2 (one).
groups() {
    local at
    for at in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        [ -d "$at" ] && echo "$at/$NAME"
    done
    [ -e /sys/fs/cgroup/cgroup.controllers ] && echo "/sys/fs/cgroup/$NAME"
    return 0
}

boot() {
    local group state
    for group in $(groups); do mkdir -p "$group" || skip "no control group can be made here"; done
    # The function is passed as text to the new shell.
    # shellcheck disable=SC2016
    setsid bash -c 'for group in $1; do echo $$ >"$group/cgroup.procs"; done
        exec systemd-nspawn --quiet --register=no --keep-unit --machine="$2" --directory="$3" --boot \
            --console=passive --private-network \
            --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" systemd.log_target=journal' \
        - "$(groups)" "$NAME" "$ROOT" </dev/null >"$CACHE/console.log" 2>&1 &
    NSPAWN=$!
    for _ in $(seq 600); do
        LEADER=$(pgrep -P "$NSPAWN" 2>/dev/null || true)
        if [ -n "$LEADER" ]; then
            state=$(inside systemctl is-system-running 2>/dev/null || true)
            case $state in running | degraded) return ;; esac
        fi
        kill -0 "$NSPAWN" 2>/dev/null || break
        sleep 0.1
    done
    tail -5 "$CACHE/console.log"
    skip "a container with systemd does not boot here"
}

# inside COMMAND...: runs it in all namespaces of the container.
inside() {
    nsenter -t "$LEADER" -a -- env -i HOME=/root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# Kills all processes at once, as a loss of power does.
pull_the_plug() {
    kill -9 "$LEADER"
    wait "$NSPAWN" 2>/dev/null || true
}

shut_down() {
    local group
    if [ -n "${NSPAWN:-}" ] && kill -0 "$NSPAWN" 2>/dev/null; then
        inside systemctl poweroff --no-block >/dev/null 2>&1 || true
        for _ in $(seq 100); do kill -0 "$NSPAWN" 2>/dev/null || break; sleep 0.1; done
        kill -9 "${LEADER:-$NSPAWN}" "$NSPAWN" 2>/dev/null || true
        wait "$NSPAWN" 2>/dev/null || true
    fi
    for group in $(groups); do
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
}

# wait_for SECONDS WHAT COMMAND...: waits until the command succeeds.
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || fail "not in time: $what"
        sleep 0.2
    done
}
