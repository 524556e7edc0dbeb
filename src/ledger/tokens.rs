//! The tokens that the names of the configuration stand for.

use super::{Ledger, error::LedgerError, read::Tokens, record::RecordedToken, write::RecordToken};
use crate::{audit::AuditRecord, domain::path::KeyPath};

impl Ledger {
    /// All tokens on record, by name.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn tokens(&self) -> Result<Vec<RecordedToken>, LedgerError> {
        self.read(Tokens()).await
    }

    /// Records that a name stands for this token from now on, and that the token has these pinned keys,
    /// given with the SHA-256 of their public keys.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`]; nothing is recorded then.
    pub async fn record_token(
        &self,
        token: RecordedToken,
        keys: Vec<(KeyPath, [u8; 32])>,
        audit: AuditRecord,
    ) -> Result<(), LedgerError> {
        self.write(RecordToken(token, keys, audit)).await
    }
}
