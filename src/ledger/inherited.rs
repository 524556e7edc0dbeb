//! What a ledger holds that today's rules may refuse, because an earlier version has written it.
//!
//! It is read from ledgers of every version, also beside a daemon that runs: nothing is locked, migrated
//! or written.

use std::path::Path;

use super::{
    Ledger, LedgerError,
    record::{Inherited, LedgerBeside},
    sqlite::{file, schema::SCHEMA_VERSION, sql::inherited},
};
use crate::domain::time::Timestamp;

impl Ledger {
    /// What an earlier version may have left in the ledger.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn inherited(&self, now: Timestamp) -> Result<Inherited, LedgerError> {
        self.read(move |connection| Ok(inherited::all(connection, SCHEMA_VERSION, now)?)).await
    }

    /// The same of a ledger's file; `None` where there is no ledger yet. Blocks.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when it is no ledger or a newer one; [`LedgerError::Unavailable`] when
    /// SQLite cannot read it.
    pub fn inherited_beside(
        path: &Path,
        now: Timestamp,
    ) -> Result<Option<LedgerBeside>, LedgerError> {
        let Some((connection, version)) = file::open_beside(path)? else { return Ok(None) };
        let transaction = connection.unchecked_transaction()?;
        let inherited = inherited::all(&transaction, version, now)?;
        let older = (version < SCHEMA_VERSION).then_some((version, SCHEMA_VERSION));
        Ok(Some(LedgerBeside { older, inherited }))
    }
}
