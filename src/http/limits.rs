//! Limits of the listeners.

use std::time::Duration;

/// Limits of the listeners.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections of each listener.
    pub connections_max: usize,
    /// Requests that are worked on at the same time; more get 503.
    pub in_flight_max: usize,
    /// Requests of one client in a minute; 0: no limit.
    pub client_requests_per_minute: u32,
    /// Refusals of one client in a minute that are audit entries of their own.
    pub client_refusals_audited_per_minute: u32,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the connection to the end of the first request head.
    pub request_head: Duration,
    /// From the end of the head to the end of the body.
    pub request_body: Duration,
    /// For the end of an answer and the whole head of the next request, after a request was served.
    pub idle: Duration,
    /// For work in flight at shutdown.
    pub shutdown: Duration,
}
