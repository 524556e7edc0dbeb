//! VICALs (ISO/IEC 18013-5 Annex C): encodes and signs lists of certificates. Pure: no clock, no
//! private key. It does not parse the listed certificates; the caller has done so.
//!
//! A VICAL is a chain of types: [`List`] (everything decided) → [`UnsignedVical`] (encoded once) →
//! [`SignedVical`] (signature checked and joined to the very octets that were signed).
//!
//! There is no VICAL parser, because the appliance does not read VICALs.

mod envelope;
mod payload;
mod urn;

pub use envelope::{SignedVical, UnsignedVical};
pub use payload::{CertificateInfo, List, VERSION};
pub use urn::is_urn;

/// Why a VICAL cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VicalError {
    /// C.1.7: a VICAL is signed with ES256, ES384 or ES512.
    #[error("an RSA key cannot sign a VICAL")]
    KeyType,
    /// Our own structure could not be encoded: a bug, not the caller's fault.
    #[error("encoding failed: {0}")]
    Encoding(String),
    /// The signature does not verify over the octets with the signer's public key.
    #[error("the signature does not verify with the signer's public key")]
    SignatureMismatch,
}
