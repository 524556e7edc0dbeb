//! Counts and states of the ledger at one moment.

use std::time::Duration;

use prometheus::Histogram;

use crate::domain::{client::KeyPurpose, time::Timestamp};

/// The ledger at one moment.
#[derive(Debug, Clone)]
pub struct LedgerFigures {
    /// Entries of the audit log.
    pub tree_size: u64,
    /// Certificates of each profile, ever issued.
    pub issued: Vec<(KeyPurpose, u64)>,
    /// The CAs whose keys are in an HSM, those that end first before others.
    pub cas: Vec<CaEnd>,
    /// Whether the last transaction lasted.
    pub writable: bool,
    /// What is wrong with its place: the file was moved or replaced, or its disk is full.
    pub fault: Option<&'static str>,
    /// Transactions that lasted since the start.
    pub committed: u64,
    /// Transactions that were lost since the start.
    pub lost: u64,
    /// How long the transaction that is under way has taken, or the writer's part of a checkpoint.
    pub under_way: Option<Duration>,
    /// Writes that wait for their turn.
    pub writes_waiting: usize,
    /// Reads that wait for their turn.
    pub reads_waiting: usize,
    /// From the call of a write to its answer.
    pub write_seconds: Histogram,
    /// From the call of a read to its answer.
    pub read_seconds: Histogram,
}

/// When a CA ends that was issued here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaEnd {
    /// Subject key identifier, in hex: the issuer key identifier of what it signs.
    pub key_id: String,
    /// Name, for people.
    pub subject: String,
    /// Last second of its certificate; of several, the latest.
    pub not_after: Timestamp,
}

/// What has come about since a tree size.
#[derive(Debug, Default)]
pub(in crate::ledger) struct News {
    pub(in crate::ledger) tree_size: u64,
    pub(in crate::ledger) issued: Vec<(KeyPurpose, u64)>,
    pub(in crate::ledger) cas: Vec<CaEnd>,
}
