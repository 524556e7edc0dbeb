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
const TRIALS_MAX: usize = 8;
/// Keys that are in question at a time; further ones are not watched.
const DOUBTS_MAX: usize = 1_000;

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
pub(super) type Waiting = oneshot::Sender<Result<(), HsmError>>;

/// One key in question.
pub(super) struct Doubt {
    pub(super) key: TokenKey,
    blame: Blame,
    failures: u32,
    since: Instant,
    /// Whether it is to be tried while no other such key is.
    alone: bool,
    stage: Stage,
    waiting: Vec<Waiting>,
    signed_before: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    /// It is not tried before that.
    Waits(Instant),
    /// On a signer, since then; which has signed with another key when `at_work`.
    Tried { signer: u64, since: Instant, at_work: bool },
}

impl Doubt {
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

    fn next_try(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waits(until) => Some(until),
            Stage::Tried { .. } => None,
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
            until: self.next_try().unwrap_or(now),
            broken: self.is_broken(now).then(|| self.blame.words().to_owned()),
        }
    }
}

/// What becomes of a key that has failed once more.
pub(super) enum Verdict {
    /// It is tried again.
    InQuestion,
    /// It is in quarantine, since just now or since before.
    Quarantined { is_new: bool, waiting: Vec<Waiting> },
}

/// See the module.
#[derive(Default)]
pub(super) struct Doubts {
    keys: HashMap<KeyRef, Doubt>,
    /// When each key was last seen to sign, by SPKI hash.
    signed_at: HashMap<[u8; 32], Instant>,
    /// No try that may cost a signer is begun before.
    costly_at: Option<Instant>,
}

impl Doubts {
    /// A key has signed for a caller. Whether that verifies, the caller tells.
    pub(super) fn signed(&mut self, spki_sha256: [u8; 32], now: Instant) {
        self.signed_at.insert(spki_sha256, now);
    }

    /// Forgets keys that are not there any more; who waits for one is told so.
    pub(super) fn retain(&mut self, is_there: impl Fn(&KeyRef) -> bool) -> Vec<KeyRef> {
        let spkis: Vec<_> = self.keys.keys().map(|key| key.spki_sha256).collect();
        let gone: Vec<_> = self.keys.extract_if(|key, _| !is_there(key)).collect();
        if self.signed_at.len() > 2 * DOUBTS_MAX {
            self.signed_at.retain(|spki, at| spkis.contains(spki) || at.elapsed() < WELL_FOR);
        }
        gone.into_iter()
            .map(|(key, doubt)| {
                for waiting in doubt.waiting {
                    let _ = waiting.send(Err(HsmError::Missing));
                }
                key
            })
            .collect()
    }

    /// The key of an order, when it is in question. One that was only never seen to sign is not.
    pub(super) fn of(&self, request: &SignRequest) -> Option<&Doubt> {
        if self.keys.is_empty() {
            return None;
        }
        self.keys.get(&KeyRef::of(request)).filter(|doubt| doubt.failures > 0)
    }

    pub(super) fn get(&self, key: &KeyRef) -> Option<&Doubt> {
        self.keys.get(key)
    }

    /// Those in quarantine.
    pub(super) fn quarantined(&self) -> impl Iterator<Item = (&KeyRef, &Doubt)> {
        self.keys.iter().filter(|(_, doubt)| doubt.is_quarantined())
    }

    /// Whether a key of this SPKI hash was seen to sign.
    pub(super) fn has_signed(&self, spki: &[u8; 32]) -> bool {
        self.signed_at.contains_key(spki)
    }

    /// Whether a key of this SPKI hash has failed.
    pub(super) fn is_in_doubt(&self, spki: &[u8; 32]) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|(key, doubt)| key.spki_sha256 == *spki && doubt.failures > 0)
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
    pub(super) fn begin(&mut self, key: TokenKey, blame: Blame, now: Instant) {
        let name = KeyRef::to(&key);
        if self.keys.len() >= DOUBTS_MAX && !self.keys.contains_key(&name) {
            return;
        }
        let signed_at = self.signed_at.get(&name.spki_sha256).copied();
        let is_well = signed_at.is_some_and(|at| now.saturating_duration_since(at) < WELL_FOR);
        match self.keys.entry(name) {
            // Blamed before: a try is under way, or due.
            Entry::Occupied(doubt) if doubt.get().failures > 0 => {}
            Entry::Occupied(mut unseen) => {
                let doubt = unseen.get_mut();
                (doubt.blame, doubt.failures, doubt.since) = (blame, 1, now);
            }
            Entry::Vacant(place) => {
                place.insert(Doubt {
                    key,
                    blame,
                    failures: 1,
                    since: now,
                    alone: !is_well,
                    stage: Stage::Waits(now),
                    waiting: Vec::new(),
                    signed_before: signed_at.is_some(),
                });
            }
        }
    }

    /// Somebody wants a key to be seen to sign.
    pub(super) fn prove(
        &mut self,
        key: TokenKey,
        waiting: Waiting,
        queue_max: usize,
        now: Instant,
    ) {
        let name = KeyRef::to(&key);
        if self.keys.len() >= DOUBTS_MAX && !self.keys.contains_key(&name) {
            let _ = waiting.send(Err(HsmError::Busy { retry_after_seconds: 1 }));
            return;
        }
        let doubt = self.keys.entry(name).or_insert_with(|| Doubt {
            key,
            blame: Blame::Unseen,
            failures: 0,
            since: now,
            alone: false,
            stage: Stage::Waits(now),
            waiting: Vec::new(),
            signed_before: false,
        });
        if doubt.is_quarantined() {
            let _ = waiting.send(Err(doubt.quarantine(now).refusal(now)));
            return;
        }
        doubt.waiting.retain(|waiting| !waiting.is_closed());
        match doubt.waiting.len() < queue_max {
            true => doubt.waiting.push(waiting),
            false => drop(waiting.send(Err(HsmError::Busy { retry_after_seconds: 1 }))),
        }
    }

    /// The next key to be tried.
    pub(super) fn due(&self, now: Instant) -> Option<&KeyRef> {
        let tried = |alone: bool| {
            let tried = |doubt: &&Doubt| matches!(doubt.stage, Stage::Tried { .. });
            self.keys.values().filter(|doubt| doubt.alone == alone).filter(tried).count()
        };
        let (one_alone, others) = (tried(true) > 0, tried(false));
        self.keys
            .iter()
            .filter(|(_, doubt)| self.next_try_of(doubt).is_some_and(|at| at <= now))
            .filter(|(_, doubt)| if doubt.alone { !one_alone } else { others < TRIALS_MAX })
            .min_by_key(|(key, doubt)| {
                let signed = self.signed_at.get(&key.spki_sha256).copied();
                (doubt.is_quarantined(), doubt.blame.is_costly(), std::cmp::Reverse(signed))
            })
            .map(|(key, _)| key)
    }

    /// When a key has to be looked at that does not wait for others.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        self.keys.values().filter_map(|doubt| self.next_try_of(doubt)).filter(|at| *at > now).min()
    }

    fn next_try_of(&self, doubt: &Doubt) -> Option<Instant> {
        let at = doubt.next_try()?;
        let is_costly = doubt.is_quarantined() && doubt.blame.is_costly();
        Some(self.costly_at.filter(|_| is_costly).map_or(at, |costly_at| costly_at.max(at)))
    }

    /// A key is tried on a signer; `at_work`: the signer has signed with another key, and now with this.
    pub(super) fn tried(&mut self, key: &KeyRef, signer: u64, at_work: bool, now: Instant) {
        if let Some(doubt) = self.keys.get_mut(key) {
            doubt.stage = Stage::Tried { signer, since: now, at_work };
        }
    }

    /// The try has told nothing of the key.
    pub(super) fn put_off(&mut self, key: &KeyRef, until: Instant) {
        if let Some(doubt) = self.keys.get_mut(key) {
            doubt.stage = Stage::Waits(until);
        }
    }

    /// The key has signed, and it verifies.
    pub(super) fn cleared(&mut self, key: &KeyRef, now: Instant) -> Option<Doubt> {
        let doubt = self.keys.remove(key)?;
        self.signed_at.insert(key.spki_sha256, now);
        Some(doubt)
    }

    /// What is left to tell those who wait for a key that was cleared.
    pub(super) fn settle(doubt: Doubt) {
        for waiting in doubt.waiting {
            let _ = waiting.send(Ok(()));
        }
    }

    /// The key has failed on a signer that had just signed with another.
    pub(super) fn failed(&mut self, key: &KeyRef, blame: Blame, now: Instant) -> Verdict {
        let Some(doubt) = self.keys.get_mut(key) else { return Verdict::InQuestion };
        let was_quarantined = doubt.is_quarantined();
        if let Stage::Tried { since, .. } = doubt.stage
            && blame.is_costly()
        {
            let took = now.saturating_duration_since(since);
            self.costly_at = Some(now + (took * COSTLY_SHARE).max(COSTLY_PAUSE_MIN));
        }
        if doubt.failures == 0 {
            doubt.since = now;
        }
        doubt.blame = blame;
        doubt.failures = doubt.failures.saturating_add(1);
        if !doubt.is_quarantined() {
            doubt.stage = Stage::Waits(now);
            return Verdict::InQuestion;
        }
        doubt.alone = true;
        doubt.stage = Stage::Waits(now + doubt.pause(now));
        let waiting = std::mem::take(&mut doubt.waiting);
        Verdict::Quarantined { is_new: !was_quarantined, waiting }
    }

    /// A signer is gone. The key that it was at when it can be no other; the tries that were under way on
    /// it have told nothing of the others.
    pub(super) fn lost(&mut self, signer: u64, now: Instant) -> Option<KeyRef> {
        let mut at_work = Vec::new();
        for (key, doubt) in &mut self.keys {
            let Stage::Tried { signer: on, at_work: is_at_work, .. } = doubt.stage else {
                continue;
            };
            if on != signer {
                continue;
            }
            match is_at_work {
                true => at_work.push((key.clone(), doubt.alone)),
                false => doubt.stage = Stage::Waits(now),
            }
        }
        let guilty = match at_work.iter().position(|(_, alone)| *alone) {
            Some(at) => Some(at_work.swap_remove(at).0),
            None if at_work.len() == 1 => at_work.pop().map(|(key, _)| key),
            None => None,
        };
        for (key, _) in at_work {
            if let Some(doubt) = self.keys.get_mut(&key) {
                doubt.stage = Stage::Waits(now);
                doubt.alone |= guilty.is_none();
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
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;
    use crate::domain::key::{KeyType, PublicKey};

    fn key(label: &str) -> TokenKey {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public_key = PublicKey::from_ec_point(KeyType::P256, pair.public_key().as_ref());
        TokenKey { label: label.to_owned(), id: vec![1], public_key: public_key.unwrap() }
    }

    fn is_quarantined(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Quarantined { .. })
    }

    #[test]
    fn a_key_that_signs_is_tried_before_one_that_was_never_seen_to() {
        let now = Instant::now();
        let (well, bad) = (key("well"), key("bad"));
        let mut doubts = Doubts::default();
        doubts.signed(KeyRef::to(&well).spki_sha256, now);
        // Both were at work when a signer ended.
        for key in [&bad, &well] {
            doubts.begin(key.clone(), Blame::Crash, now);
        }
        assert_eq!(doubts.due(now), Some(&KeyRef::to(&well)));
        doubts.tried(&KeyRef::to(&well), 1, true, now);
        assert!(doubts.cleared(&KeyRef::to(&well), now).is_some());
        // The other is blamed alone for what comes of it.
        doubts.tried(&KeyRef::to(&bad), 1, true, now);
        assert_eq!(doubts.lost(1, now), Some(KeyRef::to(&bad)));
        assert!(!is_quarantined(&doubts.failed(&KeyRef::to(&bad), Blame::Crash, now)));
        assert!(is_quarantined(&doubts.failed(&KeyRef::to(&bad), Blame::Crash, now)));
        assert!(doubts.get(&KeyRef::to(&well)).is_none());
    }

    #[test]
    fn of_several_that_were_tried_together_none_is_blamed_and_each_is_tried_alone() {
        let now = Instant::now();
        let keys = [key("one"), key("two")];
        let mut doubts = Doubts::default();
        for key in &keys {
            doubts.signed(KeyRef::to(key).spki_sha256, now);
            doubts.begin(key.clone(), Blame::Crash, now);
        }
        for key in &keys {
            assert!(doubts.due(now).is_some());
            doubts.tried(&KeyRef::to(key), 1, true, now);
        }
        assert_eq!(doubts.lost(1, now), None);
        let first = doubts.due(now).unwrap().clone();
        doubts.tried(&first, 2, true, now);
        assert_eq!(doubts.due(now), None, "one at a time");
        assert_eq!(doubts.lost(2, now), Some(first));
    }

    #[test]
    fn tries_in_quarantine_grow_seldom_and_those_that_cost_a_signer_have_a_bound_over_all_keys() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut doubts = Doubts::default();
        let names: Vec<_> = ["one", "two"]
            .map(key)
            .into_iter()
            .map(|key| {
                let name = KeyRef::to(&key);
                doubts.begin(key, Blame::Hang, begin);
                name
            })
            .collect();
        for name in &names {
            doubts.tried(name, 1, true, begin);
            assert!(is_quarantined(&doubts.failed(name, Blame::Hang, after(2_000))));
        }
        // The last took 2 s.
        assert_eq!(doubts.due(after(9_900)), None);
        assert!(doubts.due(after(10_100)).is_some());
        let mut now = begin;
        let mut tries = 0;
        while now < after(600_000) {
            now = doubts.next_at(now).unwrap();
            let Some(name) = doubts.due(now).cloned() else { continue };
            doubts.tried(&name, 1, true, now);
            now += Duration::from_secs(2);
            let _ = doubts.failed(&name, Blame::Hang, now);
            tries += 1;
        }
        assert!((4..40).contains(&tries), "{tries} in ten minutes");
        let cheap = key("cheap");
        let name = KeyRef::to(&cheap);
        doubts.begin(cheap, Blame::Fault, begin);
        let _ = doubts.failed(&name, Blame::Fault, after(8_000));
        assert_eq!(doubts.get(&name).unwrap().next_try(), Some(after(10_000)));
    }

    #[test]
    fn only_what_is_wrong_with_its_objects_is_said_to_be_the_operators() {
        let now = Instant::now();
        let later = now + BROKEN_AFTER;
        for (blame, signed, at, broken) in [
            (Blame::WrongSignature, false, now, true),
            (Blame::WrongSignature, true, now, false),
            (Blame::WrongSignature, true, later, true),
            (Blame::Fault, false, later, false),
            (Blame::Crash, false, later, false),
        ] {
            let key = key("key");
            let name = KeyRef::to(&key);
            let mut doubts = Doubts::default();
            if signed {
                doubts.signed(name.spki_sha256, now);
            }
            doubts.begin(key, blame, now);
            while !is_quarantined(&doubts.failed(&name, blame, now)) {}
            let refusal = doubts.get(&name).unwrap().quarantine(at).refusal(at);
            assert_eq!(matches!(refusal, HsmError::Unusable { .. }), broken, "{blame:?}");
        }
    }
}
