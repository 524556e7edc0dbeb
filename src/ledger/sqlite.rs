//! The SQLite backend: one file, its tables and statements. Nothing outside this module names SQLite.

pub(super) mod backup;
pub(super) mod checkpoint;
pub(super) mod file;
pub(super) mod place;
pub(super) mod restore;
pub(super) mod schema;
pub(super) mod sql;
pub(super) mod transaction;
