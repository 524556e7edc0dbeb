//! The watchdog of the signers: kills those that are frozen, and limits what each has pending.

use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::hsm::{
    figures::LossCause,
    process::{Deadlines, Signer},
};

impl Supervisor {
    /// How long a signature may be pending before its signer counts as frozen, unless others are answered
    /// meanwhile; see [`latency`](super::latency).
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis((self.config.sign_deadline_ms / 2).max(1))
    }

    /// When a signer will count as frozen.
    pub(super) fn patience_until(&self, signer: &Signer) -> Option<Instant> {
        let Deadlines { signature_since, until } = signer.deadlines();
        let frozen_at =
            |since| self.latency.frozen_at(since, self.patience(), self.pending_signatures());
        signature_since.map(frozen_at).into_iter().chain(until).min()
    }

    pub(super) fn is_suspiciously_slow(&self, signer: &Signer, now: Instant) -> bool {
        let Deadlines { signature_since, until } = signer.deadlines();
        let (patience, pending) = (self.patience(), self.pending_signatures());
        signature_since
            .is_some_and(|since| self.latency.is_suspiciously_slow(since, patience, pending, now))
            || until.is_some_and(|until| until <= now + patience / 2)
    }

    /// Signatures pending at all signers.
    pub(super) fn pending_signatures(&self) -> usize {
        self.up.iter().map(Signer::pending_signatures).sum()
    }

    /// Signatures of callers that a signer may have pending. While they are fast, it gets twice as many as it
    /// has sessions, so that the next ones are at hand.
    pub(super) fn jobs_at_once(&self, signer: &Signer) -> usize {
        if self.latency.is_slow(signer.sessions) { signer.sessions } else { 2 * signer.sessions }
    }

    pub(super) fn kill_frozen_signers(&mut self, now: Instant) {
        let is_frozen = |this: &Self, signer: &Signer| {
            this.patience_until(signer).is_some_and(|until| until <= now)
        };
        while let Some(at) = self.up.iter().position(|signer| is_frozen(self, signer)) {
            self.lose(at, LossCause::Frozen, "it is frozen: an answer is overdue");
        }
        self.start_is_overdue(now);
        self.end_slow_starts(now);
    }
}
