//! Handles what a signer that is up sends.

use tokio::time::Instant;

use super::{Canary, Supervisor, key_breaker::Blame, starting::PROTOCOL_BROKEN};
use crate::hsm::{
    HsmError, KeyRef, TokenKey,
    fault::{Class, Fault, sanitise},
    figures::LossCause,
    jobs::Job,
    process::{Event, Pending, Task},
    protocol::{Answer, FromSigner, ListedKey},
};

/// One log line for a fault, with the same fields at each level.
macro_rules! log_fault {
    ($level:ident, $fault:expr, $token:expr, $key:expr, $action:expr) => {
        tracing::$level!(
            function = $fault.function,
            code = $fault.code_text(),
            class = $fault.class.name(),
            detail = $fault.detail,
            token = $token,
            key = $key,
            action = $action,
            "PKCS#11 fault"
        )
    };
}

/// Cause of a loss: the listing is not believed.
pub(super) const KEYS_HIDDEN: &str =
    "it lists no private key, and there were several; if they were deleted, restart the service";

impl Supervisor {
    /// Handles an event of any signer. Events of signers that were ended are dropped.
    pub(super) fn handle_event(&mut self, id: u64, event: Event) {
        if self.starting.as_ref().is_some_and(|starting| starting.signer.id == id) {
            return self.handle_start_event(event);
        }
        let Some(event) = self.handle_slow_start_event(id, event) else { return };
        let Some(at) = self.up.iter().position(|signer| signer.id == id) else {
            return self.handle_leaving_event(id, event);
        };
        match event {
            Event::Gone(reason) => {
                self.lose(at, LossCause::Ended, &format!("its socket has ended: {reason}"));
            }
            Event::Message(FromSigner::Answer { id, answer, usage }) => {
                self.record_usage(at, usage);
                self.handle_answer(at, id, answer);
            }
            Event::Message(FromSigner::Login(word)) => {
                if self.handle_login_notice(id, word).is_err() {
                    self.lose(at, LossCause::Protocol, PROTOCOL_BROKEN);
                }
            }
            Event::Message(FromSigner::Noted { fault, key, next }) if self.up[at].may_note() => {
                self.note(fault, &key, &next);
            }
            Event::Message(
                FromSigner::Ready(_) | FromSigner::Refused(_) | FromSigner::Noted { .. },
            ) => {
                self.lose(at, LossCause::Protocol, PROTOCOL_BROKEN);
            }
        }
    }

    fn handle_answer(&mut self, at: usize, message: u64, answer: Answer) {
        let signer = &mut self.up[at];
        let id = signer.id;
        let Some(pending) = signer.pending.remove(message) else {
            return self.lose(at, LossCause::Protocol, PROTOCOL_BROKEN);
        };
        match &pending.task {
            Task::Job(job) => {
                self.latency.answered(job.request.algorithm, pending.since, Instant::now());
            }
            Task::Canary(_) | Task::Probe(_) => self.latency.alive(Instant::now()),
            Task::Catalogue | Task::Relist | Task::Change(_) => {}
        }
        match (pending.task, answer) {
            (Task::Job(job), Answer::Signed(signature)) => {
                signer.signatures += 1;
                self.key_breakers.signed(job.request.spki_sha256, Instant::now());
                if let Some(given_at) = job.given_at {
                    self.meter.signed_within(given_at.elapsed());
                }
                job.answer(Ok((signature, id)));
            }
            (Task::Job(job), Answer::Missing) => {
                tracing::warn!(
                    token = self.config.name,
                    key = job.request.label,
                    "the key is not on the token any more"
                );
                job.answer(Err(HsmError::Missing));
                self.refresh.want();
            }
            (Task::Job(job), Answer::Failed(fault)) => self.job_failed(at, job, fault.sanitised()),
            (Task::Probe(probe), answer) => self.handle_probe_answer(at, *probe, answer),
            (Task::Canary(canary), Answer::Signed(signature)) => {
                if canary.is_proven_by(&signature) {
                    self.failed_canaries.remove(&id);
                    let now = Instant::now();
                    self.published.send_modify(|published| published.proven_at = Some(now));
                    self.canary_verified(&canary);
                } else {
                    self.alarm_bad_signature(&canary.key.label);
                    self.suspect(&canary);
                    self.suspect_token_key(&canary.key, Blame::WrongSignature);
                    let words = "its canary signature does not verify";
                    self.lose(at, LossCause::BadSignature, words);
                }
            }
            (Task::Canary(canary), Answer::Missing) => self.canary_is_gone(&canary),
            (Task::Canary(canary), Answer::Failed(fault)) => {
                self.canary_failed(at, &canary, &fault.sanitised());
            }
            (Task::Catalogue, Answer::Listed(keys)) if self.hides_all_keys(&keys) => {
                self.refresh.settle(&Err(HsmError::UNAVAILABLE));
                self.lose(at, LossCause::Fault, KEYS_HIDDEN);
            }
            (Task::Relist, Answer::Listed(keys)) if self.hides_all_keys(&keys) => {
                self.relists.done(id, false);
                self.lose(at, LossCause::Fault, KEYS_HIDDEN);
            }
            (Task::Catalogue, Answer::Listed(keys)) => {
                self.adopt_listing(keys);
                self.refresh.settle(&Ok(()));
            }
            (Task::Relist, Answer::Listed(keys)) => {
                self.adopt_listing(keys);
                self.relists.done(id, true);
            }
            (Task::Relist, Answer::Failed(fault)) => {
                self.relists.done(id, false);
                self.task_failed(at, &fault.sanitised(), None);
            }
            (Task::Change(reply), Answer::Changed(answer)) => self.changed(at, reply, answer),
            (Task::Change(reply), Answer::Failed(fault)) => {
                self.change_failed(at, reply, &fault.sanitised());
            }
            (Task::Catalogue, Answer::Failed(fault)) => {
                self.refresh.settle(&Err(HsmError::UNAVAILABLE));
                self.task_failed(at, &fault.sanitised(), None);
            }
            // The answer does not fit the request. The task is put back first, because a change has to wait
            // for the end of the signer.
            (
                task,
                Answer::Signed(_) | Answer::Missing | Answer::Listed(_) | Answer::Changed(_),
            ) => {
                let (since, patience) = (pending.since, pending.patience);
                self.up[at].pending.insert(message, Pending { since, patience, task });
                self.lose(at, LossCause::Protocol, PROTOCOL_BROKEN);
            }
        }
    }

    fn adopt_listing(&mut self, keys: Vec<ListedKey>) {
        self.adopt(keys);
        self.forget_gone_keys();
        let proven = self.published.borrow().proven_at.is_some();
        match self.canary_key() {
            None => self.published.send_modify(|published| published.proven_at = None),
            // The token had no key and has one now: prove it.
            Some(_) if !proven => self.canary_at = Instant::now(),
            Some(_) => {}
        }
    }

    /// Whether a listing shows no key although the token had several. Keys are not all deleted at once; a
    /// token without a login hides them, even where its session claims to be logged in.
    pub(super) fn hides_all_keys(&self, keys: &[ListedKey]) -> bool {
        keys.is_empty() && self.published.borrow().catalogue.entries().len() > 1
    }

    /// The canary key was deleted after the last listing. The next listing finds another.
    fn canary_is_gone(&mut self, canary: &Canary) {
        tracing::warn!(
            token = self.config.name,
            key = canary.key.label,
            "the canary key is not on the token any more"
        );
        self.refresh.want();
    }

    fn job_failed(&mut self, at: usize, job: Job, fault: Fault) {
        let key = job.request.label.clone();
        match fault.class {
            Class::Caller => {
                self.log_fault(&fault, Some(&key), "refuse the request");
                let reason = "the token refuses to sign with it".to_owned();
                job.answer(Err(HsmError::Unusable { reason }));
            }
            Class::Capacity => {
                self.log_fault(&fault, Some(&key), "shed load");
                job.answer(Err(HsmError::BUSY));
            }
            Class::Unexpected => {
                self.log_fault(&fault, Some(&key), "fail the request");
                job.answer(Err(HsmError::UNAVAILABLE));
            }
            // Retrying is safe, because a signature that nobody has received does no harm.
            Class::Session
            | Class::Handle
            | Class::Login
            | Class::Credential
            | Class::Device
            | Class::Vendor
            | Class::Configuration
            | Class::Identity => {
                // A key that is in question has cost a signer already. Others are asked with it only after a
                // probe has told whether the key is at fault.
                let was_in_question = self.key_breakers.of(&job.request).is_some();
                if !matches!(fault.class, Class::Credential | Class::Identity) {
                    self.suspect_key(&job.request, Blame::Fault);
                }
                self.take_back(vec![Task::Job(job)], None);
                match was_in_question {
                    true => self.log_fault(&fault, Some(&key), "see whether it is the key"),
                    false => self.task_failed(at, &fault, Some(&key)),
                }
            }
        }
    }

    /// Acts on a fault that concerns the signer rather than one request.
    pub(super) fn task_failed(&mut self, at: usize, fault: &Fault, key: Option<&str>) {
        match fault.class {
            Class::Caller | Class::Capacity | Class::Unexpected => {
                self.log_fault(fault, key, "none");
            }
            Class::Credential => {
                self.refuse_credentials(fault, key);
                let words = "its login was lost and the PIN is refused";
                self.lose(at, LossCause::Credential, words);
            }
            Class::Session
            | Class::Handle
            | Class::Login
            | Class::Device
            | Class::Vendor
            | Class::Configuration
            | Class::Identity => {
                self.log_fault(fault, key, "kill and respawn the signer");
                self.lose(at, LossCause::Fault, &fault.to_string());
            }
        }
    }

    /// Logs a fault that failed a request or ended a signer.
    pub(super) fn log_fault(&self, fault: &Fault, key: Option<&str>, action: &str) {
        self.meter.fault(fault.class);
        log_fault!(error, fault, self.config.name, key.unwrap_or("none"), action);
        if fault.class == Class::Identity {
            tracing::error!(
                alarm = "token_replaced",
                token = self.config.name,
                action = "bring the token back; or accept the other one by chancery token accept",
                "another token bears the label; it is left alone"
            );
        }
    }

    /// Logs a fault from which a signer has recovered by itself.
    pub(super) fn note(&self, fault: Fault, key: &str, next: &str) {
        let fault = fault.sanitised();
        self.meter.fault(fault.class);
        log_fault!(warn, fault, self.config.name, sanitise(key), sanitise(next));
    }

    /// A caller reports a signature that does not verify. The signer or the key may be at fault, so both are
    /// suspected.
    pub(super) fn handle_bad_signature(&mut self, key: &TokenKey, maker: u64) {
        let known = self.published.borrow().catalogue.find(&key.label);
        let was_in_question = self.key_breakers.get(&KeyRef::to(key)).is_some();
        if known.as_ref() == Ok(key) {
            self.suspect_token_key(key, Blame::WrongSignature);
        }
        if was_in_question {
            return;
        }
        if let Some(at) = self.up.iter().position(|signer| signer.id == maker) {
            let words = "it made a signature that does not verify";
            self.lose(at, LossCause::BadSignature, words);
        }
    }

    pub(super) fn alarm_bad_signature(&self, key: &str) {
        tracing::error!(
            alarm = "bad_signature",
            token = self.config.name,
            key,
            "a signature of the token does not verify against its own public key"
        );
    }
}
