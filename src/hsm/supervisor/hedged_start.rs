//! Hedged starts: when a start takes longer than usual, another is started beside it and the first to succeed
//! wins. A start may hang for good in a call that began while the HSM was away, so waiting for it is no use;
//! it may also be slow and well, so it is not cut short either.

use tokio::time::Instant;

use super::{Supervisor, logins::LOGIN_GRACE, starting::Starting};
use crate::hsm::process::{Event, LoginStage};

/// Slow starts that may go on beside the newest one.
const SLOW_STARTS_MAX: usize = 2;

impl Supervisor {
    /// The newest start has used the time that a start usually takes. If there is room, it goes on until
    /// `start_deadline_ms` have passed, and the next one is started beside it.
    pub(super) fn start_is_overdue(&mut self, now: Instant) {
        let Some(starting) = self.starting.take_if(|starting| starting.until <= now) else {
            return;
        };
        let may_go_on = !self.one_at_a_time && self.slow_starts.len() < SLOW_STARTS_MAX;
        if !starting.hurried || !may_go_on {
            let reason = starting.overdue().to_owned();
            self.starting = Some(starting);
            return self.start_failed(reason);
        }
        let (since, reason) = (starting.since, starting.overdue());
        let (token, pid) = (&self.config.name, starting.signer.pid);
        tracing::warn!(token, pid, reason, action = "start another beside it", "signer is slow");
        let until = since + self.start_deadline();
        self.slow_starts.push(Starting { until, hurried: false, ..starting });
        match self.published.borrow().known {
            true => self.backoff.failed(now, since, reason.to_owned()),
            false => self.backoff.overdue(now),
        }
        self.trouble = Some(reason.to_owned());
        self.publish();
    }

    /// Gives up slow starts whose time is over, and all of them when no signer is wanted any more.
    pub(super) fn end_slow_starts(&mut self, now: Instant) {
        let is_wanted = self.up.len() < self.config.processes || self.has_worn_signer();
        if !is_wanted && let Some(starting) = self.starting.take() {
            self.give_up_start(starting, now);
            self.publish();
        }
        let over = self.slow_starts.extract_if(.., |slow| !is_wanted || slow.until <= now);
        for slow in over.collect::<Vec<_>>() {
            self.give_up_start(slow, now);
        }
    }

    /// Gives up a start. Its events are not handled any more.
    pub(super) fn give_up_start(&mut self, starting: Starting, now: Instant) {
        let signer = starting.signer;
        self.login_was_cut(&signer);
        self.suspect_first_key(&signer);
        match signer.login {
            // Killing it during its login may destroy the token, so it gets time to finish.
            LoginStage::Running(_) => self.dismiss_until(signer, now + LOGIN_GRACE),
            // A signer that has refused is ending by itself; any other is stuck.
            LoginStage::None | LoginStage::Requested(..) | LoginStage::Refused(_) => {
                let _ = signer.end(std::time::Duration::ZERO, &self.config.name);
            }
        }
    }

    /// Handles an event of a slow start as if it were the newest one. Returns the event if it belongs to
    /// another signer.
    pub(super) fn handle_slow_start_event(&mut self, id: u64, event: Event) -> Option<Event> {
        let Some(at) = self.slow_starts.iter().position(|slow| slow.signer.id == id) else {
            return Some(event);
        };
        let slow = self.slow_starts.swap_remove(at);
        self.aside = self.starting.replace(slow);
        self.handle_start_event(event);
        self.slow_starts.extend(self.starting.take());
        self.starting = self.aside.take();
        self.publish();
        None
    }

    /// Whether any signer is starting.
    pub(super) fn is_starting(&self) -> bool {
        self.starting.is_some() || self.aside.is_some() || !self.slow_starts.is_empty()
    }

    /// Whether a slow start is in its login.
    pub(super) fn slow_start_logs_in(&self) -> bool {
        self.slow_starts.iter().any(|slow| matches!(slow.signer.login, LoginStage::Running(_)))
    }
}
