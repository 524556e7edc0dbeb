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

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsBigEndian, EcPrivateKeyBin},
        rand::SystemRandom,
    };
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::domain::{
        fixtures,
        jwk::{JwkMembers, PublicJwk},
    };

    /// The private JWK of a new key, after a change.
    fn jwk(change: impl FnOnce(&mut JwkMembers)) -> PrivateJwk {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public = PublicKey::from_ec_point(KeyType::P256, pair.public_key().as_ref()).unwrap();
        let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
        let d = Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(d.as_ref())));
        let mut members = JwkMembers { d, is_private: true, ..public_members(&public) };
        change(&mut members);
        PrivateJwk::new(members)
    }

    fn public_members(key: &PublicKey) -> JwkMembers {
        let text = |text: &str| Some(text.to_owned());
        let members = JwkMembers::default;
        match PublicJwk::of(key) {
            PublicJwk::Ec { kty, crv, x, y } => {
                JwkMembers { kty: text(kty), crv: text(crv), x: Some(x), y: Some(y), ..members() }
            }
            PublicJwk::Okp { kty, crv, x } => {
                JwkMembers { kty: text(kty), crv: text(crv), x: Some(x), ..members() }
            }
            PublicJwk::Rsa { kty, n, e } => {
                JwkMembers { kty: text(kty), n: Some(n), e: Some(e), ..members() }
            }
        }
    }

    fn error(jwk: &PrivateJwk) -> JwkError {
        match read(jwk) {
            Ok(_) => panic!("taken"),
            Err(error) => error,
        }
    }

    #[test]
    fn both_halves_of_one_key_are_a_pair_that_signs() {
        let (public, Pair::Ec(pair)) = read(&jwk(|_| ())).unwrap() else { panic!("not EC") };
        let signature = pair.sign(&SystemRandom::new(), b"message").unwrap();
        let signature =
            crate::domain::key::Signature::from_x509_octets(signature.as_ref().to_vec());
        assert!(public.verifies(b"message", &signature));
    }

    #[test]
    fn halves_of_two_keys_are_no_pair() {
        let other = public_members(&fixtures::first_key());
        let mixed = jwk(|members| (members.x, members.y) = (other.x, other.y));
        assert_eq!(error(&mixed), JwkError::Mismatch);
    }

    #[test]
    fn the_private_half_is_there_and_as_long_as_the_curve_says() {
        assert_eq!(error(&jwk(|members| members.d = None)), JwkError::Missing("d"));
        let short = jwk(|members| members.d = Some(Zeroizing::new("AAAA".to_owned())));
        assert_eq!(error(&short), JwkError::Length { member: "d", octets: 32 });
        let rsa = JwkMembers {
            d: jwk(|_| ()).members().d.clone(),
            ..public_members(&fixtures::rsa_2048())
        };
        assert_eq!(error(&PrivateJwk::new(rsa)), JwkError::Missing("p, q, dp, dq and qi"));
    }

    #[test]
    fn ed25519_is_read_as_a_public_key_alone() {
        let members = public_members(&fixtures::ed25519());
        assert!(matches!(
            error(&PrivateJwk::new(members)),
            JwkError::Key(KeyError::Unsupported(_))
        ));
    }
}
