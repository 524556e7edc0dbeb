//! The program on disk is replaced while the daemon runs, and a front dies with its signers frozen.

use std::fs;

use crate::appliance::{Appliance, BINARY, Frozen, SOON, signal, until};

#[test]
fn signers_are_of_the_fronts_own_version_after_an_upgrade_on_disk() {
    let appliance = Appliance::new();
    let program = appliance.path("chancery");
    fs::copy(BINARY, &program).unwrap();
    let daemon = appliance.start_program(&program);
    daemon.wait_until_ready();
    let before = daemon.signers();
    let next = appliance.path("chancery.next");
    fs::write(&next, "another version").unwrap();
    fs::rename(&next, &program).unwrap();
    for pid in &before {
        signal(*pid, "KILL");
    }
    let replaced = until(SOON, || {
        let now = daemon.signers();
        (now.len() == before.len() && !now.iter().any(|pid| before.contains(pid))).then_some(())
    });
    assert!(replaced.is_some(), "{}", daemon.log());
    daemon.wait_until_ready();
    daemon.stop();
}

#[test]
fn frozen_signers_die_with_a_front_that_is_killed() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let frozen = Frozen::signers_of(&daemon);
    let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert!(frozen.pids().iter().all(|pid| named(pid) == "chancery-signer\n"));
    daemon.kill();
    let gone = until(SOON, || {
        let alive = |pid: &u32| named(pid) == "chancery-signer\n" && !is_zombie(*pid);
        (!frozen.pids().iter().any(alive)).then_some(())
    });
    assert!(gone.is_some(), "frozen signers outlived their front");
}

/// Dead, and not waited for by whoever inherited it.
fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains(") Z ")
}
