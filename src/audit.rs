//! Entries of the audit log: made once, kept and hashed as exactly those bytes.
//!
//! Storing them is the ledger's work. Nothing here decides what is worth an entry.

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use crate::domain::time::Timestamp;

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
    /// A described IACA became the only one its key may be described as.
    IacaPinned,
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
    pub const ALL: [Self; 29] = [
        Self::Started,
        Self::Stopped,
        Self::Reloaded,
        Self::Restored,
        Self::Intent,
        Self::Issued,
        Self::Aborted,
        Self::Refused,
        Self::IacaPinned,
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
            Self::IacaPinned => "iaca-pinned",
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

/// One entry, `{"type","time","requestId","client","target","detail"}`, and the hash of its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    entry: Vec<u8>,
    leaf_hash: [u8; 32],
}

impl AuditRecord {
    /// Fixes the bytes: compact JSON, members in the order above, those that are `None` left out. The
    /// members of the detail are in alphabetical order; those of a struct must be declared so.
    pub fn new(
        kind: EntryKind,
        time: Timestamp,
        request_id: Option<&str>,
        client: Option<&str>,
        target: Option<&str>,
        detail: impl Serialize,
    ) -> Self {
        let fields = Entry { kind: kind.name(), time, request_id, client, target, detail };
        let mut entry = Vec::with_capacity(ENTRY_OCTETS_EXPECTED);
        #[expect(clippy::expect_used, reason = "neither texts nor values fail, nor does a vector")]
        serde_json::to_writer(&mut entry, &fields).expect("JSON");
        let leaf_hash = leaf_hash(&entry);
        Self { entry, leaf_hash }
    }

    /// The bytes that are hashed; nobody may write them anew.
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// SHA-256 over `00 ‖ entry`.
    pub fn leaf_hash(&self) -> &[u8; 32] {
        &self.leaf_hash
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
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> =
            EntryKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), EntryKind::ALL.len());
    }
}
