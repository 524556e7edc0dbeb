//! Keys of a KMS service: generate, import, list, read, delete.
//!
//! The ledger records an intent before each change in an HSM, and the outcome after it. The outcome
//! of a new key includes its pin. Only a deletion over this API removes a pin, even if another tool
//! has deleted the key from the token, because a later key under the path would be another key.
//! Certificates and registered IACAs refer to the public key, so they are not affected.

mod delete;
mod record;

use std::collections::BTreeMap;

pub use delete::{Guard, delete};
use record::{ChangeRecord, Operation};
use tokio::time::Instant;

use super::{
    Call, Services,
    error::{DuplicateKind, Error, Invalid},
    key_errors,
};
use crate::{
    domain::{
        jwk::{JwkError, PrivateJwk},
        key::{KeyError, KeyType, PublicKey, sha256},
        member::Member,
        path::{KeyPath, PathElement},
        time::Timestamp,
        tree::Kms,
    },
    hsm::{CatalogueEntry, ChangeError, HsmError, KeyMaterial, Token},
    keys::{HostedKey, KeyFault, keys_of, material},
};

/// Length of the `CKA_ID` of new keys, in octets.
const CKA_ID_OCTETS: usize = 20;
/// Time limit for the proof signatures of unpinned keys in one listing, in seconds.
const LIST_PROOFS_SECONDS_MAX: u64 = 5;
/// How long a caller waits for its turn to change a token, in seconds.
const TURN_SECONDS_MAX: u64 = 60;

/// A key in an answer.
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
                Err(Error::Forbidden { message: "key import is disabled".into(), field: None })
            }
        }
    }
}

/// Generates a key pair in the HSM.
///
/// # Errors
/// [`Error`]: a KMS of several tokens (403), taken (409), a type that the token does not have (400),
/// no HSM (503).
pub async fn generate(
    services: &Services,
    call: &Call,
    id: &PathElement,
    key_type: KeyType,
    now: Timestamp,
) -> Result<ShownKey, Error> {
    let allowed = services.settings.key_policy.check(key_type);
    allowed.map_err(|error| Invalid::at(Member::KeyType, error.to_string()))?;
    let (kms, token) = changeable_kms_of(services, call)?;
    let new = NewKey::of(call, id, kms, token);

    // 1. Lock the token against other changes.
    let _turn = turn(services, token).await?;

    // 2. Check that label and CKA_ID are free. The token checks again when it makes the key.
    new.check_free(services)?;

    // 3. Wait until the token is up. Record the intent.
    new.until_up().await?;
    let record = ChangeRecord::new(services, call, Operation::Generate, &new.path, now);
    record.begin(new.detail(key_type)).await?;

    // 4. Make it in the HSM, read it back, have it sign.
    let made = token.generate(&new.label, &new.cka_id, key_type).await;

    // 5. Record the outcome, and the pin with it. A weak key is not pinned.
    let made = match made {
        Ok(key) => match services.bad_keys.reason(&key.public_key).await {
            Ok(None) => Ok(key),
            Ok(Some(bad)) => Err(ChangeError::Rejected(bad.to_string())),
            Err(_) => Err(ChangeError::Rejected("it could not be looked at".to_owned())),
        },
        Err(error) => Err(error),
    };
    let key = record.made(token, made).await?;
    Ok(ShownKey { path: new.path, public_key: key.public_key, extractable: false })
}

/// Imports a private key. The same key may be imported under several paths.
///
/// # Errors
/// [`Error`]: a KMS of several tokens (403), a JWK that contradicts itself (400), taken (409), no HSM
/// (503).
pub async fn import(
    services: &Services,
    call: &Call,
    id: &PathElement,
    jwk: &PrivateJwk,
    _allowed: ImportAllowed,
    now: Timestamp,
) -> Result<ShownKey, Error> {
    let (kms, token) = changeable_kms_of(services, call)?;
    let new = NewKey::of(call, id, kms, token);

    // 1. Check that the point is on its curve, and that the halves belong together.
    let material: KeyMaterial = material(jwk).map_err(|error| broken(&error))?;
    let key_type = material.public_key.key_type();
    if let Some(bad) = services.bad_keys.reason(&material.public_key).await? {
        return Err(Invalid::body(format!("jwk: {bad}")).into());
    }

    // 2. Lock the token. Check that label and CKA_ID are free.
    let _turn = turn(services, token).await?;
    new.check_free(services)?;

    // 3. Wait until the token is up. Record the intent.
    new.until_up().await?;
    let record = ChangeRecord::new(services, call, Operation::Import, &new.path, now);
    record.begin(new.detail(key_type)).await?;

    // 4. Hand it to the HSM, read it back, have it sign.
    let made = token.import(&new.label, &new.cka_id, material).await;

    // 5. Record the outcome, and the pin with it.
    let key = record.made(token, made).await?;
    Ok(ShownKey { path: new.path, public_key: key.public_key, extractable: false })
}

/// Lists the keys of a KMS, sorted by path: of several tokens, the keys that any of them has. Keys
/// that cannot sign are left out, and logged.
///
/// # Errors
/// [`Error::Unavailable`] when no token answers.
pub async fn list(services: &Services, call: &Call) -> Result<Vec<ShownKey>, Error> {
    let (kms, tokens) = kms_of(services, call)?;
    let catalogues = list_tokens(&tokens).await.map_err(key_errors::signing)?;
    let mut found: BTreeMap<KeyPath, Vec<Vec<&CatalogueEntry>>> = BTreeMap::new();
    for catalogue in &catalogues {
        for (path, entries) in keys_of(&call.target, kms, catalogue) {
            found.entry(path).or_default().push(entries);
        }
    }
    let mut shown = Vec::new();
    let until = Instant::now() + std::time::Duration::from_secs(LIST_PROOFS_SECONDS_MAX);
    for (path, entries) in found {
        let proven = prove(services, kms, (&tokens, &path), until).await;
        match proven.and_then(|()| shown_key(services, &path, &entries)) {
            Ok(Some(key)) => shown.push(key),
            Ok(None) => {}
            Err(problem) => {
                tracing::warn!(key = %path, problem, "a key is left out of the list");
            }
        }
    }
    Ok(shown)
}

/// Has an unpinned key sign once, so that the listing shows only keys that can.
///
/// # Errors
/// Why the key cannot sign, for the log.
async fn prove(
    services: &Services,
    kms: &Kms,
    (tokens, path): (&[&Token], &KeyPath),
    until: Instant,
) -> Result<(), String> {
    if services.keyring.pin_of(path).is_some() {
        return Ok(());
    }
    let label = kms.label_of(path);
    for token in tokens.iter().filter(|token| token.state().is_up()) {
        let Ok(key) = token.look_up(&label) else { continue };
        let proven = tokio::time::timeout_at(until, token.prove_key(&key)).await;
        proven
            .map_err(|_| "there was no time for it to sign; list the keys again".to_owned())?
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Lists the tokens that answer; fails if none does.
async fn list_tokens(tokens: &[&Token]) -> Result<Vec<Vec<CatalogueEntry>>, HsmError> {
    let mut listings = Vec::new();
    let mut refusal = None;
    // With several tokens, skip those that are down: the others hold the same keys.
    let up = tokens.iter().filter(|token| tokens.len() == 1 || token.state().is_up());
    for token in up {
        match token.list().await {
            Ok(listing) => listings.push(listing),
            Err(error) => {
                tracing::warn!(token = token.name(), %error, "a token is left out of the list");
                refusal = Some(error);
            }
        }
    }
    match listings.is_empty() {
        true => Err(refusal.unwrap_or(HsmError::Unavailable { retry_after_seconds: 1 })),
        false => Ok(listings),
    }
}

/// Combines what the tokens list under one path into one key. `None` when no token has it.
///
/// # Errors
/// Why the key cannot sign, for the log.
fn shown_key(
    services: &Services,
    path: &KeyPath,
    entries: &[Vec<&CatalogueEntry>],
) -> Result<Option<ShownKey>, String> {
    let mut shown: Option<ShownKey> = None;
    for entries in entries {
        let entry = match entries.as_slice() {
            [] => continue,
            [entry] => entry,
            several => return Err(format!("{} private keys answer to its label", several.len())),
        };
        let public_key = entry.public_key.clone()?;
        let allowed = services.settings.key_policy.check(public_key.key_type());
        allowed.map_err(|error| error.to_string())?;
        if services.keyring.is_changed(path, public_key.spki_sha256()) {
            return Err("it is another key than the one that was pinned".to_owned());
        }
        match &mut shown {
            None => {
                let (path, extractable) = (path.clone(), entry.extractable);
                shown = Some(ShownKey { path, public_key, extractable });
            }
            Some(other) if other.public_key != public_key => {
                return Err("its tokens hold different keys".to_owned());
            }
            Some(same) => same.extractable |= entry.extractable,
        }
    }
    Ok(shown)
}

/// Reads one key.
///
/// # Errors
/// [`Error`]: missing (404), several objects (500), no HSM or another key than the pinned (503).
pub async fn get(services: &Services, call: &Call, id: &PathElement) -> Result<ShownKey, Error> {
    let (kms, _) = kms_of(services, call)?;
    let hosted = find(services, kms, &KeyPath::of(&call.target, id)).await?;
    let extractable = hosted.is_extractable();
    Ok(ShownKey { path: hosted.path, public_key: hosted.key.public_key, extractable })
}

/// The KMS of the call and its only token.
///
/// # Errors
/// [`Error::Forbidden`] when it has several tokens. They must hold the same keys, and a new key
/// could not be copied from one to the other over PKCS#11.
fn changeable_kms_of<'a>(
    services: &'a Services,
    call: &'a Call,
) -> Result<(&'a Kms, &'a Token), Error> {
    match kms_of(services, call)? {
        (kms, tokens) if tokens.len() == 1 => Ok((kms, tokens[0])),
        (_, tokens) => Err(Error::Forbidden {
            message: format!(
                "{} has {} tokens that hold the same keys; keys are made, copied and deleted on the \
                 tokens",
                call.target,
                tokens.len()
            )
            .into(),
            field: None,
        }),
    }
}

/// The KMS of the call and its tokens.
fn kms_of<'a>(services: &'a Services, call: &'a Call) -> Result<(&'a Kms, Vec<&'a Token>), Error> {
    let kms = call
        .tree
        .kms(&call.target)
        .ok_or_else(|| Error::Internal(format!("{} is no KMS", call.target)))?;
    let tokens = services.keyring.tokens_of(kms).ok_or_else(|| {
        tracing::error!(kms = %call.target, tokens = ?kms.tokens, "a token is not configured");
        key_errors::signing(HsmError::Unavailable { retry_after_seconds: 30 })
    })?;
    Ok((kms, tokens))
}

async fn find(services: &Services, kms: &Kms, path: &KeyPath) -> Result<HostedKey, Error> {
    let found = look_for(services, kms, path).await;
    found.map_err(|fault| key_errors::faulty(path, fault, None))
}

/// Finds the key on its tokens.
async fn look_for(services: &Services, kms: &Kms, path: &KeyPath) -> Result<HostedKey, KeyFault> {
    let hosted = services.keyring.held_by(kms, path)?;
    services.keyring.find_hosted(hosted).await
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

/// Path, label, `CKA_ID` and token of a new key.
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
        // Derived from the path, not from the public key, because one key may be imported under two
        // paths.
        let mut cka_id = [0; CKA_ID_OCTETS];
        cka_id.copy_from_slice(&sha256(path.as_str().as_bytes())[..CKA_ID_OCTETS]);
        Self { path, label, cka_id, token }
    }

    /// Checks that neither the token nor a pin has the path. A pinned path stays taken even if the
    /// token has lost the key; only a deletion over this API frees it.
    fn check_free(&self, services: &Services) -> Result<(), Error> {
        if self.token.holds(&self.label, &self.cka_id) {
            let target = self.path.to_resource();
            return Err(Error::Duplicate { target, kind: DuplicateKind::Key, field: None });
        }
        if services.keyring.pin_of(&self.path).is_some() {
            return Err(Error::Conflict {
                message: format!(
                    "{} stands for a key that is not on its token; delete it first",
                    self.path
                ),
                retry_after_seconds: None,
            });
        }
        Ok(())
    }

    /// Waits until the token is up. Called before the intent, so that a request that finds no token
    /// leaves nothing behind.
    async fn until_up(&self) -> Result<(), Error> {
        let up = self.token.until_up(Instant::now() + self.token.sign_deadline()).await;
        up.map_err(|error| key_errors::change(&self.path, None, ChangeError::Failed(error)))
    }

    fn detail(&self, key_type: KeyType) -> serde_json::Value {
        serde_json::json!({
            "keyType": key_type.name(),
            "token": self.token.name(),
            "label": self.label,
            "ckaId": data_encoding::HEXLOWER.encode(&self.cka_id),
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
    // Several parameters together are no single member.
    let parameter = error.parameter().filter(|parameter| !parameter.contains(' '));
    Error::Invalid(Invalid { member: parameter.map(Member::JwkParameter), message: message.into() })
}
