//! A key across a stop, and across kill -9 at its worst.

use std::thread;

use super::{counts, fresh, open_intents, patient, plain, replayed, requests, signal_all};
use crate::{
    appliance::{Appliance, SOON, until},
    support::refused,
};

#[test]
fn answers_outlive_a_stop_and_kill_9() {
    let appliance = Appliance::new();
    let mut daemon = appliance.start();
    let firsts: Vec<_> = requests()
        .iter()
        .map(|(route, body)| fresh(daemon.client.issue_once(route, "k", body)))
        .collect();
    for violent in [false, true] {
        if violent {
            daemon.kill();
        } else {
            daemon.stop();
        }
        daemon = appliance.start();
        let before = counts(&appliance);
        for ((route, body), first) in requests().iter().zip(&firsts) {
            replayed(&daemon.client.issue_once(route, "k", body), first);
        }
        assert_eq!(counts(&appliance), before);
        let other = daemon.client.issue_once("certificate", "k", &plain("Other"));
        refused(&other, 409, None, "used with another body");
    }
}

#[test]
fn killed_before_the_signature_the_key_issues_anew() {
    let appliance = patient();
    let daemon = appliance.start();
    let client = daemon.client.clone();
    daemon.prove(&["leaf-secp256r1"]);
    signal_all(&daemon, "STOP");
    let stopped = daemon.signers();
    let path = format!("/v1/{}/x509-service-api/certificate", crate::appliance::SERVICE);
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let body = plain("Leaf").to_string();
    thread::scope(|scope| {
        let running = scope.spawn(|| client.send("POST", &path, &headers, &body));
        until(SOON, || (open_intents(&appliance) == 1).then_some(())).expect("the intent");
        daemon.kill();
        stopped.iter().for_each(|pid| crate::appliance::signal(*pid, "KILL"));
        assert!(running.join().unwrap().is_err(), "nobody answers");
    });
    let serial = "select hex(serial) from intents where id = 0";
    let spent: String = appliance.ledger().query_row(serial, [], |row| row.get(0)).unwrap();

    let gone = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z")
    };
    until(SOON, || stopped.iter().all(gone).then_some(())).expect("the old signers end");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let answer = fresh(daemon.client.issue_once("certificate", "k", &plain("Leaf")));
    let new = answer.header("chancery-serial").unwrap();
    assert_ne!(new, spent.to_lowercase());
    replayed(&daemon.client.issue_once("certificate", "k", &plain("Leaf")), &answer);
    assert_eq!(counts(&appliance)[..2], [2, 1]);
    let aborted = "select count(*) from intents where state = 'aborted'";
    assert_eq!(appliance.count(aborted), 1);
}

#[test]
fn killed_after_the_outcome_the_key_finds_it() {
    // Each round kills at another moment around the commit; the ledger alone decides what is right.
    let mut unheard = 0;
    let appliance = Appliance::new();
    // SoftHSM rewrites its token's file at each login and does not bear to be interrupted there: one
    // signer at a time, and the next only when the one before has ended.
    appliance.configure(|text| text.replace("processes = 2", "processes = 1"));
    let ended = |signers: &[u32]| {
        let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        until(SOON, || signers.iter().all(gone).then_some(())).expect("the signers end");
    };
    for round in 0..8_i64 {
        let key = format!("k-{round}");
        let daemon = appliance.start();
        daemon.wait_until_ready();
        let signers = daemon.signers();
        let client = daemon.client.clone();
        let heard = thread::scope(|scope| {
            let path = format!("/v1/{}/x509-service-api/certificate", crate::appliance::SERVICE);
            let key = &key;
            let running = scope.spawn(move || {
                let headers = [("content-type", "application/json"), ("idempotency-key", key)];
                client.send("POST", &path, &headers, plain("Leaf").to_string())
            });
            let ledger = appliance.ledger();
            let kept = "select count(*) from answers where key = ?1";
            // Without a pause: the moment after the commit is short.
            let start = std::time::Instant::now();
            while ledger.query_row(kept, [key], |row| row.get::<_, i64>(0)).unwrap() == 0 {
                if start.elapsed() > SOON {
                    panic!("no outcome: {:?}\n{}", running.join(), daemon.log());
                }
            }
            daemon.kill();
            running.join().unwrap().ok()
        });
        unheard += i32::from(heard.is_none());
        ended(&signers);
        let daemon = appliance.start();
        let before = counts(&appliance);
        let again = daemon.client.issue_once("certificate", &key, &plain("Leaf")).ok();
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        if let Some(first) = heard {
            replayed(&again, &first);
        }
        assert_eq!(counts(&appliance), before);
        assert_eq!(before[1], round + 1);
        daemon.stop();
    }
    eprintln!("{unheard} of 8 answers were cut off");
}
