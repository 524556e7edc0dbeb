//! One file per subcommand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod signer;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Internal: the child process that holds one token's PKCS#11 module.
    #[command(hide = true)]
    Signer,
}

/// Parses the arguments and runs the subcommand.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Signer => signer::run(),
    }
}
