//! The ledger as its callers see it, whatever the backend. [`Place`] alone knows which one it is: a second
//! backend is a second kind of place.

use std::sync::{
    atomic::{AtomicU64, Ordering},
    mpsc,
};
use std::time::Duration;

pub(in crate::ledger) use place::Place;
use serde_json::json;

use super::*;
use crate::{
    audit::EntryKind as Audit,
    domain::{
        client::KeyPurpose,
        key::sha256,
        path::{KeyPath, PathElement, ResourcePath},
        request::VicalMetadata,
        serial::SerialNumber,
        time::Timestamp,
    },
};

mod commits;
mod figures;
mod issuance;
mod keys;
mod killed;
mod place;
mod vical;

pub(in crate::ledger) const KEY: [u8; 32] = [7; 32];

// ---- what is written ----

pub(in crate::ledger) fn now() -> Timestamp {
    Timestamp::from_unix(1_780_000_000).unwrap()
}

pub(in crate::ledger) fn record(kind: Audit) -> AuditRecord {
    AuditRecord::new(kind, now(), Some("request"), Some("CN=a"), None, json!({}))
}

pub(in crate::ledger) fn path(text: &str) -> ResourcePath {
    ResourcePath::parse(text).unwrap()
}

pub(in crate::ledger) fn element(text: &str) -> PathElement {
    PathElement::parse(text).unwrap()
}

pub(in crate::ledger) fn fresh_serial() -> SerialNumber {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut octets = [0; 16];
    octets[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    SerialNumber::from_random(octets)
}

pub(in crate::ledger) fn intent(ids: &[&str]) -> Intent {
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

pub(in crate::ledger) fn csr_intent() -> Intent {
    Intent { serial: None, purpose: KeyPurpose::Csr, ..intent(&[]) }
}

pub(in crate::ledger) fn outcome(ids: &[&str]) -> Outcome {
    outcome_of(certificate(ids))
}

pub(in crate::ledger) fn outcome_of(certificate: IssuedCertificate) -> Outcome {
    let product = Product::Certificate(Box::new(certificate));
    Outcome { product, audit: record(Audit::Issued), answer: None }
}

/// A certification request.
pub(in crate::ledger) fn request() -> Outcome {
    Outcome { product: Product::Request, audit: record(Audit::CsrIssued), answer: None }
}

pub(in crate::ledger) fn certificate(ids: &[&str]) -> IssuedCertificate {
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

pub(in crate::ledger) fn metadata() -> VicalMetadata {
    VicalMetadata { doc_type: vec!["org.iso.18013.5.1.mDL".to_owned()], certificate_profile: None }
}

pub(in crate::ledger) fn key_pin(spki: &[u8]) -> KeyPin {
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

pub(in crate::ledger) fn iaca_pin(uri: Option<&str>) -> IacaPin {
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

pub(in crate::ledger) fn question(spki_sha256: [u8; 32], stores: &[&str]) -> KeyQuestion {
    let stores = stores.iter().map(|store| path(store)).collect();
    KeyQuestion { spki_sha256, service: path("a.x509"), stores, now: now() }
}

pub(in crate::ledger) fn pinning<P>(pin: P) -> Pinning<P> {
    Pinning { pin, audit: record(Audit::KeyPinned) }
}

// ---- the writer ----

/// Keeps the writer busy until the sender is used or dropped.
pub(in crate::ledger) fn hold_writer(ledger: &Ledger) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (began, begun) = mpsc::channel();
    let ledger = ledger.clone();
    tokio::spawn(async move {
        let hold = move || {
            began.send(()).unwrap();
            let _ = released.recv();
        };
        let _ = ledger.write(write::Test(String::new(), Box::new(hold))).await;
    });
    begun.recv().unwrap();
    release
}

/// Executes SQL in the writer.
pub(in crate::ledger) async fn in_writer(
    ledger: &Ledger,
    sql: impl Into<String>,
) -> Result<(), LedgerError> {
    ledger.write(write::Test(sql.into(), Box::new(|| ()))).await
}

/// Starts a call and returns when its write waits in the queue.
pub(in crate::ledger) async fn queue<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
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

pub(in crate::ledger) async fn all<T>(handles: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for handle in handles {
        results.push(handle.await.unwrap());
    }
    results
}
