//! Issued certificates: as they are recorded, and as the inventory lists them.

use super::store::StoredCopy;
use crate::domain::{
    client::KeyPurpose,
    path::{KeyPath, PathElement},
    serial::SerialNumber,
    time::Timestamp,
};

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
