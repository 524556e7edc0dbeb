//! The bounded queue from callers to the threads of the ledger.

use std::time::Instant;

use prometheus::Histogram;
use tokio::sync::{mpsc, oneshot};

use super::{
    error::LedgerError,
    operation::{Answered, Operation, Slot, WhenFull},
};

/// What travels to a thread.
pub(super) enum Message<J> {
    /// Execute this.
    Job(Box<J>),
    /// End, and drop the sender when nothing is held any more.
    Stop(oneshot::Sender<()>),
}

/// The sending half; the receiving half belongs to one thread, or is shared by several.
pub(super) struct Queue<J> {
    messages: mpsc::Sender<Message<J>>,
    /// From the call to the answer.
    seconds: Histogram,
}

impl<J> Queue<J> {
    pub(super) fn new(jobs_max: usize, seconds: Histogram) -> (Self, mpsc::Receiver<Message<J>>) {
        let (messages, receiver) = mpsc::channel(jobs_max);
        (Self { messages, seconds }, receiver)
    }

    /// Has an operation executed and waits for its answer. An operation that was begun is finished
    /// even if the caller is dropped meanwhile.
    pub(super) fn call<O>(&self, operation: O) -> impl Future<Output = Answered<O>>
    where
        O: Operation,
        J: From<Slot<O>>,
    {
        // Boxed before the future begins, so that the future does not carry the operation.
        let (slot, answered) = Slot::new(operation);
        let message = Message::Job(Box::new(J::from(slot)));
        async move {
            let called = Instant::now();
            self.send(O::WHEN_FULL, message).await?;
            let answer = answered.await;
            self.seconds.observe(called.elapsed().as_secs_f64());
            answer.unwrap_or_else(|_| Err(closed().into()))
        }
    }

    async fn send(&self, when_full: WhenFull, message: Message<J>) -> Result<(), LedgerError> {
        match when_full {
            WhenFull::Refuse => self.messages.try_send(message).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
                mpsc::error::TrySendError::Closed(_) => closed(),
            }),
            WhenFull::Wait => self.messages.send(message).await.map_err(|_| closed()),
        }
    }

    /// How many messages are waiting.
    pub(super) fn waiting(&self) -> usize {
        self.messages.max_capacity() - self.messages.capacity()
    }

    /// Has one thread end after everything that was queued before, and waits until it has ended.
    pub(super) async fn stop(&self) {
        let (ended, end) = oneshot::channel();
        if self.messages.send(Message::Stop(ended)).await.is_ok() {
            // RecvError means that the thread dropped its sender, so it has ended.
            let _ = end.await;
        }
    }
}

fn closed() -> LedgerError {
    LedgerError::unavailable("it is closed, or its thread has ended")
}
