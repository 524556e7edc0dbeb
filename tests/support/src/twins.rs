//! A second token that holds the same keys.

use std::fs;

use serde_json::Value;

use crate::{
    appliance::Appliance,
    daemon::{Daemon, Frozen},
    processes::{SOON, signal, signs, until},
    requests::key_label,
};

/// The name of the first token, in the configuration and in `/readyz`.
pub const A: &str = "softhsm";
/// The name of the second token.
pub const B: &str = "other";

impl Appliance {
    /// Adds a second token, in a SoftHSM of its own.
    pub fn add_token_b(&self, settings: &str) {
        self.add_token_b_behind(
            "/usr/lib/softhsm/libsofthsm2.so",
            &format!("environment_paths = {{ SOFTHSM2_CONF = \"softhsm2-b.conf\" }}\n{settings}"),
        );
    }

    /// Adds a second token, used through any module.
    pub fn add_token_b_behind(&self, module: &str, settings: &str) {
        self.shell(
            "mkdir tokens-b; sed 's|/tokens$|/tokens-b|' softhsm2.conf >softhsm2-b.conf
             (umask 077; echo 4711471147 >pin-b); export SOFTHSM2_CONF=$PWD/softhsm2-b.conf
             softhsm2-util --init-token --free --label b --so-pin 12345678 --pin $(cat pin-b)",
        );
        self.declare(&format!(
            "[[tokens]]\nname = {B:?}\nmodule = {module:?}\nlabel = \"b\"\n\
             pin_file = \"pin-b\"\nprocesses = 2\n{settings}"
        ));
    }

    /// An appliance whose KMS uses both tokens, each with the key `twin`.
    pub fn with_twins(settings: &str) -> Self {
        Self::with_twins_added(settings, |appliance| appliance.add_token_b(settings))
    }

    /// The same, with a second token that `add_token_b` adds.
    pub fn with_twins_added(settings: &str, add_token_b: impl FnOnce(&Self)) -> Self {
        let appliance = Self::new();
        appliance.configure_token(settings);
        appliance.configure(|text| {
            text.replace("type = \"kms\"", &format!("type = \"kms\"\ntokens = [{A:?}, {B:?}]"))
        });
        add_token_b(&appliance);
        appliance.shell("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out twin");
        // The copies have different CKA_IDs.
        appliance.import_key("twin", "", "chancery-dev", "twin", "aa01");
        appliance.import_key("twin", "-b", "b", "twin", "bb02");
        appliance
    }

    /// Imports a key from a file, as a key of the KMS of the examples.
    pub fn import_key(&self, file: &str, suffix: &str, token: &str, key: &str, id: &str) {
        let label = key_label(key);
        self.shell(&format!(
            "export SOFTHSM2_CONF=$PWD/softhsm2{suffix}.conf
             softhsm2-util --import {file} --token {token} --label {label} --id {id} \
                --pin $(cat pin{suffix})"
        ));
    }

    /// Moves the directory of a token away, so that its module does not find it.
    pub fn move_away(&self, token: &str) {
        let tokens = self.path(tokens_of(token));
        fs::rename(&tokens, tokens.with_extension("aside")).unwrap();
        fs::create_dir(tokens).unwrap();
    }

    /// Moves it back.
    pub fn move_back(&self, token: &str) {
        let tokens = self.path(tokens_of(token));
        fs::remove_dir(&tokens).unwrap();
        fs::rename(tokens.with_extension("aside"), tokens).unwrap();
    }

    /// The signers of one token.
    pub fn signers_of(&self, daemon: &Daemon, token: &str) -> Vec<u32> {
        let marker = format!("SOFTHSM2_CONF={}\0", self.path("softhsm2.conf").display());
        let is_its = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&marker) == (token == A)
        };
        daemon.signers().into_iter().filter(is_its).collect()
    }

    /// The same, after both are up: a signer that is killed while it logs in may leave a half-written token of SoftHSM.
    pub fn open_signers_of(&self, daemon: &Daemon, token: &str) -> Vec<u32> {
        let open = until(SOON, || {
            let signers = self.signers_of(daemon, token);
            (signers.len() == 2 && signers.iter().all(|pid| signs(*pid))).then_some(signers)
        });
        open.unwrap_or_else(|| panic!("two signers of {token} are not open:\n{}", daemon.log()))
    }

    /// Stops them with SIGSTOP.
    pub fn freeze(&self, daemon: &Daemon, token: &str) -> Frozen {
        Frozen::these(self.open_signers_of(daemon, token))
    }
}

fn tokens_of(token: &str) -> &'static str {
    if token == A { "tokens" } else { "tokens-b" }
}

/// Waits until `/readyz` says `word` about a check, and returns status and checks.
#[track_caller]
pub fn wait_for_check(daemon: &Daemon, check: &str, word: &str) -> (u16, Value) {
    let said = until(SOON, || {
        let (status, checks) = daemon.readiness();
        (checks[check] == word).then_some((status, checks))
    });
    said.unwrap_or_else(|| {
        panic!("{check} is not {word}: {:?}\n{}", daemon.readiness(), daemon.log())
    })
}

/// Sends SIGKILL to each.
pub fn kill_all(pids: &[u32]) {
    assert!(!pids.is_empty());
    for pid in pids {
        signal(*pid, "KILL");
    }
}
