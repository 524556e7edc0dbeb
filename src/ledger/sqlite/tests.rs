//! What only SQLite knows: files, settings, plans, and ledgers of earlier versions.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use rusqlite::Connection;

use super::{checkpoint::Checkpoints, file::LedgerFile};
use crate::{
    audit::EntryKind as Audit,
    domain::{key::sha256, serial::SerialNumber},
    ledger::{conformance::*, *},
};

mod checkpoint;
mod faults;
mod inventory;
mod migration;

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_for_their_owner_only_and_the_log_is_emptied_at_the_end() {
    let place = Place::new();
    let directory = place.file().parent().unwrap();
    let ledger = place.open();
    ledger.is_writable().await.unwrap();
    ledger.key_pins().await.unwrap();
    let files = |directory: &Path| -> Vec<_> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    assert_eq!(files(directory).len(), 4);
    for path in files(directory) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path:?}");
    }
    ledger.close().await;
    assert_eq!(files(directory).len(), 2, "the file and its lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_newer_version_or_of_somebody_else_is_refused() {
    let place = Place::new();
    place.open().close().await;
    place.connect().pragma_update(None, "user_version", 99).unwrap();
    let newer = place.open_any().map(|_| ());
    assert!(
        matches!(&newer, Err(LedgerError::Refused { reason }) if reason.contains("version 99")),
        "{newer:?}"
    );

    let foreign = place.file().with_file_name("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let refused = Ledger::open(&foreign).map(|_| ());
    assert!(
        matches!(&refused, Err(LedgerError::Refused { reason }) if reason.contains("no ledger")),
        "{refused:?}"
    );

    let text = place.file().with_file_name("text.db");
    fs::write(&text, "not a database, and long enough to be seen as none".repeat(100)).unwrap();
    assert!(Ledger::open(&text).is_err());
    assert!(Ledger::open(&place.file().with_file_name("no/such/directory.db")).is_err());
}

#[test]
fn every_commit_is_synced_before_it_is_answered() {
    let place = Place::new();
    let file = LedgerFile::prepare(place.file(), NewLedger::Refused).unwrap();
    let connection = Checkpoints::of(Arc::new(file)).writer().unwrap();
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    // 2 is FULL: the write-ahead log is synced at each commit, not only at checkpoints.
    assert_eq!(number("synchronous"), Ok(2));
    assert_eq!(number("foreign_keys"), Ok(1));
}

#[test]
fn sqlite_is_compiled_as_the_build_asks_for_it() {
    let connection = Connection::open_in_memory().unwrap();
    let mut options = connection.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> =
        options.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
    assert!(options.iter().all(|option| option != "ENABLE_API_ARMOR"), "{options:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_at_for_one_key_has_a_bound() {
    let place = Place::new();
    drop(place.open());
    let connection = place.connect();
    connection
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO store_entries (store, id, kind, der, spki_sha256, is_ca, subject_sha256,
                 key_id)
             SELECT 'a.certs', 'e' || i, 'base', CAST(i AS BLOB), CAST(zeroblob(32) AS BLOB), TRUE,
                 zeroblob(32), CAST(i AS BLOB) FROM n",
        )
        .unwrap();
    drop(connection);
    let ledger = place.open();
    let known = ledger.known_key(question([0; 32], &["a.certs"])).await.unwrap();
    assert_eq!(known.certificates.len(), 64);
    let named = NamedQuestion {
        subject_der: vec![1],
        subject_sha256: [0; 32],
        key_id: Some(b"4711".to_vec()),
        service: path("a.x509"),
        stores: vec![path("a.certs")],
        now: now(),
    };
    let found = ledger.cas_named(named).await.unwrap();
    assert_eq!(found.len(), 9);
    assert_eq!(
        found[0].origin,
        CertificateOrigin::Stored { store: path("a.certs"), id: element("e4711") }
    );
}
