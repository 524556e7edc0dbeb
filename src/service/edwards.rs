//! Keys of Ed25519: certified where the operator allows it (`issuance.ed25519_subjects`). They sign
//! certification requests for themselves, and no certificate (ISO/IEC 18013-5, B.1.1).

use super::{Services, error::Invalid, signing::unreadable};
use crate::domain::{
    key::{KeyError, KeyType, PublicKey},
    request::{KeyDescriptor, KeySource, Pem},
};

/// Whether a key is of a type that this service has nothing to do with.
pub(super) fn is_off(services: &Services, key_type: KeyType) -> bool {
    key_type == KeyType::Ed25519 && !services.settings.ed25519_subjects
}

/// What is said of such a key.
pub(super) fn words() -> KeyError {
    KeyError::Unsupported(KeyType::Ed25519.name().to_owned())
}

/// Refuses a public JWK.
///
/// # Errors
/// [`Invalid`] at the member that holds it.
pub(super) fn refuse_jwk(services: &Services, descriptor: &KeyDescriptor) -> Result<(), Invalid> {
    match &descriptor.source {
        KeySource::PublicJwk { key, member } if is_off(services, key.key_type()) => {
            Err(Invalid::at(*member, format!("jwk: {}", words())))
        }
        KeySource::PublicJwk { .. } | KeySource::PrivateJwk { .. } | KeySource::Kms(_) => Ok(()),
    }
}

/// Refuses the key of a CSR.
///
/// # Errors
/// [`Invalid`] at the CSR.
pub(super) fn refuse_csr(services: &Services, csr: &Pem, key: &PublicKey) -> Result<(), Invalid> {
    match is_off(services, key.key_type()) {
        true => Err(unreadable(csr, &words())),
        false => Ok(()),
    }
}
