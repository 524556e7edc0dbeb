//! What requests are judged by, replaced as a whole by a reload.

use std::sync::{Arc, PoisonError, RwLock};

use super::dispatch::Context;

/// The context of new requests. A request keeps the one that it began with.
pub(super) struct Current(RwLock<Arc<Context>>);

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
}
