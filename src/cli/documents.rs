//! `chancery completions` and `chancery man`: what packages install beside the program.

use std::{io, path::Path, process::ExitCode};

use clap::Command;
use clap_complete::Shell;

use super::fail;

/// Writes a shell's completions to standard output.
pub(super) fn completions(mut command: Command, shell: Shell) -> ExitCode {
    clap_complete::generate(shell, &mut command, "chancery", &mut io::stdout());
    ExitCode::SUCCESS
}

/// Writes one man page for each subcommand into a directory.
pub(super) fn man(command: Command, directory: &Path) -> ExitCode {
    match clap_mangen::generate_to(command, directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("{}: {error}", directory.display())),
    }
}
