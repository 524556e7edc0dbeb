//! The threads that read: each job sees one committed state and changes nothing.

use std::{
    fmt::Display,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    error::LedgerError,
    job::{Job, Message},
    sqlite::{file::LedgerFile, transaction::Transaction},
};

/// Threads, each with its own connection.
pub(super) const READERS: usize = 2;

/// Starts the threads on one queue.
pub(super) fn start(file: &Arc<LedgerFile>, queue: mpsc::Receiver<Message>) -> io::Result<()> {
    let queue = Arc::new(Mutex::new(queue));
    for number in 0..READERS {
        let reader = Reader { file: Arc::clone(file), connection: None };
        let queue = Arc::clone(&queue);
        thread::Builder::new()
            .name(format!("ledger-reader-{number}"))
            .spawn(move || reader.run(&queue))?;
    }
    Ok(())
}

struct Reader {
    file: Arc<LedgerFile>,
    /// `None` at first and after an error.
    connection: Option<Connection>,
}

impl Reader {
    fn run(mut self, queue: &Mutex<mpsc::Receiver<Message>>) {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        loop {
            match next() {
                Some(Message::Job(job) | Message::KeysJob(job)) => self.serve(job),
                Some(Message::Stop(ended)) => {
                    drop(self);
                    // Said by the drop, after the connection has gone.
                    drop(ended);
                    return;
                }
                None => return,
            }
        }
    }

    fn serve(&mut self, mut job: Box<dyn Job>) {
        let transaction = self.read(job.as_mut());
        if let Err(error) = &transaction {
            self.distrust(error);
        }
        job.answer(transaction);
    }

    /// `Ok` when the job was done; it knows itself what came of it.
    fn read(&mut self, job: &mut dyn Job) -> Result<(), LedgerError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.file.reader()?),
        };
        // Several statements, one state. Nothing to commit: dropping it ends it.
        let transaction = Transaction::read(connection)?;
        let worked = job.work(&transaction);
        drop(transaction);
        if let Err(reason) = worked {
            self.distrust(&reason);
        }
        Ok(())
    }

    fn distrust(&mut self, reason: &dyn Display) {
        tracing::error!(%reason, "the ledger could not be read");
        self.connection = None;
    }
}
