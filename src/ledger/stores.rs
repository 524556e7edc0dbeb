//! Entries of stores: read, and written by clients themselves.

use super::{
    Ledger,
    error::{CreateError, LedgerError},
    read::{Entries, EntryIds, OneEntry, Taken},
    record::{NewEntry, StoreEntry},
    write::{AddEntry, DeleteEntry, ReplaceEntry},
};
use crate::{
    audit::AuditRecord,
    domain::path::{PathElement, ResourcePath},
};

impl Ledger {
    /// The full path of the first of these ids that exists or is reserved.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn taken(
        &self,
        paths: Vec<(ResourcePath, PathElement)>,
    ) -> Result<Option<ResourcePath>, LedgerError> {
        self.read(Taken(paths)).await
    }

    /// One entry of a store; reserved ids are not there yet.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn store_entry(
        &self,
        store: ResourcePath,
        id: PathElement,
    ) -> Result<Option<StoreEntry>, LedgerError> {
        self.read(OneEntry(store, id)).await
    }

    /// All entries of a store, sorted by full path; reserved ids are not there yet.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn store_entries(&self, store: ResourcePath) -> Result<Vec<StoreEntry>, LedgerError> {
        self.read(Entries(store)).await
    }

    /// The full paths of all entries of a store, sorted; reserved ids are not there yet.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn store_ids(&self, store: ResourcePath) -> Result<Vec<ResourcePath>, LedgerError> {
        self.read(EntryIds(store)).await
    }

    /// Adds an entry with its audit entry.
    ///
    /// # Errors
    /// [`CreateError`]: the id is there or reserved; nothing is recorded then.
    pub async fn add_entry(&self, entry: NewEntry, audit: AuditRecord) -> Result<(), CreateError> {
        self.write(AddEntry(entry, audit)).await
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
        self.write(ReplaceEntry(entry, audit)).await
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
        self.write(DeleteEntry(store, id, audit)).await
    }
}
