//! Private JWKs, read as key pairs. A pair is made only when its halves belong together.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, KeyPair, RsaKeyPair,
};
use der::{Encode, asn1::UintRef};
use zeroize::Zeroizing;

use crate::domain::{
    jwk::{self, JwkError, PrivateJwk},
    key::{KeyError, KeyType, PublicKey},
};

/// Both halves, ready to sign.
pub(super) enum Pair {
    /// ECDSA.
    Ec(EcdsaKeyPair),
    /// RSA.
    Rsa(Box<RsaKeyPair>),
}

/// Reads both halves and checks that they belong together.
///
/// # Errors
/// [`JwkError`] names what is wrong; it repeats no value.
pub(super) fn read(jwk: &PrivateJwk) -> Result<(PublicKey, Pair), JwkError> {
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
        KeyType::Ed25519 => {
            let name = public_key.key_type().name().to_owned();
            return Err(JwkError::Key(KeyError::Unsupported(name)));
        }
    };
    Ok((public_key, pair))
}

fn ec_pair(public_key: &PublicKey, scalar: &[u8]) -> Result<Pair, JwkError> {
    let algorithm = match public_key.key_type() {
        KeyType::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        KeyType::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        KeyType::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 | KeyType::Ed25519 => {
            return Err(JwkError::Mismatch);
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
