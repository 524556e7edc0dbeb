//! Rolling replacement of signers that have used too much of something: the next one comes up first, then the
//! old one finishes its pending requests, closes its sessions and ends. Where the token accepts one process
//! at a time, the old one ends first and requests wait for the start.

use std::time::Duration;

use tokio::time::Instant;

use super::{END_GRACE_MS, Supervisor};
use crate::hsm::{
    Usage,
    fault::{Class, Fault},
    process::{Event, Service, Signer},
    protocol::{FromSigner, LoginNotice},
    recycling::{RecycleCause, Wear},
};

/// A signer that was told to end.
pub(super) struct Leaving {
    pub(super) signer: Signer,
    /// When it is killed.
    pub(super) until: Instant,
}

impl Supervisor {
    /// Records what a signer uses, and marks it for replacement when that is too much.
    pub(super) fn record_usage(&mut self, at: usize, usage: Usage) {
        if self.up[at].used(usage) {
            let most = self.most_used();
            self.published.send_if_modified(|published| {
                published.usage = most;
                // Watchers are not woken, because none waits for this.
                false
            });
        } else if self.config.recycling.signatures == 0 {
            return;
        }
        let signer = &self.up[at];
        let Some((at_first, now)) = signer.usage else { return };
        let memory_max_mb = self.config.sandbox.memory_max_mb;
        let recycling = &self.config.recycling;
        let wear = recycling.judge(at_first, now, signer.signatures, memory_max_mb);
        let service = match (signer.service, wear) {
            (Service::Serves, Wear::Worn(cause)) => Service::Worn(cause),
            (Service::Serves | Service::Worn(_), Wear::Exhausted(cause)) => {
                Service::Exhausted(cause)
            }
            _ => return,
        };
        if signer.service == Service::Serves
            && let Wear::Worn(cause) | Wear::Exhausted(cause) = wear
        {
            tracing::warn!(
                token = self.config.name,
                pid = signer.pid,
                cause = cause.name(),
                memory_mb = now.memory >> 20,
                descriptors = now.descriptors,
                sessions = now.sessions,
                signatures = signer.signatures,
                action = "replace it in good order",
                "signer is worn"
            );
        }
        self.up[at].service = service;
    }

    /// For each resource, the most that a signer uses.
    pub(super) fn most_used(&self) -> Option<Usage> {
        let all = self.up.iter().filter_map(|signer| signer.usage).map(|(_, now)| now);
        all.reduce(|one, other| Usage {
            memory: one.memory.max(other.memory),
            descriptors: one.descriptors.max(other.descriptors),
            sessions: one.sessions.max(other.sessions),
        })
    }

    /// Whether a signer gets more requests. One that is close to a limit gets none while another is about to
    /// come up, because those requests may fail and can be served by the other.
    pub(super) fn may_be_given_more(&self, signer: &Signer) -> bool {
        match signer.service {
            Service::Serves | Service::Worn(_) => true,
            Service::Exhausted(_) => !self.is_signer_coming(),
            Service::Retires(_) => false,
        }
    }

    /// The signer with the fewest pending requests; among equals, the one that listed the token the longest
    /// ago.
    pub(super) fn least_busy(&self) -> Option<usize> {
        let serving = (0..self.up.len()).filter(|at| self.up[*at].serves());
        serving.min_by_key(|at| (self.up[*at].pending.len(), self.up[*at].listed_at))
    }

    /// Whether a signer that is up is to be replaced.
    pub(super) fn has_worn_signer(&self) -> bool {
        self.up.iter().any(|signer| worn(signer).is_some() || !signer.serves())
    }

    /// Whether to start one signer more than configured, as a replacement.
    pub(super) fn wants_a_replacement(&self) -> bool {
        let at_rest = self.up.len() == self.config.processes && self.leaving.is_empty();
        at_rest
            && !self.replaces_one_at_a_time()
            && self.up.iter().any(|signer| worn(signer).is_some())
    }

    /// A signer with one session for everything shows that the token has no second session.
    fn replaces_one_at_a_time(&self) -> bool {
        self.one_at_a_time || self.up.iter().any(|signer| signer.alone)
    }

    /// Retires a worn signer when it can be spared, and dismisses those with nothing pending.
    pub(super) fn retire_worn_signers(&mut self, now: Instant) {
        let is_replaced = self.up.len() > self.config.processes;
        let first = self.replaces_one_at_a_time()
            && self.starting.is_none()
            && self.leaving.is_empty()
            && self.is_signer_coming();
        let retires = |signer: &Signer| !signer.serves();
        if (is_replaced || first)
            && !self.up.iter().any(retires)
            && let Some((signer, cause)) =
                self.up.iter_mut().find_map(|signer| worn(signer).map(|cause| (signer, cause)))
        {
            signer.service = Service::Retires(cause);
        }
        while let Some(at) =
            self.up.iter().position(|signer| retires(signer) && signer.pending.is_empty())
        {
            let signer = self.up.swap_remove(at);
            if let Service::Retires(cause) = signer.service {
                let (token, pid) = (&self.config.name, signer.pid);
                tracing::info!(token, pid, cause = cause.name(), "signer recycled");
                self.meter.recycled(cause);
            }
            self.failed_canaries.remove(&signer.id);
            self.dismiss_until(signer, now + Duration::from_millis(END_GRACE_MS));
            self.publish();
        }
        let overdue = self.leaving.extract_if(.., |leaving| leaving.until <= now);
        for Leaving { signer, .. } in overdue.collect::<Vec<_>>() {
            let _ = signer.end(Duration::ZERO, &self.config.name);
        }
    }

    /// Tells a signer to end, and kills it at `until`.
    pub(super) fn dismiss_until(&mut self, mut signer: Signer, until: Instant) {
        signer.dismiss();
        self.leaving.push(Leaving { signer, until });
    }

    /// Of a leaving signer, only the outcome of a login and its end matter.
    pub(super) fn handle_leaving_event(&mut self, id: u64, event: Event) {
        match event {
            Event::Message(FromSigner::Login(
                word @ (LoginNotice::Ended(_) | LoginNotice::Refused(_)),
            )) => {
                let _ = self.handle_login_notice(id, word);
                return;
            }
            Event::Message(_) => return,
            Event::Gone(_) => {}
        }
        let gone = self.leaving.extract_if(.., |leaving| leaving.signer.id == id);
        for Leaving { signer, .. } in gone.collect::<Vec<_>>() {
            let _ = signer.end(Duration::from_millis(END_GRACE_MS), &self.config.name);
        }
    }

    /// Whether the token refused a replacement because it has no room for two processes.
    pub(super) fn has_no_room_for_two(&self, fault: &Fault) -> bool {
        fault.class == Class::Capacity && self.up.len() >= self.config.processes
    }

    /// From now on, a worn signer ends before its replacement starts.
    pub(super) fn replace_one_at_a_time_from_now_on(&mut self, fault: &Fault) {
        self.log_fault(fault, None, "end the worn signer first, and start the next one then");
        self.one_at_a_time = true;
        if let Some(starting) = self.starting.take() {
            let _ = starting.signer.end(Duration::from_millis(END_GRACE_MS), &self.config.name);
        }
        self.publish();
    }
}

fn worn(signer: &Signer) -> Option<RecycleCause> {
    match signer.service {
        Service::Worn(cause) | Service::Exhausted(cause) => Some(cause),
        Service::Serves | Service::Retires(_) => None,
    }
}
