//! A ledger that cannot be written, or is somebody else's; clients that hang up.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::{
    appliance::{Appliance, Frozen, SOON, STORE, until},
    evidence::{Evidence, assert_sound, assert_sound_in},
    load::{Load, assert_clean, assert_clean_refusal, csr, leaf, leaf_stored_as},
    raw,
};

/// A small file system in memory, for one ledger.
pub struct Disk {
    place: PathBuf,
}

impl Disk {
    /// `None`, and a word about it, where file systems cannot be mounted.
    pub fn mount(appliance: &Appliance, kibibytes: usize) -> Option<Self> {
        let disk = Self { place: appliance.path("disk") };
        fs::create_dir(&disk.place).unwrap();
        let size = format!("size={kibibytes}k,mode=700");
        if !run("mount", &["-t", "tmpfs", "-o", &size, "none"], &disk.place) {
            eprintln!("SKIPPED: this test mounts a file system, and needs to be root for it");
            return None;
        }
        appliance.configure(|text| {
            text.replace("path = \"ledger.sqlite\"", "path = \"disk/ledger.sqlite\"")
        });
        Some(disk)
    }

    fn ledger(&self) -> Connection {
        let ledger = Connection::open(self.place.join("ledger.sqlite")).unwrap();
        ledger.busy_timeout(SOON).unwrap();
        ledger
    }

    /// Leaves no octet of room.
    fn fill(&self) {
        self.fill_but(0);
    }

    /// Leaves so many octets of room, in pages.
    pub fn fill_but(&self, room: u64) {
        let mut filler = fs::File::create(self.place.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length.saturating_sub(room)).unwrap();
    }

    pub fn make_room(&self) {
        fs::remove_file(self.place.join("filler")).unwrap();
    }

    fn make_read_only(&self) {
        assert!(run("mount", &["-o", "remount,ro"], &self.place));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy"], &self.place);
    }
}

fn run(tool: &str, arguments: &[&str], place: &Path) -> bool {
    Command::new(tool).args(arguments).arg(place).status().is_ok_and(|status| status.success())
}

#[test]
fn on_a_full_disk_nothing_is_released_and_service_returns_with_the_room() {
    let appliance = Appliance::new();
    let Some(disk) = Disk::mount(&appliance, 4_096) else { return };
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, 4);
    load.wait_for(200, 10, SOON);
    disk.fill();
    load.wait_for(503, 20, SOON);
    let since = Instant::now();
    let (status, checks) = daemon.readiness();
    assert_eq!((status, checks["database"].as_str()), (503, Some("not writable")));
    assert_eq!(checks["audit"], "not writable");
    load.wait_for(503, 20, SOON);
    assert_eq!(load.count_since(since, 200), 0);
    disk.make_room();
    let took = load.recovery(Instant::now(), SOON);
    println!("full disk: served {took:?} after there was room again");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let held = assert_clean(&load.stop(), SOON);
    // What could not be aborted on the full disk is aborted by and by, without a restart.
    let open = || Evidence::read(&disk.ledger()).in_state("open").count();
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    daemon.wait_until_ready();
    let evidence = assert_sound_in(&mut disk.ledger(), &held, None);
    assert_eq!(evidence.certificates.len(), held.len(), "certificates recorded, and received");
    daemon.stop();
    assert_sound_in(&mut disk.ledger(), &held, None);
}

#[test]
fn a_disk_that_fills_up_by_itself_loses_nothing() {
    let appliance = Appliance::new();
    let Some(disk) = Disk::mount(&appliance, 700) else { return };
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, 4);
    load.wait_for(503, 20, SOON);
    let held = assert_clean(&load.stop(), SOON);
    assert!(!held.is_empty());
    let evidence = Evidence::read(&disk.ledger());
    assert_eq!(evidence.certificates.len(), held.len(), "certificates recorded, and received");
    daemon.kill();
    // The operator gives it more room.
    assert!(run("mount", &["-o", "remount,size=8m"], &disk.place));
    let daemon = appliance.start();
    daemon.wait_until_ready();
    daemon.stop();
    assert_sound_in(&mut disk.ledger(), &held, None);
}

#[test]
fn a_ledger_that_cannot_be_written_is_no_ledger_to_start_with() {
    let appliance = Appliance::new();
    let Some(disk) = Disk::mount(&appliance, 4_096) else { return };
    appliance.start().stop();
    disk.make_read_only();
    let words = assert_refuses_to_start(&appliance);
    assert!(words.contains("Read-only file system"), "{words}");
    assert!(words.contains("disk/ledger.sqlite"), "{words}");
}

#[test]
fn a_second_daemon_on_the_same_ledger_is_turned_away() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let words = assert_refuses_to_start(&appliance);
    assert!(words.contains("ledger.sqlite is in use by another chancery"), "{words}");
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Example Leaf")).ok();
    daemon.stop();
    let evidence = assert_sound(&appliance, &[], None);
    assert_eq!(evidence.entries_of("started").count(), 1);
}

/// What is said on standard error.
pub fn assert_refuses_to_start(appliance: &Appliance) -> String {
    let output = appliance.run(&["serve", "--config", appliance.config().to_str().unwrap()]);
    assert!(!output.status.success(), "{output:?}");
    assert!(output.status.code().is_some(), "ended by a signal: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_lock_that_another_process_holds_too_long_is_a_refusal_not_a_hang() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, 4);
    load.wait_for(200, 10, SOON);
    let lock = appliance.ledger();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    load.wait_for(503, 1, Duration::from_secs(60));
    lock.execute_batch("ROLLBACK").unwrap();
    let took = load.recovery(Instant::now(), SOON);
    println!("foreign lock: served {took:?} after its release");
    let told = load.stop();
    let slowest = told.iter().map(|told| told.took).max();
    println!("foreign lock: the slowest answer took {slowest:?}");
    let held = assert_clean(&told, Duration::from_secs(15));
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    let evidence = assert_sound(&appliance, &held, None);
    // Who was refused while a transaction did not end may have been issued a certificate all the same.
    let refused = told.iter().filter(|told| told.is(503)).count();
    let recorded = evidence.certificates.len();
    assert!((held.len()..=held.len() + refused).contains(&recorded), "{recorded} recorded");
    daemon.stop();
}

#[test]
fn what_a_client_hung_up_on_is_issued_and_recorded_all_the_same() {
    let appliance = Appliance::new();
    appliance.configure_token("sign_deadline_ms = 60000\ncanary_seconds = 3600");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    daemon.prove(&["leaf-secp256r1", "ds-from-csr"]);
    for (route, body) in [
        ("certificate", leaf_stored_as("nobody-waits", "leaf-secp256r1")),
        ("csrs", csr("ds-from-csr")),
    ] {
        let frozen = Frozen::signers_of(&daemon);
        let mut client = raw::Connection::open(&appliance, &daemon);
        client.send(route, &body);
        let open = || appliance.count("select count(*) from intents where state = 'open'");
        until(SOON, || (open() == 1).then_some(())).expect("no intent");
        drop(client);
        frozen.thaw();
        until(SOON, || (open() == 0).then_some(())).expect("the intent stays open");
    }
    // An answer that nobody got has no line of its own: this is where the log names the certificate.
    let unanswered = || {
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains("nobody waits for the answer"));
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        (lines.len() == 2).then_some(lines)
    };
    let unanswered = until(SOON, unanswered).expect("the log does not tell of both");
    let evidence = assert_sound(&appliance, &[], None);
    assert_eq!(evidence.in_state("issued").count(), 2);
    let serial: String = appliance
        .ledger()
        .query_row("select lower(hex(serial)) from certificates", [], |row| row.get(0))
        .unwrap();
    assert!(unanswered[0].contains(&serial), "{serial}: {}", unanswered[0]);
    let stored =
        daemon.client.get(&format!("/v1/{STORE}.nobody-waits/x509-store-api/certificates"));
    stored.ok();
    daemon.stop();
}

#[test]
fn half_a_request_is_no_request() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let mut client = raw::Connection::open(&appliance, &daemon);
    client.send_half("certificate", &leaf("leaf-secp256r1", "Example Leaf"));
    drop(client);
    // A whole one behind it, so that the half one has had its turn.
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Example Leaf")).ok();
    daemon.stop();
    let evidence = assert_sound(&appliance, &[], None);
    assert_eq!(evidence.intents.len(), 1);
}

#[test]
fn a_signature_without_room_for_its_record_is_not_released() {
    let appliance = Appliance::new();
    let Some(disk) = Disk::mount(&appliance, 4_096) else { return };
    appliance.configure_token("sign_deadline_ms = 60000\ncanary_seconds = 3600");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    daemon.prove(&["leaf-secp256r1"]);
    let frozen = Frozen::signers_of(&daemon);
    let body = leaf_stored_as("no-room", "leaf-secp256r1");
    let call = {
        let (client, body) = (daemon.client.clone(), body.clone());
        std::thread::spawn(move || client.issue("certificate", &body))
    };
    let open = || Evidence::read(&disk.ledger()).in_state("open").count();
    until(SOON, || (open() == 1).then_some(())).expect("no intent");
    disk.fill();
    frozen.thaw();
    let refused = call.join().unwrap();
    assert_clean_refusal(&refused);
    assert_eq!(refused.json["message"], "storing failed; no certificate was issued");
    disk.make_room();
    // The abort is made good, and with it the id is free again.
    until(SOON, || (open() == 0).then_some(())).expect("the intent stays open");
    daemon.client.issue("certificate", &body).ok();
    daemon.stop();
    let evidence = assert_sound_in(&mut disk.ledger(), &[], None);
    assert_eq!(evidence.in_state("aborted").count(), 1);
    assert_eq!(evidence.certificates.len(), 1);
}
