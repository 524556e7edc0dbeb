//! Signatures from PKCS#11 tokens, with the vendor's library in a cage.
//!
//! The process that talks to the network never loads a PKCS#11 module and never sees a PIN. For each
//! token it starts one or more `chancery signer` processes and asks them over a socket; one that
//! hangs, leaks or crashes is killed and replaced, and callers see a short delay or
//! [`HsmError::Unavailable`] at worst.
//! Before such a process loads its module it locks itself in: see [`Sandbox`].
//!
//! ```text
//! Token (handle) ──orders──► supervisor (one task) ──frames──► signer process ──► module ──► token
//! ```
//!
//! This layer does not judge who may use which key, and it does not verify the signatures it hands
//! out: the caller does, against the public key that it pinned.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use data_encoding::HEXLOWER_PERMISSIVE;
use fault::tame;
use offers::OFFERS_MAX;
use protocol::{SignRequest, bounded};
use serde::{Deserialize, Serialize};

use crate::domain::key::PublicKey;

mod availability;
mod catalogue;
mod changes;
mod fault;
mod figures;
mod health;
#[cfg(any(test, fuzzing))]
mod heard;
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
pub use health::Prospect;
#[cfg(any(test, fuzzing))]
pub use heard::hear_as_the_front_does;
pub use key_change::PrivateParts;
pub use offers::Offer;
pub use recycling::{RecycleCause, Recycling, Usage};
pub use sandbox::{MEMORY_MAX_MB_DEFAULT, Network, Sandbox, SandboxLevel};
pub use token::{Made, Token};
pub use worker::run_signer;

/// One token and how to serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Our name for it, in logs.
    pub name: String,
    /// Path of the vendor's PKCS#11 module.
    pub module: PathBuf,
    /// What the module is initialised with (`pReserved` of `C_Initialize`), where it wants more than
    /// its environment. No NUL.
    pub module_arguments: Option<String>,
    /// The token's label. Slots are not configured: their numbers move.
    pub label: String,
    /// The token's serial number; needed when two tokens have one label.
    pub serial: Option<String>,
    /// File with the user PIN. Only the signer processes read it.
    pub pin_file: PathBuf,
    /// As whom signers log in.
    pub user: TokenUser,
    /// Where it is noted which PINs were tried: none that is wrong is tried twice, whatever is
    /// restarted. Several tokens may share the file.
    pub tried_pins: PathBuf,
    /// Signer processes, at least 1.
    pub processes: usize,
    /// Sessions that sign, per process, at least 1; one more holds the login.
    pub sessions: usize,
    /// Signatures that may wait for a signer; one more is [`HsmError::Busy`].
    pub queue_max: usize,
    /// The caller's total time for a signature. A signer that owes one for half of it is killed.
    pub sign_deadline_ms: u64,
    /// Time for a signer to make, take in or destroy a key; as long must a caller be ready to wait
    /// for its turn. A signer is not taken for frozen meanwhile.
    pub generate_deadline_ms: u64,
    /// Time for a signer to load its module, log in, list the token and prove itself.
    pub start_deadline_ms: u64,
    /// How old the last canary signature may be while the token counts as ready, at least 1. They
    /// are made twice as often.
    pub canary_seconds: u64,
    /// Label of the key that canary signatures are made with; else the first that can sign.
    pub canary_label: Option<String>,
    /// Environment of the signer processes, on top of `PATH` and the locale: modules are configured
    /// by it.
    pub environment: BTreeMap<String, String>,
    /// What the signer processes may do beside signing.
    pub sandbox: Sandbox,
    /// When a signer process is replaced that is well otherwise.
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
    /// The public half as the token shows it.
    pub public_key: PublicKey,
}

/// Which key a signature is wanted of, whatever else the token shows of it.
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

/// What stands in a label table before a `CKA_ID` in hexadecimal, in place of a label: for keys without.
const BY_ID: &str = "cka-id:";

/// The `CKA_ID` that a label of a label table stands for, if it stands for one.
fn id_in(label: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(label.strip_prefix(BY_ID)?.as_bytes()).ok()
}

impl CatalogueEntry {
    /// Whether it is a key that this label of a label table, or of a template, leads to.
    pub fn answers_to(&self, label: &str) -> bool {
        id_in(label).map_or_else(|| self.label == label, |id| self.id == id)
    }
}

/// One private key as it lies on the token. Twins appear as often as they exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// The public half, or why the key cannot be used, in words for the operator.
    pub public_key: Result<PublicKey, String>,
    /// Whether the private half may leave the token (`CKA_EXTRACTABLE`), as far as the token says.
    pub extractable: bool,
}

/// What a token says of itself (`CK_TOKEN_INFO` and `CK_SLOT_INFO`). Nobody vouches for it.
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
    /// What it offers to sign with.
    #[serde(deserialize_with = "bounded::list::<_, _, OFFERS_MAX>")]
    pub offers: Vec<Offer>,
    /// Whether its `CKA_LOCAL` says nothing of where a key was made, so that other attributes are
    /// believed instead.
    pub local_says_nothing: bool,
}

impl TokenFacts {
    /// Whether this is SoftHSM: keys in files, which nothing but their permissions guards.
    pub fn is_softhsm(&self) -> bool {
        self.manufacturer.starts_with("SoftHSM") || self.model.starts_with("SoftHSM")
    }

    /// Of a signer, which is not trusted with our logs.
    fn tamed(self) -> Self {
        Self {
            serial: tame(&self.serial),
            manufacturer: tame(&self.manufacturer),
            model: tame(&self.model),
            hardware_version: tame(&self.hardware_version),
            firmware_version: tame(&self.firmware_version),
            is_hardware: self.is_hardware,
            offers: offers::tamed(&self.offers),
            local_says_nothing: self.local_says_nothing,
        }
    }
}

/// How a token is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// A first or a new signer is being started.
    Starting,
    /// Signatures are made.
    Ready {
        /// Time since the last canary signature that verified.
        age: Duration,
    },
    /// A signer is up, but canary signatures have failed or are overdue: the HSM is silent, or slow.
    Unproven {
        /// Time since the last canary signature that verified.
        age: Duration,
    },
    /// The token answers and the PIN is right, but no key on it can sign. It is as ready as a token
    /// without keys can be: a key that appears is found without a restart.
    NoKeys,
    /// No signer is up and the last start failed. Tried again with growing pauses.
    Away {
        /// Function, code and class for the operator; not for callers.
        reason: String,
    },
    /// The token refuses the PIN. It is not tried again, nor after a restart, until its file changes.
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

/// What the reason begins with of a private key whose public half is not to be found, or is ambiguous.
const UNBOUND: &str = "unbound: ";

/// Why there is no key or no signature. Says nothing of PKCS#11: that is in the log.
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
        /// Words for the operator.
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
    /// Whether it is a private key whose public half is not to be found, or is ambiguous: no other try
    /// comes to anything, only an operator can end it.
    pub fn is_unbound(&self) -> bool {
        matches!(self, Self::Unusable { reason } if reason.starts_with(UNBOUND))
    }
}
