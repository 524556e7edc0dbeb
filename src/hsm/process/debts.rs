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
    /// Of callers, proofs of life, and tries of keys.
    signatures: usize,
    /// The message of a change of the token; there is one at a time.
    change: Option<u64>,
    /// The first of all signatures.
    oldest: Option<u64>,
    /// When the patience with the first of all others ends.
    earliest: Option<Instant>,
}

/// When the patience with a signer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hsm) struct Dues {
    /// Since when it owes the oldest of its signatures.
    pub(in crate::hsm) signature_since: Option<Instant>,
    /// When its patience with anything else ends.
    pub(in crate::hsm) until: Option<Instant>,
}

impl Debts {
    pub(in crate::hsm) fn insert(&mut self, message: u64, owed: Owed) {
        self.jobs += usize::from(matches!(owed.errand, Errand::Job(_)));
        if is_signature(&owed) {
            self.signatures += 1;
            self.oldest = Some(self.oldest.map_or(message, |oldest| oldest.min(message)));
        } else {
            let until = owed.since + owed.patience;
            self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
        }
        if matches!(owed.errand, Errand::Change(_)) {
            self.change = Some(message);
        }
        self.owed.insert(message, owed);
    }

    pub(in crate::hsm) fn remove(&mut self, message: u64) -> Option<Owed> {
        let owed = self.owed.remove(&message)?;
        self.jobs -= usize::from(matches!(owed.errand, Errand::Job(_)));
        self.change.take_if(|change| *change == message);
        if is_signature(&owed) {
            self.signatures -= 1;
            if self.oldest == Some(message) {
                // In the order in which they were asked for; hardly anything else is between them.
                self.oldest =
                    self.owed.iter().find(|(_, owed)| is_signature(owed)).map(|(id, _)| *id);
            }
        } else {
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

    /// All of them, oldest first.
    pub(in crate::hsm) fn iter(&self) -> impl Iterator<Item = &Owed> {
        self.owed.values()
    }

    /// Signatures of callers.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// See [`Signer::signatures_owed`](super::Signer::signatures_owed).
    pub(super) fn signatures(&self) -> usize {
        self.signatures
    }

    pub(super) fn has_change(&self) -> bool {
        self.change.is_some()
    }

    pub(super) fn has_canary(&self) -> bool {
        self.owed.values().any(|owed| matches!(owed.errand, Errand::Canary(_)))
    }

    /// See [`Signer::dues`](super::Signer::dues).
    pub(super) fn dues(&self) -> Dues {
        match self.change.and_then(|message| self.owed.get(&message)) {
            Some(change) => {
                Dues { signature_since: None, until: Some(change.since + change.patience) }
            }
            None => Dues {
                signature_since: self
                    .oldest
                    .and_then(|id| self.owed.get(&id))
                    .map(|owed| owed.since),
                until: self.earliest,
            },
        }
    }

    /// All that is owed is begun now.
    pub(super) fn be_patient(&mut self, now: Instant) {
        for owed in self.owed.values_mut() {
            owed.since = owed.since.max(now);
        }
        self.look_for_the_earliest();
    }

    /// In the order in which they were asked for.
    pub(super) fn into_errands(self) -> Vec<Errand> {
        self.owed.into_values().map(|owed| owed.errand).collect()
    }

    fn look_for_the_earliest(&mut self) {
        let others = self.owed.values().filter(|owed| !is_signature(owed));
        self.earliest = others.map(|owed| owed.since + owed.patience).min();
    }
}

fn is_signature(owed: &Owed) -> bool {
    match owed.errand {
        Errand::Job(_) | Errand::Canary(_) | Errand::Trial(_) => true,
        Errand::Catalogue | Errand::Relist | Errand::Change(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn owed(errand: Errand, since: Instant, seconds: u64) -> Owed {
        Owed { since, patience: Duration::from_secs(seconds), errand }
    }

    #[test]
    fn the_first_patience_to_end_is_told_in_whatever_order_answers_come() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut debts = Debts::default();
        assert_eq!(debts.dues(), Dues::default());
        for (message, seconds) in [(0, 9), (1, 5), (2, 5), (3, 7)] {
            debts.insert(message, owed(Errand::Catalogue, now, seconds));
        }
        assert_eq!(debts.dues().until, Some(after(5)));
        for (message, left) in [(1, Some(5)), (3, Some(5)), (2, Some(9)), (0, None)] {
            assert!(debts.remove(message).is_some() && debts.remove(message).is_none());
            assert_eq!(debts.dues().until, left.map(after), "{message}");
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
        debts.insert(0, owed(Errand::Relist, now, 1));
        debts.insert(1, owed(change, now, 60));
        debts.insert(2, owed(Errand::Catalogue, now, 2));
        assert!(debts.has_change());
        assert_eq!(debts.dues().until, Some(after(60)));
        assert!(debts.remove(1).is_some() && !debts.has_change());
        assert_eq!(debts.dues().until, Some(after(1)));
        debts.be_patient(after(8));
        assert_eq!(debts.dues().until, Some(after(9)));
        assert_eq!((debts.len(), debts.into_errands().len()), (2, 2));
    }
}
