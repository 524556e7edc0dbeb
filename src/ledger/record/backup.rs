//! What a backup says of itself.

use serde::{Deserialize, Serialize};

use crate::domain::path::KeyPath;

/// What is in a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Issued certificates.
    pub certificates: u64,
    /// Entries of all stores.
    pub store_entries: u64,
    /// Published VICALs.
    pub vical_versions: u64,
    /// Keys whose public half is pinned.
    pub key_pins: u64,
}

/// A key that a CA signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaKey {
    /// Its path.
    pub path: KeyPath,
    /// SHA-256 over its `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
}

/// The last line of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupLabel {
    /// Of this form of backup.
    pub(in crate::ledger) format: u32,
    /// Of the program that made it.
    pub version: String,
    /// Of the tables.
    pub(in crate::ledger) schema_version: i32,
    /// When, RFC 3339.
    pub created_at: String,
    /// Of the ledger's file, which comes before this line.
    pub(in crate::ledger) bytes: u64,
    /// Over it, in hex.
    pub sha256: String,
    /// What is in it.
    #[serde(flatten)]
    pub counts: Counts,
}
