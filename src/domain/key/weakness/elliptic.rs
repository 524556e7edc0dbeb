//! Elliptic curve keys with a private key that is easy to guess.

use std::sync::LazyLock;

use aws_lc_rs::agreement::{Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey};

use crate::domain::key::{KeyType, PublicKey};

/// All private keys of one octet: the generator itself, and values that tests and faulty generators
/// use.
const SCALARS: std::ops::RangeInclusive<u8> = 1..=u8::MAX;

/// Whether the private key is one of [`SCALARS`], or the order of the curve less one of them: both
/// have the same x coordinate.
pub(super) fn small_private_key(key: &PublicKey) -> bool {
    let table: &Table = match key.key_type() {
        KeyType::P256 => &P256,
        KeyType::P384 => &P384,
        KeyType::P521 => &P521,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 | KeyType::Ed25519 => return false,
    };
    key.coordinates().is_some_and(|(x, _)| table.iter().any(|small| small == x))
}

/// Their x coordinates, computed at the first use.
type Table = LazyLock<Vec<Vec<u8>>>;

static P256: Table = LazyLock::new(|| coordinates(&ECDH_P256, 32));
static P384: Table = LazyLock::new(|| coordinates(&ECDH_P384, 48));
static P521: Table = LazyLock::new(|| coordinates(&ECDH_P521, 66));

fn coordinates(curve: &'static Algorithm, octets: usize) -> Vec<Vec<u8>> {
    let x = |scalar: u8| {
        let mut private = vec![0; octets];
        *private.last_mut()? = scalar;
        let public =
            PrivateKey::from_private_key(curve, &private).ok()?.compute_public_key().ok()?;
        Some(public.as_ref().get(1..=octets)?.to_vec())
    };
    SCALARS.filter_map(x).collect()
}

/// The y coordinates of the eight points of small order, little-endian, and those encodings of 0 and 1
/// that are not reduced.
const SMALL_ORDER: [[u8; 32]; 7] = [
    number(0),
    number(1),
    below_prime(0xEC),
    below_prime(0xED),
    below_prime(0xEE),
    [
        0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98,
        0xF0, 0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53,
        0xFC, 0x05,
    ],
    [
        0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67,
        0x0F, 0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC,
        0x03, 0x7A,
    ],
];

const fn number(first: u8) -> [u8; 32] {
    let mut octets = [0; 32];
    octets[0] = first;
    octets
}

/// The number 2^255 - 256 + `first`, little-endian. The prime of the field is 2^255 - 19.
const fn below_prime(first: u8) -> [u8; 32] {
    let mut octets = [0xFF; 32];
    octets[0] = first;
    octets[31] = 0x7F;
    octets
}

/// Whether the point has the order 1, 2, 4 or 8. Anyone can forge signatures under such a key.
pub(super) fn has_small_order(octets: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(octets) else { return false };
    // The last bit is the sign of x.
    y[31] &= 0x7F;
    SMALL_ORDER.contains(&y)
}
