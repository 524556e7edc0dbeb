//! Restrictions of a signer process: as configured, and as they are sent to the signer.

use std::{
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::TokenConfig;

/// Default limit of a signer process's private memory, in MiB.
pub const MEMORY_MAX_MB_DEFAULT: u64 = 1_024;

/// Limit of a signer process's open descriptors.
pub(super) const DESCRIPTORS_MAX: u64 = 1_024;

/// The configured restrictions of a token's signer processes. Independent of them, a signer gets no more
/// privileges, leaves no core dump, cannot be traced, and dies with the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Which restrictions apply.
    pub level: SandboxLevel,
    /// Whether all of them have to be in force. Where the kernel or the service manager denies one, the
    /// module is not loaded; else the log says what is missing.
    pub required: bool,
    /// What the module may connect to. `None` means [`Network::Local`] when its environment names a local
    /// socket, else [`Network::None`].
    pub network: Option<Network>,
    /// Files and directories that the module may read, in addition to libraries, a few files of the system
    /// and the files in its environment.
    pub read: Vec<PathBuf>,
    /// Files and directories that the module may change, in addition to the directories in its environment.
    pub write: Vec<PathBuf>,
    /// Limit of a process's private memory, in MiB.
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

/// The levels of restriction.
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
    /// Local sockets (`AF_UNIX`) as of p11-kit and D-Bus. Any that the service's user may connect to, because
    /// neither seccomp nor Landlock can restrict their paths.
    Local,
    /// Local sockets and IP, for network HSMs.
    Any,
}

/// [`Sandbox`] with all defaults and paths resolved.
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
    /// The paths that a module with this environment may read, and those it may change, without those of the
    /// system.
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
                // Devices and sockets have to be configured.
                Ok(_) | Err(_) => {}
            }
        }
        (read, write)
    }
}

impl Cage {
    /// Resolved for the signers of a token now.
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

/// A socket address as p11-kit and D-Bus write it (`unix:path=/run/…`), or the path of a socket.
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
