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

use super::client::{Client, Connection, Failure};

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
                    show(&client, &report);
                    ExitCode::from(u8::from(!report.is_ready()))
                }
                Err(failure) => not_asked(&failure),
            },
            Some(seconds) => watch(&client, Duration::from_secs(seconds)),
        }
    }
}

fn not_asked(failure: &Failure) -> ExitCode {
    eprintln!("chancery: {}", failure.words());
    ExitCode::from(2)
}

/// A daemon that is gone for a while is waited for: that is what is being watched.
fn watch(client: &Client, pause: Duration) -> ! {
    let mut before: Option<Report> = None;
    loop {
        let asked = ask(client);
        if io::stdout().is_terminal() && !client.json {
            print!("{CLEAR}");
        }
        match asked {
            Ok(mut report) => {
                report.compare(before.as_ref());
                show(client, &report);
                before = Some(report);
            }
            Err(failure) => println!("{}", failure.words()),
        }
        thread::sleep(pause);
    }
}

fn show(client: &Client, report: &Report) {
    if client.json {
        println!("{}", report.to_json());
    } else {
        print!("{}", text::render(report));
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
