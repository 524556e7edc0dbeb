//! One answer for one Idempotency-Key.

mod crashes;
mod keys;
mod running;

use serde_json::{Value, json};

use crate::{
    appliance::{Answer, Appliance, Daemon, KMS, documented, key},
    support::{iaca, leaf},
};

/// A signature may take as long as a test needs it to.
fn patient() -> Appliance {
    let appliance = Appliance::new();
    appliance
        .configure(|text| text.replace("processes = 2", "processes = 1\nsign_deadline_ms = 60000"));
    appliance
}

/// What was signed, and what the audit log says of it.
fn counts(appliance: &Appliance) -> [i64; 3] {
    ["intents", "certificates", "audit_entries"]
        .map(|table| appliance.count(&format!("select count(*) from {table}")))
}

fn open_intents(appliance: &Appliance) -> i64 {
    appliance.count("select count(*) from intents where state = 'open'")
}

#[track_caller]
fn replayed(again: &Answer, first: &Answer) {
    assert_eq!(again.status, 200, "{}", again.json);
    assert_eq!(again.text, first.text, "byte for byte");
    for name in ["chancery-serial", "chancery-audit-index", "content-type"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
}

#[track_caller]
fn fresh(answer: Answer) -> Answer {
    let answer = answer.ok();
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert!(answer.header("chancery-audit-index").is_some());
    answer
}

fn signal_all(daemon: &Daemon, name: &str) {
    daemon.signers().iter().for_each(|pid| crate::appliance::signal(*pid, name));
}

/// One request for each route that makes something, none of which hinders another.
fn requests() -> Vec<(&'static str, Value)> {
    let csr = json!({
        "type": "generic",
        "subjectName": { "commonName": "gateway.acme.example", "country": "NL" },
        "subjectKeyDescriptor": key("tls-secp256r1"),
    });
    let mut stored = leaf("leaf-secp256r1", "Leaf");
    stored["storedCertificateId"] = "leaf".into();
    vec![
        ("iso/iacas", iaca("iaca-secp384r1", "Root")),
        ("iso/document-signers", documented("document-signers-create.request.json")),
        ("certificate", stored),
        ("csrs", csr),
    ]
}

/// The same certificate to look at: its key's path is in nobody's way.
fn plain(name: &str) -> Value {
    let request = leaf("leaf-secp256r1", name);
    assert!(request.to_string().contains(KMS));
    request
}
