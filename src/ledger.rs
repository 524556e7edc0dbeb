//! What must not be forgotten: intents, serial numbers, certificates, store entries, pins and the
//! entries of the audit log, in one SQLite file.
//!
//! Whatever is answered with `Ok` is on the disk. Each call is one transaction: all of it or
//! nothing. An `Unavailable` that follows a lost commit may, after a crash, turn out to have lasted;
//! a caller that got it gives nothing away, and aborting what did last is refused or harmless.
//!
//! Not done here: deciding what is recorded, or reading a certificate. No caller's thread is ever
//! blocked; a caller that goes away cuts nothing in half.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use backend::{Backend, Opened, Storage};
use batch::Writer;
use commit_delay::CommitDelay;
pub use error::{BeginError, CreateError, LedgerError};
use figures::Figures;
use operation::{Answered, Operation, Slot};
use queue::Queue;
use read::Read;
pub use record::*;
pub use sqlite::{backup::backup, restore::Restoration};
pub use standing::PATIENCE;
use tokio::sync::watch;
use vical::ClaimedVersions;
pub use vical::TakenVersion;
use write::{Abort, Append, Begin, Complete, Write};

use crate::audit::AuditRecord;

mod answers;
mod backend;
mod batch;
mod commit_delay;
#[cfg(test)]
mod conformance;
mod error;
mod figures;
mod inherited;
mod inventory;
mod issuers;
mod keys;
mod operation;
mod queue;
mod read;
mod readers;
mod record;
mod resources;
mod sqlite;
mod standing;
mod stores;
mod tokens;
mod vical;
mod write;

/// Writes that wait, at most; each is some kilobytes.
const WRITE_JOBS_MAX: usize = 8_192;
/// Reads that wait, at most.
const READ_JOBS_MAX: usize = 8_192;

/// The handle of the ledger; clones share it.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    writes: Queue<Write>,
    reads: Queue<Read>,
    figures: Arc<Figures>,
    known_keys_version: Arc<AtomicU64>,
    delay: Arc<CommitDelay>,
    storage: Storage,
    claimed_versions: ClaimedVersions,
    /// Whether a transaction takes longer than anybody waits.
    stalled: watch::Sender<bool>,
}

impl Ledger {
    /// Opens the ledger, creates it on the first start. Blocks; for start-up only.
    ///
    /// With it come the intents that a crash left open: what they reserved stays reserved until
    /// they are aborted.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when the file is in use, foreign, of a newer version, cannot be
    /// created, or was there before and is gone; [`LedgerError::Unavailable`] when SQLite cannot read or write it.
    pub fn open(path: &Path) -> Result<(Self, Vec<OpenIntent>), LedgerError> {
        Self::open_or_begin(path, NewLedger::Refused)
    }

    /// The same; also whether a new ledger may take the place of one that has gone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_or_begin(
        path: &Path,
        new: NewLedger,
    ) -> Result<(Self, Vec<OpenIntent>), LedgerError> {
        Self::open_with(path, new, WRITE_JOBS_MAX)
    }

    fn open_with(
        path: &Path,
        new: NewLedger,
        write_jobs_max: usize,
    ) -> Result<(Self, Vec<OpenIntent>), LedgerError> {
        let Opened { backend, storage, open_intents, news } = Backend::open(path, new)?;
        let figures = Arc::new(Figures::of(news));
        let (writes, to_write) = Queue::new(write_jobs_max, figures.write_seconds.clone());
        let (reads, to_read) = Queue::new(READ_JOBS_MAX, figures.read_seconds.clone());
        let writer = Writer {
            backend,
            figures: Arc::clone(&figures),
            known_keys_version: Arc::default(),
            delay: Arc::default(),
        };
        let inner = Inner {
            writes,
            reads,
            figures,
            known_keys_version: Arc::clone(&writer.known_keys_version),
            delay: Arc::clone(&writer.delay),
            storage,
            claimed_versions: ClaimedVersions::default(),
            stalled: watch::Sender::new(false),
        };
        readers::start(&inner.storage, to_read)
            .and_then(|()| writer.start(to_write))
            .map_err(|error| LedgerError::unavailable(format!("no thread: {error}")))?;
        Ok((Self { inner: Arc::new(inner) }, open_intents))
    }

    /// Records an intent: its row, its reservations, new pins and its audit entries. It stays open
    /// until [`Self::complete`] or [`Self::abort`].
    ///
    /// # Errors
    /// [`BeginError`] says what is taken or has changed; nothing is recorded then.
    pub async fn begin(&self, intent: Intent) -> Result<IntentId, BeginError> {
        self.write(Begin(intent)).await
    }

    /// Records what an intent came to: its product, its audit entry, and the answer to be given again.
    /// What it reserved and did not use is freed. The answer is the index of the audit entry. Waits
    /// where other calls are [`LedgerError::Busy`].
    ///
    /// # Errors
    /// [`LedgerError`]; the intent is still open then, and wants to be aborted.
    pub async fn complete(&self, id: IntentId, outcome: Outcome) -> Result<u64, LedgerError> {
        self.inner.delay.note(id.since);
        self.write(Complete(id, outcome)).await
    }

    /// Records that an intent came to nothing and frees what it reserved; its serial number stays
    /// spent. Does nothing, and writes no audit entry, when the intent has ended already. Waits
    /// where other calls are [`LedgerError::Busy`].
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; the intent is then found open at the next start.
    pub async fn abort(&self, id: IntentId, audit: AuditRecord) -> Result<(), LedgerError> {
        self.write(Abort(id, audit)).await
    }

    /// Adds an entry to the audit log; the answer is its index.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn append(&self, audit: AuditRecord) -> Result<u64, LedgerError> {
        self.write(Append(audit)).await
    }

    /// Writes what waits, empties the write-ahead log and closes the file. Calls that come later,
    /// also of clones, are [`LedgerError::Unavailable`].
    pub async fn close(self) {
        // The writer goes last: only the last connection can remove the write-ahead log.
        for _ in 0..readers::READERS {
            self.inner.reads.stop().await;
        }
        self.inner.writes.stop().await;
    }

    fn write<O: Operation>(&self, operation: O) -> impl Future<Output = Answered<O>>
    where
        Write: From<Slot<O>>,
    {
        self.inner.writes.call(operation)
    }

    fn read<O: Operation>(&self, operation: O) -> impl Future<Output = Answered<O>>
    where
        Read: From<Slot<O>>,
    {
        self.inner.reads.call(operation)
    }
}
