//! Deletes keys, and the pins of keys that another tool has deleted.

use data_encoding::HEXLOWER;
use tokio::time::Instant;

use super::{
    changeable_kms_of, kms_of, look_for,
    record::{ChangeRecord, Operation},
    turn,
};
use crate::{
    domain::{
        path::{KeyPath, PathElement},
        time::Timestamp,
        tree::Kms,
    },
    hsm::{ChangeError, Token},
    keys::{HostedKey, KeyFault},
    service::{Call, Services, error::Error, key_errors},
};

/// Deletes a key from the HSM for good. If the token has lost a pinned key, only the pin is
/// removed. Returns the path.
///
/// # Errors
/// [`Error`]: adopted, or of a KMS of several tokens (403), missing (404), in use and not forced
/// (409), no HSM (503).
pub async fn delete(
    services: &Services,
    call: &Call,
    id: &PathElement,
    guard: Guard,
    now: Timestamp,
) -> Result<KeyPath, Error> {
    let (kms, tokens) = kms_of(services, call)?;
    let path = KeyPath::of(&call.target, id);
    let deletion = Deletion { services, call, kms, path, guard, now };

    // 1. A pinned key that is gone from its token: remove the pin. This is allowed for adopted keys
    // too.
    if services.keyring.pin_of(&deletion.path).is_some() {
        let _turn = turn(services, tokens[0]).await?;
        if let Err(KeyFault::Gone) = look_for(services, kms, &deletion.path).await {
            return deletion.set_free().await;
        }
    }

    // 2. Refuse adopted keys: they are managed on the token.
    let (_, token) = changeable_kms_of(services, call)?;
    if kms.adopts(&deletion.path) {
        let message = "adopted keys are managed on the token".to_owned();
        return Err(Error::Forbidden { message: message.into(), field: None });
    }

    // 3. Lock the token. Find exactly one key, the pinned one, and destroy it.
    let _turn = turn(services, token).await?;
    match look_for(services, kms, &deletion.path).await {
        Ok(hosted) => deletion.destroy(token, &hosted).await,
        Err(KeyFault::Gone) => deletion.set_free().await,
        Err(fault) => Err(key_errors::faulty(&deletion.path, fault, None)),
    }
}

/// What keeps a key from being deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A valid CA certificate over it.
    CaCertificates,
    /// The same, or any valid certificate that was issued with it or for it.
    Certificates,
    /// Nothing.
    None,
}

struct Deletion<'a> {
    services: &'a Services,
    call: &'a Call,
    kms: &'a Kms,
    path: KeyPath,
    guard: Guard,
    now: Timestamp,
}

impl Deletion<'_> {
    /// Destroys both halves on the token.
    async fn destroy(self, token: &Token, hosted: &HostedKey) -> Result<KeyPath, Error> {
        let key = &hosted.key;
        let spki_sha256 = key.public_key.spki_sha256();
        let used_by = self.refuse_in_use(spki_sha256).await?;
        let up = token.until_up(Instant::now() + token.sign_deadline()).await;
        up.map_err(|error| key_errors::change(&self.path, None, ChangeError::Failed(error)))?;
        let record = self.begin(token.name(), &key.label, spki_sha256, used_by, false).await?;
        let destroyed = token.destroy(key).await;
        record.destroyed(spki_sha256, destroyed).await?;
        Ok(self.path)
    }

    /// Removes the pin of a key that is gone from its token.
    async fn set_free(self) -> Result<KeyPath, Error> {
        let Some(pin) = self.services.keyring.pin_of(&self.path) else {
            return Err(key_errors::faulty(&self.path, KeyFault::Missing, None));
        };
        let used_by = self.refuse_in_use(pin.spki_sha256).await?;
        let label = self.kms.label_of(&self.path);
        let tokens = self.kms.tokens.join(", ");
        let record = self.begin(&tokens, &label, pin.spki_sha256, used_by, true).await?;
        record.destroyed(pin.spki_sha256, Ok(())).await?;
        Ok(self.path)
    }

    /// Refuses if valid certificates of the guarded kind use the key. Returns how many CA
    /// certificates do.
    async fn refuse_in_use(&self, spki_sha256: [u8; 32]) -> Result<u64, Error> {
        let ledger = &self.services.ledger;
        let used_by = ledger.valid_ca_certificates(spki_sha256, self.now).await;
        let used_by = used_by.map_err(key_errors::ledger)?;
        if used_by > 0 && self.guard != Guard::None {
            return Err(in_use(used_by, "CA certificate"));
        }
        if self.guard == Guard::Certificates {
            let used_by = ledger.valid_certificates_of_key(self.path.clone(), self.now).await;
            match used_by.map_err(key_errors::ledger)? {
                0 => {}
                used_by => return Err(in_use(used_by, "certificate")),
            }
        }
        Ok(used_by)
    }

    /// Records the intent.
    async fn begin(
        &self,
        token: &str,
        label: &str,
        spki_sha256: [u8; 32],
        used_by: u64,
        was_gone: bool,
    ) -> Result<ChangeRecord<'_>, Error> {
        let Self { services, call, path, now, .. } = self;
        let record = ChangeRecord::new(services, call, Operation::Delete, path, *now);
        record
            .begin(serde_json::json!({
                "token": token,
                "label": label,
                "spkiSha256": HEXLOWER.encode(&spki_sha256),
                "force": self.guard == Guard::None,
                "validCaCertificates": used_by,
                "wasGone": was_gone,
            }))
            .await?;
        Ok(record)
    }
}

fn in_use(count: u64, what: &str) -> Error {
    let plural = if count == 1 { "" } else { "s" };
    Error::Conflict {
        message: format!("key is used by {count} valid {what}{plural}"),
        retry_after_seconds: None,
    }
}
