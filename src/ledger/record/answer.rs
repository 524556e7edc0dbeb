//! Answers that are given again to the same Idempotency-Key.

use crate::domain::time::Timestamp;

/// Which request an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Who asked.
    pub client: String,
    /// Method and path.
    pub route: String,
    /// The Idempotency-Key.
    pub key: String,
}

/// An answer to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Which request it belongs to.
    pub request: RequestKey,
    /// SHA-256 over the request's body.
    pub fingerprint: [u8; 32],
    /// Serial number of the certificate, in hex, if it was one.
    pub serial: Option<String>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// When.
    pub kept_at: Timestamp,
}
