//! The configuration file as TOML values. `config/chancery.toml` explains every setting.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct RawConfig {
    pub(super) api: RawApi,
    #[serde(default)]
    pub(super) operations: RawOperations,
    #[serde(default)]
    pub(super) distribution: RawDistribution,
    pub(super) ledger: RawLedger,
    #[serde(default)]
    pub(super) log: RawLog,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) issuance: RawIssuance,
    #[serde(default)]
    pub(super) compat: RawCompat,
    #[serde(default)]
    pub(super) idempotency: RawIdempotency,
    #[serde(default)]
    pub(super) store: RawStore,
    #[serde(default)]
    pub(super) vical: RawVical,
    #[serde(default)]
    pub(super) dev: RawDev,
    #[serde(default)]
    pub(super) features: RawFeatures,
    #[serde(default)]
    pub(super) tokens: Vec<RawToken>,
    #[serde(default)]
    pub(super) organisations: Vec<RawBranch>,
    #[serde(default)]
    pub(super) tenants: Vec<RawBranch>,
    #[serde(default)]
    pub(super) services: Vec<RawService>,
    #[serde(default)]
    pub(super) clients: Vec<RawClient>,
}

#[derive(Deserialize)]
pub(super) struct RawApi {
    pub(super) listen: SocketAddr,
    pub(super) certificate: String,
    pub(super) private_key: String,
    pub(super) client_ca: String,
    pub(super) client_crl: Option<String>,
    pub(super) client_crl_expired: Option<String>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawOperations {
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawDistribution {
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Deserialize)]
pub(super) struct RawLedger {
    pub(super) path: String,
}

#[derive(Deserialize, Default)]
pub(super) struct RawLog {
    pub(super) format: Option<String>,
    pub(super) filter: Option<String>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawLimits {
    pub(super) connections_max: Option<usize>,
    pub(super) in_flight_max: Option<usize>,
    pub(super) client_requests_per_minute: Option<u32>,
    pub(super) client_refusals_audited_per_minute: Option<u32>,
    pub(super) handshake_ms: Option<u64>,
    pub(super) request_head_ms: Option<u64>,
    pub(super) request_body_ms: Option<u64>,
    pub(super) idle_ms: Option<u64>,
    pub(super) shutdown_seconds: Option<u64>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawIssuance {
    pub(super) described_iaca: Option<String>,
    pub(super) allow_ca_without_key_cert_sign: Option<bool>,
    pub(super) generic_reserved_ekus: Option<bool>,
    pub(super) iaca_aki: Option<bool>,
    pub(super) ed25519_subjects: Option<bool>,
    pub(super) bad_keys: Option<String>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawCompat {
    pub(super) login: Option<bool>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawIdempotency {
    pub(super) retention_hours: Option<u32>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawStore {
    pub(super) check_vical_entries: Option<bool>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawVical {
    pub(super) strict: Option<bool>,
    pub(super) allow_empty: Option<bool>,
    pub(super) cose_tag: Option<bool>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawDev {
    pub(super) import_keys: Option<bool>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawFeatures {
    pub(super) kms: Option<bool>,
    pub(super) x509: Option<bool>,
    pub(super) store: Option<bool>,
    pub(super) vical: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct RawToken {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) module_arguments: Option<String>,
    pub(super) label: String,
    pub(super) serial: Option<String>,
    pub(super) pin_file: String,
    pub(super) user_type: Option<RawUserType>,
    pub(super) processes: Option<usize>,
    pub(super) sessions: Option<usize>,
    pub(super) queue_max: Option<usize>,
    pub(super) sign_deadline_ms: Option<u64>,
    pub(super) generate_deadline_ms: Option<u64>,
    pub(super) start_deadline_ms: Option<u64>,
    pub(super) canary_seconds: Option<u64>,
    pub(super) canary_label: Option<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) environment_paths: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) sandbox: RawSandbox,
    #[serde(default)]
    pub(super) recycling: RawRecycling,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawUserType {
    Name(String),
    Number(i64),
}

#[derive(Deserialize, Default)]
pub(super) struct RawSandbox {
    pub(super) level: Option<String>,
    pub(super) required: Option<bool>,
    pub(super) network: Option<String>,
    #[serde(default)]
    pub(super) read: Vec<String>,
    #[serde(default)]
    pub(super) write: Vec<String>,
    pub(super) memory_max_mb: Option<u64>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawRecycling {
    pub(super) memory_mb: Option<u64>,
    pub(super) descriptors: Option<u32>,
    pub(super) signatures: Option<u64>,
    pub(super) one_at_a_time: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct RawBranch {
    pub(super) path: String,
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawService {
    pub(super) path: String,
    pub(super) r#type: String,
    pub(super) token: Option<String>,
    pub(super) tokens: Option<Vec<String>>,
    pub(super) label_template: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) policies: Option<BTreeMap<String, Vec<String>>>,
    pub(super) shared_labels: Option<bool>,
    pub(super) dependencies: Option<Vec<String>>,
    pub(super) signing_key: Option<String>,
    pub(super) signer_certificate: Option<String>,
    pub(super) signer_certificate_chain: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct RawClient {
    pub(super) name: String,
    pub(super) subject: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) certificate_sha256: Option<String>,
    #[serde(default)]
    pub(super) grants: Vec<RawGrant>,
}

#[derive(Deserialize)]
pub(super) struct RawGrant {
    pub(super) path: String,
    pub(super) permissions: Vec<String>,
}
