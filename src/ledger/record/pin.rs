//! Pins: what a key path, or the key of an IACA, was bound to at first use; and changes of keys.

use crate::{
    audit::AuditRecord,
    domain::{path::KeyPath, time::Timestamp},
};

/// A pin to be made unless an equal one is there already.
#[derive(Debug, Clone)]
pub struct Pinning<P> {
    /// The pin.
    pub pin: P,
    /// Its audit entry, written only by the one who makes the pin.
    pub audit: AuditRecord,
}

/// A key path, bound to its public key and to the token that has shown it. Only a change of the key
/// through this appliance binds it to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPin {
    /// Where the key is.
    pub path: KeyPath,
    /// The name of its token in the configuration.
    pub token: String,
    /// The serial number of the token that has shown it; `None` until one has.
    pub token_serial: Option<String>,
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID.
    pub cka_id: Vec<u8>,
    /// `SubjectPublicKeyInfo`, DER.
    pub spki: Vec<u8>,
    /// SHA-256 over it.
    pub spki_sha256: [u8; 32],
    /// When the key was first used.
    pub first_seen: Timestamp,
}

/// A change of a key that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub path: KeyPath,
    /// `generate`, `import` or `delete`.
    pub operation: String,
    /// Who asked.
    pub client: String,
    /// The request's id.
    pub request_id: String,
    /// When.
    pub begun_at: Timestamp,
}

/// What a change means for the pin of its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChange {
    /// Nothing.
    None,
    /// The path stands for this key from now on, whatever it stood for before.
    Set(KeyPin),
    /// The path stands for no key; the next one under it is pinned anew.
    Remove,
}

/// The description of an IACA that a key was first used with. A key gets one; a ledger that an earlier
/// version has written may hold several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IacaPin {
    /// SHA-256 over the key's `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// Name, DER.
    pub subject_der: Vec<u8>,
    /// rfc822Name of the issuer alternative name.
    pub email: Option<String>,
    /// uniformResourceIdentifier of the issuer alternative name.
    pub uri: Option<String>,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// The key, unless it came with the request.
    pub key_path: Option<KeyPath>,
    /// When it was described first.
    pub pinned_at: Timestamp,
}

impl IacaPin {
    /// Whether both describe the same IACA, whoever did so and when.
    pub fn describes_same_as(&self, other: &Self) -> bool {
        let identity = |pin: &Self| (pin.spki_sha256, pin.not_before, pin.not_after);
        identity(self) == identity(other)
            && self.subject_der == other.subject_der
            && self.email == other.email
            && self.uri == other.uri
    }
}
