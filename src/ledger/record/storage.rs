//! What opening a ledger is told.

/// Whether a ledger may be begun where there was one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewLedger {
    /// An operator says so.
    Allowed,
    /// A ledger that was there and is not is a fault.
    Refused,
}
