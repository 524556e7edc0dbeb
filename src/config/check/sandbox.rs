//! The sandbox of a PKCS#11 module: which files it may use, and that no secret of another part is among them.

use std::path::{Path, PathBuf};

use super::{Check, RawToken, raw::RawSandbox};
use crate::hsm::{MEMORY_MAX_MB_DEFAULT, Network, Sandbox, SandboxLevel, TokenConfig};

/// The environment variable with SoftHSM's configuration file, and the setting for its token directory
/// (softhsm2.conf(5)).
const SOFTHSM_CONF: (&str, &str) = ("SOFTHSM2_CONF", "directories.tokendir");

impl Check<'_> {
    /// Must be called before `environment` is taken out of `raw`.
    pub(super) fn sandbox(&mut self, place: &str, raw: &RawToken) -> Sandbox {
        let RawSandbox { level, required, network, read, write, memory_max_mb } = &raw.sandbox;
        let level = match level.as_deref() {
            None | Some("full") => SandboxLevel::Full,
            Some("basic") => SandboxLevel::Basic,
            Some("off") => SandboxLevel::Off,
            Some(other) => {
                self.problem(format!(
                    "{place}: sandbox.level is '{other}', not full, basic or off"
                ));
                SandboxLevel::Full
            }
        };
        let network = match network.as_deref() {
            None => None,
            Some("none") => Some(Network::None),
            Some("local") => Some(Network::Local),
            Some("any") => Some(Network::Any),
            Some(other) => {
                self.problem(format!(
                    "{place}: sandbox.network is '{other}', not none, local or any"
                ));
                None
            }
        };
        let memory_max_mb = memory_max_mb.unwrap_or(MEMORY_MAX_MB_DEFAULT);
        if !(64..=1_048_576).contains(&memory_max_mb) {
            self.problem(format!(
                "{place}: sandbox.memory_max_mb is {memory_max_mb}, not 64 to 1048576"
            ));
        }
        let absolute = |paths: &[String]| -> Vec<_> {
            paths.iter().map(|path| self.directory.join(path)).collect()
        };
        let mut write = absolute(write);
        write.extend(self.softhsm_tokens(raw));
        let required = required.unwrap_or(true);
        Sandbox { level, required, network, read: absolute(read), write, memory_max_mb }
    }

    fn softhsm_tokens(&self, raw: &RawToken) -> Option<PathBuf> {
        let (variable, setting) = SOFTHSM_CONF;
        let path = raw.environment_paths.get(variable).or(raw.environment.get(variable))?;
        let text = std::fs::read_to_string(self.directory.join(path)).ok()?;
        let value = text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == setting).then_some(value.trim())
        })?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    }

    /// Checks that no sandbox includes one of `secrets`, each given with its setting, or the PIN of another token.
    pub(super) fn nothing_shown(&mut self, tokens: &[TokenConfig], secrets: &[(&str, &Path)]) {
        for token in tokens.iter().filter(|token| token.sandbox.level == SandboxLevel::Full) {
            let others = tokens.iter().filter(|other| other.name != token.name);
            let pins = others.map(|other| ("a token's pin_file", other.pin_file.as_path()));
            let values = token.environment.values().map(String::as_str);
            let (read, write) = token.sandbox.paths(&token.module, values);
            let mut shown = Vec::new();
            for (setting, secret) in secrets.iter().copied().chain(pins) {
                let holds = |path: &&PathBuf| real(secret).starts_with(real(path));
                if let Some(path) = read.iter().chain(&write).find(holds) {
                    let (name, path) = (&token.name, path.display());
                    shown.push(format!(
                        "tokens '{name}': its module would see {path}, and with it {setting}"
                    ));
                }
            }
            self.problems.extend(shown);
        }
    }
}

/// Resolves symbolic links in the part of the path that exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        (Some(_) | None, _) => path.to_owned(),
    })
}
