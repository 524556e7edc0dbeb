//! Keys: their pins, and changes of them, from what was begun to what it came to.

use super::{
    Ledger,
    error::LedgerError,
    read::{KeyPins, OpenKeyChanges, ValidCaCertificates, ValidCertificatesOfKey},
    record::{KeyChange, KeyPin, PinChange},
    write::{BeginKeyChange, EndKeyChange},
};
use crate::{
    audit::AuditRecord,
    domain::{path::KeyPath, time::Timestamp},
};

impl Ledger {
    /// All key pins, by path.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn key_pins(&self) -> Result<Vec<KeyPin>, LedgerError> {
        self.read(KeyPins()).await
    }

    /// Records that a key is about to be changed, before the HSM is asked. It stays open until
    /// [`Self::end_key_change`]; one that a lost write left open for the same path is replaced.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`]; nothing is recorded then.
    pub async fn begin_key_change(
        &self,
        change: KeyChange,
        audit: AuditRecord,
    ) -> Result<(), LedgerError> {
        self.write(BeginKeyChange(change, audit)).await
    }

    /// Records what a change came to, with what it means for the key's pin: nothing, when another
    /// change of the path was begun since. Waits where other calls
    /// are [`LedgerError::Busy`].
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; the change is then found open at the next start.
    pub async fn end_key_change(
        &self,
        change: KeyChange,
        pin: PinChange,
        audit: AuditRecord,
    ) -> Result<(), LedgerError> {
        self.write(EndKeyChange(change, pin, audit)).await
    }

    /// The changes that were begun and have not ended, by path.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn open_key_changes(&self) -> Result<Vec<KeyChange>, LedgerError> {
        self.read(OpenKeyChanges()).await
    }

    /// How many certificates that were issued with a key of this path, or for it, have not expired.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn valid_certificates_of_key(
        &self,
        path: KeyPath,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        self.read(ValidCertificatesOfKey(path, now)).await
    }

    /// How many CA certificates with that public key were issued here and have not expired.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn valid_ca_certificates(
        &self,
        spki_sha256: [u8; 32],
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        self.read(ValidCaCertificates(spki_sha256, now)).await
    }
}
