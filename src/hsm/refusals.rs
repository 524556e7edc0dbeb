//! PINs that a token refused, kept in a file: a token locks after a few wrong ones, whatever was
//! restarted between them.
//!
//! The file has no PIN, but a slow digest of each with salt of its own. Only signers, which read the
//! PIN, can tell whether one is meant; the front only keeps the file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// Refused PINs that are remembered of all serials together; the oldest is forgotten first.
const MARKS_MAX: usize = 8;
/// Longest text in a mark, in octets; a signer is not trusted with our files.
const TEXT_BYTES_MAX: usize = 256;

/// Held while the file is changed: the tokens of one daemon share it.
static CHANGING: Mutex<()> = Mutex::new(());

/// One refused PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinMark {
    /// `CK_TOKEN_INFO.serialNumber` of the token that refused it.
    pub(super) serial: String,
    /// Of the digest, in hexadecimal.
    pub(super) salt: String,
    /// See `worker::pin`; in hexadecimal.
    pub(super) digest: String,
}

/// The marks in a file; none when there is no file.
///
/// # Errors
/// In words for the operator. Then no PIN may be tried: it may be one of those.
pub(super) fn load(file: &Path) -> Result<Vec<PinMark>, String> {
    let words = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| words(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(words(&error)),
    }
}

/// Adds a mark. It is on disk when this returns.
///
/// # Errors
/// In words for the operator.
pub(super) fn remember(file: &Path, mark: PinMark) -> Result<(), String> {
    if [&mark.serial, &mark.salt, &mark.digest].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err("the mark of a refused PIN is too long".to_owned());
    }
    let _alone = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut marks = load(file)?;
    marks.push(mark);
    let surplus = marks.len().saturating_sub(MARKS_MAX);
    marks.drain(..surplus);
    store(file, &marks)
}

/// Drops the marks of a token that has taken a PIN.
///
/// # Errors
/// In words for the operator.
pub(super) fn forget(file: &Path, serial: &str) -> Result<(), String> {
    let _alone = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let marks = load(file)?;
    let others: Vec<_> = marks.iter().filter(|mark| mark.serial != serial).cloned().collect();
    if others.len() == marks.len() { Ok(()) } else { store(file, &others) }
}

fn store(file: &Path, marks: &[PinMark]) -> Result<(), String> {
    write(file, marks).map_err(|error| format!("{}: {error}", file.display()))
}

/// Beside it, then in its place: a crash leaves the old file or the new one.
fn write(file: &Path, marks: &[PinMark]) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    if marks.is_empty() {
        fs::remove_file(file)?;
        return File::open(directory)?.sync_all();
    }
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(name);
    let mut options = OpenOptions::new();
    let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    // An operator's check, run as root, must not leave what the service cannot read.
    let owner = fs::metadata(directory)?;
    let _ = chown(&draft, Some(owner.uid()), Some(owner.gid()));
    new.write_all(&serde_json::to_vec_pretty(marks)?)?;
    new.sync_all()?;
    fs::rename(&draft, file)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mark(serial: &str, digest: usize) -> PinMark {
        PinMark { serial: serial.to_owned(), salt: "00".to_owned(), digest: digest.to_string() }
    }

    #[test]
    fn marks_last_until_their_token_takes_a_pin() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ledger.sqlite.refused-pins");
        assert_eq!(load(&file).unwrap(), []);
        forget(&file, "one").unwrap();
        remember(&file, mark("one", 1)).unwrap();
        remember(&file, mark("two", 2)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        forget(&file, "one").unwrap();
        assert_eq!(load(&file).unwrap(), [mark("two", 2)]);
        forget(&file, "two").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn the_latest_marks_are_kept_and_only_so_many() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("refused-pins");
        for digest in 0..20 {
            remember(&file, mark("one", digest)).unwrap();
        }
        let kept = load(&file).unwrap();
        assert_eq!(kept.len(), MARKS_MAX);
        assert_eq!(kept.last(), Some(&mark("one", 19)));
        assert!(remember(&file, mark(&"x".repeat(300), 1)).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("refused-pins");
        fs::write(&file, "[{").unwrap();
        assert!(load(&file).unwrap_err().contains("refused-pins"));
        assert!(remember(&file, mark("one", 1)).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"[{");
    }
}
