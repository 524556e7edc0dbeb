//! Replacing signers that are well but for what they have taken: the next one comes up first, then the
//! old one does what it owes, takes its leave of the token and ends. Where the token lets one process
//! in at a time it is the other way round, and requests wait for as long as a start takes.

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

/// A signer that has been told to go.
pub(super) struct Leaving {
    pub(super) signer: Signer,
    /// When it is killed.
    pub(super) until: Instant,
}

impl Supervisor {
    /// A signer has said what it has.
    pub(super) fn heed_usage(&mut self, at: usize, usage: Usage) {
        if self.up[at].used(usage) {
            let most = self.most_used();
            self.published.send_if_modified(|published| {
                published.usage = most;
                // Nobody waits for it.
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

    /// The most that a signer has of each.
    pub(super) fn most_used(&self) -> Option<Usage> {
        let all = self.up.iter().filter_map(|signer| signer.usage).map(|(_, now)| now);
        all.reduce(|one, other| Usage {
            memory: one.memory.max(other.memory),
            descriptors: one.descriptors.max(other.descriptors),
            sessions: one.sessions.max(other.sessions),
        })
    }

    /// Whether a signer gets more to do. One that is close to its limit does not, when another is about
    /// to come: what waits will be served, and what is given to it may fail.
    pub(super) fn may_be_given_more(&self, signer: &Signer) -> bool {
        match signer.service {
            Service::Serves | Service::Worn(_) => true,
            Service::Exhausted(_) => !self.may_come(),
            Service::Retires(_) => false,
        }
    }

    /// The signer that owes least, and of these the one that was asked for a listing the longest ago.
    pub(super) fn least_busy(&self) -> Option<usize> {
        let serving = (0..self.up.len()).filter(|at| self.up[*at].serves());
        serving.min_by_key(|at| (self.up[*at].pending.len(), self.up[*at].listed_at))
    }

    /// Whether a signer is to be replaced that is up.
    pub(super) fn has_worn(&self) -> bool {
        self.up.iter().any(|signer| worn(signer).is_some() || !signer.serves())
    }

    /// Whether one more signer than there are to be is to be started.
    pub(super) fn wants_a_replacement(&self) -> bool {
        let at_rest = self.up.len() == self.config.processes && self.leaving.is_empty();
        at_rest
            && !self.replaces_one_at_a_time()
            && self.up.iter().any(|signer| worn(signer).is_some())
    }

    /// One session for everything is what a token has that has no second one.
    fn replaces_one_at_a_time(&self) -> bool {
        self.one_at_a_time || self.up.iter().any(|signer| signer.alone)
    }

    /// Has a worn signer retire when it can be spared, and lets go those that owe nothing any more.
    pub(super) fn part_with_the_worn(&mut self, now: Instant) {
        let is_replaced = self.up.len() > self.config.processes;
        let first = self.replaces_one_at_a_time()
            && self.starting.is_none()
            && self.leaving.is_empty()
            && self.may_come();
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
            self.let_go(signer, now + Duration::from_millis(END_GRACE_MS));
            self.publish();
        }
        let overdue = self.leaving.extract_if(.., |leaving| leaving.until <= now);
        for Leaving { signer, .. } in overdue.collect::<Vec<_>>() {
            let _ = signer.end(Duration::ZERO, &self.config.name);
        }
    }

    /// Tells a signer to go, and waits for that until then.
    pub(super) fn let_go(&mut self, mut signer: Signer, until: Instant) {
        signer.dismiss();
        self.leaving.push(Leaving { signer, until });
    }

    /// Nothing that it says counts any more, but what came of its login, and its end.
    pub(super) fn hear_leaving(&mut self, id: u64, event: Event) {
        match event {
            Event::Said(FromSigner::Login(
                word @ (LoginNotice::Ended(_) | LoginNotice::Refused(_)),
            )) => {
                let _ = self.hear_of_login(id, word);
                return;
            }
            Event::Said(_) => return,
            Event::Gone(_) => {}
        }
        let gone = self.leaving.extract_if(.., |leaving| leaving.signer.id == id);
        for Leaving { signer, .. } in gone.collect::<Vec<_>>() {
            let _ = signer.end(Duration::from_millis(END_GRACE_MS), &self.config.name);
        }
    }

    /// Whether the replacement of a signer was refused since the token has no room beside that one.
    pub(super) fn has_no_room_for_two(&self, fault: &Fault) -> bool {
        fault.class == Class::Capacity && self.up.len() >= self.config.processes
    }

    /// From now on a worn signer goes first.
    pub(super) fn begin_to_replace_one_at_a_time(&mut self, fault: &Fault) {
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
