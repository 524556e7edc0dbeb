//! Work for a thread that owns a connection, and the queue to it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use prometheus::Histogram;
use tokio::sync::{mpsc, oneshot};

use super::{error::LedgerError, sqlite::transaction::Transaction};

/// What travels to the thread.
pub(super) enum Message {
    /// Do this.
    Job(Box<dyn Job>),
    /// Do this; what is known of keys may be another after it.
    KeysJob(Box<dyn Job>),
    /// End, and drop the sender when nothing is held any more.
    Stop(oneshot::Sender<()>),
}

/// Work in two halves: done inside a transaction, answered when the transaction has ended.
pub(super) trait Job: Send {
    /// Does the work, perhaps not for the first time: what was done before has been forgotten. After
    /// an error, whose words are here for the log, the transaction must forget what was done.
    fn work(&mut self, transaction: &Transaction<'_>) -> Result<(), String>;
    /// Answers: what the work came to, or why its transaction did not last.
    fn answer(self: Box<Self>, transaction: Result<(), LedgerError>);
}

/// Whether a caller waits for a place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// Turn the caller away.
    Refuse,
    /// Let it wait: what has been begun must be able to end.
    Wait,
}

/// The way to the thread, or to several that share one queue.
pub(super) struct Queue {
    messages: mpsc::Sender<Message>,
    /// From the call to the answer.
    seconds: Histogram,
}

impl Queue {
    pub(super) fn new(jobs_max: usize, seconds: Histogram) -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(jobs_max);
        (Self { messages, seconds }, receiver)
    }

    /// Has `work` done and waits for the answer. A caller that is dropped meanwhile stops nothing that
    /// was begun; what would have been turned away from a full queue is not begun then.
    pub(super) async fn run<T, E>(
        &self,
        when_full: WhenFull,
        work: impl FnMut(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<LedgerError> + std::fmt::Display + Send + 'static,
    {
        let (task, answered) = task(when_full, work);
        self.ask(when_full, Message::Job(task), answered).await
    }

    /// The same for work that may change what is known of keys.
    pub(super) async fn run_on_keys<T, E>(
        &self,
        when_full: WhenFull,
        work: impl FnMut(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<LedgerError> + std::fmt::Display + Send + 'static,
    {
        let (task, answered) = task(when_full, work);
        self.ask(when_full, Message::KeysJob(task), answered).await
    }

    async fn ask<T, E: From<LedgerError>>(
        &self,
        when_full: WhenFull,
        message: Message,
        answered: oneshot::Receiver<Result<T, E>>,
    ) -> Result<T, E> {
        let called = Instant::now();
        self.send(when_full, message).await?;
        let answer = answered.await;
        self.seconds.observe(called.elapsed().as_secs_f64());
        answer.unwrap_or_else(|_| Err(closed().into()))
    }

    async fn send(&self, when_full: WhenFull, message: Message) -> Result<(), LedgerError> {
        match when_full {
            WhenFull::Refuse => self.messages.try_send(message).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
                mpsc::error::TrySendError::Closed(_) => closed(),
            }),
            WhenFull::Wait => self.messages.send(message).await.map_err(|_| closed()),
        }
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.messages.max_capacity() - self.messages.capacity()
    }

    /// Has one thread end after all that waits before this, and waits until it has.
    pub(super) async fn stop(&self) {
        let (ended, end) = oneshot::channel();
        if self.messages.send(Message::Stop(ended)).await.is_ok() {
            // An error says the same: the thread holds nothing any more.
            let _ = end.await;
        }
    }
}

fn closed() -> LedgerError {
    LedgerError::unavailable("it is closed, or its thread has ended")
}

/// Work on its way, and its answer.
fn task<T, E>(
    when_full: WhenFull,
    work: impl FnMut(&Transaction<'_>) -> Result<T, E> + Send + 'static,
) -> (Box<dyn Job>, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<LedgerError> + std::fmt::Display + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    (Box::new(Task { work: Some(work), result: None, answer, when_full }), answered)
}

struct Task<F, T, E> {
    /// `None` while it runs, and after a panic.
    work: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
    when_full: WhenFull,
}

impl<F, T, E> Job for Task<F, T, E>
where
    F: FnMut(&Transaction<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<LedgerError> + std::fmt::Display + Send,
{
    fn work(&mut self, transaction: &Transaction<'_>) -> Result<(), String> {
        self.result = None;
        // What was not begun need not be when nobody waits for it any more.
        if self.when_full == WhenFull::Refuse && self.answer.is_closed() {
            return Err(ABANDONED.to_owned());
        }
        let Some(mut work) = self.work.take() else { return Err(PANICKED.to_owned()) };
        // Sound: the closure is gone after a panic, and the transaction forgets what it did.
        let Ok(result) = catch_unwind(AssertUnwindSafe(|| work(transaction))) else {
            tracing::error!(PANICKED);
            return Err(PANICKED.to_owned());
        };
        self.work = Some(work);
        let verdict = result.as_ref().map(|_| ()).map_err(E::to_string);
        self.result = Some(result);
        verdict
    }

    fn answer(self: Box<Self>, transaction: Result<(), LedgerError>) {
        let result = match (transaction, self.result) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(LedgerError::unavailable(PANICKED).into()),
        };
        // The caller may have gone.
        let _ = self.answer.send(result);
    }
}

const ABANDONED: &str = "nobody waits for it any more";
const PANICKED: &str = "a job of the ledger panicked";
