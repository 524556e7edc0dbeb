//! Starts that take longer than they should. A call may hang for good that began before the HSM came back,
//! so the next start does not wait for its end; and it may be slow and well, so it goes on beside.

use tokio::time::Instant;

use super::{Supervisor, logins::LOGIN_GRACE, starting::Starting};
use crate::hsm::process::{Event, LoginStage};

/// Starts that go on beside the newest one.
const SLOW_STARTS_MAX: usize = 2;

impl Supervisor {
    /// The newest start has had the time that one usually takes. It goes on, if there is room, until
    /// `start_deadline_ms` are over; the next one need not wait for that.
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

    /// Gives up those whose time is over, and all that are not wanted any more.
    pub(super) fn end_slow_starts(&mut self, now: Instant) {
        let is_wanted = self.up.len() < self.config.processes || self.has_worn();
        if !is_wanted && let Some(starting) = self.starting.take() {
            self.give_up(starting, now);
            self.publish();
        }
        let over = self.slow_starts.extract_if(.., |slow| !is_wanted || slow.until <= now);
        for slow in over.collect::<Vec<_>>() {
            self.give_up(slow, now);
        }
    }

    /// One that is not heard any more.
    pub(super) fn give_up(&mut self, starting: Starting, now: Instant) {
        let signer = starting.signer;
        self.login_is_cut(&signer);
        self.suspect_first_key(&signer);
        match signer.login {
            // To be killed in the middle of it may cost the token: it has time to come to its end.
            LoginStage::Running(_) => self.let_go(signer, now + LOGIN_GRACE),
            // A signer that has explained itself is ending; one that has not is stuck.
            LoginStage::None | LoginStage::Requested(..) | LoginStage::Refused(_) => {
                let _ = signer.end(std::time::Duration::ZERO, &self.config.name);
            }
        }
    }

    /// What a slow one says is heard as that of the newest. The event comes back when it is another's.
    pub(super) fn hear_slow_start(&mut self, id: u64, event: Event) -> Option<Event> {
        let Some(at) = self.slow_starts.iter().position(|slow| slow.signer.id == id) else {
            return Some(event);
        };
        let slow = self.slow_starts.swap_remove(at);
        self.aside = self.starting.replace(slow);
        self.hear_starting(event);
        self.slow_starts.extend(self.starting.take());
        self.starting = self.aside.take();
        self.publish();
        None
    }

    /// Whether any signer is on its way.
    pub(super) fn is_starting(&self) -> bool {
        self.starting.is_some() || self.aside.is_some() || !self.slow_starts.is_empty()
    }

    /// Whether a slow one may be at its login.
    pub(super) fn slow_start_logs_in(&self) -> bool {
        self.slow_starts.iter().any(|slow| matches!(slow.signer.login, LoginStage::Running(_)))
    }
}
