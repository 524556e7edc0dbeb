//! Refuses weak keys, published keys, and keys on the operator's deny list, for signing and for
//! certification.
//!
//! Good keys are cached, because checking an RSA key costs an exponentiation.

use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use super::{
    Services,
    error::{Error, Invalid},
    given::{GivenSubject, unreadable},
};
use crate::{
    domain::{
        key::{ListedKeys, PublicKey, Weakness},
        member::{Member, Message},
        request::{KeyDescriptor, KeySource},
    },
    x509::Certificate,
};

/// Size of the cache; when it is full, it is emptied.
const GOOD_MAX: usize = 4_096;

/// The deny list, and the cache of good keys.
pub struct BadKeys {
    listed: ListedKeys,
    /// SHA-256 over the `SubjectPublicKeyInfo` of keys that have no weakness.
    good: Mutex<HashSet<[u8; 32]>>,
    /// One RSA key is checked at a time, so that a client that sends many occupies one processor at
    /// most.
    turn: Semaphore,
}

impl BadKeys {
    /// Takes the operator's deny list.
    pub fn new(listed: ListedKeys) -> Self {
        Self { listed, good: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// Why a key may not be used, if it may not.
    ///
    /// # Errors
    /// [`Error::Internal`] when the check panicked.
    pub(super) async fn reason(&self, key: &PublicKey) -> Result<Option<BadKey>, Error> {
        let spki_sha256 = key.spki_sha256();
        if self.listed.has(&spki_sha256) {
            return Ok(Some(BadKey::Listed));
        }
        if self.good().contains(&spki_sha256) {
            return Ok(None);
        }
        let weakness = match key.modulus() {
            None => key.weakness(),
            Some(_) => self.weakness_of_rsa(key).await?,
        };
        if weakness.is_none() {
            let mut good = self.good();
            if good.len() >= GOOD_MAX {
                good.clear();
            }
            good.insert(spki_sha256);
        }
        Ok(weakness.map(BadKey::Weak))
    }

    /// Checks an RSA key on a blocking thread, because it takes 20 ms for RSA-2048 and 150 ms for
    /// RSA-4096.
    async fn weakness_of_rsa(&self, key: &PublicKey) -> Result<Option<Weakness>, Error> {
        let _turn = self.turn.acquire().await;
        if self.good().contains(&key.spki_sha256()) {
            return Ok(None);
        }
        let key = key.clone();
        tokio::task::spawn_blocking(move || key.weakness())
            .await
            .map_err(|error| Error::Internal(format!("a key could not be looked at: {error}")))
    }

    fn good(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a key may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadKey {
    Listed,
    Weak(Weakness),
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed => f.write_str("the key is on the list of bad keys (issuance.bad_keys)"),
            Self::Weak(weakness) => write!(f, "the key is known to be bad: {weakness}"),
        }
    }
}

/// Refuses a public JWK that is bad.
///
/// # Errors
/// [`Invalid`] at the JWK.
pub(super) async fn refuse_jwk(
    services: &Services,
    descriptor: &KeyDescriptor,
) -> Result<(), Error> {
    if let KeySource::PublicJwk { key, member } = &descriptor.source
        && let Some(bad) = services.bad_keys.reason(key).await?
    {
        return Err(Invalid::at(*member, format!("jwk: {bad}")).into());
    }
    Ok(())
}

/// Refuses bad keys that a request for another key's certificate brings along: public JWKs, the key of a
/// CSR, that of the issuer's certificate.
///
/// # Errors
/// [`Invalid`] at the member that holds the key.
pub(super) async fn refuse_given(
    services: &Services,
    signer: &KeyDescriptor,
    subject: &GivenSubject<'_>,
    issuer: Option<(&Certificate, Member)>,
) -> Result<(), Error> {
    refuse_jwk(services, signer).await?;
    if let GivenSubject::Described(descriptor) = subject {
        refuse_jwk(services, descriptor).await?;
    }
    if let Some((certificate, member)) = issuer
        && let Ok(key) = certificate.public_key()
        && let Some(bad) = services.bad_keys.reason(&key).await?
    {
        return Err(unreadable(member, &bad).into());
    }
    if let GivenSubject::Csr(member, key) = subject
        && let Some(bad) = services.bad_keys.reason(key).await?
    {
        return Err(unreadable(*member, &bad).into());
    }
    Ok(())
}

/// Refuses a bad key behind one descriptor.
///
/// # Errors
/// [`Invalid`] at the descriptor.
pub(super) async fn refuse(
    services: &Services,
    descriptor: &KeyDescriptor,
    key: &PublicKey,
) -> Result<(), Error> {
    let Some(bad) = services.bad_keys.reason(key).await? else { return Ok(()) };
    let member = match descriptor.source {
        KeySource::PublicJwk { member, .. } | KeySource::PrivateJwk { member, .. } => member,
        KeySource::Kms(_) => descriptor.key_member(),
    };
    Err(Invalid::at(member, Message::from(bad.to_string()).at(member)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        fixtures::{self, SoftwareKey},
        key::KeyType,
    };

    fn good_key() -> PublicKey {
        SoftwareKey::generate(KeyType::P256).public
    }

    #[tokio::test]
    async fn published_and_weak_keys_are_refused_and_others_are_not() {
        let bad_keys = BadKeys::new(ListedKeys::default());
        for (key, expected) in [
            (good_key(), None),
            (fixtures::first_key(), Some(BadKey::Weak(Weakness::Published))),
            (fixtures::rsa_2048(), Some(BadKey::Weak(Weakness::SmallDivisor))),
        ] {
            assert_eq!(bad_keys.reason(&key).await.unwrap(), expected, "{key:?}");
        }
    }

    #[tokio::test]
    async fn the_operators_list_comes_first() {
        let key = good_key();
        let list = ListedKeys::read(&data_encoding::HEXLOWER.encode(&key.spki_sha256())).unwrap();
        let bad_keys = BadKeys::new(list);
        assert_eq!(bad_keys.reason(&key).await.unwrap(), Some(BadKey::Listed));
        assert_eq!(bad_keys.reason(&good_key()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn good_keys_alone_are_remembered() {
        let bad_keys = BadKeys::new(ListedKeys::default());
        let good = good_key();
        for key in [&good, &fixtures::first_key(), &fixtures::rsa_2048()] {
            bad_keys.reason(key).await.unwrap();
        }
        assert_eq!(*bad_keys.good(), HashSet::from([good.spki_sha256()]));
    }
}
