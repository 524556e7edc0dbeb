//! A limit with a fair share for each owner: no owner can take all permits.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

/// An owner may hold at most this many times the number of free permits: three quarters of all when it is
/// alone, and less when others hold some. So an owner without a permit always gets one.
const SHARE_OF_FREE: usize = 3;

/// Counts the permits of each owner.
pub(super) struct FairShare<K> {
    max: usize,
    total: usize,
    /// Permits of each owner that has some.
    by_owner: HashMap<K, usize>,
}

impl<K: Eq + Hash> FairShare<K> {
    /// Allows `max` permits at a time.
    pub(super) fn new(max: usize) -> Self {
        Self { max, total: 0, by_owner: HashMap::new() }
    }

    /// Takes a permit; false when the owner may have no more.
    pub(super) fn take(&mut self, owner: K) -> bool {
        let free = self.max - self.total;
        if free == 0 {
            return false;
        }
        match self.by_owner.entry(owner) {
            Entry::Occupied(own) if *own.get() >= SHARE_OF_FREE * free => return false,
            Entry::Occupied(mut own) => *own.get_mut() += 1,
            Entry::Vacant(none) => {
                none.insert(1);
            }
        }
        self.total += 1;
        true
    }

    /// Gives back one of the owner's permits.
    pub(super) fn give_back(&mut self, owner: &K) {
        self.total -= 1;
        if let Some(own) = self.by_owner.get_mut(owner) {
            *own -= 1;
            if *own == 0 {
                self.by_owner.remove(owner);
            }
        }
    }

    /// The number of permits that are taken.
    pub(super) fn taken(&self) -> usize {
        self.total
    }

    /// Whether no owner would get a permit.
    pub(super) fn is_full(&self) -> bool {
        self.total >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all permits that an owner gets.
    fn flood(shares: &mut FairShare<&'static str>, owner: &'static str) -> usize {
        std::iter::from_fn(|| shares.take(owner).then_some(())).count()
    }

    #[test]
    fn nobody_and_no_two_take_all_the_places() {
        let mut shares = FairShare::new(512);
        assert_eq!(flood(&mut shares, "one"), 384);
        let two = flood(&mut shares, "two");
        assert!(two > 90, "{two}");
        let three = flood(&mut shares, "three");
        assert!(three > 20, "{three}");
        assert!(!shares.is_full());
        // A permit that is given back is free for other owners.
        for _ in 0..384 {
            shares.give_back(&"one");
        }
        assert!(flood(&mut shares, "four") > 250);
    }

    #[test]
    fn the_smallest_room_is_for_one_and_all_of_a_room_can_be_used() {
        let mut shares = FairShare::new(1);
        assert!(shares.take("a") && shares.is_full() && !shares.take("b"));
        shares.give_back(&"a");
        assert!(shares.take("b"));
        let mut shares = FairShare::new(2);
        assert_eq!(flood(&mut shares, "a"), 2);
        shares.give_back(&"a");
        shares.give_back(&"a");
        assert!(shares.by_owner.is_empty() && shares.taken() == 0);
    }
}
