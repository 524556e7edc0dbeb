//! `chancery completions` and `chancery man`: shell completions and man pages, which packages install.

use std::{fs, io, path::Path, process::ExitCode};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{fail, output};

/// How to get from an installed package to a first certificate. Indented lines are commands.
const GETTING_STARTED: &str = include_str!("getting_started.txt");

/// Writes a shell's completions to standard output.
pub(super) fn completions(mut command: Command, shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "chancery", &mut script);
    output::print(String::from_utf8_lossy(&script))
}

/// The configuration file that explains every setting.
const CONFIGURATION: &str = include_str!("../../config/chancery.toml");

/// Writes man pages into a directory: one for the program, one for each subcommand, one for the configuration.
pub(super) fn man(command: Command, directory: &Path) -> ExitCode {
    let pages = clap_mangen::generate_to(command.clone(), directory)
        .and_then(|()| fs::write(directory.join("chancery.1"), first_page(command)?))
        .and_then(|()| fs::write(directory.join("chancery.toml.5"), configuration_page()));
    match pages {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("{}: {error}", directory.display())),
    }
}

/// Renders the page of the program, with a section on how to begin before the options.
fn first_page(mut command: Command) -> io::Result<Vec<u8>> {
    command.build();
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    getting_started().to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// Renders the page of the configuration: the configuration file with its comments.
fn configuration_page() -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["chancery.toml", "5", env!("CARGO_PKG_VERSION"), "chancery"])
        .control("SH", ["NAME"])
        .text([roman("chancery.toml - configuration of chancery(1)")])
        .control("SH", ["SETTINGS"])
        .control("EX", []);
    for line in CONFIGURATION.lines() {
        roff.text([roman(line)]);
    }
    roff.control("EE", [])
        .control("SH", ["SEE ALSO"])
        .text([roman("chancery(1), chancery-check(1)")]);
    roff.render()
}

fn getting_started() -> Roff {
    let mut roff = Roff::new();
    let mut is_example = false;
    for line in GETTING_STARTED.lines() {
        let command = line.strip_prefix("    ");
        if command.is_some() != is_example && !line.is_empty() {
            is_example = command.is_some();
            roff.control(if is_example { "EX" } else { "EE" }, []);
        }
        match (command, line) {
            (Some(command), _) => roff.text([roman(command)]),
            (None, "GETTING STARTED") => roff.control("SH", ["GETTING STARTED"]),
            (None, "") => roff.control("PP", []),
            (None, text) => roff.text([roman(text)]),
        };
    }
    if is_example {
        roff.control("EE", []);
    }
    roff
}
