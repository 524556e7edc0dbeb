//! Changes of keys: what was begun, and what it came to.

use super::{
    KeyChange, Ledger, PinChange,
    error::LedgerError,
    job::WhenFull,
    sqlite::sql::{keys, write},
};
use crate::{
    audit::AuditRecord,
    domain::{path::KeyPath, time::Timestamp},
};

impl Ledger {
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
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |transaction| {
                keys::begin(transaction, &change)?;
                write::append(transaction, &audit)?;
                Ok(())
            })
            .await
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
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Wait, move |transaction| {
                keys::end(transaction, &change, &pin)?;
                write::append(transaction, &audit)?;
                Ok(())
            })
            .await
    }

    /// The changes that were begun and have not ended, by path.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn open_key_changes(&self) -> Result<Vec<KeyChange>, LedgerError> {
        self.read(|connection| Ok(keys::open(connection)?)).await
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
        self.read(move |connection| Ok(keys::valid_of_key(connection, &path, now)?)).await
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
        self.read(move |connection| Ok(keys::valid_cas(connection, &spki_sha256, now)?)).await
    }
}
