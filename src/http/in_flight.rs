//! InFlight for the requests that are worked on, shared so that no client can take all of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{fair_share::FairShare, problem::Problem};

/// Seconds after which a full daemon may have room again.
const BUSY_RETRY_SECONDS: u64 = 1;

/// See the module.
pub(super) struct InFlight(Mutex<FairShare<Arc<str>>>);

impl InFlight {
    /// For so many requests.
    pub(super) fn new(max: usize) -> Self {
        Self(Mutex::new(FairShare::new(max)))
    }

    /// A place for a request, until it is dropped.
    ///
    /// # Errors
    /// 503 when there is none for this client.
    pub(super) fn enter(&self, client: &Arc<str>) -> Result<Permit<'_>, Problem> {
        if self.shares().take(Arc::clone(client)) {
            Ok(Permit { in_flight: self, client: Arc::clone(client) })
        } else {
            Err(Problem::busy(BUSY_RETRY_SECONDS))
        }
    }

    /// Requests that are worked on.
    pub(super) fn taken_places(&self) -> usize {
        self.shares().taken()
    }

    /// Whether nobody finds a place.
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
