//! The limit of open connections of one listener, with a rule that lets no address take them all.
//!
//! A connection is unauthenticated until its TLS handshake has proved a certificate; on a listener without
//! TLS, always. When the limit is reached, a new connection closes an unauthenticated one: the oldest of
//! the address that has most of them. So an address that floods the listener closes its own connections,
//! and an address with few keeps them.
//!
//! An authenticated connection is never closed for another one, but each certificate has a fair share only.

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
pub(super) struct ConnectionLimit(Mutex<Inside>);

struct Inside {
    max: usize,
    /// The number of the next connection.
    next: u64,
    /// The senders that close connections, by address and number; the smallest number is the oldest.
    unauthenticated: HashMap<IpAddr, BTreeMap<u64, oneshot::Sender<()>>>,
    known: FairShare<Fingerprint>,
}

impl ConnectionLimit {
    /// Allows `max` open connections.
    pub(super) fn new(max: usize) -> Arc<Self> {
        let unauthenticated = HashMap::new();
        Arc::new(Self(Mutex::new(Inside {
            max,
            next: 0,
            unauthenticated,
            known: FairShare::new(max),
        })))
    }

    /// Admits a connection. The permit ends when it is dropped; the receiver resolves when the connection
    /// has to close for another one. `None` when all open connections are authenticated.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<(Permit, oneshot::Receiver<()>)> {
        let from = neighbourhood(from);
        let (close, closed) = oneshot::channel();
        let mut inside = self.inside();
        if inside.taken() >= inside.max {
            inside.close_one()?;
        }
        let number = inside.next;
        inside.next += 1;
        inside.unauthenticated.entry(from).or_default().insert(number, close);
        drop(inside);
        Some((
            Permit { limit: Arc::clone(self), holder: Holder::Unauthenticated(from, number) },
            closed,
        ))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn taken(&self) -> usize {
        self.known.taken() + self.unauthenticated.values().map(BTreeMap::len).sum::<usize>()
    }

    /// Closes an unauthenticated connection. `None` when there is none.
    fn close_one(&mut self) -> Option<()> {
        let waited_longest = |waiting: &BTreeMap<u64, _>| Reverse(waiting.keys().next().copied());
        let (from, _) = self
            .unauthenticated
            .iter()
            .max_by_key(|(_, waiting)| (waiting.len(), waited_longest(waiting)))?;
        let (from, number) = (*from, *self.unauthenticated.get(from)?.keys().next()?);
        // The receiver is gone if the connection has just ended by itself.
        let _ = self.take_unauthenticated(from, number)?.send(());
        Some(())
    }

    fn take_unauthenticated(&mut self, from: IpAddr, number: u64) -> Option<oneshot::Sender<()>> {
        let waiting = self.unauthenticated.get_mut(&from)?;
        let close = waiting.remove(&number);
        if waiting.is_empty() {
            self.unauthenticated.remove(&from);
        }
        close
    }
}

/// See [`ConnectionLimit::enter`].
pub(super) struct Permit {
    limit: Arc<ConnectionLimit>,
    holder: Holder,
}

enum Holder {
    Unauthenticated(IpAddr, u64),
    Known(Fingerprint),
    Nobody,
}

impl Permit {
    /// Authenticates the connection. False when the certificate has its fair share already, or when the
    /// connection was closed for another one just before.
    pub(super) fn authenticate(&mut self, certificate: Fingerprint) -> bool {
        let Holder::Unauthenticated(from, number) = self.holder else { return true };
        let mut inside = self.limit.inside();
        let was_there = inside.take_unauthenticated(from, number).is_some();
        self.holder = Holder::Nobody;
        if was_there && inside.known.take(certificate) {
            self.holder = Holder::Known(certificate);
        }
        matches!(self.holder, Holder::Known(_))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inside = self.limit.inside();
        match &self.holder {
            // Not in the map any more if it was closed for another connection.
            Holder::Unauthenticated(from, number) => {
                drop(inside.take_unauthenticated(*from, *number))
            }
            Holder::Known(certificate) => inside.known.give_back(certificate),
            Holder::Nobody => {}
        }
    }
}

/// The addresses that count as one, because one party usually has them all: an IPv4 address, or an IPv6
/// network of 64 bits (RFC 4291, section 2.5.4).
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

    fn enter(limit: &Arc<ConnectionLimit>, from: &str) -> (Permit, oneshot::Receiver<()>) {
        limit.enter(address(from)).unwrap_or_else(|| panic!("no permit for {from}"))
    }

    #[test]
    fn an_address_that_floods_closes_its_own_oldest() {
        let limit = ConnectionLimit::new(8);
        let (few_permit, mut few) = enter(&limit, "192.0.2.1");
        let mut many: Vec<_> = (0..7).map(|_| enter(&limit, "192.0.2.2")).collect();
        assert_eq!(limit.inside().taken(), 8);
        let others: Vec<_> = (3..6).map(|last| enter(&limit, &format!("192.0.2.{last}"))).collect();
        assert!(few.try_recv().is_err());
        let closed = many.iter_mut().map(|(_, closed)| closed.try_recv().is_ok());
        assert_eq!(closed.collect::<Vec<_>>(), [true, true, true, false, false, false, false]);
        assert_eq!(limit.inside().taken(), 8);
        drop((many, others, few_permit));
        assert!(limit.inside().taken() == 0 && limit.inside().unauthenticated.is_empty());
    }

    #[test]
    fn among_equals_the_oldest_goes_wherever_it_is_from() {
        let limit = ConnectionLimit::new(3);
        let mut held: Vec<_> =
            (1..=3).map(|last| enter(&limit, &format!("192.0.2.{last}"))).collect();
        let _next = enter(&limit, "192.0.2.4");
        let closed = held.iter_mut().map(|(_, closed)| closed.try_recv().is_ok());
        assert_eq!(closed.collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn an_authenticated_connection_stays_and_its_certificate_has_a_share() {
        let limit = ConnectionLimit::new(8);
        let mut held = Vec::new();
        loop {
            let (mut permit, _) = enter(&limit, "192.0.2.1");
            if !permit.authenticate([1; 32]) {
                break;
            }
            held.push(permit);
        }
        assert_eq!(held.len(), 6);
        // Strangers fill what is left, and are closed out; another certificate finds its permit.
        let unauthenticated: Vec<_> = (0..9).map(|_| enter(&limit, "192.0.2.1")).collect();
        assert_eq!(limit.inside().taken(), 8);
        let (mut other, _) = enter(&limit, "192.0.2.1");
        assert!(other.authenticate([2; 32]));
        let (mut third, _) = enter(&limit, "192.0.2.1");
        assert!(third.authenticate([3; 32]));
        assert!(limit.enter(address("192.0.2.9")).is_none());
        drop((held, other, third, unauthenticated));
        assert_eq!(limit.inside().taken(), 0);
    }

    #[test]
    fn a_permit_that_another_got_is_not_given_back() {
        let limit = ConnectionLimit::new(1);
        let (mut first, _) = enter(&limit, "192.0.2.1");
        let _second = enter(&limit, "192.0.2.2");
        assert!(!first.authenticate([1; 32]));
        assert_eq!(limit.inside().taken(), 1);
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
