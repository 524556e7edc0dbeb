//! Entries of the audit log: made once, kept and hashed as exactly those bytes.
//!
//! The ledger stores them; the callers decide what gets an entry. The length of an entry is bounded here,
//! because an entry may repeat what a client sent, of whatever length.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{
    excerpt::{EXCERPT_CHARACTERS_MAX, end_of_excerpt},
    key::sha256,
    time::Timestamp,
};

/// RFC 9162, 2.1.1: what a leaf's hash starts with, so that no node can pass for a leaf.
const LEAF_PREFIX: [u8; 1] = [0x00];

/// What happened: the member `type` of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// The daemon started; the detail holds its flags.
    Started,
    /// The daemon stopped in an orderly way.
    Stopped,
    /// The daemon took up a changed configuration; the detail holds its flags.
    Reloaded,
    /// The ledger was restored from a backup; what was recorded after it is not here.
    Restored,
    /// A certificate, CRL or VICAL is about to be signed.
    Intent,
    /// A certificate was issued.
    Issued,
    /// What was intended did not come about; its serial number is spent.
    Aborted,
    /// A request was refused.
    Refused,
    /// More requests were refused than have entries of their own; the detail holds how many.
    RefusalsSummary,
    /// A described IACA became the only one its key may be described as.
    IacaPinned,
    /// A CA certificate that was not issued here was relied on for the first time.
    IssuerPinned,
    /// What made a key an IACA's, a description or a certificate from elsewhere, was dropped.
    IacaUnpinned,
    /// A key path was bound to a public key.
    KeyPinned,
    /// A tenant was created.
    TenantCreated,
    /// A service was created.
    ServiceCreated,
    /// A service was attached to another.
    DependencyAdded,
    /// A service was detached from another.
    DependencyRemoved,
    /// A client added an entry to a store.
    StoreAdded,
    /// A client replaced an entry of a store.
    StoreReplaced,
    /// A client deleted an entry of a store.
    StoreDeleted,
    /// A key is about to be generated, imported or deleted.
    KeyIntent,
    /// A key was generated, and its path bound to it.
    KeyGenerated,
    /// A key was imported, and its path bound to it.
    KeyImported,
    /// A key was deleted, and its path set free.
    KeyDeleted,
    /// What was intended with a key did not come about.
    KeyAborted,
    /// What became of the intended is not known; the token itself tells.
    KeyUnresolved,
    /// A certification request is about to be signed.
    CsrIntent,
    /// A certification request was made.
    CsrIssued,
    /// A VICAL was published.
    VicalPublished,
    /// A VICAL service has another signer, or other certificates above it, than at its last
    /// publication.
    VicalSignerChanged,
    /// The serial number of a token was put on record.
    TokenRecorded,
    /// An operator has accepted another token in place of the one on record.
    TokenAccepted,
}

impl EntryKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Started,
        Self::Stopped,
        Self::Reloaded,
        Self::Restored,
        Self::Intent,
        Self::Issued,
        Self::Aborted,
        Self::Refused,
        Self::RefusalsSummary,
        Self::IacaPinned,
        Self::IssuerPinned,
        Self::IacaUnpinned,
        Self::KeyPinned,
        Self::TenantCreated,
        Self::ServiceCreated,
        Self::DependencyAdded,
        Self::DependencyRemoved,
        Self::StoreAdded,
        Self::StoreReplaced,
        Self::StoreDeleted,
        Self::KeyIntent,
        Self::KeyGenerated,
        Self::KeyImported,
        Self::KeyDeleted,
        Self::KeyAborted,
        Self::KeyUnresolved,
        Self::CsrIntent,
        Self::CsrIssued,
        Self::VicalPublished,
        Self::VicalSignerChanged,
        Self::TokenRecorded,
        Self::TokenAccepted,
    ];

    /// The name in the entry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Reloaded => "reloaded",
            Self::Restored => "restored",
            Self::Intent => "intent",
            Self::Issued => "issued",
            Self::Aborted => "aborted",
            Self::Refused => "refused",
            Self::RefusalsSummary => "refusals-summary",
            Self::IacaPinned => "iaca-pinned",
            Self::IssuerPinned => "issuer-pinned",
            Self::IacaUnpinned => "iaca-unpinned",
            Self::KeyPinned => "key-pinned",
            Self::TenantCreated => "tenant-created",
            Self::ServiceCreated => "service-created",
            Self::DependencyAdded => "dependency-added",
            Self::DependencyRemoved => "dependency-removed",
            Self::StoreAdded => "store-added",
            Self::StoreReplaced => "store-replaced",
            Self::StoreDeleted => "store-deleted",
            Self::KeyIntent => "key-intent",
            Self::KeyGenerated => "key-generated",
            Self::KeyImported => "key-imported",
            Self::KeyDeleted => "key-deleted",
            Self::KeyAborted => "key-aborted",
            Self::KeyUnresolved => "key-unresolved",
            Self::CsrIntent => "csr-intent",
            Self::CsrIssued => "csr-issued",
            Self::VicalPublished => "vical-published",
            Self::VicalSignerChanged => "vical-signer-changed",
            Self::TokenRecorded => "token-recorded",
            Self::TokenAccepted => "token-accepted",
        }
    }
}

/// The members in their order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a, D> {
    #[serde(rename = "type")]
    kind: &'a str,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    detail: D,
}

/// As many octets as most entries have.
const ENTRY_OCTETS_EXPECTED: usize = 1_024;
/// As many octets as an entry has at most: its length fits two octets (C2SP tlog-tiles, entry bundles).
pub const ENTRY_OCTETS_MAX: usize = 65_535;

/// One entry, `{"type","time","requestId","client","target","detail"}`, and the hash of its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    entry: Vec<u8>,
    leaf_hash: [u8; 32],
}

impl AuditRecord {
    /// Fixes the bytes: compact JSON, members in the order above, those that are `None` left out. The
    /// members of the detail are in alphabetical order; those of a struct must be declared so.
    ///
    /// A text of more than [`EXCERPT_CHARACTERS_MAX`] characters, wherever it stands, goes in as its
    /// beginning and the SHA-256 of the whole. A detail that is too large all the same goes in as its
    /// SHA-256 and its length.
    pub fn new(
        kind: EntryKind,
        time: Timestamp,
        request_id: Option<&str>,
        client: Option<&str>,
        target: Option<&str>,
        detail: impl Serialize,
    ) -> Self {
        let fields = Entry { kind: kind.name(), time, request_id, client, target, detail };
        let mut entry = octets(&fields);
        if has_long_text(&entry) {
            let [request_id, client, target] =
                [request_id, client, target].map(|text| text.map(bounded));
            let fields = Entry {
                kind: fields.kind,
                time,
                request_id: request_id.as_deref(),
                client: client.as_deref(),
                target: target.as_deref(),
                detail: with_bounded_texts(value(&fields.detail)),
            };
            entry = octets(&fields);
            if entry.len() > ENTRY_OCTETS_MAX {
                let detail = octets(&fields.detail);
                let detail = json!({
                    "detailOctets": detail.len(),
                    "detailSha256": HEXLOWER.encode(&sha256(&detail)),
                });
                entry = octets(&Entry {
                    kind: fields.kind,
                    time,
                    request_id: fields.request_id,
                    client: fields.client,
                    target: fields.target,
                    detail,
                });
            }
        }
        let leaf_hash = leaf_hash(&entry);
        Self { entry, leaf_hash }
    }

    /// The bytes that are hashed. They are never serialised again.
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// SHA-256 over `00 ‖ entry`.
    pub fn leaf_hash(&self) -> &[u8; 32] {
        &self.leaf_hash
    }
}

fn octets(value: &impl Serialize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(ENTRY_OCTETS_EXPECTED);
    #[expect(clippy::expect_used, reason = "neither texts nor values fail, nor does a vector")]
    serde_json::to_writer(&mut octets, value).expect("JSON");
    octets
}

fn value(detail: &impl Serialize) -> Value {
    #[expect(clippy::expect_used, reason = "what was written as JSON is a value, too")]
    serde_json::to_value(detail).expect("JSON")
}

/// Whether a string of this JSON may be too long, or all of it. It counts octets instead of characters,
/// so it may be wrong about a string that is short enough.
fn has_long_text(entry: &[u8]) -> bool {
    let mut length = 0;
    let mut is_escaped = false;
    for octet in entry {
        match octet {
            b'"' if !is_escaped => length = 0,
            _ => length += 1,
        }
        is_escaped = *octet == b'\\' && !is_escaped;
        if length > EXCERPT_CHARACTERS_MAX {
            return true;
        }
    }
    entry.len() > ENTRY_OCTETS_MAX
}

fn bounded(text: &str) -> Cow<'_, str> {
    match end_of_excerpt(text) {
        None => Cow::Borrowed(text),
        Some(end) => {
            let whole = HEXLOWER.encode(&sha256(text.as_bytes()));
            Cow::Owned(format!("{}… sha256:{whole}", &text[..end]))
        }
    }
}

fn with_bounded_texts(detail: Value) -> Value {
    match detail {
        Value::String(text) => bounded(&text).into_owned().into(),
        Value::Array(items) => items.into_iter().map(with_bounded_texts).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (bounded(&name).into_owned(), with_bounded_texts(member)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => detail,
    }
}

/// The hash of a leaf (RFC 9162, 2.1.1), SHA-256 over `00 ‖ entry`.
pub fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&LEAF_PREFIX);
    context.update(entry);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::key::sha256;

    fn noon() -> Timestamp {
        Timestamp::parse("2026-06-15T12:00:00Z").unwrap()
    }

    #[test]
    fn an_entry_has_its_members_in_a_fixed_order() {
        let record = AuditRecord::new(
            EntryKind::Issued,
            noon(),
            Some("0b7f"),
            Some("CN=registrar \"1\"\n"),
            Some("acme.dmv.x509"),
            json!({ "serial": "5a", "devKey": false }),
        );
        let expected = "{\"type\":\"issued\",\"time\":\"2026-06-15T12:00:00Z\",\
            \"requestId\":\"0b7f\",\"client\":\"CN=registrar \\\"1\\\"\\n\",\
            \"target\":\"acme.dmv.x509\",\"detail\":{\"devKey\":false,\"serial\":\"5a\"}}";
        assert_eq!(std::str::from_utf8(record.entry()).unwrap(), expected);
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let record = AuditRecord::new(EntryKind::Started, noon(), None, None, None, json!({}));
        let expected = r#"{"type":"started","time":"2026-06-15T12:00:00Z","detail":{}}"#;
        assert_eq!(record.entry(), expected.as_bytes());
    }

    #[test]
    fn a_leaf_is_hashed_with_a_zero_octet_before_it() {
        let record = AuditRecord::new(EntryKind::Stopped, noon(), None, None, None, json!({}));
        assert_eq!(*record.leaf_hash(), sha256(&[&[0], record.entry()].concat()));
        // RFC 6962's own test vector: the leaf that is empty.
        let empty = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        let hex: String = leaf_hash(b"").iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, empty);
    }

    #[test]
    fn no_entry_repeats_more_of_a_text_than_its_beginning_and_its_hash() {
        let hash = |text: &str| HEXLOWER.encode(&sha256(text.as_bytes()));
        for letter in ["a", "\"", "\\", "\u{1}", "é", "😀"] {
            let whole = letter.repeat(EXCERPT_CHARACTERS_MAX);
            let long = letter.repeat(60_000);
            let cut = format!("{whole}… sha256:{}", hash(&long));
            let entry = |text: &str| {
                let detail = json!({ "operation": text, "ids": [text, { "deep": text }] });
                let entry = AuditRecord::new(
                    EntryKind::Refused,
                    noon(),
                    Some("0b7f"),
                    Some(text),
                    Some(text),
                    detail,
                );
                assert!(entry.entry().len() <= ENTRY_OCTETS_MAX);
                serde_json::from_slice::<Value>(entry.entry()).unwrap()
            };
            for (given, kept) in [(&whole, &whole), (&long, &cut)] {
                let entry = entry(given);
                let places = ["/client", "/target", "/detail/operation", "/detail/ids/0"];
                for place in places.into_iter().chain(["/detail/ids/1/deep"]) {
                    assert_eq!(entry.pointer(place).unwrap(), kept.as_str(), "{place}");
                }
                assert_eq!(entry["requestId"], "0b7f");
            }
        }
    }

    #[test]
    fn a_detail_that_is_too_large_is_kept_as_its_hash() {
        let detail: Value = json!({ "ids": vec!["0123456789abcdef"; 5_000] });
        let record =
            AuditRecord::new(EntryKind::StoreAdded, noon(), None, Some("a"), None, &detail);
        let entry: Value = serde_json::from_slice(record.entry()).unwrap();
        let whole = detail.to_string();
        assert_eq!(entry["client"], "a");
        assert_eq!(entry["detail"]["detailOctets"], whole.len());
        assert_eq!(entry["detail"]["detailSha256"], HEXLOWER.encode(&sha256(whole.as_bytes())));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> =
            EntryKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), EntryKind::ALL.len());
    }
}
