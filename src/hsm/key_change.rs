//! Changes of a token, as they travel to a signer.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::key::KeyType;

/// One change. A key is named by label and `CKA_ID`, which a key of ours shares with no other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum KeyChange {
    /// Make a key pair, unless label or id are in use; read it back and have it sign.
    Generate {
        /// What it is to be called.
        name: KeyName,
        /// Its type.
        key_type: KeyType,
    },
    /// Take a key pair in, unless label or id are in use; read it back and have it sign.
    Import {
        /// What it is to be called.
        name: KeyName,
        /// Its public half, `SubjectPublicKeyInfo` in DER.
        spki: Vec<u8>,
        /// Its private half.
        private: PrivateParts,
    },
    /// Read a key back and have it sign, as the end of a change whose answer was lost. A key that
    /// is not what was asked for is destroyed.
    Prove {
        /// What it is called.
        name: KeyName,
        /// What it must be.
        wanted: Wanted,
    },
    /// Destroy exactly this key, both halves.
    Destroy {
        /// What it is called.
        name: KeyName,
        /// SHA-256 of its `SubjectPublicKeyInfo`.
        spki_sha256: [u8; 32],
    },
}

impl KeyChange {
    /// A key that will lie on the token before it is proven.
    pub(super) fn makes(&self) -> Option<&KeyName> {
        match self {
            Self::Generate { name, .. } | Self::Import { name, .. } => Some(name),
            Self::Prove { .. } | Self::Destroy { .. } => None,
        }
    }

    /// The key in question.
    pub(super) fn name(&self) -> &KeyName {
        match self {
            Self::Generate { name, .. }
            | Self::Import { name, .. }
            | Self::Prove { name, .. }
            | Self::Destroy { name, .. } => name,
        }
    }
}

/// `CKA_LABEL` and `CKA_ID`, of both halves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct KeyName {
    /// `CKA_LABEL`.
    pub(super) label: String,
    /// `CKA_ID`.
    pub(super) id: Vec<u8>,
}

/// What a new key must turn out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// Made inside the token, of this type: local, and never extractable.
    Generated(KeyType),
    /// Of this public half, `SubjectPublicKeyInfo` in DER.
    Imported(Vec<u8>),
}

/// The private half of a key to be imported. It is wiped after use and never shown.
#[derive(Clone, Serialize, Deserialize)]
pub enum PrivateParts {
    /// The private value of an EC key, as long as the order of the curve.
    Ec(Zeroizing<Vec<u8>>),
    /// `d`, `p`, `q`, `dp`, `dq`, `qi` of an RSA key, big-endian.
    Rsa([Zeroizing<Vec<u8>>; 6]),
}

impl fmt::Debug for PrivateParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateParts([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::protocol::{Request, TO_SIGNER_BYTES_MAX, ToSigner, decode, encode_secret};

    fn import(private: PrivateParts) -> ToSigner {
        let name = KeyName { label: "a".repeat(2_048), id: vec![7; 20] };
        let change = KeyChange::Import { name, spki: vec![1; 550], private };
        ToSigner::Request { id: 1, request: Request::Change(Box::new(change)) }
    }

    #[test]
    fn debug_output_never_shows_a_private_part() {
        let shown = format!("{:?}", import(PrivateParts::Ec(Zeroizing::new(vec![222; 32]))));
        assert!(shown.contains("redacted") && !shown.contains("222"), "{shown}");
    }

    #[test]
    fn the_largest_key_travels_in_one_frame_without_growing() {
        let parts = [512, 256, 256, 256, 256, 256].map(|octets| Zeroizing::new(vec![9; octets]));
        let frame = encode_secret(&import(PrivateParts::Rsa(parts)), TO_SIGNER_BYTES_MAX).unwrap();
        assert_eq!(frame.capacity(), TO_SIGNER_BYTES_MAX + 4);
        let ToSigner::Request { request: Request::Change(change), .. } =
            decode::<ToSigner>(&frame[4..]).unwrap()
        else {
            panic!("expected a change");
        };
        assert_eq!(change.name().id, [7; 20]);
    }
}
