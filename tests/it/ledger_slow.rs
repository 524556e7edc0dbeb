//! A disk that takes its time: answers have a deadline, readiness answers at once, and what was begun is
//! neither lost nor done twice.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use crate::{
    appliance::{Appliance, Daemon, Frozen, SOON, binary, until},
    evidence::assert_sound,
    ledger_faults::Disk,
    load::{Load, leaf},
};

/// A transaction that takes longer is waited for by nobody; with some time for the machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
const READINESS_WITHIN: Duration = Duration::from_secs(2);

/// A daemon whose syncs take as long as a file says, in milliseconds.
fn on_a_slow_disk(appliance: &Appliance) -> Daemon {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ledger_slow/fsync.c");
    appliance.shell(&format!("cc -shared -fPIC -o slow.so {source} -ldl"));
    let program = appliance.path("chancery-slow");
    let (library, told) = (appliance.path("slow.so"), appliance.path("slow"));
    let script = format!(
        "#!/bin/sh\nLD_PRELOAD={} SLOW_FSYNC={} exec {} \"$@\"\n",
        library.display(),
        told.display(),
        binary()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    appliance.start_program(&program)
}

fn set(appliance: &Appliance, milliseconds: u32) {
    fs::write(appliance.path("slow.new"), milliseconds.to_string()).unwrap();
    fs::rename(appliance.path("slow.new"), appliance.path("slow")).unwrap();
}

/// Asks for readiness until it says so; each answer is there at once.
#[track_caller]
fn wait_for_database(daemon: &Daemon, word: &str) -> u16 {
    let said = until(SOON, || {
        let asked = Instant::now();
        let (status, checks) = daemon.readiness();
        let took = asked.elapsed();
        assert!(took < READINESS_WITHIN, "readiness took {took:?}");
        (checks["database"] == word).then_some(status)
    });
    said.unwrap_or_else(|| panic!("database is never {word}:\n{}", daemon.log()))
}

#[test]
fn a_sync_that_hangs_is_a_refusal_in_time_and_costs_nobody_a_second_certificate() {
    let appliance = Appliance::new();
    let daemon = on_a_slow_disk(&appliance);
    daemon.wait_until_ready();
    let body = leaf("leaf-secp256r1", "Example Leaf");
    set(&appliance, 12_000);
    let asked = Instant::now();
    let calls: Vec<_> = (0..4)
        .map(|number| {
            let (client, body) = (daemon.client.clone(), body.clone());
            std::thread::spawn(move || {
                let key = format!("key-{number}");
                (client.issue_once("certificate", &key, &body), Instant::now())
            })
        })
        .collect();
    assert_eq!(wait_for_database(&daemon, "slow"), 503);
    for call in calls {
        let (answer, at) = call.join().unwrap();
        assert_eq!(answer.status, 503, "{}", answer.json);
        assert!(answer.header("retry-after").is_some());
        let took = at.duration_since(asked);
        assert!(took < ANSWERED_WITHIN, "answered after {took:?}");
    }
    // Who comes meanwhile is refused at once, and leaves nothing.
    let late = Instant::now();
    assert_eq!(daemon.client.issue("certificate", &body).status, 503);
    assert!(late.elapsed() < READINESS_WITHIN, "{:?}", late.elapsed());
    set(&appliance, 0);
    daemon.wait_until_ready();
    for number in 0..4 {
        // One that is still under way is 409 until it has ended.
        let key = format!("key-{number}");
        let answered = until(SOON, || {
            let answer = daemon.client.issue_once("certificate", &key, &body);
            assert!(matches!(answer.status, 200 | 409 | 503), "{}", answer.json);
            (answer.status == 200).then_some(())
        });
        answered.unwrap_or_else(|| panic!("{}", daemon.log()));
    }
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    daemon.stop();
    let evidence = assert_sound(&appliance, &[], None);
    assert_eq!(evidence.certificates.len(), 4, "one for each key, and none for who was refused");
}

#[test]
fn a_certificate_whose_record_comes_late_is_replayed_and_not_made_again() {
    let appliance = Appliance::new();
    appliance.configure_token("sign_deadline_ms = 60000\ncanary_seconds = 3600");
    let daemon = on_a_slow_disk(&appliance);
    daemon.wait_until_ready();
    let body = leaf("leaf-secp256r1", "Example Leaf");
    daemon.prove(&["leaf-secp256r1"]);
    let frozen = Frozen::signers_of(&daemon);
    let call = {
        let (client, body) = (daemon.client.clone(), body.clone());
        std::thread::spawn(move || client.issue_once("certificate", "late", &body))
    };
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 1).then_some(())).expect("no intent");
    set(&appliance, 10_000);
    frozen.thaw();
    let refused = call.join().unwrap();
    assert_eq!(refused.status, 503, "{}", refused.json);
    let message = refused.json["message"].as_str().unwrap();
    assert!(message.contains("is not known"), "{message}");
    set(&appliance, 0);
    let answer = until(SOON, || {
        let answer = daemon.client.issue_once("certificate", "late", &body);
        assert!(matches!(answer.status, 200 | 409 | 503), "{}", answer.json);
        (answer.status == 200).then_some(answer)
    });
    let answer = answer.unwrap_or_else(|| panic!("{}", daemon.log()));
    assert_eq!(answer.header("idempotent-replayed"), Some("true"), "issued a second time");
    daemon.stop();
    assert_eq!(assert_sound(&appliance, &[], None).certificates.len(), 1);
}

#[test]
fn a_lock_that_another_process_holds_is_a_refusal_in_time() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, 4);
    load.wait_for(200, 10, SOON);
    let lock = appliance.ledger();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait_for_database(&daemon, "slow");
    load.wait_for(503, 8, SOON);
    lock.execute_batch("ROLLBACK").unwrap();
    load.recovery(Instant::now(), SOON);
    let told = load.stop();
    let slowest = told.iter().map(|told| told.took).max().unwrap();
    assert!(slowest < ANSWERED_WITHIN, "{slowest:?}");
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    wait_for_database(&daemon, "ok");
    daemon.stop();
    assert_sound(&appliance, &[], None);
}

#[test]
fn a_slow_disk_is_no_refusal() {
    let appliance = Appliance::new();
    let daemon = on_a_slow_disk(&appliance);
    daemon.wait_until_ready();
    set(&appliance, 1_000);
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Example Leaf")).ok();
    set(&appliance, 0);
}

#[test]
fn readiness_does_not_say_ready_while_a_full_disk_refuses_all_requests() {
    let appliance = Appliance::new();
    let Some(disk) = Disk::mount(&appliance, 4_096) else { return };
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, 4);
    load.wait_for(200, 10, SOON);
    // A page or two still fit in.
    disk.fill_but(12 << 10);
    load.wait_for(503, 8, SOON);
    for _ in 0..20 {
        assert_eq!(daemon.readiness().0, 503);
        load.wait_for(503, 2, SOON);
    }
    disk.make_room();
    load.recovery(Instant::now(), SOON);
    load.stop();
    daemon.wait_until_ready();
}
