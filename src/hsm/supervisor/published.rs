//! What the supervisor shows to the handles of its token.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Supervisor;
use crate::hsm::{TokenState, catalogue::Catalogue};

/// What the handle sees.
#[derive(Clone, Default)]
pub(in crate::hsm) struct Published {
    /// Whether a first start has ended, well or not.
    pub(in crate::hsm) known: bool,
    /// The last listing; empty before the first.
    pub(in crate::hsm) catalogue: Arc<Catalogue>,
    pub(super) condition: Condition,
    /// When the last canary signature verified.
    pub(super) proven_at: Option<Instant>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Starting,
    Up,
    Away(String),
    CredentialFault(String),
}

impl Published {
    /// The state as of `now`; a proof older than `age_max` is none.
    pub(in crate::hsm) fn state(&self, now: Instant, age_max: Duration) -> TokenState {
        match (&self.condition, self.proven_at) {
            (Condition::Starting, _) => TokenState::Starting,
            (Condition::Up, Some(at)) => match now.saturating_duration_since(at) {
                age if age <= age_max => TokenState::Ready { age },
                age => TokenState::Unproven { age },
            },
            (Condition::Up, None) => TokenState::NoKeys,
            (Condition::Away(reason), _) => TokenState::Away { reason: reason.clone() },
            (Condition::CredentialFault(reason), _) => {
                TokenState::CredentialFault { reason: reason.clone() }
            }
        }
    }
}

impl Supervisor {
    /// Makes a change visible.
    pub(super) fn publish(&self) {
        let condition = match (&self.credential_fault, self.backoff.failure()) {
            _ if !self.up.is_empty() => Condition::Up,
            (Some(reason), _) => Condition::CredentialFault(reason.clone()),
            (None, Some(reason)) => Condition::Away(reason.to_owned()),
            (None, None) => Condition::Starting,
        };
        self.published.send_if_modified(|published| {
            let changed = published.condition != condition;
            published.condition = condition;
            changed
        });
    }
}
