//! The examples of requests in the OpenAPI document can be tried: a daemon on the development tree
//! (`config/dev.toml`) and its keys (`softhsm/demo.sh`) accepts them, in the order of the document.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::appliance::{Appliance, Client, generic_ca};

/// The document, a client, and the examples that have been sent.
struct Examples {
    document: Value,
    client: Client,
    sent: BTreeSet<String>,
}

impl Examples {
    /// Path, method and operation.
    fn operation(&self, id: &str) -> (&str, &str, &Value) {
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if operation["operationId"] == id {
                    return (path, method, operation);
                }
            }
        }
        panic!("{id} is not documented");
    }

    /// The path of an operation with the example of its target.
    fn target(&self, id: &str) -> String {
        let (_, _, operation) = self.operation(id);
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = match parameter["$ref"].as_str() {
                Some(reference) => self.document.pointer(&reference[1..]).unwrap(),
                None => parameter,
            };
            if parameter["name"] == "target" {
                return parameter["schema"]["examples"][0].as_str().unwrap().to_owned();
            }
        }
        panic!("{id} has no target");
    }

    /// The media type and the name of each example of an operation.
    fn names(&self, id: &str) -> Vec<(String, String)> {
        let (_, _, operation) = self.operation(id);
        let contents = operation["requestBody"]["content"].as_object().into_iter().flatten();
        contents
            .flat_map(|(media_type, content)| {
                let names = content["examples"].as_object().unwrap().keys();
                names.map(|name| (media_type.clone(), name.clone()))
            })
            .collect()
    }

    /// Sends one example, which must be accepted.
    #[track_caller]
    fn send(&mut self, id: &str, media_type: &str, name: &str, target: &str) {
        let (path, method, operation) = self.operation(id);
        let body = &operation["requestBody"]["content"][media_type]["examples"][name]["value"];
        let body = match (media_type, body.as_str()) {
            ("text/plain", Some(text)) => text.to_owned(),
            _ => body.to_string(),
        };
        let path = path.replace("{target}", target);
        let headers = [("content-type", media_type)];
        let answer = self.client.send(&method.to_uppercase(), &path, &headers, body).unwrap();
        assert!(answer.status < 300, "{id}, {name}: {} {}", answer.status, answer.json);
        self.sent.insert(format!("{id} {media_type} {name}"));
    }

    /// Sends all examples of an operation, each of which leaves room for the next.
    #[track_caller]
    fn send_all(&mut self, id: &str, target: &str) {
        for (media_type, name) in self.names(id) {
            self.send(id, &media_type, &name, target);
        }
    }

    /// Sends all examples of an operation on the target of its own example.
    #[track_caller]
    fn send_all_there(&mut self, id: &str) {
        self.send_all(id, &self.target(id));
    }

    /// Sends each example of an operation and undoes it again.
    #[track_caller]
    fn send_each_and(&mut self, id: &str, undo: &str, undo_with: &str) {
        let target = self.target(undo);
        for (media_type, name) in self.names(id) {
            self.send(id, &media_type, &name, &target);
            match undo_with {
                "" => drop(self.delete(undo)),
                example => self.send(undo, "application/json", example, &target),
            }
        }
    }

    #[track_caller]
    fn delete(&self, id: &str) -> Value {
        let (path, method, _) = self.operation(id);
        let path = path.replace("{target}", &self.target(id));
        self.client.send(&method.to_uppercase(), &path, &[], "").unwrap().ok().json
    }
}

#[test]
fn every_example_of_a_request_is_accepted() {
    let appliance = Appliance::new();
    appliance.declare("[dev]\nimport_keys = true\n[compat]\nlogin = true\n");
    let daemon = appliance.start();
    let document = daemon.client.get("/openapi.json").ok().json;
    let client = daemon.client.clone();
    let mut examples = Examples { document, client, sent: BTreeSet::new() };

    examples.send_all("login", "");
    examples.send_all_there("createTenant");
    for (media_type, name) in examples.names("createService") {
        let target = format!("test.tenant1.{name}-2");
        examples.send("createService", &media_type, &name, &target);
    }
    for service in ["X509", "Vical"] {
        let (attach, detach) =
            (format!("attach{service}Dependency"), format!("detach{service}Dependency"));
        examples.send_each_and(&attach, &detach, "object");
    }
    examples.send_all_there("generateKey");
    examples.send_all_there("importKey");
    examples.send_all_there("issueIaca");
    // The other example holds the certificate of an IACA whose key is on another token.
    let service = examples.target("issueDocumentSigner");
    for name in ["documented", "key-in-the-request"] {
        examples.send("issueDocumentSigner", "application/json", name, &service);
    }
    examples.send_all_there("issueCertificate");
    examples.send_all_there("makeCsr");

    examples.send_each_and("addStoreEntry", "deleteStoreEntry", "");
    let entry = examples.target("addStoreEntry");
    examples.send("addStoreEntry", "application/json", "base", &entry);
    examples.send_all("replaceStoreEntry", &entry);

    let key = "test.tenant1.kms1.vical-signer";
    let path = format!("/v1/{key}/kms-service-api/keys/generate");
    let made = examples.client.post(&path, r#"{ "keyType": "secp256r1" }"#);
    assert_eq!(made.status, 201, "{}", made.json);
    let mut signer = generic_ca("vical-signer", "Acme Trust List Signer");
    signer["storedCertificateId"] = "vical-signer".into();
    examples.client.issue("certificate", &signer).ok();

    examples.send_all_there("publishVical");

    let all = all_names(&examples);
    let left: Vec<_> = all.difference(&examples.sent).map(String::as_str).collect();
    assert_eq!(left, ["issueDocumentSigner application/json supplied"]);
}

fn all_names(examples: &Examples) -> BTreeSet<String> {
    let items = examples.document["paths"].as_object().unwrap().values();
    items
        .flat_map(|item| item.as_object().unwrap().values())
        .flat_map(|operation| {
            let id = operation["operationId"].as_str().unwrap();
            let names = examples.names(id).into_iter();
            names.map(move |(media_type, name)| format!("{id} {media_type} {name}"))
        })
        .collect()
}
