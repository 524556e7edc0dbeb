//! What every request needs, and how a use case runs to its end.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::{
    in_flight::InFlight, limits::Limits, problem::Problem, rate::Rates,
    rejected_connections::RejectedConnections, request_counter::RequestCounter, tally::Tally,
    tls::Tls,
};
use crate::{
    access::Access,
    service::{Services, error::Error, status::Front},
};

/// What every request needs.
pub(super) struct Context {
    pub(super) services: Arc<Services>,
    pub(super) access: Access,
    pub(super) limits: Limits,
    /// Judges the certificates of clients.
    pub(super) tls: Arc<Tls>,
    /// Connections that came to nothing.
    pub(super) rejected: Arc<RejectedConnections>,
    /// Requests of each client.
    pub(super) rates: Arc<Rates>,
    /// What is told of requests.
    pub(super) tally: Arc<Tally>,
    /// All requests, by route and status.
    pub(super) requests: Arc<RequestCounter>,
    /// Whether the login that grants nothing is there.
    pub(super) compat_login: bool,
    /// Requests that are worked on.
    pub(super) in_flight: Arc<InFlight>,
    /// Where issuing runs: a client that hangs up cannot cut it in half.
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
}

impl Context {
    /// What the listeners contribute to the status.
    pub(super) fn front(&self) -> Front {
        Front {
            compat_login: self.compat_login,
            expired_crl: self.tls.expired_crl(),
            crl_next_update: self.tls.crl_next_update(),
            in_flight: self.in_flight.taken_places(),
            in_flight_max: self.limits.in_flight_max,
            is_full: self.in_flight.is_full(),
            answers: self.requests.by_class(),
        }
    }
}

/// Runs a use case to its end, whatever the connection does meanwhile.
pub(super) async fn uninterrupted<T, E>(
    context: &Context,
    task: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: From<Error> + Into<Problem> + Send + 'static,
{
    context
        .tasks
        .spawn_on(task.in_current_span(), &context.runtime)
        .await
        .unwrap_or_else(|error| {
            Err(Error::Internal(format!("a use case ended early: {error}")).into())
        })
        .map_err(Into::into)
}
