//! Whether the ledger takes a write, found out by making one.

use std::time::{Duration, Instant};

use tokio::{sync::Mutex, time::timeout};

use super::LedgerState;
use crate::ledger::Ledger;

/// Makes at most [`WRITES_PER_SECOND`] writes, however many ask.
#[derive(Default)]
pub(super) struct LedgerProbe(Mutex<Option<Second>>);

/// The writes of one second.
struct Second {
    since: Instant,
    writes: u32,
    has_succeeded: bool,
}

const WRITES_PER_SECOND: u32 = 20;

/// How long an answer is waited for, the turn to ask included.
const ANSWERS_WITHIN: Duration = Duration::from_millis(700);

impl LedgerProbe {
    pub(super) async fn ask(&self, ledger: &Ledger) -> LedgerState {
        match timeout(ANSWERS_WITHIN, self.takes_writes(ledger)).await {
            Ok(true) => LedgerState::Writable,
            Ok(false) => LedgerState::NotWritable,
            Err(_) => {
                tracing::warn!("not ready: the ledger is slow");
                LedgerState::Slow
            }
        }
    }

    async fn takes_writes(&self, ledger: &Ledger) -> bool {
        // Those who ask during a write wait here, and may use its result.
        let mut last = self.0.lock().await;
        let second = last.take().filter(|second| second.since.elapsed() < Duration::from_secs(1));
        let mut second =
            second.unwrap_or(Second { since: Instant::now(), writes: 0, has_succeeded: false });
        if second.writes < WRITES_PER_SECOND {
            let written = ledger.is_writable().await;
            if let Err(error) = &written {
                tracing::warn!(%error, "not ready: the ledger is not writable");
            }
            second.writes += 1;
            second.has_succeeded = written.is_ok();
        }
        last.insert(second).has_succeeded
    }
}
