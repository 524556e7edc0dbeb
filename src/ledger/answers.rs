//! Answers that are given again to the same Idempotency-Key.

use super::{
    Ledger,
    error::LedgerError,
    read::FindAnswer,
    record::{KeptAnswer, RequestKey},
    write::ForgetAnswers,
};
use crate::domain::time::Timestamp;

impl Ledger {
    /// The answer of a request, if it is kept and not older than `since`, and the index of its
    /// audit entry.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn kept_answer(
        &self,
        request: RequestKey,
        since: Timestamp,
    ) -> Result<Option<(KeptAnswer, u64)>, LedgerError> {
        self.read(FindAnswer(request, since)).await
    }

    /// Forgets answers that were kept before `since`, the oldest first and `limit` at most; the
    /// answer is how many.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn forget_answers(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<usize, LedgerError> {
        self.write(ForgetAnswers(since, limit)).await
    }
}
