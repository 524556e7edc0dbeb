//! Flow control between the requests of a connection, which set the state, and its reader, which waits for it.

use std::{
    cell::{Cell, RefCell},
    io,
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;

/// The octets that may follow the head of a request over HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http) enum Expected {
    /// The next head, once there is an answer.
    #[default]
    Head,
    /// So many octets of a body.
    Octets(usize),
    /// Chunks of a body; read while a handler waits for them.
    Chunks { is_awaited: bool },
    /// The rest of a body that no handler reads. The connection ends after it.
    Leftovers,
}

/// The state that requests set and the reader waits for.
#[derive(Default)]
pub(in crate::http) struct Flow {
    expected: Cell<Expected>,
    /// The other end does not take what it is sent.
    is_blocked: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    taken: Notify,
}

impl Flow {
    pub(in crate::http) fn expected(&self) -> Expected {
        self.expected.get()
    }

    pub(in crate::http) fn expect(&self, expected: Expected) {
        let before = self.expected.replace(expected);
        if before != expected {
            self.resume();
        }
    }

    /// Somebody waits for the next chunk of the body, or does not.
    pub(in crate::http) fn await_chunk(&self, is_awaited: bool) {
        if matches!(self.expected.get(), Expected::Chunks { .. }) {
            self.expect(Expected::Chunks { is_awaited });
        }
    }

    /// Nothing is read until [`Self::resume`].
    pub(super) fn park(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        *self.reader.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Wakes the reader, because its reason to wait may have gone.
    pub(super) fn resume(&self) {
        let waiting = self.reader.borrow_mut().take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// Whether the other end has taken what it was sent.
    pub(super) fn is_taken(&self, is_taken: bool) {
        if self.is_blocked.replace(!is_taken) && is_taken {
            self.resume();
            self.taken.notify_waiters();
        }
    }

    /// Returns when the other end takes what it is sent.
    pub(in crate::http) async fn has_room(&self) {
        while self.is_blocked.get() {
            self.taken.notified().await;
        }
    }
}
