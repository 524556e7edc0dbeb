//! Copies the write-ahead log into the file while writing goes on.
//!
//! SQLite begins its log anew only with a transaction that finds all of it copied, and where one
//! transaction follows another, something is always left. So a thread copies the bulk, and the writer,
//! which nobody writes beside, copies what was added meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

use super::{error::LedgerError, sqlite::LedgerFile};

/// Pages (of 4 KiB) in the log before they are copied into the file.
pub(super) const CHECKPOINT_PAGES: usize = 4_000;

/// The writer's part.
pub(super) struct Checkpoints {
    file: Arc<LedgerFile>,
    /// In the log, after the last transaction.
    pages: Arc<AtomicUsize>,
    /// Pages in the log when they were last looked at, and when they were last copied.
    seen: usize,
    copied: usize,
    bulk: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn of(file: Arc<LedgerFile>) -> Self {
        Self { file, pages: Arc::default(), seen: 0, copied: 0, bulk: None }
    }

    /// A connection that writes, and copies nothing by itself.
    pub(super) fn writer(&self) -> Result<Connection, LedgerError> {
        let mut connection = self.file.writer()?;
        let pages = Arc::clone(&self.pages);
        connection.wal_hook(Some(move |_: &mut _, count| {
            pages.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(connection)
    }

    /// To be called between transactions.
    pub(super) fn go_on(&mut self, connection: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.seen {
            self.copied = 0;
        }
        self.seen = pages;
        match &self.bulk {
            Some(bulk) if !bulk.is_finished() => {}
            Some(_) => {
                self.bulk = None;
                self.copied = pages;
                copy(connection);
            }
            // Who reads for long, a backup, keeps the log from being copied to its end.
            None if pages < self.copied + CHECKPOINT_PAGES => {}
            None => {
                let file = Arc::clone(&self.file);
                let bulk =
                    thread::Builder::new().name("ledger-checkpoint".to_owned()).spawn(move || {
                        match file.writer() {
                            Ok(connection) => copy(&connection),
                            Err(error) => warn(&error),
                        }
                    });
                match bulk {
                    Ok(bulk) => self.bulk = Some(bulk),
                    Err(error) => warn(&error),
                }
            }
        }
    }

    /// Waits for what is under way.
    pub(super) fn end(self) {
        if let Some(bulk) = self.bulk {
            // It panicked, or has copied: what is left is copied by the one who closes the file.
            let _ = bulk.join();
        }
    }
}

fn copy(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        warn(&error);
    }
}

/// Nothing is lost: the log grows until the next try.
fn warn(error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "the ledger's write-ahead log was not copied into its file");
}
