//! Versions and issue ids, also where requests race and processes die.

use super::*;

#[test]
fn issue_ids_are_consecutive_however_many_publish_at_once() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| publish(&daemon.client.clone(), &by_acme()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().ok()).collect()
    });
    let ids: BTreeSet<_> =
        answers.iter().map(|answer| answer.json["vicalIssueId"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=8).collect());

    // Newest first, and the newest is the latest.
    let mut by_id = answers;
    by_id.sort_by_key(|answer| std::cmp::Reverse(answer.json["vicalIssueId"].as_u64()));
    let paths: Vec<_> = by_id.iter().map(|answer| answer.json["versionIdPath"].clone()).collect();
    let ids = daemon.client.get(&format!("/v1/{VICAL}/vical-service-api/versions/ids"));
    assert_eq!(ids.ok().json, Value::Array(paths));
    assert_eq!(fetch(&daemon, &latest("/manifest"), &[]).ok().json()["vicalIssueId"], 8);
    assert_eq!(judged(&appliance, &octets_of_latest(&daemon))["issueId"], 8);
    daemon.stop();
}

#[test]
fn of_two_requests_for_one_version_one_is_a_duplicate_and_spends_no_issue_id() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let body = json!({ "vicalProvider": "Acme", "versionId": "2026-06" });
    let mut answers: Vec<Answer> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| publish(&daemon.client.clone(), &body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
        [200, 409, 409, 409]
    );
    for refused in &answers[1..] {
        let mut told = refused.json.clone();
        let id = told.as_object_mut().unwrap().remove("requestId");
        assert!(id.is_some());
        let target = format!("{VICAL}.versions.2026-06");
        assert_eq!(
            told,
            json!({
                "type": "DuplicateTarget", "status": 409,
                "message": format!("target already exists: {target}"), "target": target,
                "target_entry_type": "vical-version", "exception": true,
                "id": "ConflictException", "code": "409", "field": "/versionId",
            })
        );
    }
    assert_eq!(publish(&daemon.client, &by_acme()).ok().json["vicalIssueId"], 2);
    daemon.stop();
}

#[test]
fn an_idempotency_key_publishes_once() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let send = || {
        let path = format!("/v1/{VICAL}/vical-service-api/publish");
        let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
        daemon.client.send("POST", &path, &headers, by_acme().to_string()).unwrap().ok()
    };
    let (first, second) = (send(), send());
    assert_eq!(first.body, second.body);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(appliance.count("select count(*) from vical_versions"), 1);
    daemon.stop();
}

#[test]
fn what_was_cut_off_between_intent_and_outcome_is_no_version_and_its_issue_id_is_spent() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let body = json!({ "vicalProvider": "Acme", "versionId": "cut" });

    // The signers hold still, so that the intent is recorded and no signature comes.
    let signers = daemon.signers();
    for signer in &signers {
        signal(*signer, "STOP");
    }
    let client = daemon.client.clone();
    let cut_off = thread::spawn(move || {
        let path = format!("/v1/{VICAL}/vical-service-api/publish");
        client.try_post(&path, &body.to_string()).is_err()
    });
    let open = "select count(*) from intents where purpose = 'vical' and state = 'open'";
    until(SOON, || (appliance.count(open) == 1).then_some(())).expect("no intent");
    let reserved = "select count(*) from vical_versions where reserved_by is not null";
    assert_eq!(appliance.count(reserved), 1);
    assert_eq!(fetch(&daemon, &version("cut", ""), &[]).status, 404);
    daemon.kill();
    for signer in &signers {
        signal(*signer, "KILL");
    }
    assert!(cut_off.join().unwrap());

    let daemon = appliance.start();
    daemon.wait_until_ready();
    assert_eq!(appliance.count(open), 0);
    assert_eq!(appliance.count("select count(*) from vical_versions"), 0);
    assert_eq!(fetch(&daemon, &latest(""), &[]).status, 404);
    let again = json!({ "vicalProvider": "Acme", "versionId": "cut" });
    assert_eq!(publish(&daemon.client, &again).ok().json["vicalIssueId"], 2);
    daemon.stop();
}
