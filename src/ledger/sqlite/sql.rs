//! All SQL of the ledger: plain statements on portable types, so that PostgreSQL can take them.
//!
//! Transactions are the caller's; every function here runs inside one. What only SQLite knows
//! (files, pragmas) is not here.

pub(in crate::ledger) mod answers;
pub(in crate::ledger) mod figures;
pub(in crate::ledger) mod inherited;
pub(in crate::ledger) mod inventory;
pub(in crate::ledger) mod issuers;
pub(in crate::ledger) mod keys;
pub(in crate::ledger) mod read;
pub(in crate::ledger) mod stores;
pub(in crate::ledger) mod tokens;
pub(in crate::ledger) mod verify;
pub(in crate::ledger) mod vical;
pub(in crate::ledger) mod write;
