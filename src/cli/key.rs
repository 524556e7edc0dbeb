//! `chancery key`: keys of a KMS service.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{Client, Connection, Failure, table, text},
    output::Output,
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
        /// As PEM.
        #[arg(long)]
        pem: bool,
    },
    /// Delete a key from the HSM. It cannot be brought back.
    Delete {
        /// Full path of the key.
        path: String,
        /// Even while a valid CA certificate uses it.
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
            Action::Delete { path, force } => {
                let query = if force { "?force=true" } else { "" };
                let answer = client.send("DELETE", &format!("{}{query}", route(&path)), None)?;
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

/// One key, or a list of them.
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
