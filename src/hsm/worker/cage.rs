//! The signer locks itself in before the module is loaded: the vendor's code never runs outside.
//!
//! Threads inherit what their maker has given up, so all of this happens while there is one thread.

use std::{fs, path::Path};

use rustix::{
    process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit},
    thread::{set_name, set_no_new_privs},
};

use super::raw;
use crate::hsm::{
    fault::{Class, Fault},
    sandbox::{Cage, DESCRIPTORS_MAX, SandboxLevel},
};

mod calls;
mod files;

/// What needs no configuration; for the first moments of the process. Of the descriptors that the daemon
/// was started with, some may be there still, as those that systemd passes are (sd_listen_fds(3)). Frozen before its login, it still
/// ends with the front: that wakes it, to read the end of its socket. Its name in process lists would be
/// that of the link it was started by.
pub(super) fn enter() {
    if let Err(error) = raw::close_inherited() {
        tracing::warn!("cage: what the daemon was started with is open here, too: {error}");
    }
    for (what, done) in [
        ("end with the front", set_parent_process_death_signal(Some(Signal::CONT))),
        ("no new privileges", set_no_new_privs(true)),
        ("name", set_name(c"chancery-signer")),
    ] {
        if let Err(error) = done {
            tracing::warn!("cage: {what}: {error}");
        }
    }
}

/// Dies with the front from now on, also when it is frozen. Not before the login: SoftHSM writes its
/// token anew at each, in place, and a process that is killed meanwhile leaves a token that is none.
pub(super) fn die_with_the_front() {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::warn!("cage: death with the front: {error}");
    }
}

/// Shuts the door, as far as this kernel can, and says how far that is.
///
/// # Errors
/// [`Fault`] of configuration class when a fence is missing that has to be there.
pub(super) fn close(cage: &Cage) -> Result<(), Fault> {
    let mut active = Vec::new();
    let mut missing = Vec::new();
    let mut layer = |result: Result<String, String>| match result {
        Ok(words) => active.push(words),
        Err(words) => missing.push(words),
    };
    layer(limit_memory(cage.memory_max_mb));
    layer(limit_descriptors());
    match cage.level {
        SandboxLevel::Off => {}
        SandboxLevel::Basic => layer(calls::filter(cage.network)),
        SandboxLevel::Full => {
            layer(files::fence(cage));
            // Last: what it denies might be needed for the others.
            layer(calls::filter(cage.network));
        }
    }
    tracing::info!("cage: no new privileges, no dumps, {}", active.join(", "));
    if cage.level == SandboxLevel::Off {
        tracing::warn!("cage: the sandbox is off: the module can do what the service can");
    }
    for words in &missing {
        tracing::warn!("cage: missing: {words}");
    }
    if missing.is_empty() || !cage.required {
        return Ok(());
    }
    let words = format!(
        "the module is not loaded, its cage is not whole: {}; a lower sandbox.level, or \
         sandbox.required = false, would do without",
        missing.join("; ")
    );
    Err(Fault::ours(Class::Configuration, "close cage", words))
}

/// Words for the operator when a caged module cannot find what it needs.
pub(super) fn hint(cage: &Cage, module: &Path) -> Option<String> {
    (cage.level == SandboxLevel::Full).then(|| {
        format!(
            "{} sees only what its sandbox allows (sandbox.read, sandbox.write, sandbox.network)",
            module.display()
        )
    })
}

/// A service manager may forbid to set limits, after it has set one of its own.
fn limit_memory(mb: u64) -> Result<String, String> {
    let octets = Some(mb.saturating_mul(1 << 20));
    match setrlimit(Resource::Data, Rlimit { current: octets, maximum: octets }) {
        Ok(()) => Ok(format!("memory {mb} MiB")),
        Err(error) => given_limit("Max data size")
            .map(|octets| format!("memory {} MiB, as the service has it", octets >> 20))
            .ok_or_else(|| format!("memory limit: {error}")),
    }
}

/// More than this one has would be refused; it has less then.
fn limit_descriptors() -> Result<String, String> {
    let number = Some(DESCRIPTORS_MAX);
    match setrlimit(Resource::Nofile, Rlimit { current: number, maximum: number }) {
        Ok(()) => Ok(format!("{DESCRIPTORS_MAX} descriptors")),
        Err(error) => given_limit("Max open files")
            .map(|number| format!("{number} descriptors, as the service has it"))
            .ok_or_else(|| format!("descriptor limit: {error}")),
    }
}

/// getrlimit(2) is the same system call as setrlimit(2), and as forbidden.
fn given_limit(name: &str) -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = |line: &str| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok();
    limits.lines().find_map(soft)
}
