//! Waiting for a signer before a request leaves any trace.

use tokio::time::{Instant, timeout_at};

use super::{HsmError, Token, jobs::whole_seconds, supervisor::Outlook};

impl Token {
    /// Waits while a signer is about to come up, until the deadline at most. Call it before an intent is
    /// recorded, so that a request that cannot be served records nothing.
    ///
    /// # Errors
    /// [`HsmError::Unavailable`] when none is about to come up, [`HsmError::DeadlineMissed`].
    pub async fn until_up(&self, deadline: Instant) -> Result<(), HsmError> {
        let result = self.wait_for_signer(deadline).await;
        if result.is_err() {
            self.wanted();
            self.meter().0.record(&result);
        }
        result
    }

    async fn wait_for_signer(&self, deadline: Instant) -> Result<(), HsmError> {
        let first = self.published().outlook(Instant::now());
        let outlook = match first {
            Outlook::Up | Outlook::None { .. } => first,
            Outlook::Coming => {
                let mut changes = self.changes();
                let settled =
                    changes.wait_for(|now| now.outlook(Instant::now()) != Outlook::Coming);
                match timeout_at(deadline, settled).await {
                    Ok(Ok(published)) => published.outlook(Instant::now()),
                    // The supervisor has ended.
                    Ok(Err(_)) => return Err(HsmError::UNAVAILABLE),
                    Err(_) => return Err(HsmError::LATE),
                }
            }
        };
        match outlook {
            Outlook::Up | Outlook::Coming => Ok(()),
            Outlook::None { retry_after } => {
                Err(HsmError::Unavailable { retry_after_seconds: whole_seconds(retry_after) })
            }
        }
    }
}
