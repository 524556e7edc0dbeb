//! Group commit: the one thread that writes. Whatever is queued while a commit is under way shares the
//! next one.
//!
//! Why not a connection pool: SQLite has one writer at a time, and a commit costs one sync of the disk
//! however many jobs are in it. Pools (r2d2, deadpool, sqlx) commit once for each caller.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    backend::Backend, commit_delay::CommitDelay, figures::Figures, operation::Job, queue::Message,
    write::Write,
};

/// Jobs that share one commit, at most. More would keep the first of them waiting too long.
const BATCH_JOBS_MAX: usize = 256;

/// Everything that the thread works with.
pub(super) struct Writer {
    pub(super) backend: Backend,
    /// Kept up to date by the thread.
    pub(super) figures: Arc<Figures>,
    /// Counts the batches after which something else may be known of a key.
    pub(super) known_keys_version: Arc<AtomicU64>,
    pub(super) delay: Arc<CommitDelay>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(self, queue: mpsc::Receiver<Message<Write>>) -> io::Result<()> {
        let thread = thread::Builder::new().name("ledger-writer".to_owned());
        thread.spawn(move || self.run(queue))?;
        Ok(())
    }

    fn run(mut self, mut queue: mpsc::Receiver<Message<Write>>) {
        let mut messages = Vec::with_capacity(BATCH_JOBS_MAX);
        let mut was_shared = false;
        while queue.blocking_recv_many(&mut messages, BATCH_JOBS_MAX) > 0 {
            // A caller who writes alone is never delayed.
            if was_shared {
                wait_for_more(self.delay.pause(), &mut queue, &mut messages);
            }
            was_shared = messages.len() > 1;
            let mut batch = Vec::with_capacity(messages.len());
            let mut stop = None;
            for message in messages.drain(..) {
                match message {
                    Message::Job(job) if job.is_abandoned() => {}
                    Message::Job(job) => batch.push(job),
                    Message::Stop(ended) => {
                        stop = Some(ended);
                        break;
                    }
                }
            }
            self.serve(batch);
            if let Some(ended) = stop {
                drop(queue);
                self.backend.close();
                // Dropping it is the signal; the lock on the ledger has gone by now.
                drop(ended);
                return;
            }
        }
        self.backend.close();
    }

    /// Commits a batch, then answers its callers.
    #[expect(clippy::vec_box, reason = "boxed when they were queued")]
    fn serve(&mut self, mut batch: Vec<Box<Write>>) {
        if batch.is_empty() {
            return;
        }
        self.figures.begun();
        let result = match self.backend.commit(&mut batch) {
            Ok(news) => {
                self.figures.committed(news, self.backend.has_room());
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, jobs = batch.len(), "a transaction of the ledger was lost");
                self.figures.lost();
                Err(error)
            }
        };
        // Also after an error, because a commit that was reported as lost may have lasted.
        if result.is_err() || batch.iter().any(|write| write.changes_known_keys()) {
            self.known_keys_version.fetch_add(1, Ordering::Release);
        }
        for write in batch {
            write.answer(result.clone());
        }
        if self.backend.wants_upkeep() {
            self.figures.begun();
            self.backend.do_upkeep();
            self.figures.ended();
        }
    }
}

/// Sleeps, then takes what has been queued meanwhile.
fn wait_for_more(
    pause: Duration,
    queue: &mut mpsc::Receiver<Message<Write>>,
    messages: &mut Vec<Message<Write>>,
) {
    if messages.len() < BATCH_JOBS_MAX {
        thread::sleep(pause);
    }
    while messages.len() < BATCH_JOBS_MAX
        && let Ok(message) = queue.try_recv()
    {
        messages.push(message);
    }
}
