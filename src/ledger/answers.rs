//! Answers that are given again to the same Idempotency-Key.

use super::{
    KeptAnswer, Ledger, RequestKey, error::LedgerError, job::WhenFull, sqlite::sql::answers,
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
        self.read(move |connection| Ok(answers::find(connection, &request, since)?)).await
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
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |connection| Ok(answers::forget(connection, since, limit)?))
            .await
    }
}
