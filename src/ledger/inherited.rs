//! What a ledger holds that today's rules may refuse, because an earlier version has written it.

use std::path::Path;

use super::{
    Ledger,
    error::LedgerError,
    read::AllInherited,
    record::{Inherited, LedgerBeside},
    sqlite,
};
use crate::domain::time::Timestamp;

impl Ledger {
    /// What an earlier version may have left in the ledger.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn inherited(&self, now: Timestamp) -> Result<Inherited, LedgerError> {
        self.read(AllInherited(now)).await
    }

    /// The same of a ledger's file, of any version, perhaps beside a daemon that uses it: nothing is
    /// locked, migrated or written. `None` where there is no ledger yet. Blocks.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when it is no ledger or a newer one; [`LedgerError::Unavailable`] when
    /// SQLite cannot read it.
    pub fn inherited_beside(
        path: &Path,
        now: Timestamp,
    ) -> Result<Option<LedgerBeside>, LedgerError> {
        sqlite::inherited_beside(path, now)
    }
}
