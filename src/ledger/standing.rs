//! Whether the ledger can be written, and whether a transaction hangs.

use std::time::Duration;

use super::{Ledger, error::LedgerError, write::Probe};

/// Deadline of a transaction for its callers: when it takes longer, they and all new callers are
/// refused. The transaction itself goes on to its end.
pub const PATIENCE: Duration = Duration::from_millis(4_000);

impl Ledger {
    /// Probes the ledger: writes one row, which shares its commit with others, and checks that the disk
    /// has room for an issuance.
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

    /// Checks whether the open file is still the one at its path; blocks. The writer does so at each
    /// batch; this is for a ledger that nobody writes.
    pub fn look_at_place(&self) {
        self.inner.storage.look();
    }

    /// Wakes the callers of [`Self::stalls`] if a transaction takes longer than [`PATIENCE`]. Called
    /// periodically.
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
