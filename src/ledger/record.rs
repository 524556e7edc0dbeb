//! What the ledger is given and gives back: column values, already decoded.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentId(pub(super) i64);

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
    pub key_pins: Vec<KeyPin>,
    /// The IACA described for the first time. An equal pin stays as it is.
    pub iaca_pin: Option<IacaPin>,
    /// Written with the intent, in this order.
    pub audit: Vec<AuditRecord>,
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
    /// The token's serial number.
    pub token: String,
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

/// A signed and verified certificate. What the intent said already is taken from there.
#[derive(Debug, Clone)]
pub struct Outcome {
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
    /// The `issued` entry.
    pub audit: AuditRecord,
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
    },
    /// It lies in a store, wherever it is from.
    Stored {
        /// The store.
        store: ResourcePath,
        /// The child.
        id: PathElement,
    },
}

/// A signed and verified VICAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedVersion {
    /// Who publishes.
    pub provider: String,
    /// The date within.
    pub date: Timestamp,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// How many certificates it lists.
    pub entry_count: usize,
    /// All its octets.
    pub artifact: Vec<u8>,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
    /// The name of the signature algorithm.
    pub algorithm: &'static str,
    /// The certificate of the key that signed.
    pub signer_certificate_pem: String,
    /// Those above it, its issuer first.
    pub signer_chain_pem: Vec<String>,
}

/// A published VICAL without its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalVersion {
    /// Its id below the service.
    pub version: PathElement,
    /// Unique and growing within the service.
    pub issue_id: u64,
    /// Who publishes.
    pub provider: String,
    /// The date within.
    pub date: Timestamp,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// How many certificates it lists.
    pub entry_count: u64,
    /// The length of its octets.
    pub size_bytes: u64,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
    /// The name of the signature algorithm.
    pub algorithm: String,
    /// The certificate of the key that signed.
    pub signer_certificate_pem: String,
    /// Those above it, its issuer first.
    pub signer_chain_pem: Vec<String>,
}

/// The octets of a published VICAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalArtifact {
    /// All of them.
    pub octets: Vec<u8>,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
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
