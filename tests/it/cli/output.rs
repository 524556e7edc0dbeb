//! Where the command line writes may be gone or full.

use std::{
    fs::{self, File},
    process::{Command, Output, Stdio},
};

use super::set_up;
use crate::appliance::{Appliance, KMS, SERVICE, binary, documented};

/// Every subcommand that prints, in each of its forms.
const PRINTING: &[&[&str]] = &[
    &["key", "list", KMS],
    &["key", "list", KMS, "--json"],
    &["key", "show", "test.tenant1.kms1.secp256r1"],
    &["key", "show", "test.tenant1.kms1.secp256r1", "--pem"],
    &["cert", "list", SERVICE],
    &["cert", "list", SERVICE, "--json"],
    &["cert", "show", SERVICE, "SERIAL"],
    &["cert", "show", SERVICE, "SERIAL", "--json"],
    &["cert", "show", SERVICE, "SERIAL", "--pem"],
    &["status"],
    &["status", "--json"],
    &["status", "--watch", "1"],
    &["check", "--config", "CONFIG"],
    &["check", "--config-only", "--config", "CONFIG"],
    &["backup", "BACKUP", "--config", "CONFIG"],
    &["completions", "bash"],
    &["completions", "zsh"],
    &["completions", "fish"],
];

/// The end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A disk that is full.
fn full() -> Stdio {
    File::create("/dev/full").unwrap().into()
}

struct Case<'a> {
    appliance: &'a Appliance,
    serial: String,
}

impl Case<'_> {
    fn run(&self, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
        let path = |name: &str| self.appliance.path(name).display().to_string();
        let backup = path("backup.sqlite");
        let _ = fs::remove_file(&backup);
        let arguments = arguments.iter().map(|word| match *word {
            "SERIAL" => self.serial.clone(),
            "CONFIG" => path("chancery.toml"),
            "BACKUP" => backup.clone(),
            word => word.to_owned(),
        });
        let mut command = Command::new(binary());
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // The profile of whoever types.
        command.env("HOME", self.appliance.path("home"));
        command.output().unwrap()
    }
}

#[test]
fn a_reader_that_leaves_and_a_disk_that_is_full_end_every_command_as_a_unix_tool_ends() {
    let appliance = Appliance::new();
    let daemon = set_up(&appliance);
    daemon.wait_until_ready();
    appliance.shell(
        "mkdir -p home/.config/chancery; sed \"s|pki/|$PWD/pki/|\" client.toml \
         >home/.config/chancery/client.toml",
    );
    let issued = daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();
    let serial = issued.header("chancery-serial").unwrap().to_owned();
    let case = Case { appliance: &appliance, serial };
    let mut wrong = Vec::new();
    for arguments in PRINTING {
        for (name, stdout, code, words) in [
            ("gone", closed(), 141, ""),
            ("full", full(), 5, "chancery: standard output: No space left on device"),
        ] {
            let output = case.run(arguments, stdout, Stdio::piped());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let is_right = output.status.code() == Some(code)
                && said.starts_with(words)
                && said.lines().count() == usize::from(!words.is_empty());
            if !is_right {
                wrong.push(format!("{arguments:?} {name}: {:?} {said}", output.status));
            }
        }
        // And where nobody reads the complaint either.
        let output = case.run(arguments, full(), closed());
        if output.status.code() != Some(5) {
            wrong.push(format!("{arguments:?} both: {:?}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    daemon.stop();
}

#[test]
fn an_error_that_nobody_can_read_keeps_its_exit_code() {
    let appliance = Appliance::new();
    appliance.declare("nonsense = 1");
    let case = Case { appliance: &appliance, serial: String::new() };
    let missing = ["--url", "https://localhost:1", "--cacert", "/none", "--cert", "/none"];
    for (arguments, code) in [
        (&["check", "--config", "CONFIG"][..], 1),
        (&["check", "--config-only", "--config", "CONFIG"], 1),
        (&["serve", "--config", "CONFIG"], 1),
        (&["backup", "BACKUP", "--config", "CONFIG"], 1),
        (&["restore", "BACKUP", "--without-hsm", "--config", "CONFIG"], 1),
        (&["man", "/none/such"], 1),
        (&["key", "list", KMS], 4),
        (&[&["key", "list", KMS][..], &missing].concat(), 4),
        (&["status"], 2),
        (&["key"], 2),
    ] {
        for stderr in [closed(), full()] {
            let output = case.run(arguments, Stdio::piped(), stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        }
    }
}
