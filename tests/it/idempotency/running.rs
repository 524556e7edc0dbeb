//! A key whose first request is still running.

use std::{
    collections::BTreeSet,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{counts, fresh, open_intents, patient, plain, replayed, signal_all};
use crate::{
    appliance::{SERVICE, SOON, until},
    support::{Raw, refused},
};

#[test]
fn a_key_in_use_is_a_conflict_that_passes() {
    let appliance = patient();
    let daemon = appliance.start();
    let client = &daemon.client;
    daemon.prove(&["leaf-secp256r1"]);
    signal_all(&daemon, "STOP");
    let first = thread::scope(|scope| {
        let running = scope.spawn(|| client.issue_once("certificate", "k", &plain("Leaf")));
        until(SOON, || (open_intents(&appliance) == 1).then_some(())).expect("the intent");
        // Whatever the body.
        for body in [plain("Leaf"), plain("Other")] {
            let answer = client.issue_once("certificate", "k", &body);
            refused(&answer, 409, None, "a request with this Idempotency-Key is still running");
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(answer.header("idempotent-replayed"), None);
        }
        assert_eq!(counts(&appliance)[..2], [1, 0]);
        signal_all(&daemon, "CONT");
        fresh(running.join().unwrap())
    });
    replayed(&client.issue_once("certificate", "k", &plain("Leaf")), &first);
    let other = client.issue_once("certificate", "k", &plain("Other"));
    refused(&other, 409, None, "used with another body");
    assert_eq!(counts(&appliance)[..2], [1, 1]);
}

#[test]
fn a_client_that_hangs_up_finds_its_certificate_when_it_comes_back() {
    let appliance = patient();
    let daemon = appliance.start();
    let client = &daemon.client;
    daemon.prove(&["leaf-secp256r1"]);
    signal_all(&daemon, "STOP");
    let body = plain("Leaf").to_string();
    let mut raw = Raw::demo(&appliance, &daemon);
    raw.write(format!(
        "POST /v1/{SERVICE}/x509-service-api/certificate HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\nidempotency-key: k\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    until(SOON, || (open_intents(&appliance) == 1).then_some(())).expect("the intent");
    drop(raw);
    let again = client.issue_once("certificate", "k", &plain("Leaf"));
    refused(&again, 409, None, "still running");
    signal_all(&daemon, "CONT");
    let found = until(SOON, || {
        let answer = client.issue_once("certificate", "k", &plain("Leaf"));
        (answer.status == 200).then_some(answer)
    });
    let found = found.expect("the answer of the request that nobody waited for");
    assert_eq!(found.header("idempotent-replayed"), Some("true"));
    assert_eq!(counts(&appliance)[..2], [1, 1]);
}

#[test]
fn a_storm_of_retries_makes_one_certificate() {
    const THREADS: usize = 8;
    let appliance = patient();
    let daemon = appliance.start();
    for round in 0..5 {
        let key = format!("storm-{round}");
        let start = Barrier::new(THREADS);
        let originals = AtomicUsize::new(0);
        let serials: BTreeSet<_> = thread::scope(|scope| {
            let runners: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        daemon.client.get("/healthz").ok();
                        start.wait();
                        let answer = until(SOON, || {
                            let answer =
                                daemon.client.issue_once("certificate", &key, &plain("Leaf"));
                            match answer.status {
                                200 => Some(answer),
                                409 => {
                                    refused(&answer, 409, None, "still running");
                                    None
                                }
                                _ => panic!("{}", answer.json),
                            }
                        });
                        let answer = answer.unwrap();
                        if answer.header("idempotent-replayed").is_none() {
                            originals.fetch_add(1, Ordering::Relaxed);
                        }
                        (answer.header("chancery-serial").unwrap().to_owned(), answer.text)
                    })
                })
                .collect();
            runners.into_iter().map(|runner| runner.join().unwrap()).collect()
        });
        assert_eq!(serials.len(), 1);
        assert_eq!(originals.load(Ordering::Relaxed), 1);
        assert_eq!(counts(&appliance)[..2], [round + 1, round + 1]);
    }
}
