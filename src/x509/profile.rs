//! Certificate profiles: which certificates are issued, and what each contains.

pub mod document_signer;
pub mod generic;
pub mod iaca;

pub use super::plan::Profile;
use crate::domain::{
    key::{KeyType, PublicKey},
    member::{Member, Message},
};

/// A rule of a profile that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProfileError {
    /// What breaks it.
    pub blame: Blame,
    /// Words for the caller.
    pub message: Message,
}

/// What breaks a rule of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// A member of the request.
    Member(Member),
    /// The key that signs, however the request names it.
    SigningKey,
    /// The key that is certified, however the request names it.
    SubjectKey,
    /// The issuer's certificate or description.
    Issuer,
}

impl ProfileError {
    fn at(member: Member, message: impl Into<Message>) -> Self {
        Self { blame: Blame::Member(member), message: message.into() }
    }

    fn of(blame: Blame, message: impl Into<Message>) -> Self {
        Self { blame, message: message.into() }
    }
}

/// ISO/IEC 18013-5, B.1.1: an IACA signs by ECDSA.
fn check_iaca_key(key: &PublicKey) -> Result<(), ProfileError> {
    let what = match key.key_type() {
        KeyType::P256 | KeyType::P384 | KeyType::P521 => return Ok(()),
        KeyType::Ed25519 => ED25519_SIGNS_NOTHING,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
            "RSA is not allowed for an IACA; use P-256, P-384 or P-521"
        }
    };
    Err(ProfileError::of(Blame::SigningKey, what))
}

const ED25519_SIGNS_NOTHING: &str = "Ed25519 may be certified, but signs no certificate";
