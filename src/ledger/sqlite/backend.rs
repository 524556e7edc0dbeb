//! Transactions: one for a whole batch, with a savepoint for each operation only where one fails.

use std::{fmt::Display, sync::Arc};

use rusqlite::Connection;

use super::{
    checkpoint::{self, Checkpoints},
    file::{self, LedgerFile},
    operations,
    sql::{self, read::open_intents},
    transaction::Transaction,
};
use crate::ledger::{
    error::LedgerError,
    read::Read,
    record::{News, OpenIntent},
    write::Write,
};

/// The connection that writes.
pub(in crate::ledger) struct Backend {
    checkpoints: Checkpoints,
    /// `None` after a transaction was lost, because the connection's state is not to be trusted then.
    connection: Option<Connection>,
    /// Entries of the audit log after the last transaction that lasted.
    tree_size: u64,
}

impl Backend {
    /// A connection to the file, the intents that are open in it, and everything that is there.
    pub(in crate::ledger) fn open(
        file: Arc<LedgerFile>,
    ) -> Result<(Self, Vec<OpenIntent>, News), LedgerError> {
        let checkpoints = Checkpoints::of(file);
        let connection = checkpoints.writer()?;
        let open_intents = open_intents(&connection)?;
        let news = sql::figures::all(&connection)?;
        let connection = Some(connection);
        Ok((Self { checkpoints, connection, tree_size: news.tree_size }, open_intents, news))
    }

    /// Commits a batch. The place of the file is checked before, so that nothing is written to a file
    /// that has lost its name, and after, because it may have lost it meanwhile: a write to such a file
    /// is never answered with `Ok`.
    pub(in crate::ledger) fn commit(
        &mut self,
        batch: &mut [Box<Write>],
    ) -> Result<News, LedgerError> {
        self.checkpoints.place().look()?;
        let news = self.try_commit(batch).inspect_err(|_| {
            self.connection = None;
            self.checkpoints.place().forget_sides();
        })?;
        self.checkpoints.place().look()?;
        self.tree_size = news.tree_size;
        Ok(news)
    }

    fn try_commit(&mut self, batch: &mut [Box<Write>]) -> Result<News, LedgerError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.checkpoints.writer()?),
        };
        // Optimistic: few operations fail, and a savepoint costs as much as a small operation.
        match commit_all(connection, batch, self.tree_size)? {
            Some(news) => Ok(news),
            None => commit_each(connection, batch, self.tree_size),
        }
    }

    pub(in crate::ledger) fn has_room(&self) -> bool {
        self.checkpoints.place().has_room()
    }

    /// Whether the writer's part of a checkpoint is due.
    pub(in crate::ledger) fn wants_checkpoint(&mut self) -> bool {
        self.connection.is_some() && self.checkpoints.is_writers_turn()
    }

    /// The writer's part of a checkpoint.
    pub(in crate::ledger) fn checkpoint(&self) {
        if let Some(connection) = &self.connection {
            checkpoint::copy(connection);
        }
    }

    /// Empties the write-ahead log and closes the file.
    pub(in crate::ledger) fn close(self) {
        let in_place = self.checkpoints.place().look().is_ok();
        self.checkpoints.end();
        // The files at the path of a ledger that has lost its place belong to another ledger.
        if in_place
            && let Some(connection) = self.connection
            && let Err(error) = file::close(connection)
        {
            // Nothing is lost, because the next start reads the write-ahead log.
            tracing::warn!(%error, "the ledger's write-ahead log was not emptied");
        }
    }
}

/// The whole batch without savepoints; `None`, and nothing done, when one operation fails.
fn commit_all(
    connection: &Connection,
    batch: &mut [Box<Write>],
    tree_size: u64,
) -> Result<Option<News>, LedgerError> {
    let transaction = Transaction::write(connection)?;
    for write in batch {
        if operations::write(write, &transaction).is_err() {
            transaction.undo()?;
            return Ok(None);
        }
    }
    let news = sql::figures::since(&transaction, tree_size)?;
    transaction.commit()?;
    Ok(Some(news))
}

/// The batch with a savepoint for each operation, which is rolled back when the operation fails.
fn commit_each(
    connection: &Connection,
    batch: &mut [Box<Write>],
    tree_size: u64,
) -> Result<News, LedgerError> {
    let transaction = Transaction::write(connection)?;
    for write in batch {
        transaction.begin_part()?;
        let done = operations::write(write, &transaction);
        if transaction.is_given_up() {
            let reason = done.err().unwrap_or_default();
            return Err(LedgerError::unavailable(format!("transaction given up: {reason}")));
        }
        match done {
            Ok(()) => transaction.end_part()?,
            Err(_) => transaction.undo_part()?,
        }
    }
    let news = sql::figures::since(&transaction, tree_size)?;
    transaction.commit()?;
    Ok(news)
}

/// A connection that reads.
pub(in crate::ledger) struct Reader {
    file: Arc<LedgerFile>,
    /// `None` at first and after an error.
    connection: Option<Connection>,
}

impl Reader {
    pub(in crate::ledger) fn new(file: Arc<LedgerFile>) -> Self {
        Self { file, connection: None }
    }

    /// Executes a read; `Ok` when its slot holds the result, which may be an error.
    pub(in crate::ledger) fn read(&mut self, read: &mut Read) -> Result<(), LedgerError> {
        self.try_read(read).inspect_err(|error| self.distrust(error))
    }

    fn try_read(&mut self, read: &mut Read) -> Result<(), LedgerError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.file.reader()?),
        };
        // A transaction, so that several statements see one state. Dropping it ends it.
        let transaction = Transaction::read(connection)?;
        let done = operations::read(read, &transaction);
        drop(transaction);
        if let Err(reason) = done {
            self.distrust(&reason);
        }
        Ok(())
    }

    fn distrust(&mut self, reason: &dyn Display) {
        tracing::error!(%reason, "the ledger could not be read");
        self.connection = None;
    }
}
