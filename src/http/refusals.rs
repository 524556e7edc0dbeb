//! Connections that come to nothing: all are counted, some are told, so that who knocks at the door
//! all day does not fill the journal.

use std::{
    fmt::Display,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntCounterVec;

use crate::metrics;

/// After a line in the log, those that follow within this time are only counted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Refusals {
    counts: IntCounterVec,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    /// Since then.
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

    /// Counts one, and tells it if nothing was told for a while.
    pub(super) fn note(&self, from: SocketAddr, cause: Cause, reason: &dyn Display) {
        let word = match cause {
            Cause::Handshake => "handshake",
            Cause::Crowded => "crowded",
        };
        self.counts.with_label_values(&[word]).inc();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            told.untold += 1;
            return;
        }
        let untold = std::mem::take(&mut told.untold);
        told.at = Some(Instant::now());
        drop(told);
        tracing::info!(%from, %reason, untold, "connection refused");
    }

    pub(super) fn counts(&self) -> &IntCounterVec {
        &self.counts
    }
}
