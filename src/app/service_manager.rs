//! Informs the service manager (systemd) while the daemon serves: sends its status line, and feeds its
//! watchdog.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::schedule::{Job, Schedule};
use crate::{
    hsm::{Token, TokenState},
    http::Heartbeat,
    ledger::{Ledger, LedgerError},
    service::status::{Health, Status, TokenStatus},
    systemd,
};

/// Informs the service manager.
pub(super) struct ServiceManager {
    address: SocketAddr,
    heartbeat: Arc<Heartbeat>,
    tokens: Vec<Token>,
    ledger: Ledger,
    status: Box<dyn Fn() -> Status + Send + Sync>,
    /// The status line that was sent last.
    sent: Mutex<String>,
}

/// Characters of a problem that the status line shows.
const PROBLEM_CHARS_MAX: usize = 256;
/// How often the status is compared with what was sent.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How often progress is checked where the service manager has no watchdog for it.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Between two questions to a ledger that is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

impl ServiceManager {
    pub(super) fn new(
        address: SocketAddr,
        heartbeat: Arc<Heartbeat>,
        tokens: Vec<Token>,
        ledger: Ledger,
        status: impl Fn() -> Status + Send + Sync + 'static,
    ) -> Self {
        Self {
            address,
            heartbeat,
            tokens,
            ledger,
            status: Box::new(status),
            sent: Mutex::default(),
        }
    }

    /// The status in one line.
    pub(super) fn line(&self) -> String {
        line(self.address, &(self.status)())
    }

    /// Adds the two jobs: the status line, and the watchdog.
    pub(super) fn add_jobs(self: &Arc<Self>, schedule: &mut Schedule) {
        let every = systemd::watchdog().map_or(PROGRESS_EVERY, |limit| limit / 3);
        let status = Job { name: "status-line", period: Some(STATUS_EVERY), deadline: every };
        let watchdog = Job { name: "watchdog", period: Some(every), deadline: every };
        schedule.add(status, self, |this| async move {
            this.send_status();
            Ok(())
        });
        schedule.add(watchdog, self, |this| async move {
            this.progress().await;
            systemd::alive();
            Ok(())
        });
    }

    /// Sends the status line when it has changed.
    fn send_status(&self) {
        let line = self.line();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if *sent != line {
            systemd::status(&line);
            *sent = line;
        }
    }

    /// Returns when all that moves the daemon has answered: the event loops of the listeners, the supervisors
    /// of the tokens, the ledger's writer, and the runtime that this runs in. A ledger that says that it cannot
    /// write has answered. An HSM that is away or silent is not asked, because a restart would not help.
    async fn progress(&self) {
        self.heartbeat.answers().await;
        for token in &self.tokens {
            token.answers().await;
        }
        loop {
            match self.ledger.is_writable().await {
                Ok(()) => return,
                Err(LedgerError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(error) => return tracing::warn!(%error, "the ledger is not writable"),
            }
        }
    }
}

fn line(address: SocketAddr, status: &Status) -> String {
    let word = match status.health() {
        Health::Ready => "serving",
        Health::Degraded | Health::NotReady => "degraded",
    };
    let mut parts = vec![format!("{word} on {address}")];
    parts.extend(
        status.tokens.iter().map(|(name, token)| format!("token {name}: {}", words(token))),
    );
    parts.push(format!("ledger: {}", status.ledger.word()));
    let problems = status.last_reload.as_ref().map_or(&[][..], |reload| &reload.problems);
    if let Some(first) = problems.first() {
        let shown: String = first.chars().take(PROBLEM_CHARS_MAX).collect();
        let number = problems.len();
        parts.push(format!("last reload refused, {number} problems in the log: {shown}"));
    }
    parts.extend(status.warnings().into_iter().map(|warning| format!("WARNING {warning}")));
    // A reason may have several lines; the status has one.
    parts.join("; ").replace(char::is_control, " ")
}

fn words(token: &TokenStatus) -> String {
    match token.state() {
        TokenState::Ready { .. } => "ready".to_owned(),
        TokenState::Unproven { .. } => "no recent signature".to_owned(),
        TokenState::Starting => "starting".to_owned(),
        TokenState::NoKeys => "ready, no keys yet".to_owned(),
        TokenState::Away { reason } => format!("away ({reason})"),
        TokenState::CredentialFault { reason } => format!("PIN refused ({reason})"),
    }
}
