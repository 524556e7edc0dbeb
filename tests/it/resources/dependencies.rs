//! Attaching and detaching.

use serde_json::json;

use super::{
    attach, attached, create_service, create_tenant, created, daemon, dependencies, services,
};
use crate::{
    appliance::{KMS, SERVICE, STORE},
    support::refused,
};

const X509: &str = "test.n.x509";

#[test]
fn a_dependency_comes_as_object_as_json_string_and_as_plain_text() {
    let (_appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_tenant(client, "test.n", &json!({})));
    created(create_service(client, X509, &json!({ "type": "x509-service" })));
    for store in ["s1", "s2", "s3", "s4", "s5"] {
        let path = format!("test.n.{store}");
        created(create_service(client, &path, &json!({ "type": "x509-store" })));
    }
    let add = |media_type: &str, body: &str| {
        let path = format!("/v1/{X509}/x509-service-api/dependencies/add");
        client.send("POST", &path, &[("content-type", media_type)], body).unwrap()
    };
    let mut wanted: Vec<String> = Vec::new();
    for (store, media_type, body) in [
        ("test.n.s4", "application/json", r#"{"dependency": "test.n.s4"}"#),
        ("test.n.s2", "application/json; charset=utf-8", r#""test.n.s2""#),
        ("test.n.s3", "text/plain", "test.n.s3"),
        ("test.n.s1", "Text/Plain;charset=UTF-8", " \r\n\ttest.n.s1\n"),
        (KMS, "application/json", r#""test.tenant1.kms1""#),
    ] {
        wanted.push(store.to_owned());
        let answer = add(media_type, body).ok();
        // In the order of attachment, not by path.
        assert_eq!(answer.json, json!({ "_id": X509, "dependencies": wanted }));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let again = add(media_type, body);
        refused(&again, 409, None, &format!("dependency already exists: {store}"));
        assert!(again.json.get("type").is_none(), "{}", again.json);
    }
    let list = client.get(&format!("/v1/{X509}/x509-service-api/dependencies")).ok();
    assert_eq!(list.json, json!({ "_id": X509, "dependencies": wanted }));
    assert_eq!(services(client, X509).ok().json["dependencies"], json!(wanted));

    // The body as a whole has no member to blame.
    for (media_type, body, status, field, message) in [
        ("application/json", r#"{"dependency": "test.n.s9"}"#, 404, Some("/dependency"), "s9"),
        ("application/json", r#""test.n.s9""#, 404, None, "test.n.s9 does not exist"),
        ("text/plain", "test.n.s9", 404, None, "test.n.s9 does not exist"),
        ("application/json", r#"{"dependency": "a b"}"#, 400, Some("/dependency"), "a b"),
        ("application/json", r#""a b""#, 400, None, "a b"),
        ("text/plain", "a b", 400, None, "a b"),
        ("text/plain", "", 400, None, "empty"),
        ("text/plain", r#"{"dependency": "test.n.s5"}"#, 400, None, ""),
        ("text/plain", "test.n.s5 test.n.s5", 400, None, ""),
        ("application/json", "test.n.s5", 400, None, "body is not JSON"),
        ("application/json", "[]", 400, None, "must be an object"),
        ("application/json", "{}", 400, Some("/dependency"), "dependency is required"),
        ("application/json", r#"{"dependency": null}"#, 400, Some("/dependency"), "is required"),
        ("application/xml", "test.n.s5", 415, None, "send application/json"),
    ] {
        refused(&add(media_type, body), status, field, message);
    }
    assert_eq!(attached(client, X509), json!(wanted));

    // Removing takes the first form, closes the gap, and attaching again puts it last.
    let remove = |body| dependencies(client, "remove", X509, &body);
    let gone = remove(json!({ "dependency": "test.n.s2" })).ok();
    let rest = json!(["test.n.s4", "test.n.s3", "test.n.s1", KMS]);
    assert_eq!(gone.json, json!({ "_id": X509, "dependencies": rest }));
    let twice = remove(json!({ "dependency": "test.n.s2" }));
    refused(&twice, 404, Some("/dependency"), "test.n.s2 is not attached to test.n.x509");
    refused(&remove(json!("test.n.s3")), 400, None, "must be an object");
    let text = client.send(
        "POST",
        &format!("/v1/{X509}/x509-service-api/dependencies/remove"),
        &[("content-type", "text/plain")],
        "test.n.s3",
    );
    refused(&text.unwrap(), 415, None, "send application/json");
    assert_eq!(attached(client, X509), rest);
    let last = json!(["test.n.s4", "test.n.s3", "test.n.s1", KMS, "test.n.s2"]);
    assert_eq!(attach(client, X509, "test.n.s2").ok().json["dependencies"], last);
}

#[test]
fn what_does_not_fit_is_not_attached() {
    let (appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_service(client, "test.x509", &json!({ "type": "x509-service" })));
    for (dependency, status, message) in [
        ("test.kms9", 404, "test.kms9 does not exist"),
        ("test.tenant1.vical", 400, "an x509-service cannot depend on a vical-service"),
        (SERVICE, 400, "an x509-service cannot depend on an x509-service"),
        ("test.x509", 400, "an x509-service cannot depend on an x509-service"),
        ("test.tenant1", 400, "test.tenant1 is not a service"),
        ("test", 400, "test is not a service"),
        ("other.store", 400, "other.store belongs to another organisation"),
        ("test.tenant1.kms1.secp256r1", 404, "does not exist"),
    ] {
        refused(&attach(client, "test.x509", dependency), status, Some("/dependency"), message);
    }
    assert_eq!(attached(client, "test.x509"), json!([]));
    assert_eq!(appliance.count("select count(*) from resources"), 1);
    for target in [KMS, STORE, "test.tenant1", "test.none"] {
        refused(&attach(client, target, STORE), 404, None, target);
    }
    let kms = format!("/v1/{KMS}/kms-service-api/dependencies/add");
    refused(&client.post_json(&kms, &json!(STORE)), 404, None, "not found");
}

#[test]
fn a_vical_service_takes_dependencies_too() {
    let (_appliance, daemon) = daemon();
    let client = &daemon.client;
    let vical = json!({ "type": "vical-service", "signingKeyId": format!("{KMS}.k"),
                        "signerCertificateId": format!("{STORE}.e") });
    created(create_service(client, "test.vical", &vical));
    let path = "/v1/test.vical/vical-service-api/dependencies";
    for (dependency, after) in [(STORE, json!([STORE])), (KMS, json!([STORE, KMS]))] {
        let answer = client.post_json(&format!("{path}/add"), &json!(dependency)).ok();
        assert_eq!(answer.json, json!({ "_id": "test.vical", "dependencies": after }));
    }
    let wrong = client.post_json(&format!("{path}/add"), &json!({ "dependency": SERVICE }));
    refused(&wrong, 400, Some("/dependency"), "a vical-service cannot depend on an x509-service");
    let removed = client.post_json(&format!("{path}/remove"), &json!({ "dependency": STORE })).ok();
    assert_eq!(removed.json["dependencies"], json!([KMS]));
    assert_eq!(client.get(path).ok().json["dependencies"], json!([KMS]));
}

#[test]
fn a_declared_service_is_read_only_but_what_it_has_it_has() {
    let (appliance, daemon) = daemon();
    let client = &daemon.client;
    created(create_service(client, "test.store", &json!({ "type": "x509-store" })));
    let read_only = format!("{SERVICE} is declared in the configuration and read-only");
    refused(&attach(client, SERVICE, "test.store"), 403, None, &read_only);
    refused(&attach(client, SERVICE, "test.none"), 403, None, &read_only);
    let attached_already = format!("dependency already exists: {KMS}");
    refused(&attach(client, SERVICE, KMS), 409, None, &attached_already);
    for dependency in [KMS, "test.store"] {
        let body = json!({ "dependency": dependency });
        refused(&dependencies(client, "remove", SERVICE, &body), 403, None, &read_only);
    }
    assert_eq!(attached(client, SERVICE), json!([KMS, STORE]));
    let changed = "select count(*) from audit_entries where instr(entry, '\"dependency-') > 0";
    assert_eq!(appliance.count(changed), 0);
    // The question was a good one: the same change of a created service is recorded so.
    created(create_service(client, "test.x509", &json!({ "type": "x509-service" })));
    attach(client, "test.x509", "test.store").ok();
    assert_eq!(appliance.count(changed), 1);
}
