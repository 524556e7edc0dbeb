//! What is no outage yet: short hangs, readiness that follows the token, a queue that is full. Outages
//! themselves are in `tests/outages`.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use crate::{
    appliance::{Frozen, SOON, until},
    evidence::assert_sound,
    load::{Load, assert_clean},
    outage::{
        ANSWER_WITHIN, BACK_WITHIN, appliance, assert_ledger_knows, move_token_away,
        move_token_back, refusals, wait_for_signers,
    },
};

#[test]
fn a_short_hang_of_the_hsm_is_waited_for() {
    let appliance = appliance();
    // A signer is replaced when it is silent for half of this.
    appliance.configure_token("sign_deadline_ms = 20000");
    let daemon = appliance.start();
    wait_for_signers(&daemon, &[]);
    let load = Load::of_leaves(&appliance, &daemon, 6);
    load.wait_for(200, 10, SOON);
    let frozen = Frozen::signers_of(&daemon);
    // The length of the hang.
    thread::sleep(Duration::from_millis(1_000));
    let pids: BTreeSet<_> = frozen.pids().iter().copied().collect();
    frozen.thaw();
    load.wait_for(200, 10, BACK_WITHIN);
    let now: BTreeSet<_> = daemon.signers().into_iter().collect();
    assert_eq!(now, pids, "nobody was replaced");
    let told = load.stop();
    let held = assert_clean(&told, ANSWER_WITHIN);
    assert_eq!(refusals(&told), 0);
    assert_ledger_knows(&appliance, &held);
    daemon.stop();
    assert_sound(&appliance, &held, None);
}

#[test]
fn readiness_follows_the_token_without_any_request() {
    let appliance = appliance();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    move_token_away(&appliance);
    let gone = Instant::now();
    daemon.wait_for_token("away");
    println!("token away: not ready after {:?}", gone.elapsed());
    assert!(gone.elapsed() < BACK_WITHIN);
    move_token_back(&appliance);
    let returned = Instant::now();
    daemon.wait_until_ready();
    println!("token back: ready after {:?}", returned.elapsed());
    daemon.stop();
}

#[test]
fn readiness_is_never_older_than_the_canary_allows() {
    let appliance = appliance();
    appliance.configure_token("sign_deadline_ms = 60000");
    let daemon = appliance.start();
    wait_for_signers(&daemon, &[]);
    daemon.wait_until_ready();
    let frozen = Frozen::signers_of(&daemon);
    // The signers may be silent for 30 s before they are replaced; readiness does not wait for that.
    let stopped = Instant::now();
    let truth = until(BACK_WITHIN, || (daemon.readiness().0 == 503).then_some(stopped.elapsed()));
    println!("HSM silent: not ready after {truth:?}");
    assert!(truth.is_some(), "ready, on a canary signature of {:?} ago", stopped.elapsed());
    frozen.thaw();
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn more_than_the_queue_holds_is_refused_at_once() {
    let appliance = appliance();
    appliance
        .configure_token("processes = 1\nsessions = 1\nqueue_max = 4\nsign_deadline_ms = 60000");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let frozen = Frozen::signers_of(&daemon);
    let load = Load::of_leaves(&appliance, &daemon, 24);
    load.wait_for(503, 100, SOON);
    assert_eq!(load.count(200), 0);
    frozen.thaw();
    load.wait_for(200, 24, SOON);
    let told = load.stop();
    let held = assert_clean(&told, Duration::from_secs(60));
    let refused: Vec<_> =
        told.iter().filter(|t| t.answer.as_ref().is_ok_and(|a| a.status == 503)).collect();
    for told in &refused {
        let answer = told.answer.as_ref().unwrap();
        assert_eq!(answer.json["message"], "busy; try again in 1 s");
        assert!(told.took < ANSWER_WITHIN, "busy after {:?}", told.took);
    }
    assert_ledger_knows(&appliance, &held);
    daemon.stop();
}
