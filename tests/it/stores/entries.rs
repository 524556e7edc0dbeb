//! Adding, replacing, deleting, reading.

use std::{sync::Barrier, thread};

use serde_json::{Value, json};

use super::{STORE_2, add, base, daemon, delete, entry, ids, mdl, path, replace, vical_entry};
use crate::{
    appliance::{SOON, STORE, signal, until},
    support::{duplicate, leaf, refused},
};

fn at(id: &str) -> String {
    format!("{STORE}.{id}")
}

#[test]
fn entries_are_added_replaced_deleted_and_listed_by_path() {
    let (appliance, daemon, [iaca, leaf]) = daemon();
    let client = &daemon.client;
    assert_eq!(client.get(&path(STORE)).ok().json, json!([]));

    // Under an id of the client's choice.
    let mut wanted = Vec::new();
    for id in ["b", "B", "a-1", "a", "a_1"] {
        let answer = add(client, &at(id), &base(&leaf));
        assert_eq!((answer.status, &answer.json), (201, &entry(&at(id), &leaf)));
        wanted.push(answer.json);
    }
    // Under a UUID.
    let answer = add(client, STORE, &vical_entry(&iaca, &mdl()));
    assert_eq!(answer.status, 201, "{}", answer.json);
    let id = answer.json["_id"].as_str().unwrap().to_owned();
    let uuid = id.strip_prefix(&format!("{STORE}.")).unwrap();
    assert_eq!(uuid.len(), 36);
    assert_eq!(uuid.matches('-').count(), 4);
    assert!(uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'), "{uuid}");
    let vical = json!({
        "_id": id,
        "data": { "type": "vical-entry", "pem": iaca, "complementaryMetadata": mdl() },
    });
    assert_eq!(answer.json, vical);
    let other = add(client, STORE, &base(&leaf)).json["_id"].clone();
    assert_ne!(other, answer.json["_id"]);
    wanted.extend([vical, entry(other.as_str().unwrap(), &leaf)]);

    wanted.sort_by_key(|entry| entry["_id"].as_str().unwrap().to_owned());
    let list = client.get(&path(STORE)).ok();
    assert_eq!(list.json, json!(wanted));
    let paths: Vec<_> = wanted.iter().map(|entry| entry["_id"].clone()).collect();
    assert_eq!(ids(client, STORE), json!(paths));
    for entry in &wanted {
        assert_eq!(&client.get(&path(entry["_id"].as_str().unwrap())).ok().json, entry);
    }
    assert_eq!(ids(client, STORE_2), json!([]), "stores share nothing");

    // All is replaced but the id: the type and the metadata too.
    let metadata = json!({ "docType": ["x", "y"], "certificateProfile": ["urn:z", "1.2.3"] });
    let answer = replace(client, &at("a"), &vical_entry(&iaca, &metadata)).ok();
    let replaced = json!({
        "_id": at("a"),
        "data": { "type": "vical-entry", "pem": iaca, "complementaryMetadata": metadata },
    });
    assert_eq!(answer.json, replaced);
    assert_eq!(client.get(&path(&at("a"))).ok().json, replaced);
    replace(client, &at("a"), &base(&leaf)).ok();
    assert_eq!(client.get(&path(&at("a"))).ok().json, entry(&at("a"), &leaf));
    assert_eq!(client.get(&path(STORE)).ok().json, json!(wanted));

    // What is deleted is gone, once; its id is free again.
    assert_eq!(delete(client, &at("b")).ok().json, json!({ "deleted": at("b") }));
    for answer in [
        delete(client, &at("b")),
        client.get(&path(&at("b"))),
        replace(client, &at("b"), &base(&leaf)),
    ] {
        refused(&answer, 404, None, &format!("{STORE}.b does not exist"));
    }
    assert_eq!(ids(client, STORE).as_array().unwrap().len(), wanted.len() - 1);
    assert_eq!(add(client, &at("b"), &base(&iaca)).status, 201);

    // Each change is in the audit log, and nothing of it was signed.
    let audited = |kind: &str| {
        let query = format!(
            "select count(*) from audit_entries where instr(entry, '\"type\":\"{kind}\"') > 0"
        );
        appliance.count(&query)
    };
    let changes = ["store-added", "store-replaced", "store-deleted"].map(audited);
    assert_eq!(changes, [8, 2, 1]);
    assert_eq!(appliance.count("select count(*) from intents"), 2);
}

#[test]
fn a_taken_id_is_a_duplicate_and_the_entry_stays_as_it_is() {
    let (_appliance, daemon, [iaca, leaf]) = daemon();
    let client = &daemon.client;
    add(client, &at("x"), &base(&leaf));
    for body in [base(&leaf), base(&iaca), vical_entry(&iaca, &mdl())] {
        duplicate(&add(client, &at("x"), &body), &at("x"), "x509-certificate", None);
    }
    assert_eq!(client.get(&path(&at("x"))).ok().json, entry(&at("x"), &leaf));
    // In another store the id is free; the same certificate may stand anywhere, often.
    for target in [format!("{STORE_2}.x"), at("y"), at("X")] {
        let answer = add(client, &target, &base(&leaf));
        assert_eq!((answer.status, answer.json), (201, entry(&target, &leaf)));
    }
}

#[test]
fn each_target_has_its_methods() {
    let (appliance, daemon, [_, leaf]) = daemon();
    let client = &daemon.client;
    add(client, &at("x"), &base(&leaf));
    let all = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];
    for (target, allowed) in [
        (path(STORE), "GET, POST"),
        (path(&at("x")), "GET, POST, PUT, DELETE"),
        (format!("{}/ids", path(STORE)), "GET"),
    ] {
        for method in all.iter().filter(|method| !allowed.split(", ").any(|a| a == **method)) {
            let headers = [("content-type", "application/json")];
            let answer = client.send(method, &target, &headers, "").unwrap();
            assert_eq!(answer.status, 405, "{method} {target}");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
            if *method != "HEAD" {
                refused(&answer, 405, None, &format!("use {allowed}"));
            }
        }
    }
    let below = client.get(&format!("{}/ids", path(&at("x"))));
    refused(&below, 404, None, "does not exist");
    assert_eq!(client.get(&path(&at("x"))).ok().json, entry(&at("x"), &leaf));
    // A change that was refused is in the audit log, whatever its method.
    for method in ["PUT", "DELETE", "POST"] {
        let headers = [("content-type", "application/json"), ("x-request-id", method)];
        let answer = client.send(method, &path("test.none.x"), &headers, "{}").unwrap();
        assert_eq!(answer.status, 404);
        let query = format!(
            "select count(*) from audit_entries where instr(entry, '\"requestId\":\"{method}\"') > 0
                 and instr(entry, '\"type\":\"refused\"') > 0"
        );
        assert_eq!(appliance.count(&query), 1, "{method}");
    }
}

#[test]
fn of_many_clients_that_want_one_id_one_has_it() {
    let (appliance, daemon, [iaca, leaf_pem]) = daemon();
    const CLIENTS: usize = 12;
    for round in 0..4 {
        let target = at(&format!("race-{round}"));
        let start = Barrier::new(CLIENTS);
        let answers: Vec<_> = thread::scope(|scope| {
            let runners: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (target, start, client) = (&target, &start, &daemon.client);
                    let (iaca, leaf_pem) = (&iaca, &leaf_pem);
                    scope.spawn(move || {
                        client.get("/healthz").ok();
                        start.wait();
                        // An issuance wants the id as well.
                        if number % 4 == 0 {
                            let mut request = leaf("leaf-secp256r1", "Racer");
                            let id = target.rsplit('.').next().unwrap();
                            request["storedCertificateId"] = id.into();
                            return client.issue("certificate", &request);
                        }
                        let pem = if number % 4 == 1 { iaca } else { leaf_pem };
                        add(client, target, &base(pem))
                    })
                })
                .collect();
            runners.into_iter().map(|runner| runner.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status < 300);
        assert_eq!((won.len(), lost.len()), (1, CLIENTS - 1));
        for answer in lost {
            let field = answer.json["field"].as_str();
            assert!(matches!(field, None | Some("/storedCertificateId")));
            duplicate(answer, &target, "x509-certificate", field);
        }
        let winner = &won[0].json;
        let pem = if winner["data"].is_null() {
            &winner["certificatePEM"]
        } else {
            &winner["data"]["pem"]
        };
        assert_eq!(&daemon.client.get(&path(&target)).ok().json["data"]["pem"], pem);
    }
    // Who lost to another's entry signed nothing, or its serial number is accounted for.
    assert_eq!(appliance.count("select count(*) from intents where state = 'open'"), 0);
    assert_eq!(
        appliance.count("select count(*) from intents where state = 'issued'"),
        appliance.count("select count(*) from certificates"),
    );
}

#[test]
fn an_id_that_an_issuance_has_reserved_is_taken_and_not_there_yet() {
    let appliance = crate::appliance::Appliance::new();
    super::declare_more(&appliance);
    appliance
        .configure(|text| text.replace("processes = 2", "processes = 2\nsign_deadline_ms = 60000"));
    let daemon = appliance.start();
    let client = &daemon.client;
    let [_, pem] = super::two_certificates(client);
    let mut request = leaf("leaf-secp256r1", "Held");
    request["storedCertificateId"] = "held".into();
    let signers = daemon.signers();
    signers.iter().for_each(|pid| signal(*pid, "STOP"));
    let answer = thread::scope(|scope| {
        let running = scope.spawn(|| client.issue("certificate", &request));
        let open = "select count(*) from intents where state = 'open'";
        until(SOON, || (appliance.count(open) == 1).then_some(())).expect("the intent");
        duplicate(&add(client, &at("held"), &base(&pem)), &at("held"), "x509-certificate", None);
        let missing = format!("{STORE}.held does not exist");
        refused(&client.get(&path(&at("held"))), 404, None, &missing);
        refused(&replace(client, &at("held"), &base(&pem)), 404, None, &missing);
        refused(&delete(client, &at("held")), 404, None, &missing);
        assert_eq!(ids(client, STORE), json!([]));
        duplicate(
            &client.issue("certificate", &request),
            &at("held"),
            "x509-certificate",
            Some("/storedCertificateId"),
        );
        signers.iter().for_each(|pid| signal(*pid, "CONT"));
        running.join().unwrap().ok()
    });
    assert_eq!(client.get(&path(&at("held"))).ok().json, entry(&at("held"), answer.certificate()));
}

#[test]
fn what_was_answered_is_there_after_kill_9() {
    let (appliance, daemon, [iaca, leaf]) = daemon();
    let client = &daemon.client;
    for id in ["kept", "changed", "gone"] {
        assert_eq!(add(client, &at(id), &base(&leaf)).status, 201);
    }
    delete(client, &at("gone")).ok();
    replace(client, &at("changed"), &vical_entry(&iaca, &mdl())).ok();
    let before: Value = client.get(&path(STORE)).ok().json;
    daemon.kill();
    let daemon = appliance.start();
    assert_eq!(daemon.client.get(&path(STORE)).ok().json, before);
    assert_eq!(before.as_array().unwrap().len(), 2);
    delete(&daemon.client, &at("kept")).ok();
    daemon.kill();
    let daemon = appliance.start();
    assert_eq!(ids(&daemon.client, STORE), json!([at("changed")]));
}

/// Certificates that openssl makes and every reader takes, though they are no DER in some part.
const UNUSUAL: [(&str, &str); 5] = [
    ("keyUsage with zeros at its end", "2.5.29.15=critical,DER:0303070600"),
    ("TRUE as 01", "2.5.29.19=critical,DER:30030101 01"),
    ("an identifier with a large arc", "2.25.329800735698586629295641978511506172918=DER:0500"),
    ("2.999", "2.999.1=DER:0500"),
    ("an extension that is broken", "2.5.29.31=DER:3080"),
];

#[test]
fn a_base_entry_is_whatever_has_the_structure_of_one_certificate() {
    let (appliance, daemon, _) = daemon();
    let client = &daemon.client;
    for (index, (what, extension)) in UNUSUAL.into_iter().enumerate() {
        let pem = appliance.shell(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null \
             -days 100 -subj '/CN=a@b_c&d' -addext '{}' 2>/dev/null",
            extension.replace("01 01", "0101")
        ));
        let id = at(&format!("unusual-{index}"));
        let answer = add(client, &id, &base(&pem));
        assert_eq!(answer.status, 201, "{what}: {}", answer.json);
        assert_eq!(client.get(&path(&id)).ok().json["data"]["pem"], pem, "{what}");
        // As an IACA, DER counts, and more.
        let answer = add(client, &at("iaca"), &vical_entry(&pem, &mdl()));
        refused(&answer, 400, Some("/certificatePem"), "");
    }
    for (what, pem) in [
        ("a request", appliance.shell(
            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null \
             -subj /CN=x 2>/dev/null | sed 's/CERTIFICATE REQUEST/CERTIFICATE/'",
        )),
        ("nothing", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned()),
    ] {
        let answer = add(client, &at("none"), &base(&pem));
        assert_eq!(answer.status, 400, "{what}: {}", answer.json);
    }
}
