//! Keys that sign certificates: what is known of them, and which of two roles a key has, that of an
//! IACA or that of another CA.

use super::pin::IacaPin;
use crate::domain::{
    client::KeyPurpose,
    path::{KeyPath, PathElement, ResourcePath},
    time::Timestamp,
};

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

/// Who asks what is known of a public key.
#[derive(Debug, Clone)]
pub struct KeyQuestion {
    /// SHA-256 over the `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// The service of the call.
    pub service: ResourcePath,
    /// The stores attached to it.
    pub stores: Vec<ResourcePath>,
    /// Certificates that have ended before count no more, but for those of IACAs.
    pub now: Timestamp,
}

/// What the ledger knows of a public key, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// CA certificates over it: issued here, oldest first, then those used here, then those held in the
    /// stores, in the order of the stores. Of each kind the bounds of this module.
    pub certificates: Vec<KnownCertificate>,
    /// The descriptions of IACAs that were pinned to it.
    pub pins: Vec<IacaPin>,
    /// What it has signed, certificates of IACAs and document signers aside.
    pub uses: Vec<KeyPurpose>,
    /// To be held against the ledger when a role is claimed.
    pub state: KeyState,
}

/// What a claim of a role was decided on. Another state means that it has to be decided again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyState {
    /// Audit index of the newest CA certificate over the key that was issued here.
    pub(in crate::ledger) newest_ca: Option<i64>,
    /// How many descriptions and certificates from elsewhere make it an IACA's.
    pub(in crate::ledger) iacas: i64,
    /// How many certificates from elsewhere make it another CA's.
    pub(in crate::ledger) others: i64,
}

/// The two roles that a key can have among CAs; never both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaRole {
    /// It is an IACA's.
    Iaca,
    /// It is another CA's.
    Generic,
}

impl CaRole {
    /// In the ledger.
    pub(in crate::ledger) fn name(self) -> &'static str {
        match self {
            Self::Iaca => "iaca",
            Self::Generic => "generic",
        }
    }
}

/// A role that a key takes with an intent. It is held until the intent has ended: then a certificate
/// says so, or nothing.
#[derive(Debug, Clone)]
pub struct KeyClaim {
    /// SHA-256 over the key's `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// The role.
    pub role: CaRole,
    /// What the decision was made on.
    pub state: KeyState,
}

/// A CA certificate from elsewhere that an issuance relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedIssuer {
    /// SHA-256 over its `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// SHA-256 over the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 over the subject, DER.
    pub subject_sha256: [u8; 32],
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Whether it was used as an IACA.
    pub is_iaca: bool,
    /// Whether its own key has signed it.
    pub self_signed: bool,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// The service that has used it.
    pub service: ResourcePath,
    /// When it was used first.
    pub used_at: Timestamp,
}

/// Where CA certificates with a subject are looked for.
#[derive(Debug, Clone)]
pub struct NamedQuestion {
    /// The subject, DER.
    pub subject_der: Vec<u8>,
    /// SHA-256 over it.
    pub subject_sha256: [u8; 32],
    /// The subject key identifier that is looked for first.
    pub key_id: Option<Vec<u8>>,
    /// The service of the call.
    pub service: ResourcePath,
    /// The stores attached to it.
    pub stores: Vec<ResourcePath>,
    /// What has ended before counts no more.
    pub now: Timestamp,
}

/// By what a stored CA certificate is found as the issuer of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerIndex {
    /// SHA-256 over the subject, DER.
    pub subject_sha256: [u8; 32],
    /// The subject key identifier, unless it is longer than usual ones are.
    pub key_id: Option<Vec<u8>>,
}

/// Longer subject key identifiers are not looked for.
const KEY_ID_OCTETS_MAX: usize = 64;

impl IssuerIndex {
    /// From what a certificate says.
    pub fn new(subject_sha256: [u8; 32], key_id: Option<&[u8]>) -> Self {
        let key_id = key_id.filter(|id| id.len() <= KEY_ID_OCTETS_MAX).map(<[u8]>::to_vec);
        Self { subject_sha256, key_id }
    }
}
