//! What the ledger is given and gives back: column values, already decoded.

use std::time::Instant;

use super::{
    issuers::{IssuerIndex, KeyClaim, UsedIssuer},
    vical::PublishedVersion,
};
use crate::{
    audit::AuditRecord,
    domain::{
        client::KeyPurpose,
        path::{KeyPath, PathElement, ResourcePath},
        request::VicalMetadata,
        serial::SerialNumber,
        time::Timestamp,
    },
};

/// The handle of a recorded intent; never used twice.
#[derive(Debug, Clone, Copy)]
pub struct IntentId {
    pub(super) number: i64,
    /// Whether it may have reserved anything.
    pub(super) reserves: bool,
    /// Whether it may have claimed a role for a key.
    pub(super) claims: bool,
    /// When it was recorded, or found open.
    pub(super) since: Instant,
}

impl PartialEq for IntentId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for IntentId {}

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

/// A pin to be made unless an equal one is there already.
#[derive(Debug, Clone)]
pub struct Pinning<P> {
    /// The pin.
    pub pin: P,
    /// The entry that says so; of many who come first at the same time, one writes it.
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

/// A key path and the public key it stands for, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPin {
    /// Where the key is.
    pub path: KeyPath,
    /// The name of its token in the configuration.
    pub token: String,
    /// The serial number of the token that has shown it; `None` until one has.
    pub token_serial: Option<String>,
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID.
    pub cka_id: Vec<u8>,
    /// `SubjectPublicKeyInfo`, DER.
    pub spki: Vec<u8>,
    /// SHA-256 over it.
    pub spki_sha256: [u8; 32],
    /// When the key was first used.
    pub first_seen: Timestamp,
}

/// The token that a name of the configuration stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedToken {
    /// The name in the configuration.
    pub name: String,
    /// Its serial number.
    pub serial: String,
    /// When it was put on record.
    pub since: Timestamp,
}

/// A change of a key that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub path: KeyPath,
    /// `generate`, `import` or `delete`.
    pub operation: String,
    /// Who asked.
    pub client: String,
    /// The request's id.
    pub request_id: String,
    /// When.
    pub begun_at: Timestamp,
}

/// What a change means for the pin of its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChange {
    /// Nothing.
    None,
    /// The path stands for this key from now on, whatever it stood for before.
    Set(KeyPin),
    /// The path stands for no key; the next one under it is pinned anew.
    Remove,
}

/// The one IACA that a key may be described as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IacaPin {
    /// SHA-256 over the key's `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// Name, DER.
    pub subject_der: Vec<u8>,
    /// rfc822Name of the issuer alternative name.
    pub email: Option<String>,
    /// uniformResourceIdentifier of the issuer alternative name.
    pub uri: Option<String>,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// The key, unless it came with the request.
    pub key_path: Option<KeyPath>,
    /// When it was described first.
    pub pinned_at: Timestamp,
}

impl IacaPin {
    /// Whether both describe the same IACA, whoever did so and when.
    pub fn describes_same_as(&self, other: &Self) -> bool {
        let identity = |pin: &Self| (pin.spki_sha256, pin.not_before, pin.not_after);
        identity(self) == identity(other)
            && self.subject_der == other.subject_der
            && self.email == other.email
            && self.uri == other.uri
    }
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

/// A signed and verified certificate. What the intent said already is taken from there.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// SHA-256 over it.
    pub sha256: [u8; 32],
    /// SHA-256 over the subject's `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// Name, DER.
    pub subject_der: Vec<u8>,
    /// Name, DER.
    pub issuer_der: Vec<u8>,
    /// Common name of the subject.
    pub subject_cn: Option<String>,
    /// Name, for people.
    pub subject_text: String,
    /// Name, for people.
    pub issuer_text: String,
    /// Subject key identifier.
    pub subject_key_id: Vec<u8>,
    /// The issuer's subject key identifier.
    pub issuer_key_id: Vec<u8>,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// basicConstraints says so.
    pub is_ca: bool,
    /// The certified key has signed.
    pub self_signed: bool,
    /// When.
    pub issued_at: Timestamp,
    /// The copies to be stored, in order of attachment. Reservations not among them are freed.
    pub entries: Vec<StoredCopy>,
}

/// A copy of the certificate, for an id that the intent reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCopy {
    /// The store.
    pub store: ResourcePath,
    /// The child.
    pub id: PathElement,
    /// What it is there for.
    pub kind: EntryKind,
    /// With `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}

/// What a store entry is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A certificate and nothing more.
    Base,
    /// An IACA that the next VICAL lists.
    VicalEntry,
}

impl EntryKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Base, Self::VicalEntry];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::VicalEntry => "vical-entry",
        }
    }
}

/// A certificate in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEntry {
    /// The store.
    pub store: ResourcePath,
    /// The child.
    pub id: PathElement,
    /// What it is there for.
    pub kind: EntryKind,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// With `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}

/// A CA certificate that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// How the ledger came by it.
    pub origin: CertificateOrigin,
}

/// How the ledger came by a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateOrigin {
    /// It was issued here.
    Issued {
        /// By which service.
        service: ResourcePath,
        /// In which profile.
        profile: KeyPurpose,
        /// For which key, when it is in an HSM.
        subject_key_path: Option<KeyPath>,
        /// Whether that key has signed it.
        self_signed: bool,
        /// When.
        issued_at: Timestamp,
    },
    /// An issuance has relied on it.
    Used {
        /// Of which service.
        service: ResourcePath,
        /// Whether as an IACA.
        is_iaca: bool,
        /// Whether its own key has signed it.
        self_signed: bool,
        /// When first.
        used_at: Timestamp,
    },
    /// It lies in a store, wherever it is from.
    Stored {
        /// The store.
        store: ResourcePath,
        /// The child.
        id: PathElement,
    },
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

/// A tenant or service that was created over the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResource {
    /// Its full path.
    pub path: ResourcePath,
    /// JSON; what is in it is the caller's.
    pub definition: String,
}

/// A store entry that a client writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The store.
    pub store: ResourcePath,
    /// The child.
    pub id: PathElement,
    /// What it is there for.
    pub kind: EntryKind,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// SHA-256 over its `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// basicConstraints says so.
    pub is_ca: bool,
    /// Of a CA: by what it is found as an issuer.
    pub index: Option<IssuerIndex>,
    /// With `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}

/// An issued certificate, as the inventory lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Index of the audit entry that says `issued`; the newest has the highest.
    pub audit_index: u64,
    /// Serial number.
    pub serial: SerialNumber,
    /// The profile.
    pub profile: KeyPurpose,
    /// Name, for people.
    pub subject_text: String,
    /// Name, for people.
    pub issuer_text: String,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// Subject key identifier.
    pub subject_key_id: Vec<u8>,
    /// The issuer's subject key identifier.
    pub issuer_key_id: Vec<u8>,
    /// The key that signed, unless it came with the request.
    pub issuer_key_path: Option<KeyPath>,
    /// The certified key, when it is in an HSM.
    pub subject_key_path: Option<KeyPath>,
    /// Full paths of the copies, in order of attachment.
    pub stored_ids: Vec<String>,
    /// SHA-256 over the certificate.
    pub sha256: Vec<u8>,
    /// When.
    pub issued_at: Timestamp,
    /// Who asked.
    pub client: String,
    /// The request's id.
    pub request_id: String,
    /// Whether a key came with the request.
    pub dev_key: bool,
}

/// Which issued certificates are wanted; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateFilter {
    /// Of this profile.
    pub profile: Option<KeyPurpose>,
    /// In this state at this time.
    pub status: Option<(CertificateStatus, Timestamp)>,
    /// Issued by a key with this identifier.
    pub issuer_key_id: Option<Vec<u8>>,
    /// With exactly this common name.
    pub subject_cn: Option<String>,
    /// Signed by, or certifying, this key.
    pub key_path: Option<KeyPath>,
    /// Stored under this child id.
    pub stored_id: Option<PathElement>,
    /// Asked for by this client.
    pub client: Option<String>,
    /// Not issued before.
    pub issued_from: Option<Timestamp>,
    /// Not issued after.
    pub issued_to: Option<Timestamp>,
    /// Not ending before.
    pub not_after_from: Option<Timestamp>,
    /// Not ending after.
    pub not_after_to: Option<Timestamp>,
    /// Older than this audit index: the next page.
    pub before_index: Option<u64>,
}

/// The state of a certificate at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    /// Within its validity.
    Valid,
    /// Before it.
    NotYetValid,
    /// After it.
    Expired,
    /// Revoked.
    Revoked,
}

impl CertificateStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Valid, Self::NotYetValid, Self::Expired, Self::Revoked];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotYetValid => "not-yet-valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Certificate {
    /// Its state at a time.
    pub fn status(&self, now: Timestamp) -> CertificateStatus {
        if now < self.not_before {
            CertificateStatus::NotYetValid
        } else if now > self.not_after {
            CertificateStatus::Expired
        } else {
            CertificateStatus::Valid
        }
    }
}

/// Which request an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Who asked.
    pub client: String,
    /// Method and path.
    pub route: String,
    /// The Idempotency-Key.
    pub key: String,
}

/// An answer to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Which request it belongs to.
    pub request: RequestKey,
    /// SHA-256 over the request's body.
    pub fingerprint: [u8; 32],
    /// Serial number of the certificate, in hex, if it was one.
    pub serial: Option<String>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// When.
    pub kept_at: Timestamp,
}
