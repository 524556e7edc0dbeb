//! HSM outages under load: what clients see, what the ledger holds, and how soon service is back.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    appliance::{Appliance, Daemon, Frozen, SOON, signal, until},
    evidence::{Evidence, Held, assert_sound},
    load::{Load, Told, assert_clean, assert_clean_refusal, leaf},
    spy::Spy,
};

const SIGN_DEADLINE_MS: u64 = 4_000;
/// For any answer: the deadline of the signature, and what a busy machine needs besides.
const ANSWER_WITHIN: Duration = Duration::from_millis(SIGN_DEADLINE_MS + 2_000);
/// Promise 13.
const BACK_WITHIN: Duration = Duration::from_secs(5);
const CLIENTS: usize = 6;

fn appliance() -> Appliance {
    let appliance = Appliance::new();
    appliance
        .configure_token(&format!("sign_deadline_ms = {SIGN_DEADLINE_MS}\ncanary_seconds = 1"));
    appliance
}

/// A daemon with both signers up, under load.
fn under_load(appliance: &Appliance) -> (Daemon, Load) {
    let daemon = appliance.start();
    wait_for_signers(&daemon, &[]);
    let load = Load::of_leaves(appliance, &daemon, CLIENTS);
    load.wait_for(200, 10, SOON);
    (daemon, load)
}

/// Waits until two signers are up, none of them of `gone`.
fn wait_for_signers(daemon: &Daemon, gone: &[u32]) -> Vec<u32> {
    let sign = |pid: &u32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        threads.is_ok_and(|threads| {
            threads.flatten().any(|thread| {
                fs::read(thread.path().join("comm")).is_ok_and(|name| name == b"signing\n")
            })
        })
    };
    let up = until(SOON, || {
        let signers = daemon.signers();
        let fresh = signers.iter().all(|pid| sign(pid) && !gone.contains(pid));
        (signers.len() == 2 && fresh).then_some(signers)
    });
    up.unwrap_or_else(|| panic!("two signers are not up:\n{}", daemon.log()))
}

/// Ends the load and the daemon, which is the one that was started: what clients were told is clean,
/// and the ledger knows exactly what they hold.
fn assert_clean_end(appliance: &Appliance, daemon: Daemon, load: Load) -> Vec<Told> {
    let told = load.stop();
    let held = assert_clean(&told, ANSWER_WITHIN);
    assert_ledger_knows(appliance, &held);
    daemon.wait_for_token("ok");
    daemon.stop();
    assert_sound(appliance, &held, None);
    told
}

/// Without a restart, no intent stays open; there is no certificate that no client got.
fn assert_ledger_knows(appliance: &Appliance, held: &[Held]) -> Evidence {
    let open = || appliance.count("select count(*) from intents where state = 'open'");
    until(SOON, || (open() == 0).then_some(())).expect("an intent stays open");
    let evidence = assert_sound(appliance, held, None);
    assert_eq!(evidence.certificates.len(), held.len(), "certificates recorded, and received");
    evidence
}

fn refusals(told: &[Told]) -> usize {
    told.iter().filter(|told| told.answer.as_ref().is_ok_and(|a| a.status == 503)).count()
}

/// The token's directory, out of sight of the module.
fn move_token_away(appliance: &Appliance) {
    fs::rename(appliance.path("tokens"), appliance.path("aside")).unwrap();
    fs::create_dir(appliance.path("tokens")).unwrap();
}

fn move_token_back(appliance: &Appliance) {
    fs::remove_dir(appliance.path("tokens")).unwrap();
    fs::rename(appliance.path("aside"), appliance.path("tokens")).unwrap();
}

#[test]
fn one_of_two_signers_killed_costs_no_request() {
    let appliance = appliance();
    let (daemon, load) = under_load(&appliance);
    let victim = daemon.signers()[0];
    let killed = Instant::now();
    signal(victim, "KILL");
    wait_for_signers(&daemon, &[victim]);
    println!("kill -9 of one signer: two again after {:?}", killed.elapsed());
    load.wait_for(200, 10, BACK_WITHIN);
    let told = assert_clean_end(&appliance, daemon, load);
    assert_eq!(refusals(&told), 0);
}

#[test]
fn all_signers_killed_is_a_pause_and_no_more() {
    let appliance = appliance();
    let (daemon, load) = under_load(&appliance);
    let victims = daemon.signers();
    let killed = Instant::now();
    for pid in &victims {
        signal(*pid, "KILL");
    }
    let took = load.recovery(killed, BACK_WITHIN);
    wait_for_signers(&daemon, &victims);
    let told = assert_clean_end(&appliance, daemon, load);
    println!("kill -9 of all signers: served after {took:?}, {} refused", refusals(&told));
}

#[test]
fn frozen_signers_are_replaced() {
    let appliance = appliance();
    let (daemon, load) = under_load(&appliance);
    let frozen = Frozen::signers_of(&daemon);
    let stopped = Instant::now();
    let took = load.recovery(stopped, BACK_WITHIN);
    wait_for_signers(&daemon, frozen.pids());
    let told = assert_clean_end(&appliance, daemon, load);
    println!("SIGSTOP of all signers: served after {took:?}");
    assert_eq!(refusals(&told), 0);
}

#[test]
fn a_short_hang_of_the_hsm_is_waited_for() {
    let appliance = appliance();
    // A signer is replaced when it is silent for half of this.
    appliance.configure_token("sign_deadline_ms = 20000");
    let (daemon, load) = under_load(&appliance);
    let frozen = Frozen::signers_of(&daemon);
    // The length of the hang.
    thread::sleep(Duration::from_millis(1_000));
    let pids: BTreeSet<_> = frozen.pids().iter().copied().collect();
    frozen.thaw();
    load.wait_for(200, 10, BACK_WITHIN);
    let now: BTreeSet<_> = daemon.signers().into_iter().collect();
    assert_eq!(now, pids, "nobody was replaced");
    let told = assert_clean_end(&appliance, daemon, load);
    assert_eq!(refusals(&told), 0);
}

#[test]
fn a_token_that_goes_away_and_comes_back_is_served_again_by_the_same_front() {
    let appliance = appliance();
    let (daemon, load) = under_load(&appliance);
    move_token_away(&appliance);
    daemon.wait_for_token("away");
    assert_eq!(daemon.readiness().0, 503);
    load.wait_for(503, 10, SOON);
    // Long enough for the pauses between two tries to grow.
    let failures = || daemon.log().matches("no signer").count();
    until(SOON, || (failures() >= 5).then_some(())).expect("the supervisor has given up");
    move_token_back(&appliance);
    let returned = Instant::now();
    let took = load.recovery(returned, BACK_WITHIN);
    daemon.wait_for_token("ok");
    let told = assert_clean_end(&appliance, daemon, load);
    println!("token moved away and back: served after {took:?}, {} refused", refusals(&told));
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
fn a_wrong_pin_is_tried_once_and_the_daemon_says_so() {
    let appliance = Appliance::new();
    let spy = Spy::on(&appliance);
    let pin = fs::read_to_string(appliance.path("pin")).unwrap();
    fs::write(appliance.path("pin"), "000000\n").unwrap();
    appliance.configure_token("processes = 4");
    let daemon = appliance.start();
    daemon.wait_for_token("credential fault");
    assert_eq!(daemon.readiness().0, 503);
    let load = Load::of_leaves(&appliance, &daemon, 2);
    load.wait_for(503, 100, SOON);
    let told = load.stop();
    let held = assert_clean(&told, ANSWER_WITHIN);
    assert_eq!(held.len(), 0);
    let log = daemon.log();
    assert!(log.contains("alarm=\"credential_fault\""), "{log}");
    for secret in ["000000", pin.trim()] {
        assert!(!log.contains(secret), "a PIN in the log");
    }
    daemon.stop();
    assert_eq!(spy.logins(), 1, "tries of the PIN");
    let evidence = assert_sound(&appliance, &[], Some(&spy));
    assert_eq!(evidence.intents.len(), 0);

    // What an operator does.
    fs::write(appliance.path("pin"), pin).unwrap();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Example Leaf")).ok();
}

#[test]
fn a_file_that_is_no_pkcs11_module_is_an_outage_that_heals_when_it_is_replaced() {
    let appliance = appliance();
    let (module, text) = (appliance.path("module.so"), appliance.path("text.so"));
    fs::write(&text, "not even a library, whatever its name says; longer than an ELF header")
        .unwrap();
    symlink(c_library(), &module).unwrap();
    appliance.configure_token(&format!("module = {:?}", module.display().to_string()));
    let daemon = appliance.start();
    let refused = |words: &str| {
        daemon.wait_for_token("away");
        assert_clean_refusal(&daemon.client.issue("certificate", &leaf("secp256r1", "x")));
        let said = until(SOON, || daemon.log().contains(words).then_some(()));
        assert!(said.is_some(), "{}", daemon.log());
    };
    let point_to = |target: PathBuf| {
        let new = appliance.path("new.so");
        symlink(target, &new).unwrap();
        fs::rename(new, &module).unwrap();
    };
    refused("C_GetFunctionList");
    point_to(text);
    refused("invalid ELF header");
    let load = Load::of_leaves(&appliance, &daemon, 2);
    load.wait_for(503, 5, SOON);
    point_to("/usr/lib/softhsm/libsofthsm2.so".into());
    let took = load.recovery(Instant::now(), BACK_WITHIN);
    println!("module put right: served after {took:?}");
    assert_clean_end(&appliance, daemon, load);
}

/// A library that is certainly there and certainly no PKCS#11 module.
fn c_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    path.expect("a C library").into()
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
