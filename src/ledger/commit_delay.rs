//! How long what is to be written waits for more.
//!
//! A commit costs the processor as much as several jobs do. While several callers write, what comes
//! soon after another shares its commit. How soon depends on the time for which intents are open, which is
//! the token's where that is long: a caller who waits 20 ms for a signature loses little by one
//! millisecond more. One who writes alone never waits.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Where intents are open for less, nobody waits longer than [`PAUSE_MIN`].
const FAST: Duration = Duration::from_millis(4);
/// What may be added to the time beyond that, at each end of an intent: one part in so many.
const PART: u32 = 16;
/// Enough for those who come together.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// However slow the token is.
const PAUSE_MAX: Duration = Duration::from_millis(4);
/// Intents over which the mean is taken, about.
const MEAN_OF: u64 = 64;

/// The time for which intents are open, on average of the last ones.
#[derive(Debug, Default)]
pub(super) struct CommitDelay {
    open_ns: AtomicU64,
}

impl CommitDelay {
    /// An intent is about to end that was recorded at this time.
    pub(super) fn note(&self, recorded_at: Instant) {
        self.note_time(recorded_at.elapsed());
    }

    fn note_time(&self, open: Duration) {
        let open_ns = u64::try_from(open.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.open_ns.load(Ordering::Relaxed);
        // Of two who come at once one may be forgotten: it is a mean.
        self.open_ns.store(mean - mean / MEAN_OF + open_ns / MEAN_OF, Ordering::Relaxed);
    }

    /// How long to wait for more before a commit.
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
