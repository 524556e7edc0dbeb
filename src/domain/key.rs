//! Public keys, key types, signature algorithms, digests and signatures.

mod digest;
mod key_type;
mod listed;
mod policy;
mod raw_signature;
mod weakness;

use std::{fmt, sync::Arc};

use aws_lc_rs::signature as alc;
use der::{
    Decode, Encode,
    asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef},
};
pub use digest::{Digest, sha256};
pub use key_type::{HashAlgorithm, KeyType, SignatureAlgorithm};
pub use listed::{LISTED_OCTETS_MAX, ListedKeys};
pub use policy::KeyPolicy;
pub use raw_signature::RawSignature;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
pub use weakness::Weakness;

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// RFC 8410, 3.
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// 65537, the only public exponent we use or accept.
const RSA_EXPONENT: [u8; 3] = [0x01, 0x00, 0x01];

/// A signature in the form of X.509: `Ecdsa-Sig-Value` in DER (RFC 3279, 2.2.3), or the PKCS#1
/// octets.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Takes octets that already have the form of X.509.
    pub fn from_x509_octets(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// The octets for the BIT STRING.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

/// A public key of a supported type. Its point is on the curve and its encoding is canonical.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    key_type: KeyType,
    /// `SubjectPublicKeyInfo`, DER.
    spki: Vec<u8>,
    /// What `subjectPublicKey` holds: an uncompressed point, `RSAPublicKey`, or the key of Ed25519.
    content: Vec<u8>,
    spki_sha256: [u8; 32],
    subject_key_id: [u8; 20],
    parsed: alc::ParsedPublicKey,
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo`: named curve, uncompressed point; RSA with exponent 65537;
    /// Ed25519.
    ///
    /// # Errors
    /// [`KeyError`] for other types, other encodings, or a point that is not on its curve.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Encoding)?;
        let content = spki.subject_public_key.as_bytes().ok_or(KeyError::Encoding)?;
        if spki.algorithm.oid == ID_EC_PUBLIC_KEY {
            let curve = spki
                .algorithm
                .parameters
                .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
                .ok_or(KeyError::Encoding)?;
            let key_type = KeyType::of_curve(curve).ok_or_else(|| unsupported(curve))?;
            Self::from_ec_point(key_type, content)
        } else if spki.algorithm.oid == RSA_ENCRYPTION {
            let (modulus, exponent) = rsa_numbers(content)?;
            Self::from_rsa(&modulus, &exponent)
        } else if spki.algorithm.oid == ID_ED25519 && spki.algorithm.parameters.is_none() {
            Self::from_ed25519(content)
        } else {
            Err(unsupported(spki.algorithm.oid))
        }
    }

    /// From an uncompressed point, `04 ‖ x ‖ y` (SEC 1, 2.3.3).
    ///
    /// # Errors
    /// [`KeyError`] when the point has another form or is not on the curve.
    pub fn from_ec_point(key_type: KeyType, point: &[u8]) -> Result<Self, KeyError> {
        let (Some(octets), Some(curve)) = (key_type.coordinate_octets(), key_type.curve()) else {
            return Err(KeyError::Encoding);
        };
        if point.len() != 1 + 2 * octets || point[0] != 0x04 {
            return Err(KeyError::Encoding);
        }
        let parameters = AnyRef::from(&curve);
        Self::assemble(key_type, ID_EC_PUBLIC_KEY, Some(parameters), point)
            .map_err(|_| KeyError::NotOnCurve(key_type))
    }

    /// From modulus and exponent, big-endian; leading zeros are ignored.
    ///
    /// # Errors
    /// [`KeyError`] unless the modulus has exactly 2048, 3072 or 4096 bits and the exponent is 65537.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let modulus = without_leading_zeros(modulus);
        if without_leading_zeros(exponent) != RSA_EXPONENT {
            return Err(KeyError::RsaExponent);
        }
        let bits =
            modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        let key_type = KeyType::of_modulus_bits(bits).ok_or(KeyError::RsaModulus(bits))?;
        let content = encode_rsa(modulus).map_err(|_| KeyError::Encoding)?;
        Self::assemble(key_type, RSA_ENCRYPTION, Some(AnyRef::NULL), &content)
            .map_err(|_| KeyError::Encoding)
    }

    /// From the 32 octets of a key of Ed25519 (RFC 8032, 5.1.5).
    ///
    /// # Errors
    /// [`KeyError`] when there are not 32, or when they are not a point.
    pub fn from_ed25519(octets: &[u8]) -> Result<Self, KeyError> {
        // RFC 8410, 3: parameters are absent.
        Self::assemble(KeyType::Ed25519, ID_ED25519, None, octets)
    }

    fn assemble(
        key_type: KeyType,
        oid: ObjectIdentifier,
        parameters: Option<AnyRef<'_>>,
        content: &[u8],
    ) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(content)
                .map_err(|_| KeyError::Encoding)?,
        }
        .to_der()
        .map_err(|_| KeyError::Encoding)?;
        let algorithm = key_type.verification(key_type.signature_algorithm().hash());
        let parsed =
            alc::ParsedPublicKey::new(algorithm, content).map_err(|_| KeyError::Encoding)?;
        let spki_sha256 = sha256(&spki);
        let mut subject_key_id = [0; 20];
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, content);
        subject_key_id.copy_from_slice(hash.as_ref());
        let content = content.to_vec();
        Ok(Self(Arc::new(Inner { key_type, spki, content, spki_sha256, subject_key_id, parsed })))
    }

    /// Its type.
    pub fn key_type(&self) -> KeyType {
        self.0.key_type
    }

    /// `SubjectPublicKeyInfo`, DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// SHA-256 over the `SubjectPublicKeyInfo`, which identifies the key in pins and in the ledger.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.0.spki_sha256
    }

    /// The content of the `subjectPublicKey` BIT STRING.
    pub fn content(&self) -> &[u8] {
        &self.0.content
    }

    /// SHA-1 over the content of the `subjectPublicKey` BIT STRING (RFC 5280, 4.2.1.2, method 1).
    /// The hash is an identifier here; nothing depends on the strength of SHA-1.
    pub fn subject_key_id(&self) -> [u8; 20] {
        self.0.subject_key_id
    }

    /// The coordinates of an EC key, each of full length; `None` for other keys.
    pub fn coordinates(&self) -> Option<(&[u8], &[u8])> {
        let octets = self.0.key_type.coordinate_octets()?;
        Some((self.0.content.get(1..=octets)?, self.0.content.get(1 + octets..)?))
    }

    /// The modulus of an RSA key, big-endian, no leading zero; `None` for other keys.
    pub fn modulus(&self) -> Option<Vec<u8>> {
        match self.0.key_type {
            KeyType::P256 | KeyType::P384 | KeyType::P521 | KeyType::Ed25519 => None,
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
                rsa_numbers(&self.0.content).ok().map(|(modulus, _)| modulus)
            }
        }
    }

    /// Whether `signature` over `message` was made by this key with the algorithm of its type.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.parsed.verify_sig(message, &signature.0).is_ok()
    }

    /// Verifies a signature that was made elsewhere, with a hash of the signer's choice.
    pub fn verifies_with(&self, hash: HashAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        alc::UnparsedPublicKey::new(self.0.key_type.verification(hash), &self.0.content)
            .verify(message, signature)
            .is_ok()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, ski ", self.0.key_type)?;
        self.subject_key_id().iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}

/// Why octets are not a supported public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A type that is not offered.
    #[error("key type {0} is not supported")]
    Unsupported(String),
    /// Not DER, a compressed point, explicit curve parameters.
    #[error(
        "the public key is not encoded as a named curve with an uncompressed point, as RSA or \
             as Ed25519"
    )]
    Encoding,
    /// The equation of the curve does not hold.
    #[error("point is not on {0}")]
    NotOnCurve(KeyType),
    /// An exponent other than 65537.
    #[error("RSA keys have the public exponent 65537")]
    RsaExponent,
    /// A modulus of other than 2048, 3072 or 4096 bits.
    #[error("RSA keys have 2048, 3072 or 4096 bits, not {0}")]
    RsaModulus(usize),
}

fn unsupported(oid: ObjectIdentifier) -> KeyError {
    KeyError::Unsupported(match oid.to_string().as_str() {
        "1.3.132.0.10" => "secp256k1".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        other => other.to_owned(),
    })
}

fn without_leading_zeros(octets: &[u8]) -> &[u8] {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    &octets[zeros..]
}

/// `RSAPublicKey` (RFC 8017, A.1.1).
#[derive(der::Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn rsa_numbers(content: &[u8]) -> Result<(Vec<u8>, Vec<u8>), KeyError> {
    let key = RsaPublicKey::from_der(content).map_err(|_| KeyError::Encoding)?;
    Ok((key.modulus.as_bytes().to_vec(), key.exponent.as_bytes().to_vec()))
}

fn encode_rsa(modulus: &[u8]) -> der::Result<Vec<u8>> {
    RsaPublicKey { modulus: UintRef::new(modulus)?, exponent: UintRef::new(&RSA_EXPONENT)? }
        .to_der()
}
