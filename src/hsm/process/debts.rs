//! The answers that a signer owes. What is asked of them with each signature takes no look at all of them.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{Errand, Owed};

/// By message id.
#[derive(Default)]
pub(in crate::hsm) struct Debts {
    owed: BTreeMap<u64, Owed>,
    /// Of callers.
    jobs: usize,
    /// The message of a change of the token; there is one at a time.
    change: Option<u64>,
    /// When the patience with the first of all ends.
    earliest: Option<Instant>,
}

impl Debts {
    pub(in crate::hsm) fn insert(&mut self, message: u64, owed: Owed) {
        match owed.errand {
            Errand::Job(_) => self.jobs += 1,
            Errand::Change(_) => self.change = Some(message),
            Errand::Canary(_) | Errand::Catalogue | Errand::Relist => {}
        }
        let until = owed.patience_until;
        self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
        self.owed.insert(message, owed);
    }

    pub(in crate::hsm) fn remove(&mut self, message: u64) -> Option<Owed> {
        let owed = self.owed.remove(&message)?;
        if matches!(owed.errand, Errand::Job(_)) {
            self.jobs -= 1;
        }
        self.change.take_if(|change| *change == message);
        if self.earliest == Some(owed.patience_until) {
            self.look_for_the_earliest();
        }
        Some(owed)
    }

    pub(in crate::hsm) fn len(&self) -> usize {
        self.owed.len()
    }

    pub(in crate::hsm) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Signatures of callers.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    pub(super) fn has_change(&self) -> bool {
        self.change.is_some()
    }

    pub(super) fn has_canary(&self) -> bool {
        self.owed.values().any(|owed| matches!(owed.errand, Errand::Canary(_)))
    }

    /// See [`Signer::patience_until`](super::Signer::patience_until).
    pub(super) fn patience_until(&self) -> Option<Instant> {
        match self.change.and_then(|message| self.owed.get(&message)) {
            Some(change) => Some(change.patience_until),
            None => self.earliest,
        }
    }

    /// No patience ends before that.
    pub(super) fn be_patient(&mut self, until: Instant) {
        for owed in self.owed.values_mut() {
            owed.patience_until = owed.patience_until.max(until);
        }
        self.look_for_the_earliest();
    }

    /// In the order in which they were asked for.
    pub(super) fn into_errands(self) -> Vec<Errand> {
        self.owed.into_values().map(|owed| owed.errand).collect()
    }

    fn look_for_the_earliest(&mut self) {
        self.earliest = self.owed.values().map(|owed| owed.patience_until).min();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn owed(errand: Errand, patience_until: Instant) -> Owed {
        Owed { patience_until, errand }
    }

    #[test]
    fn the_first_patience_to_end_is_told_in_whatever_order_answers_come() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut debts = Debts::default();
        assert_eq!(debts.patience_until(), None);
        for (message, seconds) in [(0, 9), (1, 5), (2, 5), (3, 7)] {
            debts.insert(message, owed(Errand::Catalogue, after(seconds)));
        }
        assert_eq!(debts.patience_until(), Some(after(5)));
        for (message, left) in [(1, Some(5)), (3, Some(5)), (2, Some(9)), (0, None)] {
            assert!(debts.remove(message).is_some() && debts.remove(message).is_none());
            assert_eq!(debts.patience_until(), left.map(after), "{message}");
        }
        assert!(debts.is_empty());
    }

    #[test]
    fn what_waits_for_a_change_gets_its_time_after_it() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut debts = Debts::default();
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let name = crate::hsm::orders::KeyName { label: "a".to_owned(), id: vec![1] };
        let change = Errand::Change(crate::hsm::supervisor::ChangeReply { name, reply });
        debts.insert(0, owed(Errand::Relist, after(1)));
        debts.insert(1, owed(change, after(60)));
        debts.insert(2, owed(Errand::Catalogue, after(2)));
        assert!(debts.has_change());
        assert_eq!(debts.patience_until(), Some(after(60)));
        assert!(debts.remove(1).is_some() && !debts.has_change());
        assert_eq!(debts.patience_until(), Some(after(1)));
        debts.be_patient(after(8));
        assert_eq!(debts.patience_until(), Some(after(8)));
        assert_eq!((debts.len(), debts.into_errands().len()), (2, 2));
    }
}
