//! The program on disk is replaced while the daemon runs, and a front dies with its signers frozen.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::appliance::{Appliance, SOON, binary, children_of, signal, until};

#[test]
fn signers_are_of_the_fronts_own_version_after_an_upgrade_on_disk() {
    let appliance = Appliance::new();
    appliance.configure_token("processes = 1");
    let program = appliance.path("chancery");
    fs::copy(binary(), &program).unwrap();
    let daemon = appliance.start_program(&program);
    daemon.wait_until_ready();
    let before = daemon.signers();
    assert!(!before.is_empty());
    let next = appliance.path("chancery.next");
    fs::write(&next, "another version").unwrap();
    fs::rename(&next, &program).unwrap();
    for pid in &before {
        signal(*pid, "KILL");
    }
    let replaced = until(SOON, || {
        let now = daemon.signers();
        (!now.is_empty() && !now.iter().any(|pid| before.contains(pid))).then_some(())
    });
    assert!(replaced.is_some(), "{}", daemon.log());
    daemon.wait_until_ready();
    daemon.stop();
}

/// Runs the daemon, and inherits its signers within the session. Otherwise the kernel would wake what is
/// stopped with SIGHUP when its front dies (POSIX, orphaned process groups); not everybody's would.
const HEIR: &str = r#"#!/usr/bin/env python3
import ctypes, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
subprocess.Popen(["BINARY"] + sys.argv[1:])
time.sleep(3600)
"#;

#[test]
fn frozen_signers_die_with_a_front_that_is_killed() {
    let appliance = Appliance::new();
    appliance.configure_token("processes = 1");
    let heir = appliance.path("heir");
    fs::write(&heir, HEIR.replace("BINARY", binary())).unwrap();
    fs::set_permissions(&heir, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = appliance.start_program(&heir);
    daemon.wait_until_ready();
    let [front] = children_of(daemon.pid())[..] else { panic!("one front") };
    let signers = children_of(front);
    let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert!(!signers.is_empty() && signers.iter().all(|pid| named(pid) == "chancery-signer\n"));
    signers.iter().for_each(|pid| signal(*pid, "STOP"));
    signal(front, "KILL");
    let gone = until(SOON, || signers.iter().all(|pid| is_dead(*pid)).then_some(()));
    signers.iter().for_each(|pid| signal(*pid, "KILL"));
    assert!(gone.is_some(), "frozen signers outlived their front");
}

/// Gone, or not yet waited for by whoever inherited it.
fn is_dead(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}
