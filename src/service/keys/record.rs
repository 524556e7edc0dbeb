//! Records a change of a key in the ledger: the intent before the HSM is asked, and the outcome
//! after it.

use data_encoding::HEXLOWER;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    audit::EntryKind,
    domain::{member::Member, path::KeyPath, time::Timestamp},
    hsm::{ChangeError, Token, TokenKey},
    ledger::{KeyChange, KeyPin, PinChange},
    service::{Call, Services, act, error::Error, key_errors},
};

/// Retries of an outcome that the ledger did not take.
const RETRIES_MAX: u32 = 60;
const RETRY_AFTER_MS: u64 = 500;

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Generate,
    Import,
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Import => "import",
            Self::Delete => "delete",
        }
    }

    /// The member that says of which type the key is to be.
    fn type_member(self) -> Option<Member> {
        match self {
            Self::Generate => Some(Member::KeyType),
            Self::Import | Self::Delete => None,
        }
    }

    fn outcome(self) -> EntryKind {
        match self {
            Self::Generate => EntryKind::KeyGenerated,
            Self::Import => EntryKind::KeyImported,
            Self::Delete => EntryKind::KeyDeleted,
        }
    }
}

/// One change of a key, from intent to outcome.
pub(super) struct ChangeRecord<'a> {
    services: &'a Services,
    call: &'a Call,
    operation: Operation,
    path: &'a KeyPath,
    now: Timestamp,
}

impl<'a> ChangeRecord<'a> {
    pub(super) fn new(
        services: &'a Services,
        call: &'a Call,
        operation: Operation,
        path: &'a KeyPath,
        now: Timestamp,
    ) -> Self {
        Self { services, call, operation, path, now }
    }

    /// Makes the intent durable.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the HSM must not be asked then.
    pub(super) async fn begin(&self, detail: Value) -> Result<(), Error> {
        let audit = self.entry(EntryKind::KeyIntent, detail);
        let ledger = &self.services.ledger;
        ledger.begin_key_change(self.change(), audit).await.map_err(key_errors::ledger)
    }

    /// Records a new key, or why there is none.
    ///
    /// # Errors
    /// [`Error`] says what the caller is told.
    pub(super) async fn made(
        &self,
        token: &Token,
        made: Result<TokenKey, ChangeError>,
    ) -> Result<TokenKey, Error> {
        let key = match made {
            Ok(key) => key,
            Err(error) => return Err(self.failed(error).await),
        };
        let spki_sha256 = key.public_key.spki_sha256();
        let pin = KeyPin {
            path: self.path.clone(),
            token: token.name().to_owned(),
            token_serial: token.facts().map(|facts| facts.serial.clone()),
            label: key.label.clone(),
            cka_id: key.id.clone(),
            spki: key.public_key.spki_der().to_vec(),
            spki_sha256,
            first_seen: self.now,
        };
        let detail = json!({
            "keyType": key.public_key.key_type().name(),
            "token": token.name(),
            "tokenSerial": pin.token_serial,
            "spkiSha256": HEXLOWER.encode(&spki_sha256),
        });
        let pinned = act::keys::pinned(&pin);
        self.end(PinChange::Set(pin), self.operation.outcome(), detail).await?;
        self.services.keyring.pinned([pinned]);
        Ok(key)
    }

    /// Records that a key is gone, or why it is not.
    ///
    /// # Errors
    /// [`Error`] says what the caller is told.
    pub(super) async fn destroyed(
        &self,
        spki_sha256: [u8; 32],
        destroyed: Result<(), ChangeError>,
    ) -> Result<(), Error> {
        if let Err(error) = destroyed {
            return Err(self.failed(error).await);
        }
        // The key is gone from the token even if the ledger fails now, so the pin goes first.
        self.services.keyring.unpinned(self.path);
        let detail = json!({ "spkiSha256": HEXLOWER.encode(&spki_sha256) });
        self.end(PinChange::Remove, self.operation.outcome(), detail).await
    }

    async fn failed(&self, error: ChangeError) -> Error {
        let kind = match error {
            ChangeError::Unknown(_) => EntryKind::KeyUnresolved,
            ChangeError::Taken
            | ChangeError::Missing
            | ChangeError::Unsupported(_)
            | ChangeError::LabelTooLong(_)
            | ChangeError::Rejected(_)
            | ChangeError::Failed(_) => EntryKind::KeyAborted,
        };
        let detail = json!({ "reason": error.to_string() });
        // The caller hears why the change failed; if the record fails too, `end` retries it.
        let _ = self.end(PinChange::None, kind, detail).await;
        key_errors::change(self.path, self.operation.type_member(), error)
    }

    /// Records an outcome. If the ledger fails, retries in the background; if that fails too, the
    /// next start finds the open change.
    async fn end(&self, pin: PinChange, kind: EntryKind, detail: Value) -> Result<(), Error> {
        let ledger = self.services.ledger.clone();
        let (change, audit) = (self.change(), self.entry(kind, detail));
        let ended = ledger.end_key_change(change.clone(), pin.clone(), audit.clone()).await;
        let Err(error) = ended else { return Ok(()) };
        tokio::spawn(async move {
            for attempt in 1..=RETRIES_MAX {
                tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS) * attempt).await;
                let again = ledger.end_key_change(change.clone(), pin.clone(), audit.clone());
                if again.await.is_ok() {
                    return;
                }
            }
            tracing::error!(key = %change.path, "a change of a key stays open until the next start");
        });
        Err(key_errors::ledger(error))
    }

    fn change(&self) -> KeyChange {
        KeyChange {
            path: self.path.clone(),
            operation: self.operation.name().to_owned(),
            client: self.call.client.to_string(),
            request_id: self.call.request_id.clone(),
            begun_at: self.now,
        }
    }

    fn entry(&self, kind: EntryKind, detail: Value) -> crate::audit::AuditRecord {
        let mut detail = detail;
        detail["operation"] = self.operation.name().into();
        detail["keyPath"] = self.path.as_str().into();
        self.call.entry(kind, detail, self.now)
    }
}
