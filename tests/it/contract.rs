//! The published examples of the compatible API, byte for byte as requests, member for member as
//! answers.

use serde_json::Value;

use crate::appliance::{Appliance, Daemon, STORE, documented, generic_ca};

fn daemon() -> (Appliance, Daemon) {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    (appliance, daemon)
}

/// Responses are templates: some values stand for any value of their kind, all else is equal.
fn assert_matches(template: &Value, actual: &Value, place: &str) {
    match (template, actual) {
        (Value::Object(wanted), Value::Object(given)) => {
            let names = |object: &serde_json::Map<String, Value>| {
                object.keys().cloned().collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(names(wanted), names(given), "members of {place}");
            for (name, value) in wanted {
                assert_matches(value, &given[name], &format!("{place}/{name}"));
            }
        }
        (Value::Array(wanted), Value::Array(given)) => {
            assert_eq!(wanted.len(), given.len(), "{place}");
            for (index, (wanted, given)) in wanted.iter().zip(given).enumerate() {
                assert_matches(wanted, given, &format!("{place}/{index}"));
            }
        }
        (Value::String(wanted), Value::String(given)) => match wanted.as_str() {
            "<generated-timestamp>" => {
                let shape: String =
                    given.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
                assert_eq!(shape, "9999-99-99T99:99:99Z", "{place}: {given}");
            }
            "..." => assert!(
                !given.is_empty()
                    && given.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
                "{place}: {given}"
            ),
            pem if pem.starts_with("-----BEGIN") => {
                let label = |text: &str| text.lines().next().map(str::to_owned);
                assert_eq!(label(given), label(pem), "{place}");
                assert_eq!(given.matches("-----BEGIN").count(), 1, "{place}");
            }
            _ => assert_eq!(wanted, given, "{place}"),
        },
        _ => assert_eq!(template, actual, "{place}"),
    }
}

#[test]
fn the_documented_iaca_is_issued() {
    let (_appliance, daemon) = daemon();
    let answer = daemon.client.issue("iso/iacas", &documented("iacas-create.request.json")).ok();
    assert_matches(&documented("iacas-create.response.json"), &answer.json, "");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("chancery-serial").map(str::len), Some(32));
    assert!(answer.header("chancery-audit-index").is_some());
    assert!(answer.header("x-request-id").is_some());
    let entry =
        daemon.client.get(&format!("/v1/{STORE}.iaca-prod-2026-q1/x509-store-api/certificates"));
    assert_eq!(entry.ok().json["data"]["type"], "vical-entry");
}

#[test]
fn the_documented_document_signer_pins_its_described_iaca() {
    let (appliance, daemon) = daemon();
    let request = documented("document-signers-create.request.json");
    let answer = daemon.client.issue("iso/document-signers", &request).ok();
    assert_matches(&documented("document-signers-create.response.json"), &answer.json, "");
    assert_eq!(appliance.count("select count(*) from iaca_pins"), 1);

    // The same description again is the same IACA; another one is refused.
    let mut again = request.clone();
    again["storedCertificateId"] = "ds-2".into();
    daemon.client.issue("iso/document-signers", &again).ok();
    assert_eq!(appliance.count("select count(*) from iaca_pins"), 1);
    again["storedCertificateId"] = "ds-3".into();
    again["iacaSigner"]["certificateData"]["notAfter"] = "2040-05-24T12:23:02Z".into();
    let refused = daemon.client.issue("iso/document-signers", &again);
    assert_eq!(refused.status, 400, "{}", refused.json);
    assert!(refused.json["message"].as_str().unwrap().ends_with("notAfter"), "{}", refused.json);
}

#[test]
fn the_documented_self_signed_leaf_is_issued() {
    let (_appliance, daemon) = daemon();
    let request = documented("certificate-self-signed-leaf.request.json");
    let answer = daemon.client.issue("certificate", &request).ok();
    assert_matches(&documented("certificate-self-signed-leaf.response.json"), &answer.json, "");
}

#[test]
fn the_documented_intermediate_is_issued_under_the_registered_root() {
    let (_appliance, daemon) = daemon();
    daemon.client.issue("certificate", &generic_ca("root-secp256r1", "Example Root")).ok();
    let request = documented("certificate-ca-signed-intermediate.request.json");
    let answer = daemon.client.issue("certificate", &request).ok();
    let data = &answer.json["certificateData"];
    assert_eq!(data["issuerName"]["commonName"], "Example Root");
    assert_eq!(data["subjectName"], request["certificateData"]["subjectName"]);
    assert_eq!(data["pathLengthConstraint"], 0);
    assert_eq!(
        answer.json["storedCertificateIds"],
        serde_json::json!([format!("{STORE}.generic-intermediate-01")])
    );
}
