//! Connections that are closed before a request: all are counted, and few are logged, so that a client which
//! tries again and again does not fill the journal.

use std::{
    collections::HashSet,
    fmt::Display,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntCounterVec;

use crate::{domain::excerpt::excerpt, metrics};

/// Each reason is logged once in this time; more connections with the same reason are only counted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Reasons that are logged in that time. Some contain the name of the client, so there may be any number.
const REASONS_MAX: usize = 16;

/// See the module.
pub(super) struct RejectedConnections {
    counts: IntCounterVec,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    since: Option<Instant>,
    /// The reasons that were logged since then.
    reasons: HashSet<String>,
    /// Connections that were not logged since the last line.
    untold: u64,
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    /// The TLS handshake failed, or did not come.
    Handshake,
    /// The connection limit, or the fair share of the client, is reached.
    Crowded,
}

impl RejectedConnections {
    pub(super) fn new() -> Self {
        let help = "Connections that were closed before a request: handshakes that failed, and for want \
                    of a place.";
        let counts = metrics::counters("chancery_connections_refused_total", help, &["cause"]);
        Self { counts, told: Mutex::default() }
    }

    /// Counts a connection, and logs it unless its reason was logged a short time ago.
    pub(super) fn note(&self, from: SocketAddr, cause: Cause, reason: &dyn Display) {
        let word = match cause {
            Cause::Handshake => "handshake",
            Cause::Crowded => "crowded",
        };
        self.counts.with_label_values(&[word]).inc();
        let reason = excerpt(&reason.to_string()).to_string();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = told.tell(&reason, Instant::now());
        drop(told);
        let Some(untold) = untold else { return };
        tracing::info!(%from, reason, untold, "connection refused");
    }

    pub(super) fn counts(&self) -> &IntCounterVec {
        &self.counts
    }
}

impl Told {
    /// The number of connections that were not logged since the last line, if this one is to be logged.
    fn tell(&mut self, reason: &str, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= TELL_EVERY) {
            self.since = Some(now);
            self.reasons.clear();
        }
        if self.reasons.len() >= REASONS_MAX || !self.reasons.insert(reason.to_owned()) {
            self.untold += 1;
            return None;
        }
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_in_ten_seconds_whatever_comes_before_it() {
        let (mut told, begun) = (Told::default(), Instant::now());
        let mut tell = |reason: &str, after: Duration| told.tell(reason, begun + after);
        assert_eq!(tell("no certificate", Duration::ZERO), Some(0));
        for _ in 0..1_000 {
            assert_eq!(tell("no certificate", Duration::from_secs(1)), None);
        }
        assert_eq!(tell("the certificate has expired", Duration::from_secs(1)), Some(1_000));
        assert_eq!(tell("another CA", Duration::from_secs(9)), Some(0));
        assert_eq!(tell("another CA", Duration::from_millis(9_999)), None);
        assert_eq!(tell("no certificate", TELL_EVERY), Some(1));
        assert_eq!(tell("another CA", TELL_EVERY), Some(0));
    }

    #[test]
    fn reasons_that_the_client_words_are_told_up_to_a_limit() {
        let (mut told, begun) = (Told::default(), Instant::now());
        let lines = |told: &mut Told, now| {
            (0..1_000).filter(|number| told.tell(&number.to_string(), now).is_some()).count()
        };
        assert_eq!(lines(&mut told, begun), REASONS_MAX);
        assert_eq!(told.reasons.len(), REASONS_MAX);
        assert_eq!(lines(&mut told, begun + TELL_EVERY), REASONS_MAX);
    }
}
