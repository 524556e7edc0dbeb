//! The threads that read, so that neither a caller's thread nor the writer waits for a query.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::mpsc;

use super::{
    backend::{Reader, Storage},
    operation::Job,
    queue::Message,
    read::Read,
};

/// Threads, each with its own connection.
pub(super) const READERS: usize = 2;

/// Starts the threads on one queue.
pub(super) fn start(storage: &Storage, queue: mpsc::Receiver<Message<Read>>) -> io::Result<()> {
    let queue = Arc::new(Mutex::new(queue));
    for number in 0..READERS {
        let reader = storage.reader();
        let queue = Arc::clone(&queue);
        thread::Builder::new()
            .name(format!("ledger-reader-{number}"))
            .spawn(move || run(reader, &queue))?;
    }
    Ok(())
}

fn run(mut reader: Reader, queue: &Mutex<mpsc::Receiver<Message<Read>>>) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    loop {
        match next() {
            Some(Message::Job(read)) if read.is_abandoned() => {}
            Some(Message::Job(mut read)) => {
                let transaction = reader.read(&mut read);
                read.answer(transaction);
            }
            Some(Message::Stop(ended)) => {
                drop(reader);
                // Dropping it is the signal; the connection has gone by now.
                drop(ended);
                return;
            }
            None => return,
        }
    }
}
