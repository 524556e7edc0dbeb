//! ECDSA signatures in the form of COSE.

use aws_lc_rs::signature as alc;
use der::{Decode, asn1::UintRef};

use super::{KeyType, PublicKey, Signature};

/// `r ‖ s`, each as long as a coordinate of the curve (RFC 9053, 2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawSignature(Vec<u8>);

impl RawSignature {
    /// The octets.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }

    /// The octets, owned.
    pub fn into_octets(self) -> Vec<u8> {
        self.0
    }
}

/// `Ecdsa-Sig-Value` (RFC 3279, 2.2.3).
#[derive(der::Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

impl Signature {
    /// The same signature without DER; `None` for RSA, or when the octets are no ECDSA signature of
    /// a key of that type.
    pub fn to_raw(&self, key_type: KeyType) -> Option<RawSignature> {
        let octets = key_type.coordinate_octets()?;
        let signature = EcdsaSignature::from_der(&self.0).ok()?;
        let mut raw = vec![0; 2 * octets];
        for (number, place) in [signature.r, signature.s].iter().zip(raw.chunks_mut(octets)) {
            let start = octets.checked_sub(number.as_bytes().len())?;
            place[start..].copy_from_slice(number.as_bytes());
        }
        Some(RawSignature(raw))
    }
}

impl PublicKey {
    /// Whether `signature` over `message` was made by this key with the algorithm of its type.
    pub fn verifies_raw(&self, message: &[u8], signature: &RawSignature) -> bool {
        let algorithm = match self.key_type() {
            KeyType::P256 => &alc::ECDSA_P256_SHA256_FIXED,
            KeyType::P384 => &alc::ECDSA_P384_SHA384_FIXED,
            KeyType::P521 => &alc::ECDSA_P521_SHA512_FIXED,
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 | KeyType::Ed25519 => {
                return false;
            }
        };
        alc::UnparsedPublicKey::new(algorithm, self.content())
            .verify(message, signature.as_octets())
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::SoftwareKey;

    #[test]
    fn a_signature_keeps_its_meaning_without_der_whatever_zeros_its_numbers_start_with() {
        for key_type in [KeyType::P256, KeyType::P384, KeyType::P521] {
            let key = SoftwareKey::generate(key_type);
            // One number in 256 starts with a zero octet.
            for message in 0..600_u32 {
                let message = message.to_be_bytes();
                let raw = key.sign(&message).to_raw(key_type).unwrap();
                assert_eq!(Some(raw.as_octets().len() / 2), key_type.coordinate_octets());
                assert!(key.public.verifies_raw(&message, &raw));
                assert!(!key.public.verifies_raw(b"another", &raw));
            }
        }
    }

    #[test]
    fn what_is_no_ecdsa_signature_of_the_curve_has_no_raw_form() {
        let long = SoftwareKey::generate(KeyType::P384).sign(b"message");
        assert_eq!(long.to_raw(KeyType::P256), None);
        assert_eq!(long.to_raw(KeyType::Rsa2048), None);
        for octets in [&b""[..], b"\x30\x00", b"\x30\x06\x02\x01\xff\x02\x01\x01"] {
            let signature = Signature::from_x509_octets(octets.to_vec());
            assert_eq!(signature.to_raw(KeyType::P256), None, "{octets:02x?}");
        }
    }
}
