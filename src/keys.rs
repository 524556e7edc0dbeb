//! Decides which key a request may use. Given a key descriptor and the service of the call, it
//! finds the key or says why there is none. It knows no profile, and of a request only the
//! descriptor.

mod dev;
mod inventory;
mod material;
mod pair;
mod pins;
mod readiness;
mod refusal;
mod replicas;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use dev::DevKey;
pub use dev::DevKeysAllowed;
pub use inventory::keys_of;
pub use material::material;
use pins::Pins;
pub use pins::{PinFault, PinnedKey, PinnedKeys};
pub use readiness::KmsReadiness;
pub use refusal::{KeyFault, KeyRefusal};
use replicas::{FindError, KeyReplicas};
use tokio::time::Instant;

use crate::{
    domain::{
        client::KeyPurpose,
        key::{PublicKey, Signature},
        path::{KeyPath, ResourcePath},
        request::{KeyDescriptor, KeySource},
        tree::{Kms, ResourceTree, Service},
    },
    hsm::{HsmError, Token, TokenKey},
};

/// Seconds until a retry makes sense when a token cannot use a key that it could use before.
const LOST_RETRY_SECONDS: u64 = 5;

/// All keys that requests can name.
pub struct Keyring {
    tokens: HashMap<String, Token>,
    dev: Option<DevKeysAllowed>,
    /// The public key that each key path was first seen with.
    pins: Pins,
    /// One lock per token: one change of keys at a time, from its intent to its outcome.
    changing: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// How a request uses a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// It signs for a purpose.
    Signing(KeyPurpose),
    /// Its public half is certified.
    Subject,
}

/// A descriptor that passed every check that needs no token.
pub enum Admitted {
    /// A key of an attached KMS.
    Hosted(HostedPath),
    /// A public key from the request.
    Public(PublicKey),
    /// A private key from the request, under the dev flag.
    Dev(DevKey),
}

/// A key path with the tokens and the label that it leads to.
pub struct HostedPath {
    path: KeyPath,
    label: String,
    tokens: Vec<Token>,
    listed: Vec<KeyPurpose>,
}

/// A key that was found.
#[derive(Clone)]
pub enum Key {
    /// Private half on a token.
    Hosted(HostedKey),
    /// Public half only.
    Public(PublicKey),
    /// Private half in memory, under the dev flag.
    Dev(Arc<DevKey>),
}

/// A key on one token, or the same key on several tokens. Its public half is the pinned one.
#[derive(Clone)]
pub struct HostedKey {
    /// The full path.
    pub path: KeyPath,
    /// On the first token that has it.
    pub key: TokenKey,
    replicas: KeyReplicas,
    /// The purposes that the key's policy names.
    pub listed: Vec<KeyPurpose>,
}

impl Keyring {
    /// Makes a keyring of started tokens and of the pins in the ledger.
    pub fn new(
        tokens: Vec<Token>,
        dev: Option<DevKeysAllowed>,
        pins: impl IntoIterator<Item = (KeyPath, PinnedKey)>,
    ) -> Self {
        let tokens: HashMap<_, _> =
            tokens.into_iter().map(|token| (token.name().to_owned(), token)).collect();
        let changing = tokens.keys().map(|name| (name.clone(), Arc::default())).collect();
        Self { tokens, dev, pins: pins.into_iter().collect(), changing }
    }

    /// Whether private JWKs are accepted.
    pub fn is_dev(&self) -> bool {
        self.dev.is_some()
    }

    /// The tokens, in no particular order.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// Checks a descriptor against the mode, the attached KMS services and the key's policy, in
    /// this order.
    ///
    /// # Errors
    /// [`KeyRefusal`] says which check failed.
    pub fn admit(
        &self,
        descriptor: &KeyDescriptor,
        tree: &ResourceTree,
        service: &ResourcePath,
        role: KeyRole,
    ) -> Result<Admitted, KeyRefusal> {
        match (&descriptor.source, role) {
            (KeySource::PrivateJwk { jwk, .. }, _) => match &self.dev {
                Some(allowed) => {
                    DevKey::read(jwk, allowed).map(Admitted::Dev).map_err(KeyRefusal::Jwk)
                }
                None => Err(KeyRefusal::PrivateJwk),
            },
            (KeySource::PublicJwk { .. }, KeyRole::Signing(_)) => Err(KeyRefusal::PublicCannotSign),
            (KeySource::PublicJwk { key, .. }, KeyRole::Subject) => {
                Ok(Admitted::Public(key.clone()))
            }
            (KeySource::Kms(path), role) => self.admit_hosted(path, tree, service, role),
        }
    }

    /// Checks the key that a service is declared with: it is of the service's organisation, and its
    /// policy allows the purpose. Its KMS need not be attached to the service.
    ///
    /// # Errors
    /// [`KeyRefusal`] says which check failed.
    pub fn admit_own(
        &self,
        path: &KeyPath,
        tree: &ResourceTree,
        service: &ResourcePath,
        purpose: KeyPurpose,
    ) -> Result<Admitted, KeyRefusal> {
        let kms_path = path.kms();
        if kms_path.organisation() != service.organisation() {
            return Err(KeyRefusal::NotAttached { kms: kms_path, service: service.clone() });
        }
        let kms = tree
            .kms(&kms_path)
            .ok_or_else(|| KeyRefusal::Faulty(path.clone(), KeyFault::Missing))?;
        self.admit_of(kms, path, KeyRole::Signing(purpose))
    }

    fn admit_hosted(
        &self,
        path: &KeyPath,
        tree: &ResourceTree,
        service: &ResourcePath,
        role: KeyRole,
    ) -> Result<Admitted, KeyRefusal> {
        let attached = attached_kms(path, tree, service);
        let (kms_path, kms) = attached
            .ok_or_else(|| KeyRefusal::NotAttached { kms: path.kms(), service: service.clone() })?;
        if kms_path.as_str() != path.kms_text() {
            // A key is exactly one element below its KMS.
            return Err(KeyRefusal::Faulty(path.clone(), KeyFault::Missing));
        }
        self.admit_of(kms, path, role)
    }

    /// Checks a key of a KMS that the service may use.
    fn admit_of(&self, kms: &Kms, path: &KeyPath, role: KeyRole) -> Result<Admitted, KeyRefusal> {
        if let KeyRole::Signing(purpose) = role
            && !kms.allows(path, purpose)
        {
            return Err(KeyRefusal::Policy(path.clone(), purpose));
        }
        let hosted = self.held_by(kms, path);
        hosted.map(Admitted::Hosted).map_err(|fault| KeyRefusal::Faulty(path.clone(), fault))
    }

    /// Leads a key path of a KMS to its tokens and its label. Asks for no permission and no token.
    ///
    /// # Errors
    /// [`KeyFault::Hsm`] when a token of the KMS is not configured any more.
    pub fn held_by(&self, kms: &Kms, path: &KeyPath) -> Result<HostedPath, KeyFault> {
        let tokens = self
            .tokens_of(kms)
            .ok_or(KeyFault::Hsm(HsmError::Unavailable { retry_after_seconds: 30 }))?;
        Ok(HostedPath {
            path: path.clone(),
            label: kms.label_of(path),
            tokens: tokens.into_iter().cloned().collect(),
            listed: kms.listed(path).to_vec(),
        })
    }

    /// The configured tokens of a KMS, at least one; `None` when one of them is not configured.
    pub fn tokens_of(&self, kms: &Kms) -> Option<Vec<&Token>> {
        let tokens: Vec<_> =
            kms.tokens.iter().map(|name| self.tokens.get(name)).collect::<Option<_>>()?;
        (!tokens.is_empty()).then_some(tokens)
    }

    /// Locks the token for one change of its keys. `None` for a token that is not configured.
    pub async fn turn_to_change(&self, token: &Token) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let turn = self.changing.get(token.name())?;
        Some(Arc::clone(turn).lock_owned().await)
    }

    /// Finds an admitted key.
    ///
    /// # Errors
    /// [`KeyRefusal::Faulty`] as for [`Self::find_hosted`].
    pub async fn find(&self, admitted: Admitted) -> Result<Key, KeyRefusal> {
        match admitted {
            Admitted::Public(key) => Ok(Key::Public(key)),
            Admitted::Dev(key) => Ok(Key::Dev(Arc::new(key))),
            Admitted::Hosted(hosted) => {
                let path = hosted.path.clone();
                let found = self.find_hosted(hosted).await;
                found.map(Key::Hosted).map_err(|fault| KeyRefusal::Faulty(path, fault))
            }
        }
    }

    /// Finds the one private key with the label on the token, or on each of several tokens that has it.
    /// Its public key is the one that the path is pinned to.
    ///
    /// # Errors
    /// [`KeyFault`] when it is missing, ambiguous, not the same on all tokens or changed, or when the
    /// token is away.
    pub async fn find_hosted(&self, hosted: HostedPath) -> Result<HostedKey, KeyFault> {
        let HostedPath { path, label, tokens, listed } = hosted;
        let found = KeyReplicas::find(&tokens, &label).await;
        let replicas = found.map_err(|error| match error {
            FindError::Different(tokens) => KeyFault::Different(tokens),
            FindError::Hsm(HsmError::Missing) => match self.pin_of(&path) {
                None => KeyFault::Missing,
                Some(_) => KeyFault::Gone,
            },
            FindError::Hsm(HsmError::Ambiguous { .. }) => KeyFault::Ambiguous,
            FindError::Hsm(error) if error.is_unbound() => KeyFault::Unbound(error.to_string()),
            // A pinned key could be used once, so the fault is the token's: it may lack a mechanism now.
            FindError::Hsm(HsmError::Unusable { reason }) if self.pin_of(&path).is_some() => {
                tracing::warn!(%path, reason, "a key that was used cannot be used now");
                let retry_after_seconds = LOST_RETRY_SECONDS;
                KeyFault::Hsm(HsmError::Unavailable { retry_after_seconds })
            }
            FindError::Hsm(
                error @ (HsmError::Unusable { .. }
                | HsmError::Unavailable { .. }
                | HsmError::Busy { .. }
                | HsmError::DeadlineMissed { .. }),
            ) => KeyFault::Hsm(error),
        })?;
        let key = replicas.key().clone();
        if self.is_changed(&path, key.public_key.spki_sha256()) {
            return Err(KeyFault::Changed);
        }
        // A key must sign before it is pinned, because its two objects may not belong together.
        if self.pin_of(&path).is_none() {
            replicas.prove().await.map_err(KeyFault::Hsm)?;
        }
        Ok(HostedKey { path, key, replicas, listed })
    }
}

/// The KMS attached to `service` that is the longest prefix of a key path.
fn attached_kms<'a>(
    key: &KeyPath,
    tree: &'a ResourceTree,
    service: &ResourcePath,
) -> Option<(&'a ResourcePath, &'a Kms)> {
    let dependencies = tree.service(service).and_then(Service::dependencies)?;
    let mut prefix = Some(key.kms_text());
    while let Some(path) = prefix {
        if let Some(attached) = dependencies.iter().find(|attached| attached.as_str() == path)
            && let Some(kms) = tree.kms(attached)
        {
            return Some((attached, kms));
        }
        prefix = path.rsplit_once('.').map(|(above, _)| above);
    }
    None
}

impl Key {
    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        match self {
            Self::Hosted(hosted) => &hosted.key.public_key,
            Self::Public(key) => key,
            Self::Dev(key) => key.public_key(),
        }
    }

    /// The path of a key on a token.
    pub fn path(&self) -> Option<&KeyPath> {
        match self {
            Self::Hosted(hosted) => Some(&hosted.path),
            Self::Public(_) | Self::Dev(_) => None,
        }
    }

    /// Whether the private half came with the request.
    pub fn is_dev(&self) -> bool {
        matches!(self, Self::Dev(_))
    }

    /// Waits until a token could sign, and returns the deadline of the signature. Call it before
    /// the intent is recorded, so that a request that finds no token leaves nothing behind.
    ///
    /// # Errors
    /// [`HsmError`] when no token can sign, and none is about to be able to.
    pub async fn until_up(&self) -> Result<Instant, HsmError> {
        match self {
            Self::Hosted(hosted) => hosted.replicas.until_up().await,
            // Keys in memory need no token.
            Self::Dev(_) | Self::Public(_) => Ok(Instant::now()),
        }
    }

    /// Signs a message with the algorithm of the key's type, on behalf of a client. It does not
    /// verify the signature, because `assemble` does so for each certificate, request and VICAL.
    ///
    /// # Errors
    /// [`HsmError`] when the token cannot sign; [`HsmError::Unusable`] for a public key, which
    /// [`Keyring::admit`] never admits for signing.
    pub async fn sign(
        &self,
        client: &str,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Signature, HsmError> {
        match self {
            Self::Hosted(hosted) => hosted.replicas.sign(client, message, deadline).await,
            Self::Dev(key) => key.sign(message),
            Self::Public(_) => {
                Err(HsmError::Unusable { reason: "a public key cannot sign".to_owned() })
            }
        }
    }

    /// Tells the token that a signature of this key did not verify.
    pub fn report_bad_signature(&self) {
        if let Self::Hosted(hosted) = self {
            hosted.replicas.report_bad_signature();
        }
    }
}

impl HostedKey {
    /// The configured name of the first token that has it.
    pub fn token_name(&self) -> &str {
        self.replicas.token_name()
    }

    /// The pin that the first use of this key makes.
    pub fn as_pinned(&self) -> PinnedKey {
        PinnedKey {
            spki_sha256: self.key.public_key.spki_sha256(),
            token_serial: self.replicas.token_serial(),
        }
    }

    /// Whether its private half may leave a token.
    pub fn is_extractable(&self) -> bool {
        self.replicas.is_extractable()
    }
}
