//! For tests of outages: time limits, an appliance that notices outages quickly, and faults from outside.

use std::{fs, time::Duration};

use crate::{
    appliance::{Appliance, Daemon, SOON, until},
    evidence::{Evidence, Held, assert_sound},
    load::Told,
};

/// How long a client waits for a signature.
pub const SIGN_DEADLINE_MS: u64 = 4_000;
/// How long any answer may take: the deadline of the signature, and extra time for a busy machine.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(SIGN_DEADLINE_MS + 4_000);
/// How long after the HSM's return service must be back.
pub const BACK_WITHIN: Duration = Duration::from_secs(5);

/// An appliance with short deadlines for signatures and readiness.
pub fn appliance() -> Appliance {
    let appliance = Appliance::new();
    appliance
        .configure_token(&format!("sign_deadline_ms = {SIGN_DEADLINE_MS}\ncanary_seconds = 1"));
    appliance
}

/// The signers that are up.
pub fn signers_up(daemon: &Daemon) -> Vec<u32> {
    let log = daemon.log();
    let is_up = |pid: &u32| {
        let pid = format!(" pid={pid} ");
        log.lines().any(|line| line.contains("signer up ") && line.contains(&pid))
    };
    daemon.signers().into_iter().filter(is_up).collect()
}

/// Waits until two signers are up, none of them of `gone`.
pub fn wait_for_signers(daemon: &Daemon, gone: &[u32]) -> Vec<u32> {
    let up = until(SOON, || {
        let up = signers_up(daemon);
        (up.len() == 2 && up.iter().all(|pid| !gone.contains(pid))).then_some(up)
    });
    up.unwrap_or_else(|| panic!("no two new signers are up:\n{}", daemon.log()))
}

/// Asserts that no intent stays open, and that every recorded certificate was received by a client.
pub fn assert_ledger_knows(appliance: &Appliance, held: &[Held]) -> Evidence {
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    let evidence = assert_sound(appliance, held, None);
    assert_eq!(evidence.certificates.len(), held.len(), "certificates recorded, and received");
    evidence
}

/// The number of answers with 503.
pub fn refusals(told: &[Told]) -> usize {
    told.iter().filter(|told| told.answer.as_ref().is_ok_and(|a| a.status == 503)).count()
}

/// Moves the token's directory away, so that the module does not find it.
pub fn move_token_away(appliance: &Appliance) {
    fs::rename(appliance.path("tokens"), appliance.path("aside")).unwrap();
    fs::create_dir(appliance.path("tokens")).unwrap();
}

/// Moves it back, over what is in its place.
pub fn move_token_back(appliance: &Appliance) {
    fs::remove_dir_all(appliance.path("tokens")).unwrap();
    fs::rename(appliance.path("aside"), appliance.path("tokens")).unwrap();
}
