//! How many requests a caller may send.
//!
//! Each client has a bucket that refills evenly and holds a minute's requests. A certificate that
//! belongs to no client has one too. There may be any number of those certificates, so the number of
//! their buckets has a bound; beyond it they share one.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::problem::Problem;

/// Requests that an unknown certificate may send in a minute; each is refused anyway.
const STRANGER_REQUESTS_PER_MINUTE: u32 = 60;
/// Unknown certificates that have a bucket of their own at the same time.
const STRANGERS_MAX: usize = 1_024;
/// The time in which an empty bucket fills.
const FILLS_IN: Duration = Duration::from_secs(60);

/// The buckets of all clients and unknown certificates.
pub(super) struct Rates {
    /// `None`: no limit.
    clients: Option<Mutex<Buckets<Arc<str>>>>,
    strangers: Mutex<Buckets<[u8; 32]>>,
}

impl Rates {
    /// So many requests a minute for each client; 0: no limit.
    pub(super) fn per_minute(requests: u32) -> Self {
        // There are as many clients as the configuration has.
        let clients = (requests > 0).then(|| Mutex::new(Buckets::new(requests, usize::MAX)));
        let strangers = Buckets::new(STRANGER_REQUESTS_PER_MINUTE, STRANGERS_MAX);
        Self { clients, strangers: Mutex::new(strangers) }
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// 429 with the seconds after which there is room again.
    pub(super) fn count(&self, client: &Arc<str>) -> Result<(), Problem> {
        self.clients.as_ref().map_or(Ok(()), |buckets| take(buckets, Arc::clone(client)))
    }

    /// Counts a request of a certificate that belongs to no client.
    ///
    /// # Errors
    /// 429 with the seconds after which there is room again.
    pub(super) fn count_stranger(&self, certificate_sha256: [u8; 32]) -> Result<(), Problem> {
        take(&self.strangers, certificate_sha256)
    }
}

fn take<K: Eq + Hash>(buckets: &Mutex<Buckets<K>>, owner: K) -> Result<(), Problem> {
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    buckets
        .take(owner, Instant::now())
        .map_err(|wait| Problem::too_many(wait.as_secs().saturating_add(1)))
}

/// Buckets, each known by the time at which it will be full again (the generic cell rate algorithm,
/// ITU-T I.371). One that is full need not be kept.
struct Buckets<K> {
    /// The time by which one request delays the moment when the bucket is full.
    cost: Duration,
    max: usize,
    full_at: HashMap<K, Instant>,
    /// The bucket that all further owners share.
    rest_full_at: Option<Instant>,
    swept_at: Option<Instant>,
}

/// A full table is swept this often at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl<K: Eq + Hash> Buckets<K> {
    fn new(per_minute: u32, max: usize) -> Self {
        Self {
            cost: FILLS_IN / per_minute.max(1),
            max,
            full_at: HashMap::new(),
            rest_full_at: None,
            swept_at: None,
        }
    }

    /// Takes one request from the owner's bucket.
    ///
    /// # Errors
    /// The time after which there is one again.
    fn take(&mut self, owner: K, now: Instant) -> Result<(), Duration> {
        if self.full_at.len() >= self.max && !self.full_at.contains_key(&owner) {
            self.sweep(now);
        }
        let has_room = self.full_at.len() < self.max;
        let full_at = match self.full_at.get_mut(&owner) {
            Some(full_at) => full_at,
            None if has_room => self.full_at.entry(owner).or_insert(now),
            None => self.rest_full_at.get_or_insert(now),
        };
        let next = (*full_at).max(now) + self.cost;
        let over = (next - now).saturating_sub(FILLS_IN);
        if over.is_zero() {
            *full_at = next;
            return Ok(());
        }
        Err(over)
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_EVERY) {
            self.swept_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_sends_too_much_is_refused_and_the_others_are_not() {
        let rates = Rates::per_minute(3);
        let [a, b]: [Arc<str>; 2] = ["a".into(), "b".into()];
        for _ in 0..3 {
            assert!(rates.count(&a).is_ok());
        }
        assert!(rates.count(&a).is_err());
        assert!(rates.count(&b).is_ok());
        assert!((0..1_000).all(|_| Rates::per_minute(0).count(&a).is_ok()));
    }

    #[test]
    fn a_bucket_refills_evenly_and_holds_a_minute_of_requests() {
        let start = Instant::now();
        let mut buckets = Buckets::new(4, usize::MAX);
        for _ in 0..4 {
            assert_eq!(buckets.take("a", start), Ok(()));
        }
        assert_eq!(buckets.take("a", start), Err(Duration::from_secs(15)));
        let later = start + Duration::from_secs(15);
        assert_eq!(buckets.take("a", later), Ok(()));
        assert_eq!(buckets.take("a", later), Err(Duration::from_secs(15)));
        let much_later = start + Duration::from_secs(3_600);
        assert!((0..4).all(|_| buckets.take("a", much_later).is_ok()));
        assert!(buckets.take("a", much_later).is_err());
    }

    #[test]
    fn any_number_of_certificates_holds_a_bounded_number_of_buckets_and_gets_a_bounded_rate() {
        let start = Instant::now();
        let mut buckets = Buckets::new(60, 100);
        let taken = (0..10_000).filter(|owner| buckets.take(*owner, start).is_ok()).count();
        assert_eq!((taken, buckets.full_at.len()), (100 + 60, 100));
        // Those that were there first have theirs all the same.
        assert_eq!((0..59).filter(|_| buckets.take(7, start).is_ok()).count(), 59);
        assert!(buckets.take(7, start).is_err());
        // Buckets that are full again make room.
        let later = start + Duration::from_secs(30);
        assert!(buckets.take(20_000, later).is_ok());
        assert_eq!(buckets.full_at.len(), 2);
    }
}
