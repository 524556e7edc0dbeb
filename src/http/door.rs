//! Who may have a connection: so many are open at a time, and nobody can hold all of them.
//!
//! Who has not proved anything is a stranger: everybody on a listener without TLS, and on the API
//! until the end of the handshake. A stranger that comes when all places are taken gets that of the
//! stranger who has waited longest among those of the address with most of them. So an address that
//! floods the door pushes out its own connections, and one with few is let in, and stays.
//!
//! Who has proved a certificate keeps the place, and has a share of them all.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::fair_share::FairShare;

/// SHA-256 of a certificate.
type Fingerprint = [u8; 32];

/// See the module.
pub(super) struct Door(Mutex<Inside>);

struct Inside {
    max: usize,
    /// Rises with each that comes.
    next: u64,
    /// By where they come from; the first has waited longest. What they are told to go by.
    strangers: HashMap<IpAddr, BTreeMap<u64, oneshot::Sender<()>>>,
    known: FairShare<Fingerprint>,
}

impl Door {
    /// For so many connections.
    pub(super) fn new(max: usize) -> Arc<Self> {
        let strangers = HashMap::new();
        Arc::new(Self(Mutex::new(Inside { max, next: 0, strangers, known: FairShare::new(max) })))
    }

    /// A place for a stranger, until it is dropped, and what resolves when another needs it. None
    /// when all places are taken by who has proved a certificate.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<(Place, oneshot::Receiver<()>)> {
        let from = neighbourhood(from);
        let (push, pushed) = oneshot::channel();
        let mut inside = self.inside();
        if inside.taken() >= inside.max {
            inside.push_one_out()?;
        }
        let number = inside.next;
        inside.next += 1;
        inside.strangers.entry(from).or_default().insert(number, push);
        drop(inside);
        Some((Place { door: Arc::clone(self), holder: Holder::Stranger(from, number) }, pushed))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn taken(&self) -> usize {
        self.known.taken() + self.strangers.values().map(BTreeMap::len).sum::<usize>()
    }

    /// None when there is no stranger.
    fn push_one_out(&mut self) -> Option<()> {
        let waited_longest = |waiting: &BTreeMap<u64, _>| Reverse(waiting.keys().next().copied());
        let (from, _) = self
            .strangers
            .iter()
            .max_by_key(|(_, waiting)| (waiting.len(), waited_longest(waiting)))?;
        let (from, number) = (*from, *self.strangers.get(from)?.keys().next()?);
        // One that has just gone by itself hears nothing of it.
        let _ = self.take_stranger(from, number)?.send(());
        Some(())
    }

    fn take_stranger(&mut self, from: IpAddr, number: u64) -> Option<oneshot::Sender<()>> {
        let waiting = self.strangers.get_mut(&from)?;
        let push = waiting.remove(&number);
        if waiting.is_empty() {
            self.strangers.remove(&from);
        }
        push
    }
}

/// See [`Door::enter`].
pub(super) struct Place {
    door: Arc<Door>,
    holder: Holder,
}

enum Holder {
    Stranger(IpAddr, u64),
    Known(Fingerprint),
    Nobody,
}

impl Place {
    /// Its holder has proved a certificate. False when there is no place for one more of those, or it
    /// was given to another just before.
    pub(super) fn is_of(&mut self, certificate: Fingerprint) -> bool {
        let Holder::Stranger(from, number) = self.holder else { return true };
        let mut inside = self.door.inside();
        let was_there = inside.take_stranger(from, number).is_some();
        self.holder = Holder::Nobody;
        if was_there && inside.known.take(certificate) {
            self.holder = Holder::Known(certificate);
        }
        matches!(self.holder, Holder::Known(_))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        match &self.holder {
            // One that was pushed out is not there any more.
            Holder::Stranger(from, number) => drop(inside.take_stranger(*from, *number)),
            Holder::Known(certificate) => inside.known.give_back(certificate),
            Holder::Nobody => {}
        }
    }
}

/// What one party can be expected to have addresses of: an IPv4 address, or an IPv6 network of 64
/// bits (RFC 4291, section 2.5.4).
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn enter(door: &Arc<Door>, from: &str) -> (Place, oneshot::Receiver<()>) {
        door.enter(address(from)).unwrap_or_else(|| panic!("no place for {from}"))
    }

    #[test]
    fn an_address_that_floods_pushes_out_its_own_oldest() {
        let door = Door::new(8);
        let (few_place, mut few) = enter(&door, "192.0.2.1");
        let mut many: Vec<_> = (0..7).map(|_| enter(&door, "192.0.2.2")).collect();
        assert_eq!(door.inside().taken(), 8);
        let others: Vec<_> = (3..6).map(|last| enter(&door, &format!("192.0.2.{last}"))).collect();
        assert!(few.try_recv().is_err());
        let pushed = many.iter_mut().map(|(_, pushed)| pushed.try_recv().is_ok());
        assert_eq!(pushed.collect::<Vec<_>>(), [true, true, true, false, false, false, false]);
        assert_eq!(door.inside().taken(), 8);
        drop((many, others, few_place));
        assert!(door.inside().taken() == 0 && door.inside().strangers.is_empty());
    }

    #[test]
    fn among_equals_the_oldest_goes_wherever_it_is_from() {
        let door = Door::new(3);
        let mut held: Vec<_> =
            (1..=3).map(|last| enter(&door, &format!("192.0.2.{last}"))).collect();
        let _next = enter(&door, "192.0.2.4");
        let pushed = held.iter_mut().map(|(_, pushed)| pushed.try_recv().is_ok());
        assert_eq!(pushed.collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn who_has_proved_a_certificate_stays_and_has_a_share() {
        let door = Door::new(8);
        let mut held = Vec::new();
        loop {
            let (mut place, _) = enter(&door, "192.0.2.1");
            if !place.is_of([1; 32]) {
                break;
            }
            held.push(place);
        }
        assert_eq!(held.len(), 6);
        // Strangers fill what is left, and are pushed out; another certificate finds its place.
        let strangers: Vec<_> = (0..9).map(|_| enter(&door, "192.0.2.1")).collect();
        assert_eq!(door.inside().taken(), 8);
        let (mut other, _) = enter(&door, "192.0.2.1");
        assert!(other.is_of([2; 32]));
        let (mut third, _) = enter(&door, "192.0.2.1");
        assert!(third.is_of([3; 32]));
        assert!(door.enter(address("192.0.2.9")).is_none());
        drop((held, other, third, strangers));
        assert_eq!(door.inside().taken(), 0);
    }

    #[test]
    fn a_place_that_was_given_to_another_is_not_taken_back() {
        let door = Door::new(1);
        let (mut first, _) = enter(&door, "192.0.2.1");
        let _second = enter(&door, "192.0.2.2");
        assert!(!first.is_of([1; 32]));
        assert_eq!(door.inside().taken(), 1);
    }

    #[test]
    fn an_ipv6_network_is_one_party() {
        assert_eq!(
            neighbourhood(address("2001:db8::1")),
            neighbourhood(address("2001:db8::ffff:2"))
        );
        assert_ne!(
            neighbourhood(address("2001:db8::1")),
            neighbourhood(address("2001:db8:0:1::1"))
        );
        assert_eq!(neighbourhood(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
