//! What was created lasts, is made once, and works.

use std::{sync::Barrier, thread};

use serde_json::{Value, json};

use super::{
    attach, attached, create_service, create_tenant, created, daemon, declare_more, dependencies,
    services, tenants,
};
use crate::{
    appliance::{Answer, Appliance, Client, Daemon, KMS, STORE},
    support::{duplicate, refused},
};

/// Everything that can be asked of the tree.
fn everything(client: &Client) -> Vec<Value> {
    ["test", "test.n", "test.n.m", "test.tenant1"]
        .iter()
        .flat_map(|path| [tenants(client, path).ok().json, services(client, path).ok().json])
        .collect()
}

#[test]
fn what_was_created_is_there_after_a_stop_and_after_kill_9() {
    let (appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_tenant(client, "test.n", &json!({ "name": "Näme \"quoted\"" })));
    created(create_tenant(client, "test.n.m", &json!({})));
    created(create_service(client, "test.n.m.kms", &json!({ "type": "kms" })));
    for store in ["test.n.m.b", "test.n.m.a"] {
        created(create_service(client, store, &json!({ "type": "x509-store" })));
    }
    let x509 = json!({ "type": "x509-service", "dependencies": ["test.n.m.kms"] });
    created(create_service(client, "test.n.x509", &x509));
    let vical = json!({
        "type": "vical-service", "signingKeyId": "test.n.m.kms.k",
        "signerCertificateId": "test.n.m.a.signer", "signerCertificateChainIds": ["test.n.m.b.ca"],
        "dependencies": ["test.n.m.b"],
    });
    created(create_service(client, "test.n.vical", &vical));
    attach(client, "test.n.x509", "test.n.m.b").ok();
    attach(client, "test.n.x509", "test.n.m.a").ok();
    attach(client, "test.n.x509", STORE).ok();
    let body = json!({ "dependency": "test.n.m.b" });
    dependencies(client, "remove", "test.n.x509", &body).ok();
    let before = everything(client);
    let wanted = json!(["test.n.m.kms", "test.n.m.a", STORE]);
    assert_eq!(attached(client, "test.n.x509"), wanted);
    daemon.stop();

    let daemon = appliance.start();
    let client = &daemon.client;
    assert_eq!(everything(client), before);
    // Between the answer and the kill is nothing.
    created(create_tenant(client, "test.n.last", &json!({})));
    attach(client, "test.n.x509", KMS).ok();
    daemon.kill();

    let daemon = appliance.start();
    let client = &daemon.client;
    assert_eq!(tenants(client, "test.n.last").ok().json, json!([]));
    assert_eq!(attached(client, "test.n.x509"), json!(["test.n.m.kms", "test.n.m.a", STORE, KMS]));
    duplicate(&create_tenant(client, "test.n.m", &json!({})), "test.n.m", "tenant", None);
    refused(&attach(client, "test.n.x509", KMS), 409, None, "dependency already exists");
}

/// The answers to one request that sixteen clients send at once.
fn race(daemon: &Daemon, path: &str, body: &Value) -> Vec<Answer> {
    const CLIENTS: usize = 16;
    let start = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        let runners: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    // The connection is there before the race.
                    daemon.client.get("/healthz").ok();
                    start.wait();
                    daemon.client.post_json(path, body)
                })
            })
            .collect();
        runners.into_iter().map(|runner| runner.join().unwrap()).collect()
    })
}

#[test]
fn of_sixteen_clients_that_create_one_thing_one_succeeds_and_the_others_meet_it() {
    let (appliance, daemon) = daemon();
    let store = json!({ "type": "x509-store" });
    for round in 0..4 {
        let tenant = format!("test.t{round}");
        let service = format!("{tenant}.s");
        for (path, body, target, kind) in [
            (format!("/v1/{tenant}/resource-api/tenants/create"), json!({}), &tenant, "tenant"),
            (
                format!("/v1/{service}/resource-api/services/create"),
                store.clone(),
                &service,
                "service",
            ),
        ] {
            let answers = race(&daemon, &path, &body);
            let (first, others): (Vec<_>, Vec<_>) =
                answers.iter().partition(|answer| answer.status == 201);
            assert_eq!((first.len(), others.len()), (1, 15));
            others.iter().for_each(|answer| duplicate(answer, target, kind, None));
        }
        let x509 = format!("{tenant}.x509");
        created(create_service(&daemon.client, &x509, &json!({ "type": "x509-service" })));
        let path = format!("/v1/{x509}/x509-service-api/dependencies/add");
        let answers = race(&daemon, &path, &json!({ "dependency": service }));
        let wanted = format!("dependency already exists: {service}");
        let (first, others): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((first.len(), others.len()), (1, 15));
        others.iter().for_each(|answer| refused(answer, 409, None, &wanted));
        assert_eq!(attached(&daemon.client, &x509), json!([service]));
    }
    assert_eq!(appliance.count("select count(*) from resources"), 12);
    daemon.stop();
    drop(appliance.start());
}

#[test]
fn different_changes_at_once_all_last() {
    let (appliance, daemon) = daemon();
    created(create_service(&daemon.client, "test.x509", &json!({ "type": "x509-service" })));
    let stores: Vec<_> = (0..12).map(|n| format!("test.s{n}")).collect();
    thread::scope(|scope| {
        for store in &stores {
            let client = &daemon.client;
            scope.spawn(move || {
                created(create_service(client, store, &json!({ "type": "x509-store" })));
                attach(client, "test.x509", store).ok();
            });
        }
    });
    let before = attached(&daemon.client, "test.x509");
    let mut seen: Vec<_> = before.as_array().unwrap().iter().map(|path| path.as_str()).collect();
    seen.sort_unstable();
    let mut wanted: Vec<_> = stores.iter().map(|path| Some(path.as_str())).collect();
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
    daemon.kill();
    assert_eq!(attached(&appliance.start().client, "test.x509"), before);
}

#[test]
fn a_daemon_whose_configuration_and_ledger_disagree_does_not_start_and_says_why() {
    let (appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_tenant(client, "test.n", &json!({})));
    created(create_service(
        client,
        "test.n.x509",
        &json!({
            "type": "x509-service", "dependencies": [KMS, STORE],
        }),
    ));
    let vical = json!({ "type": "vical-service", "signingKeyId": format!("{KMS}.k"),
                        "signerCertificateId": format!("{STORE}.e") });
    created(create_service(client, "test.vical", &vical));
    daemon.stop();
    let good = std::fs::read_to_string(appliance.config()).unwrap();

    for (change, wanted) in [
        // Declared what a client had created.
        (
            format!("{good}\n[[tenants]]\npath = \"test.n\""),
            "test.n in the ledger does not fit the configuration: test.n exists",
        ),
        // Declared as another thing what is a service.
        (
            format!("{good}\n[[tenants]]\npath = \"test.vical\""),
            "test.vical in the ledger does not fit the configuration: test.vical exists",
        ),
        // The organisation is gone, and with it what stands above.
        (
            good.replace("path = \"test\"\n", "path = \"test9\"\n")
                .replace("\"test.tenant1", "\"test9.tenant1"),
            "test.n in the ledger does not fit the configuration: test does not exist",
        ),
        // A dependency is no longer declared.
        (
            good.replace("x509-store-1", "x509-store-9"),
            "test.n.x509 in the ledger does not fit the configuration: \
             test.tenant1.x509-store-1 does not exist",
        ),
    ] {
        assert_ne!(change, good);
        appliance.configure(|_| change);
        let said = appliance.refuses_to_start();
        assert!(said.contains(wanted), "'{wanted}' in\n{said}");
    }
    appliance.configure(|_| good);
    assert_eq!(attached(&appliance.start().client, "test.n.x509"), json!([KMS, STORE]));
}

#[test]
fn a_service_that_was_made_over_the_api_issues_with_a_kms_and_a_store_that_were_too() {
    let appliance = Appliance::new();
    declare_more(&appliance);
    appliance.generate_key("test.n.kms.root", "ab01", "EC:secp384r1");
    let daemon = appliance.start();
    let client = &daemon.client;
    created(create_tenant(client, "test.n", &json!({})));
    created(create_service(client, "test.n.kms", &json!({ "type": "kms" })));
    created(create_service(client, "test.n.certs", &json!({ "type": "x509-store" })));
    created(create_service(client, "test.n.x509", &json!({ "type": "x509-service" })));
    let request = json!({
        "storedCertificateId": "root-1",
        "certificateData": {
            "country": "NL", "commonName": "Root",
            "issuerAlternativeNameConf": { "uri": "https://iaca.example.com" },
        },
        "iacaKeyDesc": { "type": "kms-hosted-key-descriptor", "keyIdPath": "test.n.kms.root" },
    });
    let issue =
        |client: &Client| client.post_json("/v1/test.n.x509/x509-service-api/iso/iacas", &request);
    refused(
        &issue(client),
        400,
        Some("/iacaKeyDesc/keyIdPath"),
        "KMS test.n.kms is not attached to test.n.x509",
    );
    attach(client, "test.n.x509", "test.n.kms").ok();
    let without_store = issue(client).ok();
    assert!(without_store.json.get("storedCertificateIds").is_none(), "{}", without_store.json);
    attach(client, "test.n.x509", "test.n.certs").ok();
    let answer = issue(client).ok();
    assert_eq!(answer.json["storedCertificateIds"], json!(["test.n.certs.root-1"]));
    daemon.stop();

    let daemon = appliance.start();
    let entry = daemon.client.get("/v1/test.n.certs.root-1/x509-store-api/certificates").ok();
    assert_eq!(entry.json["data"]["pem"], answer.json["certificatePEM"]);
    duplicate(
        &issue(&daemon.client),
        "test.n.certs.root-1",
        "x509-certificate",
        Some("/storedCertificateId"),
    );
    let body = json!({ "dependency": "test.n.certs" });
    dependencies(&daemon.client, "remove", "test.n.x509", &body).ok();
    issue(&daemon.client).ok();
}
