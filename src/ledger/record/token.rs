//! Tokens of the configuration.

use crate::domain::time::Timestamp;

/// The token that a name of the configuration stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedToken {
    /// The name in the configuration.
    pub name: String,
    /// Its serial number.
    pub serial: String,
    /// When it was put on record.
    pub since: Timestamp,
}
