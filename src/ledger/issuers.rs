//! Keys that sign certificates: what is on record of them.

use std::sync::atomic::Ordering;

use super::{
    Ledger,
    error::LedgerError,
    read::{CasNamed, HasIssuedCa, IacaPins, OneKey, UnindexedCas},
    record::{
        IacaPin, IssuerIndex, KeyQuestion, KnownCertificate, KnownKey, NamedQuestion, UsedIssuer,
    },
    write::{DropIacaPins, IndexCas},
};
use crate::audit::AuditRecord;

impl Ledger {
    /// Changes with everything that may change an answer of [`Self::known_key`] or
    /// [`Self::cas_named`], before the one who changed it has been answered.
    pub fn known_keys_version(&self) -> u64 {
        self.inner.known_keys_version.load(Ordering::Acquire)
    }

    /// What is known of a public key.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn known_key(&self, question: KeyQuestion) -> Result<KnownKey, LedgerError> {
        self.read(OneKey(question)).await
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
        self.read(CasNamed(question)).await
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
        self.read(HasIssuedCa(spki_sha256, sha256)).await
    }

    /// Descriptions and used certificates of IACAs that a public key is on record with.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn iaca_pins(
        &self,
        spki_sha256: [u8; 32],
    ) -> Result<(Vec<IacaPin>, Vec<UsedIssuer>), LedgerError> {
        self.read(IacaPins(spki_sha256)).await
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
        self.write(DropIacaPins(spki_sha256, audit)).await
    }

    /// CA certificates in stores that an earlier version has not indexed, at most `many`: where they
    /// are, and their octets.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn unindexed_cas(&self, many: u32) -> Result<Vec<(i64, Vec<u8>)>, LedgerError> {
        self.read(UnindexedCas(many)).await
    }

    /// Indexes them.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn index_cas(&self, entries: Vec<(i64, IssuerIndex)>) -> Result<(), LedgerError> {
        self.write(IndexCas(entries)).await
    }
}
