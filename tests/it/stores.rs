//! Certificate stores over the API.

mod entries;
mod issuing;
mod rules;

use serde_json::{Value, json};

use crate::{
    appliance::{Answer, Appliance, Client, STORE},
    support::{iaca, leaf},
};

const STORE_2: &str = "test.tenant1.x509-store-2";

fn path(target: &str) -> String {
    format!("/v1/{target}/x509-store-api/certificates")
}

fn add(client: &Client, target: &str, body: &Value) -> Answer {
    client.post_json(&path(target), body)
}

fn replace(client: &Client, target: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    client.send("PUT", &path(target), &headers, body.to_string()).unwrap()
}

fn delete(client: &Client, target: &str) -> Answer {
    client.send("DELETE", &path(target), &[], "").unwrap()
}

fn ids(client: &Client, store: &str) -> Value {
    client.get(&format!("{}/ids", path(store))).ok().json
}

fn base(pem: &str) -> Value {
    json!({ "type": "base", "certificatePem": pem })
}

fn vical_entry(pem: &str, metadata: &Value) -> Value {
    json!({ "type": "vical-entry", "certificatePem": pem, "complementaryMetadata": metadata })
}

fn entry(id: &str, pem: &str) -> Value {
    json!({ "_id": id, "data": { "type": "base", "pem": pem } })
}

fn mdl() -> Value {
    json!({ "docType": ["org.iso.18013.5.1.mDL"] })
}

/// A service that keeps nothing, beside the one of the examples; another store.
fn declare_more(appliance: &Appliance) {
    appliance.declare(&format!(
        "[[services]]\npath = \"test.tenant1.bare\"\ntype = \"x509-service\"\n\
         dependencies = [\"test.tenant1.kms1\"]\n\
         [[services]]\npath = \"{STORE_2}\"\ntype = \"x509-store\""
    ));
}

/// An IACA and a leaf, issued without a store.
fn two_certificates(client: &Client) -> [String; 2] {
    let issue = |route: &str, body: &Value| {
        let path = format!("/v1/test.tenant1.bare/x509-service-api/{route}");
        client.post_json(&path, body).ok().certificate().to_owned()
    };
    [
        issue("iso/iacas", &iaca("iaca-secp256r1", "Root")),
        issue("certificate", &leaf("leaf-secp256r1", "Leaf")),
    ]
}

/// Certificates of the same token on another appliance: this one's ledger knows nothing of them.
pub fn issued_elsewhere<const N: usize>(requests: [(&str, Value); N]) -> [String; N] {
    let other = Appliance::new();
    let daemon = other.start();
    requests.map(|(route, body)| daemon.client.issue(route, &body).ok().certificate().to_owned())
}

/// An IACA that openssl makes with a key of its own.
fn foreign_iaca(appliance: &Appliance, not_before: &str, not_after: &str) -> String {
    appliance.shell(&format!(
        "rm -rf foreign; mkdir foreign; cd foreign; touch index; cat >ca.cnf <<'CNF'
[ca]
default_ca = d
[d]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = p
x509_extensions = iaca
preserve = yes
[p]
countryName = supplied
commonName = supplied
[iaca]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
issuerAltName = URI:https://iaca.example.com
CNF
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl req -new -key key.pem -subj '/C=NL/CN=Old Root' -out csr.pem
openssl ca -batch -config ca.cnf -selfsign -keyfile key.pem -in csr.pem -startdate {not_before} \
    -enddate {not_after} -notext -out iaca.pem 2>/dev/null
cat iaca.pem"
    ))
}

/// A daemon with two stores, and two certificates that are in none.
fn daemon() -> (Appliance, crate::appliance::Daemon, [String; 2]) {
    let appliance = Appliance::new();
    declare_more(&appliance);
    let daemon = appliance.start();
    let certificates = two_certificates(&daemon.client);
    assert_eq!(ids(&daemon.client, STORE), json!([]));
    (appliance, daemon, certificates)
}
