//! Counts requests by route and status.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use actix_web::http::StatusCode;
use prometheus::IntCounterVec;

use crate::metrics;

/// The counter behind `chancery_requests_total`.
pub(super) struct RequestCounter {
    counts: IntCounterVec,
    /// From 1xx to 5xx.
    by_class: [AtomicU64; 5],
}

impl RequestCounter {
    pub(super) fn new() -> Self {
        let help = "Requests to the API and distribution listeners, by route and HTTP status.";
        let counts = metrics::counters("chancery_requests_total", help, &["route", "status"]);
        Self { counts, by_class: Default::default() }
    }

    /// For the metrics page.
    pub(super) fn counts(&self) -> &IntCounterVec {
        &self.counts
    }

    /// Answers by the first digit of their status, `2xx`.
    pub(super) fn by_class(&self) -> BTreeMap<String, u64> {
        let counts = self.by_class.iter().map(|count| count.load(Ordering::Relaxed));
        let named = (1..).zip(counts).filter(|(_, count)| *count > 0);
        named.map(|(class, count)| (format!("{class}xx"), count)).collect()
    }

    /// Counts an answer.
    pub(super) fn count(&self, route: &str, status: StatusCode) {
        self.counts.with_label_values(&[route, status.as_str()]).inc();
        if let Some(count) = self.by_class.get(usize::from(status.as_u16() / 100 - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
