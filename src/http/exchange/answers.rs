//! The octets of answers, until they are taken. A client may take its time, and there may be a
//! thousand of those: what is large and says the same is held once, and there is a limit of all.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use actix_http::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::body::Body;
use crate::domain::key::sha256;

/// Octets of an answer that are sent at a time.
const PART_OCTETS: usize = 16_384;

/// All large answers that are held at a time, in octets.
const ANSWERS_OCTETS_MAX: usize = 67_108_864;

/// The large answers that are being sent.
#[derive(Default)]
pub(in crate::http) struct Answers(Mutex<Held>);

#[derive(Default)]
struct Held {
    octets: usize,
    by_digest: HashMap<[u8; 32], Weak<Answer>>,
}

/// One that is held.
struct Answer {
    octets: Bytes,
    digest: [u8; 32],
    answers: Weak<Answers>,
}

/// A part in its holding.
struct Share(Arc<Answer>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.octets
    }
}

impl Answers {
    /// Holds an answer until all of it is dropped. None when there is no room.
    pub(super) fn hold(self: &Arc<Self>, octets: Bytes) -> Option<Bytes> {
        if octets.len() <= PART_OCTETS {
            return Some(octets);
        }
        let digest = sha256(&octets);
        let mut held = self.held();
        if let Some(same) = held.by_digest.get(&digest).and_then(Weak::upgrade) {
            drop(held);
            return Some(Bytes::from_owner(Share(same)));
        }
        if held.octets + octets.len() > ANSWERS_OCTETS_MAX {
            return None;
        }
        held.octets += octets.len();
        let answer = Arc::new(Answer { octets, digest, answers: Arc::downgrade(self) });
        held.by_digest.insert(digest, Arc::downgrade(&answer));
        drop(held);
        Some(Bytes::from_owner(Share(answer)))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(answers) = self.answers.upgrade() else { return };
        let mut held = answers.held();
        held.octets -= self.octets.len();
        // One that says the same may have come in between.
        if held.by_digest.get(&self.digest).is_some_and(|same| same.strong_count() == 0) {
            held.by_digest.remove(&self.digest);
        }
    }
}

/// An answer that leaves part by part.
pub(super) struct Paced {
    octets: Bytes,
    length: u64,
    /// While this is there, the dispatcher of actix-http knows that the body of the request was not
    /// read, and gives the client the time to take the answer before it closes the connection.
    _unread: Option<Rc<Body>>,
}

impl Paced {
    pub(super) fn new(octets: Bytes, unread: Option<Rc<Body>>) -> Self {
        Self { length: octets.len() as u64, octets, _unread: unread }
    }
}

impl MessageBody for Paced {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.octets.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.octets.len().min(PART_OCTETS);
        Poll::Ready(Some(Ok(self.octets.split_to(length))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(octet: u8, length: usize) -> Bytes {
        Bytes::from(vec![octet; length])
    }

    #[test]
    fn what_says_the_same_is_held_once_and_what_is_dropped_no_more() {
        let answers = Arc::new(Answers::default());
        let readers: Vec<_> =
            (0..1_000).map(|_| answers.hold(answer(1, 1_000_000)).unwrap()).collect();
        assert_eq!(answers.held().octets, 1_000_000);
        let other = answers.hold(answer(2, 1_000_000)).unwrap();
        assert_eq!(answers.held().octets, 2_000_000);
        drop((readers, other));
        let held = answers.held();
        assert!(held.octets == 0 && held.by_digest.is_empty());
    }

    #[test]
    fn there_is_a_limit_of_all() {
        let answers = Arc::new(Answers::default());
        let half = ANSWERS_OCTETS_MAX / 2;
        let held = (answers.hold(answer(1, half)).unwrap(), answers.hold(answer(2, half)).unwrap());
        assert!(answers.hold(answer(3, PART_OCTETS + 1)).is_none());
        assert!(answers.hold(answer(3, PART_OCTETS)).is_some());
        assert!(answers.hold(answer(2, half)).is_some());
        drop(held);
        assert!(answers.hold(answer(3, half)).is_some());
    }
}
