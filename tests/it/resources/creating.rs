//! What is created, what is listed, and what is refused.

use serde_json::json;

use super::{create_service, create_tenant, created, daemon, services, tenants};
use crate::{
    appliance::{Appliance, KMS, STORE},
    support::{duplicate, refused},
};

#[test]
fn tenants_nest_have_a_name_and_are_listed_by_path() {
    let (_appliance, daemon) = daemon();
    let client = &daemon.client;
    let body = json!({ "name": "Zoö", "colour": "red", "type": null });
    assert_eq!(
        created(create_tenant(client, "test.zoo", &body)),
        json!({ "_id": "test.zoo", "name": "Zoö", "origin": "api",
                "ignoredMembers": ["colour", "type"] })
    );
    for (path, body) in [
        ("test.Acme", json!({})),
        ("test.a", json!({ "name": null })),
        ("test.a.b", json!({ "name": "Under a" })),
        ("test.a.b.c", json!({})),
    ] {
        created(create_tenant(client, path, &body));
    }
    // Whatever has a name of its own is no tenant: the store is not in the list.
    created(create_service(client, "test.store", &json!({ "type": "x509-store" })));
    assert_eq!(
        tenants(client, "test").ok().json,
        json!([
            { "_id": "test.Acme", "name": "Acme", "origin": "api" },
            { "_id": "test.a", "name": "a", "origin": "api" },
            { "_id": "test.tenant1", "name": "tenant1", "origin": "config" },
            { "_id": "test.zoo", "name": "Zoö", "origin": "api" },
        ])
    );
    assert_eq!(
        tenants(client, "test.a").ok().json,
        json!([{ "_id": "test.a.b", "name": "Under a", "origin": "api" }])
    );
    assert_eq!(tenants(client, "test.a.b.c").ok().json, json!([]));
    refused(&tenants(client, "test.none"), 404, None, "test.none does not exist");
    refused(&tenants(client, STORE), 404, None, STORE);
}

#[test]
fn a_service_of_each_type_answers_with_what_it_has() {
    let (_appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_tenant(client, "test.n", &json!({})));
    created(create_tenant(client, "test.n.m", &json!({})));
    let wanted = json!([
        { "_id": "test.n.m.certs", "type": "x509-store", "origin": "api" },
        { "_id": "test.n.m.certs-2", "type": "x509-store", "origin": "api" },
        { "_id": "test.n.m.kms", "type": "kms", "origin": "api", "token": "softhsm" },
        { "_id": "test.n.m.kms-2", "type": "kms", "origin": "api", "token": "softhsm" },
        { "_id": "test.n.m.vical", "type": "vical-service", "origin": "api",
          "signingKeyId": "test.n.m.kms.vical-signer",
          "signerCertificateId": "test.n.m.certs.vical-signer-2026",
          "signerCertificateChainIds": ["test.n.m.certs-2.ca"],
          "dependencies": ["test.n.m.certs", "test.n.m.kms"] },
        { "_id": "test.n.m.x509", "type": "x509-service", "origin": "api",
          "dependencies": ["test.n.m.kms", "test.n.m.certs-2", "test.n.m.certs"] },
        { "_id": "test.n.m.x509-bare", "type": "x509-service", "origin": "api" },
    ]);
    for (path, body) in [
        ("certs", json!({ "type": "x509-store", "_id": "test.n.m.certs" })),
        ("certs-2", json!({ "type": "x509-store", "_id": null })),
        ("kms", json!({ "type": "kms" })),
        ("kms-2", json!({ "type": "kms", "token": "softhsm" })),
        ("vical", wanted[4].clone()),
        ("x509", wanted[5].clone()),
        ("x509-bare", json!({ "type": "x509-service", "dependencies": [] })),
    ] {
        let path = format!("test.n.m.{path}");
        let mut answer = created(create_service(client, &path, &body));
        // What is sent back as it came has one member that nobody asked for.
        if body.get("origin").is_some() {
            assert_eq!(answer["ignoredMembers"], json!(["origin"]));
            answer.as_object_mut().unwrap().remove("ignoredMembers");
        }
        let element = wanted.as_array().unwrap().iter().find(|wanted| wanted["_id"] == path);
        assert_eq!(Some(&answer), element);
        assert_eq!(Some(&services(client, &path).ok().json), element);
    }
    assert_eq!(services(client, "test.n.m").ok().json, wanted);
    assert_eq!(services(client, "test.n").ok().json, json!([]), "not those of nested tenants");
    assert_eq!(
        services(client, "test.tenant1.x509-service-1").ok().json,
        json!({ "_id": "test.tenant1.x509-service-1", "type": "x509-service", "origin": "config",
                "dependencies": [KMS, STORE] })
    );
    refused(&services(client, "test.none"), 404, None, "test.none does not exist");
    refused(&services(client, "test.n.m.certs.entry"), 404, None, "does not exist");
    // Directly under the organisation, too.
    created(create_service(client, "test.certs", &json!({ "type": "x509-store" })));
    assert_eq!(services(client, "test").ok().json[0]["_id"], "test.certs");
}

#[test]
fn what_is_there_declared_or_created_is_a_duplicate_before_anything_else_is_wrong() {
    let (_appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_tenant(client, "test.n", &json!({})));
    created(create_service(client, "test.n.s", &json!({ "type": "x509-store" })));
    let store = json!({ "type": "x509-store" });
    let failing = json!({ "type": "x509-service", "dependencies": ["test.none"] });
    let vical = json!({ "type": "vical-service", "signingKeyId": "test.none.key",
                        "signerCertificateId": "test.none.entry" });
    for (path, kind) in [
        ("test.tenant1", "tenant"),
        ("test.n", "tenant"),
        ("test.n.s", "service"),
        (KMS, "service"),
        (STORE, "service"),
    ] {
        duplicate(&create_tenant(client, path, &json!({})), path, kind, None);
        for body in [&store, &failing, &vical] {
            duplicate(&create_service(client, path, body), path, kind, None);
        }
    }
}

#[test]
fn a_tenant_or_service_that_cannot_be_is_refused_and_leaves_nothing() {
    let (appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_tenant(client, "test.n", &json!({})));
    let count = || appliance.count("select count(*) from resources");
    assert_eq!(count(), 1);
    let none = json!({});
    refused(&create_tenant(client, "test.x.y", &none), 404, None, "test.x does not exist");
    refused(&create_tenant(client, &format!("{KMS}.y"), &none), 400, None, KMS);
    refused(&create_tenant(client, "test.n", &json!([])), 400, None, "must be an object");
    let blank = create_tenant(client, "test.m", &json!({ "name": " " }));
    refused(&blank, 400, Some("/name"), "blank");
    let number = create_tenant(client, "test.m", &json!({ "name": 1 }));
    refused(&number, 400, Some("/name"), "must be a string");
    let control = create_tenant(client, "test.m", &json!({ "name": "a\u{7}" }));
    refused(&control, 400, Some("/name"), "control");

    let x509 = |dependencies| json!({ "type": "x509-service", "dependencies": dependencies });
    let vical = |key: &str, certificate: &str, chain: &[&str]| {
        json!({ "type": "vical-service", "signingKeyId": key, "signerCertificateId": certificate,
                "signerCertificateChainIds": chain })
    };
    let key = format!("{KMS}.k");
    let entry = format!("{STORE}.e");
    for (body, status, field, message) in [
        (json!({}), 400, Some("/type"), "type is required"),
        (json!({ "type": "wallet" }), 400, Some("/type"), "'wallet' is not offered"),
        (json!({ "type": null }), 400, Some("/type"), "type is required"),
        (
            json!({ "type": "x509-store", "_id": "test.n.other" }),
            400,
            Some("/_id"),
            "_id must equal the target test.n.s",
        ),
        (json!({ "type": "kms", "token": "none" }), 400, Some("/token"), "'none'"),
        (x509(json!("test.x")), 400, Some("/dependencies"), "must be an array"),
        (x509(json!([1])), 400, Some("/dependencies/0"), "must be a string"),
        (x509(json!([KMS, "a b"])), 400, Some("/dependencies/1"), "a b"),
        (x509(json!([KMS, "test.none"])), 404, Some("/dependencies/1"), "test.none does not exist"),
        (x509(json!([KMS, KMS])), 400, Some("/dependencies/1"), "twice"),
        (x509(json!(["test.n"])), 400, Some("/dependencies/0"), "test.n is not a service"),
        (
            x509(json!([STORE, "test.tenant1.vical"])),
            400,
            Some("/dependencies/1"),
            "an x509-service cannot depend on a vical-service",
        ),
        (x509(json!([STORE, "test.n.s"])), 404, Some("/dependencies/1"), "does not exist"),
        (x509(json!([KMS, "other.store"])), 400, Some("/dependencies/1"), "organisation"),
        (
            vical(&key, &entry, &[&*entry; 9]),
            400,
            Some("/signerCertificateChainIds"),
            "at most 8 certificates",
        ),
        (json!({ "type": "vical-service" }), 400, Some("/signingKeyId"), "is required"),
        (
            json!({ "type": "vical-service", "signingKeyId": key }),
            400,
            Some("/signerCertificateId"),
            "is required",
        ),
        (vical("test.none.k", &entry, &[]), 404, Some("/signingKeyId"), "test.none"),
        (vical(&entry, &entry, &[]), 404, Some("/signingKeyId"), STORE),
        (vical(&key, "test.none.e", &[]), 404, Some("/signerCertificateId"), "test.none"),
        (vical(&key, &key, &[]), 404, Some("/signerCertificateId"), KMS),
        (
            vical(&key, &entry, &[&entry, "test.no.e"]),
            404,
            Some("/signerCertificateChainIds/1"),
            "test.no",
        ),
    ] {
        let answer = create_service(client, "test.n.s", &body);
        refused(&answer, status, field, message);
        refused(&services(client, "test.n.s"), 404, None, "test.n.s does not exist");
    }
    let store = json!({ "type": "x509-store" });
    refused(&create_service(client, "test.x.s", &store), 404, None, "test.x does not exist");
    let below = create_service(client, &format!("{STORE}.s"), &store);
    refused(&below, 400, None, "is a service");
    assert_eq!(count(), 1);
    // A VICAL service may depend on a store without a signer that is there already.
    created(create_service(client, "test.n.s", &vical(&key, &entry, &[])));
}

#[test]
fn a_type_that_is_switched_off_is_not_created_and_the_declared_ones_work_on() {
    for (feature, body) in [
        ("kms", json!({ "type": "kms" })),
        ("x509", json!({ "type": "x509-service" })),
        ("store", json!({ "type": "x509-store" })),
        (
            "vical",
            json!({ "type": "vical-service", "signingKeyId": format!("{KMS}.k"),
                          "signerCertificateId": format!("{STORE}.e") }),
        ),
    ] {
        let appliance = Appliance::new();
        appliance.declare(&format!("[features]\n{feature} = false"));
        let daemon = appliance.start();
        let client = &daemon.client;
        let off = create_service(client, "test.s", &body);
        refused(&off, 403, Some("/type"), "switched off");
        let name = body["type"].as_str().unwrap();
        assert!(off.json["message"].as_str().unwrap().contains(name), "{}", off.json);
        let other = if feature == "store" { "kms" } else { "x509-store" };
        created(create_service(client, "test.o", &json!({ "type": other })));
        let entries = client.get(&format!("/v1/{STORE}/x509-store-api/certificates"));
        assert_eq!(entries.ok().json, json!([]));
    }
}

#[test]
fn a_kms_needs_a_token_when_there_are_two() {
    let appliance = Appliance::new();
    appliance.shell(
        "softhsm2-util --init-token --free --label second --so-pin 87654321 --pin 87654321; \
         echo 87654321 >pin-2",
    );
    appliance
        .configure(|text| text.replace("type = \"kms\"", "type = \"kms\"\ntoken = \"softhsm\""));
    appliance.declare(
        r#"
        [[tokens]]
        name = "second"
        module = "/usr/lib/softhsm/libsofthsm2.so"
        label = "second"
        pin_file = "pin-2"
        environment_paths = { SOFTHSM2_CONF = "softhsm2.conf" }
        "#,
    );
    let daemon = appliance.start();
    let client = &daemon.client;
    let bare = create_service(client, "test.kms", &json!({ "type": "kms" }));
    refused(&bare, 400, Some("/token"), "token is required");
    let second = json!({ "type": "kms", "token": "second" });
    assert_eq!(created(create_service(client, "test.kms", &second))["token"], "second");

    // A token that is no longer configured is known by name when the daemon starts again.
    daemon.stop();
    appliance.configure(|text| text.replace("name = \"second\"", "name = \"third\""));
    let said = appliance.refuses_to_start();
    assert!(said.contains("test.kms in the ledger does not fit the configuration: token 'second' is not configured"), "{said}");
}
