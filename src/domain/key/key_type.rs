//! Types of key, and the algorithms that they sign with.

use std::fmt;

use aws_lc_rs::signature as alc;
use der::asn1::ObjectIdentifier;

const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

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

    /// The name in the API and in audit entries.
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

    /// The signature algorithm, which the key type determines.
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

    /// Length of one coordinate of a point in octets; `None` for keys of other kinds.
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

    /// The RSA key type for the length of a modulus.
    pub fn of_modulus_bits(bits: usize) -> Option<Self> {
        match bits {
            2048 => Some(Self::Rsa2048),
            3072 => Some(Self::Rsa3072),
            4096 => Some(Self::Rsa4096),
            _ => None,
        }
    }

    pub(super) fn verification(
        self,
        hash: HashAlgorithm,
    ) -> &'static dyn alc::VerificationAlgorithm {
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
    /// The common name: `P-256`, `RSA-2048`.
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
    /// The hash function of the algorithm. Ed25519 signs the message itself; there the hash only
    /// identifies the request for a signature.
    pub fn hash(self) -> HashAlgorithm {
        match self {
            Self::EcdsaSha256 | Self::RsaSha256 => HashAlgorithm::Sha256,
            Self::EcdsaSha384 | Self::RsaSha384 => HashAlgorithm::Sha384,
            Self::EcdsaSha512 | Self::RsaSha512 | Self::Ed25519 => HashAlgorithm::Sha512,
        }
    }
}
