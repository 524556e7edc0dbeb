# shellcheck shell=bash
# Sourced by tests/systemd.sh: crashes, frozen processes, interrupted upgrades, loss of power, and recovery from a
# backup.

crash() {
    local pid
    pid=$(property MainPID)
    inside systemctl kill -s KILL --kill-who=main "$UNIT"
    wait_for 60 "a new process" main_pid_is_not "$pid"
    [ "$(property NRestarts)" = 1 ] || fail "NRestarts=$(property NRestarts)"
    wait_for 30 "service" serves
}

other_signers() { [ "$(signers)" != "$1" ] && serves; }
frozen_hsm() {
    local pid before restarts
    pid=$(property MainPID) before=$(signers) restarts=$(property NRestarts)
    # shellcheck disable=SC2086
    inside kill -STOP $before
    wait_for 90 "new signers" other_signers "$before"
    [ "$(property MainPID)" = "$pid" ] || fail "another process"
    [ "$(property NRestarts)" = "$restarts" ] || fail "the service was restarted"
}

frozen_front() {
    drop_in short-watchdog $'[Service]\nWatchdogSec=5'
    restart
    local pid
    pid=$(property MainPID)
    inside kill -STOP "$pid"
    wait_for 60 "a new process" main_pid_is_not "$pid"
    journal_has 'Watchdog timeout' || fail "no watchdog timeout"
    rm "$DROP_INS/short-watchdog.conf"
    inside systemctl daemon-reload
    restart
    wait_for 30 "service" serves
}

# Kills upgrades and downgrades at different moments. The service goes on or comes back, and running the same command
# again completes the upgrade.
killed_upgrades() {
    local after deb=old pid cut=0
    for after in 0.1 0.3 0.5 0.7; do
        inside dpkg -i "/var/$deb.deb" >/dev/null 2>&1 &
        pid=$!
        sleep "$after"
        inside pkill -9 dpkg || true
        wait "$pid" || cut=$((cut + 1))
        inside sh -ec "dpkg --configure -a; dpkg -i /var/$deb.deb" >/dev/null 2>&1 || fail "dpkg after one that was killed"
        wait_for 60 "service after a killed upgrade" serves
        [ "$deb" = old ] && deb=new || deb=old
    done
    echo "   $cut were cut"
    [ "$cut" -ge 3 ] || fail "the step is none"
    inside dpkg --audit
}

plug() {
    local before
    before=$(certificates)
    client load "$LOAD.plug" &
    wait_for 60 "answers" has_answers 10
    pull_the_plug
    wait 2>/dev/null || true
    boot
    wait_for 60 "service after the plug was pulled" serves
    [ "$(certificates)" -ge $((before + 10)) ] || fail "certificates are missing"
    inside runuser -u chancery -- chancery backup /var/lib/chancery/after-the-plug --config /etc/chancery/chancery.toml >/dev/null
}
has_answers() { [ "$(inside sh -c "cat $LOAD.plug | wc -l")" -ge "$1" ]; }

# Restores on a machine that has only the backup.
recovery() {
    local before
    before=$(certificates)
    inside runuser -u chancery -- chancery backup /var/lib/chancery/backup --config /etc/chancery/chancery.toml >/dev/null
    inside systemctl stop chancery-{api,operations,distribution}.socket "$UNIT"
    inside sh -c 'mv /var/lib/chancery/backup /root/; rm /var/lib/chancery/ledger.sqlite*'
    inside chancery restore /root/backup --config /etc/chancery/chancery.toml >/dev/null
    # Files that root has made do not stop the daemon.
    inside chancery check --config /etc/chancery/chancery.toml >/dev/null
    inside systemctl start chancery-{api,operations,distribution}.socket "$UNIT"
    wait_for 30 "service with the restored ledger" is_serving
    [ "$(certificates)" = "$before" ] || fail "certificates are missing: $before before"
}
