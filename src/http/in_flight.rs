//! The limit of requests in progress, with a fair share for each client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{fair_share::FairShare, problem::Problem};

/// The Retry-After of a request that found no permit, in seconds.
const BUSY_RETRY_SECONDS: u64 = 1;

/// Gives out the permits.
pub(super) struct InFlight(Mutex<FairShare<Arc<str>>>);

impl InFlight {
    /// Allows `max` requests at a time.
    pub(super) fn new(max: usize) -> Self {
        Self(Mutex::new(FairShare::new(max)))
    }

    /// A permit for a request, which ends when it is dropped.
    ///
    /// # Errors
    /// 503 when none is free, or the client has its fair share already.
    pub(super) fn enter(&self, client: &Arc<str>) -> Result<Permit<'_>, Problem> {
        if self.shares().take(Arc::clone(client)) {
            Ok(Permit { in_flight: self, client: Arc::clone(client) })
        } else {
            Err(Problem::busy(BUSY_RETRY_SECONDS))
        }
    }

    /// Requests in progress.
    pub(super) fn taken_places(&self) -> usize {
        self.shares().taken()
    }

    /// Whether no client would get a permit.
    pub(super) fn is_full(&self) -> bool {
        self.shares().is_full()
    }

    fn shares(&self) -> MutexGuard<'_, FairShare<Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`InFlight::enter`].
pub(super) struct Permit<'a> {
    in_flight: &'a InFlight,
    client: Arc<str>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.in_flight.shares().give_back(&self.client);
    }
}
