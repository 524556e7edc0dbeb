//! VICALs (ISO/IEC 18013-5 C.1): from the issuance of IACAs to what everyone may fetch, decoded by
//! others.

mod forms;
mod listed;
mod refused;
mod signer;
mod versions;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use ureq::http::HeaderMap;

use crate::appliance::{
    Answer, Appliance, Client, Daemon, Frozen, KMS, SERVICE, SOON, STORE, generic_ca, key, signal,
    until,
};

const VICAL: &str = "test.tenant1.vical-1";
const SIGNER_KEY: &str = "root-secp256r1";

/// A declared VICAL service whose other settings are `more`.
fn service(path: &str, key: &str, certificate: &str, more: &str) -> String {
    format!(
        "[[services]]\npath = \"{path}\"\ntype = \"vical-service\"\n\
         signing_key = \"{KMS}.{key}\"\nsigner_certificate = \"{STORE}.{certificate}\"\n{more}\n"
    )
}

fn with_store() -> String {
    format!("dependencies = [\"{STORE}\"]")
}

/// An appliance with a VICAL service whose signer is stored as `vical-signer`.
fn appliance() -> Appliance {
    let appliance = Appliance::new();
    appliance.configure(|text| {
        text.replace("\"store:read\",", "\"store:read\", \"store:write\", \"resource:write\",")
    });
    appliance.declare(&service(VICAL, SIGNER_KEY, "vical-signer", &with_store()));
    appliance
}

/// Settings that stand in a table of their own.
fn set(appliance: &Appliance, setting: &str) {
    appliance.declare(&format!("[vical]\n{setting}"));
}

/// The signer as existing deployments have it: self-signed, keyCertSign and cRLSign.
fn issue_signer(client: &Client) {
    let mut request = generic_ca(SIGNER_KEY, "Acme Trust List Signer");
    request["storedCertificateId"] = "vical-signer".into();
    client.issue("certificate", &request).ok();
}

fn iaca(key_name: &str, id: &str, metadata: &Value) -> Value {
    json!({
        "storedCertificateId": id,
        "certificateData": {
            "country": "NL", "commonName": format!("IACA {id}, \"quoted\""),
            "stateOrProvinceName": "Utrecht",
            "issuerAlternativeNameConf": { "uri": "https://iaca.example.com" },
        },
        "iacaKeyDesc": key(key_name),
        "vicalEntryComplementaryMetadata": metadata,
    })
}

fn mdl() -> Value {
    json!({ "docType": ["org.iso.18013.5.1.mDL"] })
}

fn publish(client: &Client, body: &Value) -> Answer {
    publish_at(client, VICAL, body)
}

fn publish_at(client: &Client, service: &str, body: &Value) -> Answer {
    client.post(&format!("/v1/{service}/vical-service-api/publish"), &body.to_string())
}

fn by_acme() -> Value {
    json!({ "vicalProvider": "Acme Trust List Office" })
}

struct Fetched {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Fetched {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Without TLS, without a client certificate.
fn send(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> Fetched {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let uri = format!("{}{path}", daemon.distribution);
    let mut request = ureq::http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).unwrap()).unwrap();
    Fetched {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().read_to_vec().unwrap(),
    }
}

fn fetch(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Fetched {
    send(daemon, "GET", path, headers)
}

fn latest(tail: &str) -> String {
    format!("/v1/{VICAL}/vical-service-api/latest{tail}")
}

fn version(id: &str, tail: &str) -> String {
    format!("/v1/{VICAL}.versions.{id}/vical-service-api/versions{tail}")
}

fn octets_of_latest(daemon: &Daemon) -> Vec<u8> {
    fetch(daemon, &latest("?format=cbor"), &[]).ok().body
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn sha256(octets: &[u8]) -> String {
    hex(&chancery::domain::key::sha256(octets))
}

/// What cbor2 and cryptography make of a VICAL; they verify its signature and each member.
#[track_caller]
fn judged(appliance: &Appliance, octets: &[u8]) -> Value {
    let output = judge(appliance, octets);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", hex(octets));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn judge(appliance: &Appliance, octets: &[u8]) -> Output {
    let file = appliance.path("vical.cbor");
    fs::write(&file, octets).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/judges/bin/python3");
    assert!(python.exists(), "./tests/run.sh installs the judges");
    let script = root.join("tests/judges/vical.py");
    Command::new(python).arg(script).arg(&file).output().unwrap()
}
