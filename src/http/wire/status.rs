//! The answer of `GET /v1/status`, which `chancery status` reads.

use std::{collections::BTreeMap, time::Duration};

use prometheus::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    domain::time::Timestamp,
    hsm::SignatureOutcome,
    metrics,
    service::status::{JobStatus, Status, TokenStatus},
};

/// The status of a daemon.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusBody {
    /// `ready`, `degraded` or `not-ready`.
    pub status: String,
    /// The version of the program.
    pub version: String,
    /// The checks of `/readyz`, each `ok` or what is wrong.
    pub checks: BTreeMap<String, String>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Everything else, which only `ops:read` opens.
    #[serde(flatten)]
    pub details: Option<Details>,
}

/// What only `ops:read` opens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Whether private JWKs are accepted as signing keys.
    pub dev: bool,
    /// When the daemon started.
    pub started_at: String,
    /// The tokens, by name.
    pub tokens: Vec<TokenBody>,
    /// The KMS services that have several tokens or pinned keys, by path.
    pub kms: Vec<KmsBody>,
    /// The ledger.
    pub ledger: LedgerBody,
    /// Certificates ever issued, by profile.
    pub certificates: BTreeMap<String, u64>,
    /// The CAs that were issued here and whose keys are in an HSM, those that end first before others.
    pub cas: Vec<CaBody>,
    /// Requests that are worked on.
    pub requests_in_flight: usize,
    /// How many may be worked on at the same time.
    pub requests_in_flight_max: usize,
    /// Answers since the start, by the first digit of their status.
    pub requests: BTreeMap<String, u64>,
    /// When the first CRL for clients must have a successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_crl_next_update: Option<String>,
    /// The last reload of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<ReloadBody>,
    /// The jobs that the daemon runs by itself, by name.
    pub jobs: Vec<JobBody>,
}

/// A token. Counts are since the start of the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenBody {
    /// Its configured name.
    pub name: String,
    /// `starting`, `ready`, `unproven`, `no-keys`, `away` or `credential-fault`.
    pub state: String,
    /// Why it is away, or its PIN refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `closed`, `half-open` or `open`.
    pub breaker: String,
    /// Signer processes that are up.
    pub signers: usize,
    /// Sessions that have something to do.
    pub sessions_in_use: usize,
    /// Sessions that sign when all signers are up.
    pub sessions: usize,
    /// Private keys, as last listed.
    pub keys: usize,
    /// Signatures that no signer has taken yet.
    pub queue: usize,
    /// How many may wait.
    pub queue_max: usize,
    /// Time since a signature was last verified to prove the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_age_seconds: Option<f64>,
    /// Signatures that were made.
    pub signed: u64,
    /// Signatures that were asked for and not made.
    pub not_signed: u64,
    /// Signers that were up and had to be replaced.
    pub signers_lost: u64,
}

/// A KMS.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KmsBody {
    /// Its path.
    pub path: String,
    /// Of a KMS with several tokens: `ok`, or what is wrong, with the key that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twins: Option<String>,
    /// Pinned keys that can be used.
    pub usable_pinned_keys: usize,
    /// Pinned keys that cannot be used although their token is up.
    pub refused_pinned_keys: Vec<RefusedKeyBody>,
}

/// A pinned key that cannot be used.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedKeyBody {
    /// Its path.
    pub key_path: String,
    /// Why.
    pub reason: String,
}

/// The ledger.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerBody {
    /// Whether the last transaction succeeded, on the file at its path, with room on the disk.
    pub up: bool,
    /// What is wrong with its place: the file was moved or replaced, or its disk is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Writes that wait.
    pub writes_waiting: usize,
    /// Reads that wait.
    pub reads_waiting: usize,
    /// Transactions that were lost since the start.
    pub transactions_lost: u64,
    /// Mean time of a write since the start; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_milliseconds: Option<f64>,
}

/// A CA.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaBody {
    /// Its name, for people.
    pub subject: String,
    /// Its subject key identifier, in hex.
    pub key_id: String,
    /// The last second of its certificate.
    pub not_after: String,
    /// Whole days until then.
    pub days_left: i64,
}

/// A reload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReloadBody {
    /// When it ended.
    pub at: String,
    /// Why it was refused; empty when it was taken up.
    pub problems: Vec<String>,
}

/// A job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobBody {
    /// Its name.
    pub name: String,
    /// From the end of a run to the next run; absent for a job that runs once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<f64>,
    /// When a run last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// How long that run took.
    pub duration_seconds: f64,
    /// Runs that failed, panicked or missed their deadline.
    pub failures: u64,
}

impl StatusBody {
    /// Renders a status.
    pub fn new(status: &Status) -> Self {
        Self {
            status: status.health().word().to_owned(),
            version: Status::VERSION.to_owned(),
            checks: status.checks(),
            warnings: status.warnings(),
            details: Some(details(status)),
        }
    }
}

fn details(status: &Status) -> Details {
    let front = &status.front;
    let figures = &status.ledger_figures;
    let now = Timestamp::now();
    Details {
        dev: status.dev,
        started_at: status.started_at.to_string(),
        tokens: status.tokens.iter().map(|(name, token)| token_body(name, token)).collect(),
        kms: kms(status),
        ledger: LedgerBody {
            up: figures.writable,
            fault: figures.fault.map(str::to_owned),
            audit_entries: figures.tree_size,
            writes_waiting: figures.writes_waiting,
            reads_waiting: figures.reads_waiting,
            transactions_lost: figures.lost,
            write_milliseconds: mean(&figures.write_seconds).map(|seconds| seconds * 1_000.0),
        },
        certificates: figures
            .issued
            .iter()
            .map(|(profile, number)| (profile.name().to_owned(), *number))
            .collect(),
        cas: figures
            .cas
            .iter()
            .map(|ca| CaBody {
                subject: ca.subject.clone(),
                key_id: ca.key_id.clone(),
                not_after: ca.not_after.to_string(),
                days_left: (ca.not_after.unix() - now.unix()).div_euclid(86_400),
            })
            .collect(),
        requests_in_flight: front.in_flight,
        requests_in_flight_max: front.in_flight_max,
        requests: front.answers.clone(),
        client_crl_next_update: front.crl_next_update.map(|time| time.to_string()),
        last_reload: status.last_reload.as_ref().map(|reload| ReloadBody {
            at: reload.at.to_string(),
            problems: reload.problems.clone(),
        }),
        jobs: status.jobs.iter().map(|(name, job)| job_body(name, job)).collect(),
    }
}

fn mean(histogram: &Histogram) -> Option<f64> {
    let number = histogram.get_sample_count();
    (number > 0).then(|| histogram.get_sample_sum() / metrics::count(number))
}

fn token_body(name: &str, token: &TokenStatus) -> TokenBody {
    let figures = &token.figures;
    let asked: u64 = figures.signatures.iter().map(|(_, number)| number).sum();
    let signed =
        figures.signatures.iter().find(|(outcome, _)| *outcome == SignatureOutcome::Signed);
    let signed = signed.map_or(0, |(_, number)| *number);
    TokenBody {
        name: name.to_owned(),
        state: token.state_name().to_owned(),
        reason: token.reason().map(str::to_owned),
        breaker: figures.breaker.state.name().to_owned(),
        signers: figures.signer_pids.len(),
        sessions_in_use: figures.sessions_in_use,
        sessions: figures.sessions_configured,
        keys: figures.keys,
        queue: figures.queue_depth,
        queue_max: figures.queue_max,
        canary_age_seconds: figures.canary_age.as_ref().map(Duration::as_secs_f64),
        signed,
        not_signed: asked - signed,
        signers_lost: figures.signers_lost.iter().map(|(_, number)| number).sum(),
    }
}

fn kms(status: &Status) -> Vec<KmsBody> {
    let mut all: BTreeMap<_, KmsBody> = BTreeMap::new();
    let paths = status.twins.keys().chain(status.pinned_keys.keys());
    for path in paths {
        let keys = status.pinned_keys.get(path).cloned().unwrap_or_default();
        let body = KmsBody {
            path: path.to_string(),
            twins: status.twins.get(path).map(|standing| standing.detail()),
            usable_pinned_keys: keys.usable,
            refused_pinned_keys: keys
                .refused
                .iter()
                .map(|(key, fault)| RefusedKeyBody {
                    key_path: key.to_string(),
                    reason: fault.words().to_owned(),
                })
                .collect(),
        };
        all.insert(path, body);
    }
    all.into_values().collect()
}

fn job_body(name: &str, job: &JobStatus) -> JobBody {
    JobBody {
        name: name.to_owned(),
        period_seconds: job.period.as_ref().map(Duration::as_secs_f64),
        last_success: job.last_success.map(|time| time.to_string()),
        duration_seconds: job.duration.as_secs_f64(),
        failures: job.failures,
    }
}
