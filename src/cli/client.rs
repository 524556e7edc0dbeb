//! The client side of the subcommands that talk to a running daemon over mutual TLS.

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use ureq::{
    Agent,
    http::{Request, StatusCode},
    tls::{ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem},
};
use zeroize::Zeroizing;

use super::{memory, output::complain};
use crate::http;

/// Address and client certificate, from flags or a profile file. Flags take precedence.
#[derive(Args)]
pub(super) struct Connection {
    /// Address of the daemon, https://HOST:PORT.
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// CAs that may have issued the daemon's certificate, PEM.
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Client certificate chain, PEM.
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Private key of the client certificate, PEM.
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// TOML file with url, cacert, cert and key; paths are relative to its directory. Default:
    /// ~/.config/chancery/client.toml, if it exists.
    #[arg(long, global = true, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// The profile file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: Option<String>,
    cacert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Why a subcommand failed. Each cause has an exit code; 2 is a wrong command line.
pub(super) enum Failure {
    /// 1: the daemon refused the request, with this message.
    Refused(String),
    /// 3: the daemon could not be reached.
    Unreachable(String),
    /// 4: a client file is missing or cannot be used.
    Setup(String),
}

impl Failure {
    /// The message.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Refused(words) | Self::Unreachable(words) | Self::Setup(words) => words,
        }
    }

    /// Prints the message. Returns the exit code.
    pub(super) fn report(self) -> ExitCode {
        let (words, code) = match self {
            Self::Refused(words) => (words, 1),
            Self::Unreachable(words) => (words, 3),
            Self::Setup(words) => (words, 4),
        };
        complain(words);
        ExitCode::from(code)
    }
}

/// An HTTP client for one daemon.
pub(super) struct Client {
    agent: Agent,
    url: String,
    /// Whether answers are printed as JSON.
    pub(super) json: bool,
}

const TIMEOUT: Duration = Duration::from_secs(120);

impl Client {
    /// Reads profile and TLS files.
    pub(super) fn new(connection: Connection) -> Result<Self, Failure> {
        let profile = profile(connection.profile)?;
        let missing = |name: &str| {
            Failure::Setup(format!(
                "--{name} is required, or {name} in ~/.config/chancery/client.toml"
            ))
        };
        let file = |given: Option<PathBuf>, name: &str| given.ok_or_else(|| missing(name));
        let url = connection.url.or(profile.url).ok_or_else(|| missing("url"))?;
        let cacert = file(connection.cacert.or(profile.cacert), "cacert")?;
        let cert = file(connection.cert.or(profile.cert), "cert")?;
        let key = file(connection.key.or(profile.key), "key")?;
        // An error means that a provider is installed already, which is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        memory::keep_off_disk();
        // Check this first, because ureq panics if certificate and key do not belong together.
        http::check_client_files(&cacert, &cert, &key)
            .map_err(|problems| Failure::Setup(problems.join("; ")))?;
        let private_key = PrivateKey::from_pem(&read(&key)?)
            .map_err(|error| Failure::Setup(format!("{}: {error}", key.display())))?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(certificates(&cacert)?)))
            .client_cert(Some(ClientCert::new_with_certs(&certificates(&cert)?, private_key)))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .build()
            .new_agent();
        Ok(Self { agent, url: url.trim_end_matches('/').to_owned(), json: connection.json })
    }

    /// Sends a request. Returns the answer if it is a success.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        success(self.ask(method, path, body)?)
    }

    /// Sends a request. Returns any answer.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), Failure> {
        let unreachable =
            |error: &dyn std::fmt::Display| Failure::Unreachable(format!("{}: {error}", self.url));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .map_err(|error| Failure::Setup(error.to_string()))?;
        let mut answer = self.agent.run(request).map_err(|error| unreachable(&error))?;
        let text = answer.body_mut().read_to_string().map_err(|error| unreachable(&error))?;
        Ok((answer.status(), text))
    }

    /// The address of the daemon.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// Returns the body of an answer if it is a success.
///
/// # Errors
/// Any other answer, with the daemon's message.
pub(super) fn success((status, text): (StatusCode, String)) -> Result<Value, Failure> {
    match status.is_success() {
        true => Ok(serde_json::from_str(&text).unwrap_or_default()),
        false => Err(Failure::Refused(format!("{status}: {}", message(&text)))),
    }
}

/// The message of an answer that is no success.
pub(super) fn message(text: &str) -> String {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    json["message"].as_str().unwrap_or("no message").to_owned()
}

fn profile(given: Option<PathBuf>) -> Result<Profile, Failure> {
    let file = match given {
        Some(file) => file,
        None => match std::env::home_dir() {
            Some(home) if home.join(PROFILE).exists() => home.join(PROFILE),
            _ => return Ok(Profile::default()),
        },
    };
    let wrong =
        |error: &dyn std::fmt::Display| Failure::Setup(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(&file).map_err(|error| wrong(&error))?;
    let profile: Profile = toml::from_str(&text).map_err(|error| wrong(&error))?;
    let directory = file.parent().map(PathBuf::from).unwrap_or_default();
    let from_there = |path: Option<PathBuf>| path.map(|path| directory.join(path));
    Ok(Profile {
        url: profile.url,
        cacert: from_there(profile.cacert),
        cert: from_there(profile.cert),
        key: from_there(profile.key),
    })
}

const PROFILE: &str = ".config/chancery/client.toml";

fn read(file: &PathBuf) -> Result<Zeroizing<Vec<u8>>, Failure> {
    fs::read(file)
        .map(Zeroizing::new)
        .map_err(|error| Failure::Setup(format!("{}: {error}", file.display())))
}

fn certificates(file: &PathBuf) -> Result<Vec<ureq::tls::Certificate<'static>>, Failure> {
    let wrong =
        |error: &dyn std::fmt::Display| Failure::Setup(format!("{}: {error}", file.display()));
    let mut found = Vec::new();
    for item in parse_pem(&read(file)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(&error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(wrong(&"no certificate in it")) } else { Ok(found) }
}

/// Formats a table with a heading. Each column is as wide as its longest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut heading.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// A member as text; empty if it is absent.
pub(super) fn text(value: &Value, member: &str) -> String {
    match &value[member] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}
