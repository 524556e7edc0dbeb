//! The command line: one file for each subcommand.

mod cert;
mod check;
mod client;
mod documents;
mod key;
mod logging;
mod memory;
mod serve;
mod signer;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

/// An on-prem signing appliance: X.509 certificates whose private keys never leave an HSM.
#[derive(Parser)]
#[command(name = "chancery", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or SIGINT.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Accept private JWKs as signing keys. Never in production.
        #[arg(long)]
        dev: bool,
    },
    /// Report every problem of a configuration, and make a signature with each configured key.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    Key(key::Key),
    Cert(cert::Cert),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages.
    Man {
        /// Where to.
        directory: PathBuf,
    },
    /// Sign for a serving chancery; started by it, never by hand.
    #[command(hide = true)]
    Signer,
}

/// Runs what the arguments ask for.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve { config, dev } => serve::run(&config, dev),
        Command::Check { config } => check::run(&config),
        Command::Key(key) => key.run(),
        Command::Cert(cert) => cert.run(),
        Command::Completions { shell } => documents::completions(Arguments::command(), shell),
        Command::Man { directory } => documents::man(Arguments::command(), &directory),
        Command::Signer => signer::run(),
    }
}

/// Says why a subcommand ends, where a person or the journal reads it.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("chancery: {error}");
    ExitCode::FAILURE
}
