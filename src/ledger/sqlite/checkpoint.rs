//! Checkpoints: copying the write-ahead log into the file while writing goes on.
//!
//! SQLite restarts its log only at a transaction that finds all of it copied. Under constant load a
//! checkpoint beside the writer never gets there. So a thread copies the bulk, and then the writer, between
//! two batches, copies the rest, which is short: no commit waits for a long checkpoint.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

use super::{file::LedgerFile, place::Place};
use crate::ledger::error::LedgerError;

/// Pages (of 4 KiB) in the log before a checkpoint.
pub(in crate::ledger) const CHECKPOINT_PAGES: usize = 4_000;

/// When to copy, and the thread that does.
pub(in crate::ledger) struct Checkpoints {
    file: Arc<LedgerFile>,
    /// In the log, after the last transaction.
    pages: Arc<AtomicUsize>,
    /// Pages in the log at the last checkpoint; 0 after the log has restarted.
    copied: usize,
    bulk: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(in crate::ledger) fn of(file: Arc<LedgerFile>) -> Self {
        Self { file, pages: Arc::default(), copied: 0, bulk: None }
    }

    pub(in crate::ledger) fn place(&self) -> &Place {
        self.file.place()
    }

    /// A connection that writes, and copies nothing by itself.
    pub(in crate::ledger) fn writer(&self) -> Result<Connection, LedgerError> {
        let mut connection = self.file.writer()?;
        let pages = Arc::clone(&self.pages);
        connection.wal_hook(Some(move |_: &mut _, count| {
            pages.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(connection)
    }

    /// Asked after each transaction: starts the thread when it is time. True when the thread has
    /// finished and the writer is to copy the rest.
    pub(in crate::ledger) fn is_writers_turn(&mut self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.copied {
            self.copied = 0;
        }
        match &self.bulk {
            Some(bulk) if !bulk.is_finished() => return false,
            Some(_) => self.bulk = None,
            // A long reader (a backup) blocks a full checkpoint; wait for another CHECKPOINT_PAGES
            // before the next try.
            None if pages < self.copied + CHECKPOINT_PAGES => return false,
            None => {
                let file = Arc::clone(&self.file);
                let thread = thread::Builder::new().name("ledger-checkpoint".to_owned());
                match thread.spawn(move || copy_bulk(&file)) {
                    Ok(bulk) => {
                        self.bulk = Some(bulk);
                        return false;
                    }
                    Err(error) => warn(&error),
                }
            }
        }
        self.copied = pages;
        true
    }

    /// Waits for the thread.
    pub(in crate::ledger) fn end(self) {
        if let Some(bulk) = self.bulk {
            // Even if it panicked: closing the file copies the rest.
            let _ = bulk.join();
        }
    }
}

fn copy_bulk(file: &LedgerFile) {
    match file.writer() {
        Ok(connection) => copy(&connection),
        Err(error) => warn(&error),
    }
}

/// Copies every page that no reader holds back. Does not wait for readers.
pub(in crate::ledger) fn copy(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        warn(&error);
    }
}

/// Nothing is lost: the log grows until the next try.
fn warn(error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "the ledger's write-ahead log was not copied into its file");
}
