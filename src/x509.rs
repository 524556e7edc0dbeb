//! X.509: profiles, encoding, linting and reading of certificates and requests. Pure: no clock, no
//! randomness, no private key.
//!
//! A certificate is a chain of types: [`plan::TbsPlan`] (a profile decided everything) →
//! [`unsigned::UnsignedCertificate`] (encoded once, then linted) → [`unsigned::SignedCertificate`]
//! (signature checked and joined to the very octets that were linted).
//!
//! Writing and reading share no code: `encoding` and `extension` write with `der` and `x509-cert`,
//! `element` and `view` read on their own. So a mistake must be made in both to pass the lint.

mod algorithm;
pub mod certificate;
pub mod csr;
mod element;
mod encoding;
mod extension;
pub mod issuer;
pub mod lint;
pub mod name;
mod oid;
pub mod pem;
pub mod plan;
pub mod profile;
pub mod restrictions;
pub mod unsigned;
mod view;

pub use certificate::{Certificate, Outline};
pub use issuer::Issuer;
pub use name::{EncodedName, NameAttributes};
pub use restrictions::Restrictions;
pub use unsigned::{SignedCertificate, UnsignedCertificate};

#[cfg(test)]
use crate::domain::fixtures;
use crate::domain::key::KeyError;

/// Why octets are not a certificate, or why a certificate cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// Foreign octets that are not strict DER, or do not have the structure that X.509 requires at
    /// that place.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// Text from outside that is not one PEM block of the wanted label.
    #[error(transparent)]
    Pem(#[from] pem::PemError),
    /// A public key of a type or form that is not offered.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate that is not a CA's with keyCertSign was to sign another (RFC 5280, 4.2.1.9).
    #[error("issuer certificate may not sign certificates")]
    MayNotSignCertificates,
    /// Our own structure could not be encoded: a bug, not the caller's fault.
    #[error("encoding failed: {0}")]
    Encoding(#[from] der::Error),
    /// Our own octets break a rule of their profile: a bug, not the caller's fault.
    #[error("lint {0}")]
    Lint(#[from] lint::Finding),
    /// The signature does not verify over the octets with the signer's public key.
    #[error("the signature does not verify with the signer's public key")]
    SignatureMismatch,
}
