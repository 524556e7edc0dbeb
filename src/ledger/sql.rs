//! All SQL of the ledger: plain statements on portable types, so that PostgreSQL can take them.
//!
//! Transactions are the caller's; every function here runs inside one. What only SQLite knows
//! (files, pragmas) is not here.

pub(super) mod answers;
pub(super) mod figures;
pub(super) mod inherited;
pub(super) mod inventory;
pub(super) mod issuers;
pub(super) mod keys;
pub(super) mod read;
pub(super) mod schema;
pub(super) mod stores;
pub(super) mod tokens;
pub(super) mod verify;
pub(super) mod vical;
pub(super) mod write;
