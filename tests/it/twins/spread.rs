//! Twins share the work.

use std::fs;

use super::{A, B, wait_for_check};
use crate::{
    appliance::{Appliance, Daemon},
    load::leaf,
};

/// How often the threads of a token's signers have waited for something to do.
fn turns(appliance: &Appliance, daemon: &Daemon, token: &str) -> u64 {
    let threads = appliance
        .signers_of(daemon, token)
        .into_iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten());
    threads
        .filter(|thread| {
            fs::read(thread.path().join("comm")).is_ok_and(|comm| comm == b"signing\n")
        })
        .map(|thread| fs::read_to_string(thread.path().join("status")).unwrap())
        .filter_map(|status| {
            let line =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line?.trim().parse::<u64>().ok()
        })
        .sum()
}

#[test]
fn twins_share_the_work() {
    // Nothing but requests is signed while it is counted.
    let appliance = Appliance::with_twins("canary_seconds = 3600");
    let daemon = appliance.start();
    for token in [A, B] {
        wait_for_check(&daemon, &format!("token:{token}"), "ok");
    }
    daemon.client.issue("certificate", &leaf("twin", "First")).ok();
    let before = [A, B].map(|token| turns(&appliance, &daemon, token));
    for round in 0..60 {
        daemon.client.issue("certificate", &leaf("twin", &format!("Leaf {round}"))).ok();
    }
    let after = [A, B].map(|token| turns(&appliance, &daemon, token));
    let done = [after[0] - before[0], after[1] - before[1]];
    println!("turns of the signing threads: {done:?}");
    assert!(done.iter().all(|turns| *turns >= 20), "{done:?}");
    daemon.stop();
}
