//! `chancery status`: the status of a running daemon, from `GET /v1/status`.

mod report;
mod text;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;
use report::Report;
use serde_json::{Value, json};

use super::{
    client::{Client, Connection, Failure, message, success},
    output::{Output, complain},
};
use crate::http::wire::status::StatusBody;

/// Show the status of a running daemon: tokens, ledger, certificates, jobs, warnings. Exit codes: 0 ready or
/// degraded, 1 not ready, 2 it could not be asked. Without a grant of `ops:read`, only the checks and the
/// warnings are shown.
#[derive(Args)]
pub(super) struct Status {
    /// Repeat every SECONDS seconds until interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watch: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

/// Moves the cursor to the top left, and clears all below it.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

impl Status {
    /// Runs the subcommand.
    pub(super) fn run(self) -> ExitCode {
        let client = match Client::new(self.connection) {
            Ok(client) => client,
            Err(failure) => return not_asked(&failure),
        };
        match self.watch {
            None => match ask(&client) {
                Ok(report) => {
                    let mut output = Output::default();
                    show(&mut output, &client, &report);
                    output.end(ExitCode::from(u8::from(!report.is_ready())))
                }
                Err(failure) => not_asked(&failure),
            },
            Some(seconds) => watch(&client, Duration::from_secs(seconds)),
        }
    }
}

fn not_asked(failure: &Failure) -> ExitCode {
    complain(failure.words());
    ExitCode::from(2)
}

/// Goes on while the daemon is away; ends when its output cannot be written.
fn watch(client: &Client, pause: Duration) -> ExitCode {
    let mut before: Option<Report> = None;
    let mut output = Output::default();
    while !output.has_failed() {
        let asked = ask(client);
        if io::stdout().is_terminal() && !client.json {
            output.text(CLEAR);
        }
        match asked {
            Ok(mut report) => {
                report.compare(before.as_ref());
                show(&mut output, client, &report);
                before = Some(report);
            }
            Err(failure) => output.line(failure.words()),
        }
        if !output.has_failed() {
            thread::sleep(pause);
        }
    }
    output.end(ExitCode::SUCCESS)
}

fn show(output: &mut Output, client: &Client, report: &Report) {
    if client.json {
        output.line(report.to_json());
    } else {
        output.text(text::render(report));
    }
}

fn ask(client: &Client) -> Result<Report, Failure> {
    let (code, text) = client.ask("GET", "/v1/status", None)?;
    if code.is_success() {
        let body = serde_json::from_str(&text).map_err(|error| {
            Failure::Refused(format!("the answer is not that of this version: {error}"))
        })?;
        return Ok(Report::new(client.url(), body, None));
    }
    // Any client may read these two.
    let health = success(client.ask("GET", "/healthz", None)?)?;
    let (_, readiness) = client.ask("GET", "/readyz", None)?;
    let mut body: Value = serde_json::from_str(&readiness).unwrap_or_default();
    body["version"] = health["version"].clone();
    body["warnings"] = health.get("warnings").cloned().unwrap_or_else(|| json!([]));
    let body: StatusBody = serde_json::from_value(body).unwrap_or_default();
    Ok(Report::new(client.url(), body, Some(message(&text))))
}
