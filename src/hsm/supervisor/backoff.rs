//! Exponential backoff with jitter between starts of signers. Pure but for the jitter.

use std::time::Duration;

use tokio::time::Instant;

/// First pause, in milliseconds; each further failure doubles it.
const PAUSE_MS_MIN: u64 = 200;
/// Longest pause, in milliseconds.
const PAUSE_MS_MAX: u64 = 30_000;
/// A request cuts a longer pause to this much after the last attempt, in milliseconds, because service has to
/// be back within 5 s of the HSM.
const PAUSE_ON_DEMAND_MS_MAX: u64 = 2_000;
/// After a signer that lived this long, the next is started at once.
const SOUND_MS_MIN: u64 = 10_000;

/// See the module.
pub(super) struct Backoff {
    failures: u32,
    next_at: Instant,
    attempted_at: Instant,
    failure: Option<String>,
}

impl Backoff {
    /// The first start is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, next_at: now, attempted_at: now, failure: None }
    }

    /// When the next start is due.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Why the last start failed; `None` after a good one and before the first.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether the last start failed.
    pub(super) fn last_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// A start that began at `since` has failed, or is so slow that another is started beside it.
    pub(super) fn failed(&mut self, now: Instant, since: Instant, reason: String) {
        self.failure = Some(reason);
        self.failures = self.failures.saturating_add(1);
        self.attempted_at = since;
        self.next_at = now + with_jitter(pause_ms(self.failures));
    }

    /// The very first start is slow: another is due now, beside it.
    pub(super) fn overdue(&mut self, now: Instant) {
        self.next_at = now;
    }

    /// A signer came up and made a canary signature that verifies.
    pub(super) fn succeeded(&mut self) {
        self.failure = None;
        // Kept at 1, because a signer that crashes right after each start must not be restarted in a tight
        // loop.
        self.failures = self.failures.min(1);
    }

    /// A signer that was up is lost. The first loss has no pause.
    pub(super) fn lost(&mut self, now: Instant, lived: Duration) {
        if lived >= Duration::from_millis(SOUND_MS_MIN) {
            self.failures = 0;
        }
        let due = now + with_jitter(pause_ms(self.failures));
        // While starts fail, their own pause applies.
        if self.failure.is_none() {
            self.next_at = due;
            self.attempted_at = now;
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// A signer was lost to a key that is known to be at fault: the next is started at once, because the
    /// breaker of that key limits how often it is tried.
    pub(super) fn lost_over_a_key(&mut self, now: Instant) {
        if self.failure.is_none() {
            self.next_at = now;
            self.attempted_at = now;
        }
    }

    /// A request waits for a signer: cuts a long pause short.
    pub(super) fn demand(&mut self, now: Instant) {
        let latest = self.attempted_at + Duration::from_millis(PAUSE_ON_DEMAND_MS_MAX);
        self.next_at = self.next_at.min(latest.max(now));
    }
}

fn pause_ms(failures: u32) -> u64 {
    match failures {
        0 => 0,
        many => PAUSE_MS_MIN.saturating_mul(1 << (many - 1).min(16)).min(PAUSE_MS_MAX),
    }
}

/// Shortens a pause by up to a quarter, so that the tokens of one HSM are not restarted in step.
fn with_jitter(pause_ms: u64) -> Duration {
    let mut octets = [0; 8];
    let _ = aws_lc_rs::rand::fill(&mut octets);
    let less = u64::from_be_bytes(octets) % (pause_ms / 4 + 1);
    Duration::from_millis(pause_ms - less)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_ms(backoff: &Backoff, now: Instant) -> u128 {
        backoff.next_at().saturating_duration_since(now).as_millis()
    }

    #[test]
    fn pauses_double_from_200_ms_to_30_s() {
        let pauses: Vec<_> = (0..=10).map(pause_ms).collect();
        let expected = [0, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000];
        assert_eq!(pauses, expected);
        assert_eq!(pause_ms(u32::MAX), PAUSE_MS_MAX);
    }

    #[test]
    fn jitter_takes_a_quarter_at_most() {
        for _ in 0..1_000 {
            let pause = with_jitter(1_000).as_millis();
            assert!((750..=1_000).contains(&pause), "{pause}");
        }
        assert_eq!(with_jitter(0), Duration::ZERO);
    }

    #[test]
    fn the_first_loss_is_mended_at_once_and_a_crash_loop_is_slowed() {
        let now = Instant::now();
        let mut backoff = Backoff::new(now);
        backoff.lost(now, Duration::from_millis(5));
        assert_eq!(wait_ms(&backoff, now), 0);
        backoff.succeeded();
        backoff.lost(now, Duration::from_millis(5));
        assert!(wait_ms(&backoff, now) >= 150);
        backoff.succeeded();
        backoff.lost(now, Duration::from_secs(60));
        assert_eq!(wait_ms(&backoff, now), 0);
    }

    #[test]
    fn demand_shortens_a_long_pause_but_never_to_a_storm() {
        let now = Instant::now();
        let mut backoff = Backoff::new(now);
        for _ in 0..12 {
            backoff.failed(now, now, "away".to_owned());
        }
        assert!(wait_ms(&backoff, now) > 20_000);
        backoff.demand(now);
        assert_eq!(wait_ms(&backoff, now), u128::from(PAUSE_ON_DEMAND_MS_MAX));
        let later = now + Duration::from_secs(5);
        backoff.demand(later);
        assert_eq!(wait_ms(&backoff, later), 0);
        assert_eq!(backoff.failure(), Some("away"));
    }
}
