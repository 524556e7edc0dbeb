//! Entries of certificate stores.

use super::issuer::IssuerIndex;
use crate::domain::{
    path::{PathElement, ResourcePath},
    request::VicalMetadata,
};

/// A copy of the certificate, for an id that the intent reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCopy {
    /// The store.
    pub store: ResourcePath,
    /// The child.
    pub id: PathElement,
    /// What it is there for.
    pub kind: EntryKind,
    /// With `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}

/// What a store entry is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A certificate and nothing more.
    Base,
    /// An IACA that the next VICAL lists.
    VicalEntry,
}

impl EntryKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Base, Self::VicalEntry];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::VicalEntry => "vical-entry",
        }
    }
}

/// A certificate in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEntry {
    /// The store.
    pub store: ResourcePath,
    /// The child.
    pub id: PathElement,
    /// What it is there for.
    pub kind: EntryKind,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// With `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}

/// A store entry that a client writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The store.
    pub store: ResourcePath,
    /// The child.
    pub id: PathElement,
    /// What it is there for.
    pub kind: EntryKind,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// SHA-256 over its `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// basicConstraints says so.
    pub is_ca: bool,
    /// Of a CA: by what it is found as an issuer.
    pub index: Option<IssuerIndex>,
    /// With `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}
