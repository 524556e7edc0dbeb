//! Keys by their public half: types, algorithms, digests, signatures.

mod listed;
mod policy;
mod raw_signature;
mod weakness;

use std::{fmt, sync::Arc};

use aws_lc_rs::{digest, signature as alc};
use der::{
    Decode, Encode,
    asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef},
};
pub use listed::{LISTED_OCTETS_MAX, ListedKeys};
pub use policy::KeyPolicy;
pub use raw_signature::RawSignature;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
pub use weakness::Weakness;

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// RFC 8410, 3.
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// 65537, the only public exponent we use or accept.
const RSA_EXPONENT: [u8; 3] = [0x01, 0x00, 0x01];

/// The key types we sign with and certify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum KeyType {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// Ed25519 (RFC 8032). It is certified where the operator allows it; it signs requests for itself,
    /// and no certificate.
    Ed25519,
}

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
    ];

    /// The name that the API uses (`keyType`).
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "secp256r1",
            Self::P384 => "secp384r1",
            Self::P521 => "secp521r1",
            Self::Rsa2048 => "RSA",
            Self::Rsa3072 => "RSA3072",
            Self::Rsa4096 => "RSA4096",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The algorithm that a key of this type signs with; it cannot be chosen.
    pub fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::P256 => SignatureAlgorithm::EcdsaSha256,
            Self::P384 => SignatureAlgorithm::EcdsaSha384,
            Self::P521 => SignatureAlgorithm::EcdsaSha512,
            Self::Rsa2048 => SignatureAlgorithm::RsaSha256,
            Self::Rsa3072 => SignatureAlgorithm::RsaSha384,
            Self::Rsa4096 => SignatureAlgorithm::RsaSha512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }

    /// Whether it is a key for ECDSA.
    pub fn is_ec(self) -> bool {
        self.coordinate_octets().is_some()
    }

    /// Octets of one coordinate of a point; `None` where there is none.
    pub fn coordinate_octets(self) -> Option<usize> {
        match self {
            Self::P256 => Some(32),
            Self::P384 => Some(48),
            Self::P521 => Some(66),
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 | Self::Ed25519 => None,
        }
    }

    /// The named curve of an ECDSA key (RFC 5480, 2.1.1.1).
    pub fn curve(self) -> Option<ObjectIdentifier> {
        match self {
            Self::P256 => Some(SECP256R1),
            Self::P384 => Some(SECP384R1),
            Self::P521 => Some(SECP521R1),
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 | Self::Ed25519 => None,
        }
    }

    /// The key type of a named curve.
    pub fn of_curve(curve: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|key_type| key_type.curve() == Some(curve))
    }

    /// The RSA key type of a modulus of so many bits.
    pub fn of_modulus_bits(bits: usize) -> Option<Self> {
        match bits {
            2048 => Some(Self::Rsa2048),
            3072 => Some(Self::Rsa3072),
            4096 => Some(Self::Rsa4096),
            _ => None,
        }
    }

    fn verification(self, hash: HashAlgorithm) -> &'static dyn alc::VerificationAlgorithm {
        match (self, hash) {
            (Self::P256, HashAlgorithm::Sha256) => &alc::ECDSA_P256_SHA256_ASN1,
            (Self::P256, HashAlgorithm::Sha384) => &alc::ECDSA_P256_SHA384_ASN1,
            (Self::P256, HashAlgorithm::Sha512) => &alc::ECDSA_P256_SHA512_ASN1,
            (Self::P384, HashAlgorithm::Sha256) => &alc::ECDSA_P384_SHA256_ASN1,
            (Self::P384, HashAlgorithm::Sha384) => &alc::ECDSA_P384_SHA384_ASN1,
            (Self::P384, HashAlgorithm::Sha512) => &alc::ECDSA_P384_SHA512_ASN1,
            (Self::P521, HashAlgorithm::Sha256) => &alc::ECDSA_P521_SHA256_ASN1,
            (Self::P521, HashAlgorithm::Sha384) => &alc::ECDSA_P521_SHA384_ASN1,
            (Self::P521, HashAlgorithm::Sha512) => &alc::ECDSA_P521_SHA512_ASN1,
            (Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096, HashAlgorithm::Sha256) => {
                &alc::RSA_PKCS1_2048_8192_SHA256
            }
            (Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096, HashAlgorithm::Sha384) => {
                &alc::RSA_PKCS1_2048_8192_SHA384
            }
            (Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096, HashAlgorithm::Sha512) => {
                &alc::RSA_PKCS1_2048_8192_SHA512
            }
            (Self::Ed25519, _) => &alc::ED25519,
        }
    }
}

impl fmt::Display for KeyType {
    /// As a person writes it: `P-256`, `RSA-2048`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// The hash functions of our signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// What a certificate or CSR is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256 (RFC 5758).
    EcdsaSha256,
    /// ecdsa-with-SHA384.
    EcdsaSha384,
    /// ecdsa-with-SHA512.
    EcdsaSha512,
    /// sha256WithRSAEncryption (RFC 4055), PKCS#1 v1.5.
    RsaSha256,
    /// sha384WithRSAEncryption.
    RsaSha384,
    /// sha512WithRSAEncryption.
    RsaSha512,
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl SignatureAlgorithm {
    /// The hash function within. A signature of Ed25519 takes the message itself; the hash is what an
    /// order for one is known by.
    pub fn hash(self) -> HashAlgorithm {
        match self {
            Self::EcdsaSha256 | Self::RsaSha256 => HashAlgorithm::Sha256,
            Self::EcdsaSha384 | Self::RsaSha384 => HashAlgorithm::Sha384,
            Self::EcdsaSha512 | Self::RsaSha512 | Self::Ed25519 => HashAlgorithm::Sha512,
        }
    }
}

/// A finished hash. Only this, never raw octets, reaches a signing mechanism: PKCS#11 tokens
/// truncate or sign what they are given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    algorithm: HashAlgorithm,
    octets: [u8; 64],
}

impl Digest {
    /// Hashes `message`.
    pub fn of(algorithm: HashAlgorithm, message: &[u8]) -> Self {
        let hash = match algorithm {
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        };
        let mut octets = [0; 64];
        let value = digest::digest(hash, message);
        octets[..value.as_ref().len()].copy_from_slice(value.as_ref());
        Self { algorithm, octets }
    }

    /// A digest that travelled between our processes; `None` when the length is not the algorithm's.
    pub fn from_octets(algorithm: HashAlgorithm, octets: &[u8]) -> Option<Self> {
        let mut digest = Self { algorithm, octets: [0; 64] };
        if octets.len() != digest.as_octets().len() {
            return None;
        }
        digest.octets[..octets.len()].copy_from_slice(octets);
        Some(digest)
    }

    /// The function that made it.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// 32, 48 or 64 octets.
    pub fn as_octets(&self) -> &[u8] {
        match self.algorithm {
            HashAlgorithm::Sha256 => &self.octets[..32],
            HashAlgorithm::Sha384 => &self.octets[..48],
            HashAlgorithm::Sha512 => &self.octets,
        }
    }
}

/// A signature as X.509 wants it: `Ecdsa-Sig-Value` in DER (RFC 3279, 2.2.3), or the PKCS#1 octets.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// From octets that already have the form of X.509.
    pub fn from_x509_octets(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// The octets for the BIT STRING.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

/// A public key of a type we know, its point on the curve, its encoding canonical.
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
    /// [`KeyError`] when there are more, or fewer, or they are no point.
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
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, content);
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

    /// SHA-256 over the `SubjectPublicKeyInfo`: what keys are pinned by.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.0.spki_sha256
    }

    /// The content of the `subjectPublicKey` BIT STRING.
    pub fn content(&self) -> &[u8] {
        &self.0.content
    }

    /// SHA-1 over the content of the `subjectPublicKey` BIT STRING (RFC 5280, 4.2.1.2, method 1).
    /// SHA-1 is a name here, not a protection.
    pub fn subject_key_id(&self) -> [u8; 20] {
        self.0.subject_key_id
    }

    /// The coordinates of an EC key, each of full length; `None` where there are none.
    pub fn coordinates(&self) -> Option<(&[u8], &[u8])> {
        let octets = self.0.key_type.coordinate_octets()?;
        Some((self.0.content.get(1..=octets)?, self.0.content.get(1 + octets..)?))
    }

    /// The modulus of an RSA key, big-endian, no leading zero; `None` where there is none.
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

    /// The same for a signature made elsewhere, with a hash of the signer's choice.
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

/// Why octets are no public key of ours.
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

/// SHA-256.
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    value
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
