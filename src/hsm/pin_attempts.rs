//! PINs that were tried, kept in a file: a token locks after a few wrong ones, whatever was restarted
//! between them.
//!
//! A try is on disk before the token hears of it. What it came to is written when that is known; where
//! the daemon, the signer or the machine ends in between, the next start finds an open try and has to
//! decide without knowing:
//!
//! * The token says that a wrong PIN was given since the last login (`CKF_USER_PIN_COUNT_LOW`): that was
//!   this one. It is not tried again.
//! * The token says that none was, and is known to say so when there is one (`quirks.toml`; PKCS#11 lets a
//!   token hide it): the try did not reach it, or was good. It is tried again.
//! * Else it is tried again if the token has taken this PIN before, since then it was right: a crash in the
//!   middle of a login costs no operator his night. Should somebody have changed the PIN on the token just
//!   then, the old one is tried twice, and no third time once the token has refused it.
//! * A PIN that the token was never seen to take is not tried again: somebody has just set it, and is there
//!   to see that.
//!
//! Some tokens answer a login with a code that says nothing of the PIN (`CKR_FUNCTION_FAILED`,
//! `CKR_ARGUMENTS_BAD` and the like), be it because a connection is down, be it because the PIN is wrong. A
//! PIN that the token has taken before is tried again then, [`TRIES_AN_HOUR_MAX`] times an hour and after
//! pauses, as long as the token does not say that a wrong one was given. Another is not.
//!
//! The file has no PIN. Of each it has one octet of a digest with salt of its own, which tells it from
//! most others at once and is of little use to who wants to guess it; that is all, of one that was taken.
//! Of one that was not, there is a slow digest besides, which tells it from all others. Only signers,
//! which read the PIN, can tell whether one is meant; the front only keeps the file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// PINs that are remembered of one serial; the oldest is forgotten first.
const ATTEMPTS_MAX: usize = 8;
/// Tries of a PIN within an hour that a token may answer without a word about it; the first counts.
pub(super) const TRIES_AN_HOUR_MAX: usize = 3;
/// Between these attempts, in seconds.
const PAUSES_SECONDS: [u64; TRIES_AN_HOUR_MAX - 1] = [1, 5];
const HOUR_SECONDS: u64 = 3_600;
/// Longest text in a fingerprint, in octets; a signer is not trusted with our files.
const TEXT_BYTES_MAX: usize = 256;

/// One PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinFingerprint {
    /// `CK_TOKEN_INFO.serialNumber` of the token that it was given to.
    pub(super) serial: String,
    /// Of both digests, in hexadecimal.
    pub(super) salt: String,
    /// The octet; see `worker::pin`.
    pub(super) check: u8,
    /// The slow one, in hexadecimal; see `worker::pin`.
    pub(super) digest: Option<String>,
}

impl PinFingerprint {
    /// Whether `kept` can be of the same PIN.
    pub(super) fn fits(&self, kept: &Self) -> bool {
        (&self.serial, &self.salt, self.check) == (&kept.serial, &kept.salt, kept.check)
            && self
                .digest
                .iter()
                .all(|digest| kept.digest.as_ref().is_none_or(|kept| kept == digest))
    }
}

/// A PIN and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinAttempt {
    #[serde(rename = "mark")]
    pub(super) fingerprint: PinFingerprint,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// The token did not take it.
    Refused,
    /// The token took it.
    Taken,
    /// It was tried, and the outcome is not known.
    Open,
    /// The same of one that was taken before.
    OpenAfterTaken,
    /// It was taken before; then the token answered so many tries without a word about it, or one of them
    /// is open.
    UnexplainedAfterTaken {
        /// When, in seconds since 1970.
        at: Vec<u64>,
    },
    /// It was never taken, and the token answered without a word about it.
    Unexplained,
}

/// What a token says of wrong PINs since the last login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WrongPinFlag {
    /// There was one.
    Set,
    /// There was none.
    Clear,
    /// Nothing that can be relied on.
    Unreliable,
}

/// Whether a PIN may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LoginDecision {
    /// It may.
    Granted {
        /// Whether the token has taken it before.
        taken_before: bool,
    },
    /// The token has refused it.
    RefusedBefore,
    /// It was tried, nobody knows to what end, and it was never taken.
    Unsettled,
    /// It was tried, the token said nothing of it, and it was never taken.
    Unexplained,
    /// The token said nothing of it lately. It was taken before, and may be tried again later.
    Later {
        /// In how many seconds.
        seconds: u64,
    },
    /// The try cannot be noted.
    NotNoted,
    /// Another signer's try has come to no end.
    NotNow,
}

/// What a try came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LoginOutcome {
    /// The token took the PIN.
    Taken,
    /// The token refused it.
    Refused,
    /// The token did not look at it.
    Unanswered,
    /// The token did not take it, and did not say why.
    Unexplained,
}

/// The tries in a file; none when there is no file.
///
/// # Errors
/// In words for the operator. Then no PIN may be tried: it may be one of those.
pub(super) fn load(file: &Path) -> Result<Vec<PinAttempt>, String> {
    let words = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| words(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(words(&error)),
    }
}

/// A PIN is about to be tried; when that is granted, it is on disk.
///
/// # Errors
/// In words for the operator: the file cannot be read or written, or the fingerprint is no fingerprint.
pub(super) fn begin(
    file: &Path,
    fingerprint: &PinFingerprint,
    wrong: WrongPinFlag,
) -> Result<LoginDecision, String> {
    let now = seconds_since_1970();
    change(file, fingerprint, |attempts| {
        let Some(at) = attempts.iter().rposition(|kept| fingerprint.fits(&kept.fingerprint)) else {
            attempts.push(PinAttempt { fingerprint: fingerprint.clone(), outcome: Outcome::Open });
            return LoginDecision::Granted { taken_before: false };
        };
        let outcome = match (attempts[at].outcome.clone(), wrong) {
            (Outcome::Refused, _) => Outcome::Refused,
            (
                Outcome::Open
                | Outcome::OpenAfterTaken
                | Outcome::Unexplained
                | Outcome::UnexplainedAfterTaken { .. },
                WrongPinFlag::Set,
            ) => Outcome::Refused,
            (Outcome::Open, WrongPinFlag::Unreliable) => return LoginDecision::Unsettled,
            (Outcome::Open, WrongPinFlag::Clear) => Outcome::Open,
            (Outcome::Taken | Outcome::OpenAfterTaken, _) => Outcome::OpenAfterTaken,
            (Outcome::Unexplained, _) => return LoginDecision::Unexplained,
            (Outcome::UnexplainedAfterTaken { at }, _) => match once_more(at, now) {
                Ok(at) => Outcome::UnexplainedAfterTaken { at },
                Err(seconds) => return LoginDecision::Later { seconds },
            },
        };
        attempts[at] =
            PinAttempt { fingerprint: kept_of(fingerprint, &outcome), outcome: outcome.clone() };
        match outcome {
            Outcome::Refused => LoginDecision::RefusedBefore,
            Outcome::Open | Outcome::Unexplained => LoginDecision::Granted { taken_before: false },
            Outcome::Taken | Outcome::OpenAfterTaken | Outcome::UnexplainedAfterTaken { .. } => {
                LoginDecision::Granted { taken_before: true }
            }
        }
    })
}

/// The tries of the last hour and one now, or how many seconds it has to wait.
fn once_more(at: Vec<u64>, now: u64) -> Result<Vec<u64>, u64> {
    // A clock that was put back makes nothing older.
    let mut at: Vec<_> = at.into_iter().map(|at| at.min(now)).collect();
    at.retain(|at| now - at < HOUR_SECONDS);
    let first = at.first().copied().unwrap_or(now);
    let last = at.last().copied().unwrap_or(now);
    let due = match at.len().checked_sub(1) {
        None => now,
        Some(before) => match PAUSES_SECONDS.get(before) {
            Some(pause) => last + pause,
            None => first + HOUR_SECONDS,
        },
    };
    if due > now {
        return Err(due - now);
    }
    at.push(now);
    Ok(at)
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A try has come to its end. That is on disk when this returns.
///
/// # Errors
/// In words for the operator.
pub(super) fn end(
    file: &Path,
    fingerprint: &PinFingerprint,
    end: LoginOutcome,
) -> Result<(), String> {
    change(file, fingerprint, |attempts| {
        let before = attempts.extract_if(.., |kept| fingerprint.fits(&kept.fingerprint)).last();
        let outcome = match (end, before.map(|before| before.outcome)) {
            (LoginOutcome::Refused, _) | (_, Some(Outcome::Refused)) => Outcome::Refused,
            (LoginOutcome::Taken, _) => {
                // All that was wrong before is forgotten by the token, too.
                attempts.retain(|kept| kept.fingerprint.serial != fingerprint.serial);
                Outcome::Taken
            }
            (LoginOutcome::Unanswered, Some(Outcome::OpenAfterTaken | Outcome::Taken)) => {
                Outcome::Taken
            }
            (LoginOutcome::Unanswered, Some(Outcome::UnexplainedAfterTaken { mut at })) => {
                at.pop();
                if at.is_empty() { Outcome::Taken } else { Outcome::UnexplainedAfterTaken { at } }
            }
            (LoginOutcome::Unanswered, Some(Outcome::Unexplained)) => Outcome::Unexplained,
            (LoginOutcome::Unanswered, Some(Outcome::Open) | None) => return,
            (LoginOutcome::Unexplained, Some(Outcome::OpenAfterTaken | Outcome::Taken)) => {
                Outcome::UnexplainedAfterTaken { at: vec![seconds_since_1970()] }
            }
            (LoginOutcome::Unexplained, Some(before @ Outcome::UnexplainedAfterTaken { .. })) => {
                before
            }
            (LoginOutcome::Unexplained, Some(Outcome::Open | Outcome::Unexplained) | None) => {
                Outcome::Unexplained
            }
        };
        attempts.push(PinAttempt { fingerprint: kept_of(fingerprint, &outcome), outcome });
    })
}

/// What is kept of a fingerprint.
fn kept_of(fingerprint: &PinFingerprint, outcome: &Outcome) -> PinFingerprint {
    let mut fingerprint = fingerprint.clone();
    match outcome {
        Outcome::Refused | Outcome::Open | Outcome::Unexplained => {}
        Outcome::Taken | Outcome::OpenAfterTaken | Outcome::UnexplainedAfterTaken { .. } => {
            fingerprint.digest = None;
        }
    }
    fingerprint
}

/// Alone among threads and processes: an operator's check may run beside the daemon.
fn change<T>(
    file: &Path,
    fingerprint: &PinFingerprint,
    change: impl FnOnce(&mut Vec<PinAttempt>) -> T,
) -> Result<T, String> {
    let texts = [&fingerprint.serial, &fingerprint.salt].into_iter().chain(&fingerprint.digest);
    if texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err("this is no fingerprint of a PIN".to_owned());
    }
    let words = |error: io::Error| format!("{}: {error}", file.display());
    let directory = File::open(directory_of(file)).map_err(words)?;
    directory.lock().map_err(words)?;
    let before = load(file)?;
    let mut attempts = before.clone();
    let told = change(&mut attempts);
    let mut surplus = attempts
        .iter()
        .filter(|kept| kept.fingerprint.serial == fingerprint.serial)
        .count()
        .saturating_sub(ATTEMPTS_MAX);
    attempts.retain(|kept| {
        let goes = surplus > 0 && kept.fingerprint.serial == fingerprint.serial;
        surplus -= usize::from(goes);
        !goes
    });
    if attempts != before {
        write(file, &directory, &attempts).map_err(words)?;
    }
    Ok(told)
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Beside it, then in its place: a crash leaves the old file or the new one.
fn write(file: &Path, directory: &File, attempts: &[PinAttempt]) -> io::Result<()> {
    if attempts.is_empty() {
        fs::remove_file(file)?;
        return directory.sync_all();
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    let mut options = OpenOptions::new();
    let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    // An operator's check, run as root, must not leave what the service cannot read.
    let owner = directory.metadata()?;
    let _ = chown(&draft, Some(owner.uid()), Some(owner.gid()));
    new.write_all(&serde_json::to_vec_pretty(attempts)?)?;
    new.sync_all()?;
    fs::rename(&draft, file)?;
    directory.sync_all()
}

#[cfg(test)]
mod tests;
