//! Errors of SQLite as errors of the ledger.

use crate::ledger::error::{BeginError, CreateError, LedgerError};

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(code) => {
                Self::unavailable(format!("SQLite: {error} (code {})", code.extended_code))
            }
            None => Self::unavailable(format!("SQLite: {error}")),
        }
    }
}

impl From<rusqlite::Error> for BeginError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<rusqlite::Error> for CreateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}
