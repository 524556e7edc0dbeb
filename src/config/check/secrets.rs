//! Checks of files with secrets: they must exist, and no other user may read or change them.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Check;

/// How the content of a credential begins whose file is missing: a placeholder (`SetCredential=` in
/// `chancery.service`), followed by the path of the file. Without it, systemd would refuse the start and not
/// name the file.
const MISSING: &str = "chancery-missing:";
/// The longest path after [`MISSING`] (`PATH_MAX`).
const PATH_BYTES_MAX: u64 = 4_096;

impl Check<'_> {
    /// Checks that a file with a secret is readable, and only by its owner.
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
        // The mode of a credential says nothing: systemd protects it by other means.
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

/// If a credential is the placeholder for a missing file: the path of that file.
fn missing(path: &Path) -> Option<String> {
    let mut head = String::new();
    let limit = PATH_BYTES_MAX + MISSING.len() as u64;
    File::open(path).ok()?.take(limit).read_to_string(&mut head).ok()?;
    Some(head.strip_prefix(MISSING)?.trim().to_owned())
}

/// Who beside the owner can read or change a file. A group other than root's may read a file of root's,
/// because the service may run in that group.
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
