//! A circuit breaker per key: quarantines a key that fails while other keys sign, so that one broken key does
//! not cost the others their signers. It is open while the key is in quarantine; probes (see
//! [`probes`](super::probes)) close it again. Also tracks keys that were never seen to sign.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::published::Quarantine;
use crate::hsm::{HsmError, KeyRef, TokenKey, jobs::whole_seconds, protocol::SignRequest};

/// Failures in a row, on signers that have just signed with another key, that quarantine a key.
const FAILURES_MAX: u32 = 2;
/// The same for crashes of signers, because a crash may have another cause.
const CRASHES_MAX: u32 = 3;
/// A key in quarantine is probed again after this part of the time since its first failure: soon after a
/// short outage, seldom during a long one.
const PAUSE_PART: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The same for a key whose probes each cost a signer.
const COSTLY_PAUSE_MIN: Duration = Duration::from_secs(1);
const COSTLY_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Pause between two probes that cost a signer, over all keys: this multiple of the time that the last one
/// took.
const COSTLY_SHARE: u32 = 4;
/// When the signatures of a key have not verified for this long, its objects are at fault, whatever it signed
/// before.
const BROKEN_AFTER: Duration = Duration::from_secs(30);
/// A key that signed within this time is probably sound, so several of these may be probed at a time.
const WELL_FOR: Duration = Duration::from_secs(60);
/// How many of those.
const PROBES_MAX: usize = 8;
/// Limit of keys with a breaker; further ones are not watched.
const KEYS_WATCHED_MAX: usize = 1_000;

/// Why a key is in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It was not seen to sign yet.
    Unseen,
    /// Signing with it returned an error.
    Fault,
    /// A signature made with it did not verify with its public half.
    WrongSignature,
    /// A signer ended while it signed with it.
    Crash,
    /// A signer froze while it signed with it.
    Hang,
}

impl Blame {
    /// Whether a probe may cost a signer.
    fn is_costly(self) -> bool {
        matches!(self, Self::Crash | Self::Hang)
    }

    fn failures_max(self) -> u32 {
        if self == Self::Crash { CRASHES_MAX } else { FAILURES_MAX }
    }

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

/// A caller that waits to know whether a key signs.
pub(super) type Waiter = oneshot::Sender<Result<(), HsmError>>;

/// The breaker of one key.
pub(super) struct KeyBreaker {
    pub(super) key: TokenKey,
    blame: Blame,
    failures: u32,
    since: Instant,
    /// Whether it must not be probed together with other such keys.
    alone: bool,
    stage: Stage,
    waiting: Vec<Waiter>,
    signed_before: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    /// For the time of the next probe.
    Waiting(Instant),
    /// On a signer, since that time. With `at_work` the signer has signed with the reference key and now
    /// signs with this one.
    Probing { signer: u64, since: Instant, at_work: bool },
}

impl KeyBreaker {
    /// Whether requests for it are refused until it has signed.
    pub(super) fn is_quarantined(&self) -> bool {
        self.failures >= self.blame.failures_max()
    }

    /// Whether it has not failed yet: no reference key has to sign first.
    pub(super) fn is_unseen(&self) -> bool {
        self.failures == 0
    }

    /// Whether the key's objects are at fault, and not the token.
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

    /// What callers are told about the key now.
    pub(super) fn quarantine(&self, now: Instant) -> Quarantine {
        Quarantine {
            until: self.next_probe().unwrap_or(now),
            broken: self.is_broken(now).then(|| self.blame.words().to_owned()),
        }
    }
}

/// The consequence of a failure.
pub(super) enum Verdict {
    /// The key is probed again.
    InQuestion,
    /// The key is in quarantine; `is_new` when it was not before.
    Quarantined { is_new: bool, waiting: Vec<Waiter> },
}

/// See the module.
#[derive(Default)]
pub(super) struct KeyBreakers {
    keys: HashMap<KeyRef, KeyBreaker>,
    /// When each key was last seen to sign, by SPKI hash.
    signed_at: HashMap<[u8; 32], Instant>,
    /// When the next probe that may cost a signer is allowed.
    costly_at: Option<Instant>,
}

impl KeyBreakers {
    /// Records that a key has signed. Whether the signature verifies is reported by the caller, if it does
    /// not.
    pub(super) fn signed(&mut self, spki_sha256: [u8; 32], now: Instant) {
        self.signed_at.insert(spki_sha256, now);
    }

    /// Removes keys that are not on the token any more, and tells their waiters. Returns what was removed.
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

    /// The breaker of a request's key, if the key has failed. A key that was only never seen to sign does not
    /// count.
    pub(super) fn of(&self, request: &SignRequest) -> Option<&KeyBreaker> {
        if self.keys.is_empty() {
            return None;
        }
        self.keys.get(&KeyRef::of(request)).filter(|breaker| breaker.failures > 0)
    }

    pub(super) fn get(&self, key: &KeyRef) -> Option<&KeyBreaker> {
        self.keys.get(key)
    }

    /// The keys in quarantine.
    pub(super) fn quarantined(&self) -> impl Iterator<Item = (&KeyRef, &KeyBreaker)> {
        self.keys.iter().filter(|(_, breaker)| breaker.is_quarantined())
    }

    /// Whether a key of this SPKI hash was seen to sign.
    pub(super) fn has_signed(&self, spki: &[u8; 32]) -> bool {
        self.signed_at.contains_key(spki)
    }

    /// Whether a key of this SPKI hash has failed and not signed since.
    pub(super) fn is_in_doubt(&self, spki: &[u8; 32]) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|(key, breaker)| key.spki_sha256 == *spki && breaker.failures > 0)
    }

    /// The SPKI hash of the key that signed last, without `others`.
    pub(super) fn latest(&self, others: &HashSet<[u8; 32]>) -> Option<[u8; 32]> {
        let known = self.signed_at.iter().filter(|(spki, _)| !others.contains(*spki));
        known.max_by_key(|(_, at)| **at).map(|(spki, _)| *spki)
    }

    /// The SPKI hashes of all keys in question. None of them can be the reference key of another.
    pub(super) fn spki_hashes(&self) -> impl Iterator<Item = [u8; 32]> {
        self.keys.keys().map(|key| key.spki_sha256)
    }

    /// Puts a key in question, because a signer was lost that was signing with it, perhaps among others, or
    /// because a signature did not verify. It is probed before any caller is served with it.
    pub(super) fn suspect(&mut self, key: TokenKey, blame: Blame, now: Instant) {
        let name = KeyRef::to(&key);
        if self.keys.len() >= KEYS_WATCHED_MAX && !self.keys.contains_key(&name) {
            return;
        }
        let signed_at = self.signed_at.get(&name.spki_sha256).copied();
        let signed_lately =
            signed_at.is_some_and(|at| now.saturating_duration_since(at) < WELL_FOR);
        match self.keys.entry(name) {
            // It has failed before: a probe is pending, or due.
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

    /// A caller wants to know whether a key signs.
    pub(super) fn prove(&mut self, key: TokenKey, waiting: Waiter, queue_max: usize, now: Instant) {
        let name = KeyRef::to(&key);
        if self.keys.len() >= KEYS_WATCHED_MAX && !self.keys.contains_key(&name) {
            let _ = waiting.send(Err(HsmError::BUSY));
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
            false => drop(waiting.send(Err(HsmError::BUSY))),
        }
    }

    /// The next key to be probed.
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

    /// When the next probe is due.
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

    /// A probe of the key was sent to a signer; see [`Stage::Probing`].
    pub(super) fn probing(&mut self, key: &KeyRef, signer: u64, at_work: bool, now: Instant) {
        if let Some(breaker) = self.keys.get_mut(key) {
            breaker.stage = Stage::Probing { signer, since: now, at_work };
        }
    }

    /// The probe was inconclusive: the next one is due at `until`.
    pub(super) fn put_off(&mut self, key: &KeyRef, until: Instant) {
        if let Some(breaker) = self.keys.get_mut(key) {
            breaker.stage = Stage::Waiting(until);
        }
    }

    /// Removes a key that has made a signature that verifies.
    pub(super) fn cleared(&mut self, key: &KeyRef, now: Instant) -> Option<KeyBreaker> {
        let breaker = self.keys.remove(key)?;
        self.signed_at.insert(key.spki_sha256, now);
        Some(breaker)
    }

    /// Tells the waiters of a key that was cleared.
    pub(super) fn settle(breaker: KeyBreaker) {
        for waiting in breaker.waiting {
            let _ = waiting.send(Ok(()));
        }
    }

    /// The key has failed on a signer that had just signed with the reference key.
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

    /// A signer was lost. Returns the key to blame, if it can be only one; other probes on that signer were
    /// inconclusive.
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

/// For `Retry-After`: whole seconds, at least 1.
pub(super) fn seconds_until(at: Instant, now: Instant) -> u64 {
    whole_seconds(at.saturating_duration_since(now))
}

#[cfg(test)]
mod tests;
