//! The requests that a signer has not answered, with counters and deadlines that are kept up to date, because
//! they are read with each signature.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{Pending, Task};

/// By message id.
#[derive(Default)]
pub(in crate::hsm) struct PendingRequests {
    pending: BTreeMap<u64, Pending>,
    /// Signatures for callers.
    jobs: usize,
    /// Signatures for callers, canaries and probes.
    signatures: usize,
    /// The message of a pending change of the token; there is at most one.
    change: Option<u64>,
    /// The message of the oldest signature.
    oldest: Option<u64>,
    /// When the first of all other requests is overdue.
    earliest: Option<Instant>,
}

/// When a signer's pending requests are overdue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hsm) struct Deadlines {
    /// Since when its oldest signature is pending; the supervisor's `latency` derives the deadline.
    pub(in crate::hsm) signature_since: Option<Instant>,
    /// When the first of all other requests is overdue.
    pub(in crate::hsm) until: Option<Instant>,
}

impl PendingRequests {
    pub(in crate::hsm) fn insert(&mut self, message: u64, pending: Pending) {
        self.jobs += usize::from(matches!(pending.task, Task::Job(_)));
        if is_signature(&pending) {
            self.signatures += 1;
            self.oldest = Some(self.oldest.map_or(message, |oldest| oldest.min(message)));
        } else {
            let until = pending.since + pending.patience;
            self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
        }
        if matches!(pending.task, Task::Change(_)) {
            self.change = Some(message);
        }
        self.pending.insert(message, pending);
    }

    pub(in crate::hsm) fn remove(&mut self, message: u64) -> Option<Pending> {
        let pending = self.pending.remove(&message)?;
        self.jobs -= usize::from(matches!(pending.task, Task::Job(_)));
        self.change.take_if(|change| *change == message);
        if is_signature(&pending) {
            self.signatures -= 1;
            if self.oldest == Some(message) {
                // Answers mostly come in the order of the requests, so the next signature is near.
                self.oldest = self
                    .pending
                    .iter()
                    .find(|(_, pending)| is_signature(pending))
                    .map(|(id, _)| *id);
            }
        } else {
            self.update_earliest();
        }
        Some(pending)
    }

    pub(in crate::hsm) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(in crate::hsm) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(in crate::hsm) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values()
    }

    pub(super) fn pending_jobs(&self) -> usize {
        self.jobs
    }

    /// See [`Signer::pending_signatures`](super::Signer::pending_signatures).
    pub(super) fn signatures(&self) -> usize {
        self.signatures
    }

    pub(super) fn has_change(&self) -> bool {
        self.change.is_some()
    }

    pub(super) fn has_canary(&self) -> bool {
        self.pending.values().any(|pending| matches!(pending.task, Task::Canary(_)))
    }

    /// See [`Signer::deadlines`](super::Signer::deadlines).
    pub(super) fn deadlines(&self) -> Deadlines {
        match self.change.and_then(|message| self.pending.get(&message)) {
            Some(change) => {
                Deadlines { signature_since: None, until: Some(change.since + change.patience) }
            }
            None => Deadlines {
                signature_since: self
                    .oldest
                    .and_then(|id| self.pending.get(&id))
                    .map(|pending| pending.since),
                until: self.earliest,
            },
        }
    }

    /// See [`Signer::restart_patience`](super::Signer::restart_patience).
    pub(super) fn restart_patience(&mut self, now: Instant) {
        for pending in self.pending.values_mut() {
            pending.since = pending.since.max(now);
        }
        self.update_earliest();
    }

    /// The tasks, oldest first.
    pub(super) fn into_tasks(self) -> Vec<Task> {
        self.pending.into_values().map(|pending| pending.task).collect()
    }

    fn update_earliest(&mut self) {
        let others = self.pending.values().filter(|pending| !is_signature(pending));
        self.earliest = others.map(|pending| pending.since + pending.patience).min();
    }
}

fn is_signature(pending: &Pending) -> bool {
    match pending.task {
        Task::Job(_) | Task::Canary(_) | Task::Probe(_) => true,
        Task::Catalogue | Task::Relist | Task::Change(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(task: Task, since: Instant, seconds: u64) -> Pending {
        Pending { since, patience: Duration::from_secs(seconds), task }
    }

    #[test]
    fn the_first_patience_to_end_is_told_in_whatever_order_answers_come() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut pending = PendingRequests::default();
        assert_eq!(pending.deadlines(), Deadlines::default());
        for (message, seconds) in [(0, 9), (1, 5), (2, 5), (3, 7)] {
            pending.insert(message, request(Task::Catalogue, now, seconds));
        }
        assert_eq!(pending.deadlines().until, Some(after(5)));
        for (message, left) in [(1, Some(5)), (3, Some(5)), (2, Some(9)), (0, None)] {
            assert!(pending.remove(message).is_some() && pending.remove(message).is_none());
            assert_eq!(pending.deadlines().until, left.map(after), "{message}");
        }
        assert!(pending.is_empty());
    }

    #[test]
    fn what_waits_for_a_change_gets_its_time_after_it() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut pending = PendingRequests::default();
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let name = crate::hsm::key_change::KeyName { label: "a".to_owned(), id: vec![1] };
        let change = Task::Change(crate::hsm::supervisor::PendingChange { name, reply });
        pending.insert(0, request(Task::Relist, now, 1));
        pending.insert(1, request(change, now, 60));
        pending.insert(2, request(Task::Catalogue, now, 2));
        assert!(pending.has_change());
        assert_eq!(pending.deadlines().until, Some(after(60)));
        assert!(pending.remove(1).is_some() && !pending.has_change());
        assert_eq!(pending.deadlines().until, Some(after(1)));
        pending.restart_patience(after(8));
        assert_eq!(pending.deadlines().until, Some(after(9)));
        assert_eq!((pending.len(), pending.into_tasks().len()), (2, 2));
    }
}
