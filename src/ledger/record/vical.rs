//! VICAL versions: each has an intent like a certificate, and octets that are kept for good.

use super::intent_id::IntentId;
use crate::{
    audit::AuditRecord,
    domain::{path::PathElement, time::Timestamp},
};

/// A signed and verified VICAL.
#[derive(Debug, Clone)]
pub struct PublishedVersion {
    /// Who publishes.
    pub provider: String,
    /// The date within.
    pub date: Timestamp,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// How many certificates it lists.
    pub entry_count: usize,
    /// All its octets.
    pub artifact: Vec<u8>,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
    /// The name of the signature algorithm.
    pub algorithm: &'static str,
    /// The certificate of the key that signed.
    pub signer_certificate_pem: String,
    /// Those above it, its issuer first.
    pub signer_chain_pem: Vec<String>,
    /// SHA-256 of the signer's certificate and of those above it, the signer's first.
    pub signer_sha256s: Vec<[u8; 32]>,
    /// The audit entry of the change when its signer takes the place of the one on record.
    pub signer_changed: Option<AuditRecord>,
}

/// The version that a publication reserves with its intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalReservation {
    /// Its id below the service.
    pub version: PathElement,
    /// From `Ledger::take_vical_number`; used for one intent.
    pub issue_id: u64,
    /// By whom it will be signed.
    pub signer: VicalSigner,
}

/// A publication that is on record and not yet signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunVical {
    /// To be ended.
    pub intent: IntentId,
    /// The signer on record that this publication's takes the place of, as SHA-256s.
    pub replaces: Option<Vec<[u8; 32]>>,
}

/// Whom a publication is signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalSigner {
    /// SHA-256 of its certificate and of those above it, its own first.
    pub sha256s: Vec<[u8; 32]>,
    /// Whether it may take the place of the one on record.
    pub may_change: bool,
}

/// A published VICAL without its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalVersion {
    /// Its id below the service.
    pub version: PathElement,
    /// Unique and growing within the service.
    pub issue_id: u64,
    /// Who publishes.
    pub provider: String,
    /// The date within.
    pub date: Timestamp,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// How many certificates it lists.
    pub entry_count: u64,
    /// The length of its octets.
    pub size_bytes: u64,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
    /// The name of the signature algorithm.
    pub algorithm: String,
    /// The certificate of the key that signed.
    pub signer_certificate_pem: String,
    /// Those above it, its issuer first.
    pub signer_chain_pem: Vec<String>,
}

/// The octets of a published VICAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalArtifact {
    /// All of them.
    pub octets: Vec<u8>,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
}
