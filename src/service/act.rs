//! The one way to a signature. Whatever is signed (certificate, certification request, VICAL) goes
//! through [`perform`]: nothing is signed before the intent is durable, and nobody gets the product
//! before it is recorded.

pub(super) mod keys;

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{
    Services,
    actor::Actor,
    error::{DuplicateKind, Error, Invalid},
    idempotency::Answer,
    key_errors,
};
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::{
        client::{KeyPurpose, Permission},
        key::{Signature, sha256},
        member::{Member, Message},
        path::{KeyPath, PathElement, ResourcePath},
        serial::SerialNumber,
        time::Timestamp,
    },
    keys::Key,
    ledger::{
        BeginError, BegunVical, IacaPin, Intent, IntentId, KeyClaim, Outcome, Pinning, Product,
        Reservation, UsedIssuer, VicalReservation,
    },
    x509::{
        SignedCertificate, UnsignedCertificate, X509Error,
        csr::{SignedRequest, UnsignedRequest},
    },
};

/// Octets that are fixed, and are signed once.
pub(super) trait Unsigned {
    /// The same with a signature that verifies.
    type Signed;
    /// Why it did not come about.
    type Error: fmt::Display;

    /// The octets.
    fn to_be_signed(&self) -> &[u8];

    /// Checks the signature against the key that the octets were made for.
    fn assemble(self, signature: Signature) -> Result<Self::Signed, Self::Error>;
}

/// A key that can sign now, and when the signature must be there.
pub(super) struct ReadyKey {
    key: Key,
    deadline: Instant,
}

impl ReadyKey {
    /// Waits until a signer is up. A preparation calls this before it takes a number, because a request
    /// that is refused for want of a signer leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no signer is up or about to be.
    pub(super) async fn wait(key: &Key) -> Result<Self, Error> {
        let deadline = key.until_up().await.map_err(key_errors::signing)?;
        Ok(Self { key: key.clone(), deadline })
    }
}

/// Everything decided about one signature. It owns what it needs, so that it can wait.
pub(super) struct Act<U> {
    /// For whom.
    pub(super) actor: Actor,
    /// The service in whose name.
    pub(super) service: ResourcePath,
    /// What the key signs.
    pub(super) purpose: KeyPurpose,
    /// Signs.
    pub(super) key: ReadyKey,
    /// What is signed.
    pub(super) unsigned: U,
    /// The audit entry of the intent.
    pub(super) audit: AuditRecord,
    /// What is recorded beside the intent.
    pub(super) records: Records,
    /// When it was decided.
    pub(super) now: Timestamp,
}

/// What is recorded beside an intent, in its transaction.
#[derive(Default)]
pub(super) struct Records {
    /// The serial number of a certificate.
    pub(super) serial: Option<SerialNumber>,
    /// The key that is certified or named; it may be the one that signs.
    pub(super) subject: Option<Key>,
    /// Ids in stores.
    pub(super) reservations: Vec<Reservation>,
    /// The version of a VICAL.
    pub(super) version: Option<VicalReservation>,
    /// The description that becomes the IACA of the key.
    pub(super) iaca_pin: Option<Pinning<IacaPin>>,
    /// CA certificates from elsewhere that are relied on for the first time.
    pub(super) used_issuers: Vec<Pinning<UsedIssuer>>,
    /// The roles that keys take.
    pub(super) claims: Vec<KeyClaim>,
    /// The key that signs, when this use of it is new.
    pub(super) new_use: Option<[u8; 32]>,
}

/// What came of an act. The signature verifies; nothing is recorded yet.
pub(super) struct Made<S> {
    /// The signed octets.
    pub(super) signed: S,
    /// SHA-256 over the octets that were signed.
    pub(super) tbs_sha256: [u8; 32],
    /// SHA-256 of the certificates of the VICAL signer on record, when this publication has another.
    pub(super) replaced_signer: Option<Vec<[u8; 32]>>,
}

/// What is recorded of an outcome, and what the caller gets.
pub(super) struct Finished {
    /// What is kept.
    pub(super) product: Product,
    /// The audit entry of the outcome.
    pub(super) audit: AuditRecord,
    /// The body of the answer.
    pub(super) body: Vec<u8>,
    /// The serial number of a certificate, in hex.
    pub(super) serial: Option<String>,
}

/// Two requests may take different roles for one key at the same time: the second waits for the first
/// to end, and is prepared again. The number of preparations, at most, and the pause between them.
const PREPARATIONS_MAX: u32 = 60;
const PREPARE_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// 126 random bits do not collide; a broken random source does.
const SERIAL_DRAWS_MAX: u32 = 3;

/// Signs once. `prepare` decides everything, and is called again when another request has changed what
/// it decided on. `finish` makes the product and the answer.
///
/// The future is kept small, because many wait for their signatures at the same time: what comes before
/// and after the signature is boxed.
///
/// # Errors
/// [`Error`] says what the caller is told. An intent that was recorded is aborted then.
pub(super) async fn perform<'a, U: Unsigned>(
    services: &Services,
    prepare: impl Fn() -> BoxFuture<'a, Result<Act<U>, Error>>,
    finish: impl FnOnce(&Made<U::Signed>) -> Result<Finished, Error>,
) -> Result<Answer, Error> {
    // 1. The intent, durable.
    let Begun { actor, service, key, unsigned, intent, tbs_sha256, replaced_signer, now } =
        Box::pin(begin(services, prepare)).await?;
    // 2. and 3. Sign, and verify in software. 4. The product and the answer.
    let finished = sign(&actor, &key, unsigned)
        .await
        .and_then(|signed| finish(&Made { signed, tbs_sha256, replaced_signer }));
    // 5. The outcome, durable.
    let answer = match finished {
        Ok(finished) => Box::pin(complete(services, &actor, intent, finished, now)).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let detail = serde_json::json!({ "reason": reason(&error) });
            let audit = actor.entry(EntryKind::Aborted, &service, detail, now);
            Box::pin(abort(services, intent, audit)).await;
            Err(error)
        }
    }
}

/// An act whose intent is durable.
struct Begun<U> {
    actor: Actor,
    service: ResourcePath,
    key: ReadyKey,
    unsigned: U,
    intent: IntentId,
    tbs_sha256: [u8; 32],
    replaced_signer: Option<Vec<[u8; 32]>>,
    now: Timestamp,
}

async fn begin<'a, U: Unsigned>(
    services: &Services,
    prepare: impl Fn() -> BoxFuture<'a, Result<Act<U>, Error>>,
) -> Result<Begun<U>, Error> {
    let mut serials_drawn = 0;
    for _ in 0..PREPARATIONS_MAX {
        let act = prepare().await?;
        let (client, service) = (act.actor.name(), act.service.clone());
        let error = match act.begin(services).await {
            Ok(begun) => return Ok(begun),
            Err(error) => error,
        };
        match error {
            BeginError::KeyLearned | BeginError::KeyClaimed => {
                tokio::time::sleep(PREPARE_AGAIN_AFTER).await;
            }
            BeginError::SerialTaken => {
                tracing::error!("a random serial number was taken already");
                serials_drawn += 1;
                if serials_drawn == SERIAL_DRAWS_MAX {
                    let what = "random serial numbers collide: is the random source broken?";
                    return Err(Error::Internal(what.to_owned()));
                }
            }
            BeginError::StoreIdTaken(target) => return Err(stored_id_taken(target)),
            BeginError::VersionTaken(version) => {
                return Err(version_taken(&service, &version));
            }
            BeginError::OtherSigner => return Err(other_signer(&client, &service)),
            BeginError::KeyChanged(key) => return Err(key_changed(&key)),
            BeginError::IacaPinConflict => {
                return Err(Error::Invalid(Invalid::at(
                    Member::DescribedIaca,
                    Message::path(Member::DescribedIaca).text(" differs from the registered IACA"),
                )));
            }
            BeginError::Ledger(error) => return Err(key_errors::ledger(error)),
        }
    }
    Err(Error::Conflict {
        message: "another request decides what the key is used for; try again".to_owned(),
        retry_after_seconds: Some(1),
    })
}

impl<U: Unsigned> Act<U> {
    async fn begin(self, services: &Services) -> Result<Begun<U>, BeginError> {
        let Self { actor, service, purpose, key, unsigned, audit, records, now } = self;
        let subject = records.subject.as_ref();
        let other_key = subject.filter(|subject| subject.path() != key.key.path());
        let key_pins: Vec<_> = [Some(&key.key), other_key]
            .into_iter()
            .flatten()
            .filter_map(|key| keys::new_pin(services, &actor, &service, key, now))
            .collect();
        let pinned: Vec<_> = key_pins.iter().map(|pinning| keys::pinned(&pinning.pin)).collect();
        let tbs_sha256 = sha256(unsigned.to_be_signed());
        let intent = Intent {
            serial: records.serial,
            purpose,
            service: service.clone(),
            tbs_sha256,
            issuer_key_path: key.key.path().cloned(),
            subject_key_path: subject.and_then(Key::path).cloned(),
            dev_key: key.key.is_dev() || subject.is_some_and(Key::is_dev),
            client: actor.name().to_string(),
            request_id: actor.request_id().unwrap_or_default().to_owned(),
            created_at: now,
            reservations: records.reservations,
            key_pins,
            iaca_pin: records.iaca_pin,
            used_issuers: records.used_issuers,
            claims: records.claims,
            noted_key: records.new_use,
            audit,
        };
        let BegunVical { intent, replaces: replaced_signer } = match records.version {
            Some(version) => services.ledger.begin_vical(intent, version).await?,
            None => BegunVical { intent: services.ledger.begin(intent).await?, replaces: None },
        };
        services.keyring.pinned(pinned);
        Ok(Begun { actor, service, key, unsigned, intent, tbs_sha256, replaced_signer, now })
    }
}

/// Signs, and verifies in software. Nothing else in the daemon signs a product.
async fn sign<U: Unsigned>(
    actor: &Actor,
    ReadyKey { key, deadline }: &ReadyKey,
    unsigned: U,
) -> Result<U::Signed, Error> {
    let signature = key
        .sign(&actor.name(), unsigned.to_be_signed(), *deadline)
        .await
        .map_err(key_errors::signing)?;
    unsigned.assemble(signature).map_err(|error| {
        tracing::error!(
            key = key.path().map(KeyPath::as_str),
            %error,
            alarm = "bad-signature",
            "the signature does not verify under the pinned key; nothing was released"
        );
        key.report_bad_signature();
        Error::Unavailable {
            message: "signing is unavailable; try again in 5 s".to_owned(),
            retry_after_seconds: RETRY_SECONDS,
        }
    })
}

async fn complete(
    services: &Services,
    actor: &Actor,
    intent: IntentId,
    Finished { product, audit, body, serial }: Finished,
    now: Timestamp,
) -> Result<Answer, Error> {
    let not_stored = match product {
        Product::Certificate(_) => "storing failed; no certificate was issued",
        Product::Request => "the ledger is not available; try again in 5 s",
        Product::Vical(_) => "storing failed; no VICAL was published",
    };
    let answer = actor.keyed().map(|keyed| keyed.keep(&body, serial.clone(), now));
    match services.ledger.complete(intent, Outcome { product, audit, answer }).await {
        Ok(audit_index) => Ok(Answer { body, serial, audit_index, replayed: false }),
        Err(error) => {
            tracing::error!(%error, serial, "outcome not recorded");
            Err(Error::Unavailable {
                message: not_stored.to_owned(),
                retry_after_seconds: RETRY_SECONDS,
            })
        }
    }
}

const RETRY_SECONDS: u64 = 5;
const ABORT_RETRIES_MAX: u32 = 60;
const ABORT_RETRY_AFTER: Duration = Duration::from_millis(500);

/// Records that an intent was aborted. When the ledger does not take it now, it is tried again in the
/// background; the next start aborts an intent that is still open.
async fn abort(services: &Services, intent: IntentId, audit: AuditRecord) {
    // The caller has waited for the ledger once already.
    let is_hopeless = !services.ledger.figures().writable || services.ledger.is_stalled();
    let aborted = match is_hopeless {
        true => Err("its last transaction was lost, or does not end".to_owned()),
        false => {
            let aborted = services.ledger.abort(intent, audit.clone()).await;
            aborted.map_err(|error| error.to_string())
        }
    };
    let Err(reason) = aborted else { return };
    tracing::error!(reason, "the intent could not be aborted yet");
    let ledger = services.ledger.clone();
    tokio::spawn(async move {
        for attempt in 1..=ABORT_RETRIES_MAX {
            tokio::time::sleep(ABORT_RETRY_AFTER * attempt).await;
            if ledger.abort(intent, audit.clone()).await.is_ok() {
                return;
            }
        }
        tracing::error!("an intent stays open; the next start aborts it");
    });
}

/// The reason in the audit entry of an aborted intent.
fn reason(error: &Error) -> &str {
    match error {
        Error::Unavailable { message, .. } => message,
        Error::Invalid(_)
        | Error::Forbidden { .. }
        | Error::NotFound { .. }
        | Error::Duplicate { .. }
        | Error::Conflict { .. }
        | Error::AmbiguousKey(_)
        | Error::Internal(_) => "internal error",
    }
}

/// An id in a store that exists or is reserved.
pub(super) fn stored_id_taken(target: ResourcePath) -> Error {
    Error::Duplicate {
        target,
        kind: DuplicateKind::StoredCertificate,
        field: Some(Member::StoredCertificateId),
    }
}

/// A version of a VICAL that exists or is reserved.
pub(super) fn version_taken(service: &ResourcePath, version: &PathElement) -> Error {
    Error::Duplicate {
        target: service.vical_version(version),
        kind: DuplicateKind::VicalVersion,
        field: Some(Member::VicalVersion),
    }
}

fn key_changed(key: &KeyPath) -> Error {
    tracing::error!(%key, alarm = "key-changed", "another public key is pinned");
    Error::Unavailable {
        message: format!("key {key} is not the one it was; an operator must resolve it"),
        retry_after_seconds: 60,
    }
}

/// A VICAL service keeps the signer of its first publication. Otherwise a client that may write into
/// the store could choose under whose name the service publishes.
fn other_signer(client: &str, service: &ResourcePath) -> Error {
    let permission = Permission::ResourceWrite;
    Error::Forbidden {
        message: format!(
            "the signer's certificate, or one above it, is not the one that {service} has published \
             with; the change has to be published by a client with {permission} on {service}, which \
             '{client}' has not"
        )
        .into(),
        field: None,
    }
}

/// The body of an answer that could not be written.
pub(super) fn unwritable(error: &serde_json::Error) -> Error {
    Error::Internal(format!("the answer could not be written: {error}"))
}

impl Unsigned for UnsignedCertificate {
    type Signed = SignedCertificate;
    type Error = X509Error;

    fn to_be_signed(&self) -> &[u8] {
        self.tbs_der()
    }

    fn assemble(self, signature: Signature) -> Result<SignedCertificate, X509Error> {
        self.assemble(signature)
    }
}

impl Unsigned for UnsignedRequest {
    type Signed = SignedRequest;
    type Error = X509Error;

    fn to_be_signed(&self) -> &[u8] {
        self.tbs_der()
    }

    fn assemble(self, signature: Signature) -> Result<SignedRequest, X509Error> {
        self.assemble(signature)
    }
}
