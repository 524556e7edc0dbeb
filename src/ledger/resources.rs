//! Tenants and services that were created over the API.

use super::{
    Ledger,
    error::{CreateError, LedgerError},
    read::Resources,
    record::StoredResource,
    write::{ChangeResource, CreateResource},
};
use crate::audit::AuditRecord;

impl Ledger {
    /// Records a tenant or service and its audit entry.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is recorded then.
    pub async fn create_resource(
        &self,
        resource: StoredResource,
        audit: AuditRecord,
    ) -> Result<(), CreateError> {
        self.write(CreateResource(resource, audit)).await
    }

    /// Records a changed definition and its audit entry.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn change_resource(
        &self,
        resource: StoredResource,
        audit: AuditRecord,
    ) -> Result<(), LedgerError> {
        self.write(ChangeResource(resource, audit)).await
    }

    /// All tenants and services that were created over the API.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn resources(&self) -> Result<Vec<StoredResource>, LedgerError> {
        self.read(Resources()).await
    }
}
