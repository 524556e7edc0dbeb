//! Converts TOML values to domain values, and collects every problem.

mod bad_keys;
mod listeners;
mod recycling;
mod sandbox;
mod secrets;
#[cfg(test)]
mod tests;
mod token;
mod tree;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use tree::shared_by_two;

use super::{
    Config, Credentials, LogConfig, LogFormat,
    raw::{self, RawClient, RawConfig, RawToken},
};
use crate::{
    access::{ClientCertificate, ClientConfig},
    domain::{
        client::{Grant, Permission},
        client_name::ComparableName,
        key::KeyPolicy,
        path::PathElement,
        text::check_characters,
        tree::ServiceKind,
    },
    hsm::TokenConfig,
    http::{ApiConfig, Limits, PlainListeners},
    service::{Features, IssuanceSettings, Settings, VicalSettings},
};

pub(super) struct Check<'a> {
    /// The directory that relative paths are relative to.
    pub(super) directory: &'a Path,
    pub(super) credentials: Credentials,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Check<'_> {
    pub(super) fn config(&mut self, raw: RawConfig) -> Config {
        let ledger = self.directory.join(&raw.ledger.path);
        let tokens = self.tokens(raw.tokens, &tried_pins(&ledger));
        let names: BTreeSet<String> = tokens.iter().map(|token| token.name.clone()).collect();
        let same = token::same_tokens(&tokens);
        let mut config = Config {
            api: ApiConfig {
                listen: raw.api.listen,
                certificate: self.file("api.certificate", &raw.api.certificate),
                private_key: self.secret("api.private_key", &raw.api.private_key),
                client_ca: self.file("api.client_ca", &raw.api.client_ca),
                client_crl: raw.api.client_crl.map(|crl| self.file("api.client_crl", &crl)),
                expired_crl_refuses: self.expired_crl(raw.api.client_crl_expired.as_deref()),
                compat_login: raw.compat.login.unwrap_or(false),
            },
            plain_listeners: PlainListeners {
                operations: self.operations(raw.operations.listen),
                distribution: raw.distribution.listen,
            },
            ledger,
            log: self.log(raw.log),
            limits: self.limits(raw.limits),
            settings: Settings {
                bad_keys: self.bad_keys(raw.issuance.bad_keys.as_deref()),
                issuance: self.issuance(raw.issuance, &raw.store),
                vical: VicalSettings {
                    strict: raw.vical.strict.unwrap_or(false),
                    allow_empty: raw.vical.allow_empty.unwrap_or(false),
                    cose_tag: raw.vical.cose_tag.unwrap_or(false),
                },
                import_keys: raw.dev.import_keys.unwrap_or(false),
                features: features(&raw.features),
            },
            idempotency_retention_hours: raw.idempotency.retention_hours.unwrap_or(168),
            tokens,
            tree: self.tree(raw.organisations, raw.tenants, raw.services, &names, &same),
            clients: self.clients(raw.clients),
            warnings: Vec::new(),
        };
        self.listeners(config.api.listen, config.plain_listeners);
        self.nothing_shown(
            &config.tokens,
            &[("ledger.path", &config.ledger), ("api.private_key", &config.api.private_key)],
        );
        config.warnings = std::mem::take(&mut self.warnings);
        config
    }

    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Checks a name that is shown to people.
    fn shown_name(&mut self, place: &str, name: &str) {
        if name.trim().is_empty() {
            self.problem(format!("{place}: a name is not blank"));
        } else if let Err(error) = check_characters(name) {
            self.problem(format!("{place}: name: {error}"));
        }
    }

    /// Checks that a file is readable.
    fn file(&mut self, setting: &str, value: &str) -> PathBuf {
        let path = match (value.strip_prefix("credential:"), &self.credentials) {
            (Some(name), _) if name.contains('/') => {
                self.problem(format!("{setting}: a credential's name has no '/'"));
                return PathBuf::new();
            }
            (Some(name), Credentials::In(directory)) => directory.join(name),
            (Some(name), Credentials::NotNeeded) => return PathBuf::from(name),
            (None, _) => self.directory.join(value),
        };
        if let Err(error) = std::fs::File::open(&path) {
            self.problem(format!("{setting}: {}: {error}", path.display()));
        }
        path
    }

    fn expired_crl(&mut self, raw: Option<&str>) -> bool {
        match raw {
            None | Some("warn") => false,
            Some("refuse") => true,
            Some(other) => {
                self.problem(format!(
                    "api.client_crl_expired: '{other}' is not one of warn, refuse"
                ));
                false
            }
        }
    }

    fn operations(&mut self, listen: Option<SocketAddr>) -> Option<SocketAddr> {
        if let Some(address) = listen.filter(|address| !address.ip().is_loopback()) {
            self.problem(format!("operations.listen: {address} is not a loopback address"));
        }
        listen
    }

    fn log(&mut self, raw: raw::RawLog) -> LogConfig {
        let format = match raw.format.as_deref() {
            None | Some("auto") => LogFormat::Auto,
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                self.problem(format!("log.format: '{other}' is not one of auto, text, json"));
                LogFormat::Auto
            }
        };
        let filter = raw.filter.unwrap_or_else(|| "info,actix_server=warn".to_owned());
        if let Err(error) = filter.parse::<tracing_subscriber::filter::Targets>() {
            self.problem(format!("log.filter: {error}"));
        }
        LogConfig { format, filter }
    }

    fn limits(&mut self, raw: raw::RawLimits) -> Limits {
        let milliseconds =
            |value: Option<u64>, default| Duration::from_millis(value.unwrap_or(default));
        let limits = Limits {
            connections_max: raw.connections_max.unwrap_or(1_024),
            in_flight_max: raw.in_flight_max.unwrap_or(512),
            client_requests_per_minute: raw.client_requests_per_minute.unwrap_or(300_000),
            client_refusals_audited_per_minute: raw
                .client_refusals_audited_per_minute
                .unwrap_or(60),
            handshake: milliseconds(raw.handshake_ms, 5_000),
            request_head: milliseconds(raw.request_head_ms, 5_000),
            request_body: milliseconds(raw.request_body_ms, 10_000),
            idle: milliseconds(raw.idle_ms, 75_000),
            shutdown: Duration::from_secs(raw.shutdown_seconds.unwrap_or(20)),
        };
        if limits.connections_max == 0 || limits.in_flight_max == 0 {
            self.problem("limits: connections_max and in_flight_max are at least 1");
        }
        limits
    }

    fn issuance(&mut self, raw: raw::RawIssuance, store: &raw::RawStore) -> IssuanceSettings {
        let pin_described_iaca = match raw.described_iaca.as_deref() {
            None | Some("pin") => true,
            Some("registered-only") => false,
            Some(other) => {
                self.problem(format!(
                    "issuance.described_iaca: '{other}' is not one of pin, registered-only"
                ));
                false
            }
        };
        IssuanceSettings {
            pin_described_iaca,
            allow_ca_without_key_cert_sign: raw.allow_ca_without_key_cert_sign.unwrap_or(false),
            generic_reserved_ekus: raw.generic_reserved_ekus.unwrap_or(false),
            iaca_aki: raw.iaca_aki.unwrap_or(false),
            key_policy: KeyPolicy { ed25519: raw.ed25519_subjects.unwrap_or(false) },
            check_vical_entries: store.check_vical_entries.unwrap_or(true),
        }
    }

    fn tokens(&mut self, raw: Vec<RawToken>, tried_pins: &Path) -> Vec<TokenConfig> {
        if raw.is_empty() {
            self.problem("tokens: at least one is needed");
        }
        let mut tokens: Vec<TokenConfig> = Vec::new();
        for token in raw {
            let place = format!("tokens '{}'", token.name);
            if PathElement::parse(&token.name).is_err() {
                self.problem(format!("{place}: a name holds only letters, digits, '-' and '_'"));
            }
            if tokens.iter().any(|other| other.name == token.name) {
                self.problem(format!("{place}: declared twice"));
            }
            tokens.push(self.token(&place, token, tried_pins));
        }
        tokens
    }

    fn token(&mut self, place: &str, raw: RawToken, tried_pins: &Path) -> TokenConfig {
        let sandbox = self.sandbox(place, &raw);
        let recycling = self.recycling(place, &raw.recycling, sandbox.memory_max_mb);
        let mut environment = raw.environment;
        for (name, value) in raw.environment_paths {
            let path = self.file(&format!("{place}: environment_paths.{name}"), &value);
            environment.insert(name, path.display().to_string());
        }
        let config = TokenConfig {
            module: self.file(&format!("{place}: module"), &raw.module),
            pin_file: self.secret(&format!("{place}: pin_file"), &raw.pin_file),
            module_arguments: self.module_arguments(place, raw.module_arguments),
            user: self.user(place, raw.user_type),
            tried_pins: tried_pins.to_owned(),
            name: raw.name,
            label: raw.label,
            serial: raw.serial,
            processes: raw.processes.unwrap_or(1),
            sessions: raw.sessions.unwrap_or(2),
            queue_max: raw.queue_max.unwrap_or(1_024),
            sign_deadline_ms: raw.sign_deadline_ms.unwrap_or(5_000),
            generate_deadline_ms: raw.generate_deadline_ms.unwrap_or(60_000),
            start_deadline_ms: raw.start_deadline_ms.unwrap_or(10_000),
            canary_seconds: raw.canary_seconds.unwrap_or(15),
            canary_label: raw.canary_label,
            environment,
            sandbox,
            recycling,
        };
        for (name, value, range) in [
            ("processes", config.processes as u64, 1..=64),
            ("sessions", config.sessions as u64, 1..=1_024),
            ("queue_max", config.queue_max as u64, 1..=1_000_000),
            ("sign_deadline_ms", config.sign_deadline_ms, 100..=600_000),
            ("generate_deadline_ms", config.generate_deadline_ms, 1_000..=600_000),
            ("start_deadline_ms", config.start_deadline_ms, 100..=600_000),
            ("canary_seconds", config.canary_seconds, 1..=3_600),
        ] {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                self.problem(format!("{place}: {name} is {value}, not {low} to {high}"));
            }
        }
        config
    }

    fn clients(&mut self, raw: Vec<RawClient>) -> Vec<ClientConfig> {
        let mut clients: Vec<ClientConfig> = Vec::new();
        for client in raw {
            let place = format!("clients '{}'", client.name);
            self.shown_name(&place, &client.name);
            let Some(certificate) = self.client_certificate(&place, &client) else { continue };
            if clients.iter().any(|other| other.name == client.name) {
                self.problem(format!("{place}: declared twice"));
            }
            if clients.iter().any(|other| other.certificate == certificate) {
                self.problem(format!("{place}: another client has the same certificate"));
            } else if let Some(other) =
                clients.iter().find(|other| is_one_unbound(&other.certificate, &certificate))
            {
                let other = &other.name;
                self.problem(format!(
                    "{place}: has the subject of '{other}', and only one of them an issuer; give \
                     both one"
                ));
            }
            let grants = self.grants(&place, client.grants);
            clients.push(ClientConfig { name: client.name, certificate, grants });
        }
        clients
    }

    fn client_certificate(&mut self, place: &str, raw: &RawClient) -> Option<ClientCertificate> {
        match (&raw.subject, &raw.certificate_sha256) {
            // An empty or unreadable subject would match every such certificate.
            (Some(subject), None) if subject.trim().is_empty() => {
                self.problem(format!("{place}: a subject is not blank"));
                None
            }
            (Some(subject), None) => {
                let subject = self.name(place, "subject", subject);
                let issuer = raw.issuer.as_ref().map(|issuer| self.name(place, "issuer", issuer));
                let issuer = issuer.map_or(Some(None), |issuer| issuer.map(Some))?;
                Some(ClientCertificate::Subject { subject: subject?, issuer })
            }
            (None, Some(_)) if raw.issuer.is_some() => {
                self.problem(format!(
                    "{place}: issuer stands beside subject; a fingerprint says more"
                ));
                None
            }
            (None, Some(hex)) => {
                let digits = hex.replace(':', "");
                let octets: Option<Vec<u8>> = digits
                    .as_bytes()
                    .chunks(2)
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                    .collect();
                match octets.and_then(|octets| <[u8; 32]>::try_from(octets).ok()) {
                    Some(sha256) => Some(ClientCertificate::Sha256(sha256)),
                    None => {
                        self.problem(format!("{place}: certificate_sha256 has 64 hex digits"));
                        None
                    }
                }
            }
            _ => {
                self.problem(format!("{place}: give subject or certificate_sha256"));
                None
            }
        }
    }

    fn name(&mut self, place: &str, setting: &str, text: &str) -> Option<ComparableName> {
        ComparableName::parse(text)
            .map_err(|error| self.problem(format!("{place}: {setting} '{text}': {error}")))
            .ok()
    }

    fn grants(&mut self, place: &str, raw: Vec<raw::RawGrant>) -> Vec<Grant> {
        let mut grants = Vec::new();
        for grant in raw {
            let path = self.path(place, &grant.path);
            for permission in &grant.permissions {
                match (permission.parse::<Permission>(), &path) {
                    (Ok(permission), Some(path)) => {
                        grants.push(Grant { permission, path: path.clone() });
                    }
                    (Err(error), _) => self.problem(format!("{place}: {error}")),
                    (Ok(_), None) => {}
                }
            }
        }
        grants
    }
}

/// Whether two clients have the same subject, one with an issuer and one without, so that a certificate can
/// match both.
fn is_one_unbound(one: &ClientCertificate, other: &ClientCertificate) -> bool {
    match (one, other) {
        (
            ClientCertificate::Subject { subject: one, issuer: by_one },
            ClientCertificate::Subject { subject: other, issuer: by_other },
        ) => one == other && by_one.is_some() != by_other.is_some(),
        (ClientCertificate::Sha256(_), _) | (_, ClientCertificate::Sha256(_)) => false,
    }
}

/// The file that records tried PINs. It is beside the ledger, because the service may write to that directory
/// and operators back it up.
fn tried_pins(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".tried-pins");
    name.into()
}

fn features(raw: &raw::RawFeatures) -> Features {
    let switched = [
        (raw.kms, ServiceKind::Kms),
        (raw.x509, ServiceKind::X509),
        (raw.store, ServiceKind::X509Store),
        (raw.vical, ServiceKind::Vical),
    ];
    Features(
        switched.into_iter().filter(|(on, _)| on.unwrap_or(true)).map(|(_, kind)| kind).collect(),
    )
}
