//! Backups while the daemon writes, and ledgers that come back from them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

use crate::{
    appliance::{Appliance, Daemon, KMS, SERVICE, STORE, documented},
    support::{iaca, leaf},
};

fn run(appliance: &Appliance, command: &str, file: &str, more: &[&str]) -> Output {
    let (file, config) = (appliance.path(file), appliance.config());
    let arguments = [command, file.to_str().unwrap(), "--config", config.to_str().unwrap()];
    appliance.run(&[&arguments, more].concat())
}

#[track_caller]
fn done(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts a refusal with exit code 1, after which nothing lies about.
#[track_caller]
fn refused(appliance: &Appliance, output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "'{why}' in {said}");
    assert_eq!(partial(appliance), Vec::<PathBuf>::new());
}

fn partial(appliance: &Appliance) -> Vec<PathBuf> {
    let names = fs::read_dir(appliance.path("")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.to_string_lossy().contains(".partial")).collect()
}

/// The ledger is gone: the disk failed.
fn lose_the_ledger(appliance: &Appliance) {
    for side in ["", "-wal", "-shm", ".lock"] {
        let _ = fs::remove_file(appliance.path(&format!("ledger.sqlite{side}")));
    }
}

/// What a client reads of all that was issued and stored.
fn everything(daemon: &Daemon) -> Vec<Value> {
    let list = format!("/v1/{SERVICE}/x509-service-api/certificates?limit=500");
    let mut read = vec![daemon.client.get(&list).ok().json];
    for item in read[0]["items"].as_array().unwrap().clone() {
        let serial = item["serial"].as_str().unwrap();
        let path = format!("/v1/{SERVICE}/x509-service-api/certificates/{serial}");
        read.push(daemon.client.get(&path).ok().json);
    }
    read.push(daemon.client.get(&format!("/v1/{STORE}/x509-store-api/certificates")).ok().json);
    read.push(daemon.client.get(&format!("/v1/{KMS}/kms-service-api/keys")).ok().json);
    read
}

/// An appliance with an IACA and a leaf, stopped, and a backup of it named `backup`.
fn backed_up() -> Appliance {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "Root")).ok();
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")).ok();
    daemon.stop();
    done(run(&appliance, "backup", "backup", &[]));
    appliance
}

#[test]
fn a_backup_under_load_is_one_moment_of_the_ledger() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (daemon, enough) = (&daemon, &enough);
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("Leaf {thread}.{number}");
                    daemon.client.issue("certificate", &leaf("leaf-secp256r1", &name)).ok();
                    if enough.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        for number in 0..5 {
            let said = done(run(&appliance, "backup", &format!("backup.{number}"), &[]));
            assert!(said.contains("read back and whole"), "{said}");
        }
        enough.store(true, Ordering::Relaxed);
    });
    let mode = fs::metadata(appliance.path("backup.4")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let after = everything(&daemon);
    daemon.stop();

    // The fourth is from the midst: what it holds is a beginning of what there was.
    lose_the_ledger(&appliance);
    done(run(&appliance, "restore", "backup.4", &[]));
    let daemon = appliance.start();
    let restored = everything(&daemon);
    let items = |read: &[Value]| read[0]["items"].as_array().unwrap().clone();
    let (restored, after) = (items(&restored), items(&after));
    assert!(!restored.is_empty() && after.ends_with(&restored), "{}", restored.len());
}

#[test]
fn what_was_lost_comes_back_and_issuing_goes_on() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();
    daemon.client.issue("iso/iacas", &iaca("iaca-secp384r1", "Root")).ok();
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")).ok();
    let before = everything(&daemon);
    done(run(&appliance, "backup", "backup", &[]));
    daemon.kill();

    lose_the_ledger(&appliance);
    let said = done(run(&appliance, "restore", "backup", &[]));
    assert!(said.contains("3 certificates"), "{said}");
    let entries = appliance.count("select count(*) from audit_entries");
    let last: String = appliance
        .ledger()
        .query_row("select entry from audit_entries order by idx desc limit 1", [], |row| {
            Ok(String::from_utf8(row.get(0)?).unwrap())
        })
        .unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["type"], "restored");
    assert_eq!(last["detail"]["auditEntries"], entries - 1);
    assert_eq!(last["detail"]["keysChecked"], true);
    let ledger = fs::metadata(appliance.path("ledger.sqlite")).unwrap();
    assert_eq!(ledger.permissions().mode() & 0o777, 0o600);

    let daemon = appliance.start();
    assert_eq!(everything(&daemon), before);
    let issued = daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Next")).ok();
    let old = before[0]["items"].to_string();
    assert!(!old.contains(issued.header("chancery-serial").unwrap()));
    // And the next backup is as good as the first.
    done(run(&appliance, "backup", "backup.2", &[]));
}

#[test]
fn a_bit_that_flips_is_found_wherever_it_is() {
    let appliance = backed_up();
    let whole = fs::read(appliance.path("backup")).unwrap();
    lose_the_ledger(&appliance);
    for place in (0..whole.len()).step_by(whole.len() / 40).chain([whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        fs::write(appliance.path("flipped"), flipped).unwrap();
        let output = run(&appliance, "restore", "flipped", &["--without-hsm"]);
        refused(&appliance, &output, "flipped: ");
        assert!(!appliance.path("ledger.sqlite").exists(), "at {place}");
    }
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(appliance.path("short"), &whole[..length]).unwrap();
        let output = run(&appliance, "restore", "short", &["--without-hsm"]);
        refused(&appliance, &output, "no backup, or its end is missing");
    }
    done(run(&appliance, "restore", "backup", &[]));
}

#[test]
fn a_ledger_that_was_tampered_with_is_not_backed_up() {
    for (change, why) in [
        (
            "update audit_entries set entry = cast(replace(entry, 'demo', 'dome') as blob)",
            "was changed",
        ),
        ("update audit_entries set leaf_hash = zeroblob(32) where idx = 1", "audit entry 1 was"),
        ("delete from audit_entries where idx = 0", "audit entry 0 is missing"),
        ("update certificates set der = x'30'", "the certificate of audit entry"),
        (
            "update certificates set der = x'', sha256 =
             x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
            "the certificate of audit entry",
        ),
        ("update key_pins set spki = x'30'", "key pin"),
        ("pragma foreign_keys = off; delete from intents", "refers to another"),
    ] {
        let appliance = backed_up();
        appliance.ledger().execute_batch(change).unwrap();
        let output = run(&appliance, "backup", "next", &[]);
        refused(&appliance, &output, why);
        assert!(!appliance.path("next").exists());
    }
}

#[test]
fn nothing_is_overwritten_and_no_daemon_is_disturbed() {
    let appliance = backed_up();
    let before = fs::read(appliance.path("backup")).unwrap();
    let output = run(&appliance, "backup", "backup", &[]);
    refused(&appliance, &output, "there already");
    assert_eq!(fs::read(appliance.path("backup")).unwrap(), before);

    let output = run(&appliance, "restore", "backup", &[]);
    refused(&appliance, &output, "there is a ledger already");
    let daemon = appliance.start();
    let output = run(&appliance, "restore", "backup", &[]);
    refused(&appliance, &output, "in use by another chancery");
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Still")).ok();
    daemon.stop();

    // A write-ahead log that was left behind is part of a ledger.
    lose_the_ledger(&appliance);
    fs::write(appliance.path("ledger.sqlite-wal"), "left").unwrap();
    refused(&appliance, &run(&appliance, "restore", "backup", &[]), "there is a ledger already");

    lose_the_ledger(&appliance);
    let output = run(&appliance, "backup", "next", &[]);
    refused(&appliance, &output, "ledger.sqlite");
    fs::write(appliance.path("ledger.sqlite"), "no database at all").unwrap();
    refused(&appliance, &run(&appliance, "backup", "next", &[]), "ledger.sqlite");
    assert!(!appliance.path("next").exists());
}

#[test]
fn a_ca_whose_key_is_gone_is_named_before_anything_is_restored() {
    let appliance = backed_up();
    lose_the_ledger(&appliance);
    let label = format!("{KMS}.iaca-secp256r1");
    appliance.pkcs11_tool(&format!("--delete-object --type privkey --label {label}"));
    let output = run(&appliance, "restore", "backup", &[]);
    refused(&appliance, &output, &format!("key {label} is on no token"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("leaf-secp256r1"), "a leaf's key is no CA's: {said}");
    assert!(!appliance.path("ledger.sqlite").exists());

    let output = run(&appliance, "restore", "backup", &["--without-hsm"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning"));
    done(output);
    let daemon = appliance.start();
    let list = format!("/v1/{SERVICE}/x509-service-api/certificates");
    assert_eq!(daemon.client.get(&list).ok().json["items"].as_array().unwrap().len(), 2);
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Next")).ok();
}

#[test]
fn a_token_that_cannot_be_asked_is_not_taken_for_one_with_the_keys() {
    let appliance = backed_up();
    lose_the_ledger(&appliance);
    fs::rename(appliance.path("tokens"), appliance.path("elsewhere")).unwrap();
    fs::create_dir(appliance.path("tokens")).unwrap();
    let output = run(&appliance, "restore", "backup", &[]);
    refused(&appliance, &output, "token softhsm");
    assert!(!appliance.path("ledger.sqlite").exists());
}
