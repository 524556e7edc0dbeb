//! The file: created, locked, opened. All that only SQLite knows.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{
    error::LedgerError,
    sql::schema::{SCHEMA_VERSION, migrate},
};

pub(super) mod checkpoint;

/// "Chnc": marks the file as a ledger of ours.
const APPLICATION_ID: i32 = 0x4368_6E63;
/// How long to wait for a foreign process, such as a backup, to let go of the file. A caller may
/// have to wait for it twice: for a record, and for its withdrawal.
const BUSY_TIMEOUT_MS: u64 = 5_000;
/// What is left of the write-ahead log once it has been copied into the file, at most.
const WAL_BYTES_MAX: i64 = 64 << 20;
/// Statements kept prepared; more than we have.
const STATEMENTS_MAX: usize = 64;

/// Read and written by the ledger's own user only.
pub(super) const FILE_MODE: u32 = 0o600;

/// A ledger's file, ours alone while this lives.
pub(super) struct LedgerFile {
    path: PathBuf,
    /// Held, never read: the lock goes when the file is closed.
    _lock: File,
}

impl LedgerFile {
    /// Locks the ledger against other processes, creates its file where there is none, and brings
    /// its tables up to date.
    pub(super) fn prepare(path: &Path) -> Result<Self, LedgerError> {
        let lock = lock(path)?;
        create(path).map_err(|error| refused(path, "cannot be created", &error))?;
        Self::locked(path, lock)
    }

    /// The same for a file that is there, under a lock that is held.
    pub(super) fn locked(path: &Path, lock: File) -> Result<Self, LedgerError> {
        let file = Self { path: path.to_owned(), _lock: lock };
        let mut connection = file.writer()?;
        file.check_and_migrate(&mut connection)?;
        connection.close().map_err(|(_, error)| error)?;
        sync_directory(path).map_err(|error| refused(path, "is not durable", &error))?;
        Ok(file)
    }

    /// A connection that writes durably.
    pub(super) fn writer(&self) -> Result<Connection, LedgerError> {
        // Without CREATE: when the file has gone, an empty one must not take its place.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = self.open(flags)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            let path = self.path.display();
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
    pub(super) fn reader(&self) -> Result<Connection, LedgerError> {
        self.open(READ_ONLY)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, LedgerError> {
        let connection = open(&self.path, flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // A plan does not depend on the values bound; without this, SQLite prepares many statements
        // anew for each of them.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }

    fn check_and_migrate(&self, connection: &mut Connection) -> Result<(), LedgerError> {
        let path = self.path.display();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let (application, version) = (number("application_id")?, number("user_version")?);
        let tables: i64 =
            transaction.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))?;
        let new = application == 0 && version == 0 && tables == 0;
        if application != APPLICATION_ID && !new {
            return Err(LedgerError::refused(format!("{path} is a database, but no ledger")));
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

/// Copies the write-ahead log into the file and closes it.
pub(super) fn close(connection: Connection) -> Result<(), LedgerError> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Writes the committed state of a ledger into an empty file, whoever writes meanwhile.
pub(super) fn copy_into(ledger: &Path, empty: &Path) -> Result<(), LedgerError> {
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
pub(super) fn open_sound(file: &Path) -> Result<Connection, String> {
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

const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn open(file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
    Ok(connection)
}

/// The file beside a ledger that is locked.
pub(super) fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Keeps every other chancery away from a ledger, be it there or not.
pub(super) fn lock(path: &Path) -> Result<File, LedgerError> {
    let lock = lock_of(path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(&lock)
        .map_err(|error| refused(&lock, "cannot be opened", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(LedgerError::refused(format!("{} is in use by another chancery", path.display())))
        }
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
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn refused(path: &Path, what: &str, error: &io::Error) -> LedgerError {
    LedgerError::refused(format!("{} {what}: {error}", path.display()))
}
