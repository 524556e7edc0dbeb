//! The ledger as its callers see it, and the file as it is left behind.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{
    audit::{self, EntryKind as Audit, leaf_hash},
    domain::{
        client::KeyPurpose, key::sha256, path::KeyPath, request::VicalMetadata,
        serial::SerialNumber, time::Timestamp,
    },
};

mod checkpoint;
mod faults;
mod figures;
mod migration;

const KEY: [u8; 32] = [7; 32];

// ---- what is written ----

fn now() -> Timestamp {
    Timestamp::from_unix(1_780_000_000).unwrap()
}

fn record(kind: audit::EntryKind) -> AuditRecord {
    AuditRecord::new(kind, now(), Some("request"), Some("CN=a"), None, json!({}))
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::parse(text).unwrap()
}

fn element(text: &str) -> PathElement {
    PathElement::parse(text).unwrap()
}

fn fresh_serial() -> SerialNumber {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut octets = [0; 16];
    octets[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    SerialNumber::from_random(octets)
}

fn intent(ids: &[&str]) -> Intent {
    let reservation = |id: &&str| Reservation { store: path("a.certs"), id: element(id) };
    Intent {
        serial: Some(fresh_serial()),
        purpose: KeyPurpose::Iaca,
        service: path("a.x509"),
        tbs_sha256: [1; 32],
        issuer_key_path: Some(KeyPath::parse("a.kms.k").unwrap()),
        subject_key_path: Some(KeyPath::parse("a.kms.k").unwrap()),
        dev_key: false,
        client: "CN=a".to_owned(),
        request_id: "request".to_owned(),
        created_at: now(),
        reservations: ids.iter().map(reservation).collect(),
        key_pins: Vec::new(),
        iaca_pin: None,
        used_issuers: Vec::new(),
        claims: Vec::new(),
        noted_key: None,
        audit: record(Audit::Intent),
    }
}

fn csr_intent() -> Intent {
    Intent { serial: None, purpose: KeyPurpose::Csr, ..intent(&[]) }
}

fn outcome(ids: &[&str]) -> Outcome {
    outcome_of(certificate(ids))
}

fn outcome_of(certificate: IssuedCertificate) -> Outcome {
    let product = Product::Certificate(Box::new(certificate));
    Outcome { product, audit: record(Audit::Issued), answer: None }
}

/// A certification request.
fn request() -> Outcome {
    Outcome { product: Product::Request, audit: record(Audit::CsrIssued), answer: None }
}

fn certificate(ids: &[&str]) -> IssuedCertificate {
    let der = vec![0x30; 700];
    let copy = |id: &&str| StoredCopy {
        store: path("a.certs"),
        id: element(id),
        kind: EntryKind::VicalEntry,
        metadata: Some(metadata()),
    };
    IssuedCertificate {
        sha256: sha256(&der),
        der,
        spki_sha256: KEY,
        subject_der: vec![1],
        issuer_der: vec![1],
        subject_cn: Some("Root".to_owned()),
        subject_text: "CN=Root".to_owned(),
        issuer_text: "CN=Root".to_owned(),
        subject_key_id: vec![2; 20],
        issuer_key_id: vec![2; 20],
        not_before: now(),
        not_after: now().plus_seconds(1_000),
        is_ca: true,
        self_signed: true,
        issued_at: now(),
        entries: ids.iter().map(copy).collect(),
    }
}

fn metadata() -> VicalMetadata {
    VicalMetadata { doc_type: vec!["org.iso.18013.5.1.mDL".to_owned()], certificate_profile: None }
}

fn key_pin(spki: &[u8]) -> KeyPin {
    KeyPin {
        path: KeyPath::parse("a.kms.k").unwrap(),
        token: "hsm".to_owned(),
        token_serial: Some("0011".to_owned()),
        label: "k".to_owned(),
        cka_id: vec![1, 2],
        spki: spki.to_vec(),
        spki_sha256: sha256(spki),
        first_seen: now(),
    }
}

fn iaca_pin(uri: Option<&str>) -> IacaPin {
    IacaPin {
        spki_sha256: KEY,
        subject_der: vec![1, 2, 3],
        email: None,
        uri: uri.map(str::to_owned),
        not_before: now(),
        not_after: now().plus_seconds(9),
        key_path: None,
        pinned_at: now(),
    }
}

fn question(spki_sha256: [u8; 32], stores: &[&str]) -> KeyQuestion {
    let stores = stores.iter().map(|store| path(store)).collect();
    KeyQuestion { spki_sha256, service: path("a.x509"), stores, now: now() }
}

fn pinning<P>(pin: P) -> Pinning<P> {
    Pinning { pin, audit: record(Audit::KeyPinned) }
}

// ---- where ----

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    (directory, path)
}

fn open(path: &Path) -> Ledger {
    let (ledger, open_intents) = Ledger::open(path).unwrap();
    assert!(open_intents.is_empty());
    ledger
}

/// Keeps the writer busy until the sender is used or dropped.
fn hold_writer(ledger: &Ledger) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (began, begun) = mpsc::channel();
    let ledger = ledger.clone();
    tokio::spawn(async move {
        let work = move |_: &Transaction<'_>| -> Result<(), LedgerError> {
            began.send(()).unwrap();
            let _ = released.recv();
            Ok(())
        };
        let _ = ledger.inner.writes.run(WhenFull::Refuse, work).await;
    });
    begun.recv().unwrap();
    release
}

/// Starts a call and returns when its write waits in the queue.
async fn queue<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    ledger: &Ledger,
    call: impl FnOnce(Ledger) -> F,
) -> tokio::task::JoinHandle<T> {
    let before = ledger.inner.writes.waiting();
    let handle = tokio::spawn(call(ledger.clone()));
    while ledger.inner.writes.waiting() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    handle
}

async fn all<T>(handles: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for handle in handles {
        results.push(handle.await.unwrap());
    }
    results
}

async fn in_writer(
    ledger: &Ledger,
    work: impl Fn(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
) -> Result<(), LedgerError> {
    let work = move |connection: &Transaction<'_>| Ok::<_, LedgerError>(work(connection)?);
    ledger.inner.writes.run(WhenFull::Refuse, work).await
}

fn count(path: &Path, from: &str) -> i64 {
    let connection = Connection::open(path).unwrap();
    connection.query_row(&format!("SELECT COUNT(*) FROM {from}"), [], |row| row.get(0)).unwrap()
}

/// What holds whatever happened.
fn assert_consistent(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let mut statement =
        connection.prepare("SELECT idx, entry, leaf_hash FROM audit_entries ORDER BY idx").unwrap();
    let entries: Vec<(i64, Vec<u8>, [u8; 32])> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (position, (index, entry, hash)) in entries.iter().enumerate() {
        assert_eq!(usize::try_from(*index).unwrap(), position, "the log has a gap");
        assert_eq!(leaf_hash(entry), *hash);
    }
    for (what, rows) in [
        (
            "issued without a certificate",
            "intents WHERE state = 'issued' AND serial IS NOT NULL
             AND id NOT IN (SELECT intent FROM certificates)",
        ),
        (
            "a certificate of an intent not issued",
            "certificates WHERE intent IN (SELECT id FROM intents WHERE state <> 'issued')",
        ),
        (
            "reserved by an intent not open",
            "store_entries WHERE reserved_by IN (SELECT id FROM intents WHERE state <> 'open')",
        ),
        (
            "a certificate whose entry in the log is another",
            "certificates JOIN audit_entries ON idx = audit_index
             WHERE CAST(entry AS TEXT) NOT LIKE '%\"type\":\"issued\"%'",
        ),
    ] {
        assert_eq!(count(path, rows), 0, "{what}");
    }
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

// ---- group commit ----

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_while_the_writer_is_busy_shares_one_commit() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let release = hold_writer(&ledger);
    let mut handles = Vec::new();
    for _ in 0..50 {
        let begin = |ledger: Ledger| async move { ledger.begin(intent(&[])).await };
        handles.push(queue(&ledger, begin).await);
    }
    drop(release);
    assert!(all(handles).await.iter().all(Result::is_ok));
    assert_eq!(ledger.figures().committed, 2);
    ledger.close().await;
    assert_eq!(count(&file, "intents"), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_waits_longer_for_more_when_signatures_take_long() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let at_first = ledger.inner.delay.pause();
    let mut id = ledger.begin(intent(&[])).await.unwrap();
    id.since -= Duration::from_secs(10);
    ledger.complete(id, outcome(&[])).await.unwrap();
    assert!(ledger.inner.delay.pause() > at_first);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_begins_with_one_store_id_one_wins_and_the_other_leaves_nothing() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let release = hold_writer(&ledger);
    let mut handles = Vec::new();
    for id in ["one", "two"] {
        let intent = Intent { key_pins: vec![pinning(key_pin(b"spki"))], ..intent(&[id, "iaca"]) };
        let begin = |ledger: Ledger| async move { ledger.begin(intent).await };
        handles.push(queue(&ledger, begin).await);
    }
    drop(release);
    let results = all(handles).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.contains(&Err(BeginError::StoreIdTaken(path("a.certs.iaca")))));
    ledger.close().await;
    assert_eq!(count(&file, "intents"), 1);
    assert_eq!(count(&file, "store_entries"), 2);
    // The winner's intent and its pin.
    assert_eq!(count(&file, "audit_entries"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_takes_nobody_with_it() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let release = hold_writer(&ledger);
    let work = |connection: &Transaction<'_>| {
        write::append(connection, &record(Audit::Started))?;
        panic!("on purpose")
    };
    let panics = queue(&ledger, |ledger| async move { in_writer(&ledger, work).await }).await;
    let begins = queue(&ledger, |ledger| async move { ledger.begin(intent(&[])).await }).await;
    drop(release);
    assert!(matches!(panics.await.unwrap(), Err(LedgerError::Unavailable { .. })));
    assert!(begins.await.unwrap().is_ok());
    let read = ledger.read(|_| -> Result<(), LedgerError> { panic!("on purpose") }).await;
    assert!(matches!(read, Err(LedgerError::Unavailable { .. })));
    assert_eq!(ledger.key_pins().await, Ok(Vec::new()));
    ledger.close().await;
    assert_eq!(count(&file, "audit_entries"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_turns_new_work_away_and_lets_begun_work_wait() {
    let (_directory, file) = place();
    let (ledger, _) = Ledger::open_with(&file, NewLedger::Refused, 4).unwrap();
    let id = ledger.begin(intent(&[])).await.unwrap();
    let release = hold_writer(&ledger);
    let mut handles = Vec::new();
    for _ in 0..4 {
        let append = |ledger: Ledger| async move { ledger.append(record(Audit::Refused)).await };
        handles.push(queue(&ledger, append).await);
    }
    assert_eq!(ledger.append(record(Audit::Refused)).await, Err(LedgerError::Busy));
    assert_eq!(ledger.is_writable().await, Err(LedgerError::Busy));
    assert_eq!(ledger.begin(intent(&[])).await, Err(BeginError::Ledger(LedgerError::Busy)));
    let completion = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.complete(id, outcome(&[])).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!completion.is_finished());
    drop(release);
    assert!(all(handles).await.iter().all(Result::is_ok));
    assert_eq!(completion.await.unwrap(), Ok(5));
}

// ---- one issuance ----

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_an_entry_when_it_is_filled_and_not_before() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let wanted = vec![
        (path("a.certs"), element("free")),
        (path("a.certs"), element("iaca")),
        (path("a.certs"), element("spare")),
    ];
    let id = ledger.begin(intent(&["iaca", "spare"])).await.unwrap();
    assert_eq!(ledger.taken(wanted.clone()).await, Ok(Some(path("a.certs.iaca"))));
    assert_eq!(ledger.store_entry(path("a.certs"), element("iaca")).await, Ok(None));
    assert_eq!(ledger.store_entries(path("a.certs")).await, Ok(Vec::new()));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(Vec::new()));
    assert!(ledger.known_key(question(KEY, &["a.certs"])).await.unwrap().certificates.is_empty());

    assert_eq!(ledger.complete(id, outcome(&["iaca"])).await, Ok(1));
    let entry = ledger.store_entry(path("a.certs"), element("iaca")).await.unwrap().unwrap();
    assert_eq!(entry.der, certificate(&[]).der);
    assert_eq!((entry.kind, entry.metadata), (EntryKind::VicalEntry, Some(metadata())));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(vec![path("a.certs.iaca")]));
    let spare = vec![wanted[2].clone()];
    assert_eq!(ledger.taken(spare).await, Ok(None), "a reservation not used is freed");
    ledger.close().await;
    assert_eq!(
        count(
            &file,
            r#"certificates WHERE stored_id = 'iaca' AND stored_ids = '["a.certs.iaca"]'"#
        ),
        1
    );
    assert_consistent(&file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_is_all_or_nothing() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let other = ledger.begin(intent(&["of-another"])).await.unwrap();
    let id = ledger.begin(intent(&["mine"])).await.unwrap();
    let wrong = ledger.complete(id, outcome(&["mine", "of-another"])).await;
    assert_eq!(wrong, Err(LedgerError::NotReserved(path("a.certs.of-another"))));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(Vec::new()));
    assert_eq!(count(&file, "certificates"), 0);
    assert_eq!(count(&file, "audit_entries"), 2);

    assert_eq!(ledger.complete(id, outcome(&["mine"])).await, Ok(2));
    assert_eq!(ledger.complete(other, outcome(&["of-another"])).await, Ok(3));
    ledger.close().await;
    assert_consistent(&file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_ends_once() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let id = ledger.begin(intent(&["a"])).await.unwrap();
    let wrong = ledger.complete(id, request()).await;
    assert_eq!(wrong, Err(LedgerError::NotOpen), "a serial number needs its certificate");
    ledger.complete(id, outcome(&["a"])).await.unwrap();
    assert_eq!(ledger.abort(id, record(Audit::Aborted)).await, Ok(()));
    assert_eq!(ledger.complete(id, outcome(&[])).await, Err(LedgerError::NotOpen));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(vec![path("a.certs.a")]));

    let csr = ledger.begin(csr_intent()).await.unwrap();
    assert_eq!(ledger.complete(csr, outcome(&[])).await, Err(LedgerError::NotOpen));
    assert_eq!(ledger.complete(csr, request()).await, Ok(3));
    let again = ledger.complete(csr, request()).await;
    assert_eq!(again, Err(LedgerError::NotOpen));
    ledger.close().await;
    assert_eq!(count(&file, "audit_entries"), 4, "what is refused leaves no entry");
    assert_consistent(&file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_frees_the_ids_and_never_the_serial_number() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let first = intent(&["a"]);
    let id = ledger.begin(first.clone()).await.unwrap();
    assert_eq!(ledger.begin(first.clone()).await, Err(BeginError::SerialTaken));
    ledger.abort(id, record(Audit::Aborted)).await.unwrap();
    ledger.abort(id, record(Audit::Aborted)).await.unwrap();
    assert_eq!(ledger.taken(vec![(path("a.certs"), element("a"))]).await, Ok(None));
    assert_eq!(ledger.complete(id, outcome(&["a"])).await, Err(LedgerError::NotOpen));
    assert_eq!(ledger.begin(first.clone()).await, Err(BeginError::SerialTaken));
    ledger.begin(intent(&["a"])).await.unwrap();
    ledger.close().await;
    assert_eq!(count(&file, "audit_entries"), 3, "the second abort leaves no entry");

    let (ledger, _) = Ledger::open(&file).unwrap();
    assert_eq!(ledger.begin(first).await, Err(BeginError::SerialTaken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_path_means_one_public_key_for_good() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let with = |pin| Intent { key_pins: vec![pinning(pin)], ..intent(&["a"]) };
    let id = ledger.begin(with(key_pin(b"spki"))).await.unwrap();
    ledger.abort(id, record(Audit::Aborted)).await.unwrap();
    let changed = ledger.begin(with(key_pin(b"other spki"))).await;
    assert_eq!(changed, Err(BeginError::KeyChanged(KeyPath::parse("a.kms.k").unwrap())));
    assert_eq!(ledger.taken(vec![(path("a.certs"), element("a"))]).await, Ok(None));
    ledger.begin(with(KeyPin { token: "other".to_owned(), ..key_pin(b"spki") })).await.unwrap();
    assert_eq!(ledger.key_pins().await, Ok(vec![key_pin(b"spki")]));
    // Two intents, an abort, and the pin: once.
    assert_eq!(count(&file, "audit_entries"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_pinned_to_one_described_iaca() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let with = |pin| Intent { iaca_pin: Some(pinning(pin)), ..intent(&[]) };
    ledger.begin(with(iaca_pin(None))).await.unwrap();
    ledger.begin(with(iaca_pin(None))).await.unwrap();
    let conflict = ledger.begin(with(iaca_pin(Some("https://other.example")))).await;
    assert_eq!(conflict, Err(BeginError::IacaPinConflict));
    assert_eq!(ledger.known_key(question(KEY, &[])).await.unwrap().pins, vec![iaca_pin(None)]);
    // Two intents, and the pin: once.
    assert_eq!(count(&file, "audit_entries"), 3);
    assert!(ledger.known_key(question([0; 32], &[])).await.unwrap().pins.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_one_role_at_a_time_and_none_against_what_is_on_record() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let claim = |role, state| {
        let claims = vec![KeyClaim { spki_sha256: KEY, role, state }];
        Intent { serial: Some(fresh_serial()), claims, ..intent(&[]) }
    };
    let fresh = ledger.known_key(question(KEY, &[])).await.unwrap().state;
    let first = ledger.begin(claim(CaRole::Generic, fresh)).await.unwrap();
    // Until it has ended, the key has that role and no other.
    ledger.begin(claim(CaRole::Generic, fresh)).await.map(drop).unwrap();
    let other = ledger.begin(claim(CaRole::Iaca, fresh)).await;
    assert_eq!(other, Err(BeginError::KeyClaimed));
    ledger.abort(first, record(Audit::Aborted)).await.unwrap();
    assert_eq!(ledger.begin(claim(CaRole::Iaca, fresh)).await, Err(BeginError::KeyClaimed));
    ledger.close().await;
    // A crash leaves the claim; whoever aborts its intent ends it.
    let (ledger, open_intents) = Ledger::open(&file).unwrap();
    for open_intent in open_intents {
        ledger.abort(open_intent.id, record(Audit::Aborted)).await.unwrap();
    }
    let id = ledger.begin(claim(CaRole::Iaca, fresh)).await.unwrap();
    ledger.complete(id, outcome(&[])).await.unwrap();
    // Now a certificate says so, to all who have not seen it; of the same role it is no news.
    assert_eq!(ledger.begin(claim(CaRole::Generic, fresh)).await, Err(BeginError::KeyLearned));
    ledger.begin(claim(CaRole::Iaca, fresh)).await.unwrap();
    assert_eq!(count(&file, "key_claims"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_at_for_one_key_has_a_bound() {
    let (_directory, file) = place();
    drop(open(&file));
    let connection = Connection::open(&file).unwrap();
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
    let ledger = open(&file);
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

#[tokio::test(flavor = "multi_thread")]
async fn ca_certificates_are_found_by_key_whether_issued_here_or_stored() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let id = ledger.begin(intent(&["z", "Z", "a"])).await.unwrap();
    ledger.complete(id, outcome(&["z", "Z", "a"])).await.unwrap();
    let id = ledger.begin(intent(&["leaf"])).await.unwrap();
    ledger
        .complete(id, outcome_of(IssuedCertificate { is_ca: false, ..certificate(&["leaf"]) }))
        .await
        .unwrap();

    let known =
        ledger.known_key(question(KEY, &["a.certs", "b.certs"])).await.unwrap().certificates;
    let origins: Vec<_> = known.into_iter().map(|certificate| certificate.origin).collect();
    let stored = |id| CertificateOrigin::Stored { store: path("a.certs"), id: element(id) };
    let issued = CertificateOrigin::Issued {
        service: path("a.x509"),
        profile: KeyPurpose::Iaca,
        subject_key_path: Some(KeyPath::parse("a.kms.k").unwrap()),
        self_signed: true,
        issued_at: now(),
    };
    assert_eq!(origins, [issued.clone(), stored("Z"), stored("a"), stored("z")]);
    let elsewhere = ledger.known_key(question(KEY, &["b.certs"])).await.unwrap().certificates;
    assert_eq!(elsewhere.len(), 1);
    assert!(
        ledger.known_key(question([0; 32], &["a.certs"])).await.unwrap().certificates.is_empty()
    );
    let ids: Vec<_> = ["Z", "a", "leaf", "z"].map(|id| path("a.certs").child(&element(id))).into();
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(ids));
    assert_eq!(ledger.store_entries(path("a.certs")).await.unwrap().len(), 4);
}

// ---- many at once ----

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_no_gap_after_five_hundred_mixed_jobs_at_once() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let calls = (0..500).map(|number: u32| {
        let ledger = ledger.clone();
        async move {
            let id = format!("id-{number}");
            match number % 5 {
                0 => {
                    ledger.append(record(Audit::Refused)).await.unwrap();
                }
                1 => {
                    let intent = ledger.begin(intent(&[&id])).await.unwrap();
                    ledger.complete(intent, outcome(&[&id])).await.unwrap();
                }
                2 => {
                    let intent = ledger.begin(intent(&[&id])).await.unwrap();
                    ledger.abort(intent, record(Audit::Aborted)).await.unwrap();
                }
                3 => {
                    let intent = ledger.begin(csr_intent()).await.unwrap();
                    ledger.complete(intent, request()).await.unwrap();
                }
                _ => {
                    // All want one id: the first gets it, and keeps it.
                    let _ = ledger.begin(intent(&[&id, "shared"])).await;
                }
            }
        }
    });
    let handles: Vec<_> = calls.map(tokio::spawn).collect();
    all(handles).await;
    ledger.close().await;
    assert_consistent(&file);
    assert_eq!(count(&file, "audit_entries"), 100 + 3 * 200 + 1);
    assert_eq!(count(&file, "store_entries WHERE der IS NOT NULL"), 100);
    assert_eq!(count(&file, "store_entries WHERE der IS NULL"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_issuances_at_once_cost_fewer_commits_than_jobs() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let calls = (0..32).map(|number| {
        let ledger = ledger.clone();
        async move {
            let id = format!("id-{number}");
            let intent = ledger.begin(intent(&[&id])).await.unwrap();
            ledger.complete(intent, outcome(&[&id])).await.unwrap()
        }
    });
    let release = hold_writer(&ledger);
    let handles: Vec<_> = calls.map(tokio::spawn).collect();
    while ledger.inner.writes.waiting() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(release);
    let mut indexes = all(handles).await;
    indexes.sort_unstable();
    indexes.dedup();
    assert_eq!(indexes.len(), 32);
    assert!(ledger.figures().committed < 64);
    assert_eq!(ledger.store_ids(path("a.certs")).await.unwrap().len(), 32);
    ledger.close().await;
    assert_consistent(&file);
}

// ---- the file ----

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_the_ledger_at_a_time() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let refused = Ledger::open(&file).map(|_| ());
    assert!(
        matches!(&refused, Err(LedgerError::Refused { reason }) if reason.contains("in use")),
        "{refused:?}"
    );
    let clone = ledger.clone();
    ledger.append(record(Audit::Stopped)).await.unwrap();
    ledger.close().await;
    let late = clone.append(record(Audit::Started)).await;
    assert!(matches!(late, Err(LedgerError::Unavailable { .. })));
    assert!(matches!(clone.key_pins().await, Err(LedgerError::Unavailable { .. })));
    clone.close().await;
    let ledger = open(&file);
    assert_eq!(ledger.append(record(Audit::Started)).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_for_their_owner_only_and_the_log_is_emptied_at_the_end() {
    let (directory, file) = place();
    let ledger = open(&file);
    ledger.is_writable().await.unwrap();
    ledger.key_pins().await.unwrap();
    let files = |directory: &Path| -> Vec<_> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    assert_eq!(files(directory.path()).len(), 4);
    for path in files(directory.path()) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path:?}");
    }
    ledger.close().await;
    assert_eq!(files(directory.path()).len(), 2, "the file and its lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_newer_version_or_of_somebody_else_is_refused() {
    let (directory, file) = place();
    open(&file).close().await;
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = Ledger::open(&file).map(|_| ());
    assert!(
        matches!(&newer, Err(LedgerError::Refused { reason }) if reason.contains("version 99")),
        "{newer:?}"
    );

    let foreign = directory.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let refused = Ledger::open(&foreign).map(|_| ());
    assert!(
        matches!(&refused, Err(LedgerError::Refused { reason }) if reason.contains("no ledger")),
        "{refused:?}"
    );

    let text = directory.path().join("text.db");
    fs::write(&text, "not a database, and long enough to be seen as none".repeat(100)).unwrap();
    assert!(Ledger::open(&text).is_err());
    assert!(Ledger::open(&directory.path().join("no/such/directory.db")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_is_synced_before_it_is_answered() {
    let (_directory, file) = place();
    let ledger = open(&file);
    in_writer(&ledger, |connection| {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        // 2 is FULL: the write-ahead log is synced at each commit, not only at checkpoints.
        assert_eq!(number("synchronous")?, 2);
        assert_eq!(number("foreign_keys")?, 1);
        Ok(())
    })
    .await
    .unwrap();
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
