//! What a ledger holds that today's rules may refuse, because an earlier version has written it.

use super::{issuer::KnownCertificate, pin::IacaPin, resource::StoredResource};
use crate::domain::path::KeyPath;

/// What is held against today's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Tenants and services that were there before today's rules.
    pub resources: Vec<InheritedResource>,
    /// CA certificates that were issued here and have not ended, and all of IACAs; of one key together.
    pub cas: Vec<KnownCertificate>,
    /// Descriptions of IACAs that have not ended.
    pub iaca_pins: Vec<IacaPin>,
    /// Pinned keys with their `SubjectPublicKeyInfo`, DER.
    pub keys: Vec<(KeyPath, Vec<u8>)>,
    /// Whether there is more of one of these than is looked at.
    pub is_cut: bool,
}

/// A tenant or service of an earlier version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InheritedResource {
    /// As it is now.
    pub now: StoredResource,
    /// Its definition as that version has left it.
    pub before: String,
}

/// A ledger that another process may be using.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerBeside {
    /// Its version, when a start will bring it to this program's: both.
    pub older: Option<(i32, i32)>,
    /// What it holds.
    pub inherited: Inherited,
}
