//! Why a descriptor leads to no key, and which of two reasons is told.

use crate::{
    domain::{
        client::KeyPurpose,
        jwk::JwkError,
        path::{KeyPath, ResourcePath},
    },
    hsm::HsmError,
};

/// Why a descriptor leads to no key.
#[derive(Debug)]
pub enum KeyRefusal {
    /// A private JWK without the dev flag.
    PrivateJwk,
    /// A private JWK that contradicts itself.
    Jwk(JwkError),
    /// A public JWK where a signature is needed.
    PublicCannotSign,
    /// The KMS is not attached to the service, or does not exist.
    NotAttached {
        /// The KMS of the key path.
        kms: ResourcePath,
        /// The service of the call.
        service: ResourcePath,
    },
    /// The key's policy does not list the purpose.
    Policy(KeyPath, KeyPurpose),
    /// No private key with the label, and none was ever seen there.
    Missing(KeyPath),
    /// The path is pinned to a public key, and no private key has the label.
    Gone(KeyPath),
    /// Several private keys with the label.
    Ambiguous(KeyPath),
    /// The token shows no public half of the private key, or several; which, in words.
    Unbound(KeyPath, String),
    /// Tokens that are to hold the same key hold different ones; which, in words.
    Different(KeyPath, String),
    /// Another public key than the one that was pinned.
    Changed(KeyPath),
    /// The token cannot say, or the key is unusable.
    Hsm(KeyPath, HsmError),
}

impl KeyRefusal {
    /// Of two refusals in one request, the caller is told the lower one: first what the descriptor
    /// itself says, then the mode, the attachment, the policy, and at last what the token has.
    pub fn precedence(&self) -> u8 {
        match self {
            Self::Jwk(_) | Self::PublicCannotSign => 0,
            Self::PrivateJwk => 1,
            Self::NotAttached { .. } => 2,
            Self::Policy(..) => 3,
            Self::Missing(_)
            | Self::Gone(_)
            | Self::Ambiguous(_)
            | Self::Unbound(..)
            | Self::Different(..)
            | Self::Changed(_)
            | Self::Hsm(..) => 4,
        }
    }
}
