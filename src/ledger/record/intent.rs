//! What is about to be signed, and what it came to.

use super::{
    answer::KeptAnswer,
    certificate::IssuedCertificate,
    intent_id::IntentId,
    issuer::{KeyClaim, UsedIssuer},
    pin::{IacaPin, KeyPin, Pinning},
    vical::PublishedVersion,
};
use crate::{
    audit::AuditRecord,
    domain::{
        client::KeyPurpose,
        path::{KeyPath, PathElement, ResourcePath},
        serial::SerialNumber,
        time::Timestamp,
    },
};

/// What is about to be signed, recorded before the HSM is asked.
#[derive(Debug, Clone)]
pub struct Intent {
    /// `None` for what has no serial number, such as a CSR.
    pub serial: Option<SerialNumber>,
    /// The profile.
    pub purpose: KeyPurpose,
    /// The service that was asked.
    pub service: ResourcePath,
    /// SHA-256 over the bytes to be signed.
    pub tbs_sha256: [u8; 32],
    /// The key that signs, unless it came with the request.
    pub issuer_key_path: Option<KeyPath>,
    /// The key that is certified, when it is in an HSM.
    pub subject_key_path: Option<KeyPath>,
    /// Whether the key that signs came with the request.
    pub dev_key: bool,
    /// Who asked.
    pub client: String,
    /// The request's id.
    pub request_id: String,
    /// When.
    pub created_at: Timestamp,
    /// Ids to be kept free until the intent has ended.
    pub reservations: Vec<Reservation>,
    /// Keys seen for the first time. One that is pinned to the same public key stays as it is.
    pub key_pins: Vec<Pinning<KeyPin>>,
    /// The IACA described for the first time. An equal pin stays as it is.
    pub iaca_pin: Option<Pinning<IacaPin>>,
    /// CA certificates from elsewhere that are relied on; those on record stay as they are.
    pub used_issuers: Vec<Pinning<UsedIssuer>>,
    /// The roles that keys take.
    pub claims: Vec<KeyClaim>,
    /// SHA-256 over the `SubjectPublicKeyInfo` of the key that signs, when this use of it is new.
    pub noted_key: Option<[u8; 32]>,
    /// The entry that says so.
    pub audit: AuditRecord,
}

/// An id in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The store.
    pub store: ResourcePath,
    /// The child.
    pub id: PathElement,
}

/// What an intent came to: signed and verified.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was made.
    pub product: Product,
    /// The entry that says so, such as `issued`.
    pub audit: AuditRecord,
    /// To be given again to the same Idempotency-Key.
    pub answer: Option<KeptAnswer>,
}

/// What was made, and what of it is kept.
#[derive(Debug, Clone)]
pub enum Product {
    /// A certificate: kept, with its copies in the stores.
    Certificate(Box<IssuedCertificate>),
    /// A certification request: not kept.
    Request,
    /// A VICAL: kept as the version that its intent reserved.
    Vical(Box<PublishedVersion>),
}

/// An intent that neither came about nor was aborted: the process died in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// To abort it with.
    pub id: IntentId,
    /// Spent, whatever happens.
    pub serial: Option<SerialNumber>,
    /// The profile.
    pub purpose: KeyPurpose,
    /// The service that was asked.
    pub service: ResourcePath,
    /// SHA-256 over the bytes that may have been signed.
    pub tbs_sha256: [u8; 32],
    /// The key that signs, unless it came with the request.
    pub issuer_key_path: Option<KeyPath>,
    /// The key that is certified, when it is in an HSM.
    pub subject_key_path: Option<KeyPath>,
    /// Whether the key that signs came with the request.
    pub dev_key: bool,
    /// Who asked.
    pub client: String,
    /// The request's id.
    pub request_id: String,
    /// When.
    pub created_at: Timestamp,
}
