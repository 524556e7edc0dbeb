//! The queue of signatures, with fair turns by client, deadlines and load shedding.

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

/// A request for a signature, with its caller.
pub(super) struct Job {
    /// What to sign with which key.
    pub(super) request: SignRequest,
    /// The client; its requests share a turn.
    pub(super) client: Arc<str>,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
    /// When a signer was last given it.
    pub(super) given_at: Option<Instant>,
    /// Whether a signer was lost with it before; it is retried once.
    pub(super) retried: bool,
    /// The caller.
    pub(super) reply: oneshot::Sender<Result<MadeBy, HsmError>>,
}

impl Job {
    /// The caller may have gone.
    pub(super) fn answer(self, result: Result<MadeBy, HsmError>) {
        let _ = self.reply.send(result);
    }

    fn is_wanted(&self, now: Instant) -> bool {
        !self.reply.is_closed() && self.deadline > now
    }

    fn answer_late(self) {
        self.answer(Err(HsmError::LATE));
    }

    /// Refuses it when it would be late.
    fn if_in_time(self, now: Instant, expected_time: Duration) -> Option<Self> {
        if self.is_wanted(now + expected_time) {
            return Some(self);
        }
        self.answer(Err(HsmError::BUSY));
        None
    }
}

/// Signatures that no signer has. Clients take turns (round robin), so that each waits for its own requests
/// and one of each other client, however many those have.
#[derive(Default)]
pub(super) struct Queue {
    /// Jobs of lost signers. They have had their turn and go first.
    returned: VecDeque<Job>,
    /// Jobs whose keys are in question. They have had their turn, too.
    held: Vec<Job>,
    /// By client; a client without jobs has no entry.
    waiting: HashMap<Arc<str>, VecDeque<Job>>,
    /// The clients that wait, next first.
    turns: VecDeque<Arc<str>>,
    /// Jobs of all clients.
    waiting_count: usize,
}

impl Queue {
    /// Adds a job. When `queue_max` wait already, the client with the most jobs loses its newest one, which
    /// may be this one.
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
                        shed.answer(Err(HsmError::BUSY));
                    }
                }
                _ => return job.answer(Err(HsmError::BUSY)),
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

    /// Takes back a job whose signer was lost. A second loss is final.
    pub(super) fn give_back(&mut self, mut job: Job) {
        if job.retried {
            job.answer(Err(HsmError::UNAVAILABLE));
        } else {
            job.retried = true;
            self.returned.push_front(job);
        }
    }

    /// The next job that will be ready before its deadline; those that would be late are refused.
    pub(super) fn pop(
        &mut self,
        now: Instant,
        expected_time: impl Fn(&Job) -> Duration,
    ) -> Option<Job> {
        while let Some(job) = self.returned.pop_front() {
            let expected_time = expected_time(&job);
            if let Some(job) = job.if_in_time(now, expected_time) {
                return Some(job);
            }
        }
        while let Some(client) = self.turns.front().cloned() {
            let job = self.take(&client, VecDeque::pop_front)?;
            let expected_time = expected_time(&job);
            let Some(job) = job.if_in_time(now, expected_time) else { continue };
            if self.waiting.contains_key(&client) {
                self.turns.rotate_left(1);
            }
            return Some(job);
        }
        None
    }

    /// Holds a job until it is known whether its key signs.
    pub(super) fn hold(&mut self, job: Job, queue_max: usize) {
        match self.held.len() < queue_max {
            true => self.held.push(job),
            false => job.answer(Err(HsmError::BUSY)),
        }
    }

    /// Moves the held jobs of a key to the front of the queue.
    pub(super) fn release(&mut self, key: &KeyRef) {
        let released = self.held.extract_if(.., |job| KeyRef::of(&job.request) == *key);
        self.returned.extend(released);
    }

    /// Refuses the held jobs of a key.
    pub(super) fn refuse(&mut self, key: &KeyRef, refusal: &HsmError) {
        for job in self.held.extract_if(.., |job| KeyRef::of(&job.request) == *key) {
            job.answer(Err(refusal.clone()));
        }
    }

    /// Removes one job of a client, from the end that `which` chooses.
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

    /// Drops jobs whose callers have gone or whose deadlines have passed.
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
