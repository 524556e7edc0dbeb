//! SIGTERM under load: what is under way ends well, nothing is left over.

use std::time::{Duration, Instant};

use crate::{
    appliance::{Appliance, Daemon, Frozen, SOON, until},
    evidence::{Evidence, Held, assert_signed_by_itself, assert_sound},
    load::{Load, Told, assert_clean_refusal},
};

const CLIENTS: usize = 8;

/// Every answer that came is a certificate or a clean 503; a client may find the door closed.
fn held(told: &[Told]) -> Vec<Held> {
    told.iter()
        .filter_map(|told| told.answer.as_ref().ok())
        .filter_map(|answer| match answer.status {
            200 => {
                let held = Held::of(answer);
                assert_signed_by_itself(&held.der);
                Some(held)
            }
            _ => {
                assert_clean_refusal(answer);
                None
            }
        })
        .collect()
}

/// Stops the daemon; how long that took, and what clients got.
fn stop_under_load(appliance: &Appliance, daemon: Daemon, load: Load) -> (Duration, Evidence) {
    let signers = daemon.signers();
    let asked = Instant::now();
    daemon.stop();
    let took = asked.elapsed();
    let held = held(&load.join());
    let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(signers.iter().all(gone), "signers outlive the daemon");
    let evidence = assert_sound(appliance, &held, None);
    assert_eq!(evidence.entries.last().unwrap()["type"], "stopped");
    assert_eq!(evidence.certificates.len(), held.len(), "certificates recorded, and received");
    (took, evidence)
}

#[test]
fn requests_under_way_at_sigterm_are_answered_and_the_end_comes_soon() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, CLIENTS);
    load.wait_for(200, 20, SOON);
    let (took, evidence) = stop_under_load(&appliance, daemon, load);
    println!("SIGTERM under load: ended after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(evidence.in_state("aborted").count(), 0);
}

#[test]
fn sigterm_while_the_hsm_is_frozen_ends_with_the_deadlines() {
    let appliance = Appliance::new();
    appliance.configure_token("sign_deadline_ms = 3000\ncanary_seconds = 3600");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let load = Load::of_leaves(&appliance, &daemon, CLIENTS);
    load.wait_for(200, 10, SOON);
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    let _frozen = Frozen::signers_of(&daemon);
    let waiting = || (open() >= 4).then_some(());
    until(SOON, waiting).expect("nobody waits for a signature");
    let (took, evidence) = stop_under_load(&appliance, daemon, load);
    let aborted = evidence.in_state("aborted").count();
    println!("SIGTERM with a frozen HSM: ended after {took:?}, {aborted} aborted");
    assert!(took < Duration::from_secs(10), "{took:?}");
}
