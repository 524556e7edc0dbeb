//! Conversion between the encodings of PKCS#11 and those of X.509. Pure.

use der::{
    Decode, Encode,
    asn1::{BitStringRef, OctetStringRef, UintRef},
};

use crate::domain::key::{Digest, HashAlgorithm, KeyType, PublicKey, Signature};

/// `CKA_EC_PARAMS` of Ed25519: its object identifier (RFC 8410, 3).
pub(super) const ED25519_PARAMS: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
/// The same by name (PKCS#11 v3.0, 2.3.5), a PrintableString.
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";
/// Octets of an Ed25519 public key; a signature has twice as many (RFC 8032, 5.1).
const ED25519_OCTETS: usize = 32;

/// `Ecdsa-Sig-Value` (RFC 3279, 2.2.3).
#[derive(der::Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// The signature of `CKM_ECDSA` in the form of X.509. The output of the mechanism is `r ‖ s`, each as long as
/// the order of the curve (PKCS#11 v2.40, 2.3.1); some modules return DER instead.
///
/// # Errors
/// For the log, when it is neither.
pub(super) fn ecdsa_signature(key_type: KeyType, output: &[u8]) -> Result<Signature, String> {
    let octets = key_type.coordinate_octets().ok_or("not an elliptic-curve key")?;
    let value = if output.len() == 2 * octets {
        let (r, s) = output.split_at(octets);
        EcdsaSigValue { r: uint(r)?, s: uint(s)? }
    } else {
        EcdsaSigValue::from_der(output)
            .map_err(|_| format!("{} octets are neither r, s nor DER", output.len()))?
    };
    let in_range = |number: &UintRef<'_>| {
        let number = number.as_bytes();
        number.len() <= octets && number.iter().any(|octet| *octet != 0)
    };
    if !in_range(&value.r) || !in_range(&value.s) {
        return Err("r or s is zero or too long".to_owned());
    }
    value.to_der().map(Signature::from_x509_octets).map_err(|error| error.to_string())
}

/// The signature of an RSA mechanism, which has exactly the length of the modulus (RFC 8017, 8.2.1).
///
/// # Errors
/// For the log, when the length differs.
pub(super) fn rsa_signature(key_type: KeyType, output: Vec<u8>) -> Result<Signature, String> {
    match modulus_octets(key_type) {
        Some(octets) if octets == output.len() => Ok(Signature::from_x509_octets(output)),
        _ => Err(format!("{} octets are no signature of {key_type}", output.len())),
    }
}

/// The signature of `CKM_EDDSA` (RFC 8032, 5.1.6), which X.509 uses unchanged.
///
/// # Errors
/// For the log, when the length differs.
pub(super) fn eddsa_signature(output: Vec<u8>) -> Result<Signature, String> {
    match output.len() == 2 * ED25519_OCTETS {
        true => Ok(Signature::from_x509_octets(output)),
        false => Err(format!("{} octets are no signature of Ed25519", output.len())),
    }
}

/// The public key in `CKA_EC_PARAMS` and `CKA_EC_POINT` of an Edwards key (v3.0, 2.3.5). Editions of the
/// standard and modules differ on whether the point is bare or in an OCTET STRING or BIT STRING, so its
/// length decides.
///
/// # Errors
/// Why it cannot be used, for the operator.
pub(super) fn edwards_public_key(params: &[u8], point: &[u8]) -> Result<PublicKey, String> {
    if params != ED25519_PARAMS && params != ED25519_NAME {
        return Err("CKA_EC_PARAMS is not Ed25519".to_owned());
    }
    let octets = <&OctetStringRef>::from_der(point).map(OctetStringRef::as_bytes);
    let bits = BitStringRef::from_der(point).ok().and_then(|bits| bits.as_bytes());
    let bare = match (octets, bits) {
        _ if point.len() == ED25519_OCTETS => point,
        (Ok(inner), _) | (_, Some(inner)) if inner.len() == ED25519_OCTETS => inner,
        _ => return Err(format!("CKA_EC_POINT of {} octets is no point", point.len())),
    };
    PublicKey::from_ed25519(bare).map_err(|error| error.to_string())
}

/// The public key in `CKA_EC_PARAMS` and `CKA_EC_POINT`. The point is an OCTET STRING in DER by the standard
/// (v2.40, 2.3.3) and bare in some modules. Both begin with `04`, so the length decides.
///
/// # Errors
/// Why it cannot be used, for the operator.
pub(super) fn ec_public_key(params: &[u8], point: &[u8]) -> Result<PublicKey, String> {
    let curve = der::asn1::ObjectIdentifier::from_der(params)
        .map_err(|_| "CKA_EC_PARAMS is no named curve".to_owned())?;
    let key_type =
        KeyType::of_curve(curve).ok_or_else(|| format!("curve {curve} is not supported"))?;
    let expected = key_type.coordinate_octets().map_or(0, |octets| 1 + 2 * octets);
    let bare = match <&OctetStringRef>::from_der(point) {
        Ok(inner) if inner.as_bytes().len() == expected => inner.as_bytes(),
        _ if point.len() == expected => point,
        _ => return Err(format!("CKA_EC_POINT of {} octets is no point", point.len())),
    };
    PublicKey::from_ec_point(key_type, bare).map_err(|error| error.to_string())
}

/// `DigestInfo` (RFC 8017, 9.2), the input of `CKM_RSA_PKCS`.
pub(super) fn digest_info(digest: &Digest) -> Vec<u8> {
    let prefix: &[u8; 19] = match digest.algorithm() {
        HashAlgorithm::Sha256 => {
            b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
        }
        HashAlgorithm::Sha384 => {
            b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
        }
        HashAlgorithm::Sha512 => {
            b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
        }
    };
    [prefix, digest.as_octets()].concat()
}

fn modulus_octets(key_type: KeyType) -> Option<usize> {
    match key_type {
        KeyType::Rsa2048 => Some(256),
        KeyType::Rsa3072 => Some(384),
        KeyType::Rsa4096 => Some(512),
        KeyType::P256 | KeyType::P384 | KeyType::P521 | KeyType::Ed25519 => None,
    }
}

fn uint(octets: &[u8]) -> Result<UintRef<'_>, String> {
    UintRef::new(octets).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURVES: [(KeyType, usize); 3] =
        [(KeyType::P256, 32), (KeyType::P384, 48), (KeyType::P521, 66)];

    fn parsed(signature: &Signature) -> (Vec<u8>, Vec<u8>) {
        let value = EcdsaSigValue::from_der(signature.as_octets()).unwrap();
        (value.r.as_bytes().to_vec(), value.s.as_bytes().to_vec())
    }

    #[test]
    fn r_and_s_become_der_with_leading_zeros_gone_and_high_bits_guarded() {
        for (key_type, octets) in CURVES {
            for first in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                for zeros in [0, 1, octets - 1] {
                    let mut r = vec![0; octets];
                    r[zeros] = first;
                    r[octets - 1] |= 1;
                    let s = vec![0x80; octets];
                    let made = ecdsa_signature(key_type, &[r.clone(), s.clone()].concat()).unwrap();
                    let significant = r.iter().position(|octet| *octet != 0).unwrap();
                    assert_eq!(parsed(&made), (r[significant..].to_vec(), s));
                }
            }
        }
    }

    #[test]
    fn the_encoding_is_what_x_509_wants_to_the_octet() {
        let mut raw = [0; 64];
        raw[31] = 0x80;
        raw[63] = 0x01;
        let made = ecdsa_signature(KeyType::P256, &raw).unwrap();
        assert_eq!(made.as_octets(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
    }

    #[test]
    fn der_passes_when_it_is_der() {
        let der = [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1];
        assert_eq!(ecdsa_signature(KeyType::P384, &der).unwrap().as_octets(), der);
    }

    #[test]
    fn anything_else_is_an_error() {
        for (key_type, octets) in CURVES {
            for length in [0, 1, octets, 2 * octets - 1, 2 * octets + 1, 300] {
                assert!(ecdsa_signature(key_type, &vec![0x11; length]).is_err(), "{length}");
            }
            assert!(ecdsa_signature(key_type, &vec![0; 2 * octets]).is_err(), "zero");
        }
        // Trailing octets, a negative number, a padded number, r longer than the curve.
        for wrong in [
            vec![0x30, 6, 2, 1, 1, 2, 1, 1, 0],
            vec![0x30, 6, 2, 1, 0x80, 2, 1, 1],
            vec![0x30, 7, 2, 2, 0, 1, 2, 1, 1],
            [vec![0x30, 38, 2, 33], vec![0x11; 33], vec![2, 1, 1]].concat(),
        ] {
            assert!(ecdsa_signature(KeyType::P256, &wrong).is_err(), "{wrong:02x?}");
        }
        assert!(ecdsa_signature(KeyType::Rsa2048, &[1; 64]).is_err());
    }

    #[test]
    fn an_rsa_signature_is_as_long_as_the_modulus() {
        assert!(rsa_signature(KeyType::Rsa3072, vec![1; 384]).is_ok());
        assert!(rsa_signature(KeyType::Rsa3072, vec![1; 383]).is_err());
        assert!(rsa_signature(KeyType::P256, vec![1; 64]).is_err());
    }

    fn generated(algorithm: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> Vec<u8> {
        use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair};
        EcdsaKeyPair::generate(algorithm).unwrap().public_key().as_ref().to_vec()
    }

    #[test]
    fn a_point_is_read_bare_and_wrapped() {
        use aws_lc_rs::signature as alc;
        for (key_type, point) in [
            (KeyType::P256, generated(&alc::ECDSA_P256_SHA256_ASN1_SIGNING)),
            (KeyType::P384, generated(&alc::ECDSA_P384_SHA384_ASN1_SIGNING)),
            (KeyType::P521, generated(&alc::ECDSA_P521_SHA512_ASN1_SIGNING)),
        ] {
            let params = key_type.curve().unwrap().to_der().unwrap();
            let wrapped = OctetStringRef::new(&point).unwrap().to_der().unwrap();
            for form in [&point, &wrapped] {
                let key = ec_public_key(&params, form).unwrap();
                assert_eq!((key.key_type(), key.content()), (key_type, point.as_slice()));
                for broken in [&form[1..], &form[..form.len() - 1], &[form, &[0][..]].concat()] {
                    assert!(ec_public_key(&params, broken).is_err());
                }
            }
            let mut off_curve = point.clone();
            off_curve[5] ^= 1;
            assert!(ec_public_key(&params, &off_curve).is_err());
            assert!(ec_public_key(&params, &[]).is_err());
        }
    }

    #[test]
    fn a_key_of_ed25519_is_read_bare_and_wrapped_by_number_and_name() {
        use crate::domain::fixtures::SoftwareKey;
        let key = SoftwareKey::generate(KeyType::Ed25519).public;
        let wrapped = OctetStringRef::new(key.content()).unwrap().to_der().unwrap();
        let bits = BitStringRef::from_bytes(key.content()).unwrap().to_der().unwrap();
        for params in [&ED25519_PARAMS[..], ED25519_NAME] {
            for point in [key.content(), &wrapped, &bits] {
                assert_eq!(edwards_public_key(params, point).unwrap(), key);
                for broken in [&point[1..], &point[..point.len() - 1], &[point, &[0]].concat()] {
                    assert!(edwards_public_key(params, broken).is_err());
                }
            }
        }
        // Ed448, by number.
        assert!(edwards_public_key(&[6, 3, 0x2b, 0x65, 0x71], key.content()).is_err());
        assert!(eddsa_signature(vec![1; 64]).is_ok());
        assert!(eddsa_signature(vec![1; 63]).is_err());
    }

    #[test]
    fn a_curve_is_named_and_known() {
        let point = generated(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING);
        assert!(ec_public_key(b"\x13\x0aprime256v1", &point).is_err());
        assert!(ec_public_key(&[6, 5, 0x2b, 0x81, 4, 0, 10], &point).is_err());
    }

    #[test]
    fn a_digest_info_names_its_hash() {
        for (algorithm, length) in
            [(HashAlgorithm::Sha256, 51), (HashAlgorithm::Sha384, 67), (HashAlgorithm::Sha512, 83)]
        {
            let digest = Digest::of(algorithm, b"abc");
            let info = digest_info(&digest);
            assert_eq!(info.len(), length);
            assert_eq!(usize::from(info[1]) + 2, length);
            assert!(info.ends_with(digest.as_octets()));
        }
    }
}
