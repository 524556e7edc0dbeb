//! The state that the supervisor publishes to the handles of its token, by a watch channel.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{CREDENTIAL_RETRY_SECONDS, Supervisor, key_breaker::seconds_until};
use crate::domain::key::SignatureAlgorithm;
use crate::hsm::{
    HsmError, KeyRef, TokenFacts, TokenState, Usage,
    catalogue::Catalogue,
    figures::{Breaker, BreakerState},
};

/// A snapshot for handles.
#[derive(Clone)]
pub(in crate::hsm) struct Published {
    /// Whether a first start has ended, by success or failure.
    pub(in crate::hsm) known: bool,
    /// The last listing; empty before the first.
    pub(in crate::hsm) catalogue: Arc<Catalogue>,
    /// The signer processes that are up.
    pub(in crate::hsm) signer_pids: Arc<[u32]>,
    /// For each resource, the most that a signer uses.
    pub(in crate::hsm) usage: Option<Usage>,
    /// What the token says about itself; `None` before it was first open.
    pub(in crate::hsm) facts: Option<Arc<TokenFacts>>,
    /// The algorithms for which the token hashes itself and has to be given messages.
    pub(in crate::hsm) hashing: Arc<[SignatureAlgorithm]>,
    /// Keys that are refused until they have signed.
    pub(in crate::hsm) quarantine: Arc<HashMap<KeyRef, Quarantine>>,
    pub(super) condition: Condition,
    /// When the last canary signature verified.
    pub(super) proven_at: Option<Instant>,
    gate: Gate,
}

/// What callers are told about a key in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hsm) struct Quarantine {
    /// When it is probed next.
    pub(super) until: Instant,
    /// The reason, where only an operator can mend it.
    pub(super) broken: Option<String>,
}

impl Quarantine {
    /// As the error for a caller.
    pub(in crate::hsm) fn refusal(&self, now: Instant) -> HsmError {
        match &self.broken {
            Some(reason) => HsmError::Unusable { reason: reason.clone() },
            None => HsmError::Unavailable { retry_after_seconds: seconds_until(self.until, now) },
        }
    }

    /// For the operator.
    pub(in crate::hsm) fn words(&self) -> String {
        match &self.broken {
            Some(reason) => format!("in quarantine: {reason}"),
            None => "in quarantine: it fails while others sign".to_owned(),
        }
    }
}

/// The circuit breaker of the token.
#[derive(Clone)]
struct Gate {
    state: BreakerState,
    since: Instant,
    reason: Option<String>,
    next_try: Option<Instant>,
}

/// What a request can expect that needs a signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hsm) enum Outlook {
    /// A signer is up.
    Up,
    /// One is about to come up.
    Coming,
    /// None is, before the next start.
    None {
        /// When that is due.
        retry_after: Duration,
    },
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Starting,
    Up,
    /// Signers are up, and no key signs; see [`broken_keys`](super::broken_keys).
    Broken,
    Away(String),
    CredentialFault(String),
}

impl Published {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: false,
            catalogue: Arc::default(),
            signer_pids: Arc::default(),
            usage: None,
            facts: None,
            hashing: Arc::default(),
            quarantine: Arc::default(),
            condition: Condition::default(),
            proven_at: None,
            gate: Gate { state: BreakerState::default(), since: now, reason: None, next_try: None },
        }
    }

    /// The breaker as of `now`.
    pub(in crate::hsm) fn breaker(&self, now: Instant) -> Breaker {
        let Gate { state, since, reason, next_try } = &self.gate;
        Breaker {
            state: *state,
            reason: reason.clone(),
            age: now.saturating_duration_since(*since),
            next_try_in: next_try.map(|at| at.saturating_duration_since(now)),
        }
    }

    /// Whether a signer is up, or will be soon.
    pub(in crate::hsm) fn outlook(&self, now: Instant) -> Outlook {
        match (&self.condition, self.gate.state) {
            (Condition::Up | Condition::Broken, _) => Outlook::Up,
            (Condition::CredentialFault(_), _) => {
                Outlook::None { retry_after: Duration::from_secs(CREDENTIAL_RETRY_SECONDS) }
            }
            (Condition::Away(_), BreakerState::Open) => {
                let next_try = self.gate.next_try.unwrap_or(now);
                Outlook::None { retry_after: next_try.saturating_duration_since(now) }
            }
            (Condition::Away(_), BreakerState::HalfOpen | BreakerState::Closed)
            | (Condition::Starting, _) => Outlook::Coming,
        }
    }

    pub(in crate::hsm) fn proven_at(&self) -> Option<Instant> {
        self.proven_at
    }

    /// Time since a canary signature verified.
    pub(in crate::hsm) fn canary_age(&self, now: Instant) -> Option<Duration> {
        self.proven_at.map(|at| now.saturating_duration_since(at))
    }

    /// The state as of `now`. A canary signature older than `age_max` does not count.
    pub(in crate::hsm) fn state(&self, now: Instant, age_max: Duration) -> TokenState {
        match (&self.condition, self.proven_at) {
            (Condition::Starting, _) => TokenState::Starting,
            (Condition::Up | Condition::Broken, Some(at)) => {
                match now.saturating_duration_since(at) {
                    age if age <= age_max => TokenState::Ready { age },
                    age => TokenState::Unproven { age },
                }
            }
            (Condition::Up, None) => TokenState::NoKeys,
            (Condition::Broken, None) => {
                TokenState::Unproven { age: now.saturating_duration_since(self.gate.since) }
            }
            (Condition::Away(reason), _) => TokenState::Away { reason: reason.clone() },
            (Condition::CredentialFault(reason), _) => {
                TokenState::CredentialFault { reason: reason.clone() }
            }
        }
    }
}

impl Supervisor {
    /// Publishes what has changed, and logs a change of the breaker.
    pub(super) fn publish(&self) {
        let condition = match (&self.credential_fault, self.backoff.failure()) {
            _ if !self.up.is_empty() && self.keys_broken => Condition::Broken,
            _ if !self.up.is_empty() => Condition::Up,
            (Some(reason), _) => Condition::CredentialFault(reason.clone()),
            (None, Some(reason)) => Condition::Away(reason.to_owned()),
            (None, None) => Condition::Starting,
        };
        let waits = self.wants_another() && self.starting.is_none();
        let (state, next_try) = match (&self.up[..], self.is_starting()) {
            ([_, ..], _) => (BreakerState::Closed, None),
            ([], true) => (BreakerState::HalfOpen, None),
            // The next one starts when the last one has ended.
            ([], false) if !self.leaving.is_empty() => (BreakerState::HalfOpen, None),
            ([], false) => (BreakerState::Open, waits.then(|| self.backoff.next_at())),
        };
        let reason = (state != BreakerState::Closed).then(|| self.trouble.clone()).flatten();
        let pids: Vec<_> = self.up.iter().map(|signer| signer.pid).collect();
        let usage = self.most_used();
        let now = Instant::now();
        let changed = self.published.borrow().gate.state != state;
        if changed {
            let (token, reason) = (&self.config.name, reason.as_deref().unwrap_or("none"));
            let next_try_ms = next_try.map(|at| at.saturating_duration_since(now).as_millis());
            match state {
                BreakerState::Open => tracing::warn!(token, reason, next_try_ms, "breaker open"),
                BreakerState::HalfOpen => tracing::info!(token, reason, "breaker half-open"),
                BreakerState::Closed => tracing::info!(token, "breaker closed"),
            }
        }
        self.published.send_modify(|published| {
            published.condition = condition;
            published.signer_pids = pids.into();
            published.usage = usage;
            let since = if changed { now } else { published.gate.since };
            published.gate = Gate { state, since, reason, next_try };
        });
    }
}
