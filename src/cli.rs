//! The command line: one file for each subcommand.

mod cert;
mod check;
mod client;
mod documents;
mod key;
mod logging;
mod memory;
mod output;
mod recovery;
mod serve;
mod signer;
mod status;
mod token;

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
        /// Begin a new ledger although an earlier one has disappeared. Its serial numbers, certificates, stores,
        /// pins and audit log are lost. Restore a backup instead if there is one.
        #[arg(long)]
        new_ledger: bool,
    },
    /// Report every problem of a configuration, and sign with each configured key.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Check the configuration file only: read no credential, use no token.
        #[arg(long)]
        config_only: bool,
    },
    /// Write a backup of the ledger and read it back. The daemon may be running.
    Backup {
        /// The new file; an existing file is not overwritten.
        file: PathBuf,
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Restore the ledger from a backup. No ledger may exist and no daemon may run. First checks that
    /// the keys of all CAs are on the tokens.
    Restore {
        /// The backup.
        file: PathBuf,
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Do not check the keys.
        #[arg(long)]
        without_hsm: bool,
    },
    Key(key::Key),
    Cert(cert::Cert),
    Status(status::Status),
    Token(token::Token),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages.
    Man {
        /// The directory that they are written to.
        directory: PathBuf,
    },
    /// Sign for the daemon. Only the daemon starts this.
    #[command(hide = true)]
    Signer,
}

/// Runs the subcommand of the arguments.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve { config, dev, new_ledger } => serve::run(&config, dev, new_ledger),
        Command::Check { config, config_only } => check::run(&config, config_only),
        Command::Backup { file, config } => recovery::backup(&file, &config),
        Command::Restore { file, config, without_hsm } => {
            recovery::restore(&file, &config, without_hsm)
        }
        Command::Key(key) => key.run(),
        Command::Cert(cert) => cert.run(),
        Command::Status(status) => status.run(),
        Command::Token(token) => token.run(),
        Command::Completions { shell } => documents::completions(Arguments::command(), shell),
        Command::Man { directory } => documents::man(Arguments::command(), &directory),
        Command::Signer => signer::run(),
    }
}

/// Reports why a subcommand fails.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    output::complain(error);
    ExitCode::FAILURE
}
