//! A transaction, with a cache of its statements.
//!
//! rusqlite's own cache hashes the text of a statement at each use; within a batch the same ten or so
//! statements come again and again, so here they are found by the address of their text.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    ptr,
};

use rusqlite::{CachedStatement, Connection, Statement};

type Idle<'c> = RefCell<Vec<(&'static str, CachedStatement<'c>)>>;

/// A transaction; rolled back when it is dropped.
pub(in crate::ledger) struct Transaction<'c> {
    connection: &'c Connection,
    idle: Idle<'c>,
}

impl<'c> Transaction<'c> {
    /// One that only reads, and sees one committed state.
    pub(in crate::ledger) fn read(connection: &'c Connection) -> rusqlite::Result<Self> {
        Self::begin(connection, "BEGIN DEFERRED")
    }

    /// One that writes.
    pub(in crate::ledger) fn write(connection: &'c Connection) -> rusqlite::Result<Self> {
        Self::begin(connection, "BEGIN IMMEDIATE")
    }

    fn begin(connection: &'c Connection, how: &'static str) -> rusqlite::Result<Self> {
        connection.prepare_cached(how)?.execute([])?;
        Ok(Self { connection, idle: RefCell::default() })
    }

    /// A prepared statement; it goes back into the cache when it is dropped.
    pub(in crate::ledger) fn statement(&self, sql: &'static str) -> rusqlite::Result<Used<'_, 'c>> {
        let mut idle = self.idle.borrow_mut();
        let statement = match idle.iter().position(|(known, _)| ptr::eq(*known, sql)) {
            Some(position) => idle.swap_remove(position).1,
            None => self.connection.prepare_cached(sql)?,
        };
        Ok(Used { sql, statement: Some(statement), idle: &self.idle })
    }

    /// Whether SQLite has rolled it back by itself, as it may when the disk is full.
    pub(in crate::ledger) fn is_given_up(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Commits.
    pub(in crate::ledger) fn commit(self) -> rusqlite::Result<()> {
        self.execute("COMMIT")
    }

    /// Rolls back, unless SQLite has done so.
    pub(in crate::ledger) fn undo(&self) -> rusqlite::Result<()> {
        if self.is_given_up() { Ok(()) } else { self.execute("ROLLBACK") }
    }

    /// Sets the savepoint. There is one at a time.
    pub(in crate::ledger) fn begin_part(&self) -> rusqlite::Result<()> {
        self.execute("SAVEPOINT part")
    }

    /// Releases the savepoint.
    pub(in crate::ledger) fn end_part(&self) -> rusqlite::Result<()> {
        self.execute("RELEASE part")
    }

    /// Rolls back to the savepoint and releases it.
    pub(in crate::ledger) fn undo_part(&self) -> rusqlite::Result<()> {
        self.execute("ROLLBACK TO part")?;
        self.end_part()
    }

    fn execute(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.statement(sql)?.execute([]).map(|_| ())
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // If it fails, the caller drops the connection because of the error before.
        let _ = self.undo();
    }
}

/// A statement in use.
pub(in crate::ledger) struct Used<'t, 'c> {
    sql: &'static str,
    /// `None` when it is dropped.
    statement: Option<CachedStatement<'c>>,
    idle: &'t Idle<'c>,
}

impl<'c> Deref for Used<'_, 'c> {
    type Target = Statement<'c>;

    fn deref(&self) -> &Statement<'c> {
        let Some(statement) = &self.statement else { unreachable!("it is there until the drop") };
        statement
    }
}

impl<'c> DerefMut for Used<'_, 'c> {
    fn deref_mut(&mut self) -> &mut Statement<'c> {
        let Some(statement) = &mut self.statement else {
            unreachable!("it is there until the drop")
        };
        statement
    }
}

impl Drop for Used<'_, '_> {
    fn drop(&mut self) {
        self.idle.borrow_mut().extend(self.statement.take().map(|statement| (self.sql, statement)));
    }
}
