#!/usr/bin/env bash
# Installs the package into a Debian container with a real systemd, follows its manual to a first certificate, and
# then crashes, freezes, reloads, restarts, upgrades and removes the service.
#
# Needs root and systemd-nspawn. Prints SKIPPED and exits with 77 if a container cannot be booted here.
# The first run makes a Debian tree in target/systemd, which takes some minutes. Later runs use it again.
#
#   tests/systemd.sh [--binary FILE] [--suite bookworm|trixie]
#
# --binary: use this chancery instead of building one.
# --suite: the version of Debian. trixie also tests what needs systemd 253 or later.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=softhsm/provision.sh
source softhsm/provision.sh
SUITE=bookworm
# shellcheck source=tests/systemd/machine.sh
source tests/systemd/machine.sh
# shellcheck source=tests/systemd/outages.sh
source tests/systemd/outages.sh

UNIT=chancery.service
DROP_INS=$ROOT/etc/systemd/system/$UNIT.d
LOAD=/run/load

main() {
    [ "$(id -u)" = 0 ] || skip "not root"
    install_missing systemd-container "type -P systemd-nspawn" mmdebstrap "type -P mmdebstrap"
    local binary=""
    while [ $# -gt 0 ]; do
        case $1 in
            --binary) binary=$2 ;;
            --suite) SUITE=$2 ;;
            *) sed -n '/^#   /s/^#  */usage: /p' "$0" >&2; exit 2 ;;
        esac
        shift 2
    done
    if [ -z "$binary" ]; then
        cargo build --locked --bin chancery
        binary=${CARGO_TARGET_DIR:-target}/debug/chancery
    fi
    step "packages" make_packages "$binary"
    step "Debian tree" make_tree
    trap shut_down EXIT
    step "systemd boots" boot
    step "installing starts nothing and leaves nothing to complain of" installed
    step "the first page leads to a certificate" first_page
    step "ready, with a status" ready
    step "a crash is followed by a restart" crash
    step "a frozen HSM costs its signers, not the service" frozen_hsm
    step "a frozen front is restarted by the watchdog" frozen_front
    step "reloads under load fail no request" reloads
    [ "$SUITE" = bookworm ] || step "a reload ends when the configuration is in force" notify_reload
    step "a new TLS key: as a file by itself, as a credential with a restart" tls_key
    step "another module signs, makes keys and publishes" second_module
    step "restarts behind systemd's sockets refuse no connection" socket_activation
    step "without a network it signs, makes keys and publishes, with both modules" no_network
    step "PIN and TLS key from encrypted credentials" encrypted
    step "a PIN that is wrong is not tried by every start" wrong_pin
    step "an upgrade keeps data and settings" upgrade
    step "upgrades that are killed can be done again" killed_upgrades
    step "the plug is pulled under load" plug
    step "a backup of the daemon's user, restored by root" recovery
    step "removal and purge leave the ledger" removal
    echo "all passed in $SECONDS s"
}

step() {
    local start=$SECONDS
    echo "== $1"
    shift
    "$@"
    echo "   $((SECONDS - start)) s"
}

make_packages() {
    local version
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
    OLD=$CACHE/old.deb NEW=$CACHE/new.deb
    mkdir -p "$CACHE"
    cp "$(./systemd/package.sh --binary "$1" --version "$version-1" --fast 1 | tail -1)" "$OLD"
    # The newer package differs in a comment of the configuration.
    sed '1s/$/ In other words./' config/chancery.toml >"$CACHE/reference.toml"
    cp "$(./systemd/package.sh --binary "$1" --version "$version-2" --fast 1 --reference "$CACHE/reference.toml" | tail -1)" "$NEW"
}

# journal_has WORDS [OPTION...]: reads the whole journal, because a reader that stops early makes journalctl fail.
journal_has() {
    local words=$1
    shift
    [ "$(inside journalctl -u "$UNIT" --no-pager "$@" | grep -c -- "$words")" -gt 0 ]
}

# These are called often: systemd must not refuse a restart because there were too many.
restart() { inside systemctl restart "$UNIT"; }
property() { inside systemctl show --property="$1" --value "$UNIT"; }
client() { inside /opt/client.sh "$@"; }
is_serving() { [ "$(property ActiveState)" = active ] && [[ $(property StatusText) == "serving on "*"token chancery-1: ready"*"ledger: ok"* ]]; }
serves() { is_serving && client issue; }
main_pid_is_not() { is_serving && [ "$(property MainPID)" != "$1" ]; }
signers() { inside pgrep -P "$(property MainPID)" | tr '\n' ' '; }
certificates() { inside chancery cert list acme.dmv.x509 --limit 100000 "${ME[@]}" | wc -l; }
ME=(--url https://localhost:8443 --cacert /etc/chancery/tls/ca.pem
    --cert /etc/chancery/tls/client.pem --key /etc/chancery/tls/client.key)

# drop_in NAME [CONTENT]: installs a drop-in of the package, or one with this content.
drop_in() {
    mkdir -p "$DROP_INS"
    if [ $# = 2 ]; then
        printf '%s\n' "$2" >"$DROP_INS/$1.conf"
    else
        cp "$ROOT/usr/share/doc/chancery/drop-ins/$1.conf" "$DROP_INS"
    fi
    inside systemctl daemon-reload
}

# under_load COMMAND...: runs it while four clients send requests, each on a new connection. Every answer must be 200.
under_load() {
    local clients=() number
    rm -f "$ROOT$LOAD"* && inside sh -c "rm -f $LOAD*"
    for number in 1 2 3 4; do
        client load "$LOAD.$number" &
        clients+=($!)
        inside ln -sf "$LOAD.stop" "$LOAD.$number.stop"
    done
    "$@"
    inside touch "$LOAD.stop"
    wait "${clients[@]}"
    local told
    told=$(inside sh -c "cat $LOAD.[1-4]" | sort | uniq -c | sort -rn)
    echo "  $told" | head -5
    if [ "$(wc -l <<<"$told")" != 1 ] || [[ $told != *" 200" ]]; then fail "a request failed"; fi
}

answered() { [ "$(inside sh -c "cat $LOAD.[1-4] | wc -l")" -ge "$1" ]; }
# more_answers COUNT: waits for so many further answers.
more_answers() {
    local now
    now=$(inside sh -c "cat $LOAD.[1-4] | wc -l")
    wait_for 60 "$1 answers" answered $((now + $1))
}

installed() {
    cp "$OLD" "$ROOT/var/old.deb"
    cp tests/systemd/client.sh "$ROOT/opt/client.sh"
    inside dpkg -i /var/old.deb >/dev/null
    [ "$(property ActiveState)" = inactive ] || fail "it is started without a PIN"
    inside id chancery >/dev/null
    inside systemd-analyze verify --man=no /lib/systemd/system/chancery.service \
        /lib/systemd/system/chancery-{api,operations,distribution}.socket
    inside systemd-analyze security --no-pager --threshold=10 "$UNIT" | tail -1
    inside man -w chancery >/dev/null
    inside test -s /usr/share/doc/chancery/README.md -a -s /usr/share/doc/chancery/recovery.md
    # A missing credential is named, and systemd does not refuse further starts.
    if inside systemctl enable --quiet --now "$UNIT" 2>/dev/null; then fail "it starts without a PIN"; fi
    local told
    told=$(inside systemctl status --no-pager --full "$UNIT" || true)
    for _ in 1 2 3 4 5 6 7; do inside systemctl restart "$UNIT" 2>/dev/null || true; done
    inside systemctl stop "$UNIT"
    for credential in pin tls-key; do
        journal_has "/etc/chancery/credentials/$credential is missing" || fail "no word of the $credential: $told"
    done
    if journal_has 'start-limit-hit\|too quickly'; then fail "it was started too often"; fi
    inside systemctl disable --quiet "$UNIT"
}

# Runs the indented lines of the manual. The packages that it installs first are in the tree already.
first_page() {
    sed -n 's/^    //p' "$ROOT/usr/share/doc/chancery/getting-started.txt" | grep -v '^apt-get' \
        >"$ROOT/opt/first-page.sh"
    grep -q 'systemctl enable' "$ROOT/opt/first-page.sh"
    # A script does not read the status, so wait until the service is ready.
    sed -i 's/^systemctl status.*/timeout 60 sh -c "until curl -sf localhost:9443\/readyz; do sleep 1; done"/' \
        "$ROOT/opt/first-page.sh"
    inside bash -eu /opt/first-page.sh >"$CACHE/first-page.log" 2>&1 ||
        { tail -30 "$CACHE/first-page.log"; fail "the first page"; }
    grep -q '"certificatePEM":"-----BEGIN CERTIFICATE-----' "$CACHE/first-page.log" || fail "no certificate"
    inside chancery key generate acme.dmv.kms.leaf-1 --type secp256r1 "${ME[@]}" >/dev/null
    client issue >/dev/null || fail "issuing"
}

ready() {
    wait_for 30 "the status" is_serving
    echo "   status: $(property StatusText)"
    [ "$(inside curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9443/readyz)" = 200 ] || fail "/readyz"
    # Log lines have fields: ask the journal for one of them.
    journal_has '"STATUS":"200"' -o json || fail "no fields in the journal"
    journal_has 'answered .*status=200 .*serial=[0-9a-f]' -o cat || fail "no facts in the journal's messages"
    check_cage
    # If a process could be dumped or traced by its user, its files in /proc would belong to that user.
    local pid
    for pid in $(property MainPID) $(signers); do
        [ "$(inside stat -c %U "/proc/$pid/environ")" = root ] || fail "process $pid can be dumped"
    done
}

# The restrictions of the unit leave the signers what they need to set up their sandbox.
check_cage() {
    if journal_has 'cage: missing'; then
        fail "the unit, or this machine, keeps signers from caging themselves"
    fi
}

# Reload with a renewed certificate and with a configuration that grows each time.
renew() {
    inside sh -c "cd /etc/chancery/tls && openssl req -new -key ../credentials/tls-key -subj /CN=renewed-$1 |
        openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out new.pem &&
        mv new.pem server.pem" 2>/dev/null
    printf '\n[[tenants]]\npath = "acme.round%s"\n' "$1" >>"$ROOT/etc/chancery/chancery.toml"
}

reload_again_and_again() {
    local round before
    for round in 1 2 3 4 5; do
        renew "$round"
        before=$(reloads_taken_up)
        inside systemctl reload "$UNIT"
        wait_for 30 "reload $round" reloads_are_more_than "$before"
        more_answers 10
    done
}
reloads_taken_up() { inside journalctl -u "$UNIT" --no-pager | grep -c 'is in force' || true; }
reloads_are_more_than() { [ "$(reloads_taken_up)" -gt "$1" ]; }

reloads() {
    local pid
    pid=$(property MainPID)
    under_load reload_again_and_again
    [ "$(property MainPID)" = "$pid" ] || fail "another process"
    shows renewed-5 || fail "the old certificate"
    refused_reloads
}

# An invalid file makes the reload fail. What only the daemon can refuse is in its status. Neither changes anything.
refused_reloads() {
    keep_config
    printf '\nnonsense = 1\n[[organisations]]\npath = "a b"\n' >>"$CONFIG"
    if inside systemctl reload "$UNIT" 2>/dev/null; then fail "a reload of nonsense succeeds"; fi
    journal_has 'unknown setting: organisations' || journal_has 'nonsense' || fail "no word of what is wrong"
    serves >/dev/null || fail "no service after a refused reload"
    restore_config
    sed -i 's/^connections_max = .*/connections_max = 99/' "$CONFIG"
    inside systemctl reload "$UNIT"
    wait_for 30 "a refusal in the status" status_has 'limits.connections_max changes only with a restart'
    journal_has 'reload refused.*limits.connections_max' -o cat || fail "no reason in the journal's messages"
    serves >/dev/null || fail "no service after a refused reload"
    restore_config
    inside systemctl reload "$UNIT"
    wait_for 30 "service" is_well
}

CONFIG=$ROOT/etc/chancery/chancery.toml
keep_config() { cp "$CONFIG" "$CACHE/good.toml"; }
restore_config() { cp "$CACHE/good.toml" "$CONFIG"; }

# No wait after the reload, because it ends when the new configuration is in use.
notify_reload() {
    drop_in notify-reload
    restart
    wait_for 30 "service" serves
    local round before
    for round in 6 7 8 9 10; do
        renew "$round"
        before=$(reloads_taken_up)
        inside systemctl reload "$UNIT"
        reloads_are_more_than "$before" || fail "reload $round ended early"
    done
    refused_reloads
    rm "$DROP_INS/notify-reload.conf"
    inside systemctl daemon-reload
    restart
    wait_for 30 "service" serves
}

# new_tls KEY NAME: replaces the certificate, then the key.
new_tls() {
    inside sh -ec "cd /etc/chancery/tls && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj /CN=$2 -keyout new.key -out new.csr && openssl x509 -req -in new.csr -CA ca.pem -CAkey ca.key \
        -CAcreateserial -days 2 -extfile server.ext -out new.pem && chown --reference=$1 new.key &&
        chmod --reference=$1 new.key && mv new.pem server.pem && mv new.key $1" 2>/dev/null
}
shows() {
    inside sh -c 'openssl s_client -connect localhost:8443 </dev/null 2>/dev/null | openssl x509 -noout -subject' |
        grep "$1" >/dev/null
}

tls_key() {
    new_tls /etc/chancery/credentials/tls-key by-restart
    restart
    wait_for 30 "service" serves
    shows by-restart || fail "the old certificate after a restart"
    keep_config
    sed -i 's|^private_key = .*|private_key = "/etc/chancery/tls/server.key"|' "$CONFIG"
    inside install -o root -g chancery -m 0640 /etc/chancery/credentials/tls-key /etc/chancery/tls/server.key
    restart
    wait_for 30 "service" serves
    local pid
    pid=$(property MainPID)
    new_tls /etc/chancery/tls/server.key by-itself
    wait_for 30 "the new certificate" shows by-itself
    [ "$(property MainPID)" = "$pid" ] || fail "another process"
    restore_config
    inside mv /etc/chancery/tls/server.key /etc/chancery/credentials/tls-key
    restart
    wait_for 30 "service" serves
}

# Use the same token through a socket: p11-kit's client module, and a server that loads SoftHSM.
second_module() {
    local unit=$ROOT/etc/systemd/system/token-server.service
    printf '%s\n' '[Service]' User=chancery RuntimeDirectory=token-server \
        Environment=SOFTHSM2_CONF=/etc/chancery/softhsm2.conf \
        "ExecStart=/usr/bin/p11-kit server -f -n /run/token-server/socket \
            --provider /usr/lib/softhsm/libsofthsm2.so pkcs11:token=chancery" >"$unit"
    inside systemctl daemon-reload
    inside systemctl start token-server
    allow_publishing
    keep_config
    through_p11_kit
    restart
    wait_for 30 "service through p11-kit" serves
    inside chancery key generate acme.dmv.kms.vical-signer --type secp256r1 "${ME[@]}" >/dev/null
    client publish >/dev/null || fail "publishing"
    inside sh -c "cat /proc/$(signers | cut -d' ' -f1)/maps" | grep -c p11-kit-client >/dev/null || fail "another module"
    check_cage
    restore_config
    restart
    wait_for 30 "service" serves
}
allow_publishing() {
    sed -i -e 's/^allow_empty = .*/allow_empty = true/' -e 's/^        "store:write",/&\n        "vical:publish",/' "$CONFIG"
}
through_p11_kit() {
    sed -i -e "s|^module = .*|module = \"/usr/lib/$(uname -m)-linux-gnu/pkcs11/p11-kit-client.so\"|" \
        -e '/^SOFTHSM2_CONF/d' \
        -e 's|^\[tokens.environment\]|&\nP11_KIT_SERVER_ADDRESS = "unix:path=/run/token-server/socket"|' "$CONFIG"
}
status_has() { [[ $(property StatusText) == *"$1"* ]]; }
is_well() { is_serving && ! status_has 'refused'; }

restart_again_and_again() {
    for _ in 1 2 3; do
        more_answers 5
        restart
    done
    more_answers 10
}

socket_activation() {
    inside systemctl stop "$UNIT"
    inside systemctl enable --quiet --now chancery-{api,operations,distribution}.socket
    # The first connection starts the service.
    [ "$(property ActiveState)" = inactive ] || fail "started before anybody came"
    client issue >/dev/null || fail "the first request"
    under_load restart_again_and_again
}

no_network() {
    drop_in no-network
    restart
    wait_for 30 "service" serves
    [ "$(inside sh -c "nsenter -t $(property MainPID) -n ip -brief link" | grep -vc '^lo ')" = 0 ] || fail "a network"
    inside chancery key generate acme.dmv.kms.leaf-2 --type secp384r1 "${ME[@]}" >/dev/null
    client publish >/dev/null || fail "publishing"
    inside systemd-analyze security --no-pager --threshold=3 "$UNIT" | tail -1
    keep_config
    through_p11_kit
    restart
    wait_for 30 "service through p11-kit" serves
    inside chancery key generate acme.dmv.kms.leaf-3 --type secp384r1 "${ME[@]}" >/dev/null
    client publish >/dev/null || fail "publishing"
    check_cage
    restore_config
    restart
    wait_for 30 "service" serves
}

encrypted() {
    # As the drop-in says, but with the machine's key, because there is no TPM here.
    inside sh -ec 'rm -rf /etc/credstore.encrypted; mkdir /root/plain; mv /etc/chancery/credentials/* /root/plain/'
    sed -n 's/^#   //p' "$ROOT/usr/share/doc/chancery/drop-ins/encrypted-credentials.conf" >"$ROOT/opt/encrypted.sh"
    [ "$(wc -l <"$ROOT/opt/encrypted.sh")" = 6 ] || fail "the commands of the drop-in"
    sed -i 's/systemd-creds encrypt/& --with-key=host/' "$ROOT/opt/encrypted.sh"
    inside sh -ec 'cd /root/plain; sh -eux /opt/encrypted.sh' >"$CACHE/encrypted.log" 2>&1 ||
        { cat "$CACHE/encrypted.log"; fail "the commands of the drop-in"; }
    grep -q 'no problems' "$CACHE/encrypted.log" || fail "chancery check with encrypted credentials"
    restart
    wait_for 30 "service" serves
    inside sh -ec 'cd /etc/credstore.encrypted; mv chancery.pin away'
    if inside systemctl restart "$UNIT" 2>/dev/null; then fail "it starts without a PIN"; fi
    journal_has '/etc/credstore.encrypted/chancery.pin is missing' || fail "no word of the encrypted PIN"
    inside sh -ec 'cd /etc/credstore.encrypted; mv away chancery.pin'
    restart
    wait_for 30 "service" serves
    inside mv /root/plain/pin /root/plain/tls-key /etc/chancery/credentials/
    rm "$DROP_INS/encrypted-credentials.conf"
    inside systemctl daemon-reload
}

# Later starts know that the first one has tried this PIN.
wrong_pin() {
    cp "$ROOT/etc/chancery/credentials/pin" "$CACHE/pin"
    printf 000000000000 >"$ROOT/etc/chancery/credentials/pin"
    for _ in 1 2 3; do
        restart
        wait_for 30 "the refused PIN in the status" status_has 'PIN refused'
    done
    status_has 'refused the PIN' || fail "tried again: $(property StatusText)"
    echo "   status: $(property StatusText)"
    mv "$CACHE/pin" "$ROOT/etc/chancery/credentials/pin"
    restart
    wait_for 30 "service with the right PIN" serves
}

upgrade() {
    local pid before config
    pid=$(property MainPID) before=$(certificates)
    config=$(sha256sum <"$ROOT/etc/chancery/chancery.toml")
    cp "$NEW" "$ROOT/var/new.deb"
    # An unattended upgrade to a package whose configuration has another comment.
    inside sh -ec 'DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o APT::Sandbox::User=root install /var/new.deb </dev/null' \
        >"$CACHE/upgrade.log" 2>&1 || { tail -20 "$CACHE/upgrade.log"; fail "apt-get -y"; }
    # shellcheck disable=SC2016 # a field of dpkg-query, not a variable
    [ "$(inside dpkg-query -W -f '${db:Status-Status}' chancery)" = installed ] || fail "half-configured"
    grep -q 'In other words' "$ROOT/usr/share/chancery/chancery.toml" || fail "the reference is an old one"
    wait_for 60 "the new version" main_pid_is_not "$pid"
    wait_for 30 "service" serves
    [ "$(certificates)" -gt "$before" ] || fail "certificates are missing: $before before"
    [ "$(sha256sum <"$ROOT/etc/chancery/chancery.toml")" = "$config" ] || fail "the configuration was changed"
}

removal() {
    inside dpkg -r chancery >/dev/null || fail "dpkg -r"
    [ "$(property ActiveState)" = inactive ] || fail "it still runs"
    [ -e "$ROOT/etc/chancery/chancery.toml" ] || fail "the configuration is gone"
    inside dpkg -P chancery >/dev/null || fail "dpkg -P"
    [ ! -e "$ROOT/etc/chancery/chancery.toml" ] || fail "the configuration stays after a purge"
    [ -e "$ROOT/var/lib/chancery/ledger.sqlite" ] || fail "the ledger is gone"
}

main "$@"
