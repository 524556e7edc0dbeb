//! Probes of keys that are in question, on a signer that has just signed with a reference key: what fails
//! then is the key, and not the signer or the token.

use std::{collections::HashSet, time::Duration};

use data_encoding::HEXLOWER;
use tokio::time::Instant;

use super::{
    BACKLOG_FULL, Canary, Supervisor,
    key_breaker::{Blame, KeyBreaker, KeyBreakers, Verdict, Waiter, seconds_until},
};
use crate::hsm::{
    HsmError, KeyRef, TokenKey,
    fault::{Class, Fault},
    figures::LossCause,
    jobs::Job,
    process::{Signer, Task},
    protocol::{Answer, Request, SignRequest},
};

/// Pause after an inconclusive probe.
const PUT_OFF_FOR: Duration = Duration::from_millis(500);

/// One signature of a probe.
pub(in crate::hsm) struct Probe {
    canary: Canary,
    of: KeyRef,
    /// Whether it is made with the key itself; else with the reference key, just before.
    is_of_the_key: bool,
}

impl Supervisor {
    /// Puts the key of a request in question.
    pub(super) fn suspect_key(&mut self, request: &SignRequest, blame: Blame) {
        if let Some(key) = self.key_of(request) {
            self.suspect_token_key(&key, blame);
        }
    }

    /// Puts a key in question. Without a reference key, a fault of the key cannot be told from one of the
    /// token, so nothing is done.
    pub(super) fn suspect_token_key(&mut self, key: &TokenKey, blame: Blame) {
        if self.reference_key(&KeyRef::to(key)).is_some() {
            self.key_breakers.suspect(key.clone(), blame, Instant::now());
        }
    }

    /// A caller wants to know whether a key signs.
    pub(super) fn prove_key(&mut self, key: TokenKey, waiting: Waiter) {
        self.key_breakers.prove(key, waiting, self.config.queue_max.max(1), Instant::now());
        self.demand_signer();
    }

    /// Holds the job back while its key is in question, and refuses it while the key is in quarantine.
    pub(super) fn admit(&mut self, job: Job, now: Instant) -> Option<Job> {
        let Some(breaker) = self.key_breakers.of(&job.request) else { return Some(job) };
        match breaker.is_quarantined() {
            true => job.answer(Err(breaker.quarantine(now).refusal(now))),
            false => self.queue.hold(job, self.config.queue_max.max(1)),
        }
        None
    }

    fn key_of(&self, request: &SignRequest) -> Option<TokenKey> {
        let key = self.published.borrow().catalogue.find(&request.label).ok()?;
        (key.public_key.spki_sha256() == request.spki_sha256).then_some(key)
    }

    /// The reference key for a probe: a key that is not in question.
    fn reference_key(&self, key: &KeyRef) -> Option<TokenKey> {
        let mut others: HashSet<_> = self.suspects.keys().copied().collect();
        others.extend(self.key_breakers.spki_hashes());
        others.insert(key.spki_sha256);
        let catalogue = &self.published.borrow().catalogue;
        let is_other = |key: &TokenKey| !others.contains(&key.public_key.spki_sha256());
        let preferred = self.config.canary_label.as_deref();
        let preferred = preferred.and_then(|label| catalogue.find(label).ok()).filter(is_other);
        let latest = || catalogue.with_spki(self.key_breakers.latest(&others)?);
        let any = || catalogue.canary(None, |spki| u64::from(others.contains(spki)));
        preferred.or_else(latest).or_else(|| any().filter(is_other))
    }

    /// Sends the probes that are due.
    pub(super) fn probes_if_due(&mut self, now: Instant) {
        while let Some(of) = self.key_breakers.due(now).cloned() {
            let free = (0..self.up.len()).filter(|at| {
                let signer = &self.up[*at];
                signer.serves() && !signer.is_changing() && !self.is_suspiciously_slow(signer, now)
            });
            let Some(at) = free.min_by_key(|at| self.up[*at].pending_signatures()) else { return };
            let is_unseen = self.key_breakers.get(&of).is_some_and(KeyBreaker::is_unseen);
            let reference = self.reference_key(&of).filter(|_| !is_unseen);
            let is_of_the_key = reference.is_none();
            let Some(key) = reference.or_else(|| self.key_breakers.get(&of).map(|d| d.key.clone()))
            else {
                return;
            };
            self.probe_key(at, key, of, is_of_the_key);
        }
    }

    fn probe_key(&mut self, at: usize, key: TokenKey, of: KeyRef, is_of_the_key: bool) {
        let (canary, request) = Canary::new(key);
        let (id, patience) = (self.up[at].id, self.patience());
        // Logged, because no intent in the ledger accounts for this signature.
        let digest = HEXLOWER.encode(&request.digest);
        let (token, key, tried) = (&self.config.name, &canary.key.label, &of.label);
        tracing::info!(token, key, tried, digest, "a key is to prove itself");
        self.key_breakers.probing(&of, id, is_of_the_key, Instant::now());
        let task = Task::Probe(Box::new(Probe { canary, of, is_of_the_key }));
        if self.up[at].ask(Request::Sign(&request), task, patience).is_err() {
            self.lose(at, LossCause::Protocol, BACKLOG_FULL);
        }
    }

    pub(super) fn handle_probe_answer(&mut self, at: usize, probe: Probe, answer: Answer) {
        let Probe { canary, of, is_of_the_key } = probe;
        let later = Instant::now() + PUT_OFF_FOR;
        if !is_of_the_key {
            match answer {
                Answer::Signed(signature) if canary.is_proven_by(&signature) => {
                    let key = self.key_breakers.get(&of).map(|breaker| breaker.key.clone());
                    if let Some(key) = key {
                        self.probe_key(at, key, of, true);
                    }
                }
                Answer::Failed(fault) => {
                    self.key_breakers.put_off(&of, later);
                    self.canary_failed(at, &canary, &fault.sanitised());
                }
                Answer::Signed(_) => {
                    self.alarm_bad_signature(&canary.key.label);
                    self.suspect(&canary);
                    let words = "its canary signature does not verify";
                    self.lose(at, LossCause::BadSignature, words);
                }
                Answer::Missing | Answer::Listed(_) | Answer::Changed(_) => {
                    self.key_breakers.put_off(&of, later);
                    self.refresh.want();
                }
            }
            return;
        }
        match answer {
            Answer::Signed(signature) if canary.is_proven_by(&signature) => self.clear_key(&of),
            Answer::Signed(_) => {
                self.alarm_bad_signature(&canary.key.label);
                self.key_failed(&of, Blame::WrongSignature, None);
            }
            Answer::Failed(fault) => self.probe_failed(at, &of, &fault.sanitised()),
            // The key was deleted. The next listing removes its breaker.
            Answer::Missing | Answer::Listed(_) | Answer::Changed(_) => {
                self.key_breakers.put_off(&of, later);
                self.refresh.want();
            }
        }
    }

    /// Fails a probe. The signer has just signed with the reference key, unless there is none.
    fn probe_failed(&mut self, at: usize, of: &KeyRef, fault: &Fault) {
        let label = of.label.clone();
        match fault.class {
            Class::Capacity => {
                self.log_fault(fault, Some(&label), "try the key again later");
                self.key_breakers.put_off(of, Instant::now() + PUT_OFF_FOR);
            }
            Class::Credential | Class::Configuration | Class::Identity => {
                self.key_breakers.put_off(of, Instant::now() + PUT_OFF_FOR);
                self.task_failed(at, fault, Some(&label));
            }
            Class::Caller
            | Class::Session
            | Class::Handle
            | Class::Login
            | Class::Device
            | Class::Vendor
            | Class::Unexpected => {
                self.log_fault(fault, Some(&label), "count it against the key; others sign");
                self.key_failed(of, Blame::Fault, Some(fault));
            }
        }
    }

    /// A key has made a signature that verifies.
    pub(super) fn clear_key(&mut self, of: &KeyRef) {
        let Some(breaker) = self.key_breakers.cleared(of, Instant::now()) else { return };
        self.suspects.remove(&of.spki_sha256);
        if breaker.is_quarantined() {
            tracing::warn!(
                token = self.config.name,
                key = of.label,
                "key released from quarantine: it has signed"
            );
            self.publish_quarantine();
        }
        KeyBreakers::settle(breaker);
        self.queue.release(of);
    }

    fn key_failed(&mut self, of: &KeyRef, blame: Blame, fault: Option<&Fault>) {
        let now = Instant::now();
        let Verdict::Quarantined { is_new, waiting } = self.key_breakers.failed(of, blame, now)
        else {
            return;
        };
        let Some(quarantine) = self.key_breakers.get(of).map(|breaker| breaker.quarantine(now))
        else {
            return;
        };
        if is_new {
            let fault = fault.map(ToString::to_string).unwrap_or_default();
            tracing::error!(
                alarm = "key_quarantined",
                token = self.config.name,
                key = of.label,
                reason = blame.words(),
                fault,
                next_try_seconds = seconds_until(quarantine.until, now),
                action = "refuse requests for it, and try it now and then",
                "this key fails while others sign"
            );
        }
        // Published first, because callers look it up as soon as they are told.
        self.publish_quarantine();
        let refusal = quarantine.refusal(now);
        for waiting in waiting {
            let _ = waiting.send(Err(refusal.clone()));
        }
        self.queue.refuse(of, &refusal);
    }

    /// Blames the keys that a lost signer was signing with. Returns true when a key is to blame that was in
    /// question before.
    pub(super) fn blame_keys(&mut self, signer: &Signer, cause: LossCause) -> bool {
        let guilty = self.key_breakers.lost(signer.id, Instant::now());
        let blame = match cause {
            LossCause::Ended => Blame::Crash,
            LossCause::Frozen => Blame::Hang,
            LossCause::Fault
            | LossCause::Credential
            | LossCause::BadSignature
            | LossCause::Protocol => {
                // These causes say something of the signer, not of the key.
                if let Some(key) = guilty {
                    self.key_breakers.put_off(&key, Instant::now());
                }
                return false;
            }
        };
        if let Some(key) = guilty {
            self.key_failed(&key, blame, None);
            return true;
        }
        for key in self.keys_pending(signer) {
            self.suspect_token_key(&key, blame);
        }
        false
    }

    /// The keys that a signer has pending signatures with. Keys of canaries and probes among them are avoided
    /// for canaries until they have signed.
    fn keys_pending(&mut self, signer: &Signer) -> Vec<TokenKey> {
        let mut keys = Vec::new();
        for pending in signer.pending.iter() {
            let canary = match &pending.task {
                Task::Job(job) => {
                    keys.extend(self.key_of(&job.request));
                    continue;
                }
                Task::Canary(canary) => canary,
                Task::Probe(probe) => &probe.canary,
                Task::Catalogue | Task::Relist | Task::Change(_) => continue,
            };
            keys.push(canary.key.clone());
            self.suspicions += 1;
            let turn = self.suspicions;
            self.suspects.insert(canary.key.public_key.spki_sha256(), turn);
        }
        keys
    }

    /// The signer ended or froze before its first signature: the next one makes it with another key, if there
    /// is one.
    pub(super) fn suspect_first_key(&mut self, signer: &Signer) {
        let _ = self.keys_pending(signer);
    }

    /// Removes the breakers of keys that are not listed any more.
    pub(super) fn forget_gone_keys(&mut self) {
        let catalogue = std::sync::Arc::clone(&self.published.borrow().catalogue);
        let is_there = |key: &KeyRef| {
            let found = catalogue.find(&key.label);
            found.is_ok_and(|found| found.public_key.spki_sha256() == key.spki_sha256)
        };
        let gone = self.key_breakers.retain(is_there);
        for key in &gone {
            self.queue.release(key);
        }
        if !gone.is_empty() {
            self.publish_quarantine();
        }
    }

    pub(super) fn publish_quarantine(&self) {
        let now = Instant::now();
        let all = self.key_breakers.quarantined();
        let all = all.map(|(key, breaker)| (key.clone(), breaker.quarantine(now))).collect();
        self.published.send_modify(|published| published.quarantine = std::sync::Arc::new(all));
    }

    /// The refusal of a request whose key is in quarantine.
    pub(super) fn refusal_of(&self, request: &SignRequest) -> Option<HsmError> {
        let now = Instant::now();
        let breaker = self.key_breakers.of(request).filter(|breaker| breaker.is_quarantined())?;
        Some(breaker.quarantine(now).refusal(now))
    }
}
