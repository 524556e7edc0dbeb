//! Backups: a ledger's file as it was at one moment, followed by one line of JSON that says what is
//! in it and what its octets hash to.
//!
//! A backup is taken beside a running daemon and tells whether it is whole. It proves nothing about
//! who made it: whoever can write the file can write another.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::{file, place::FILE_MODE, schema::SCHEMA_VERSION, sql::verify};
use crate::{
    domain::time::Timestamp,
    ledger::record::{BackupLabel, Counts},
};

const FORMAT: u32 = 1;
/// What SQLite puts beside a file.
const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Longest label, in octets.
const LABEL_BYTES_MAX: u64 = 4_096;

/// Writes a backup of the ledger at `ledger` into the new file `to`, beside a daemon that may be
/// writing, and reads it back. Blocks.
///
/// # Errors
/// In words for the operator. There is no new file then.
pub fn backup(ledger: &Path, to: &Path, now: Timestamp) -> Result<BackupLabel, String> {
    refuse_existing(to)?;
    let part = PartialFile::create(to)?;
    file::copy_into(ledger, part.path()).map_err(|error| named(ledger, &error))?;
    let counts = check(part.path()).map_err(|what| named(ledger, &what))?;
    let wrong = |error: io::Error| named(to, &error);
    let (sha256, bytes) = hash(&mut part.open().map_err(wrong)?, &mut io::sink()).map_err(wrong)?;
    let label = BackupLabel {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: SCHEMA_VERSION,
        created_at: now.to_string(),
        bytes,
        sha256,
        counts,
    };
    let line = serde_json::to_string(&label).map_err(|error| named(to, &error))?;
    part.append(&format!("\n{line}\n")).map_err(wrong)?;
    refuse_existing(to)?;
    part.keep(to).map_err(wrong)?;
    Ok(label)
}

/// Copies the ledger's file out of a backup.
///
/// # Errors
/// In words for the operator: when it is no backup, not whole, or of a newer program.
pub(super) fn unpack(backup: &Path, to: &Path) -> Result<BackupLabel, String> {
    let wrong = |error: io::Error| named(backup, &error);
    let mut file = File::open(backup).map_err(wrong)?;
    let label = read_label(&mut file)
        .map_err(wrong)?
        .ok_or_else(|| named(backup, &"this is no backup, or its end is missing"))?;
    if label.format > FORMAT || label.schema_version > SCHEMA_VERSION {
        let by = format!("it was made by a newer chancery ({}); restore with that", label.version);
        return Err(named(backup, &by));
    }
    let mut out = OpenOptions::new().write(true).open(to).map_err(|error| named(to, &error))?;
    file.rewind().map_err(wrong)?;
    let (sha256, bytes) = hash(&mut file.take(label.bytes), &mut out).map_err(wrong)?;
    if bytes != label.bytes || sha256 != label.sha256 {
        return Err(named(backup, &"it was changed since it was made: its hash is another"));
    }
    Ok(label)
}

/// `None`: what the file ends with is no label of a file of its length.
fn read_label(file: &mut File) -> io::Result<Option<BackupLabel>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(LABEL_BYTES_MAX)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let Some(line) = end.strip_suffix(b"\n").and_then(|end| end.rsplit(|o| *o == b'\n').next())
    else {
        return Ok(None);
    };
    let label: Option<BackupLabel> = serde_json::from_slice(line).ok();
    Ok(label.filter(|label| label.bytes.checked_add(line.len() as u64 + 2) == Some(length)))
}

/// Reads all of a ledger's file and holds it against its hashes.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(path: &Path) -> Result<Counts, String> {
    let connection = file::open_sound(path)?;
    verify::everything(&connection)
}

/// Copies, and hashes on the way; the hash in hex and the number of octets.
fn hash(from: &mut impl Read, to: &mut impl Write) -> io::Result<(String, u64)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
    let hash = context.finish();
    Ok((HEXLOWER.encode(hash.as_ref()), bytes))
}

fn refuse_existing(file: &Path) -> Result<(), String> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(named(file, &error)),
        Ok(_) => Err(named(file, &"it is there already; nothing is overwritten")),
    }
}

pub(super) fn named(file: &Path, what: &dyn std::fmt::Display) -> String {
    format!("{}: {what}", file.display())
}

/// A file that is not whole yet, beside the one that it will be; gone when it is dropped.
pub(super) struct PartialFile {
    path: PathBuf,
    /// It has its name.
    is_kept: bool,
    /// Locked while there is somebody who makes it whole.
    _lock: File,
}

impl PartialFile {
    /// Makes it, empty and for its owner alone; in place of one that was left behind by a process that
    /// was killed.
    pub(super) fn create(beside: &Path) -> Result<Self, String> {
        let mut name = beside.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let lock = Self::open_locked(&path).map_err(|error| named(&path, &error))?;
        let part = Self { path, is_kept: false, _lock: lock };
        for side in SIDES {
            part.remove(side).map_err(|error| named(&part.path, &error))?;
        }
        Ok(part)
    }

    fn open_locked(path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        let is_another_s = || io::Error::other("another process is writing it");
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => is_another_s(),
            TryLockError::Error(error) => error,
        })?;
        // Who held it until now may have given it its name.
        if fs::symlink_metadata(path)?.ino() != file.metadata()?.ino() {
            return Err(is_another_s());
        }
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.set_len(0)?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    fn append(&self, text: &str) -> io::Result<()> {
        OpenOptions::new().append(true).open(&self.path)?.write_all(text.as_bytes())
    }

    /// Removes a file of this name and ending, if there is one.
    fn remove(&self, side: &str) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(side);
        match fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes it last under its name.
    pub(super) fn keep(mut self, name: &Path) -> io::Result<()> {
        self.open()?.sync_all()?;
        fs::rename(&self.path, name)?;
        self.is_kept = true;
        file::sync_directory(name)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Under this name there may be one of another process by now.
        if self.is_kept {
            return;
        }
        for side in SIDES.into_iter().chain([""]) {
            // What stays is taken over by the next attempt.
            let _ = self.remove(side);
        }
    }
}
