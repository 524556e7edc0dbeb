//! What the service manager is told while the daemon serves: how it is doing, and that it makes
//! progress.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::timeout};

use crate::{
    hsm::{Token, TokenState},
    http::Pulse,
    ledger::{Ledger, LedgerError},
    systemd,
};

/// The state of the daemon, in words without secrets.
pub(super) struct Board {
    address: SocketAddr,
    pulse: Arc<Pulse>,
    tokens: Vec<Token>,
    ledger: Ledger,
    warnings: Box<dyn Fn() -> Vec<Cow<'static, str>> + Send + Sync>,
    ledger_is_writable: AtomicBool,
    /// Of the last reload, when it was refused.
    reload_problems: Mutex<Vec<String>>,
}

/// Characters of a problem that the status shows.
const PROBLEM_CHARS_MAX: usize = 256;
/// How often the state is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often progress is asked for where nobody wants to hear of it.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Between two questions to a ledger that is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

impl Board {
    pub(super) fn new(
        address: SocketAddr,
        pulse: Arc<Pulse>,
        tokens: Vec<Token>,
        ledger: Ledger,
        warnings: impl Fn() -> Vec<Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            address,
            pulse,
            tokens,
            ledger,
            warnings: Box::new(warnings),
            ledger_is_writable: AtomicBool::new(true),
            reload_problems: Mutex::default(),
        }
    }

    /// Notes the problems of the last reload; none when it was taken up.
    pub(super) fn reload_ended(&self, problems: Vec<String>) {
        *self.reload_problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    fn refused_reload(&self) -> Option<String> {
        let problems = self.reload_problems.lock().unwrap_or_else(PoisonError::into_inner);
        let shown: String = problems.first()?.chars().take(PROBLEM_CHARS_MAX).collect();
        Some(format!("last reload refused, {} problems in the log: {shown}", problems.len()))
    }

    /// One line: what is not well first.
    pub(super) fn line(&self) -> String {
        let states: Vec<_> =
            self.tokens.iter().map(|token| (token.name(), token.state())).collect();
        let writable = self.ledger_is_writable.load(Ordering::Relaxed);
        let well = writable && states.iter().all(|(_, state)| state.is_ready());
        let mut parts =
            vec![format!("{} on {}", if well { "serving" } else { "degraded" }, self.address)];
        parts.extend(states.iter().map(|(name, state)| format!("token {name}: {}", words(state))));
        parts.push(format!("ledger: {}", if writable { "ok" } else { "not writable" }));
        parts.extend(self.refused_reload());
        parts.extend((self.warnings)().into_iter().map(|warning| format!("WARNING {warning}")));
        // A reason may have several lines; a status has one.
        parts.join("; ").replace(char::is_control, " ")
    }

    /// Tells every change of the state, until aborted.
    async fn tell(self: Arc<Self>) {
        let mut told = String::new();
        loop {
            let line = self.line();
            if line != told {
                systemd::status(&line);
                told = line;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Feeds the watchdog as long as what moves the daemon answers: the event loops of the listeners,
    /// the ledger's writer, the supervisors of the tokens, and the runtime that this is part of. Until
    /// aborted. An HSM that is
    /// away or silent has no say in it: a restart does not help there.
    async fn feed(self: Arc<Self>) {
        let every = systemd::watchdog().map_or(ASK_EVERY, |limit| limit / 3);
        loop {
            if timeout(every, self.progress()).await.is_ok() {
                systemd::alive();
            } else {
                tracing::error!(
                    "an event loop, the ledger's writer or a supervisor does not answer"
                );
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Returns when each has answered. A ledger that says that it cannot write has answered.
    async fn progress(&self) {
        self.pulse.answers().await;
        for token in &self.tokens {
            token.answers().await;
        }
        let written = loop {
            match self.ledger.is_writable().await {
                Err(LedgerError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                written => break written,
            }
        };
        if let Err(error) = &written {
            tracing::warn!(%error, "the ledger is not writable");
        }
        self.ledger_is_writable.store(written.is_ok(), Ordering::Relaxed);
    }

    /// Both tasks; they end when the set is dropped.
    pub(super) fn start(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(self).tell());
        tasks.spawn(Arc::clone(self).feed());
        tasks
    }
}

fn words(state: &TokenState) -> String {
    match state {
        TokenState::Ready { .. } => "ready".to_owned(),
        TokenState::Unproven { .. } => "no recent signature".to_owned(),
        TokenState::Starting => "starting".to_owned(),
        TokenState::NoKeys => "ready, no keys yet".to_owned(),
        TokenState::Away { reason } => format!("away ({reason})"),
        TokenState::CredentialFault { reason } => format!("PIN refused ({reason})"),
    }
}
