//! Private keys from requests, for development only.
//!
//! A [`DevKey`] cannot be made without [`DevKeysAllowed`], and that comes from the `--dev` flag and
//! from nowhere else.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512, RsaKeyPair,
    },
};
use der::{Encode, asn1::UintRef};
use zeroize::Zeroizing;

use crate::{
    domain::{
        jwk::{self, JwkError, PrivateJwk},
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

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl DevKey {
    /// Reads both halves and checks that they belong together.
    pub(super) fn read(jwk: &PrivateJwk, _allowed: &DevKeysAllowed) -> Result<Self, JwkError> {
        let members = jwk.members();
        let public_key = jwk::parse_public(members)?;
        let scalar = |octets: usize| {
            let d = members.d.as_ref().ok_or(JwkError::Missing("d"))?;
            let d = jwk::decode("d", d)?;
            if d.len() == octets { Ok(d) } else { Err(JwkError::Length { member: "d", octets }) }
        };
        let pair = match public_key.key_type() {
            KeyType::P256 | KeyType::P384 | KeyType::P521 => {
                let octets = public_key.key_type().coordinate_octets().unwrap_or_default();
                ec_pair(&public_key, &scalar(octets)?)?
            }
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => rsa_pair(&public_key, jwk)?,
        };
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
                    KeyType::Rsa2048 | KeyType::P256 | KeyType::P384 | KeyType::P521 => {
                        &RSA_PKCS1_SHA256
                    }
                };
                let mut octets = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut octets).map_err(failed)?;
                octets
            }
        };
        Ok(Signature::from_x509_octets(octets))
    }
}

fn ec_pair(public_key: &PublicKey, scalar: &[u8]) -> Result<Pair, JwkError> {
    let algorithm = match public_key.key_type() {
        KeyType::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        KeyType::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        KeyType::P256 | KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
            &ECDSA_P256_SHA256_ASN1_SIGNING
        }
    };
    // Refuses a scalar that does not belong to the point.
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, public_key.content())
        .map(Pair::Ec)
        .map_err(|_| JwkError::Mismatch)
}

/// `RSAPrivateKey` (RFC 8017, A.1.2).
#[derive(der::Sequence)]
struct RsaPrivateKey<'a> {
    version: u8,
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
    private_exponent: UintRef<'a>,
    prime1: UintRef<'a>,
    prime2: UintRef<'a>,
    exponent1: UintRef<'a>,
    exponent2: UintRef<'a>,
    coefficient: UintRef<'a>,
}

fn rsa_pair(public_key: &PublicKey, jwk: &PrivateJwk) -> Result<Pair, JwkError> {
    let members = jwk.members();
    let d = jwk::decode("d", members.d.as_ref().ok_or(JwkError::Missing("d"))?)?;
    let [p, q, dp, dq, qi] =
        members.crt.as_ref().ok_or(JwkError::Missing("p, q, dp, dq and qi"))?;
    let parts = [
        jwk::decode("p", p)?,
        jwk::decode("q", q)?,
        jwk::decode("dp", dp)?,
        jwk::decode("dq", dq)?,
        jwk::decode("qi", qi)?,
    ];
    let modulus = public_key.modulus().unwrap_or_default();
    let encode = || -> der::Result<Zeroizing<Vec<u8>>> {
        RsaPrivateKey {
            version: 0,
            modulus: UintRef::new(&modulus)?,
            public_exponent: UintRef::new(&[0x01, 0x00, 0x01])?,
            private_exponent: UintRef::new(&d)?,
            prime1: UintRef::new(&parts[0])?,
            prime2: UintRef::new(&parts[1])?,
            exponent1: UintRef::new(&parts[2])?,
            exponent2: UintRef::new(&parts[3])?,
            coefficient: UintRef::new(&parts[4])?,
        }
        .to_der()
        .map(Zeroizing::new)
    };
    let der = encode().map_err(|_| JwkError::Mismatch)?;
    let pair = RsaKeyPair::from_der(&der).map_err(|_| JwkError::Mismatch)?;
    if pair.public_key().as_ref() == public_key.content() {
        Ok(Pair::Rsa(Box::new(pair)))
    } else {
        Err(JwkError::Mismatch)
    }
}
