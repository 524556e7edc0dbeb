//! The profiles: which certificates we make, and what stands in each.

pub mod document_signer;
pub mod generic;
pub mod iaca;

use crate::domain::client::KeyPurpose;

/// The profiles that there are rules for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// ISO/IEC 18013-5 Table B.1.
    Iaca,
    /// ISO/IEC 18013-5 Table B.3.
    DocumentSigner,
    /// RFC 5280.
    Generic,
}

impl Profile {
    /// The same as a key's policy and the audit log name it.
    pub fn purpose(self) -> KeyPurpose {
        match self {
            Self::Iaca => KeyPurpose::Iaca,
            Self::DocumentSigner => KeyPurpose::DocumentSigner,
            Self::Generic => KeyPurpose::Generic,
        }
    }
}

/// A rule of a profile that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProfileError {
    /// JSON pointer of the member to blame. `None` when it is not one of `certificateData` and the
    /// like but a key or certificate, which callers give in several ways.
    pub field: Option<&'static str>,
    /// Words for the caller.
    pub message: String,
}

impl ProfileError {
    fn at(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), message: message.into() }
    }

    fn of_key(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into() }
    }
}
