//! Commit delay: how long the writer sleeps before a commit, so that more jobs share it.
//!
//! A commit costs as much processor time as several jobs. The delay is a fraction of the time for which
//! intents are open, which is mostly the token's: a caller who waits 20 ms for a signature loses little
//! by one more millisecond. A caller who writes alone is never delayed (see `batch.rs`).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Below this open time the delay is [`PAUSE_MIN`].
const FAST: Duration = Duration::from_millis(4);
/// The delay is this fraction of the open time beyond [`FAST`]. It is paid twice: at the intent and at
/// its end.
const PART: u32 = 16;
/// Enough for jobs that arrive together.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// However slow the token is, no more than this.
const PAUSE_MAX: Duration = Duration::from_millis(4);
/// Weight of the moving mean, in intents.
const MEAN_OF: u64 = 64;

/// Moving mean of the time for which intents are open.
#[derive(Debug, Default)]
pub(super) struct CommitDelay {
    open_ns: AtomicU64,
}

impl CommitDelay {
    /// Adds an intent that is about to end and was recorded at this time.
    pub(super) fn note(&self, recorded_at: Instant) {
        self.note_time(recorded_at.elapsed());
    }

    fn note_time(&self, open: Duration) {
        let open_ns = u64::try_from(open.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.open_ns.load(Ordering::Relaxed);
        // Not atomic: a concurrent update may be lost, which does not matter for a mean.
        self.open_ns.store(mean - mean / MEAN_OF + open_ns / MEAN_OF, Ordering::Relaxed);
    }

    /// How long to sleep before a commit.
    pub(super) fn pause(&self) -> Duration {
        let open = Duration::from_nanos(self.open_ns.load(Ordering::Relaxed));
        (open.saturating_sub(FAST) / PART).clamp(PAUSE_MIN, PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: &[Duration]) -> Duration {
        let delay = CommitDelay::default();
        times.iter().for_each(|time| delay.note_time(*time));
        delay.pause()
    }

    #[test]
    fn the_pause_grows_with_the_time_that_signatures_take_now() {
        let slow = [Duration::from_millis(36); 1_000];
        let pause = after(&slow);
        assert!(pause.abs_diff(Duration::from_millis(2)) < Duration::from_micros(20), "{pause:?}");
        let fast_again = [slow, [Duration::from_millis(3); 1_000]].concat();
        assert_eq!(after(&fast_again), PAUSE_MIN);
    }

    #[test]
    fn the_pause_has_bounds_whatever_the_token_does() {
        assert_eq!(after(&[]), PAUSE_MIN);
        assert_eq!(after(&[Duration::ZERO; 100]), PAUSE_MIN);
        assert_eq!(after(&[Duration::from_secs(20); 100]), PAUSE_MAX);
        assert_eq!(after(&[Duration::MAX; 1_000]), PAUSE_MAX);
    }
}
