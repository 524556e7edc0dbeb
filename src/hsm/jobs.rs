//! Signatures on their way: what was asked, until when, and by whom.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{HsmError, protocol::SignOrder};
use crate::domain::key::Signature;

/// A signature that a caller waits for.
pub(super) struct Job {
    /// What to sign with which key.
    pub(super) order: SignOrder,
    /// When the caller stops waiting.
    pub(super) deadline: Instant,
    /// Whether a signer was lost over it already; there is no third attempt.
    pub(super) retried: bool,
    /// The caller.
    pub(super) reply: oneshot::Sender<Result<Signature, HsmError>>,
}

impl Job {
    /// Tells the caller, who may have gone.
    pub(super) fn answer(self, result: Result<Signature, HsmError>) {
        let _ = self.reply.send(result);
    }

    fn is_wanted(&self, now: Instant) -> bool {
        !self.reply.is_closed() && self.deadline > now
    }
}

/// The signatures that no signer has taken yet, oldest first.
#[derive(Default)]
pub(super) struct Queue(VecDeque<Job>);

impl Queue {
    /// Takes a new job in, unless `queue_max` wait already.
    pub(super) fn push(&mut self, job: Job, queue_max: usize) {
        if self.0.len() >= queue_max {
            job.answer(Err(HsmError::Busy { retry_after_seconds: 1 }));
        } else {
            self.0.push_back(job);
        }
    }

    /// Takes a job back whose signer was lost; a second loss is final.
    pub(super) fn give_back(&mut self, mut job: Job) {
        if job.retried {
            job.answer(Err(HsmError::Unavailable { retry_after_seconds: 1 }));
        } else {
            job.retried = true;
            self.0.push_front(job);
        }
    }

    /// The next job that somebody still waits for.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Job> {
        loop {
            let job = self.0.pop_front()?;
            if job.is_wanted(now) {
                return Some(job);
            }
        }
    }

    /// Drops what nobody waits for any more. Callers watch their deadlines themselves.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.0.front().is_some_and(|job| !job.is_wanted(now)) {
            self.0.pop_front();
        }
    }

    /// Answers all with [`HsmError::Unavailable`].
    pub(super) fn refuse_all(&mut self, retry_after: Duration) {
        let retry_after_seconds = whole_seconds(retry_after);
        for job in self.0.drain(..) {
            job.answer(Err(HsmError::Unavailable { retry_after_seconds }));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// For `Retry-After`: rounded up, at least 1.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::SignatureAlgorithm;

    type Reply = oneshot::Receiver<Result<Signature, HsmError>>;

    fn job(label: &str, deadline: Instant) -> (Job, Reply) {
        let (reply, answer) = oneshot::channel();
        let order = SignOrder {
            label: label.to_owned(),
            id: vec![],
            spki_sha256: [0; 32],
            algorithm: SignatureAlgorithm::EcdsaSha256,
            digest: vec![0; 32],
        };
        (Job { order, deadline, retried: false, reply }, answer)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn one_more_than_the_queue_holds_is_busy() {
        let mut queue = Queue::default();
        let (first, mut waiting) = job("a", soon());
        let (second, mut refused) = job("b", soon());
        queue.push(first, 1);
        queue.push(second, 1);
        assert!(waiting.try_recv().is_err());
        assert!(matches!(refused.try_recv(), Ok(Err(HsmError::Busy { retry_after_seconds: 1 }))));
    }

    #[test]
    fn a_job_is_given_back_once_and_goes_first() {
        let mut queue = Queue::default();
        let (lost, mut answer) = job("lost", soon());
        let (other, _other) = job("other", soon());
        queue.push(other, 9);
        queue.give_back(lost);
        let again = queue.pop(Instant::now()).unwrap();
        assert_eq!(again.order.label, "lost");
        queue.give_back(again);
        assert!(matches!(answer.try_recv(), Ok(Err(HsmError::Unavailable { .. }))));
        assert_eq!(queue.pop(Instant::now()).unwrap().order.label, "other");
    }

    #[test]
    fn jobs_that_nobody_waits_for_are_not_signed() {
        let mut queue = Queue::default();
        let (gone, answer) = job("gone", soon());
        let (late, _late) = job("late", Instant::now());
        drop(answer);
        queue.push(gone, 9);
        queue.push(late, 9);
        assert!(queue.pop(Instant::now()).is_none());
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(5)), 5);
    }
}
