//! Keys of a KMS service: generate, import, list, read, delete.
//!
//! Nothing is changed in an HSM that the ledger does not know of before. A key that is made here is
//! pinned with its outcome. A deletion removes the pin: the next key under the path, wherever it
//! comes from, is another key; certificates and registered IACAs go by public key and stay with the
//! old one.

mod record;

use record::{Operation, Recording};

use super::{
    Call, Services,
    error::{DuplicateKind, Error, Invalid},
    key_errors,
};
use crate::{
    domain::{
        jwk::{JwkError, PrivateJwk},
        key::{KeyError, KeyType, PublicKey, sha256},
        path::{KeyPath, PathElement},
        time::Timestamp,
        tree::Kms,
    },
    hsm::{HsmError, KeyMaterial, Token},
    keys::{HostedKey, Key, KeyRefusal, keys_of, material},
};

/// Octets of the `CKA_ID` of the keys that we make.
const CKA_ID_OCTETS: usize = 20;
/// How long a caller waits for its turn to change a token, in seconds.
const TURN_SECONDS_MAX: u64 = 60;

/// A key as it is shown.
#[derive(Debug, Clone)]
pub struct ShownKey {
    /// Its full path.
    pub path: KeyPath,
    /// Its public half.
    pub public_key: PublicKey,
    /// Whether its private half may leave the token.
    pub extractable: bool,
}

/// Proof that keys may be imported.
#[derive(Debug, Clone, Copy)]
pub struct ImportAllowed(());

impl Services {
    /// Whether keys may be imported.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when not.
    pub fn import_allowed(&self) -> Result<ImportAllowed, Error> {
        match self.import_keys {
            true => Ok(ImportAllowed(())),
            false => {
                Err(Error::Forbidden { message: "key import is disabled".to_owned(), field: None })
            }
        }
    }
}

/// Generates a key pair in the HSM.
///
/// # Errors
/// [`Error`]: taken (409), a type that the token does not have (400), no HSM (503).
pub async fn generate(
    services: &Services,
    call: &Call,
    id: &PathElement,
    key_type: KeyType,
    now: Timestamp,
) -> Result<ShownKey, Error> {
    let (kms, token) = kms_of(services, call)?;
    let new = NewKey::of(call, id, kms, token);

    // 1. Its turn; from here on the token does not change under our hands.
    let _turn = turn(services, token).await?;

    // 2. Label and CKA_ID are free, as far as is known; the token is asked again when it is made.
    new.check_free()?;

    // 3. Record the intent.
    let recording = Recording::new(services, call, Operation::Generate, &new.path, now);
    recording.begin(new.detail(key_type)).await?;

    // 4. Make it in the HSM, read it back, have it sign.
    let made = token.generate(&new.label, &new.cka_id, key_type).await;

    // 5. Record the outcome, and the pin with it.
    let key = recording.made(token, made).await?;
    Ok(ShownKey { path: new.path, public_key: key.public_key, extractable: false })
}

/// Imports a private key. The same key may be imported under several paths.
///
/// # Errors
/// [`Error`]: a JWK that contradicts itself (400), taken (409), no HSM (503).
pub async fn import(
    services: &Services,
    call: &Call,
    id: &PathElement,
    jwk: &PrivateJwk,
    _allowed: ImportAllowed,
    now: Timestamp,
) -> Result<ShownKey, Error> {
    let (kms, token) = kms_of(services, call)?;
    let new = NewKey::of(call, id, kms, token);

    // 1. The point is on its curve, and the halves belong together.
    let material: KeyMaterial = material(jwk).map_err(|error| broken(&error))?;
    let key_type = material.public_key.key_type();

    // 2. Its turn; label and CKA_ID are free.
    let _turn = turn(services, token).await?;
    new.check_free()?;

    // 3. Record the intent.
    let recording = Recording::new(services, call, Operation::Import, &new.path, now);
    recording.begin(new.detail(key_type)).await?;

    // 4. Hand it to the HSM, read it back, have it sign.
    let made = token.import(&new.label, &new.cka_id, material).await;

    // 5. Record the outcome, and the pin with it.
    let key = recording.made(token, made).await?;
    Ok(ShownKey { path: new.path, public_key: key.public_key, extractable: false })
}

/// The keys of a KMS, sorted by path. What nobody could sign with is left out, and logged.
///
/// # Errors
/// [`Error::Unavailable`] when the token does not answer.
pub async fn list(services: &Services, call: &Call) -> Result<Vec<ShownKey>, Error> {
    let (kms, token) = kms_of(services, call)?;
    let catalogue = token.list().await.map_err(key_errors::signing)?;
    let mut shown = Vec::new();
    for (path, entries) in keys_of(&call.target, kms, &catalogue) {
        let problem = match entries.as_slice() {
            [] => continue,
            [entry] => match &entry.public_key {
                Ok(key) if services.keyring.is_changed(&path, key.spki_sha256()) => {
                    "it is another key than the one that was pinned".to_owned()
                }
                Ok(key) => {
                    let (public_key, extractable) = (key.clone(), entry.extractable);
                    shown.push(ShownKey { path, public_key, extractable });
                    continue;
                }
                Err(reason) => reason.clone(),
            },
            several => format!("{} private keys answer to its label", several.len()),
        };
        tracing::warn!(key = %path, problem, "a key is left out of the list");
    }
    Ok(shown)
}

/// One key.
///
/// # Errors
/// [`Error`]: missing (404), several objects (500), no HSM or another key than the pinned (503).
pub async fn get(services: &Services, call: &Call, id: &PathElement) -> Result<ShownKey, Error> {
    let (kms, token) = kms_of(services, call)?;
    let HostedKey { path, key, .. } = find(services, kms, &KeyPath::of(&call.target, id)).await?;
    let extractable = token.is_extractable(&key);
    Ok(ShownKey { path, public_key: key.public_key, extractable })
}

/// Deletes a key from the HSM; it cannot be brought back. The answer is its path.
///
/// # Errors
/// [`Error`]: adopted (403), missing (404), in use and not forced (409), no HSM (503).
pub async fn delete(
    services: &Services,
    call: &Call,
    id: &PathElement,
    force: bool,
    now: Timestamp,
) -> Result<KeyPath, Error> {
    let (kms, token) = kms_of(services, call)?;
    let path = KeyPath::of(&call.target, id);

    // 1. Keys that were there before us are not ours to delete.
    if kms.adopts(&path) {
        let message = "adopted keys are managed on the token".to_owned();
        return Err(Error::Forbidden { message, field: None });
    }

    // 2. Its turn; exactly one key, the pinned one.
    let _turn = turn(services, token).await?;
    let hosted = find(services, kms, &path).await?;
    let key = &hosted.key;

    // 3. No valid CA certificate needs it, or the caller insists.
    let spki_sha256 = key.public_key.spki_sha256();
    let used_by = services
        .ledger
        .valid_ca_certificates(spki_sha256, now)
        .await
        .map_err(key_errors::ledger)?;
    if used_by > 0 && !force {
        let plural = if used_by == 1 { "" } else { "s" };
        return Err(Error::Conflict {
            message: format!("key is used by {used_by} valid CA certificate{plural}"),
            retry_after_seconds: None,
        });
    }

    // 4. Record the intent.
    let recording = Recording::new(services, call, Operation::Delete, &path, now);
    recording
        .begin(serde_json::json!({
            "token": token.name(),
            "label": key.label,
            "spkiSha256": super::signing::hex(&spki_sha256),
            "force": force,
            "validCaCertificates": used_by,
        }))
        .await?;

    // 5. Destroy both halves.
    let destroyed = token.destroy(key).await;

    // 6. Record the outcome; the path is free.
    recording.destroyed(spki_sha256, destroyed).await?;
    Ok(path)
}

/// The KMS of the call and its token.
fn kms_of<'a>(services: &'a Services, call: &'a Call) -> Result<(&'a Kms, &'a Token), Error> {
    let kms = call
        .tree
        .kms(&call.target)
        .ok_or_else(|| Error::Internal(format!("{} is no KMS", call.target)))?;
    let token = services.keyring.token(&kms.token).ok_or_else(|| {
        tracing::error!(kms = %call.target, token = kms.token, "the token is not configured");
        key_errors::signing(HsmError::Unavailable { retry_after_seconds: 30 })
    })?;
    Ok((kms, token))
}

async fn find(services: &Services, kms: &Kms, path: &KeyPath) -> Result<HostedKey, Error> {
    let not_usable = |refusal: KeyRefusal| key_errors::not_usable(refusal, None);
    let admitted = services.keyring.held_by(kms, path).map_err(not_usable)?;
    match services.keyring.find(admitted).await.map_err(not_usable)? {
        Key::Hosted(hosted) => Ok(hosted),
        Key::Public(_) | Key::Dev(_) => Err(Error::Internal(format!("{path} is on no token"))),
    }
}

async fn turn(
    services: &Services,
    token: &Token,
) -> Result<tokio::sync::OwnedMutexGuard<()>, Error> {
    let limit = std::time::Duration::from_secs(TURN_SECONDS_MAX);
    match tokio::time::timeout(limit, services.keyring.turn_to_change(token)).await {
        Ok(Some(turn)) => Ok(turn),
        Ok(None) | Err(_) => Err(Error::Unavailable {
            message: "busy; try again in 5 s".to_owned(),
            retry_after_seconds: 5,
        }),
    }
}

/// What a new key is to be called, and where.
struct NewKey<'a> {
    path: KeyPath,
    label: String,
    cka_id: [u8; CKA_ID_OCTETS],
    token: &'a Token,
}

impl<'a> NewKey<'a> {
    fn of(call: &Call, id: &PathElement, kms: &Kms, token: &'a Token) -> Self {
        let path = KeyPath::of(&call.target, id);
        let label = kms.label_of(&path);
        // Of the path, not of the public key: one key may be imported under two paths.
        let mut cka_id = [0; CKA_ID_OCTETS];
        cka_id.copy_from_slice(&sha256(path.as_str().as_bytes())[..CKA_ID_OCTETS]);
        Self { path, label, cka_id, token }
    }

    fn check_free(&self) -> Result<(), Error> {
        match self.token.holds(&self.label, &self.cka_id) {
            true => {
                let target = self.path.to_resource();
                Err(Error::Duplicate { target, kind: DuplicateKind::Key, field: None })
            }
            false => Ok(()),
        }
    }

    fn detail(&self, key_type: KeyType) -> serde_json::Value {
        serde_json::json!({
            "keyType": key_type.name(),
            "token": self.token.name(),
            "label": self.label,
            "ckaId": super::signing::hex(&self.cka_id),
        })
    }
}

fn broken(error: &JwkError) -> Error {
    let message = match error {
        JwkError::Key(KeyError::Unsupported(_)) => error.to_string(),
        JwkError::Key(_)
        | JwkError::Missing(_)
        | JwkError::Base64(_)
        | JwkError::Length { .. }
        | JwkError::Mismatch => format!("jwk: {error}"),
    };
    let field = error.member().filter(|member| !member.contains(' '));
    Error::Invalid(Invalid { field: field.map(|member| format!("/{member}")), message })
}
