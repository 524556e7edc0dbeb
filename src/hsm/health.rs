//! The health of a token, by which a caller chooses among several: its state, the requests in flight, and
//! recent failures in spite of what it says about itself.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{CatalogueEntry, HsmError, Token, TokenKey, TokenState};

/// Failed signatures in a row after which a token that claims to be ready counts as unhealthy.
const FAILURES_MAX: u32 = 3;
/// Shortest time between two requests that cut the backoff of a token short while other tokens serve.
const HURRY_INTERVAL_MS: u64 = 1_000;

/// How promising a token is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prospect {
    /// Its latest canary signature verified.
    Good,
    /// A signer is up, but canary signatures or recent requests have failed.
    Doubtful,
    /// A signer is being started.
    Starting,
    /// No signer is up.
    None,
}

/// See the module.
#[derive(Default)]
pub(super) struct Health {
    /// Failures in a row.
    failures: AtomicU32,
    /// Signatures in flight.
    in_flight: AtomicUsize,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    /// Unhealthy until a canary signature is newer than this.
    unhealthy_since: Option<Instant>,
    signed_at: Option<Instant>,
    hurried_at: Option<Instant>,
}

impl Health {
    /// Counts a signature as in flight until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(&self.in_flight)
    }

    /// Records the result of a request.
    pub(super) fn record<T>(&self, result: &Result<T, HsmError>) {
        match result {
            Ok(_) => {
                self.failures.store(0, Relaxed);
                self.times().signed_at = Some(Instant::now());
            }
            Err(HsmError::Unavailable { .. } | HsmError::DeadlineMissed { .. }) => {
                if self.failures.fetch_add(1, Relaxed) + 1 >= FAILURES_MAX {
                    self.mark_unhealthy();
                }
            }
            // These do not mean that the token is unhealthy.
            Err(
                HsmError::Missing
                | HsmError::Ambiguous { .. }
                | HsmError::Unusable { .. }
                | HsmError::Busy { .. },
            ) => {}
        }
    }

    pub(super) fn mark_unhealthy(&self) {
        self.failures.store(0, Relaxed);
        self.times().unhealthy_since = Some(Instant::now());
    }

    fn is_good(&self, proven_at: Option<Instant>) -> bool {
        let unhealthy_since = &mut self.times().unhealthy_since;
        if proven_at > *unhealthy_since {
            *unhealthy_since = None;
        }
        unhealthy_since.is_none()
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Health::in_flight`].
pub(super) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Token {
    /// How promising the token is now.
    pub fn prospect(&self) -> Prospect {
        let (state, proven_at) = (self.state(), self.published().proven_at());
        match state {
            TokenState::Ready { .. } if self.health().is_good(proven_at) => Prospect::Good,
            TokenState::Ready { .. } | TokenState::Unproven { .. } | TokenState::NoKeys => {
                Prospect::Doubtful
            }
            TokenState::Starting => Prospect::Starting,
            TokenState::Away { .. } | TokenState::CredentialFault { .. } => Prospect::None,
        }
    }

    /// Signatures in flight per session.
    pub fn load(&self) -> f64 {
        let (_, limits) = self.meter();
        // Exact, because the count is far below 2^53.
        self.health().in_flight.load(Relaxed) as f64 / limits.sessions.max(1) as f64
    }

    /// Whether it has made a signature for a caller within that time.
    pub fn has_signed_within(&self, time: Duration) -> bool {
        self.health().times().signed_at.is_some_and(|at| at.elapsed() <= time)
    }

    /// For requests that other tokens serve: cuts the backoff short now and then, so that this token comes
    /// back too.
    pub fn hurry(&self) {
        let now = Instant::now();
        let hurried_at = &mut self.health().times().hurried_at;
        let interval = Duration::from_millis(HURRY_INTERVAL_MS);
        if hurried_at.is_none_or(|at| now.saturating_duration_since(at) >= interval) {
            *hurried_at = Some(now);
            self.wanted();
        }
    }

    /// For a token that was silent for too long: others are asked first until a canary signature has
    /// verified.
    pub fn doubt(&self) {
        self.health().mark_unhealthy();
        self.prove();
    }

    /// The one private key with this label in the last listing; the token is not asked.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn look_up(&self, label: &str) -> Result<TokenKey, HsmError> {
        self.catalogue().find(label).and_then(|key| self.admitted(key))
    }

    /// Reads the last listing.
    pub fn listed<R>(&self, read: impl FnOnce(&[CatalogueEntry]) -> R) -> R {
        read(self.catalogue().entries())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNAVAILABLE: Result<(), HsmError> = Err(HsmError::UNAVAILABLE);

    #[test]
    fn three_failures_in_a_row_cost_the_trust_and_a_later_proof_restores_it() {
        let health = Health::default();
        let proven_at = Some(Instant::now());
        for _ in 0..2 {
            health.record(&UNAVAILABLE);
            health.record(&UNAVAILABLE);
            health.record(&Ok(()));
        }
        assert!(health.is_good(proven_at));
        for _ in 0..3 {
            health.record(&UNAVAILABLE);
            // These do not count.
            health.record::<()>(&Err(HsmError::Missing));
            health.record::<()>(&Err(HsmError::BUSY));
        }
        assert!(!health.is_good(proven_at));
        health.record(&Ok(()));
        assert!(!health.is_good(proven_at), "the proof is from before");
        assert!(health.is_good(Some(Instant::now() + Duration::from_millis(1))));
        assert!(health.is_good(proven_at), "restored is restored");
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_owed() {
        let health = Health::default();
        let (one, two) = (health.in_flight(), health.in_flight());
        assert_eq!(health.in_flight.load(Relaxed), 2);
        drop((one, two));
        assert_eq!(health.in_flight.load(Relaxed), 0);
    }
}
