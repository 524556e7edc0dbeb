//! Brings up one signer: spawn it, greet it, read its listing, verify its canary signature.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{BACKLOG_FULL, Canary, Supervisor, answers::KEYS_HIDDEN};
use crate::hsm::{
    Offer, StoredKey,
    catalogue::Catalogue,
    fault::{Class, Fault},
    key_change::KeyName,
    pin_attempts,
    process::{Event, Pending, Signer, Task},
    protocol::{Answer, FromSigner, ListedKey, Ready, Request},
};

/// A start is slow when it takes this many times the usual time.
const USUAL_STARTS: u32 = 4;
/// Bounds of that time, in milliseconds. Service has to be back within 5 s of the HSM.
const HURRIED_START_MS_MIN: u64 = 2_000;
const HURRIED_START_MS_MAX: u64 = 3_000;
/// Where the token accepts one process at a time, this many starts in a row are given up early; then one gets
/// all of `start_deadline_ms`.
const HURRIED_STARTS_MAX: u32 = 3;

/// A signer that is not up yet.
pub(super) struct Starting {
    pub(super) signer: Signer,
    pub(super) since: Instant,
    /// When it is given up, or another is started beside it.
    pub(super) until: Instant,
    /// Whether that is before `start_deadline_ms` have passed.
    pub(super) hurried: bool,
    pub(super) greeted: bool,
    /// Why it may be admitted without a canary signature, once it has listed the token.
    pub(super) unproven: Option<String>,
}

impl Starting {
    /// The step that it has not done in time.
    pub(super) fn overdue(&self) -> &'static str {
        match (self.greeted, self.hurried) {
            (true, _) => "the signer has opened the token, and its first signature is overdue",
            (false, false) => "the signer was not ready within start_deadline_ms",
            (false, true) => "the signer was not ready within the usual time of a start",
        }
    }
}

impl Supervisor {
    pub(super) fn start_if_due(&mut self, now: Instant) {
        if self.starting.is_some() || !self.wants_another() || self.backoff.next_at() > now {
            return;
        }
        let tried_pins = match pin_attempts::load(&self.config.tried_pins) {
            Ok(marks) => marks,
            Err(reason) => return self.start_failed(reason),
        };
        self.signers_started += 1;
        let spawned = Signer::spawn(
            self.signers_started,
            &self.program,
            &self.config,
            self.serial.as_deref(),
            self.stored_keys(),
            tried_pins,
            self.events_in.clone(),
        );
        match spawned {
            Ok(signer) => {
                let (until, hurried) = self.start_until(now);
                tracing::info!(token = self.config.name, pid = signer.pid, "signer started");
                self.meter.started();
                self.starting = Some(Starting {
                    signer,
                    since: now,
                    until,
                    hurried,
                    greeted: false,
                    unproven: None,
                });
                self.publish();
            }
            Err(error) => {
                self.start_failed(format!("{}: {error}", self.program.display()));
            }
        }
    }

    /// `start_deadline_ms`.
    pub(super) fn start_deadline(&self) -> Duration {
        Duration::from_millis(self.config.start_deadline_ms.max(1))
    }

    /// When a signer that starts now has had the usual time. A start may hang for good in a call that began
    /// while the HSM was away, so the next one must not wait for its end.
    fn start_until(&mut self, now: Instant) -> (Instant, bool) {
        let full = self.start_deadline();
        let [least, most] = [HURRIED_START_MS_MIN, HURRIED_START_MS_MAX].map(Duration::from_millis);
        // Before the first signer has come up, the usual time is not known.
        let usual = self
            .usual_start
            .map_or(full, |usual| (USUAL_STARTS * usual).clamp(least, most.max(usual + usual / 2)));
        let may_hurry = !self.one_at_a_time || self.hurried_starts < HURRIED_STARTS_MAX;
        let hurried = usual < full && may_hurry;
        self.hurried_starts = if hurried { self.hurried_starts + 1 } else { 0 };
        (now + if hurried { usual } else { full }, hurried)
    }

    /// The public keys on record, and those that the token has shown since.
    fn stored_keys(&self) -> Vec<StoredKey> {
        let catalogue = Arc::clone(&self.published.borrow().catalogue);
        let shown = catalogue.entries().iter().filter_map(|entry| {
            let spki = entry.public_key.as_ref().ok()?.spki_der().to_vec();
            Some(StoredKey { label: entry.label.clone(), id: entry.id.clone(), spki })
        });
        // Of several with one label and id, the signer uses the last.
        self.stored.iter().cloned().chain(shown).collect()
    }

    pub(super) fn handle_start_event(&mut self, event: Event) {
        let Some(starting) = &mut self.starting else { return };
        match event {
            Event::Gone(reason) => {
                self.start_failed(format!("the signer ended while it was starting: {reason}"));
            }
            Event::Message(FromSigner::Login(word)) => {
                let id = starting.signer.id;
                if self.handle_login_notice(id, word).is_err() {
                    self.start_failed(PROTOCOL_BROKEN.to_owned());
                }
            }
            Event::Message(FromSigner::Refused(fault)) => {
                self.start_refused(&fault.sanitised(), None)
            }
            Event::Message(FromSigner::Ready(ready)) if !starting.greeted => {
                starting.greeted = true;
                self.greet(ready);
            }
            Event::Message(FromSigner::Answer { id, answer, usage }) => {
                starting.signer.used(usage);
                match (starting.signer.pending.remove(id), answer) {
                    (Some(Pending { task: Task::Canary(canary), .. }), answer) => {
                        self.judge_canary(&canary, answer);
                    }
                    (Some(Pending { task: Task::Catalogue, .. }), answer) => {
                        self.judge_listing(answer);
                    }
                    (Some(_) | None, _) => self.start_failed(PROTOCOL_BROKEN.to_owned()),
                }
            }
            Event::Message(FromSigner::Noted { fault, key, next })
                if starting.signer.may_note() =>
            {
                self.note(fault, &key, &next);
            }
            Event::Message(FromSigner::Ready(_) | FromSigner::Noted { .. }) => {
                self.start_failed(PROTOCOL_BROKEN.to_owned())
            }
        }
    }

    /// The token is open: adopts its listing and requests a canary signature.
    fn greet(&mut self, ready: Ready) {
        let token = &self.config.name;
        if !ready.is_plausible() {
            return self.start_failed(PROTOCOL_BROKEN.to_owned());
        }
        let facts = ready.facts.sanitised();
        if self.serial.as_ref().is_some_and(|serial| *serial != facts.serial) {
            return self.start_failed(format!("the token has another serial: {:?}", facts.serial));
        }
        if self.hides_all_keys(&ready.keys) {
            return self.start_failed(KEYS_HIDDEN.to_owned());
        }
        tracing::info!(
            token,
            serial = facts.serial,
            model = facts.model,
            manufacturer = facts.manufacturer,
            hardware = facts.hardware_version,
            firmware = facts.firmware_version,
            is_hardware = facts.is_hardware,
            sessions = ready.sessions,
            keys = ready.keys.len(),
            offers = facts.offers.iter().map(Offer::to_string).collect::<Vec<_>>().join(", "),
            "token open"
        );
        let is_new = self.published.borrow().facts.is_none();
        if is_new && facts.is_softhsm() {
            tracing::warn!(
                alarm = "softhsm",
                token,
                "this token is SoftHSM: keys are files, there is no certified boundary"
            );
        }
        if is_new && facts.local_says_nothing {
            tracing::warn!(
                alarm = "local_says_nothing",
                token,
                "the CKA_LOCAL of this token says nothing: that keys are made inside is told by \
                 CKA_NEVER_EXTRACTABLE and CKA_ALWAYS_SENSITIVE alone"
            );
        }
        self.serial = Some(facts.serial.clone());
        self.published.send_modify(|published| {
            published.facts = Some(Arc::new(facts));
            published.hashing = ready.hashing.into();
        });
        if self.up.is_empty() {
            self.adopt(ready.keys);
        } else {
            // The signers that are up may have listed the token later, after a change.
            self.refresh.want();
        }
        let key = self.canary_key();
        let patience = self.patience();
        let Some(starting) = &mut self.starting else { return };
        // A login may take long; a signature must not.
        starting.until = starting.until.min(Instant::now() + patience);
        starting.signer.sessions = ready.sessions.clamp(1, self.config.sessions);
        starting.signer.alone = ready.sessions == 0;
        match key {
            None => self.promote(false),
            Some(key) => {
                let (canary, request) = Canary::new(key);
                let task = Task::Canary(canary);
                if starting.signer.ask(Request::Sign(&request), task, patience).is_err() {
                    self.start_failed(BACKLOG_FULL.to_owned());
                }
            }
        }
    }

    fn judge_canary(&mut self, canary: &Canary, answer: Answer) {
        let hopeless = self.is_every_key_suspect();
        let is_proven = matches!(&answer, Answer::Signed(made) if canary.is_proven_by(made));
        if !is_proven {
            self.suspect(canary);
        }
        match answer {
            Answer::Signed(_) if is_proven => {
                self.promote(true);
                self.canary_verified(canary);
            }
            Answer::Signed(_) => {
                self.alarm_bad_signature(&canary.key.label);
                self.start_failed("the canary signature does not verify".to_owned());
            }
            Answer::Missing => {
                self.start_failed(format!("key '{}' is listed and not found", canary.key.label));
            }
            Answer::Failed(fault) if hopeless && self.may_be_the_key(&fault) => {
                self.ask_for_listing(fault.sanitised(), &canary.key.label);
            }
            Answer::Failed(fault) => {
                let ours = fault.class == Class::Caller;
                let fault =
                    if ours { fault.with_detail("configure another canary key") } else { fault };
                self.start_refused(&fault.sanitised(), Some(&canary.key.label));
            }
            Answer::Listed(_) | Answer::Changed(_) => self.start_failed(PROTOCOL_BROKEN.to_owned()),
        }
    }

    fn promote(&mut self, proven: bool) {
        self.backoff.succeeded();
        self.trouble = None;
        self.admit_signer(proven);
    }

    /// Adds the signer that is starting to those that are up.
    pub(super) fn admit_signer(&mut self, proven: bool) {
        let Some(Starting { mut signer, since, .. }) = self.starting.take() else { return };
        let now = Instant::now();
        let took = now.saturating_duration_since(since);
        self.usual_start = Some(self.usual_start.map_or(took, |usual| (3 * usual + took) / 4));
        self.hurried_starts = 0;
        signer.up_since = now;
        tracing::info!(token = self.config.name, pid = signer.pid, proven, "signer up");
        self.up.push(signer);
        if self.up.len() == 1 {
            self.canary_at = now + self.canary_interval();
        }
        self.publish();
        self.published.send_modify(|published| {
            published.known = true;
            published.proven_at = proven.then_some(now);
        });
    }

    fn start_refused(&mut self, fault: &Fault, key: Option<&str>) {
        if self.has_no_room_for_two(fault) {
            return self.replace_one_at_a_time_from_now_on(fault);
        }
        if fault.class == Class::Credential {
            self.refuse_credentials(fault, key);
        } else {
            self.log_fault(fault, key, "start another signer after a pause");
        }
        self.start_failed(fault.to_string());
    }

    /// The PIN is refused: no signer is started until an operator has acted.
    pub(super) fn refuse_credentials(&mut self, fault: &Fault, key: Option<&str>) {
        let action = "no further login until the PIN file is corrected and the service restarted";
        self.log_fault(fault, key, action);
        tracing::error!(
            alarm = "credential_fault",
            token = self.config.name,
            action,
            reason = %fault,
            "no login with the user PIN"
        );
        self.credential_fault = Some(fault.to_string());
    }

    pub(super) fn start_failed(&mut self, reason: String) {
        let now = Instant::now();
        self.meter.start_failed();
        self.trouble = Some(reason.clone());
        let since = self.starting.as_ref().map_or(now, |starting| starting.since);
        self.backoff.failed(now, since, reason);
        let pause = self.backoff.next_at().saturating_duration_since(now);
        let token = &self.config.name;
        let reason = self.backoff.failure().unwrap_or_default();
        match &self.credential_fault {
            None => tracing::error!(token, reason, pause_ms = pause.as_millis(), "no signer"),
            Some(_) => tracing::error!(token, reason, "no signer"),
        }
        if let Some(starting) = self.starting.take() {
            self.give_up_start(starting, now);
        }
        self.publish();
        self.published.send_modify(|published| published.known = true);
    }

    /// Makes a listing the current one.
    pub(super) fn adopt(&self, keys: Vec<ListedKey>) {
        let mut keys = keys;
        for key in &mut keys {
            let name = KeyName { label: key.label.clone(), id: key.id.clone() };
            if self.unproven.contains(&name) {
                key.public_key = Err("it is being made, or its making was cut short".to_owned());
            }
        }
        let before = Arc::clone(&self.published.borrow().catalogue);
        let catalogue = Arc::new(Catalogue::new(keys, Some(&before)));
        self.published.send_modify(|published| published.catalogue = catalogue);
    }
}

/// Cause of a loss: the signer sent what was not requested, so it is broken or not ours.
pub(super) const PROTOCOL_BROKEN: &str = "the signer breaks the protocol";
