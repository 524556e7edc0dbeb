//! Which of several tokens to ask: how well each does, how much it owes, and whether what it says of
//! itself is to be believed.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{CatalogueEntry, HsmError, Token, TokenKey, TokenState};

/// Signatures in a row that may fail before a token that calls itself ready is not asked first any more.
const FAILURES_MAX: u32 = 3;
/// Shortest time between two requests that hurry a token along which others stand in for.
const HURRY_INTERVAL_MS: u64 = 1_000;

/// How promising it is to ask a token, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prospect {
    /// It has just proven itself.
    Good,
    /// A signer is up, but canary signatures or the latest requests have failed.
    Doubtful,
    /// A signer is being started.
    Starting,
    /// No signer is up.
    None,
}

/// See the module.
#[derive(Default)]
pub(super) struct Health {
    /// In a row.
    failures: AtomicU32,
    /// Signatures that callers wait for.
    in_flight: AtomicUsize,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    /// A canary signature later than this restores the health.
    unhealthy_since: Option<Instant>,
    signed_at: Option<Instant>,
    hurried_at: Option<Instant>,
}

impl Health {
    /// Counts a signature as in_flight until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(&self.in_flight)
    }

    /// What a request came to.
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
            // These say nothing of the token, or nothing but that it is there.
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
    /// How promising it is to ask it now.
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

    /// Signatures that callers wait for, for each session that can make them.
    pub fn load(&self) -> f64 {
        let (_, limits) = self.meter();
        // Far below what a float can count.
        self.health().in_flight.load(Relaxed) as f64 / limits.sessions.max(1) as f64
    }

    /// Whether it has made a signature for a caller within that time.
    pub fn has_signed_within(&self, time: Duration) -> bool {
        self.health().times().signed_at.is_some_and(|at| at.elapsed() <= time)
    }

    /// To be called by requests that others than this token are to serve: it is to come back soon all
    /// the same.
    pub fn hurry(&self) {
        let now = Instant::now();
        let hurried_at = &mut self.health().times().hurried_at;
        let interval = Duration::from_millis(HURRY_INTERVAL_MS);
        if hurried_at.is_none_or(|at| now.saturating_duration_since(at) >= interval) {
            *hurried_at = Some(now);
            self.wanted();
        }
    }

    /// To be called when it was silent for too long: others are asked first until a canary signature
    /// has verified.
    pub fn doubt(&self) {
        self.health().mark_unhealthy();
        self.prove();
    }

    /// The one private key with this label in the last listing.
    ///
    /// # Errors
    /// As [`Self::find`], but for a token that cannot be asked: nobody is.
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

    const UNAVAILABLE: Result<(), HsmError> = Err(HsmError::Unavailable { retry_after_seconds: 1 });

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
            // Neither here nor there.
            health.record::<()>(&Err(HsmError::Missing));
            health.record::<()>(&Err(HsmError::Busy { retry_after_seconds: 1 }));
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
