//! Tenants and services.

use crate::domain::path::ResourcePath;

/// A tenant or service that was created over the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResource {
    /// Its full path.
    pub path: ResourcePath,
    /// JSON; what is in it is the caller's.
    pub definition: String,
}
