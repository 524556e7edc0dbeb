//! Compares the ledger with what clients have received and what the token was asked to sign.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{self, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use der::{Decode, Encode};
use rusqlite::{Connection, Row};
use serde_json::Value;

use crate::{
    appliance::{Answer, Appliance},
    spy::Spy,
};

/// The contents of the ledger at one moment.
pub struct Evidence {
    /// Ordered by id.
    pub intents: Vec<Intent>,
    /// In order of issue.
    pub certificates: Vec<Certificate>,
    /// The log, each entry as JSON.
    pub entries: Vec<Value>,
}

/// A row of `intents`.
#[derive(Debug)]
pub struct Intent {
    id: i64,
    /// `open`, `issued`, `aborted`.
    pub state: String,
    /// `None` for a CSR.
    pub serial: Option<Vec<u8>>,
    /// What was about to be signed.
    pub tbs_sha256: [u8; 32],
    request_id: String,
}

/// A row of `certificates`.
pub struct Certificate {
    intent: i64,
    audit_index: u64,
    serial: Vec<u8>,
    self_signed: bool,
    der: Vec<u8>,
    sha256: Vec<u8>,
    stored_ids: Vec<String>,
}

/// What a client got with a 200.
#[derive(Debug)]
pub struct Held {
    /// DER of the certificate, or of the CSR.
    pub der: Vec<u8>,
    is_request: bool,
    audit_index: u64,
    stored_ids: Vec<String>,
}

impl Held {
    /// Reads an answer that is a 200.
    pub fn of(answer: &Answer) -> Self {
        let index = answer.header("chancery-audit-index").and_then(|index| index.parse().ok());
        let text = |member: &str| answer.json[member].as_str();
        let (pem, is_request) = match (text("certificatePEM"), text("csrPem")) {
            (Some(pem), None) => (pem, false),
            (None, Some(pem)) => (pem, true),
            _ => panic!("neither certificate nor CSR: {}", answer.json),
        };
        let der = pem_der(pem);
        if !is_request {
            let serial: String =
                serial_of(tbs_of(&der)).iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(answer.header("chancery-serial"), Some(serial.as_str()));
        }
        let stored_ids =
            answer.json["storedCertificateIds"].as_array().cloned().unwrap_or_default();
        Self {
            der,
            is_request,
            audit_index: index.expect("an audit index"),
            stored_ids: stored_ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect(),
        }
    }
}

/// Asserts everything that must hold while no request is in progress; see the methods. `spy` has recorded the calls of
/// the token, if there is one.
#[track_caller]
pub fn assert_sound(appliance: &Appliance, held: &[Held], spy: Option<&Spy>) -> Evidence {
    assert_sound_in(&mut appliance.ledger(), held, spy)
}

/// The same for a ledger in another place.
#[track_caller]
pub fn assert_sound_in(ledger: &mut Connection, held: &[Held], spy: Option<&Spy>) -> Evidence {
    let ledger = ledger.transaction().unwrap();
    let evidence = Evidence::read(&ledger);
    assert_log_has_no_gap(&ledger);
    evidence.assert_all_ended();
    evidence.assert_certificates_are_what_was_intended();
    evidence.assert_log_tells_each_story();
    assert_stores_hold_certificates(&ledger, &evidence);
    let entries = |kind| evidence.entries_of(kind).count();
    let keys = entries("key-pinned") + entries("key-generated") + entries("key-imported");
    for (table, noted) in
        [("key_pins", keys - entries("key-deleted")), ("iaca_pins", entries("iaca-pinned"))]
    {
        let pins = rows(&ledger, &format!("SELECT 1 FROM {table}"), |_| ()).len();
        assert_eq!(noted, pins, "{table}, and the log");
    }
    evidence.assert_nothing_was_released_without_record(held);
    if let Some(spy) = spy {
        evidence.assert_nothing_was_signed_without_intent(&spy.digests());
    }
    evidence
}

impl Evidence {
    /// Reads it all.
    pub fn read(ledger: &Connection) -> Self {
        let intents = "SELECT id, state, serial, tbs_sha256, request_id FROM intents ORDER BY id";
        let certificates =
            "SELECT intent, audit_index, serial, self_signed, der, sha256, stored_ids
             FROM certificates ORDER BY audit_index";
        Self {
            intents: rows(ledger, intents, |row| Intent {
                id: row.get_unwrap(0),
                state: row.get_unwrap(1),
                serial: row.get_unwrap(2),
                tbs_sha256: row.get_unwrap(3),
                request_id: row.get_unwrap(4),
            }),
            certificates: rows(ledger, certificates, |row| Certificate {
                intent: row.get_unwrap(0),
                audit_index: row.get_unwrap::<_, i64>(1).try_into().unwrap(),
                serial: row.get_unwrap(2),
                self_signed: row.get_unwrap(3),
                der: row.get_unwrap(4),
                sha256: row.get_unwrap(5),
                stored_ids: serde_json::from_str(&row.get_unwrap::<_, String>(6)).unwrap(),
            }),
            entries: rows(ledger, "SELECT entry FROM audit_entries ORDER BY idx", |row| {
                serde_json::from_slice(&row.get_unwrap::<_, Vec<u8>>(0)).unwrap()
            }),
        }
    }

    /// The intents in a state.
    pub fn in_state<'a>(&'a self, state: &'a str) -> impl Iterator<Item = &'a Intent> {
        self.intents.iter().filter(move |intent| intent.state == state)
    }

    /// The log's entries of a type.
    pub fn entries_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.entries.iter().filter(move |entry| entry["type"] == kind)
    }

    fn assert_all_ended(&self) {
        let open: Vec<_> = self.in_state("open").collect();
        assert!(open.is_empty(), "open intents: {open:?}");
        let serials: Vec<_> =
            self.intents.iter().filter_map(|intent| intent.serial.as_ref()).collect();
        assert_eq!(serials.iter().collect::<BTreeSet<_>>().len(), serials.len(), "a serial twice");
        for serial in serials {
            assert!(serial.len() == 16 && serial[0] >> 6 == 1, "{serial:02x?}");
        }
    }

    fn assert_certificates_are_what_was_intended(&self) {
        let issued: BTreeSet<_> =
            self.in_state("issued").filter(|i| i.serial.is_some()).map(|i| i.id).collect();
        let certified: BTreeSet<_> = self.certificates.iter().map(|c| c.intent).collect();
        assert_eq!(issued, certified, "intents that say issued, and certificates");
        for certificate in &self.certificates {
            let intent = self.intents.iter().find(|i| i.id == certificate.intent).unwrap();
            let tbs = tbs_of(&certificate.der);
            assert_eq!(sha256(tbs), intent.tbs_sha256, "what was signed is what was intended");
            assert_eq!(intent.serial.as_ref(), Some(&certificate.serial));
            assert_eq!(serial_of(tbs), certificate.serial);
            assert_eq!(sha256(&certificate.der).to_vec(), certificate.sha256);
            if certificate.self_signed {
                assert_signed_by_itself(&certificate.der);
            }
        }
    }

    /// The log has `intent` and then one of `issued` and `aborted`, as the state of the intent says.
    fn assert_log_tells_each_story(&self) {
        let mut stories: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in &self.entries {
            let kind = entry["type"].as_str().unwrap();
            if matches!(kind, "intent" | "csr-intent" | "issued" | "csr-issued" | "aborted") {
                stories.entry(entry["requestId"].as_str().unwrap()).or_default().push(kind);
            }
        }
        assert_eq!(stories.len(), self.intents.len(), "each request has one intent");
        for intent in &self.intents {
            let story = &stories[intent.request_id.as_str()];
            let (begin, end) = match (&intent.serial, intent.state.as_str()) {
                (Some(_), "issued") => ("intent", "issued"),
                (None, "issued") => ("csr-intent", "csr-issued"),
                (Some(_), _) => ("intent", "aborted"),
                (None, _) => ("csr-intent", "aborted"),
            };
            assert_eq!(*story, [begin, end], "{intent:?}");
        }
    }

    fn assert_nothing_was_released_without_record(&self, held: &[Held]) {
        let mut seen = BTreeSet::new();
        for held in held {
            assert!(seen.insert(&held.der), "two clients hold the same");
            let entry = &self.entries[usize::try_from(held.audit_index).unwrap()];
            if held.is_request {
                assert_eq!(entry["type"], "csr-issued");
                let hash = sha256(tbs_of(&held.der));
                assert!(self.in_state("issued").any(|intent| intent.tbs_sha256 == hash));
                continue;
            }
            assert_eq!(entry["type"], "issued");
            let recorded = self.certificates.iter().find(|c| c.audit_index == held.audit_index);
            let recorded = recorded.expect("a certificate that is not in the inventory");
            assert_eq!(recorded.der, held.der);
            assert_eq!(recorded.stored_ids, held.stored_ids);
        }
    }

    fn assert_nothing_was_signed_without_intent(&self, signed: &BTreeSet<[u8; 32]>) {
        let intended: BTreeSet<_> = self.intents.iter().map(|intent| intent.tbs_sha256).collect();
        let unaccounted: Vec<_> = signed.difference(&intended).collect();
        assert!(unaccounted.is_empty(), "signed without an intent: {unaccounted:02x?}");
        let unseen = self.in_state("issued").find(|intent| !signed.contains(&intent.tbs_sha256));
        assert!(unseen.is_none(), "the spy sleeps: {unseen:?}");
    }
}

fn assert_log_has_no_gap(ledger: &Connection) {
    let log = rows(ledger, "SELECT idx, entry, leaf_hash FROM audit_entries ORDER BY idx", |row| {
        (
            row.get_unwrap::<_, i64>(0),
            row.get_unwrap::<_, Vec<u8>>(1),
            row.get_unwrap::<_, Vec<u8>>(2),
        )
    });
    assert!(!log.is_empty());
    for (expected, (index, entry, leaf_hash)) in (0..).zip(&log) {
        assert_eq!(*index, expected, "a gap in the log");
        assert_eq!(*leaf_hash, sha256(&[&[0], entry.as_slice()].concat()));
    }
}

/// Every entry of a store is a copy of a certificate that names it. No copy is missing, or reserved without content.
fn assert_stores_hold_certificates(ledger: &Connection, evidence: &Evidence) {
    let stored: BTreeMap<String, Option<Vec<u8>>> =
        rows(ledger, "SELECT store || '.' || id, der FROM store_entries", |row| {
            (row.get_unwrap(0), row.get_unwrap(1))
        })
        .into_iter()
        .collect();
    let mut expected = BTreeMap::new();
    for certificate in &evidence.certificates {
        for id in &certificate.stored_ids {
            let twice = expected.insert(id.clone(), Some(certificate.der.clone()));
            assert!(twice.is_none(), "{id} holds two certificates");
        }
    }
    let names = |map: &BTreeMap<String, Option<Vec<u8>>>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&stored), names(&expected), "entries of stores");
    assert!(stored == expected, "a store holds other octets than the inventory");
}

fn rows<T>(ledger: &Connection, query: &str, read: impl Fn(&Row<'_>) -> T) -> Vec<T> {
    let mut statement = ledger.prepare(query).unwrap();
    let rows = statement.query_map([], |row| Ok(read(row))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    digest(&SHA256, octets).as_ref().try_into().unwrap()
}

fn pem_der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(text).unwrap()
}

/// The first element of the outer sequence, which is the signed part.
fn tbs_of(der: &[u8]) -> &[u8] {
    let (content, _) = element(der);
    let (_, whole) = element(content);
    whole
}

/// Content and whole of the first DER element.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let short = usize::from(der[1]);
    let (start, length) = match short {
        0..0x80 => (2, short),
        _ => {
            let octets = &der[2..2 + (short & 0x7F)];
            let length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            (2 + octets.len(), length)
        }
    };
    (&der[start..start + length], &der[..start + length])
}

/// The serial number of a version 3 certificate.
fn serial_of(tbs: &[u8]) -> &[u8] {
    let (content, _) = element(tbs);
    let after_version = content.strip_prefix(&[0xA0, 3, 2, 1, 2]).expect("version 3");
    element(after_version).0
}

/// Verifies a self-signed certificate, by other code than the product's.
#[track_caller]
pub fn assert_signed_by_itself(der: &[u8]) {
    let certificate = x509_cert::Certificate::from_der(der).unwrap();
    // Each hash belongs to one curve, or to RSA.
    let algorithm: &dyn signature::VerificationAlgorithm =
        match certificate.signature_algorithm().oid.to_string().as_str() {
            "1.2.840.10045.4.3.2" => &signature::ECDSA_P256_SHA256_ASN1,
            "1.2.840.10045.4.3.3" => &signature::ECDSA_P384_SHA384_ASN1,
            "1.2.840.10045.4.3.4" => &signature::ECDSA_P521_SHA512_ASN1,
            "1.2.840.113549.1.1.11" => &signature::RSA_PKCS1_2048_8192_SHA256,
            "1.2.840.113549.1.1.12" => &signature::RSA_PKCS1_2048_8192_SHA384,
            "1.2.840.113549.1.1.13" => &signature::RSA_PKCS1_2048_8192_SHA512,
            other => panic!("signature algorithm {other}"),
        };
    let key = certificate.tbs_certificate().subject_public_key_info();
    let key = UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes());
    let tbs = certificate.tbs_certificate().to_der().unwrap();
    key.verify(&tbs, certificate.signature().raw_bytes()).expect("the signature verifies");
}
