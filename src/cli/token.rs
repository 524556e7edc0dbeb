//! `chancery token`: which token belongs to a configured name.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::fail;
use crate::{app, config::Config};

/// Say which token belongs to a configured name.
#[derive(Args)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Accept another token in place of the one on record, after an HSM was replaced. The daemon must not
    /// be running. Its log and status name the serial number that it found.
    Accept {
        /// The name of the token in the configuration.
        name: String,
        /// The serial number of the new token.
        #[arg(long)]
        serial: String,
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

impl Token {
    /// Runs the subcommand.
    pub(super) fn run(self) -> ExitCode {
        let Action::Accept { name, serial, config } = self.action;
        let config = match Config::load_without_credentials(&config) {
            Ok(config) => config,
            Err(error) => return fail(error),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(error),
        };
        match runtime.block_on(app::accept_token(&config, &name, &serial)) {
            Ok(before) => {
                let before = before.unwrap_or_else(|| "none".to_owned());
                println!("token {name}: serial {serial} from now on; on record before: {before}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(error),
        }
    }
}
