//! From a backup to a ledger, which appears when all of it has been checked, or not at all.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use super::{
    backup::{self, PartialFile, named},
    file::{self, LedgerFile},
    place,
    sql::{verify, write},
    transaction::Transaction,
};
use crate::{
    audit::AuditRecord,
    domain::time::Timestamp,
    ledger::record::{BackupLabel, CaKey},
};

/// A backup that was checked, beside the ledger that it is to become. Until it is dropped, no daemon
/// can start on that ledger.
pub struct Restoration {
    ledger: PathBuf,
    part: PartialFile,
    label: BackupLabel,
    ca_keys: Vec<CaKey>,
    lock: File,
}

impl Restoration {
    /// Unpacks a backup and checks all of it. Blocks.
    ///
    /// # Errors
    /// In words for the operator: when there is a ledger or a daemon, or the backup is not whole.
    pub fn prepare(from: &Path, ledger: &Path, now: Timestamp) -> Result<Self, String> {
        let ledger = &place::resolve(ledger);
        let lock = file::lock(ledger).map_err(|error| error.to_string())?;
        for side in ["", "-wal", "-shm"] {
            let mut name = ledger.as_os_str().to_owned();
            name.push(side);
            let file = PathBuf::from(name);
            if file.symlink_metadata().is_ok() {
                let what = "there is a ledger already; move it away, it is never overwritten";
                return Err(named(&file, &what));
            }
        }
        let part = PartialFile::create(ledger)?;
        let label = backup::unpack(from, part.path())?;
        let counts = backup::check(part.path()).map_err(|what| named(from, &what))?;
        if counts != label.counts {
            return Err(named(from, &"it does not hold what it says"));
        }
        let ca_keys = file::open_sound(part.path())
            .and_then(|connection| {
                verify::ca_keys(&connection, now).map_err(|error| error.to_string())
            })
            .map_err(|what| named(from, &what))?;
        Ok(Self { ledger: ledger.to_owned(), part, label, ca_keys, lock })
    }

    /// What the backup says of itself.
    pub fn label(&self) -> &BackupLabel {
        &self.label
    }

    /// The keys without which CAs of this ledger sign no more.
    pub fn ca_keys(&self) -> &[CaKey] {
        &self.ca_keys
    }

    /// Makes it the ledger, with an entry in its log that says so.
    ///
    /// # Errors
    /// In words for the operator; there is no ledger then.
    pub fn finish(self, audit: &AuditRecord) -> Result<(), String> {
        let Self { ledger, part, lock, .. } = self;
        let wrong = |error: &dyn std::fmt::Display| named(&ledger, error);
        let unfinished = LedgerFile::locked(part.path(), lock).map_err(|error| wrong(&error))?;
        let connection = unfinished.writer().map_err(|error| wrong(&error))?;
        Transaction::write(&connection)
            .and_then(|transaction| {
                write::append(&transaction, audit)?;
                transaction.commit()
            })
            .map_err(|error| wrong(&error))?;
        file::close(connection).map_err(|error| wrong(&error))?;
        let directory = place::directory_of(&ledger);
        let is_given = fs::metadata(directory).and_then(|directory| {
            // root restores for the daemon's user.
            let theirs = (directory.uid(), directory.gid());
            let ours = fs::metadata(part.path())?;
            if ours.uid() == 0 && ours.uid() != theirs.0 {
                for file in [part.path(), &place::lock_of(&ledger)] {
                    chown(file, Some(theirs.0), Some(theirs.1))?;
                }
            }
            Ok(())
        });
        is_given.map_err(|error| wrong(&error))?;
        part.keep(&ledger).map_err(|error| wrong(&error))
    }
}
