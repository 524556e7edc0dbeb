//! Templates of new objects. They are minimal, because tokens refuse attributes that they do not know or do
//! not allow (PKCS#11 v2.40, 4.1.1).

use cryptoki::{
    error::{Error, RvError},
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, KeyType as CkKeyType, ObjectClass, ObjectHandle},
};
use der::{Encode, asn1::OctetStringRef};
use zeroize::Zeroize;

use super::{convert::ED25519_PARAMS, scheme::Scheme};
use crate::{
    domain::key::{KeyType, PublicKey},
    hsm::{
        fault::{Class, Fault},
        key_change::{KeyName, PrivateParts},
    },
};

/// 65537.
const PUBLIC_EXPONENT: [u8; 3] = [0x01, 0x00, 0x01];

/// The two objects of a key pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) private: ObjectHandle,
    pub(super) public: ObjectHandle,
}

/// What the token lacks to generate a key of this type and sign with it.
pub(super) fn missing_to_generate(
    key_type: KeyType,
    mechanisms: &[MechanismType],
) -> Option<String> {
    match mechanisms.contains(&generation(key_type).mechanism_type()) {
        true => missing_to_sign(key_type, mechanisms),
        false => Some(format!("key type {}", key_type.name())),
    }
}

/// What the token lacks to sign with a key of this type.
pub(super) fn missing_to_sign(key_type: KeyType, mechanisms: &[MechanismType]) -> Option<String> {
    let scheme = Scheme::of(key_type.signature_algorithm(), mechanisms);
    scheme.is_none().then(|| format!("signatures with {}", key_type.name()))
}

/// Whether the error means that the token does not support this, rather than that it has failed.
pub(super) fn is_unsupported(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::MechanismInvalid
                | RvError::MechanismParamInvalid
                | RvError::AttributeValueInvalid
                | RvError::CurveNotSupported
                | RvError::DomainParamsInvalid
                | RvError::KeySizeRange
                | RvError::FunctionNotSupported,
            _
        )
    )
}

/// Mechanism, public and private template for a new key pair.
///
/// # Errors
/// [`Fault`] when the curve cannot be encoded.
pub(super) fn to_generate(
    name: &KeyName,
    key_type: KeyType,
) -> Result<(Mechanism<'static>, Vec<Attribute>, Vec<Attribute>), Fault> {
    let mut public = public(name);
    public.extend(match key_type {
        KeyType::P256 | KeyType::P384 | KeyType::P521 => vec![curve(key_type)?],
        KeyType::Rsa2048 => modulus(2048),
        KeyType::Rsa3072 => modulus(3072),
        KeyType::Rsa4096 => modulus(4096),
        KeyType::Ed25519 => vec![Attribute::EcParams(ED25519_PARAMS.to_vec())],
    });
    Ok((generation(key_type), public, private(name)))
}

fn generation(key_type: KeyType) -> Mechanism<'static> {
    match key_type {
        KeyType::P256 | KeyType::P384 | KeyType::P521 => Mechanism::EccKeyPairGen,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => Mechanism::RsaPkcsKeyPairGen,
        KeyType::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
    }
}

/// The public half of a key to be imported.
///
/// # Errors
/// [`Fault`] when the key cannot be encoded.
pub(super) fn public_to_import(name: &KeyName, key: &PublicKey) -> Result<Vec<Attribute>, Fault> {
    let mut template = public(name);
    template.push(Attribute::Class(ObjectClass::PUBLIC_KEY));
    match key.modulus() {
        Some(modulus) => template.extend([
            Attribute::KeyType(CkKeyType::RSA),
            Attribute::Modulus(modulus),
            Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec()),
        ]),
        None => {
            // PKCS#11 v2.40, 2.3.3: the point is wrapped in an OCTET STRING.
            let point = OctetStringRef::new(key.content()).and_then(|point| point.to_der());
            template.extend([
                Attribute::KeyType(CkKeyType::EC),
                curve(key.key_type())?,
                Attribute::EcPoint(point.map_err(|error| unwritable(&error))?),
            ]);
        }
    }
    Ok(template)
}

/// The private half of a key to be imported; wiped when dropped.
pub(super) struct PrivateTemplate(Vec<Attribute>);

impl PrivateTemplate {
    /// # Errors
    /// [`Fault`] when the parts are not of the public half's type.
    pub(super) fn to_import(
        name: &KeyName,
        key: &PublicKey,
        parts: &PrivateParts,
    ) -> Result<Self, Fault> {
        let mut template = Self(private(name));
        template.0.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
        match (parts, key.modulus()) {
            (PrivateParts::Ec(value), None) => template.0.extend([
                Attribute::KeyType(CkKeyType::EC),
                curve(key.key_type())?,
                Attribute::Value(value.to_vec()),
            ]),
            (PrivateParts::Rsa([d, p, q, dp, dq, qi]), Some(modulus)) => template.0.extend([
                Attribute::KeyType(CkKeyType::RSA),
                Attribute::Modulus(modulus),
                Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec()),
                Attribute::PrivateExponent(d.to_vec()),
                Attribute::Prime1(p.to_vec()),
                Attribute::Prime2(q.to_vec()),
                Attribute::Exponent1(dp.to_vec()),
                Attribute::Exponent2(dq.to_vec()),
                Attribute::Coefficient(qi.to_vec()),
            ]),
            (PrivateParts::Ec(_), Some(_)) | (PrivateParts::Rsa(_), None) => {
                return Err(Fault::ours(
                    Class::Caller,
                    "import",
                    "the private half is of another kind than the public half",
                ));
            }
        }
        Ok(template)
    }

    pub(super) fn attributes(&self) -> &[Attribute] {
        &self.0
    }
}

impl Drop for PrivateTemplate {
    fn drop(&mut self) {
        for attribute in &mut self.0 {
            if let Attribute::Value(octets)
            | Attribute::PrivateExponent(octets)
            | Attribute::Prime1(octets)
            | Attribute::Prime2(octets)
            | Attribute::Exponent1(octets)
            | Attribute::Exponent2(octets)
            | Attribute::Coefficient(octets) = attribute
            {
                octets.zeroize();
            }
        }
    }
}

fn public(name: &KeyName) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Label(name.label.clone().into_bytes()),
        Attribute::Id(name.id.clone()),
        Attribute::Verify(true),
    ]
}

fn private(name: &KeyName) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Label(name.label.clone().into_bytes()),
        Attribute::Id(name.id.clone()),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ]
}

fn curve(key_type: KeyType) -> Result<Attribute, Fault> {
    let curve = key_type.curve().ok_or_else(|| {
        Fault::ours(Class::Caller, "write key", format!("{key_type} has no curve"))
    })?;
    curve.to_der().map(Attribute::EcParams).map_err(|error| unwritable(&error))
}

fn modulus(bits: u64) -> Vec<Attribute> {
    vec![Attribute::ModulusBits(bits.into()), Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec())]
}

fn unwritable(error: &der::Error) -> Fault {
    Fault::ours(Class::Caller, "write key", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> KeyName {
        KeyName { label: "acme.kms.a".to_owned(), id: vec![1; 20] }
    }

    #[test]
    fn a_private_key_may_sign_and_nothing_else() {
        for key_type in KeyType::ALL {
            let (_, public, private) = to_generate(&name(), key_type).unwrap();
            for wanted in [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
            ] {
                assert!(private.contains(&wanted), "{wanted:?}");
            }
            assert_eq!(private.len(), 7, "no rights beyond those");
            assert!(public.contains(&Attribute::Verify(true)));
        }
    }

    #[test]
    fn rsa_keys_have_the_exponent_65537() {
        let (_, public, _) = to_generate(&name(), KeyType::Rsa3072).unwrap();
        assert!(public.contains(&Attribute::PublicExponent(vec![1, 0, 1])));
        assert!(public.contains(&Attribute::ModulusBits(3072.into())));
    }

    #[test]
    fn what_a_token_lacks_is_named() {
        let some = [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA];
        assert_eq!(missing_to_generate(KeyType::P384, &some), None);
        let missing = missing_to_generate(KeyType::Rsa4096, &some);
        assert_eq!(missing.as_deref(), Some("key type RSA4096"));
        let silent = [MechanismType::ECC_KEY_PAIR_GEN];
        assert!(missing_to_generate(KeyType::P256, &silent).is_some());
    }
}
