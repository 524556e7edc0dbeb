//! Signatures on their way: what was asked, until when, by whom, and whose turn is next.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{HsmError, KeyRef, protocol::SignRequest};
use crate::domain::key::Signature;

/// A signature, and the signer that made it.
pub(super) type MadeBy = (Signature, u64);

/// A signature that a caller waits for.
pub(super) struct Job {
    /// What to sign with which key.
    pub(super) request: SignRequest,
    /// Who asks: callers of one name share a turn.
    pub(super) client: Arc<str>,
    /// When it was asked for.
    pub(super) since: Instant,
    /// When the caller stops waiting.
    pub(super) deadline: Instant,
    /// When a signer was given it last.
    pub(super) given_at: Option<Instant>,
    /// Whether a signer was lost over it already; there is no third attempt.
    pub(super) retried: bool,
    /// The caller.
    pub(super) reply: oneshot::Sender<Result<MadeBy, HsmError>>,
}

impl Job {
    /// Tells the caller, who may have gone.
    pub(super) fn answer(self, result: Result<MadeBy, HsmError>) {
        let _ = self.reply.send(result);
    }

    fn is_wanted(&self, now: Instant) -> bool {
        !self.reply.is_closed() && self.deadline > now
    }

    fn answer_late(self) {
        self.answer(Err(HsmError::DeadlineMissed { retry_after_seconds: 1 }));
    }

    /// Refuses it when it cannot be there in time.
    fn if_in_time(self, now: Instant, taking: Duration) -> Option<Self> {
        if self.is_wanted(now + taking) {
            return Some(self);
        }
        self.answer(Err(HsmError::Busy { retry_after_seconds: 1 }));
        None
    }
}

/// The signatures that no signer has taken yet. Clients take turns, each with its oldest; so a client
/// waits for its own requests and for one of each other client, however many those have sent.
#[derive(Default)]
pub(super) struct Queue {
    /// Taken back from signers that were lost; they have had their turn and go first.
    returned: VecDeque<Job>,
    /// Of keys that are in question; they have had their turn, too.
    held: Vec<Job>,
    /// Never empty ones.
    waiting: HashMap<Arc<str>, VecDeque<Job>>,
    /// Each client that waits, once.
    turns: VecDeque<Arc<str>>,
    /// Of all clients.
    waiting_count: usize,
}

impl Queue {
    /// Takes a new job in. When `queue_max` wait already, the client of whom most wait loses one, be
    /// it the newest of its own or one that is already here.
    pub(super) fn push(&mut self, job: Job, queue_max: usize, now: Instant) {
        if self.waiting_count >= queue_max {
            self.expire(now);
        }
        if self.waiting_count >= queue_max {
            let own = self.waiting.get(&job.client).map_or(0, VecDeque::len);
            let longest = self.waiting.iter().max_by_key(|(_, jobs)| jobs.len());
            match longest {
                Some((client, jobs)) if jobs.len() > own => {
                    let client = Arc::clone(client);
                    if let Some(shed) = self.take(&client, VecDeque::pop_back) {
                        shed.answer(Err(HsmError::Busy { retry_after_seconds: 1 }));
                    }
                }
                _ => return job.answer(Err(HsmError::Busy { retry_after_seconds: 1 })),
            }
        }
        self.waiting_count += 1;
        let client = Arc::clone(&job.client);
        let jobs = self.waiting.entry(Arc::clone(&client)).or_default();
        if jobs.is_empty() {
            self.turns.push_back(client);
        }
        jobs.push_back(job);
    }

    /// Takes a job back whose signer was lost; a second loss is final.
    pub(super) fn give_back(&mut self, mut job: Job) {
        if job.retried {
            job.answer(Err(HsmError::Unavailable { retry_after_seconds: 1 }));
        } else {
            job.retried = true;
            self.returned.push_front(job);
        }
    }

    /// The next job that somebody will still wait for when it has taken its time; others are refused.
    pub(super) fn pop(&mut self, now: Instant, taking: impl Fn(&Job) -> Duration) -> Option<Job> {
        while let Some(job) = self.returned.pop_front() {
            let taking = taking(&job);
            if let Some(job) = job.if_in_time(now, taking) {
                return Some(job);
            }
        }
        while let Some(client) = self.turns.front().cloned() {
            let job = self.take(&client, VecDeque::pop_front)?;
            let taking = taking(&job);
            let Some(job) = job.if_in_time(now, taking) else { continue };
            if self.waiting.contains_key(&client) {
                self.turns.rotate_left(1);
            }
            return Some(job);
        }
        None
    }

    /// Keeps a job until it is known whether its key signs.
    pub(super) fn hold(&mut self, job: Job, queue_max: usize) {
        match self.held.len() < queue_max {
            true => self.held.push(job),
            false => job.answer(Err(HsmError::Busy { retry_after_seconds: 1 })),
        }
    }

    /// A key is not in question any more: its jobs are next.
    pub(super) fn release(&mut self, key: &KeyRef) {
        let released = self.held.extract_if(.., |job| KeyRef::of(&job.request) == *key);
        self.returned.extend(released);
    }

    /// Refuses the jobs of a key that are held.
    pub(super) fn refuse(&mut self, key: &KeyRef, refusal: &HsmError) {
        for job in self.held.extract_if(.., |job| KeyRef::of(&job.request) == *key) {
            job.answer(Err(refusal.clone()));
        }
    }

    /// One job of a client, from the end that `which` takes; the client leaves with its last.
    fn take(
        &mut self,
        client: &Arc<str>,
        which: fn(&mut VecDeque<Job>) -> Option<Job>,
    ) -> Option<Job> {
        let jobs = self.waiting.get_mut(client)?;
        let job = which(jobs)?;
        self.waiting_count -= 1;
        if jobs.is_empty() {
            self.waiting.remove(client);
            self.turns.retain(|other| other != client);
        }
        Some(job)
    }

    /// Drops what nobody waits for any more. Callers watch their deadlines themselves; whose is over just
    /// now is told so.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.returned.iter().any(|job| !job.is_wanted(now)) {
            let (wanted, late): (VecDeque<_>, VecDeque<_>) =
                self.returned.drain(..).partition(|job| job.is_wanted(now));
            self.returned = wanted;
            late.into_iter().for_each(Job::answer_late);
        }
        self.held.extract_if(.., |job| !job.is_wanted(now)).for_each(Job::answer_late);
        let overdue: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, jobs)| jobs.front().is_some_and(|job| !job.is_wanted(now)))
            .map(|(client, _)| Arc::clone(client))
            .collect();
        for client in overdue {
            while self
                .waiting
                .get(&client)
                .is_some_and(|jobs| jobs.front().is_some_and(|job| !job.is_wanted(now)))
            {
                let late = self.take(&client, VecDeque::pop_front);
                late.into_iter().for_each(Job::answer_late);
            }
        }
    }

    /// Answers all with [`HsmError::Unavailable`].
    pub(super) fn refuse_all(&mut self, retry_after: Duration) {
        let retry_after_seconds = whole_seconds(retry_after);
        let Self { returned, held, waiting, turns, waiting_count } = self;
        turns.clear();
        *waiting_count = 0;
        let waiting = waiting.drain().flat_map(|(_, jobs)| jobs);
        for job in returned.drain(..).chain(held.drain(..)).chain(waiting) {
            job.answer(Err(HsmError::Unavailable { retry_after_seconds }));
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.returned.len() + self.held.len() + self.waiting_count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// For `Retry-After`: rounded up, at least 1.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
