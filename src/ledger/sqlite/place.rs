//! The ledger's file: its path with links resolved, its locks (one by name, one on the inode), and the
//! check that the open file is still the one at its path. Writes to an unlinked file would be lost.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::ledger::error::LedgerError;

/// Read and written by the ledger's own user only.
pub(super) const FILE_MODE: u32 = 0o600;
/// Symbolic links that are followed one after the other, at most.
const LINKS_MAX: usize = 8;
/// What SQLite has beside the file for as long as it is open.
const SIDES: [&str; 2] = ["-wal", "-shm"];
/// Less room than this on its disk, and an issuance may find none; in octets.
const ROOM_MIN: u64 = 128 << 10;
/// What the lock says once there was a ledger.
const MARK: &str = "There is a ledger beside this file. Where it is missing, no new one is begun \
                    without --new-ledger.\n";

/// Device and inode.
type Identity = (u64, u64);

/// See the module.
pub(in crate::ledger) struct Place {
    path: PathBuf,
    /// Closing it releases the lock.
    lock: File,
    /// Opened before SQLite opens it, and closed after: POSIX has the locks of a process on a file go
    /// with the first descriptor that it closes.
    database: File,
    identity: Identity,
    /// The greatest length seen; a shorter file was truncated by somebody.
    length: AtomicU64,
    /// The files beside it, since the first transaction.
    sides: Mutex<Option<[Identity; 2]>>,
    is_displaced: AtomicBool,
}

impl Place {
    /// Locks what lies at this path, found by [`resolve`], which must be there.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when another process has the file open as its ledger, under whatever
    /// name.
    pub(super) fn of(path: &Path, lock: File) -> Result<Self, LedgerError> {
        let place = Self::of_unshared(path, lock)?;
        match place.database.try_lock() {
            Ok(()) => Ok(place),
            Err(TryLockError::WouldBlock) => Err(in_use(path)),
            Err(TryLockError::Error(error)) => Err(refused(path, "cannot be locked", &error)),
        }
    }

    /// The same for a file that nobody else knows of.
    pub(super) fn of_unshared(path: &Path, lock: File) -> Result<Self, LedgerError> {
        let open = || {
            let database = OpenOptions::new().read(true).write(true).open(path)?;
            let metadata = database.metadata()?;
            Ok((database, metadata))
        };
        let (database, metadata) =
            open().map_err(|error| refused(path, "cannot be opened", &error))?;
        Ok(Self {
            path: path.to_owned(),
            lock,
            database,
            identity: identity(&metadata),
            length: AtomicU64::new(metadata.len()),
            sides: Mutex::new(None),
            is_displaced: AtomicBool::new(false),
        })
    }

    pub(in crate::ledger) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes for the next start that there is a ledger here.
    pub(super) fn mark(&self) -> io::Result<()> {
        if has_mark(&self.lock)? {
            return Ok(());
        }
        let mut lock = &self.lock;
        lock.write_all(MARK.as_bytes())?;
        lock.sync_all()
    }

    /// Whether the ledger that is open is still the one that lies here.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] when its name leads elsewhere or nowhere, when it was cut short, or
    /// when what lies beside it is not what SQLite has open.
    pub(in crate::ledger) fn look(&self) -> Result<(), LedgerError> {
        let looked = self.find_fault();
        let was_displaced = self.is_displaced.swap(looked.is_err(), Ordering::Relaxed);
        match &looked {
            Err(what) if !was_displaced => {
                tracing::error!(
                    what,
                    path = %self.path.display(),
                    alarm = "ledger-displaced",
                    action = "nothing is issued; bring the ledger back, or restart the service",
                    "the ledger that is open is not the one at its path any more"
                );
                self.leave_mark();
            }
            Ok(()) if was_displaced => tracing::info!("the ledger is at its path again"),
            Err(_) | Ok(()) => {}
        }
        looked.map_err(LedgerError::unavailable)
    }

    /// To be called when the connection that writes was closed: SQLite may remove what lies beside the
    /// file, and makes it anew.
    pub(in crate::ledger) fn forget_sides(&self) {
        *self.sides.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the last look has found a fault.
    pub(in crate::ledger) fn is_displaced(&self) -> bool {
        self.is_displaced.load(Ordering::Relaxed)
    }

    /// Whether what an issuance writes has room on the disk.
    pub(in crate::ledger) fn has_room(&self) -> bool {
        // What cannot be asked is found out by writing.
        rustix::fs::fstatvfs(&self.database)
            .map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM_MIN)
    }

    fn find_fault(&self) -> Result<(), String> {
        let here = fs::metadata(&self.path).map_err(|error| format!("its file: {error}"))?;
        if identity(&here) != self.identity {
            return Err("another file has taken its place".to_owned());
        }
        let longest = self.length.fetch_max(here.len(), Ordering::Relaxed);
        if here.len() < longest {
            return Err("its file was cut short".to_owned());
        }
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = *sides else {
            *sides = self.find_sides().ok();
            return Ok(());
        };
        match self.find_sides() {
            Ok(found) if found == known => Ok(()),
            Ok(_) => Err("other files have taken the place of those beside it".to_owned()),
            Err(error) => Err(format!("the files beside it: {error}")),
        }
    }

    /// SQLite makes them with the first transaction, and removes them when the last connection closes,
    /// which is that of the one who writes.
    fn find_sides(&self) -> io::Result<[Identity; 2]> {
        let [wal, shm] = SIDES.map(|side| fs::metadata(beside(&self.path, side)));
        Ok([identity(&wal?), identity(&shm?)])
    }

    /// Writes the mark anew, because it may have been removed together with the ledger.
    fn leave_mark(&self) {
        let lock = lock_of(&self.path);
        let new = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(lock);
        // Where it cannot be made, the directory is gone too; or it is there.
        let _ = new.and_then(|mut lock| lock.write_all(MARK.as_bytes()));
    }
}

/// Whether the lock says that there was a ledger.
pub(super) fn has_mark(mut lock: &File) -> io::Result<bool> {
    lock.seek(SeekFrom::Start(0))?;
    let has_mark = lock.read(&mut [0])? > 0;
    Ok(has_mark)
}

/// A side file of a ledger whose main file is gone.
pub(super) fn stray_side(path: &Path) -> Option<PathBuf> {
    let sides = ["-wal", "-journal"].map(|side| beside(path, side));
    sides.into_iter().find(|side| side.symlink_metadata().is_ok())
}

/// The path of the file itself, whatever links lead to it; also where it is still to be made.
pub(in crate::ledger) fn resolve(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => break,
        }
    }
    match (directory_of(&path).canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        // Whoever opens it says what is wrong.
        (Ok(_) | Err(_), _) => path,
    }
}

/// The directory that a file is in.
pub(in crate::ledger) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(super) fn in_use(path: &Path) -> LedgerError {
    LedgerError::refused(format!("{} is in use by another chancery", path.display()))
}

fn beside(path: &Path, side: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(side);
    PathBuf::from(name)
}

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// The file beside a ledger that is locked.
pub(in crate::ledger) fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

pub(super) fn refused(path: &Path, what: &str, error: &io::Error) -> LedgerError {
    LedgerError::refused(format!("{} {what}: {error}", path.display()))
}
