//! `chancery cert`: certificates that a service issued.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    client::{Client, Connection, Failure, table, text},
    output::Output,
};

/// List and show certificates that a running daemon issued.
#[derive(Args)]
pub(super) struct Cert {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Action {
    /// List the certificates of an x509 service, newest first.
    List {
        /// Path of the x509 service, such as acme.dmv.x509.
        service: String,
        /// iaca, iaca-link, document-signer or generic.
        #[arg(long = "of", value_name = "PROFILE")]
        of: Option<String>,
        /// valid, not-yet-valid, expired or revoked.
        #[arg(long)]
        status: Option<String>,
        /// Exact common name of the subject.
        #[arg(long, value_name = "NAME")]
        common_name: Option<String>,
        /// Full path of the key that signed the certificate or that it certifies.
        #[arg(long, value_name = "PATH")]
        key_path: Option<String>,
        /// The largest number of certificates to list.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one certificate.
    Show {
        /// Path of the x509 service.
        service: String,
        /// Serial number, hexadecimal. Also accepted: 0x before it, and colons, blanks or hyphens between the
        /// digits, as other programs print it.
        serial: String,
        /// Print the certificate alone, as PEM.
        #[arg(long)]
        pem: bool,
    },
}

impl Cert {
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
        match self.action {
            Action::List { service, of, status, common_name, key_path, limit } => {
                let filters = [
                    ("profile", of),
                    ("status", status),
                    ("subjectCommonName", common_name),
                    ("keyIdPath", key_path),
                ];
                let items = list(&client, &service, &filters, limit)?;
                print_list(output, &client, items);
            }
            Action::Show { service, serial, pem } => {
                let path = format!("{}/{}", route(&service), serial_hex(&serial));
                let certificate = client.send("GET", &path, None)?;
                if client.json {
                    output.line(certificate);
                } else if pem {
                    output.text(text(&certificate, "certificatePEM"));
                } else {
                    print_one(output, &certificate);
                }
            }
        }
        Ok(())
    }
}

/// Removes prefix and separators. What else is wrong, the daemon reports.
fn serial_hex(given: &str) -> String {
    let given = given.trim();
    let digits = given.strip_prefix("0x").or(given.strip_prefix("0X")).unwrap_or(given);
    let digits: String =
        digits.chars().filter(|c| !matches!(c, ':' | '-') && !c.is_whitespace()).collect();
    url::form_urlencoded::byte_serialize(digits.as_bytes()).collect()
}

const PAGE_MAX: usize = 500;

fn route(service: &str) -> String {
    format!("/v1/{service}/x509-service-api/certificates")
}

fn list(
    client: &Client,
    service: &str,
    filters: &[(&str, Option<String>)],
    limit: usize,
) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    while items.len() < limit {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in filters {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.append_pair("limit", &(limit - items.len()).min(PAGE_MAX).to_string());
        if let Some(cursor) = &cursor {
            query.append_pair("cursor", cursor);
        }
        let path = format!("{}?{}", route(service), query.finish());
        let mut page = client.send("GET", &path, None)?;
        if let Some(page_items) = page["items"].as_array_mut() {
            items.append(page_items);
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    Ok(items)
}

fn print_list(output: &mut Output, client: &Client, items: Vec<Value>) {
    if client.json {
        output.line(Value::Array(items));
        return;
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            ["serial", "profile", "status", "notAfter", "subject"]
                .map(|member| text(item, member))
                .to_vec()
        })
        .collect();
    output.text(table(&["SERIAL", "PROFILE", "STATUS", "NOT AFTER", "SUBJECT"], &rows));
}

fn print_one(output: &mut Output, certificate: &Value) {
    let members = certificate.as_object().into_iter().flatten();
    for (name, value) in members.filter(|(name, _)| *name != "certificatePEM") {
        match value {
            Value::Array(values) => {
                let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
                output.line(format_args!("{name:22} {}", values.join(" ")));
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => {
                output.line(format_args!("{name:22} {}", text(certificate, name)));
            }
        }
    }
    output.text(text(certificate, "certificatePEM"));
}
