//! The errors of [`super::Keyring`], and their order of precedence.

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
    /// The tokens do not have the key as they should.
    Faulty(KeyPath, KeyFault),
}

/// What is wrong with a key on its tokens.
#[derive(Debug)]
pub enum KeyFault {
    /// No private key has the label, and the path is pinned to none.
    Missing,
    /// No private key has the label, and the path is pinned to one.
    Gone,
    /// Several private keys have the label.
    Ambiguous,
    /// The token has no public key object for the private key, or several. The string says which.
    Unbound(String),
    /// Tokens that should hold the same key hold different ones; which tokens.
    Different(String),
    /// The public key is not the one that the path is pinned to.
    Changed,
    /// The token does not answer, or the key cannot be used.
    Hsm(HsmError),
}

impl KeyRefusal {
    /// The order of the checks. When both keys of a request are refused, the caller is told of the
    /// refusal with the lower number: the descriptor itself, then dev mode, attachment, policy, and
    /// last the tokens.
    pub fn precedence(&self) -> u8 {
        match self {
            Self::Jwk(_) | Self::PublicCannotSign => 0,
            Self::PrivateJwk => 1,
            Self::NotAttached { .. } => 2,
            Self::Policy(..) => 3,
            Self::Faulty(..) => 4,
        }
    }
}
