//! Clients that want the same thing at the same moment.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use serde_json::Value;

use crate::{
    appliance::{Answer, Appliance, Daemon, STORE, documented},
    evidence::{Held, assert_sound},
    load::leaf_stored_as,
};

const RACERS: usize = 16;

/// All requests at once, each on a warm connection of its own.
fn race(
    appliance: &Appliance,
    daemon: &Daemon,
    requests: Vec<(&'static str, Value)>,
) -> Vec<Answer> {
    let start = Arc::new(Barrier::new(requests.len()));
    let threads: Vec<_> = requests
        .into_iter()
        .map(|(route, body)| {
            let client = daemon.client_with(appliance, &appliance.path("pki/client"));
            let start = Arc::clone(&start);
            thread::spawn(move || {
                client.get(&format!("/v1/{STORE}/x509-store-api/certificates/ids")).ok();
                start.wait();
                client.issue(route, &body)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn of_sixteen_clients_that_want_one_id_one_gets_it() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let ids = ["first", "second"];
    let requests = (0..2 * RACERS)
        .map(|number| ("certificate", leaf_stored_as(ids[number % 2], "leaf-secp256r1")));
    let answers = race(&appliance, &daemon, requests.collect());
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (2, 2 * RACERS - 2));
    for answer in lost {
        assert_duplicate(answer, &ids);
    }
    daemon.stop();
    let held: Vec<_> = won.into_iter().map(Held::of).collect();
    let evidence = assert_sound(&appliance, &held, None);
    assert_eq!(evidence.certificates.len(), 2);
    // Nothing was signed, nor was it going to be, for those that came too late.
    assert_eq!(evidence.intents.len(), 2);
    assert_eq!(evidence.entries_of("refused").count(), 2 * RACERS - 2);
    assert_eq!(appliance.count("select count(*) from store_entries"), 2);
}

/// The one shape with a number for its status.
fn assert_duplicate(answer: &Answer, ids: &[&str]) {
    let target = answer.json["target"].as_str().unwrap_or_else(|| panic!("{}", answer.json));
    assert!(ids.iter().any(|id| target == format!("{STORE}.{id}")), "{target}");
    let expected = serde_json::json!({
        "type": "DuplicateTarget",
        "status": 409,
        "message": format!("target already exists: {target}"),
        "target": target,
        "target_entry_type": "x509-certificate",
        "exception": true,
        "id": "ConflictException",
        "code": "409",
        "requestId": answer.header("x-request-id"),
        "field": "/storedCertificateId",
    });
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json, expected);
}

#[test]
fn of_two_descriptions_of_one_iaca_one_is_pinned() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let ends = ["2040-05-24T12:23:01Z", "2040-05-24T12:23:02Z"];
    let requests = (0..RACERS).map(|number| {
        let mut body = documented("document-signers-create.request.json");
        body["storedCertificateId"] = format!("ds-{number}").into();
        body["iacaSigner"]["certificateData"]["notAfter"] = ends[number % 2].into();
        ("iso/document-signers", body)
    });
    let answers = race(&appliance, &daemon, requests.collect());
    let status_of = |side: usize| -> Vec<_> {
        answers.iter().skip(side).step_by(2).map(|answer| answer.status).collect()
    };
    let (one, other) = (status_of(0), status_of(1));
    let all = |status: u16| vec![status; RACERS / 2];
    assert!(
        (one == all(200) && other == all(400)) || (one == all(400) && other == all(200)),
        "{one:?} {other:?}"
    );
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in lost {
        let message = answer.json["message"].as_str().unwrap();
        assert!(
            message.starts_with("iacaSigner.certificateData differs from the registered IACA"),
            "{message}"
        );
    }
    assert_eq!(appliance.count("select count(*) from iaca_pins"), 1);
    daemon.stop();
    let held: Vec<_> = won.into_iter().map(Held::of).collect();
    let evidence = assert_sound(&appliance, &held, None);
    assert_eq!(evidence.intents.len(), RACERS / 2);
    assert_eq!(evidence.entries_of("iaca-pinned").count(), 1);
}
