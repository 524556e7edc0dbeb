//! How many requests a client may send.

use std::num::NonZeroU32;

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};

use super::problem::Problem;

/// A bucket for each client; it refills evenly and holds a minute's requests.
pub(super) struct Rates {
    limiter: Option<RateLimiter<String, HashMapStateStore<String>, DefaultClock>>,
    clock: DefaultClock,
}

impl Rates {
    /// So many requests a minute for each client; 0: no limit.
    pub(super) fn per_minute(requests: u32) -> Self {
        let limiter = NonZeroU32::new(requests)
            .map(|requests| RateLimiter::hashmap(Quota::per_minute(requests)));
        Self { limiter, clock: DefaultClock::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 with the seconds after which there is room again.
    pub(super) fn count(&self, client: &str) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(&client.to_owned()).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            Problem::too_many(wait.as_secs() + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_sends_too_much_is_refused_and_the_others_are_not() {
        let rates = Rates::per_minute(3);
        for _ in 0..3 {
            assert!(rates.count("a").is_ok());
        }
        assert!(rates.count("a").is_err());
        assert!(rates.count("b").is_ok());
        assert!((0..1_000).all(|_| Rates::per_minute(0).count("a").is_ok()));
    }
}
