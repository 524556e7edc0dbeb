//! Changes of the keys on a token, as they are sent to a signer.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::key::KeyType;

/// One change. A key is named by label and `CKA_ID`; no other key has either.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum KeyChange {
    /// Generates a key pair unless label or id are taken, reads it back and has it sign.
    Generate { name: KeyName, key_type: KeyType },
    /// Imports a key pair unless label or id are taken, reads it back and has it sign.
    Import {
        name: KeyName,
        /// The public half, `SubjectPublicKeyInfo` in DER.
        spki: Vec<u8>,
        /// The private half.
        private: PrivateParts,
    },
    /// Reads a key back and has it sign, because the answer to the change that made it was lost. A key that
    /// is not what was requested is destroyed.
    Prove {
        name: KeyName,
        /// What it has to be.
        wanted: Wanted,
    },
    /// Destroys both halves of exactly this key.
    Destroy {
        name: KeyName,
        /// SHA-256 of its `SubjectPublicKeyInfo`.
        spki_sha256: [u8; 32],
    },
}

impl KeyChange {
    /// The name of a key that this change puts on the token before it is proven.
    pub(super) fn makes(&self) -> Option<&KeyName> {
        match self {
            Self::Generate { name, .. } | Self::Import { name, .. } => Some(name),
            Self::Prove { .. } | Self::Destroy { .. } => None,
        }
    }

    /// The name of the key.
    pub(super) fn name(&self) -> &KeyName {
        match self {
            Self::Generate { name, .. }
            | Self::Import { name, .. }
            | Self::Prove { name, .. }
            | Self::Destroy { name, .. } => name,
        }
    }
}

/// `CKA_LABEL` and `CKA_ID` of both halves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct KeyName {
    /// `CKA_LABEL`.
    pub(super) label: String,
    /// `CKA_ID`.
    pub(super) id: Vec<u8>,
}

/// What a new key has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// Generated inside the token, of this type, never extractable.
    Generated(KeyType),
    /// With this public half, `SubjectPublicKeyInfo` in DER.
    Imported(Vec<u8>),
}

/// The private half of a key to be imported. Wiped after use and never shown.
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
