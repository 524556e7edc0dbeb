//! Two clients and one slow token.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    appliance::{Appliance, Daemon, Frozen, SERVICE, SOON, until},
    load::{Load, assert_clean_refusal, leaf},
};

const FLOOD: usize = 40;
const QUIET: usize = 3;

fn wait_for_intents(appliance: &Appliance, daemon: &Daemon, query: &str, count: i64) {
    let query = format!("select count(*) from intents where {query}");
    let seen = until(SOON, || (appliance.count(&query) >= count).then_some(()));
    assert!(seen.is_some(), "{} of {count}: {query}\n{}", appliance.count(&query), daemon.log());
}

#[test]
fn the_flood_of_one_client_is_refused_and_the_requests_of_another_are_served() {
    let appliance = Appliance::new();
    // The token signs nothing while the queue fills.
    appliance
        .configure_token("processes = 1\nsessions = 1\nqueue_max = 8\nsign_deadline_ms = 60000");
    let quiet = appliance.add_client("quiet", &[("test", &["issue:generic"])]);
    let daemon = appliance.start();
    daemon.wait_until_ready();
    // The key has proven itself: what waits from now on are signatures.
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "First")).ok();
    let frozen = Frozen::signers_of(&daemon);
    let flood = Load::of_leaves(&appliance, &daemon, FLOOD);
    // More than there is room for: the queue is full, and stays so.
    flood.wait_for(503, FLOOD, SOON);
    assert_eq!(flood.count(200), 0);

    let served = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..QUIET)
        .map(|number| {
            let client = daemon.client_with(&appliance, &quiet);
            let served = Arc::clone(&served);
            thread::spawn(move || {
                let body = leaf("leaf-secp256r1", &format!("Quiet {number}")).to_string();
                let route = format!("/v1/{SERVICE}/x509-service-api/certificate");
                let answer = client.post(&route, &body);
                served.store(true, Ordering::SeqCst);
                answer
            })
        })
        .collect();
    wait_for_intents(&appliance, &daemon, "client = 'quiet' and state = 'open'", QUIET as i64);
    // Still there while the flood goes on and is refused.
    flood.wait_for(503, FLOOD, SOON);
    assert!(!served.load(Ordering::SeqCst));
    frozen.thaw();
    for caller in callers {
        caller.join().unwrap().ok();
    }
    flood.wait_for(200, 1, SOON);
    let told = flood.stop();
    for told in told {
        let answer = told.answer.unwrap();
        if answer.status != 200 {
            assert_clean_refusal(&answer);
            assert_eq!(answer.json["message"], "busy; try again in 1 s");
        }
    }
    daemon.stop();
}
