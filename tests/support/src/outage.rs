//! What tests of outages share: bounds, an appliance that is quick to notice, and faults from outside.

use std::{fs, time::Duration};

use crate::{
    appliance::{Appliance, Daemon, SOON, until},
    evidence::{Evidence, Held, assert_sound},
    load::Told,
};

/// What a client waits for at most.
pub const SIGN_DEADLINE_MS: u64 = 4_000;
/// For any answer: the deadline of the signature, and what a busy machine needs besides.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(SIGN_DEADLINE_MS + 4_000);
/// Service after the HSM's return.
pub const BACK_WITHIN: Duration = Duration::from_secs(5);

/// One whose readiness and signatures have short deadlines.
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

/// Without a restart, no intent stays open; there is no certificate that no client got.
pub fn assert_ledger_knows(appliance: &Appliance, held: &[Held]) -> Evidence {
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    let evidence = assert_sound(appliance, held, None);
    assert_eq!(evidence.certificates.len(), held.len(), "certificates recorded, and received");
    evidence
}

/// How many were told to come back later.
pub fn refusals(told: &[Told]) -> usize {
    told.iter().filter(|told| told.answer.as_ref().is_ok_and(|a| a.status == 503)).count()
}

/// The token's directory, out of sight of the module.
pub fn move_token_away(appliance: &Appliance) {
    fs::rename(appliance.path("tokens"), appliance.path("aside")).unwrap();
    fs::create_dir(appliance.path("tokens")).unwrap();
}

/// And back, instead of what lies in its place.
pub fn move_token_back(appliance: &Appliance) {
    fs::remove_dir_all(appliance.path("tokens")).unwrap();
    fs::rename(appliance.path("aside"), appliance.path("tokens")).unwrap();
}
