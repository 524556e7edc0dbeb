//! The inventory of issued certificates.

mod filters;
mod items;
mod pages;

use std::path::PathBuf;

use serde_json::Value;

use crate::{
    appliance::{Answer, Appliance, Client, Daemon, SERVICE, documented},
    support::{iaca, leaf},
};

const OTHER: &str = "test.tenant1.bare";
const SECOND: &[(&str, &[&str])] = &[("test.tenant1", &["issue:generic", "issue:iaca"])];

fn path(service: &str) -> String {
    format!("/v1/{service}/x509-service-api/certificates")
}

fn list(client: &Client, query: &str) -> Answer {
    client.get(&format!("{}?{query}", path(SERVICE)))
}

#[track_caller]
fn items(client: &Client, query: &str) -> Vec<Value> {
    let answer = list(client, query).ok();
    assert!(answer.json.get("nextCursor").is_none(), "{query}");
    answer.json["items"].as_array().unwrap().clone()
}

fn serials(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["serial"].as_str().unwrap()).collect()
}

/// A second service without a store, and a second client.
fn appliance() -> (Appliance, PathBuf) {
    let appliance = Appliance::new();
    appliance.declare(&format!(
        "[[services]]\npath = \"{OTHER}\"\ntype = \"x509-service\"\n\
         dependencies = [\"test.tenant1.kms1\"]"
    ));
    let certificate = appliance.add_client("second", SECOND);
    (appliance, certificate)
}

/// Issues a bit of everything, and waits for nothing.
fn issue_some(appliance: &Appliance, daemon: &Daemon, second: &std::path::Path) {
    let client = &daemon.client;
    let second = daemon.client_with(appliance, second);
    let stored = |mut request: Value, id: &str| {
        request["storedCertificateId"] = id.into();
        request
    };
    let ending = |mut request: Value, not_after: &str| {
        request["certificateData"]["notAfter"] = not_after.into();
        request
    };
    client.issue("iso/iacas", &stored(iaca("iaca-secp384r1", "Root A"), "root-a")).ok();
    client
        .issue("iso/iacas", &ending(iaca("iaca-secp521r1", "Root B"), "2030-01-01T00:00:00Z"))
        .ok();
    let ds = documented("document-signers-create.request.json");
    client.issue("iso/document-signers", &stored(ds.clone(), "ds-1")).ok();
    client.issue("iso/document-signers", &stored(ds, "ds-2")).ok();
    let root = crate::appliance::generic_ca("root-secp256r1", "Generic Root");
    client.issue("certificate", &stored(root, "root-g")).ok();
    let intermediate = documented("certificate-ca-signed-intermediate.request.json");
    client.issue("certificate", &stored(intermediate, "intermediate")).ok();
    for (name, key) in [("Leaf A", "leaf-secp256r1"), ("Leaf B", "tls-secp256r1")] {
        client.issue("certificate", &leaf(key, name)).ok();
        second.issue("certificate", &ending(leaf(key, name), "2031-06-01T00:00:00Z")).ok();
    }
    let mut later = leaf("leaf-secp256r1", "Leaf A");
    later["certificateData"]["notBefore"] = "2060-01-01T00:00:00Z".into();
    client.issue("certificate", &ending(later, "2061-01-01T00:00:00Z")).ok();
    second.issue("iso/iacas", &stored(iaca("iaca-secp521r1", "Root B"), "root-b")).ok();
    // Another service's, with much the same content.
    let path = format!("/v1/{OTHER}/x509-service-api/certificate");
    client.post_json(&path, &leaf("leaf-secp256r1", "Leaf A")).ok();
}
