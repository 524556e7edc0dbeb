//! Changes of the keys on the token: one at a time, each sent to one signer and never retried. After a change
//! every signer lists the token, so that none works with an outdated listing.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{BACKLOG_FULL, Supervisor};
use crate::hsm::{
    HsmError,
    fault::{Class, Fault, sanitise},
    figures::LossCause,
    jobs::whole_seconds,
    key_change::{KeyChange, KeyName},
    process::{Ending, Task},
    protocol::{KeyChangeResult, Request},
};

/// A change that a caller waits for.
pub(in crate::hsm) struct ChangeJob {
    pub(in crate::hsm) change: KeyChange,
    /// After this, the change is not begun any more.
    pub(in crate::hsm) deadline: Instant,
    pub(in crate::hsm) reply: oneshot::Sender<ChangeOutcome>,
}

/// What the supervisor knows about the outcome of a change.
pub(in crate::hsm) enum ChangeOutcome {
    /// The signer has answered.
    Answered(KeyChangeResult),
    /// No signer was asked.
    NotAsked(HsmError),
    /// A signer was asked and was lost, or failed halfway, and does nothing more. Only the token shows the
    /// outcome; the error is for the caller when the change turns out not to have been made.
    Lost(HsmError),
}

/// The caller of a change that was sent to a signer.
pub(in crate::hsm) struct PendingChange {
    pub(in crate::hsm) name: KeyName,
    pub(in crate::hsm) reply: oneshot::Sender<ChangeOutcome>,
}

impl PendingChange {
    pub(super) fn answer(self, changed: ChangeOutcome) {
        let _ = self.reply.send(changed);
    }

    /// Answers after the end of the signer (`ending`), because until then it may still change the token.
    pub(super) fn lost(self, ending: &mut Option<Ending>) {
        let ending = ending.take();
        tokio::spawn(async move {
            if let Some(ending) = ending {
                let _ = ending.await;
            }
            self.answer(ChangeOutcome::Lost(HsmError::UNAVAILABLE));
        });
    }
}

/// Changes that were not sent to a signer yet.
#[derive(Default)]
pub(super) struct Changes(VecDeque<ChangeJob>);

impl Changes {
    /// Refuses a change when `queue_max` wait already.
    pub(super) fn push(&mut self, change: ChangeJob, queue_max: usize) {
        if self.0.len() >= queue_max {
            let busy = HsmError::BUSY;
            let _ = change.reply.send(ChangeOutcome::NotAsked(busy));
        } else {
            self.0.push_back(change);
        }
    }

    pub(super) fn refuse_all(&mut self, retry_after: Duration) {
        let retry_after_seconds = whole_seconds(retry_after);
        for change in self.0.drain(..) {
            let unavailable = HsmError::Unavailable { retry_after_seconds };
            let _ = change.reply.send(ChangeOutcome::NotAsked(unavailable));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the oldest is given up.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.front().map(|change| change.deadline)
    }

    fn pop(&mut self, now: Instant) -> Option<ChangeJob> {
        loop {
            let change = self.0.pop_front()?;
            if change.deadline > now && !change.reply.is_closed() {
                return Some(change);
            }
            let late = HsmError::LATE;
            let _ = change.reply.send(ChangeOutcome::NotAsked(late));
        }
    }

    fn expire(&mut self, now: Instant) {
        while self.until().is_some_and(|until| until <= now) {
            if let Some(change) = self.pop(now) {
                self.0.push_front(change);
            }
        }
    }
}

type Reply = oneshot::Sender<Result<(), HsmError>>;

/// Listings that every signer has to make.
#[derive(Default)]
pub(super) struct Relists {
    waiting: Vec<Reply>,
    under_way: Vec<UnderWay>,
}

struct UnderWay {
    owing: HashSet<u64>,
    listed: bool,
    reply: Reply,
}

impl Relists {
    pub(super) fn wait(&mut self, reply: Reply) {
        self.waiting.push(reply);
    }

    /// A signer has made its listing, or will not make it. Where no signer has made it, the callers wait for
    /// the next round.
    pub(super) fn done(&mut self, signer: u64, listed: bool) {
        for relist in &mut self.under_way {
            relist.listed |= relist.owing.remove(&signer) && listed;
        }
        let ended = self.under_way.extract_if(.., |relist| relist.owing.is_empty());
        for UnderWay { listed, reply, .. } in ended {
            match listed {
                true => drop(reply.send(Ok(()))),
                false => self.waiting.push(reply),
            }
        }
    }

    pub(super) fn refuse_all(&mut self, retry_after: Duration) {
        let retry_after_seconds = whole_seconds(retry_after);
        for reply in self.waiting.drain(..) {
            let _ = reply.send(Err(HsmError::Unavailable { retry_after_seconds }));
        }
    }
}

impl Supervisor {
    /// Sends the next change to the signer with the fewest pending requests, unless a change is pending
    /// already.
    pub(super) fn change_if_due(&mut self, now: Instant) {
        self.changes.expire(now);
        if self.up.iter().any(|signer| signer.is_changing()) {
            return;
        }
        let Some(at) = self.least_busy() else { return };
        let Some(ChangeJob { change, reply, .. }) = self.changes.pop(now) else { return };
        let name = change.name().clone();
        // The key is unusable until the signer has proven it, because a token may list a key that it is still
        // making, and a crash may leave half of one.
        self.unproven.extend(change.makes().cloned());
        let patience = Duration::from_millis(self.config.generate_deadline_ms.max(1));
        let task = Task::Change(PendingChange { name, reply });
        if let Err(task) = self.up[at].ask(Request::Change(Box::new(change)), task, patience) {
            if let Task::Change(reply) = *task {
                let unavailable = HsmError::UNAVAILABLE;
                self.unproven.remove(&reply.name);
                reply.answer(ChangeOutcome::NotAsked(unavailable));
            }
            self.lose(at, LossCause::Protocol, BACKLOG_FULL);
        }
    }

    /// Has all signers list the token for the callers that wait for that.
    pub(super) fn relist_if_wanted(&mut self) {
        if self.relists.waiting.is_empty() || self.up.is_empty() {
            return;
        }
        let patience = Duration::from_millis(self.config.start_deadline_ms.max(1));
        let mut owing = HashSet::new();
        for at in (0..self.up.len()).rev() {
            if !self.up[at].serves() {
                continue;
            }
            match self.up[at].ask(Request::Catalogue, Task::Relist, patience) {
                Ok(()) => drop(owing.insert(self.up[at].id)),
                Err(_) => self.lose(at, LossCause::Protocol, BACKLOG_FULL),
            }
        }
        if owing.is_empty() {
            return;
        }
        for reply in std::mem::take(&mut self.relists.waiting) {
            let owing = owing.clone();
            self.relists.under_way.push(UnderWay { owing, listed: false, reply });
        }
    }

    /// A signer has answered a change. The patience with its other pending requests starts now, because the
    /// change may have blocked them.
    pub(super) fn changed(&mut self, at: usize, reply: PendingChange, answer: KeyChangeResult) {
        self.up[at].restart_patience(Instant::now());
        if !matches!(answer, KeyChangeResult::Rejected { destroyed: false, .. }) {
            self.unproven.remove(&reply.name);
        }
        if let KeyChangeResult::Rejected { reason, destroyed } = &answer {
            let reason = sanitise(reason);
            tracing::error!(
                alarm = "key_rejected",
                token = self.config.name,
                key = reply.name.label,
                reason,
                destroyed,
                "the token made a key that is not what was asked for"
            );
        }
        reply.answer(ChangeOutcome::Answered(answer));
    }

    /// A failed change may have left something on the token, so the caller has to look.
    pub(super) fn change_failed(&mut self, at: usize, reply: PendingChange, fault: &Fault) {
        self.up[at].restart_patience(Instant::now());
        let label = reply.name.label.clone();
        reply.answer(ChangeOutcome::Lost(match fault.class == Class::Capacity {
            true => HsmError::BUSY,
            false => HsmError::UNAVAILABLE,
        }));
        self.task_failed(at, fault, Some(&label));
    }
}
