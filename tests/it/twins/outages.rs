//! Each twin in turn, under load.

use std::time::Duration;

use super::{A, B, kill_all, wait_for_check};
use crate::{
    appliance::{Appliance, Daemon, SOON, until},
    evidence::{Held, assert_sound},
    load::{Load, assert_clean, leaf},
};

pub const SIGN_DEADLINE_MS: u64 = 4_000;
/// For any answer: the deadline of the signature, and what a busy machine needs besides.
const ANSWER_WITHIN: Duration = Duration::from_millis(SIGN_DEADLINE_MS + 3_000);
const CLIENTS: usize = 6;

fn twins() -> Appliance {
    Appliance::with_twins(&format!("sign_deadline_ms = {SIGN_DEADLINE_MS}\ncanary_seconds = 1"))
}

pub fn under_load(appliance: &Appliance) -> (Daemon, Load) {
    let daemon = appliance.start();
    for token in [A, B] {
        wait_for_check(&daemon, &format!("token:{token}"), "ok");
        appliance.open_signers_of(&daemon, token);
    }
    let load = Load::start(appliance, &daemon, CLIENTS, |client, round| {
        ("certificate", leaf("twin", &format!("Leaf {client}-{round}")))
    });
    load.wait_for(200, 20, SOON);
    (daemon, load)
}

/// Nobody was refused, everybody was in time, and the ledger knows exactly what clients hold.
#[track_caller]
pub fn assert_nothing_was_lost(
    appliance: &Appliance,
    daemon: Daemon,
    load: Load,
    held_besides: Vec<Held>,
) {
    let told = load.stop();
    let mut held = assert_clean(&told, ANSWER_WITHIN);
    assert_eq!(held.len(), told.len(), "nobody is refused\n{}", daemon.log());
    held.extend(held_besides);
    daemon.stop();
    let evidence = assert_sound(appliance, &held, None);
    assert_eq!(evidence.certificates.len(), held.len(), "certificates recorded, and received");
}

#[test]
fn each_twin_may_go_and_come_back_and_no_request_is_lost() {
    let appliance = twins();
    let (daemon, load) = under_load(&appliance);
    for token in [A, B, A] {
        appliance.move_away(token);
        let (status, checks) = wait_for_check(&daemon, &format!("token:{token}"), "away");
        assert_eq!(status, 200, "the other stands in: {checks}");
        assert_eq!(checks["kms:test.tenant1.kms1"], "ok");
        load.wait_for(200, 20, SOON);
        appliance.move_back(token);
        wait_for_check(&daemon, &format!("token:{token}"), "ok");
    }
    assert_nothing_was_lost(&appliance, daemon, load, Vec::new());
}

#[test]
fn signers_killed_or_frozen_on_one_twin_cost_no_request() {
    let appliance = twins();
    let (daemon, load) = under_load(&appliance);
    for token in [A, B] {
        kill_all(&appliance.open_signers_of(&daemon, token));
        load.wait_for(200, 20, SOON);
        wait_for_check(&daemon, &format!("token:{token}"), "ok");
        let frozen = appliance.freeze(&daemon, token);
        load.wait_for(200, 20, SOON);
        let replaced = until(SOON, || {
            let signers = daemon.signers();
            (!frozen.pids().iter().any(|pid| signers.contains(pid))).then_some(())
        });
        assert!(replaced.is_some(), "{}", daemon.log());
        wait_for_check(&daemon, &format!("token:{token}"), "ok");
    }
    assert_nothing_was_lost(&appliance, daemon, load, Vec::new());
}

#[test]
fn without_any_twin_there_is_no_service_and_with_one_there_is() {
    let appliance = twins();
    let (daemon, load) = under_load(&appliance);
    appliance.move_away(A);
    appliance.move_away(B);
    let (status, _) = wait_for_check(&daemon, "kms:test.tenant1.kms1", "no token");
    assert_eq!(status, 503);
    load.wait_for(503, 5, SOON);
    appliance.move_back(B);
    load.wait_for(200, 20, SOON);
    let (status, checks) = wait_for_check(&daemon, "token:other", "ok");
    assert_eq!((status, &checks["token:softhsm"]), (200, &"away".into()));
    let told = load.stop();
    assert_clean(&told, ANSWER_WITHIN);
}

#[test]
fn a_twin_that_was_never_there_is_not_waited_for() {
    let appliance = twins();
    appliance.move_away(B);
    let daemon = appliance.start();
    let (status, _) = wait_for_check(&daemon, "token:other", "away");
    assert_eq!(status, 200);
    for round in 0..20 {
        daemon.client.issue("certificate", &leaf("twin", &format!("Leaf {round}"))).ok();
    }
    // Its return is noticed.
    appliance.move_back(B);
    wait_for_check(&daemon, "token:other", "ok");
    appliance.move_away(A);
    wait_for_check(&daemon, "token:softhsm", "away");
    daemon.client.issue("certificate", &leaf("twin", "Leaf")).ok();
    daemon.stop();
}
