//! The threads that read: each job sees one committed state and changes nothing.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    error::LedgerError,
    job::{Job, Message},
    sqlite::LedgerFile,
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
                Some(Message::Job(job)) => self.serve(job),
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
        let result = self.read(job.as_mut());
        let failure = match &result {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason.clone()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = failure {
            tracing::error!(reason, "the ledger could not be read");
            self.connection = None;
        }
        job.answer(result.map(|_| ()));
    }

    /// Outside: could the job be tried? Inside: did it work? The job knows its own error.
    fn read(&mut self, job: &mut dyn Job) -> Result<Result<(), String>, LedgerError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.file.reader()?),
        };
        // Several statements, one state. Nothing to commit: dropping it ends it.
        let transaction = connection.transaction()?;
        Ok(job.work(&transaction))
    }
}
