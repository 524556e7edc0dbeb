//! The file: created, locked, opened. All that only SQLite knows.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{
    place::{self, FILE_MODE, Place, lock_of, refused},
    schema::{SCHEMA_VERSION, migrate},
};
use crate::ledger::{error::LedgerError, record::NewLedger};

/// "Chnc": marks the file as a ledger of ours.
const APPLICATION_ID: i32 = 0x4368_6E63;
/// How long to wait for a foreign process, such as a backup, to let go of the file. A caller may
/// have to wait for it twice: for a record, and for its withdrawal.
const BUSY_TIMEOUT_MS: u64 = 5_000;
/// What is left of the write-ahead log once it has been copied into the file, at most.
const WAL_BYTES_MAX: i64 = 64 << 20;
/// Statements kept prepared; more than we have.
const STATEMENTS_MAX: usize = 64;

/// A ledger's file, ours alone while this lives.
pub(in crate::ledger) struct LedgerFile {
    place: Place,
}

impl LedgerFile {
    /// Locks the ledger against other processes, creates its file where there is none, and brings
    /// its tables up to date.
    pub(in crate::ledger) fn prepare(path: &Path, new: NewLedger) -> Result<Self, LedgerError> {
        let path = &place::resolve(path);
        let lock = lock(path)?;
        let was_there = place::has_mark(&lock)
            .map_err(|error| refused(&lock_of(path), "cannot be read", &error))?;
        let may_be_new = !was_there || new == NewLedger::Allowed;
        if path.symlink_metadata().is_err() {
            if !may_be_new {
                return Err(gone(path, "is gone"));
            }
            if let Some(side) = place::stray_side(path) {
                let side = side.display();
                return Err(LedgerError::refused(format!(
                    "{side} is of another ledger; move it away"
                )));
            }
        }
        create(path).map_err(|error| refused(path, "cannot be created", &error))?;
        Self::made(Place::of(path, lock)?, may_be_new)
    }

    /// The same for a file that is there and that nobody else knows of, under a lock that is held.
    pub(in crate::ledger) fn locked(path: &Path, lock: File) -> Result<Self, LedgerError> {
        Self::made(Place::of_unshared(path, lock)?, false)
    }

    fn made(place: Place, may_be_new: bool) -> Result<Self, LedgerError> {
        let file = Self { place };
        let path = file.place.path();
        let mut connection = file.writer()?;
        file.check_and_migrate(&mut connection, may_be_new)?;
        close(connection)?;
        let not_durable = |error| refused(path, "is not durable", &error);
        sync_directory(path).map_err(not_durable)?;
        file.place.mark().map_err(not_durable)?;
        Ok(file)
    }

    /// Where it lies.
    pub(in crate::ledger) fn place(&self) -> &Place {
        &self.place
    }

    /// A connection that writes durably.
    pub(in crate::ledger) fn writer(&self) -> Result<Connection, LedgerError> {
        // Without CREATE: when the file has gone, an empty one must not take its place.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = self.open(flags)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            let path = self.place.path().display();
            return Err(LedgerError::refused(format!(
                "{path} cannot have a write-ahead log; it must lie on a local file system"
            )));
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What a savepoint needs to undo is of no use after a crash: it need not go through a file.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
        Ok(connection)
    }

    /// A connection that cannot write.
    pub(in crate::ledger) fn reader(&self) -> Result<Connection, LedgerError> {
        self.open(READ_ONLY)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, LedgerError> {
        let connection = open(self.place.path(), flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // A plan does not depend on the values bound; without this, SQLite prepares many statements
        // anew for each of them.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // The write-ahead log is removed by name, and that may be another's by then; see [`close`].
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    }

    fn check_and_migrate(
        &self,
        connection: &mut Connection,
        may_be_new: bool,
    ) -> Result<(), LedgerError> {
        let path = self.place.path().display();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let (application, version) = (number("application_id")?, number("user_version")?);
        let tables: i64 =
            transaction.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))?;
        let new = application == 0 && version == 0 && tables == 0;
        if application != APPLICATION_ID && !new {
            return Err(LedgerError::refused(format!("{path} is a database, but no ledger")));
        }
        if new && !may_be_new {
            return Err(gone(self.place.path(), "is empty"));
        }
        if version > SCHEMA_VERSION {
            return Err(LedgerError::refused(format!(
                "{path} was written by a newer chancery (schema version {version}; this one knows \
                 {SCHEMA_VERSION}); start the newer one"
            )));
        }
        if version < SCHEMA_VERSION {
            migrate(&transaction, version)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        Ok(transaction.commit()?)
    }
}

/// Copies the write-ahead log into the file, closes it, and removes the log if it was the last to have it
/// open.
pub(in crate::ledger) fn close(connection: Connection) -> Result<(), LedgerError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Writes the committed state of a ledger into an empty file, whoever writes meanwhile.
pub(in crate::ledger) fn copy_into(ledger: &Path, empty: &Path) -> Result<(), LedgerError> {
    let connection = open(ledger, READ_ONLY)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Err(LedgerError::refused("it is no ledger"));
    }
    let empty =
        empty.to_str().ok_or_else(|| LedgerError::refused("SQLite takes only names in UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [empty])?;
    Ok(())
}

/// Opens a ledger's file for reading, if SQLite finds all of it in order.
///
/// # Errors
/// What SQLite finds.
pub(in crate::ledger) fn open_sound(file: &Path) -> Result<Connection, String> {
    let words = |error: rusqlite::Error| error.to_string();
    let connection = open(file, READ_ONLY).map_err(words)?;
    let number =
        |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(words);
    if number("application_id")? != APPLICATION_ID || number("user_version")? > SCHEMA_VERSION {
        return Err("it is no ledger, or one of a newer chancery".to_owned());
    }
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(words)?;
    if found != "ok" {
        return Err(format!("SQLite: {found}"));
    }
    let strays = connection.prepare("PRAGMA foreign_key_check").and_then(|mut s| s.exists([]));
    match strays.map_err(words)? {
        true => Err("SQLite: a row refers to another that is missing".to_owned()),
        false => Ok(connection),
    }
}

/// Opens the ledger of a daemon that may be running, and tells its version; `None` where there is none
/// yet.
pub(in crate::ledger) fn open_beside(
    path: &Path,
) -> Result<Option<(Connection, i32)>, LedgerError> {
    let path = &place::resolve(path);
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(path, "cannot be read", &error)),
        // A start will begin it, or say why not.
        Ok(metadata) if metadata.len() == 0 => return Ok(None),
        Ok(_) => {}
    }
    let connection = open(path, READ_ONLY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION_ID || !(1..=SCHEMA_VERSION).contains(&version) {
        let path = path.display();
        return Err(LedgerError::refused(format!(
            "{path} is no ledger, or one of a newer chancery"
        )));
    }
    Ok(Some((connection, version)))
}

const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn open(file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
    Ok(connection)
}

/// Keeps every other chancery away from a ledger, be it there or not.
pub(in crate::ledger) fn lock(path: &Path) -> Result<File, LedgerError> {
    let lock = lock_of(path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(FILE_MODE)
        .open(&lock)
        .map_err(|error| refused(&lock, "cannot be opened", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(place::in_use(path)),
        Err(TryLockError::Error(error)) => Err(refused(&lock, "cannot be locked", &error)),
    }
}

/// SQLite gives its side files the mode of the file itself, so it is ours to create.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A new name in a directory lasts only when the directory has been synced.
pub(in crate::ledger) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(place::directory_of(path))?.sync_all()
}

/// A ledger that is not there any more.
fn gone(path: &Path, what: &str) -> LedgerError {
    LedgerError::refused(format!(
        "{} {what}, and there was a ledger: bring it back, or restore a backup; only where nothing is left \
         of it, serve with --new-ledger",
        path.display()
    ))
}
