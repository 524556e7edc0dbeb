//! What a signer process may do beside signing: as configured, and as it is told to the signer.

use std::{
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::TokenConfig;

/// Private memory of a signer process unless configured, in MiB.
pub const MEMORY_MAX_MB_DEFAULT: u64 = 1_024;

/// Descriptors that a signer process may have open.
pub(super) const DESCRIPTORS_MAX: u64 = 1_024;

/// How far the signer processes of a token are fenced in. Whatever is set here, a signer has no way
/// to more privileges, leaves no core dump, cannot be traced, and dies with the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Which fences.
    pub level: SandboxLevel,
    /// Whether all of them must stand: where the kernel or the service manager denies one, the module is
    /// not loaded. Else the log says what is missing.
    pub required: bool,
    /// What the module may connect to; `None`: [`Network::Local`] when its environment names a socket
    /// of this machine, else [`Network::None`].
    pub network: Option<Network>,
    /// Files and directories that the module may read, beside libraries, a few files of the system
    /// and the files that its environment names.
    pub read: Vec<PathBuf>,
    /// Files and directories that the module may change, beside the directories that its environment
    /// names.
    pub write: Vec<PathBuf>,
    /// Private memory that a process may have, in MiB.
    pub memory_max_mb: u64,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            level: SandboxLevel::Full,
            required: true,
            network: None,
            read: Vec::new(),
            write: Vec::new(),
            memory_max_mb: MEMORY_MAX_MB_DEFAULT,
        }
    }
}

/// Which fences stand around a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxLevel {
    /// System calls (seccomp) and the file system (Landlock).
    Full,
    /// System calls alone.
    Basic,
    /// None.
    Off,
}

/// What a module may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Nothing.
    None,
    /// Sockets of this machine (`AF_UNIX`): p11-kit, D-Bus. Every one that the service's user may
    /// connect to: neither seccomp nor Landlock tells one path from another there.
    Local,
    /// These, and IP: network HSMs.
    Any,
}

/// [`Sandbox`] with nothing left to look up.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cage {
    pub(super) level: SandboxLevel,
    pub(super) required: bool,
    pub(super) network: Network,
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    pub(super) memory_max_mb: u64,
}

impl Sandbox {
    /// Every path that a module of this environment sees, beside those of the system: to read, and
    /// to change.
    pub fn paths<'a>(
        &self,
        module: &Path,
        environment: impl Iterator<Item = &'a str>,
    ) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut read, mut write) = (self.read.clone(), self.write.clone());
        read.push(module.to_owned());
        for path in environment.map(Path::new).filter(|path| path.is_absolute()) {
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => write.push(path.to_owned()),
                Ok(found) if found.is_file() => read.push(path.to_owned()),
                // Devices and sockets are named by settings or not at all.
                Ok(_) | Err(_) => {}
            }
        }
        (read, write)
    }
}

impl Cage {
    /// Around the signers of a token, as its paths are now.
    pub(super) fn around(config: &TokenConfig) -> Self {
        let Sandbox { level, required, network, memory_max_mb, .. } = config.sandbox;
        let environment = || config.environment.values().map(String::as_str);
        let (read, write) = config.sandbox.paths(&config.module, environment());
        let derived = || match environment().any(names_a_socket) {
            true => Network::Local,
            false => Network::None,
        };
        let network = network.unwrap_or_else(derived);
        Self { level, required, network, read, write, memory_max_mb }
    }
}

/// `unix:path=/run/…` as p11-kit and D-Bus write it, or the path of a socket.
fn names_a_socket(value: &str) -> bool {
    let is_socket = |path| fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    value.starts_with("unix:") || (value.starts_with('/') && is_socket(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_sees_the_files_and_may_write_the_directories_that_its_environment_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("module.conf");
        fs::write(&file, "").unwrap();
        let sandbox = Sandbox { write: vec!["/var/lib/hsm".into()], ..Sandbox::default() };
        let values =
            [file.to_str().unwrap(), directory.path().to_str().unwrap(), "/nonexistent", "7", ".."];
        let (read, write) = sandbox.paths(Path::new("/usr/lib/m.so"), values.into_iter());
        assert_eq!(read, [Path::new("/usr/lib/m.so"), &file]);
        assert_eq!(write, [Path::new("/var/lib/hsm"), directory.path()]);
    }

    #[test]
    fn an_environment_that_names_a_socket_opens_the_way_to_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(names_a_socket("unix:path=/run/p11-kit/pkcs11"));
        assert!(names_a_socket(path.to_str().unwrap()));
        assert!(!names_a_socket(directory.path().to_str().unwrap()));
        assert!(!names_a_socket("/nonexistent"));
        assert!(!names_a_socket("tabrmd:bus_type=session"));
    }
}
