//! One answer for one Idempotency-Key: what a client repeats because it did not hear the answer is
//! not done twice.
//!
//! Only answers of success are kept, in the transaction that records what they speak of. After an
//! error the key may be used again.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Services, error::Error, key_errors};
pub use crate::ledger::RequestKey;
use crate::{
    domain::time::Timestamp,
    ledger::{KeptAnswer, LedgerError},
};

/// The requests with a key that run now, and how long answers are kept.
pub struct Idempotency {
    running: Mutex<HashSet<RequestKey>>,
    retention_seconds: i64,
}

/// A request with an Idempotency-Key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Whose, for what, with which key.
    pub request: RequestKey,
    /// SHA-256 over the body.
    pub fingerprint: [u8; 32],
}

/// The answer to a request that made something.
#[derive(Debug)]
pub struct Answer {
    /// JSON, as it goes out.
    pub body: Vec<u8>,
    /// Serial number of the certificate, in hex, if it is one.
    pub serial: Option<String>,
    /// Index of the audit entry that says so.
    pub audit_index: u64,
    /// Whether it was given before.
    pub replayed: bool,
}

/// What becomes of a request with a key.
pub enum Admission {
    /// It runs. The guard must live until it has ended.
    Run(Running),
    /// It ran already.
    Replay(Answer),
}

/// Keeps the key of a running request taken.
pub struct Running {
    idempotency: Arc<Idempotency>,
    request: RequestKey,
}

impl Idempotency {
    /// Keeps answers for so many hours; 0: not at all, and a key only keeps two requests apart
    /// that run at the same time.
    pub fn new(retention_hours: u32) -> Self {
        Self {
            running: Mutex::new(HashSet::new()),
            retention_seconds: i64::from(retention_hours) * 3_600,
        }
    }

    /// Whether answers are kept.
    pub(super) fn keeps(&self) -> bool {
        self.retention_seconds > 0
    }

    /// Answers from before this moment are forgotten.
    fn since(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(-self.retention_seconds)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashSet<RequestKey>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.idempotency.running().remove(&self.request);
    }
}

impl Keyed {
    /// The answer as it is to be kept.
    pub(super) fn keep(&self, body: &[u8], serial: Option<String>, now: Timestamp) -> KeptAnswer {
        KeptAnswer {
            request: self.request.clone(),
            fingerprint: self.fingerprint,
            serial,
            body: body.to_vec(),
            kept_at: now,
        }
    }
}

/// Decides whether a request with a key runs or has run.
///
/// # Errors
/// [`Error::Conflict`] when it is running, or when the key was used with another body.
pub async fn admit(services: &Services, keyed: &Keyed, now: Timestamp) -> Result<Admission, Error> {
    let idempotency = &services.idempotency;
    if !idempotency.running().insert(keyed.request.clone()) {
        return Err(Error::Conflict {
            message: "a request with this Idempotency-Key is still running".to_owned(),
            retry_after_seconds: Some(RUNNING_RETRY_SECONDS),
        });
    }
    let running = Running { idempotency: Arc::clone(idempotency), request: keyed.request.clone() };
    if !idempotency.keeps() {
        return Ok(Admission::Run(running));
    }
    let kept = services
        .ledger
        .kept_answer(keyed.request.clone(), idempotency.since(now))
        .await
        .map_err(key_errors::ledger)?;
    match kept {
        None => Ok(Admission::Run(running)),
        Some((kept, _)) if kept.fingerprint != keyed.fingerprint => Err(Error::Conflict {
            message: "Idempotency-Key was used with another body".to_owned(),
            retry_after_seconds: None,
        }),
        Some((kept, audit_index)) => Ok(Admission::Replay(Answer {
            body: kept.body,
            serial: kept.serial,
            audit_index,
            replayed: true,
        })),
    }
}

const RUNNING_RETRY_SECONDS: u64 = 1;

/// Answers deleted in one transaction: other writes wait for it.
const FORGOTTEN_AT_ONCE: usize = 500;

/// Deletes the answers that are kept no longer.
///
/// # Errors
/// [`LedgerError`]. The next time will do, because an answer that is too old is given to no request.
pub async fn forget_old_answers(services: &Services, now: Timestamp) -> Result<(), LedgerError> {
    let since = services.idempotency.since(now);
    while services.ledger.forget_answers(since, FORGOTTEN_AT_ONCE).await? == FORGOTTEN_AT_ONCE {}
    Ok(())
}
