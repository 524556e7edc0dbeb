//! A key is an IACA's or another CA's; whoever asks, by whatever path, in whatever order.

use std::sync::{Arc, Barrier};

use serde_json::{Value, json};

use super::{CA, KEY, Lab, SIGN, leaf, leaf_by};
use crate::{
    appliance::{
        Answer, Appliance, Client, Daemon, KMS, SERVICE, STORE, documented, generic_ca, key,
    },
    support::{iaca, leaf as self_signed_leaf, refused},
};

const NO_IACA: &str = "has a CA certificate that is no IACA";
const AN_IACA: &str = "belongs to an IACA";
const IACA_KEY: &str = "/iacaKeyDesc/keyIdPath";
const DS_KEY: &str = "/iacaSigner/iacaKeyDesc/keyIdPath";
const OWN_KEY: &str = "/subjectPublicKeySource/keyDescriptor/keyIdPath";
const DATA: &str = "/iacaSigner/certificateData";

/// A second KMS that leads to the same keys, a service of another tenant that has it.
const MORE: &str = r#"
[[tenants]]
path = "test.tenant2"

[[services]]
path = "test.tenant1.kms2"
type = "kms"
shared_labels = true
labels = { ca = "test.tenant1.kms1.root-secp256r1", iaca = "test.tenant1.kms1.iaca-secp256r1", listed = "test.tenant1.kms1.iaca-secp256r1" }
policies = { listed = ["csr", "generic"] }

[[services]]
path = "test.tenant1.x509-other"
type = "x509-service"
dependencies = ["test.tenant1.kms2", "test.tenant1.kms1"]
"#;
const OTHER: &str = "test.tenant1.x509-other";

fn at(client: &Client, service: &str, route: &str, body: &Value) -> Answer {
    client.post(&format!("/v1/{service}/x509-service-api/{route}"), &body.to_string())
}

fn by_path(path: &str) -> Value {
    json!({ "type": "kms-hosted-key-descriptor", "keyIdPath": path })
}

/// A document signer by a key that is described as an IACA's.
pub fn described(key_descriptor: &Value) -> Value {
    let mut request = documented("document-signers-create.request.json");
    request.as_object_mut().unwrap().remove("storedCertificateId");
    request["iacaSigner"]["iacaKeyDesc"] = key_descriptor.clone();
    request
}

pub fn supplied(pem: &str, key_descriptor: &Value) -> Value {
    let mut request = described(key_descriptor);
    request["certificateData"]["country"] = "NL".into();
    request["certificateData"].as_object_mut().unwrap().remove("stateOrProvinceName");
    request["iacaSigner"] = json!({
        "type": "iaca-pem-cert-descriptor",
        "iacaPemEncodedCertificate": pem,
        "iacaKeyDesc": key_descriptor,
    });
    request
}

fn with_key(mut request: Value, place: &str, descriptor: Value) -> Value {
    *request.pointer_mut(place).unwrap() = descriptor;
    request
}

fn declared() -> (Appliance, Daemon) {
    let appliance = Appliance::new();
    appliance.declare(MORE);
    appliance.configure(|text| {
        text.replacen("type = \"kms\"", "type = \"kms\"\nshared_labels = true", 1)
    });
    let daemon = appliance.start();
    (appliance, daemon)
}

#[test]
fn the_key_of_a_generic_ca_signs_as_no_iaca() {
    let (appliance, daemon) = declared();
    let client = &daemon.client;
    client.issue("certificate", &generic_ca(KEY, "Own Root")).ok();
    let second = by_path("test.tenant1.kms2.ca");
    // By its own path, and by another of another KMS at another service.
    refused(&client.issue("iso/iacas", &iaca(KEY, "X")), 403, Some(IACA_KEY), NO_IACA);
    let other = with_key(iaca(KEY, "X"), "/iacaKeyDesc", second.clone());
    refused(&at(client, OTHER, "iso/iacas", &other), 403, Some(IACA_KEY), NO_IACA);
    let answer = client.issue("iso/document-signers", &described(&key(KEY)));
    refused(&answer, 403, Some(DS_KEY), NO_IACA);
    let answer = at(client, OTHER, "iso/document-signers", &described(&second));
    refused(&answer, 403, Some(DS_KEY), NO_IACA);
    assert_eq!(appliance.count("select count(*) from iaca_pins"), 0);
    // It goes on.
    client.issue("certificate", &leaf()).ok();
    // A CA by another's signature is one too.
    let below = super::sub_ca();
    client.issue("certificate", &below).ok();
    refused(&client.issue("iso/iacas", &iaca("tls-secp256r1", "X")), 403, Some(IACA_KEY), NO_IACA);
}

#[test]
fn the_key_of_an_iaca_signs_nothing_else_and_becomes_no_other_ca() {
    let (_appliance, daemon) = declared();
    let client = &daemon.client;
    client.issue("certificate", &generic_ca(KEY, "Own Root")).ok();
    client.issue("iso/iacas", &iaca("iaca-secp256r1", "Root")).ok();
    let second = by_path("test.tenant1.kms2.iaca");
    let place = "/subjectPublicKeySource/keyDescriptor";
    for request in [generic_ca("iaca-secp256r1", "X"), self_signed_leaf("iaca-secp256r1", "X")] {
        refused(&client.issue("certificate", &request), 403, Some(OWN_KEY), AN_IACA);
        let other = with_key(request, place, second.clone());
        refused(&at(client, OTHER, "certificate", &other), 403, Some(OWN_KEY), AN_IACA);
    }
    let mut below = super::sub_ca();
    below["subjectPublicKeySource"]["keyDescriptor"] = key("iaca-secp256r1");
    refused(&client.issue("certificate", &below), 403, Some(place), AN_IACA);
    // As the subject of a leaf it may stand.
    below["certificateData"]["isCertificateAuthority"] = false.into();
    below["certificateData"]["keyUsage"] = json!(["DigitalSignature"]);
    client.issue("certificate", &below).ok();
    // Requests and VICALs.
    let csr = json!({
        "type": "generic", "subjectKeyDescriptor": key("iaca-secp256r1"),
        "subjectName": { "commonName": "x" },
    });
    let csr_key = "/subjectKeyDescriptor/keyIdPath";
    refused(&client.issue("csrs", &csr), 403, Some(csr_key), AN_IACA);
    let other = with_key(csr, "/subjectKeyDescriptor", second);
    refused(&at(client, OTHER, "csrs", &other), 403, Some(csr_key), AN_IACA);
    // Unless the key's policy lists it.
    let listed = with_key(other, "/subjectKeyDescriptor", by_path("test.tenant1.kms2.listed"));
    at(client, OTHER, "csrs", &listed).ok();
    client
        .issue("iso/document-signers", &{
            let pem = client.issue("iso/iacas", &iaca("iaca-secp256r1", "Root")).ok();
            supplied(pem.certificate(), &key("iaca-secp256r1"))
        })
        .ok();
}

#[test]
fn the_key_of_an_iaca_publishes_no_vical() {
    let appliance = Appliance::new();
    appliance.declare(&format!(
        "[[services]]\npath = \"test.tenant1.vical-own\"\ntype = \"vical-service\"\n\
         signing_key = \"{KMS}.leaf-secp256r1\"\nsigner_certificate = \"{STORE}.signer\"\n\
         dependencies = [\"{STORE}\"]\n[vical]\nallow_empty = true"
    ));
    let daemon = appliance.start();
    let client = &daemon.client;
    let mut signer = self_signed_leaf("leaf-secp256r1", "Signer");
    signer["storedCertificateId"] = "signer".into();
    client.issue("certificate", &signer).ok();
    let publish = || {
        let path = "/v1/test.tenant1.vical-own/vical-service-api/publish";
        client.post(path, &json!({ "vicalProvider": "Acme" }).to_string())
    };
    publish().ok();
    client.issue("iso/iacas", &iaca("leaf-secp256r1", "Root")).ok();
    refused(&publish(), 403, None, AN_IACA);
}

#[test]
fn an_iaca_that_is_supplied_once_is_on_record() {
    let [pem] =
        crate::stores::issued_elsewhere([("iso/iacas", iaca("iaca-secp256r1", "Elsewhere"))]);
    let (appliance, daemon) = declared();
    let client = &daemon.client;
    let request = supplied(&pem, &key("iaca-secp256r1"));
    client.issue("iso/document-signers", &request).ok();
    let own = "/issuer/issuerKeyDescriptor";
    let generic = with_key(leaf_by(&pem), own, key("iaca-secp256r1"));
    let field = Some("/issuer/issuerKeyDescriptor/keyIdPath");
    refused(&client.issue("certificate", &generic), 403, field, AN_IACA);
    let other = with_key(generic, own, by_path("test.tenant1.kms2.iaca"));
    refused(&at(client, OTHER, "certificate", &other), 403, field, AN_IACA);
    // Once, however often it is used.
    client.issue("iso/document-signers", &request).ok();
    let audited = "select count(*) from audit_entries where cast(entry as text) like \
                   '%\"type\":\"iaca-pinned\"%'";
    assert_eq!(appliance.count(audited), 1);
    assert_eq!(appliance.count("select count(*) from used_issuers"), 1);
}

#[test]
fn nothing_is_pinned_beside_what_is_on_record_of_the_key() {
    // An IACA of the key that has no issuer alternative name.
    let mut defective = generic_ca(KEY, "Elsewhere");
    defective["certificateData"]["pathLengthConstraint"] = 0.into();
    let [pem] = crate::stores::issued_elsewhere([("certificate", defective)]);
    let lab = Lab::new();
    let client = lab.client();
    lab.store("defective", &pem);
    let answer = client.issue("iso/document-signers", &described(&key(KEY)));
    assert_eq!(answer.status, 403, "{}", answer.json);
    lab.remove("defective");
    // What the key has signed is on record too.
    client.issue("certificate", &self_signed_leaf("tls-secp256r1", "Leaf")).ok();
    let answer = client.issue("iso/document-signers", &described(&key("tls-secp256r1")));
    refused(&answer, 400, Some(DATA), "the key has signed for generic");
    // What nothing proves counts for nothing.
    lab.root("outside", "/CN=Outside", &[CA, SIGN]);
    lab.store("junk", &lab.over_key("junk", "/CN=Junk", "outside", &[CA, SIGN]));
    client.issue("iso/document-signers", &described(&key(KEY))).ok();
}

#[test]
fn to_describe_a_new_iaca_needs_the_permission_to_issue_one() {
    let appliance = Appliance::new();
    let signer = appliance.client_certificate("signer", "/CN=signer", "-days 2");
    appliance.declare(&format!(
        "[[clients]]\nname = \"signer\"\nsubject = \"CN=signer\"\n\
         grants = [{{ permissions = [\"issue:document-signer\"], path = \"{SERVICE}\" }}]"
    ));
    let daemon = appliance.start();
    let limited = daemon.client_with(&appliance, &signer);
    let request = described(&key("iaca-secp256r1"));
    refused(&limited.issue("iso/document-signers", &request), 400, Some(DATA), "needs issue:iaca");
    assert_eq!(appliance.count("select count(*) from iaca_pins"), 0);
    daemon.client.issue("iso/document-signers", &request).ok();
    // What is pinned may be described by everybody.
    limited.issue("iso/document-signers", &request).ok();
}

#[test]
fn a_registered_iaca_ends_the_pins_that_describe_another() {
    let (_appliance, daemon) = declared();
    let client = &daemon.client;
    let request = described(&key("iaca-secp256r1"));
    client.issue("iso/document-signers", &request).ok();
    // A pin that an earlier version has made goes the same way.
    client.issue("iso/iacas", &iaca("iaca-secp256r1", "The Real One")).ok();
    refused(
        &client.issue("iso/document-signers", &request),
        400,
        Some(DATA),
        "differs from the registered IACA",
    );
}

#[test]
fn of_two_that_want_one_key_for_two_roles_at_once_one_gets_it() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    for name in ["leaf-secp256r1", "tls-secp256r1", "root-secp256r1", "iaca-secp256r1"] {
        let start = Arc::new(Barrier::new(2));
        let requests =
            [("iso/iacas", iaca(name, "Root")), ("certificate", generic_ca(name, "Root"))];
        let threads = requests.map(|(route, body)| {
            let client = daemon.client_with(&appliance, &appliance.path("pki/client"));
            let start = Arc::clone(&start);
            std::thread::spawn(move || {
                client.get(&format!("/v1/{STORE}/x509-store-api/certificates/ids")).ok();
                start.wait();
                client.issue(route, &body).status
            })
        });
        let mut statuses = threads.map(|thread| thread.join().unwrap());
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403], "{name}");
    }
    assert_eq!(appliance.count("select count(*) from key_claims"), 0);
}
