//! The context of requests, which a reload replaces as a whole.

use std::sync::{Arc, PoisonError, RwLock};

use super::context::Context;

/// The context of new requests. A request keeps the one that it began with.
pub struct Current(RwLock<Arc<Context>>);

impl Current {
    pub(super) fn new(context: Context) -> Self {
        Self(RwLock::new(Arc::new(context)))
    }

    pub(super) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, next: impl FnOnce(&Context) -> Context) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(next(&current));
    }

    /// Logs how many answers the callers had that have no line of their own, and records refusals that have no
    /// entry of their own. To be called every minute.
    pub async fn log_answers(&self) {
        let context = self.context();
        context.tally.tell(&context.services).await;
    }

    /// Logs how many answers the public had. To be called again and again.
    pub fn log_public_answers(&self) {
        self.context().tally.tell_of_the_public();
    }
}
