//! VICALs (ISO/IEC 18013-5 Annex C): what is listed in, signed bytes out. No clock, no key, no
//! knowledge of certificates: whoever lists one has read it.
//!
//! A VICAL is a chain of types: [`List`] (everything decided) → [`UnsignedVical`] (encoded once) →
//! [`SignedVical`] (signature checked and joined to the very octets that were signed).
//!
//! Reading a VICAL is not done here: nothing in the appliance takes one in.

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
    /// Our own octets could not be written. A defect, not the caller's fault.
    #[error("encoding failed: {0}")]
    Encoding(String),
    /// The signature does not verify over the octets with the signer's public key.
    #[error("the signature does not verify with the signer's public key")]
    SignatureMismatch,
}
