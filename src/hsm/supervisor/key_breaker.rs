//! Keys that are in question: signers were lost over them, or what they signed does not verify, or
//! nobody has seen them sign. A fault that follows the key ends at the key: a key that fails while
//! others sign is quarantined, and costs nobody else a signer.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::published::Quarantine;
use crate::hsm::{HsmError, KeyRef, TokenKey, jobs::whole_seconds, protocol::SignRequest};

/// Failures in a row, on signers that have just signed with another key, that put a key in quarantine.
const FAILURES_MAX: u32 = 2;
/// The same where a signer has crashed: that may come from outside.
const CRASHES_MAX: u32 = 3;
/// Before a key in quarantine is tried again: this part of the time since its first failure, so that it is
/// back soon after a short outage and seldom asked for a long one.
const PAUSE_PART: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The same of a key of which each try costs a signer.
const COSTLY_PAUSE_MIN: Duration = Duration::from_secs(1);
const COSTLY_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Between two tries that cost a signer each, whatever the key: so many times what the last one took.
const COSTLY_SHARE: u32 = 4;
/// A key whose signatures do not verify for this long is not what its public object says, whatever it did
/// before.
const BROKEN_AFTER: Duration = Duration::from_secs(30);
/// Keys that signed so shortly ago are probably well; they need not be tried one at a time.
const WELL_FOR: Duration = Duration::from_secs(60);
/// Of those, so many are tried at a time.
const PROBES_MAX: usize = 8;
/// Keys that are in question at a time; further ones are not watched.
const KEYS_WATCHED_MAX: usize = 1_000;

/// What a key is blamed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nothing: it was not seen to sign yet.
    Unseen,
    /// The module returns an error.
    Fault,
    /// Its signature does not verify with its public half.
    WrongSignature,
    /// A signer ended over it.
    Crash,
    /// A signer froze over it.
    Hang,
}

impl Blame {
    /// Whether a try costs a signer.
    fn is_costly(self) -> bool {
        matches!(self, Self::Crash | Self::Hang)
    }

    fn failures_max(self) -> u32 {
        if self == Self::Crash { CRASHES_MAX } else { FAILURES_MAX }
    }

    /// For the log.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Unseen => "it was not seen to sign yet",
            Self::Fault => "signing with it fails",
            Self::WrongSignature => "its signatures do not verify with its public object",
            Self::Crash => "signers end over it",
            Self::Hang => "signers freeze over it",
        }
    }
}

/// Who wants to know whether a key signs.
pub(super) type Waiter = oneshot::Sender<Result<(), HsmError>>;

/// One key in question.
pub(super) struct KeyBreaker {
    pub(super) key: TokenKey,
    blame: Blame,
    failures: u32,
    since: Instant,
    /// Whether it is to be tried while no other such key is.
    alone: bool,
    stage: Stage,
    waiting: Vec<Waiter>,
    signed_before: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    /// It is not tried before that.
    Waiting(Instant),
    /// On a signer, since then; which has signed with another key when `at_work`.
    Probing { signer: u64, since: Instant, at_work: bool },
}

impl KeyBreaker {
    /// Whether it is refused until it has signed.
    pub(super) fn is_quarantined(&self) -> bool {
        self.failures >= self.blame.failures_max()
    }

    /// Whether nothing speaks against it yet: no other key need sign before.
    pub(super) fn is_unseen(&self) -> bool {
        self.failures == 0
    }

    /// Whether its objects are at fault, and not the token.
    fn is_broken(&self, now: Instant) -> bool {
        let lasts = now.saturating_duration_since(self.since) >= BROKEN_AFTER;
        self.blame == Blame::WrongSignature && (lasts || !self.signed_before)
    }

    fn next_probe(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting(until) => Some(until),
            Stage::Probing { .. } => None,
        }
    }

    fn pause(&self, now: Instant) -> Duration {
        let part = now.saturating_duration_since(self.since) / PAUSE_PART;
        match self.blame.is_costly() {
            false => part.clamp(PAUSE_MIN, PAUSE_MAX),
            true => part.clamp(COSTLY_PAUSE_MIN, COSTLY_PAUSE_MAX),
        }
    }

    /// What callers are told of it now.
    pub(super) fn quarantine(&self, now: Instant) -> Quarantine {
        Quarantine {
            until: self.next_probe().unwrap_or(now),
            broken: self.is_broken(now).then(|| self.blame.words().to_owned()),
        }
    }
}

/// What becomes of a key that has failed once more.
pub(super) enum Verdict {
    /// It is tried again.
    InQuestion,
    /// It is in quarantine, since just now or since before.
    Quarantined { is_new: bool, waiting: Vec<Waiter> },
}

/// See the module.
#[derive(Default)]
pub(super) struct KeyBreakers {
    keys: HashMap<KeyRef, KeyBreaker>,
    /// When each key was last seen to sign, by SPKI hash.
    signed_at: HashMap<[u8; 32], Instant>,
    /// No try that may cost a signer is begun before.
    costly_at: Option<Instant>,
}

impl KeyBreakers {
    /// A key has signed for a caller. Whether that verifies, the caller tells.
    pub(super) fn signed(&mut self, spki_sha256: [u8; 32], now: Instant) {
        self.signed_at.insert(spki_sha256, now);
    }

    /// Forgets keys that are not there any more; who waits for one is told so.
    pub(super) fn retain(&mut self, is_there: impl Fn(&KeyRef) -> bool) -> Vec<KeyRef> {
        let spkis: Vec<_> = self.keys.keys().map(|key| key.spki_sha256).collect();
        let gone: Vec<_> = self.keys.extract_if(|key, _| !is_there(key)).collect();
        if self.signed_at.len() > 2 * KEYS_WATCHED_MAX {
            self.signed_at.retain(|spki, at| spkis.contains(spki) || at.elapsed() < WELL_FOR);
        }
        gone.into_iter()
            .map(|(key, breaker)| {
                for waiting in breaker.waiting {
                    let _ = waiting.send(Err(HsmError::Missing));
                }
                key
            })
            .collect()
    }

    /// The key of an order, when it is in question. One that was only never seen to sign is not.
    pub(super) fn of(&self, request: &SignRequest) -> Option<&KeyBreaker> {
        if self.keys.is_empty() {
            return None;
        }
        self.keys.get(&KeyRef::of(request)).filter(|breaker| breaker.failures > 0)
    }

    pub(super) fn get(&self, key: &KeyRef) -> Option<&KeyBreaker> {
        self.keys.get(key)
    }

    /// Those in quarantine.
    pub(super) fn quarantined(&self) -> impl Iterator<Item = (&KeyRef, &KeyBreaker)> {
        self.keys.iter().filter(|(_, breaker)| breaker.is_quarantined())
    }

    /// Whether a key of this SPKI hash was seen to sign.
    pub(super) fn has_signed(&self, spki: &[u8; 32]) -> bool {
        self.signed_at.contains_key(spki)
    }

    /// Whether a key of this SPKI hash has failed.
    pub(super) fn is_in_doubt(&self, spki: &[u8; 32]) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|(key, breaker)| key.spki_sha256 == *spki && breaker.failures > 0)
    }

    /// The key that was seen to sign last, but for `others`; its SPKI hash.
    pub(super) fn latest(&self, others: &HashSet<[u8; 32]>) -> Option<[u8; 32]> {
        let known = self.signed_at.iter().filter(|(spki, _)| !others.contains(*spki));
        known.max_by_key(|(_, at)| **at).map(|(spki, _)| *spki)
    }

    /// The SPKI hashes of all, which no other is to be compared with.
    pub(super) fn spki_hashes(&self) -> impl Iterator<Item = [u8; 32]> {
        self.keys.keys().map(|key| key.spki_sha256)
    }

    /// A signer was lost over a key, or over this one among others; or a caller has a signature that does
    /// not verify. It is tried before anybody is served with it.
    pub(super) fn suspect(&mut self, key: TokenKey, blame: Blame, now: Instant) {
        let name = KeyRef::to(&key);
        if self.keys.len() >= KEYS_WATCHED_MAX && !self.keys.contains_key(&name) {
            return;
        }
        let signed_at = self.signed_at.get(&name.spki_sha256).copied();
        let signed_lately =
            signed_at.is_some_and(|at| now.saturating_duration_since(at) < WELL_FOR);
        match self.keys.entry(name) {
            // Blamed before: a try is under way, or due.
            Entry::Occupied(breaker) if breaker.get().failures > 0 => {}
            Entry::Occupied(mut unseen) => {
                let breaker = unseen.get_mut();
                (breaker.blame, breaker.failures, breaker.since) = (blame, 1, now);
            }
            Entry::Vacant(place) => {
                place.insert(KeyBreaker {
                    key,
                    blame,
                    failures: 1,
                    since: now,
                    alone: !signed_lately,
                    stage: Stage::Waiting(now),
                    waiting: Vec::new(),
                    signed_before: signed_at.is_some(),
                });
            }
        }
    }

    /// Somebody wants a key to be seen to sign.
    pub(super) fn prove(&mut self, key: TokenKey, waiting: Waiter, queue_max: usize, now: Instant) {
        let name = KeyRef::to(&key);
        if self.keys.len() >= KEYS_WATCHED_MAX && !self.keys.contains_key(&name) {
            let _ = waiting.send(Err(HsmError::Busy { retry_after_seconds: 1 }));
            return;
        }
        let breaker = self.keys.entry(name).or_insert_with(|| KeyBreaker {
            key,
            blame: Blame::Unseen,
            failures: 0,
            since: now,
            alone: false,
            stage: Stage::Waiting(now),
            waiting: Vec::new(),
            signed_before: false,
        });
        if breaker.is_quarantined() {
            let _ = waiting.send(Err(breaker.quarantine(now).refusal(now)));
            return;
        }
        breaker.waiting.retain(|waiting| !waiting.is_closed());
        match breaker.waiting.len() < queue_max {
            true => breaker.waiting.push(waiting),
            false => drop(waiting.send(Err(HsmError::Busy { retry_after_seconds: 1 }))),
        }
    }

    /// The next key to be tried.
    pub(super) fn due(&self, now: Instant) -> Option<&KeyRef> {
        let tried = |alone: bool| {
            let tried = |breaker: &&KeyBreaker| matches!(breaker.stage, Stage::Probing { .. });
            self.keys.values().filter(|breaker| breaker.alone == alone).filter(tried).count()
        };
        let (one_alone, others) = (tried(true) > 0, tried(false));
        self.keys
            .iter()
            .filter(|(_, breaker)| self.next_probe_of(breaker).is_some_and(|at| at <= now))
            .filter(|(_, breaker)| if breaker.alone { !one_alone } else { others < PROBES_MAX })
            .min_by_key(|(key, breaker)| {
                let signed = self.signed_at.get(&key.spki_sha256).copied();
                (breaker.is_quarantined(), breaker.blame.is_costly(), std::cmp::Reverse(signed))
            })
            .map(|(key, _)| key)
    }

    /// When a key has to be looked at that does not wait for others.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        self.keys
            .values()
            .filter_map(|breaker| self.next_probe_of(breaker))
            .filter(|at| *at > now)
            .min()
    }

    fn next_probe_of(&self, breaker: &KeyBreaker) -> Option<Instant> {
        let at = breaker.next_probe()?;
        let is_costly = breaker.is_quarantined() && breaker.blame.is_costly();
        Some(self.costly_at.filter(|_| is_costly).map_or(at, |costly_at| costly_at.max(at)))
    }

    /// A key is tried on a signer; `at_work`: the signer has signed with another key, and now with this.
    pub(super) fn probing(&mut self, key: &KeyRef, signer: u64, at_work: bool, now: Instant) {
        if let Some(breaker) = self.keys.get_mut(key) {
            breaker.stage = Stage::Probing { signer, since: now, at_work };
        }
    }

    /// The try has told nothing of the key.
    pub(super) fn put_off(&mut self, key: &KeyRef, until: Instant) {
        if let Some(breaker) = self.keys.get_mut(key) {
            breaker.stage = Stage::Waiting(until);
        }
    }

    /// The key has signed, and it verifies.
    pub(super) fn cleared(&mut self, key: &KeyRef, now: Instant) -> Option<KeyBreaker> {
        let breaker = self.keys.remove(key)?;
        self.signed_at.insert(key.spki_sha256, now);
        Some(breaker)
    }

    /// What is left to tell those who wait for a key that was cleared.
    pub(super) fn settle(breaker: KeyBreaker) {
        for waiting in breaker.waiting {
            let _ = waiting.send(Ok(()));
        }
    }

    /// The key has failed on a signer that had just signed with another.
    pub(super) fn failed(&mut self, key: &KeyRef, blame: Blame, now: Instant) -> Verdict {
        let Some(breaker) = self.keys.get_mut(key) else { return Verdict::InQuestion };
        let was_quarantined = breaker.is_quarantined();
        if let Stage::Probing { since, .. } = breaker.stage
            && blame.is_costly()
        {
            let took = now.saturating_duration_since(since);
            self.costly_at = Some(now + (took * COSTLY_SHARE).max(COSTLY_PAUSE_MIN));
        }
        if breaker.failures == 0 {
            breaker.since = now;
        }
        breaker.blame = blame;
        breaker.failures = breaker.failures.saturating_add(1);
        if !breaker.is_quarantined() {
            breaker.stage = Stage::Waiting(now);
            return Verdict::InQuestion;
        }
        breaker.alone = true;
        breaker.stage = Stage::Waiting(now + breaker.pause(now));
        let waiting = std::mem::take(&mut breaker.waiting);
        Verdict::Quarantined { is_new: !was_quarantined, waiting }
    }

    /// A signer is gone. The key that it was at when it can be no other; the tries that were under way on
    /// it have told nothing of the others.
    pub(super) fn lost(&mut self, signer: u64, now: Instant) -> Option<KeyRef> {
        let mut at_work = Vec::new();
        for (key, breaker) in &mut self.keys {
            let Stage::Probing { signer: on, at_work: is_at_work, .. } = breaker.stage else {
                continue;
            };
            if on != signer {
                continue;
            }
            match is_at_work {
                true => at_work.push((key.clone(), breaker.alone)),
                false => breaker.stage = Stage::Waiting(now),
            }
        }
        let guilty = match at_work.iter().position(|(_, alone)| *alone) {
            Some(at) => Some(at_work.swap_remove(at).0),
            None if at_work.len() == 1 => at_work.pop().map(|(key, _)| key),
            None => None,
        };
        for (key, _) in at_work {
            if let Some(breaker) = self.keys.get_mut(&key) {
                breaker.stage = Stage::Waiting(now);
                breaker.alone |= guilty.is_none();
            }
        }
        guilty
    }
}

/// For `Retry-After`, at least 1.
pub(super) fn seconds_until(at: Instant, now: Instant) -> u64 {
    whole_seconds(at.saturating_duration_since(now))
}

#[cfg(test)]
mod tests;
