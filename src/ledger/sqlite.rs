//! The SQLite backend: one file, its tables and statements. Nothing outside this module names SQLite.

pub(super) mod backend;
pub(super) mod backup;
mod checkpoint;
mod error;
pub(super) mod file;
mod operations;
mod place;
pub(super) mod restore;
mod schema;
mod sql;
#[cfg(test)]
mod tests;
mod transaction;

pub(super) use sql::inherited::beside as inherited_beside;
