//! Generating, importing and destroying keys.
//!
//! A change is never retried. When the answer to one is lost, the token is searched for the outcome, and only
//! what it shows is reported.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    HsmError, Token, TokenKey,
    fault::sanitise,
    key_change::{KeyChange, KeyName, PrivateParts, Wanted},
    protocol::{KeyChangeResult, ListedKey},
    supervisor::ChangeOutcome,
    token::WeakToken,
};
use crate::domain::key::{KeyType, PublicKey};

/// Pause before the token is asked again for the outcome of a change, in milliseconds.
const LOOK_AGAIN_AFTER_MS: u64 = 2_000;

/// A key pair to be imported. The caller has checked that the halves belong together.
#[derive(Debug)]
pub struct KeyMaterial {
    /// The public half.
    pub public_key: PublicKey,
    /// The private half.
    pub private: PrivateParts,
}

/// Why a token was not changed, or that the outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A key has this label or `CKA_ID`. Nothing was changed.
    #[error("a key on the token has this label or CKA_ID")]
    Taken,
    /// There is no such key, or more than one. Nothing was changed.
    #[error("the key does not exist in the HSM")]
    Missing,
    /// The token cannot do this. Nothing was changed.
    #[error("the token does not support {0}")]
    Unsupported(String),
    /// The token does not keep a label of this many octets unchanged. Nothing was changed.
    #[error("the token does not support a label of {0} octets")]
    LabelTooLong(usize),
    /// The token made something else than requested. The text is for the operator and says whether it was
    /// destroyed.
    #[error("the token made another key than it was asked for: {0}")]
    Rejected(String),
    /// As far as the token shows, the change was not made.
    #[error("{0}")]
    Failed(HsmError),
    /// The change was begun, and the token cannot be asked for its outcome.
    #[error("the answer was lost, and the token cannot be asked what came of it: {0}")]
    Unknown(HsmError),
}

impl Token {
    /// Generates a key pair in the token, sensitive, never extractable, and for signing only. When this
    /// returns, the key was read back, has signed, and is known to every signer.
    ///
    /// Not cancelled by dropping the future. Changes of a token wait for their turn.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn generate(
        &self,
        label: &str,
        id: &[u8],
        key_type: KeyType,
    ) -> Result<TokenKey, ChangeError> {
        let name = KeyName { label: label.to_owned(), id: id.to_vec() };
        let change = KeyChange::Generate { name: name.clone(), key_type };
        self.make(name, change, Wanted::Generated(key_type)).await
    }

    /// Imports a key pair; as [`Self::generate`].
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn import(
        &self,
        label: &str,
        id: &[u8],
        material: KeyMaterial,
    ) -> Result<TokenKey, ChangeError> {
        let name = KeyName { label: label.to_owned(), id: id.to_vec() };
        let KeyMaterial { public_key, private } = material;
        let spki = public_key.spki_der().to_vec();
        let change = KeyChange::Import { name: name.clone(), spki: spki.clone(), private };
        self.make(name, change, Wanted::Imported(spki)).await
    }

    /// Destroys both halves of exactly this key. Afterwards no signer knows it.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn destroy(&self, key: &TokenKey) -> Result<(), ChangeError> {
        let name = KeyName { label: key.label.clone(), id: key.id.clone() };
        let spki_sha256 = key.public_key.spki_sha256();
        match self.change(KeyChange::Destroy { name, spki_sha256 }).await {
            ChangeOutcome::Answered(KeyChangeResult::Destroyed) => {
                self.relist_after_change().await;
                Ok(())
            }
            ChangeOutcome::Answered(KeyChangeResult::Missing) => {
                self.relist_after_change().await;
                Err(ChangeError::Missing)
            }
            ChangeOutcome::Answered(other) => Err(unexpected(other)),
            ChangeOutcome::NotAsked(error) => Err(ChangeError::Failed(error)),
            ChangeOutcome::Lost(error) => {
                self.relist().await.map_err(ChangeError::Unknown)?;
                let still_there = self.catalogue().entries().iter().any(|entry| {
                    entry.label == key.label
                        && entry.public_key.as_ref().is_ok_and(|found| *found == key.public_key)
                });
                match still_there {
                    true => Err(ChangeError::Failed(error)),
                    false => Ok(()),
                }
            }
        }
    }

    async fn make(
        &self,
        name: KeyName,
        change: KeyChange,
        wanted: Wanted,
    ) -> Result<TokenKey, ChangeError> {
        if self.holds(&name.label, &name.id) {
            return Err(ChangeError::Taken);
        }
        match self.change(change).await {
            ChangeOutcome::Answered(answer) => self.made(&name, &wanted, answer).await,
            ChangeOutcome::NotAsked(error) => Err(ChangeError::Failed(error)),
            ChangeOutcome::Lost(error) => self.look_for(name, wanted, error).await,
        }
    }

    /// The answer was lost, so the token is searched. A key that is found is the one that was made, because
    /// its label and id were free; it has yet to be proven.
    async fn look_for(
        &self,
        name: KeyName,
        wanted: Wanted,
        error: HsmError,
    ) -> Result<TokenKey, ChangeError> {
        let (token, key) = (self.name(), &name.label);
        tracing::warn!(token, key, "the answer to a change was lost; looking for the key");
        let change = KeyChange::Prove { name: name.clone(), wanted: wanted.clone() };
        match self.change(change).await {
            ChangeOutcome::Answered(KeyChangeResult::Missing) => Err(ChangeError::Failed(error)),
            ChangeOutcome::Answered(answer) => self.made(&name, &wanted, answer).await,
            ChangeOutcome::NotAsked(error) | ChangeOutcome::Lost(error) => {
                tokio::spawn(look_for_later(self.downgrade(), name, wanted));
                Err(ChangeError::Unknown(error))
            }
        }
    }

    async fn made(
        &self,
        name: &KeyName,
        wanted: &Wanted,
        answer: KeyChangeResult,
    ) -> Result<TokenKey, ChangeError> {
        // Even where nothing was made, the answer may show that the listing is outdated.
        self.relist_after_change().await;
        match answer {
            KeyChangeResult::Made(listed) => read(name, wanted, listed),
            KeyChangeResult::Destroyed
            | KeyChangeResult::Missing
            | KeyChangeResult::Taken
            | KeyChangeResult::Unsupported(_)
            | KeyChangeResult::LabelTooLong(_)
            | KeyChangeResult::Rejected { .. } => Err(unexpected(answer)),
        }
    }

    /// The change was made. A signer that cannot list the token is replaced.
    async fn relist_after_change(&self) {
        if let Err(error) = self.relist().await {
            tracing::warn!(token = self.name(), %error, "the token cannot be listed after a change");
        }
    }
}

/// Asks again until the token answers, because the key is unusable while its outcome is unknown.
async fn look_for_later(token: WeakToken, name: KeyName, wanted: Wanted) {
    loop {
        sleep(Duration::from_millis(LOOK_AGAIN_AFTER_MS)).await;
        let Some(token) = token.upgrade() else { return };
        let change = KeyChange::Prove { name: name.clone(), wanted: wanted.clone() };
        if let ChangeOutcome::Answered(_) = token.change(change).await {
            token.relist_after_change().await;
            tracing::warn!(
                token = token.name(),
                key = name.label,
                "the outcome of the change is known now"
            );
            return;
        }
    }
}

/// Checks what the signer says about the new key, because signers are not trusted.
fn read(name: &KeyName, wanted: &Wanted, listed: ListedKey) -> Result<TokenKey, ChangeError> {
    let rejected = |words: &str| ChangeError::Rejected(words.to_owned());
    let ListedKey { label, id, public_key, .. } = listed;
    let spki = public_key.map_err(|reason| ChangeError::Rejected(sanitise(&reason)))?;
    let public_key =
        PublicKey::from_spki_der(&spki).map_err(|error| rejected(&error.to_string()))?;
    let fits = match wanted {
        Wanted::Generated(key_type) => public_key.key_type() == *key_type,
        Wanted::Imported(spki) => public_key.spki_der() == spki,
    };
    if label != name.label || id != name.id || !fits {
        return Err(rejected("the signer reports another key"));
    }
    Ok(TokenKey { label, id, public_key })
}

fn unexpected(answer: KeyChangeResult) -> ChangeError {
    match answer {
        KeyChangeResult::Taken => ChangeError::Taken,
        KeyChangeResult::Missing => ChangeError::Missing,
        KeyChangeResult::Unsupported(what) => ChangeError::Unsupported(sanitise(&what)),
        KeyChangeResult::LabelTooLong(octets) => ChangeError::LabelTooLong(octets),
        KeyChangeResult::Rejected { reason, destroyed } => ChangeError::Rejected(format!(
            "{}; the key {} destroyed",
            sanitise(&reason),
            if destroyed { "was" } else { "could not be" }
        )),
        KeyChangeResult::Made(_) | KeyChangeResult::Destroyed => {
            ChangeError::Unknown(HsmError::UNAVAILABLE)
        }
    }
}
