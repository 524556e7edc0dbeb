//! Connections that come to nothing: all are counted, some are told, so that who knocks at the door
//! all day does not fill the journal.

use std::{
    collections::HashSet,
    fmt::Display,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntCounterVec;

use crate::{domain::excerpt::excerpt, metrics};

/// Within this time each reason is told once, and others of the same are only counted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Reasons that are told within that time: some name the client, and there may be any number of those.
const REASONS_MAX: usize = 16;

/// See the module.
pub(super) struct Refusals {
    counts: IntCounterVec,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    since: Option<Instant>,
    /// Since then.
    reasons: HashSet<String>,
    /// Since the last line.
    untold: u64,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    /// No handshake, or none that ends well.
    Handshake,
    /// All places are taken, or the share of the client.
    Crowded,
}

impl Refusals {
    pub(super) fn new() -> Self {
        let help = "Connections that were closed before a request: handshakes that failed, and for want \
                    of a place.";
        let counts = metrics::counters("chancery_connections_refused_total", help, &["cause"]);
        Self { counts, told: Mutex::default() }
    }

    /// Counts one, and tells it if its reason was not told for a while.
    pub(super) fn note(&self, from: SocketAddr, cause: Cause, reason: &dyn Display) {
        let word = match cause {
            Cause::Handshake => "handshake",
            Cause::Crowded => "crowded",
        };
        self.counts.with_label_values(&[word]).inc();
        let reason = excerpt(&reason.to_string()).to_string();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.is_none_or(|since| since.elapsed() >= TELL_EVERY) {
            told.since = Some(Instant::now());
            told.reasons.clear();
        }
        if told.reasons.len() >= REASONS_MAX || !told.reasons.insert(reason.clone()) {
            told.untold += 1;
            return;
        }
        let untold = std::mem::take(&mut told.untold);
        drop(told);
        tracing::info!(%from, reason, untold, "connection refused");
    }

    pub(super) fn counts(&self) -> &IntCounterVec {
        &self.counts
    }
}
