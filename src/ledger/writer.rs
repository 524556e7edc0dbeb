//! The one thread that writes. What waits while a commit is under way shares the next one.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    commit_delay::CommitDelay,
    error::LedgerError,
    figures::Figures,
    job::{Job, Message},
    record::News,
    sqlite::{
        checkpoint::{self, Checkpoints},
        file, sql,
        transaction::Transaction,
    },
};

/// Jobs that share one commit, at most: a batch that is too long keeps its first job waiting.
const BATCH_JOBS_MAX: usize = 256;

/// Starts the thread, which keeps the figures up to date. `known_keys_version` counts the
/// transactions after which something else may be known of a key.
pub(super) fn start(
    checkpoints: Checkpoints,
    connection: Connection,
    queue: mpsc::Receiver<Message>,
    figures: Arc<Figures>,
    known_keys_version: Arc<AtomicU64>,
    delay: Arc<CommitDelay>,
) -> io::Result<()> {
    let connection = Some(connection);
    let writer = Writer { checkpoints, connection, figures, known_keys_version, delay };
    thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || writer.run(queue))?;
    Ok(())
}

struct Writer {
    checkpoints: Checkpoints,
    /// `None` after a transaction was lost: what the connection knows is not to be trusted then.
    connection: Option<Connection>,
    figures: Arc<Figures>,
    known_keys_version: Arc<AtomicU64>,
    delay: Arc<CommitDelay>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH_JOBS_MAX);
        let mut are_many = false;
        while queue.blocking_recv_many(&mut messages, BATCH_JOBS_MAX) > 0 {
            if are_many {
                gather(self.delay.pause(), &mut queue, &mut messages);
            }
            are_many = messages.len() > 1;
            let mut jobs = Vec::with_capacity(messages.len());
            let (mut stop, mut on_keys) = (None, false);
            for message in messages.drain(..) {
                match message {
                    Message::Job(job) => jobs.push(job),
                    Message::KeysJob(job) => {
                        on_keys = true;
                        jobs.push(job);
                    }
                    Message::Stop(ended) => {
                        stop = Some(ended);
                        break;
                    }
                }
            }
            self.serve(jobs, on_keys);
            if let Some(ended) = stop {
                drop(queue);
                self.finish();
                // Said by the drop, after the lock has gone.
                drop(ended);
                return;
            }
        }
        self.finish();
    }

    fn serve(&mut self, mut jobs: Vec<Box<dyn Job>>, on_keys: bool) {
        if jobs.is_empty() {
            return;
        }
        self.figures.begun();
        let result = match self.commit_in_place(&mut jobs) {
            Ok(news) => {
                self.figures.committed(news, self.checkpoints.place().has_room());
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, jobs = jobs.len(), "a transaction of the ledger was lost");
                self.figures.lost();
                Err(error)
            }
        };
        // A lost commit may have lasted all the same.
        if on_keys || result.is_err() {
            self.known_keys_version.fetch_add(1, Ordering::Release);
        }
        for job in jobs {
            job.answer(result.clone());
        }
        if let Some(connection) = &self.connection
            && self.checkpoints.is_writers_turn()
        {
            self.figures.begun();
            checkpoint::copy(connection);
            self.figures.ended();
        }
    }

    /// Nobody is told of what went into a file that has lost its place: looked at before, so that
    /// nothing is written there, and after, since it may have lost it meanwhile.
    fn commit_in_place(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<News, LedgerError> {
        self.checkpoints.place().look()?;
        match self.commit(jobs) {
            Ok(news) => self.checkpoints.place().look().map(|()| news),
            Err(error) => {
                self.connection = None;
                self.checkpoints.place().forget_sides();
                Err(error)
            }
        }
    }

    /// One transaction for all jobs; those that fail leave nothing in it. The answer is what they
    /// have brought about together.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<News, LedgerError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.checkpoints.writer()?),
        };
        // Few jobs fail, and what guards the others against them costs as much as a small job.
        let tree_size = self.figures.tree_size();
        match commit_all(connection, jobs, tree_size)? {
            Some(news) => Ok(news),
            None => commit_each(connection, jobs, tree_size),
        }
    }

    fn finish(self) {
        let in_place = self.checkpoints.place().look().is_ok();
        self.checkpoints.end();
        // What lies at the path of one that has lost its place is another's.
        if in_place
            && let Some(connection) = self.connection
            && let Err(error) = file::close(connection)
        {
            // Nothing is lost: the next start reads the write-ahead log.
            tracing::warn!(%error, "the ledger's write-ahead log was not emptied");
        }
    }
}

/// Waits for more.
fn gather(pause: Duration, queue: &mut mpsc::Receiver<Message>, messages: &mut Vec<Message>) {
    if messages.len() < BATCH_JOBS_MAX {
        thread::sleep(pause);
    }
    while messages.len() < BATCH_JOBS_MAX
        && let Ok(message) = queue.try_recv()
    {
        messages.push(message);
    }
}

/// All jobs as one; `None`, and nothing done, when one of them fails.
fn commit_all(
    connection: &Connection,
    jobs: &mut [Box<dyn Job>],
    tree_size: u64,
) -> Result<Option<News>, LedgerError> {
    let transaction = Transaction::write(connection)?;
    for job in jobs {
        if job.work(&transaction).is_err() {
            transaction.undo()?;
            return Ok(None);
        }
    }
    let news = sql::figures::since(&transaction, tree_size)?;
    transaction.commit()?;
    Ok(Some(news))
}

/// Each job as a part that is undone when it fails.
fn commit_each(
    connection: &Connection,
    jobs: &mut [Box<dyn Job>],
    tree_size: u64,
) -> Result<News, LedgerError> {
    let transaction = Transaction::write(connection)?;
    for job in jobs {
        transaction.begin_part()?;
        let worked = job.work(&transaction);
        if transaction.is_given_up() {
            let reason = worked.err().unwrap_or_default();
            return Err(LedgerError::unavailable(format!("transaction given up: {reason}")));
        }
        match worked {
            Ok(()) => transaction.end_part()?,
            Err(_) => transaction.undo_part()?,
        }
    }
    let news = sql::figures::since(&transaction, tree_size)?;
    transaction.commit()?;
    Ok(news)
}
