//! A transaction under way, as those who work in it see it.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    ptr,
};

use rusqlite::{CachedStatement, Connection, Statement};

type Idle<'c> = RefCell<Vec<(&'static str, CachedStatement<'c>)>>;

/// A transaction; undone when it is dropped. Its own statements stay prepared, too.
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

    /// A statement, which is at hand for the next one in this transaction who needs it.
    pub(in crate::ledger) fn statement(&self, sql: &'static str) -> rusqlite::Result<Used<'_, 'c>> {
        let mut idle = self.idle.borrow_mut();
        let statement = match idle.iter().position(|(known, _)| ptr::eq(*known, sql)) {
            Some(position) => idle.swap_remove(position).1,
            None => self.connection.prepare_cached(sql)?,
        };
        Ok(Used { sql, statement: Some(statement), idle: &self.idle })
    }

    /// Whether SQLite itself has given it up, as it does where the disk is full, among others.
    pub(in crate::ledger) fn is_given_up(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Makes it last.
    pub(in crate::ledger) fn commit(self) -> rusqlite::Result<()> {
        self.execute("COMMIT")
    }

    /// Undoes it, unless that is done already.
    pub(in crate::ledger) fn undo(&self) -> rusqlite::Result<()> {
        if self.is_given_up() { Ok(()) } else { self.execute("ROLLBACK") }
    }

    /// What comes after this can be undone by itself. There is one at a time.
    pub(in crate::ledger) fn begin_part(&self) -> rusqlite::Result<()> {
        self.execute("SAVEPOINT part")
    }

    /// The part is part of the transaction.
    pub(in crate::ledger) fn end_part(&self) -> rusqlite::Result<()> {
        self.execute("RELEASE part")
    }

    /// The part has not been.
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
        // A connection that cannot even do this is given up for what went wrong before.
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
