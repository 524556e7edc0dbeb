//! Whether the ledger can take what is to be recorded, and in which time.

use std::time::Duration;

use super::{Ledger, error::LedgerError, write::Probe};

/// A transaction that takes longer than this is waited for by nobody: its callers, and those that come
/// while it goes on, are told so. What was begun is done to its end all the same.
pub const PATIENCE: Duration = Duration::from_millis(4_000);

impl Ledger {
    /// Whether a write would last: makes one, a single page that shares its commit with others, and asks
    /// whether the disk has room for more.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn is_writable(&self) -> Result<(), LedgerError> {
        self.write(Probe()).await?;
        match self.inner.figures.has_room() {
            true => Ok(()),
            false => Err(LedgerError::unavailable("its disk is full, or nearly")),
        }
    }

    /// Looks whether the file that is open is still the one at its path; blocks. Who writes looks by
    /// itself.
    pub fn look_at_place(&self) {
        self.inner.storage.look();
    }

    /// Wakes those who wait in [`Self::stalls`] if a transaction takes longer than [`PATIENCE`]. To be
    /// called again and again.
    pub fn look_for_stall(&self) {
        let stalled = self.is_stalled();
        self.inner.stalled.send_if_modified(|was| std::mem::replace(was, stalled) != stalled);
    }

    /// Whether the transaction under way takes longer than [`PATIENCE`].
    pub fn is_stalled(&self) -> bool {
        self.inner.figures.under_way().is_some_and(|time| time >= PATIENCE)
    }

    /// Returns when a transaction takes longer than [`PATIENCE`], as [`Self::look_for_stall`] sees it.
    pub async fn stalls(&self) {
        let mut stalled = self.inner.stalled.subscribe();
        if stalled.wait_for(|stalled| *stalled).await.is_err() {
            std::future::pending().await
        }
    }
}
