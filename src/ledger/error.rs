//! What can go wrong with the ledger.

use crate::domain::path::{KeyPath, PathElement, ResourcePath};

/// Why the ledger did not do what was asked. Nothing of it is half done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Disk, database or writer; may pass. The reason is for the log, never for a caller.
    #[error("the ledger is unavailable: {reason}")]
    Unavailable {
        /// In words of the database.
        reason: String,
    },
    /// Too much is waiting already.
    #[error("the ledger's queue is full")]
    Busy,
    /// Opening only: an operator must act.
    #[error("the ledger was not opened: {reason}")]
    Refused {
        /// What is in the way.
        reason: String,
    },
    /// Our fault: the intent is not open any more, or is of the other kind.
    #[error("the intent is not open, or cannot have this outcome")]
    NotOpen,
    /// Our fault: a copy for an id that the intent had not reserved.
    #[error("'{0}' was not reserved by the intent")]
    NotReserved(ResourcePath),
}

impl LedgerError {
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

/// Why an intent was not recorded. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// The serial number was used before, be it by an intent that came to nothing.
    #[error("the serial number was used before")]
    SerialTaken,
    /// The id exists in a store or is reserved; the full path.
    #[error("'{0}' is taken")]
    StoreIdTaken(ResourcePath),
    /// The path is bound to another public key.
    #[error("the public key of '{0}' is not the one that was pinned")]
    KeyChanged(KeyPath),
    /// The key is already pinned to another description of an IACA.
    #[error("the key is pinned to another IACA")]
    IacaPinConflict,
    /// Something that speaks against the role of a key was recorded since it was decided: decide again.
    #[error("something new is known of the key")]
    KeyLearned,
    /// A request in progress takes another role for the key.
    #[error("the key is about to take another role")]
    KeyClaimed,
    /// The VICAL version exists or is reserved.
    #[error("version '{0}' is taken")]
    VersionTaken(PathElement),
    /// The VICAL service has another signer on record, and the caller may not change it.
    #[error("another signer of the VICAL service is on record")]
    OtherSigner,
    /// The ledger itself.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why something was not created. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The path is taken.
    #[error("the path is taken")]
    Taken,
    /// The ledger itself.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
