//! Requests of the documented API, and the names in them.

use std::fs;

use serde_json::{Value, json};

use crate::processes::repository;

/// The service of the documented examples.
pub const SERVICE: &str = "test.tenant1.x509-service-1";
/// Its store.
pub const STORE: &str = "test.tenant1.x509-store-1";
/// Its KMS.
pub const KMS: &str = "test.tenant1.kms1";

/// A documented request.
pub fn documented(name: &str) -> Value {
    let file = repository("tests/requests").join(name);
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A descriptor of a key of the KMS of the examples.
pub fn key(name: &str) -> Value {
    json!({ "type": "kms-hosted-key-descriptor", "keyIdPath": format!("{KMS}.{name}") })
}

/// `CKA_LABEL` of a key of the KMS of the examples.
pub fn key_label(name: &str) -> String {
    format!("{KMS}.{name}")
}

/// A self-signed generic CA over a key, as other requests need one.
pub fn generic_ca(key_name: &str, common_name: &str) -> Value {
    json!({
        "certificateData": {
            "subjectName": { "commonName": common_name, "country": "US" },
            "isCertificateAuthority": true,
            "keyUsage": ["KeyCertSign", "CRLSign"],
        },
        "subjectPublicKeySource": { "type": "key-descriptor", "keyDescriptor": key(key_name) },
        "issuer": { "type": "self-signed" },
    })
}

/// A self-signed leaf over a key of the KMS of the examples.
pub fn leaf(key_name: &str, common_name: &str) -> Value {
    let mut request = generic_ca(key_name, common_name);
    request["certificateData"]["isCertificateAuthority"] = false.into();
    request["certificateData"]["keyUsage"] = json!(["DigitalSignature"]);
    request
}

/// An IACA over a key of the KMS of the examples.
pub fn iaca(key_name: &str, common_name: &str) -> Value {
    json!({
        "certificateData": {
            "country": "NL",
            "commonName": common_name,
            "issuerAlternativeNameConf": { "uri": "https://iaca.example.com" },
        },
        "iacaKeyDesc": key(key_name),
    })
}
