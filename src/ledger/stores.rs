//! Store entries that clients write themselves.

use super::{
    Ledger, NewEntry,
    error::{CreateError, LedgerError},
    job::WhenFull,
    sqlite::sql::stores,
};
use crate::{
    audit::AuditRecord,
    domain::path::{PathElement, ResourcePath},
};

impl Ledger {
    /// Adds an entry with its audit entry.
    ///
    /// # Errors
    /// [`CreateError`]: the id is there or reserved; nothing is recorded then.
    pub async fn add_entry(&self, entry: NewEntry, audit: AuditRecord) -> Result<(), CreateError> {
        let writes = &self.inner.writes;
        writes
            .run_on_keys(WhenFull::Refuse, move |transaction| {
                stores::add(transaction, &entry, &audit)
            })
            .await
    }

    /// Replaces an entry, with its audit entry; false when there is none.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn replace_entry(
        &self,
        entry: NewEntry,
        audit: AuditRecord,
    ) -> Result<bool, LedgerError> {
        let writes = &self.inner.writes;
        writes
            .run_on_keys(WhenFull::Refuse, move |transaction| {
                stores::replace(transaction, &entry, &audit)
            })
            .await
    }

    /// Deletes an entry, with its audit entry; false when there is none.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn delete_entry(
        &self,
        store: ResourcePath,
        id: PathElement,
        audit: AuditRecord,
    ) -> Result<bool, LedgerError> {
        let writes = &self.inner.writes;
        writes
            .run_on_keys(WhenFull::Refuse, move |transaction| {
                stores::delete(transaction, &store, &id, &audit)
            })
            .await
    }
}
