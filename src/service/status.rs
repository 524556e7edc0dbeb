//! The status of the appliance: one value, which `/healthz`, `/readyz`, `/metrics`, `GET /v1/status` and the
//! status line for the service manager render. No other code judges whether the appliance is well.

mod jobs;
mod probe;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

pub use jobs::{JobStatus, Jobs};
use probe::LedgerProbe;

use super::Services;
use crate::{
    domain::{
        path::{KeyPath, ResourcePath},
        time::Timestamp,
    },
    hsm::{TokenFacts, TokenFigures, TokenState},
    keys::{KmsReadiness, PinFault, PinnedKeys},
    ledger::LedgerFigures,
};

/// The appliance at one moment.
pub struct Status {
    /// When the daemon started.
    pub started_at: Timestamp,
    /// Whether private JWKs are accepted as signing keys.
    pub dev: bool,
    /// Whether private keys may be imported into the HSM.
    pub import_keys: bool,
    /// What the listeners report.
    pub front: Front,
    /// The tokens, by name.
    pub tokens: BTreeMap<String, TokenStatus>,
    /// The KMS services with several tokens.
    pub twins: BTreeMap<ResourcePath, KmsReadiness>,
    /// The pinned keys of each KMS that has some and whose tokens are configured.
    pub pinned_keys: BTreeMap<ResourcePath, PinnedKeys>,
    /// Whether the ledger takes writes.
    pub ledger: LedgerState,
    /// What the ledger counts.
    pub ledger_figures: LedgerFigures,
    /// The last reload, if there was one.
    pub last_reload: Option<Reload>,
    /// The jobs of the schedule, by name.
    pub jobs: BTreeMap<&'static str, JobStatus>,
}

/// What the listeners report of themselves.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// Whether the login that grants nothing is there.
    pub compat_login: bool,
    /// That CRLs of the clients' CAs have expired, in words for the operator.
    pub expired_crl: Option<String>,
    /// When the first of these CRLs must have a successor.
    pub crl_next_update: Option<Timestamp>,
    /// Requests that are worked on.
    pub in_flight: usize,
    /// How many may be worked on at the same time.
    pub in_flight_max: usize,
    /// Whether a further request gets 503.
    pub is_full: bool,
    /// Answers by the first digit of their status: `2xx`.
    pub answers: BTreeMap<String, u64>,
}

/// A token at one moment.
pub struct TokenStatus {
    /// Its state and its counts.
    pub figures: TokenFigures,
    /// What it says of itself; `None` while it was never up.
    pub facts: Option<Arc<TokenFacts>>,
    /// Whether requests do without it, because each KMS that names it has another token that is ready.
    pub has_stand_in: bool,
}

/// Whether the ledger takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerState {
    /// It does.
    Writable,
    /// It refuses them.
    NotWritable,
    /// It has not answered in time.
    Slow,
}

/// A reload of the configuration.
#[derive(Debug, Clone)]
pub struct Reload {
    /// When it ended.
    pub at: Timestamp,
    /// Why it was refused; empty when it was taken up.
    pub problems: Vec<String>,
}

/// The status in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong.
    Ready,
    /// Requests are served, but something is wrong that may concern some of them.
    Degraded,
    /// Requests cannot be expected to succeed.
    NotReady,
}

/// What the parts of the daemon report while it runs. Lasts from the start to the end of the daemon.
pub struct Observations {
    started_at: Timestamp,
    last_reload: Mutex<Option<Reload>>,
    ledger: LedgerProbe,
    /// The jobs of the schedule.
    pub jobs: Jobs,
}

impl Observations {
    /// At the start of the daemon.
    pub fn new(started_at: Timestamp) -> Self {
        Self {
            started_at,
            last_reload: Mutex::default(),
            ledger: LedgerProbe::default(),
            jobs: Jobs::default(),
        }
    }

    /// Notes the end of a reload, with the problems for which it was refused.
    pub fn reload_ended(&self, problems: Vec<String>) {
        let reload = Reload { at: Timestamp::now(), problems };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }
}

impl Services {
    /// The status, from memory alone: answers at once while tokens and ledger hang.
    pub fn status(&self, front: Front) -> Status {
        let figures = self.ledger.figures();
        let ledger = match figures.writable {
            _ if self.ledger.is_stalled() => LedgerState::Slow,
            true => LedgerState::Writable,
            false => LedgerState::NotWritable,
        };
        self.status_with(front, ledger, figures)
    }

    /// The status after a write to the ledger. Shortens the pause before the next start of a token that is
    /// not ready: a load balancer that reads "not ready" sends no request that would do it.
    pub async fn probed_status(&self, front: Front) -> Status {
        let ledger = self.observations.ledger.ask(&self.ledger).await;
        for token in self.keyring.tokens().filter(|token| !token.state().is_ready()) {
            token.wanted();
        }
        self.status_with(front, ledger, self.ledger.figures())
    }

    fn status_with(&self, front: Front, ledger: LedgerState, figures: LedgerFigures) -> Status {
        let tree = self.tree.snapshot();
        let keyring = &self.keyring;
        let tokens = keyring.tokens().map(|token| {
            let status = TokenStatus {
                figures: token.figures(),
                facts: token.facts(),
                has_stand_in: keyring.is_stood_in_for(token, &tree),
            };
            (token.name().to_owned(), status)
        });
        let twins = keyring.twins(&tree).into_iter();
        let observations = &self.observations;
        Status {
            started_at: observations.started_at,
            dev: keyring.is_dev(),
            import_keys: self.import_keys,
            front,
            tokens: tokens.collect(),
            twins: twins.map(|(path, standing)| (path.clone(), standing)).collect(),
            pinned_keys: keyring.pinned_keys(&tree),
            ledger,
            ledger_figures: figures,
            last_reload: observations
                .last_reload
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            jobs: observations.jobs.all(),
        }
    }
}

impl Status {
    /// The version of the program.
    pub const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Whether a signature would succeed now, as far as can be known: each token has just made one, or
    /// another that holds the same keys has.
    pub fn is_ready(&self) -> bool {
        self.ledger == LedgerState::Writable
            && !self.front.is_full
            && self.tokens.values().all(|token| token.state().is_ready() || token.has_stand_in)
            && self.twins.values().all(KmsReadiness::is_ready)
            && !self.pinned_keys.values().any(PinnedKeys::are_all_refused)
    }

    /// The status in one word.
    pub fn health(&self) -> Health {
        let all_tokens = self.tokens.values().all(|token| token.state().is_ready());
        match self.is_ready() {
            false => Health::NotReady,
            true if all_tokens && self.refused_keys().next().is_none() => Health::Ready,
            true => Health::Degraded,
        }
    }

    /// The checks behind [`Self::is_ready`], each `ok` or what is wrong. They may be public, so the reason
    /// that a token gives is left out.
    pub fn checks(&self) -> BTreeMap<String, String> {
        let fixed = [
            // Audit entries are rows of the ledger; the contract names both.
            ("database", self.ledger.word()),
            ("audit", self.ledger.word()),
            ("queue", if self.front.is_full { "full" } else { "ok" }),
        ];
        let fixed = fixed.into_iter().map(|(name, word)| (name.to_owned(), word));
        let tokens =
            self.tokens.iter().map(|(name, token)| (format!("token:{name}"), token.check()));
        let twins =
            self.twins.iter().map(|(path, standing)| (format!("kms:{path}"), standing.word()));
        let pinned = self.pinned_keys.iter().filter(|(_, keys)| keys.are_all_refused());
        let pinned = pinned.map(|(path, _)| (format!("kms:{path}"), "no pinned key can be used"));
        let checks = fixed.chain(tokens).chain(twins).chain(pinned);
        checks.map(|(name, word)| (name, word.to_owned())).collect()
    }

    /// The pinned keys that cannot be used although their token is up.
    pub fn refused_keys(&self) -> impl Iterator<Item = (&KeyPath, PinFault)> {
        self.pinned_keys
            .values()
            .flat_map(|keys| keys.refused.iter().map(|(path, fault)| (path, *fault)))
    }

    /// What an operator should know: settings that have no place in production, tokens that protect
    /// nothing, pinned keys that cannot be used, CRLs that have expired. They may be public.
    pub fn warnings(&self) -> Vec<String> {
        let settings = [
            (self.dev, "--dev: private JWKs are accepted as signing keys"),
            (self.import_keys, "dev.import_keys: private keys may be imported into the HSM"),
            (self.front.compat_login, "compat.login: there is a login, and it grants nothing"),
        ];
        let settings = settings.into_iter().filter(|(is_set, _)| *is_set);
        let mut warnings: Vec<String> = settings.map(|(_, words)| words.to_owned()).collect();
        warnings.extend(self.front.expired_crl.clone());
        for (name, token) in &self.tokens {
            let Some(facts) = &token.facts else { continue };
            if facts.is_softhsm() {
                let words = "is SoftHSM: keys are files, there is no certified boundary";
                warnings.push(format!("token {name} {words}"));
            }
            if facts.local_says_nothing {
                let words = "does not say where keys were made: its CKA_LOCAL means nothing";
                warnings.push(format!("token {name} {words}"));
            }
        }
        for (kms, keys) in self.pinned_keys.iter().filter(|(_, keys)| !keys.refused.is_empty()) {
            let words = "pinned keys cannot be used; the log names them";
            warnings.push(format!("KMS {kms}: {} {words}", keys.refused.len()));
        }
        warnings
    }
}

impl TokenStatus {
    /// Its state.
    pub fn state(&self) -> &TokenState {
        &self.figures.state
    }

    fn check(&self) -> &'static str {
        match self.state() {
            TokenState::Ready { .. } => "ok",
            TokenState::Unproven { .. } => "no recent signature",
            TokenState::Starting => "starting",
            TokenState::Away { .. } => "away",
            TokenState::CredentialFault { .. } => "credential fault",
            TokenState::NoKeys => "no keys yet",
        }
    }

    /// All that [`Self::state_name`] returns.
    pub const STATES: [&str; 6] =
        ["starting", "ready", "unproven", "no-keys", "away", "credential-fault"];

    /// The name of its state, for programs.
    pub fn state_name(&self) -> &'static str {
        match self.state() {
            TokenState::Starting => "starting",
            TokenState::Ready { .. } => "ready",
            TokenState::Unproven { .. } => "unproven",
            TokenState::NoKeys => "no-keys",
            TokenState::Away { .. } => "away",
            TokenState::CredentialFault { .. } => "credential-fault",
        }
    }

    /// Why it is away or its PIN is refused: function, code and class, for the operator.
    pub fn reason(&self) -> Option<&str> {
        match self.state() {
            TokenState::Away { reason } | TokenState::CredentialFault { reason } => Some(reason),
            TokenState::Starting
            | TokenState::Ready { .. }
            | TokenState::Unproven { .. }
            | TokenState::NoKeys => None,
        }
    }
}

impl LedgerState {
    /// `ok`, or what is wrong.
    pub fn word(self) -> &'static str {
        match self {
            Self::Writable => "ok",
            Self::NotWritable => "not writable",
            Self::Slow => "slow",
        }
    }
}

impl Health {
    /// The word of `/readyz` and `GET /v1/status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::NotReady => "not-ready",
        }
    }
}

#[cfg(test)]
mod tests;
