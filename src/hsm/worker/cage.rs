//! The sandbox of a signer, entered before the module is loaded, so that none of the vendor's code runs
//! outside of it.
//!
//! All of it happens while the process has one thread, because threads inherit the restrictions of the thread
//! that creates them.

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

/// Restrictions without configuration, at the start of the process. Descriptors that systemd passed to the
/// daemon (sd_listen_fds(3)) may still be open, so they are closed. The death signal before the login is
/// SIGCONT, which wakes a stopped signer so that it sees the end of its socket. The process is named, because
/// its name would be that of the link by which it was started.
pub(super) fn enter() {
    if let Err(error) = raw::close_inherited() {
        tracing::warn!("cage: descriptors of the daemon stay open: {error}");
    }
    for (what, done) in [
        ("wake at the death of the daemon", set_parent_process_death_signal(Some(Signal::CONT))),
        ("no new privileges", set_no_new_privs(true)),
        ("name", set_name(c"chancery-signer")),
    ] {
        if let Err(error) = done {
            tracing::warn!("cage: {what}: {error}");
        }
    }
}

/// From now on the signer is killed when the front dies, even while it is stopped. Not before the login,
/// because SoftHSM rewrites its token in place at each login and a kill in that moment destroys the token.
pub(super) fn die_with_the_front() {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::warn!("cage: kill at the death of the daemon: {error}");
    }
}

/// Enters the sandbox as far as the kernel supports it, and logs how far that is.
///
/// # Errors
/// [`Fault`] of configuration class when a restriction is missing that is required.
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
            // Last, because it might deny what the others need.
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

/// A hint for the operator when a sandboxed module cannot find what it needs.
pub(super) fn hint(cage: &Cage, module: &Path) -> Option<String> {
    (cage.level == SandboxLevel::Full).then(|| {
        format!(
            "{} sees only what its sandbox allows (sandbox.read, sandbox.write, sandbox.network)",
            module.display()
        )
    })
}

/// A service manager that forbids setting limits has set one of its own.
fn limit_memory(mb: u64) -> Result<String, String> {
    let octets = Some(mb.saturating_mul(1 << 20));
    match setrlimit(Resource::Data, Rlimit { current: octets, maximum: octets }) {
        Ok(()) => Ok(format!("memory {mb} MiB")),
        Err(error) => given_limit("Max data size")
            .map(|octets| format!("memory {} MiB, as the service has it", octets >> 20))
            .ok_or_else(|| format!("memory limit: {error}")),
    }
}

/// Raising the limit beyond the inherited one is refused; then the inherited one holds.
fn limit_descriptors() -> Result<String, String> {
    let number = Some(DESCRIPTORS_MAX);
    match setrlimit(Resource::Nofile, Rlimit { current: number, maximum: number }) {
        Ok(()) => Ok(format!("{DESCRIPTORS_MAX} descriptors")),
        Err(error) => given_limit("Max open files")
            .map(|number| format!("{number} descriptors, as the service has it"))
            .ok_or_else(|| format!("descriptor limit: {error}")),
    }
}

/// Read from /proc, because getrlimit(2) is the same system call as setrlimit(2) and denied with it.
fn given_limit(name: &str) -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = |line: &str| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok();
    limits.lines().find_map(soft)
}
