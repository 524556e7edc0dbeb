//! Digests for signing.

use aws_lc_rs::digest;

use super::HashAlgorithm;

/// A finished hash. Signing mechanisms take this type and never raw octets, because PKCS#11 tokens
/// truncate or sign whatever they are given.
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

    /// Reads a digest from another process; `None` when the length does not fit the algorithm.
    pub fn from_octets(algorithm: HashAlgorithm, octets: &[u8]) -> Option<Self> {
        let mut digest = Self { algorithm, octets: [0; 64] };
        if octets.len() != digest.as_octets().len() {
            return None;
        }
        digest.octets[..octets.len()].copy_from_slice(octets);
        Some(digest)
    }

    /// The hash function.
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

/// SHA-256.
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    value
}
