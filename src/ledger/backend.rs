//! The database under the ledger: the one place that chooses between backends.
//!
//! A backend gets operations as values and answers them in their slots; it sees neither queues nor
//! callers. It is blocking code on threads of the ledger.

use std::{path::Path, sync::Arc};

use super::{
    error::LedgerError,
    read::Read,
    record::{NewLedger, News, OpenIntent},
    sqlite::{self, file::LedgerFile},
    write::Write,
};

/// A ledger that has been opened.
pub(super) struct Opened {
    pub(super) backend: Backend,
    pub(super) storage: Storage,
    /// Intents that a crash left open.
    pub(super) open_intents: Vec<OpenIntent>,
    /// Everything that is there.
    pub(super) news: News,
}

/// The writing side.
pub(super) enum Backend {
    Sqlite(sqlite::backend::Backend),
}

impl Backend {
    /// Opens the ledger for this process alone and brings its tables up to date.
    pub(super) fn open(path: &Path, new: NewLedger) -> Result<Opened, LedgerError> {
        let file = Arc::new(LedgerFile::prepare(path, new)?);
        let (backend, open_intents, news) = sqlite::backend::Backend::open(Arc::clone(&file))?;
        let (backend, storage) = (Self::Sqlite(backend), Storage::Sqlite(file));
        Ok(Opened { backend, storage, open_intents, news })
    }

    /// Executes a batch in one transaction and makes it durable. An operation that fails leaves nothing
    /// behind and does not hinder the others. Everything that came about is reported as [`News`].
    ///
    /// # Errors
    /// [`LedgerError`] when the whole transaction was lost, or may have been.
    pub(super) fn commit(&mut self, batch: &mut [Box<Write>]) -> Result<News, LedgerError> {
        match self {
            Self::Sqlite(backend) => backend.commit(batch),
        }
    }

    /// Whether the disk has room for what an issuance writes.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Sqlite(backend) => backend.has_room(),
        }
    }

    /// Whether [`Self::do_upkeep`] is due; asked after each batch.
    pub(super) fn wants_upkeep(&mut self) -> bool {
        match self {
            Self::Sqlite(backend) => backend.wants_checkpoint(),
        }
    }

    /// Work that the writing thread has to do between two batches.
    pub(super) fn do_upkeep(&self) {
        match self {
            Self::Sqlite(backend) => backend.checkpoint(),
        }
    }

    /// Closes the ledger; the next process may open it.
    pub(super) fn close(self) {
        match self {
            Self::Sqlite(backend) => backend.close(),
        }
    }
}

/// One reading connection.
pub(super) enum Reader {
    Sqlite(sqlite::backend::Reader),
}

impl Reader {
    /// Executes a read on one committed state.
    ///
    /// # Errors
    /// [`LedgerError`] when it could not be executed; otherwise its slot holds the result.
    pub(super) fn read(&mut self, read: &mut Read) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(reader) => reader.read(read),
        }
    }
}

/// Where the ledger lies.
pub(super) enum Storage {
    Sqlite(Arc<LedgerFile>),
}

impl Storage {
    pub(super) fn reader(&self) -> Reader {
        match self {
            Self::Sqlite(file) => Reader::Sqlite(sqlite::backend::Reader::new(Arc::clone(file))),
        }
    }

    /// Checks whether what is open is still what lies there; blocks. [`Self::is_displaced`] and the log
    /// tell the result.
    pub(super) fn look(&self) {
        match self {
            Self::Sqlite(file) => {
                let _ = file.place().look();
            }
        }
    }

    /// Whether the last check found another ledger there, or none.
    pub(super) fn is_displaced(&self) -> bool {
        match self {
            Self::Sqlite(file) => file.place().is_displaced(),
        }
    }
}
