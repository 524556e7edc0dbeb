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

use commit_delay::CommitDelay;
pub use error::{BeginError, CreateError, LedgerError};
use figures::Figures;
use job::{Queue, WhenFull};
pub use record::*;
pub use sqlite::{backup::backup, file::NewLedger, restore::Restoration};
use sqlite::{
    checkpoint::Checkpoints,
    file::LedgerFile,
    sql::{read, write},
    transaction::Transaction,
};
pub use standing::PATIENCE;
use tokio::sync::watch;

use crate::{
    audit::AuditRecord,
    domain::path::{PathElement, ResourcePath},
};

mod answers;
mod commit_delay;
mod error;
mod figures;
mod inherited;
mod inventory;
mod issuers;
mod job;
mod keys;
mod reader;
mod record;
mod sqlite;
mod standing;
mod stores;
#[cfg(test)]
mod tests;
mod tokens;
mod vical;
mod writer;

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
    writes: Queue,
    reads: Queue,
    figures: Arc<Figures>,
    known_keys_version: Arc<AtomicU64>,
    delay: Arc<CommitDelay>,
    file: Arc<LedgerFile>,
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
        let file = Arc::new(LedgerFile::prepare(path, new)?);
        let checkpoints = Checkpoints::of(Arc::clone(&file));
        let connection = checkpoints.writer()?;
        let open_intents = read::open_intents(&connection)?;
        let figures = Arc::new(Figures::of(&connection)?);
        let known_keys_version = Arc::new(AtomicU64::new(0));
        let (writes, to_write) = Queue::new(write_jobs_max, figures.write_seconds.clone());
        let (reads, to_read) = Queue::new(READ_JOBS_MAX, figures.read_seconds.clone());
        let delay = Arc::<CommitDelay>::default();
        reader::start(&file, to_read)
            .and_then(|()| {
                let (figures, version) = (Arc::clone(&figures), Arc::clone(&known_keys_version));
                let delay = Arc::clone(&delay);
                writer::start(checkpoints, connection, to_write, figures, version, delay)
            })
            .map_err(|error| LedgerError::unavailable(format!("no thread: {error}")))?;
        Ok((
            Self {
                inner: Arc::new(Inner {
                    writes,
                    reads,
                    figures,
                    known_keys_version,
                    delay,
                    file,
                    stalled: watch::Sender::new(false),
                }),
            },
            open_intents,
        ))
    }

    /// Records an intent: its row, its reservations, new pins and its audit entries. It stays open
    /// until [`Self::complete`] or [`Self::abort`].
    ///
    /// # Errors
    /// [`BeginError`] says what is taken or has changed; nothing is recorded then.
    pub async fn begin(&self, intent: Intent) -> Result<IntentId, BeginError> {
        let writes = &self.inner.writes;
        let on_keys = intent.iaca_pin.is_some()
            || intent.noted_key.is_some()
            || !intent.used_issuers.is_empty();
        let work = move |transaction: &Transaction<'_>| write::begin(transaction, &intent);
        match on_keys {
            true => writes.run_on_keys(WhenFull::Refuse, work).await,
            false => writes.run(WhenFull::Refuse, work).await,
        }
    }

    /// Records what an intent came to: its product, its audit entry, and the answer to be given again.
    /// What it reserved and did not use is freed. The answer is the index of the audit entry. Waits
    /// where other calls are [`LedgerError::Busy`].
    ///
    /// # Errors
    /// [`LedgerError`]; the intent is still open then, and wants to be aborted.
    pub async fn complete(&self, id: IntentId, outcome: Outcome) -> Result<u64, LedgerError> {
        let writes = &self.inner.writes;
        self.inner.delay.note(id.since);
        let on_keys = match &outcome.product {
            Product::Certificate(certificate) => certificate.is_ca,
            Product::Request | Product::Vical(_) => false,
        };
        let work = move |transaction: &Transaction<'_>| write::complete(transaction, id, &outcome);
        match on_keys {
            true => writes.run_on_keys(WhenFull::Wait, work).await,
            false => writes.run(WhenFull::Wait, work).await,
        }
    }

    /// Records that an intent came to nothing and frees what it reserved; its serial number stays
    /// spent. Does nothing, and writes no audit entry, when the intent has ended already. Waits
    /// where other calls are [`LedgerError::Busy`].
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; the intent is then found open at the next start.
    pub async fn abort(&self, id: IntentId, audit: AuditRecord) -> Result<(), LedgerError> {
        let writes = &self.inner.writes;
        writes.run(WhenFull::Wait, move |transaction| write::abort(transaction, id, &audit)).await
    }

    /// Adds an entry to the audit log; the answer is its index.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn append(&self, audit: AuditRecord) -> Result<u64, LedgerError> {
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |transaction| {
                let index = write::append(transaction, &audit)?;
                Ok(index.unsigned_abs())
            })
            .await
    }

    /// Records a tenant or service and its audit entry.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is recorded then.
    pub async fn create_resource(
        &self,
        resource: StoredResource,
        audit: AuditRecord,
    ) -> Result<(), CreateError> {
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |transaction| {
                write::create_resource(transaction, &resource, &audit)
            })
            .await
    }

    /// Records a changed definition and its audit entry.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn change_resource(
        &self,
        resource: StoredResource,
        audit: AuditRecord,
    ) -> Result<(), LedgerError> {
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |transaction| {
                write::change_resource(transaction, &resource, &audit)
            })
            .await
    }

    /// All tenants and services that were created over the API.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn resources(&self) -> Result<Vec<StoredResource>, LedgerError> {
        self.read(|connection| Ok(read::resources(connection)?)).await
    }

    /// All key pins, by path.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn key_pins(&self) -> Result<Vec<KeyPin>, LedgerError> {
        self.read(|connection| Ok(read::key_pins(connection)?)).await
    }

    /// The full path of the first of these ids that exists or is reserved.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn taken(
        &self,
        paths: Vec<(ResourcePath, PathElement)>,
    ) -> Result<Option<ResourcePath>, LedgerError> {
        self.read(move |connection| {
            for (store, id) in &paths {
                if read::is_taken(connection, store, id)? {
                    return Ok(Some(store.child(id)));
                }
            }
            Ok(None)
        })
        .await
    }

    /// One entry of a store; reserved ids are not there yet.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn store_entry(
        &self,
        store: ResourcePath,
        id: PathElement,
    ) -> Result<Option<StoreEntry>, LedgerError> {
        self.read(move |connection| Ok(read::store_entry(connection, &store, &id)?)).await
    }

    /// All entries of a store, sorted by full path; reserved ids are not there yet.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn store_entries(&self, store: ResourcePath) -> Result<Vec<StoreEntry>, LedgerError> {
        self.read(move |connection| Ok(read::store_entries(connection, &store)?)).await
    }

    /// The full paths of all entries of a store, sorted; reserved ids are not there yet.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn store_ids(&self, store: ResourcePath) -> Result<Vec<ResourcePath>, LedgerError> {
        self.read(move |connection| Ok(read::store_ids(connection, &store)?)).await
    }

    /// Writes what waits, empties the write-ahead log and closes the file. Calls that come later,
    /// also of clones, are [`LedgerError::Unavailable`].
    pub async fn close(self) {
        // The writer goes last: only the last connection can remove the write-ahead log.
        for _ in 0..reader::READERS {
            self.inner.reads.stop().await;
        }
        self.inner.writes.stop().await;
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&Transaction<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.inner.reads.run(WhenFull::Refuse, work).await
    }
}
