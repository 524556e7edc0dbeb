//! The configuration: one TOML file, which is read and checked as a whole.
//!
//! Only this module reads files and environment variables for settings. [`Config`] has domain values, with
//! the defaults filled in. It has no secrets, only the paths of files with secrets.

mod check;
mod raw;

use std::path::{Path, PathBuf};

use check::Check;
pub use check::shared_by_two;
use raw::RawConfig;

use crate::{
    access::ClientConfig,
    domain::tree::ResourceTree,
    hsm::TokenConfig,
    http::{ApiConfig, Limits, PlainListeners},
    service::Settings,
};

/// All settings.
#[derive(Debug)]
pub struct Config {
    /// The listener with mutual TLS.
    pub api: ApiConfig,
    /// The listeners without TLS.
    pub plain_listeners: PlainListeners,
    /// The SQLite file of the ledger.
    pub ledger: PathBuf,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Limits of listeners and requests.
    pub limits: Limits,
    /// The settings of the use cases.
    pub settings: Settings,
    /// How long answers are kept for an Idempotency-Key, in hours.
    pub idempotency_retention_hours: u32,
    /// PKCS#11 tokens.
    pub tokens: Vec<TokenConfig>,
    /// Organisations, tenants and services.
    pub tree: ResourceTree,
    /// The clients and their permissions.
    pub clients: Vec<ClientConfig>,
    /// Problems that do not prevent the start, one line each.
    pub warnings: Vec<String>,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct LogConfig {
    /// The format of log lines.
    pub format: LogFormat,
    /// `tracing` filter directives.
    pub filter: String,
}

/// The form of what is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Journal fields if standard error is the journal, otherwise text.
    Auto,
    /// Lines for people.
    Text,
    /// JSON lines.
    Json,
}

/// Every problem of a configuration, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Where files named `credential:NAME` are.
enum Credentials {
    /// In this directory.
    In(PathBuf),
    /// They are not looked up.
    NotNeeded,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its directory. A secret may be named
    /// `credential:NAME`: a file in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)) or, without that variable, in the
    /// directory `credentials` beside the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] lists every problem.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let directory = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map_or_else(|| directory_of(file).join("credentials"), PathBuf::from);
        Self::read(file, Credentials::In(directory))
    }

    /// Reads and checks a file like [`Self::load`], but looks up no credential, for subcommands that may not read
    /// them.
    ///
    /// # Errors
    /// [`ConfigError`] lists every problem.
    pub fn load_without_credentials(file: &Path) -> Result<Self, ConfigError> {
        Self::read(file, Credentials::NotNeeded)
    }

    fn read(file: &Path, credentials: Credentials) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError(vec![format!("{}: {error}", file.display())]))?;
        let directory = directory_of(file);
        let mut check = Check {
            directory: &directory,
            credentials,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let raw: RawConfig = match toml::Deserializer::parse(&text) {
            Ok(deserializer) => serde_ignored::deserialize(deserializer, |path| {
                check.problems.push(format!("unknown setting: {path}"));
            }),
            Err(error) => Err(error),
        }
        .map_err(|error| {
            check.problems.push(error.to_string());
            ConfigError(std::mem::take(&mut check.problems))
        })?;
        let config = check.config(raw);
        if check.problems.is_empty() { Ok(config) } else { Err(ConfigError(check.problems)) }
    }
}

fn directory_of(file: &Path) -> PathBuf {
    let file = file.canonicalize().ok();
    file.and_then(|file| file.parent().map(Path::to_owned)).unwrap_or_default()
}
