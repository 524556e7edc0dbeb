//! Private keys from requests, for development only.
//!
//! Making a [`DevKey`] needs a [`DevKeysAllowed`], which only the `--dev` flag yields.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512},
};

use super::pair::{self, Pair};
use crate::{
    domain::{
        jwk::{JwkError, PrivateJwk},
        key::{KeyType, PublicKey, Signature},
    },
    hsm::HsmError,
};

/// Proof that the daemon runs with `--dev`.
pub struct DevKeysAllowed(());

impl DevKeysAllowed {
    /// `Some` only when the flag is given.
    pub fn from_flag(dev: bool) -> Option<Self> {
        dev.then_some(Self(()))
    }
}

/// A private key in memory.
pub struct DevKey {
    public_key: PublicKey,
    pair: Pair,
}

impl DevKey {
    /// Reads both halves and checks that they belong together.
    pub(super) fn read(jwk: &PrivateJwk, _allowed: &DevKeysAllowed) -> Result<Self, JwkError> {
        let (public_key, pair) = pair::read(jwk)?;
        Ok(Self { public_key, pair })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Signature, HsmError> {
        let failed = |_| HsmError::Unusable { reason: "the JWK cannot sign".to_owned() };
        let random = SystemRandom::new();
        let octets = match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).map_err(failed)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding = match self.public_key.key_type() {
                    KeyType::Rsa4096 => &RSA_PKCS1_SHA512,
                    KeyType::Rsa3072 => &RSA_PKCS1_SHA384,
                    KeyType::Rsa2048
                    | KeyType::P256
                    | KeyType::P384
                    | KeyType::P521
                    | KeyType::Ed25519 => &RSA_PKCS1_SHA256,
                };
                let mut octets = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut octets).map_err(failed)?;
                octets
            }
        };
        Ok(Signature::from_x509_octets(octets))
    }
}
