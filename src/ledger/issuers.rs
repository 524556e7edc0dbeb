//! What is on record of keys that sign certificates, and which of two roles a key has: that of an
//! IACA, or that of another CA.

use super::{IacaPin, KnownCertificate, Ledger, LedgerError, job::WhenFull, sql::issuers};
use crate::{
    audit::AuditRecord,
    domain::{client::KeyPurpose, path::ResourcePath, time::Timestamp},
};

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
    pub(super) newest_ca: Option<i64>,
    /// How many descriptions and certificates from elsewhere make it an IACA's.
    pub(super) iacas: i64,
    /// How many certificates from elsewhere make it another CA's.
    pub(super) others: i64,
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
    pub(super) fn name(self) -> &'static str {
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

impl Ledger {
    /// Changes with everything that may change an answer of [`Self::known_key`] or
    /// [`Self::cas_named`], before the one who changed it has been answered.
    pub fn known_keys_version(&self) -> u64 {
        self.inner.known_keys_version.load(std::sync::atomic::Ordering::Acquire)
    }

    /// What is known of a public key.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn known_key(&self, question: KeyQuestion) -> Result<KnownKey, LedgerError> {
        self.read(move |connection| Ok(issuers::known_key(connection, &question)?)).await
    }

    /// CA certificates with a subject that may have signed another: issued here, then used here, then
    /// held in the stores; of each kind a few, those with the key identifier first.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn cas_named(
        &self,
        question: NamedQuestion,
    ) -> Result<Vec<KnownCertificate>, LedgerError> {
        self.read(move |connection| Ok(issuers::named(connection, &question)?)).await
    }

    /// Whether a CA certificate over that public key was issued here, by any service.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn has_issued_ca(
        &self,
        spki_sha256: [u8; 32],
        sha256: [u8; 32],
    ) -> Result<bool, LedgerError> {
        self.read(move |connection| Ok(issuers::has_issued(connection, &spki_sha256, &sha256)?))
            .await
    }

    /// Descriptions and used certificates of IACAs that a public key is on record with.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn iaca_pins(
        &self,
        spki_sha256: [u8; 32],
    ) -> Result<(Vec<IacaPin>, Vec<UsedIssuer>), LedgerError> {
        self.read(move |connection| Ok(issuers::iaca_pins(connection, &spki_sha256)?)).await
    }

    /// Drops them, with an audit entry; false, and no entry, when there were none.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn drop_iaca_pins(
        &self,
        spki_sha256: [u8; 32],
        audit: AuditRecord,
    ) -> Result<bool, LedgerError> {
        let writes = &self.inner.writes;
        writes
            .run_on_keys(WhenFull::Refuse, move |transaction| {
                Ok(issuers::drop_pins(transaction, &spki_sha256, &audit)?)
            })
            .await
    }

    /// CA certificates in stores that an earlier version has not indexed, at most `many`: where they
    /// are, and their octets.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn unindexed_cas(&self, many: u32) -> Result<Vec<(i64, Vec<u8>)>, LedgerError> {
        self.read(move |connection| Ok(issuers::unindexed(connection, many)?)).await
    }

    /// Indexes them.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn index_cas(&self, entries: Vec<(i64, IssuerIndex)>) -> Result<(), LedgerError> {
        let writes = &self.inner.writes;
        writes
            .run_on_keys(WhenFull::Wait, move |transaction| {
                Ok(issuers::index(transaction, &entries)?)
            })
            .await
    }
}
