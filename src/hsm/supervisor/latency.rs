//! Watchdog with an adaptive timeout: tracks how fast the token signs, and tells from that when a signer
//! counts as frozen. A device that is slow and well must not be killed because requests queue up behind its
//! work.
//!
//! A signer with a pending signature is frozen when
//! * none of the token's signers has answered a signature within the patience, or
//! * the signature is pending for longer than the patience while others are answered, and for longer than
//!   their rate explains: one of its sessions hangs, or the whole process does.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::domain::key::SignatureAlgorithm;

/// How many times longer a signature may take than the rate of the others predicts.
const OVERTAKEN_TIMES: u32 = 3;
/// Smoothing factor of the moving averages: a new value counts for one part in this many.
const MEMORY: u32 = 8;
/// An interval this many times the mean means that the load or the device has changed, so the mean starts
/// anew.
const OUT_OF_PROPORTION: u32 = 16;
/// A signature may take longer than predicted by one part in this many.
const MARGIN: u32 = 8;
/// From this time for a signature on all sessions of a signer together, signatures are slow: handing out the
/// next ones in advance gains nothing.
const SLOW_FROM: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Default)]
pub(super) struct Latency {
    /// When a signature was last answered, by success or failure.
    answered_at: Option<Instant>,
    /// Time between two answers while signatures are pending: rises at once, falls slowly.
    interval: Option<Duration>,
    /// Moving average of the same.
    mean: Duration,
    /// By algorithm, because some take far longer than others.
    times: HashMap<SignatureAlgorithm, Times>,
}

/// Time from the request to the answer.
struct Times {
    /// Falls at once, rises slowly.
    least: Duration,
    /// Rises at once, falls slowly.
    most: Duration,
}

impl Times {
    fn record(&mut self, took: Duration) {
        self.least = match took.checked_sub(self.least) {
            Some(more) => self.least + more / MEMORY,
            None => took,
        };
        self.most = match self.most.checked_sub(took) {
            Some(less) => self.most - less / MEMORY,
            None => took,
        };
    }
}

impl Latency {
    /// Records the answer to a signature that was requested at `given_at`.
    pub(super) fn answered(
        &mut self,
        algorithm: SignatureAlgorithm,
        given_at: Instant,
        now: Instant,
    ) {
        let took = now.saturating_duration_since(given_at);
        let since = self.answered_at.replace(now).map_or(given_at, |before| before.max(given_at));
        let interval = now.saturating_duration_since(since);
        self.mean = match interval > self.mean * OUT_OF_PROPORTION {
            true => interval / 2,
            false => self.mean - self.mean / MEMORY + interval / MEMORY,
        };
        self.interval = Some(match self.interval {
            Some(before) if before > interval => before - (before - interval) / MEMORY,
            Some(_) | None => interval,
        });
        let times = self.times.entry(algorithm).or_insert(Times { least: took, most: took });
        times.record(took);
    }

    /// Records the answer to a canary or probe. Their times are not counted, because their keys may be faster
    /// than those of callers.
    pub(super) fn alive(&mut self, now: Instant) {
        self.answered_at = Some(now);
    }

    /// When a signer counts as frozen whose oldest signature is pending since `given_at`. `pending` counts the
    /// signatures that are pending at all signers.
    pub(super) fn frozen_at(
        &self,
        given_at: Instant,
        patience: Duration,
        pending: usize,
    ) -> Instant {
        let silent = self.silent_since(given_at) + patience;
        silent.min(self.overtaken_at(given_at, patience, pending))
    }

    /// Whether a signer is so late that it should get nothing more. When an HSM hangs, its signers freeze
    /// shortly after each other, and what was taken back from the first must not be lost again with the
    /// second.
    pub(super) fn is_suspiciously_slow(
        &self,
        given_at: Instant,
        patience: Duration,
        pending: usize,
        now: Instant,
    ) -> bool {
        let usual = self.times.values().map(|times| times.least).max().unwrap_or_default();
        let silent = self.silent_since(given_at) + (patience / 2).max(2 * usual);
        silent.min(self.overtaken_at(given_at, patience, pending) - patience / 2) <= now
    }

    /// How long a signature is expected to take from the request on, with a margin, because one that is late
    /// by a moment is wasted. At most `most`, because times measured under one load do not hold for another.
    pub(super) fn expected_time(&self, algorithm: SignatureAlgorithm, most: Duration) -> Duration {
        let expected = self.times.get(&algorithm).map_or(Duration::ZERO, |times| times.most);
        (expected + expected / MARGIN).min(most)
    }

    /// Whether one more signature than `pending` would be ready within `time`, by the mean interval. A device
    /// that serialises its work is not faster for having more of it.
    pub(super) fn has_room(&self, pending: usize, time: Duration) -> bool {
        pending == 0 || times(self.mean, pending + 1) <= time
    }

    /// Whether a signer gets no more requests at a time than it has sessions.
    pub(super) fn is_slow(&self, sessions: usize) -> bool {
        self.interval.is_none_or(|interval| times(interval, sessions) >= SLOW_FROM)
    }

    fn overtaken_at(&self, given_at: Instant, patience: Duration, pending: usize) -> Instant {
        let expected = times(self.interval.unwrap_or_default(), pending);
        given_at + patience.max(expected * OVERTAKEN_TIMES)
    }

    fn silent_since(&self, given_at: Instant) -> Instant {
        self.answered_at.map_or(given_at, |answered_at| answered_at.max(given_at))
    }
}

fn times(time: Duration, count: usize) -> Duration {
    time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaSha256;
    const PATIENCE: Duration = Duration::from_millis(2_500);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The latency of a device with this many sessions, all busy since `begin`; and when the oldest request
    /// was given and the last answer came.
    fn of_device(
        one: Duration,
        sessions: u32,
        in_turn: bool,
        begin: Instant,
    ) -> (Latency, Instant, Instant) {
        let mut latency = Latency::default();
        let (mut now, mut given) = (begin, vec![begin; sessions as usize]);
        for _ in 0..20 {
            let at_once = if in_turn { 1 } else { given.len() };
            now += one;
            for _ in 0..at_once {
                let first = given.remove(0);
                assert!(
                    latency.frozen_at(first, PATIENCE, given.len() + 1) > now,
                    "{one:?}, {sessions}, {in_turn}: a signer that is well is taken for frozen"
                );
                latency.answered(ALGORITHM, first, now);
                given.push(now);
            }
        }
        (latency, given[0], now)
    }

    #[test]
    fn a_device_that_is_slow_and_well_is_never_frozen() {
        let begin = Instant::now();
        for (one, sessions, in_turn) in [
            (ms(1_500), 2, false),
            (ms(2_400), 32, false),
            (ms(850), 2, true),
            (ms(400), 8, true),
            (ms(400), 32, true),
            (ms(1_000), 16, true),
            (ms(1), 2, true),
        ] {
            let (latency, ..) = of_device(one, sessions, in_turn, begin);
            assert_eq!(latency.is_slow(sessions as usize), one > ms(1));
            let room = (0..).take_while(|pending| latency.has_room(*pending, PATIENCE)).count();
            let fits = if in_turn { PATIENCE.as_millis() / one.as_millis() } else { 2_u128 };
            assert!(room as u128 >= fits.min(sessions.into()), "{one:?}, {sessions}: {room}");
            assert!(!in_turn || room as u128 <= 2 * fits, "{one:?}, {sessions}: {room}");
        }
    }

    #[test]
    fn one_that_answers_nothing_is_frozen_after_the_patience_however_slow_it_was() {
        let begin = Instant::now();
        for (one, sessions, in_turn) in
            [(ms(1), 2, true), (ms(400), 8, true), (ms(1_500), 2, false)]
        {
            let (latency, given, now) = of_device(one, sessions, in_turn, begin);
            let frozen = latency.frozen_at(given, PATIENCE, sessions as usize);
            assert!(frozen <= now + PATIENCE, "{one:?}");
        }
        let idle = Latency::default();
        assert_eq!(idle.frozen_at(begin, PATIENCE, 1), begin + PATIENCE);
    }

    #[test]
    fn a_session_that_hangs_beside_others_that_sign_is_found_out() {
        let begin = Instant::now();
        for (one, within) in [(ms(1), PATIENCE), (ms(300), PATIENCE), (ms(1_500), 4 * PATIENCE)] {
            let mut latency = Latency::default();
            let mut now = begin;
            let stuck = begin;
            while latency.frozen_at(stuck, PATIENCE, 2) > now {
                let given = now;
                now += one;
                latency.answered(ALGORITHM, given, now);
                assert!(now <= begin + within + one, "{one:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_had_in_time_is_told_by_the_slowest_of_late() {
        let begin = Instant::now();
        let mut latency = Latency::default();
        assert_eq!(latency.expected_time(ALGORITHM, PATIENCE), Duration::ZERO);
        for (took, expected) in [(800, 900), (1_600, 1_800), (800, 1_687), (800, 1_589)] {
            latency.answered(ALGORITHM, begin, begin + ms(took));
            assert_eq!(latency.expected_time(ALGORITHM, PATIENCE).as_millis(), expected, "{took}");
        }
        let other = SignatureAlgorithm::RsaSha512;
        assert_eq!(latency.expected_time(other, PATIENCE), Duration::ZERO);
        latency.answered(other, begin, begin + ms(9_000));
        assert_eq!(latency.expected_time(other, PATIENCE), PATIENCE);
    }
}
