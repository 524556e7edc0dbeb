//! The tokens that the names of the configuration stand for.

use super::{
    Ledger, RecordedToken,
    error::LedgerError,
    job::WhenFull,
    sqlite::sql::{tokens, write},
};
use crate::{audit::AuditRecord, domain::path::KeyPath};

impl Ledger {
    /// All tokens on record, by name.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn tokens(&self) -> Result<Vec<RecordedToken>, LedgerError> {
        self.read(|connection| Ok(tokens::all(connection)?)).await
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
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |transaction| {
                tokens::record(transaction, &token)?;
                tokens::place_pins(transaction, &token, &keys)?;
                write::append(transaction, &audit)?;
                Ok(())
            })
            .await
    }
}
