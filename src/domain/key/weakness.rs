//! Detects weak public keys, whose private half is known or cheap to find (BR 6.1.1.3; NIST SP
//! 800-89, 5.3.3).
//!
//! The operator's deny list is in [`super::ListedKeys`].

mod elliptic;
mod published;
mod rsa;

use std::fmt;

use super::{KeyType, PublicKey};

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// The private key is printed in a public document.
    Published,
    /// The private key of an elliptic curve is a number that can be guessed.
    SmallPrivateKey,
    /// A point of Ed25519 whose order is 1, 2, 4 or 8.
    SmallOrder,
    /// The modulus has a divisor below 2^16.
    SmallDivisor,
    /// The modulus is a prime or a power of a prime, so anyone can compute the private exponent.
    OnePrime,
    /// The primes are so close that Fermat's method finds them.
    ClosePrimes,
    /// The modulus has the fingerprint of CVE-2017-15361 (ROCA).
    Roca,
}

impl PublicKey {
    /// Finds a weakness; `None` when none is known. Takes milliseconds with RSA (one exponentiation
    /// modulo the modulus), and microseconds with other keys.
    pub fn weakness(&self) -> Option<Weakness> {
        if published::is_published(&self.spki_sha256()) {
            return Some(Weakness::Published);
        }
        match self.key_type() {
            KeyType::P256 | KeyType::P384 | KeyType::P521 => {
                elliptic::small_private_key(self).then_some(Weakness::SmallPrivateKey)
            }
            KeyType::Ed25519 => {
                elliptic::has_small_order(self.content()).then_some(Weakness::SmallOrder)
            }
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
                rsa::weakness(&self.modulus()?)
            }
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "its private key is published",
            Self::SmallPrivateKey => "its private key is a small number",
            Self::SmallOrder => "its point has a small order",
            Self::SmallDivisor => "its modulus has a divisor below 65536",
            Self::OnePrime => "its modulus is a prime or a power of one number",
            Self::ClosePrimes => "its primes are too close to each other",
            Self::Roca => "its modulus has the fingerprint of CVE-2017-15361 (ROCA)",
        })
    }
}

#[cfg(test)]
mod tests;
