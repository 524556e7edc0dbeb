//! `AlgorithmIdentifier` of signatures.

use der::asn1::ObjectIdentifier;

use super::element::{BIT_STRING, Element, NULL, OBJECT_IDENTIFIER, SEQUENCE};
use crate::domain::{
    key::{KeyType, PublicKey, SignatureAlgorithm},
    oid::Oid,
};

/// Encodes the identifier: parameters absent for ECDSA (RFC 5758, 3.2) and Ed25519 (RFC 8410, 3),
/// NULL for RSA (RFC 4055, 5).
pub(super) fn identifier(algorithm: SignatureAlgorithm) -> &'static [u8] {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
        SignatureAlgorithm::EcdsaSha384 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
        SignatureAlgorithm::EcdsaSha512 => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04",
        SignatureAlgorithm::RsaSha256 => {
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
        }
        SignatureAlgorithm::RsaSha384 => {
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00"
        }
        SignatureAlgorithm::RsaSha512 => {
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00"
        }
        SignatureAlgorithm::Ed25519 => b"\x30\x05\x06\x03\x2b\x65\x70",
    }
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// Supported algorithms of foreign signatures, and whether each is RSA.
const SIGNATURES: [(ObjectIdentifier, SignatureAlgorithm, bool); 7] = [
    (oid("1.2.840.10045.4.3.2"), SignatureAlgorithm::EcdsaSha256, false),
    (oid("1.2.840.10045.4.3.3"), SignatureAlgorithm::EcdsaSha384, false),
    (oid("1.2.840.10045.4.3.4"), SignatureAlgorithm::EcdsaSha512, false),
    (oid("1.2.840.113549.1.1.11"), SignatureAlgorithm::RsaSha256, true),
    (oid("1.2.840.113549.1.1.12"), SignatureAlgorithm::RsaSha384, true),
    (oid("1.2.840.113549.1.1.13"), SignatureAlgorithm::RsaSha512, true),
    (oid("1.3.101.112"), SignatureAlgorithm::Ed25519, false),
];

/// With ECDSA, and twice with RSA.
const SHA_1: [ObjectIdentifier; 3] =
    [oid("1.2.840.10045.4.1"), oid("1.2.840.113549.1.1.5"), oid("1.3.14.3.2.29")];

/// Whether a `SubjectPublicKeyInfo` holds exactly this key: the algorithm octet by octet (RFC 5480,
/// 2.1.1; RFC 3279, 2.3.1; RFC 8410, 3), and the content of the BIT STRING.
pub(super) fn is_of_key(spki: &[u8], key: &PublicKey) -> bool {
    let algorithm: &[u8] = match key.key_type() {
        KeyType::P256 => {
            b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
        }
        KeyType::P384 => {
            b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22"
        }
        KeyType::P521 => {
            b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23"
        }
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
        }
        KeyType::Ed25519 => b"\x30\x05\x06\x03\x2b\x65\x70",
    };
    let parts = Element::strict(spki)
        .filter(|spki| spki.tag == SEQUENCE)
        .and_then(|spki| spki.children_exactly());
    parts.is_some_and(|[found, bits]| {
        found.der == algorithm
            && bits.tag == BIT_STRING
            && bits.content.split_first() == Some((&0, key.content()))
    })
}

/// The algorithm of a foreign signature.
pub(super) fn read(der: &[u8]) -> Result<SignatureAlgorithm, ForeignAlgorithm> {
    let fields = Element::strict(der)
        .filter(|element| element.tag == SEQUENCE)
        .and_then(|element| element.children())
        .ok_or(ForeignAlgorithm::Malformed)?;
    let (oid, parameters) = match fields.as_slice() {
        [oid] if oid.tag == OBJECT_IDENTIFIER => (oid, None),
        [oid, parameters] if oid.tag == OBJECT_IDENTIFIER => (oid, Some(parameters.tag)),
        _ => return Err(ForeignAlgorithm::Malformed),
    };
    let oid = oid.as_oid().ok_or(ForeignAlgorithm::Malformed)?;
    if SHA_1.iter().any(|known| oid == *known) {
        return Err(ForeignAlgorithm::Sha1);
    }
    let (_, algorithm, is_rsa) = *SIGNATURES
        .iter()
        .find(|(known, ..)| oid == *known)
        .ok_or_else(|| ForeignAlgorithm::Unsupported(oid.into()))?;
    // RFC 4055, 5: absent parameters are accepted as well as NULL.
    match parameters {
        None => Ok(algorithm),
        Some(NULL) if is_rsa => Ok(algorithm),
        Some(_) => Err(ForeignAlgorithm::Malformed),
    }
}

/// Whether `key` made `signature` over `message`, with any hash of the SHA-2 family that fits.
pub(super) fn verifies(
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let own = key.key_type().signature_algorithm();
    Family::of(algorithm) == Family::of(own)
        && key.verifies_with(algorithm.hash(), message, signature)
}

/// Whether the algorithm is one of ECDSA.
pub(super) fn is_ecdsa(algorithm: SignatureAlgorithm) -> bool {
    Family::of(algorithm) == Family::Ecdsa
}

/// Algorithms that differ in the hash alone.
#[derive(PartialEq, Eq)]
enum Family {
    Ecdsa,
    Rsa,
    Ed25519,
}

impl Family {
    fn of(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::EcdsaSha256
            | SignatureAlgorithm::EcdsaSha384
            | SignatureAlgorithm::EcdsaSha512 => Self::Ecdsa,
            SignatureAlgorithm::RsaSha256
            | SignatureAlgorithm::RsaSha384
            | SignatureAlgorithm::RsaSha512 => Self::Rsa,
            SignatureAlgorithm::Ed25519 => Self::Ed25519,
        }
    }
}

/// Why an algorithm is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ForeignAlgorithm {
    /// Not an `AlgorithmIdentifier`, or with the wrong parameters.
    Malformed,
    /// SHA-1 is broken for signatures.
    Sha1,
    /// Anything else.
    Unsupported(Oid),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::SoftwareKey;

    #[test]
    fn what_is_written_is_read_again() {
        for key_type in KeyType::ALL {
            let algorithm = key_type.signature_algorithm();
            assert_eq!(read(identifier(algorithm)), Ok(algorithm));
            assert_eq!(is_ecdsa(algorithm), key_type.is_ec());
        }
    }

    #[test]
    fn a_key_is_what_its_octets_say_and_no_other() {
        let keys = KeyType::ALL.map(|key_type| SoftwareKey::generate(key_type).public);
        for (key, other) in keys.iter().flat_map(|key| keys.iter().map(move |other| (key, other))) {
            assert_eq!(is_of_key(key.spki_der(), other), key == other);
        }
        for key in &keys {
            for place in 0..key.spki_der().len() {
                let mut changed = key.spki_der().to_vec();
                changed[place] ^= 1;
                assert!(!is_of_key(&changed, key), "{key:?} {place}");
            }
        }
    }

    #[test]
    fn a_signature_is_verified_under_an_algorithm_of_its_key_alone() {
        for key_type in KeyType::ALL {
            let key = SoftwareKey::generate(key_type);
            let signature = key.sign(b"message");
            for other in KeyType::ALL.map(KeyType::signature_algorithm) {
                let verified = verifies(&key.public, other, b"message", signature.as_octets());
                assert_eq!(
                    verified,
                    other == key_type.signature_algorithm(),
                    "{key_type} {other:?}"
                );
            }
        }
    }

    #[test]
    fn ecdsa_has_no_parameters_and_sha_1_is_known_and_refused() {
        let with_null = b"\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00";
        assert_eq!(read(with_null), Err(ForeignAlgorithm::Malformed));
        let sha1 = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00";
        assert_eq!(read(sha1), Err(ForeignAlgorithm::Sha1));
        let ed448 = b"\x30\x05\x06\x03\x2b\x65\x71";
        assert!(matches!(read(ed448), Err(ForeignAlgorithm::Unsupported(_))));
        assert_eq!(read(b"\x30\x00"), Err(ForeignAlgorithm::Malformed));
    }
}
