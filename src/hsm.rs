//! Signatures from PKCS#11 tokens, with the vendor's module in separate, sandboxed processes.
//!
//! The process that faces the network never loads a PKCS#11 module and never sees a PIN. For each token it
//! starts one or more `chancery signer` processes and sends them requests over a socket. A signer that hangs,
//! leaks or crashes is killed and replaced; callers see a short delay, or [`HsmError::Unavailable`] at worst.
//! A signer restricts itself before it loads its module, see [`Sandbox`].
//!
//! ```text
//! Token (handle) ──commands──► supervisor (one task) ──frames──► signer process ──► module ──► token
//! ```
//!
//! This layer does not decide who may use which key, and it does not verify the signatures that it returns:
//! the caller does, against the public key that it has pinned.
//!
#![doc = include_str!("hsm/modules.md")]

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use data_encoding::HEXLOWER_PERMISSIVE;
use fault::sanitise;
use offers::OFFERS_MAX;
use protocol::{SignRequest, bounded};
use serde::{Deserialize, Serialize};

use crate::domain::key::PublicKey;

mod availability;
mod catalogue;
mod changes;
mod fault;
mod figures;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod health;
mod jobs;
mod key_change;
mod offers;
mod pin_attempts;
mod process;
mod protocol;
mod recycling;
mod sandbox;
mod supervisor;
mod token;
mod worker;

pub use changes::{ChangeError, KeyMaterial};
pub use figures::{
    BUCKETS_SECONDS, Breaker, BreakerState, Histogram, LossCause, SignatureOutcome, TokenFigures,
};
#[cfg(any(test, fuzzing))]
pub use fuzzing::handle_as_the_front_does;
pub use health::Prospect;
pub use key_change::PrivateParts;
pub use offers::Offer;
pub use recycling::{RecycleCause, Recycling, Usage};
pub use sandbox::{MEMORY_MAX_MB_DEFAULT, Network, Sandbox, SandboxLevel};
pub use token::{Made, Token};
pub use worker::run_signer;

/// One token and how to serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The configured name, for logs.
    pub name: String,
    /// Path of the vendor's PKCS#11 module.
    pub module: PathBuf,
    /// `pReserved` of `C_Initialize`, for modules that are not configured by their environment alone.
    /// Contains no NUL.
    pub module_arguments: Option<String>,
    /// The token's label. Slots are not configured, because their numbers change.
    pub label: String,
    /// The token's serial number; needed when two tokens have one label.
    pub serial: Option<String>,
    /// File with the user PIN. Only the signer processes read it.
    pub pin_file: PathBuf,
    /// The user that signers log in as.
    pub user: TokenUser,
    /// File that records which PINs were tried, so that a wrong one is not tried twice, whatever is
    /// restarted. Several tokens may share it.
    pub tried_pins: PathBuf,
    /// Signer processes, at least 1.
    pub processes: usize,
    /// Sessions that sign, per process, at least 1. One more holds the login.
    pub sessions: usize,
    /// Signatures that may be queued; further ones are [`HsmError::Busy`].
    pub queue_max: usize,
    /// The caller's total time for a signature. A signer that has one pending for half of it counts as frozen
    /// and is killed.
    pub sign_deadline_ms: u64,
    /// Time for a signer to make, import or destroy a key, and for a caller to wait for its turn. Meanwhile
    /// the signer does not count as frozen.
    pub generate_deadline_ms: u64,
    /// Time for a signer to load its module, log in, list the token and make a canary signature.
    pub start_deadline_ms: u64,
    /// Maximal age of the last canary signature while the token counts as ready, at least 1. Canary
    /// signatures are made twice as often.
    pub canary_seconds: u64,
    /// Label of the key for canary signatures; by default one that can sign.
    pub canary_label: Option<String>,
    /// Environment of the signer processes, in addition to `PATH` and the locale, because modules are
    /// configured by it.
    pub environment: BTreeMap<String, String>,
    /// Restrictions of the signer processes.
    pub sandbox: Sandbox,
    /// When a signer process that works is replaced.
    pub recycling: Recycling,
}

/// A public key on record, for a token that shows none for its private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// `SubjectPublicKeyInfo`, DER.
    pub spki: Vec<u8>,
}

/// A user of a token (`CKU_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUser {
    /// `CKU_USER`.
    Normal,
    /// A type of the vendor's own.
    Vendor(u32),
}

/// A private key on a token, found and not ambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// The public half, as the token shows it.
    pub public_key: PublicKey,
}

/// Identifies a key by what callers ask for, without attributes that may change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyRef {
    /// `CKA_LABEL`.
    label: String,
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    spki_sha256: [u8; 32],
}

impl KeyRef {
    fn to(key: &TokenKey) -> Self {
        Self { label: key.label.clone(), spki_sha256: key.public_key.spki_sha256() }
    }

    fn of(request: &SignRequest) -> Self {
        Self { label: request.label.clone(), spki_sha256: request.spki_sha256 }
    }
}

/// Prefix of a `CKA_ID` in hexadecimal, which a label table may have in place of a label, for keys without
/// labels.
const BY_ID: &str = "cka-id:";

/// The `CKA_ID` in an entry of a label table, if it holds one.
fn id_in(label: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(label.strip_prefix(BY_ID)?.as_bytes()).ok()
}

impl CatalogueEntry {
    /// Whether an entry of a label table or a key-path template means this key.
    pub fn answers_to(&self, label: &str) -> bool {
        id_in(label).map_or_else(|| self.label == label, |id| self.id == id)
    }
}

/// A private key as the token lists it. Keys with the same label and id are listed separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// The public half, or the reason for the operator why the key cannot be used.
    pub public_key: Result<PublicKey, String>,
    /// Whether the private half may leave the token (`CKA_EXTRACTABLE`); true where the token does not say.
    pub extractable: bool,
}

/// What a token says about itself (`CK_TOKEN_INFO`, `CK_SLOT_INFO`). None of it is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// `serialNumber`.
    pub serial: String,
    /// `manufacturerID`.
    pub manufacturer: String,
    /// `model`.
    pub model: String,
    /// `hardwareVersion`.
    pub hardware_version: String,
    /// `firmwareVersion`.
    pub firmware_version: String,
    /// `CKF_HW_SLOT`: the slot is a device, not a program.
    pub is_hardware: bool,
    /// The mechanisms that it offers for signing.
    #[serde(deserialize_with = "bounded::list::<_, _, OFFERS_MAX>")]
    pub offers: Vec<Offer>,
    /// Whether its `CKA_LOCAL` does not tell where a key was made, so that other attributes are read instead.
    pub local_says_nothing: bool,
}

impl TokenFacts {
    /// Whether this is SoftHSM, which keeps keys in files that only their permissions protect.
    pub fn is_softhsm(&self) -> bool {
        self.manufacturer.starts_with("SoftHSM") || self.model.starts_with("SoftHSM")
    }

    /// Sanitised for logs, because a signer is not trusted.
    fn sanitised(self) -> Self {
        Self {
            serial: sanitise(&self.serial),
            manufacturer: sanitise(&self.manufacturer),
            model: sanitise(&self.model),
            hardware_version: sanitise(&self.hardware_version),
            firmware_version: sanitise(&self.firmware_version),
            is_hardware: self.is_hardware,
            offers: offers::sanitised(&self.offers),
            local_says_nothing: self.local_says_nothing,
        }
    }
}

/// The state of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// A signer is being started, and none is up.
    Starting,
    /// A signer is up and canary signatures verify.
    Ready {
        /// Time since the last canary signature that verified.
        age: Duration,
    },
    /// A signer is up, but canary signatures have failed or are overdue: the HSM hangs or is slow.
    Unproven {
        /// Time since the last canary signature that verified.
        age: Duration,
    },
    /// The token answers and accepts the PIN, but no key on it can sign. Counts as ready, because a key that
    /// appears is found without a restart.
    NoKeys,
    /// No signer is up and the last start failed. Retried with exponential backoff.
    Away {
        /// Function, code and class for the operator; not for callers.
        reason: String,
    },
    /// The token refuses the PIN. It is not tried again, not even after a restart, until its file changes.
    CredentialFault {
        /// Function, code and class for the operator; not for callers.
        reason: String,
    },
}

impl TokenState {
    /// Whether a signer is up.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Unproven { .. } | Self::NoKeys)
    }

    /// Whether requests can be expected to succeed.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::NoKeys)
    }
}

/// Prefix of the reason of a private key whose public half is missing or ambiguous.
const UNBOUND: &str = "unbound: ";

/// Why there is no key or no signature. Contains no details of PKCS#11; those are in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HsmError {
    /// No private key has the label.
    #[error("the key does not exist in the HSM")]
    Missing,
    /// Several private keys have the label.
    #[error("{count} private keys in the HSM have the label of this key")]
    Ambiguous {
        /// How many.
        count: usize,
    },
    /// The key is there and cannot be used.
    #[error("the key cannot be used: {reason}")]
    Unusable {
        /// The reason, for the operator.
        reason: String,
    },
    /// The HSM does not answer.
    #[error("the HSM is not available")]
    Unavailable {
        /// When to try again, in seconds, at least 1.
        retry_after_seconds: u64,
    },
    /// The HSM answers, but too many requests wait for it.
    #[error("the HSM is busy")]
    Busy {
        /// When to try again, in seconds, at least 1.
        retry_after_seconds: u64,
    },
    /// The signature was not there in time.
    #[error("the HSM did not sign in time")]
    DeadlineMissed {
        /// When to try again, in seconds, at least 1.
        retry_after_seconds: u64,
    },
}

impl HsmError {
    /// With the shortest `Retry-After`.
    const UNAVAILABLE: Self = Self::Unavailable { retry_after_seconds: 1 };
    /// With the shortest `Retry-After`.
    const BUSY: Self = Self::Busy { retry_after_seconds: 1 };
    /// With the shortest `Retry-After`.
    const LATE: Self = Self::DeadlineMissed { retry_after_seconds: 1 };

    /// Whether the public half of the private key is missing or ambiguous, which only an operator can mend.
    pub fn is_unbound(&self) -> bool {
        matches!(self, Self::Unusable { reason } if reason.starts_with(UNBOUND))
    }
}
