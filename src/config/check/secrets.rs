//! Files that hold a secret: that they are there, and for nobody else.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Check;

/// What the unit gives as a credential whose file is missing (`SetCredential=` in `chancery.service`); the
/// path of the file follows. systemd itself would refuse the start without saying which file it is.
const MISSING: &str = "chancery-missing:";
/// Longest path that is read after it (`PATH_MAX`).
const PATH_BYTES_MAX: u64 = 4_096;

impl Check<'_> {
    /// A file with a secret, that must be readable when the daemon starts.
    pub(super) fn secret(&mut self, setting: &str, value: &str) -> PathBuf {
        let problems = self.problems.len();
        let path = self.file(setting, value);
        if self.problems.len() > problems || path.is_relative() {
            return path;
        }
        if let Some(missing) = missing(&path) {
            self.problem(format!(
                "{setting}: {missing} is missing, which the unit gives as {value}"
            ));
        }
        // systemd gives credentials to the service alone, by means that a mode does not show.
        let is_given =
            value.starts_with("credential:") && std::env::var_os("CREDENTIALS_DIRECTORY").is_some();
        if !is_given && let Some(others) = readers(&path) {
            self.warnings.push(format!(
                "{setting}: {} can be read by {others}; chmod it to 0600, or to 0640 with a group of \
                 the service alone",
                path.display()
            ));
        }
        path
    }
}

/// The file that a credential stands for and that is not there.
fn missing(path: &Path) -> Option<String> {
    let mut head = String::new();
    let limit = PATH_BYTES_MAX + MISSING.len() as u64;
    File::open(path).ok()?.take(limit).read_to_string(&mut head).ok()?;
    Some(head.strip_prefix(MISSING)?.trim().to_owned())
}

/// Who can read or change a file beside its owner. root's file may be there for a group, as the one of the
/// service, when that is not root's own.
fn readers(path: &Path) -> Option<String> {
    let is = fs::metadata(path).ok()?;
    let mode = is.mode() & 0o777;
    let is_for_a_group = is.uid() == 0 && is.gid() != 0 && mode & 0o020 == 0;
    let words = match mode {
        _ if mode & 0o007 != 0 => "everybody on this machine",
        _ if mode & 0o070 != 0 && !is_for_a_group => "its group",
        _ => return None,
    };
    Some(format!("{words} (mode {mode:04o})"))
}
