//! What a ledger holds that today's rules may refuse, because an earlier version has written it.
//!
//! It is read from ledgers of every version, also beside a daemon that runs: nothing is locked, migrated
//! or written.

use std::path::Path;

use super::{
    IacaPin, KnownCertificate, Ledger, LedgerError, StoredResource,
    sql::{inherited, schema::SCHEMA_VERSION},
    sqlite,
};
use crate::domain::{path::KeyPath, time::Timestamp};

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
        let Some((connection, version)) = sqlite::open_beside(path)? else { return Ok(None) };
        let transaction = connection.unchecked_transaction()?;
        let inherited = inherited::all(&transaction, version, now)?;
        let older = (version < SCHEMA_VERSION).then_some((version, SCHEMA_VERSION));
        Ok(Some(LedgerBeside { older, inherited }))
    }
}
