//! A durable record of PIN attempts, because a token locks after a few wrong PINs, whatever was restarted
//! between them.
//!
//! An attempt is on disk before the token sees the PIN (write-ahead), and its outcome is recorded when it is
//! known. Where the daemon, the signer or the machine dies in between, the next start finds an open attempt
//! and has to decide:
//!
//! * The token says that a wrong PIN was given since the last login (`CKF_USER_PIN_COUNT_LOW`): it was this
//!   one. The PIN is not tried again.
//! * The token says that none was given, and is known to set the flag reliably (`quirks.toml`; PKCS#11 lets a
//!   token hide it): the attempt did not reach the token, or succeeded. The PIN is tried again.
//! * Else the PIN is tried again if the token has accepted it before, because then it was right, and a crash
//!   during a login should not need an operator. If the PIN was changed on the token in between, the old one
//!   is tried twice, and never again once the token has refused it.
//! * A PIN that the token was never seen to accept is not tried again, because an operator has just set it
//!   and can look.
//!
//! Some tokens answer a login with a code that does not mention the PIN (`CKR_FUNCTION_FAILED`,
//! `CKR_ARGUMENTS_BAD` and the like), because a connection is down or because the PIN is wrong. A PIN that
//! was accepted before is then tried again after pauses, [`TRIES_AN_HOUR_MAX`] times an hour, as long as the
//! token does not report a wrong PIN. Any other is not.
//!
//! The file contains no PIN. A fingerprint has a salt of its own and one octet of a digest, which tells the
//! PIN from most others and is of little use for guessing it; nothing more is kept of a PIN that was
//! accepted. Of one that was not, a slow digest is kept too, which tells it from all others. Only signers,
//! which read the PIN, compute fingerprints; the front keeps the file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Attempts that are kept for each serial; the oldest is dropped first.
const ATTEMPTS_MAX: usize = 8;
/// Attempts within an hour that a token may answer without mentioning the PIN, including the first.
pub(super) const TRIES_AN_HOUR_MAX: usize = 3;
/// Pauses between these attempts, in seconds.
const PAUSES_SECONDS: [u64; TRIES_AN_HOUR_MAX - 1] = [1, 5];
const HOUR_SECONDS: u64 = 3_600;
/// Longest text in a fingerprint, in octets. Limited because signers are not trusted.
const TEXT_BYTES_MAX: usize = 256;

/// The fingerprint of a PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinFingerprint {
    /// `CK_TOKEN_INFO.serialNumber` of the token that the PIN was given to.
    pub(super) serial: String,
    /// Salt of both digests, in hexadecimal.
    pub(super) salt: String,
    /// One octet of a fast digest; see `worker::pin`.
    pub(super) check: u8,
    /// The slow digest, in hexadecimal; see `worker::pin`.
    pub(super) digest: Option<String>,
}

impl PinFingerprint {
    /// Whether `kept` can be the fingerprint of the same PIN.
    pub(super) fn fits(&self, kept: &Self) -> bool {
        (&self.serial, &self.salt, self.check) == (&kept.serial, &kept.salt, kept.check)
            && self
                .digest
                .iter()
                .all(|digest| kept.digest.as_ref().is_none_or(|kept| kept == digest))
    }
}

/// A PIN that was tried, and the outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinAttempt {
    #[serde(rename = "mark")]
    pub(super) fingerprint: PinFingerprint,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// The token refused it.
    Refused,
    /// The token accepted it.
    Taken,
    /// The outcome is not known.
    Open,
    /// The outcome is not known; it was accepted before.
    OpenAfterTaken,
    /// It was accepted before; since then the token has answered these attempts without mentioning the PIN,
    /// or one of them is open.
    UnexplainedAfterTaken {
        /// The times, in seconds since 1970.
        at: Vec<u64>,
    },
    /// It was never accepted, and the token answered without mentioning the PIN.
    Unexplained,
}

/// What a token says about wrong PINs since the last login (`CKF_USER_PIN_COUNT_LOW`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WrongPinFlag {
    /// A wrong PIN was given.
    Set,
    /// No wrong PIN was given.
    Clear,
    /// The token does not say so reliably.
    Unreliable,
}

/// The decision whether a PIN may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LoginDecision {
    /// It may be tried.
    Granted {
        /// Whether the token has accepted it before.
        taken_before: bool,
    },
    /// The token has refused it before.
    RefusedBefore,
    /// It was tried with an unknown outcome, and was never accepted.
    Unsettled,
    /// It was tried, the token did not mention it, and it was never accepted.
    Unexplained,
    /// The token did not mention it lately. It was accepted before, and may be tried again later.
    Later {
        /// How long to wait, in seconds.
        seconds: u64,
    },
    /// The attempt cannot be recorded.
    NotNoted,
    /// Another signer's login has not ended.
    NotNow,
}

/// The outcome of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LoginOutcome {
    /// The token accepted the PIN.
    Taken,
    /// The token refused it.
    Refused,
    /// The token did not examine the PIN.
    Unanswered,
    /// The token did not accept the PIN and did not mention it.
    Unexplained,
}

/// Reads the attempts in a file; none when there is no file.
///
/// # Errors
/// For the operator. No PIN may be tried then, because it may be one of those.
pub(super) fn load(file: &Path) -> Result<Vec<PinAttempt>, String> {
    let words = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| words(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(words(&error)),
    }
}

/// Decides whether a PIN may be tried. When that is granted, the attempt is on disk.
///
/// # Errors
/// For the operator: the file cannot be read or written, or the fingerprint is malformed.
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

/// The times of the last hour's attempts and one more now, or how many seconds to wait.
fn once_more(at: Vec<u64>, now: u64) -> Result<Vec<u64>, u64> {
    // A clock that was set back must not make attempts look older.
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

/// Records the outcome of an attempt. It is on disk when this returns.
///
/// # Errors
/// For the operator.
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
                // With this login the token resets its count of wrong PINs too.
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

/// The part of a fingerprint that is kept.
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

/// Under a lock among threads and processes, because `chancery check` may run beside the daemon.
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

/// Writes a draft and renames it, so that a crash leaves the old file or the new one.
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
    // When `chancery check` runs as root, the service must still be able to read the file.
    let owner = directory.metadata()?;
    let _ = chown(&draft, Some(owner.uid()), Some(owner.gid()));
    new.write_all(&serde_json::to_vec_pretty(attempts)?)?;
    new.sync_all()?;
    fs::rename(&draft, file)?;
    directory.sync_all()
}

#[cfg(test)]
mod tests;
