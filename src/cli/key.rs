//! `chancery key`: keys of a KMS service.

use std::{
    io::{self, BufRead, BufReader, IsTerminal, Read},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ureq::http::StatusCode;

use super::{
    client::{Client, Connection, Failure, message, success, table, text},
    output::{Output, warn},
};

/// List, generate, show and delete keys of a running daemon.
#[derive(Args)]
pub(super) struct Key {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Action {
    /// List the keys of a KMS service.
    List {
        /// Path of the KMS service, such as acme.dmv.kms.
        kms: String,
    },
    /// Generate a key pair in the HSM.
    Generate {
        /// Full path of the new key, such as acme.dmv.kms.iaca-2026.
        path: String,
        /// secp256r1, secp384r1, secp521r1, RSA, RSA3072, RSA4096; Ed25519 where the daemon allows it.
        #[arg(long = "type", value_name = "TYPE", default_value = "secp256r1")]
        key_type: String,
    },
    /// Show the public half of a key.
    Show {
        /// Full path of the key.
        path: String,
        /// Print it as PEM.
        #[arg(long)]
        pem: bool,
    },
    /// List the IACAs that requests have described for a key, and that were neither issued nor stored here.
    IacaPins {
        /// Full path of the key.
        path: String,
    },
    /// Remove these records. The next document signer may then describe another IACA for the key.
    DropIacaPins {
        /// Full path of the key.
        path: String,
    },
    /// Delete a key from the HSM. This cannot be undone. Asks first if a valid certificate was issued with
    /// the key or for it.
    Delete {
        /// Full path of the key.
        path: String,
        /// Do not ask, even if valid certificates use the key.
        #[arg(long)]
        yes: bool,
        /// Like --yes, and also delete the key of a valid CA certificate.
        #[arg(long)]
        force: bool,
    },
}

impl Key {
    /// Runs the subcommand.
    pub(super) fn run(self) -> ExitCode {
        let mut output = Output::default();
        match self.ask(&mut output) {
            Ok(()) => output.end(ExitCode::SUCCESS),
            Err(failure) => failure.report(),
        }
    }

    fn ask(self, output: &mut Output) -> Result<(), Failure> {
        let client = Client::new(self.connection)?;
        let route = |path: &str| format!("/v1/{path}/kms-service-api/keys");
        match self.action {
            Action::List { kms } => {
                let keys = client.send("GET", &route(&kms), None)?;
                print_keys(output, &client, &keys);
            }
            Action::Generate { path, key_type } => {
                let body = json!({ "keyType": key_type });
                let key =
                    client.send("POST", &format!("{}/generate", route(&path)), Some(&body))?;
                print_keys(output, &client, &key);
            }
            Action::Show { path, pem: true } => {
                let key = client.send("GET", &format!("{}?format=pem", route(&path)), None)?;
                if client.json {
                    output.line(key);
                } else {
                    output.text(text(&key, "publicKeyPem"));
                }
            }
            Action::Show { path, pem: false } => {
                let key = client.send("GET", &route(&path), None)?;
                print_keys(output, &client, &key);
            }
            Action::IacaPins { path } => {
                let pins = client.send("GET", &pins_of(&path), None)?;
                print_pins(output, &client, &pins);
            }
            Action::DropIacaPins { path } => {
                let answer = client.send("DELETE", &pins_of(&path), None)?;
                if client.json {
                    output.line(answer);
                } else {
                    let key = text(&answer, "deleted");
                    output.line(format_args!("dropped the IACAs pinned to {key}"));
                }
            }
            Action::Delete { path, yes, force } => {
                let guard = match (force, yes) {
                    (true, _) => "?force=true",
                    (false, true) => "",
                    (false, false) => "?unused=true",
                };
                let delete =
                    |guard: &str| client.ask("DELETE", &format!("{}{guard}", route(&path)), None);
                let mut answer = delete(guard)?;
                if guard == "?unused=true" && answer.0 == StatusCode::CONFLICT {
                    is_wanted(&path, &message(&answer.1))?;
                    answer = delete("")?;
                }
                let answer = success(answer)?;
                if client.json {
                    output.line(answer);
                } else {
                    output.line(format_args!("deleted {}", text(&answer, "deleted")));
                }
            }
        }
        Ok(())
    }
}

/// Asks on the terminal whether a key that is in use is to be deleted.
///
/// # Errors
/// The path of the key was not typed, or standard input is no terminal.
fn is_wanted(path: &str, why: &str) -> Result<(), Failure> {
    let kept = |words: &str| Err(Failure::Refused(format!("{why}: {path} is kept; {words}")));
    if !io::stdin().is_terminal() {
        return kept("--yes deletes it all the same");
    }
    warn(format_args!("{why}. Deleted, {path} cannot be brought back."));
    warn("To delete it all the same, type its path:");
    let mut typed = String::new();
    match BufReader::new(io::stdin().take(TYPED_BYTES_MAX)).read_line(&mut typed) {
        Ok(_) if typed.trim() == path => Ok(()),
        Ok(_) | Err(_) => kept("its path was not typed"),
    }
}

/// The longest answer that is read.
const TYPED_BYTES_MAX: u64 = 4_096;

fn pins_of(path: &str) -> String {
    format!("/v1/{path}/kms-service-api/iaca-pins")
}

fn print_pins(output: &mut Output, client: &Client, answer: &Value) {
    if client.json {
        output.line(answer);
        return;
    }
    let members = ["subject", "source", "notBefore", "notAfter", "pinnedAt"];
    let row = |pin: &Value| members.map(|member| text(pin, member)).to_vec();
    let rows: Vec<_> = answer.as_array().into_iter().flatten().map(row).collect();
    output.text(table(&["SUBJECT", "SOURCE", "NOT BEFORE", "NOT AFTER", "PINNED AT"], &rows));
}

/// Prints one key or a list of keys.
fn print_keys(output: &mut Output, client: &Client, answer: &Value) {
    if client.json {
        output.line(answer);
        return;
    }
    let one = std::slice::from_ref(answer);
    let keys = answer.as_array().map_or(one, Vec::as_slice);
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            vec![
                text(key, "keyIdPath"),
                text(key, "keyType"),
                text(key, "backend"),
                text(&key["key"]["jwk"], "kid"),
            ]
        })
        .collect();
    output.text(table(&["KEY", "TYPE", "BACKEND", "THUMBPRINT"], &rows));
}
