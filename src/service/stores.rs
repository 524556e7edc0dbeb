//! Reading certificate stores.

use super::{Services, error::Error, key_errors};
use crate::{
    domain::{
        path::{PathElement, ResourcePath},
        request::VicalMetadata,
    },
    ledger::StoreEntry,
    x509::pem,
};

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// Its full path.
    pub path: ResourcePath,
    /// `base` or `vical-entry`.
    pub kind: &'static str,
    /// The certificate.
    pub certificate_pem: String,
    /// With `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}

/// All entries of a store, sorted by path.
///
/// # Errors
/// [`Error::Unavailable`] when the ledger does not answer.
pub async fn list(services: &Services, store: &ResourcePath) -> Result<Vec<Entry>, Error> {
    let entries = services.ledger.store_entries(store.clone()).await.map_err(key_errors::ledger)?;
    Ok(entries.into_iter().map(Entry::from).collect())
}

/// The full paths of all entries of a store, sorted.
///
/// # Errors
/// [`Error::Unavailable`] when the ledger does not answer.
pub async fn ids(services: &Services, store: &ResourcePath) -> Result<Vec<ResourcePath>, Error> {
    services.ledger.store_ids(store.clone()).await.map_err(key_errors::ledger)
}

/// One entry.
///
/// # Errors
/// [`Error::NotFound`] when there is none, [`Error::Unavailable`] when the ledger does not answer.
pub async fn get(
    services: &Services,
    store: &ResourcePath,
    id: &PathElement,
) -> Result<Entry, Error> {
    services
        .ledger
        .store_entry(store.clone(), id.clone())
        .await
        .map_err(key_errors::ledger)?
        .map(Entry::from)
        .ok_or_else(|| Error::NotFound {
            message: format!("{} does not exist", store.child(id)),
            field: None,
        })
}

impl From<StoreEntry> for Entry {
    fn from(entry: StoreEntry) -> Self {
        Self {
            path: entry.store.child(&entry.id),
            kind: entry.kind.name(),
            certificate_pem: pem::encode("CERTIFICATE", &entry.der),
            metadata: entry.metadata,
        }
    }
}
