//! The handle of an intent.

use std::time::Instant;

/// The handle of a recorded intent; never used twice.
#[derive(Debug, Clone, Copy)]
pub struct IntentId {
    pub(in crate::ledger) number: i64,
    /// Whether it may have reserved anything.
    pub(in crate::ledger) reserves: bool,
    /// Whether it may have claimed a role for a key.
    pub(in crate::ledger) claims: bool,
    /// When it was recorded, or found open.
    pub(in crate::ledger) since: Instant,
}

impl PartialEq for IntentId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for IntentId {}
