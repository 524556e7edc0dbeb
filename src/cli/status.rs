//! `chancery status`: how a running daemon is doing, at a glance.

mod report;
mod samples;
mod text;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;
use report::Report;
use samples::Samples;
use serde_json::Value;

use super::{
    client::{Client, Connection, Failure},
    output::{Output, complain},
};

/// Show how a running daemon is doing: tokens, ledger, certificates, warnings. Exit codes: 0 ready, 1
/// not ready, 2 it could not be asked. What only `ops:read` opens is left out without that grant.
#[derive(Args)]
pub(super) struct Status {
    /// Again and again, every so many seconds, until it is interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watch: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

/// Forwards, to the top left, and everything below is blank.
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

/// A daemon that is gone for a while is waited for: that is what is being watched. Ends when nobody reads.
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
    let json = |text: &str| -> Value { serde_json::from_str(text).unwrap_or_default() };
    let (status, health) = client.ask("GET", "/healthz", None)?;
    if !status.is_success() {
        let words = json(&health)["message"].as_str().unwrap_or("no message").to_owned();
        return Err(Failure::Refused(format!("{status}: {words}")));
    }
    let (_, readiness) = client.ask("GET", "/readyz", None)?;
    let (status, page) = client.ask("GET", "/metrics", None)?;
    let samples = match status.is_success() {
        true => Ok(Samples::read(&page)),
        false => Err(json(&page)["message"].as_str().unwrap_or("no message").to_owned()),
    };
    Ok(Report::new(client.url(), &json(&health), &json(&readiness), samples))
}
