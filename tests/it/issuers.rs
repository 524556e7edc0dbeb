//! Which CA certificates count as issuers, what they forbid, and which keys are whose.

mod forbidden;
mod pins;
mod proofs;
mod roles;

use std::fs;

use serde_json::{Value, json};

use crate::appliance::{Answer, Appliance, Client, Daemon, KMS, STORE, key};

/// The key behind which certificates of others are put.
const KEY: &str = "root-secp256r1";
/// The member that names the key of an issuer.
const ISSUER_KEY: &str = "/issuer/issuerKeyDescriptor/keyIdPath";
const GIVEN: &str = "/issuer/issuerCertificatePem";

/// An appliance, and CAs of openssl's beside it.
struct Lab {
    appliance: Appliance,
    daemon: Daemon,
}

impl Lab {
    fn new() -> Self {
        Self::of(Appliance::new())
    }

    fn of(appliance: Appliance) -> Self {
        let daemon = appliance.start();
        let lab = Self { appliance, daemon };
        let public = format!("/v1/{KMS}.{KEY}/kms-service-api/keys?format=pem");
        let pem = lab.client().get(&public).ok().json["publicKeyPem"].as_str().unwrap().to_owned();
        fs::write(lab.appliance.path(&format!("{KEY}.pub")), pem).unwrap();
        lab
    }

    fn client(&self) -> &Client {
        &self.daemon.client
    }

    /// A self-signed certificate of a key of openssl's: `name.key`, `name.pem`.
    fn root(&self, name: &str, subject: &str, extensions: &[&str]) -> String {
        self.extensions(name, extensions);
        self.appliance.shell(&format!(
            "[ -e {name}.key ] || openssl ecparam -name prime256v1 -genkey -noout -out {name}.key
             openssl x509 -new -key {name}.key -subj '{subject}' -days 3000 -extfile {name}.ext \
                 -out {name}.pem 2>/dev/null; cat {name}.pem"
        ))
    }

    /// A certificate over the key of the appliance, signed with `ca.key` by the name in `ca.pem`.
    fn over_key(&self, name: &str, subject: &str, ca: &str, extensions: &[&str]) -> String {
        self.extensions(name, extensions);
        self.appliance.shell(&format!(
            "openssl x509 -new -force_pubkey {KEY}.pub -subj '{subject}' -CA {ca}.pem \
                 -CAkey {ca}.key -set_serial 0x$(openssl rand -hex 15)01 -days 2000 \
                 -extfile {name}.ext -out {name}.pem 2>/dev/null; cat {name}.pem"
        ))
    }

    fn extensions(&self, name: &str, extensions: &[&str]) {
        fs::write(self.appliance.path(&format!("{name}.ext")), extensions.join("\n") + "\n")
            .unwrap();
    }

    fn store(&self, id: &str, pem: &str) {
        let body = json!({ "type": "base", "certificatePem": pem });
        let path = format!("/v1/{STORE}.{id}/x509-store-api/certificates");
        let answer = self.client().post(&path, &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.json);
    }

    fn remove(&self, id: &str) {
        let path = format!("/v1/{STORE}.{id}/x509-store-api/certificates");
        self.client().send("DELETE", &path, &[], "").unwrap().ok();
    }

    fn issue(&self, request: &Value) -> Answer {
        self.client().issue("certificate", request)
    }

    /// Whether openssl finds a path from a certificate to the trusted file through the others.
    fn openssl_verifies(&self, pem: &str, trusted: &str, others: &[&str]) -> bool {
        fs::write(self.appliance.path("judged.pem"), pem).unwrap();
        let others: String = others.iter().map(|file| format!(" -untrusted {file}.pem")).collect();
        let verdict = self.appliance.shell(&format!(
            "openssl verify -x509_strict -CAfile {trusted}.pem{others} judged.pem >verdict 2>&1 \
                 && echo yes || echo no"
        ));
        verdict.trim() == "yes"
    }
}

/// A leaf under the key.
fn leaf() -> Value {
    json!({
        "certificateData": {
            "subjectName": { "commonName": "Leaf", "country": "NL" },
            "keyUsage": ["DigitalSignature"],
        },
        "subjectPublicKeySource": { "type": "key-descriptor", "keyDescriptor": key("leaf-secp256r1") },
        "issuer": { "type": "ca-signed", "issuerKeyDescriptor": key(KEY) },
    })
}

/// The same with the issuer's certificate.
fn leaf_by(pem: &str) -> Value {
    let mut request = leaf();
    request["issuer"]["issuerCertificatePem"] = pem.into();
    request
}

/// A CA under the key.
fn sub_ca() -> Value {
    let mut request = leaf();
    request["certificateData"]["isCertificateAuthority"] = true.into();
    request["certificateData"]["keyUsage"] = json!(["KeyCertSign", "CRLSign"]);
    request["subjectPublicKeySource"]["keyDescriptor"] = key("tls-secp256r1");
    request
}

const CA: &str = "basicConstraints=critical,CA:TRUE";
const SIGN: &str = "keyUsage=critical,keyCertSign,cRLSign";
const SKI: &str = "subjectKeyIdentifier=hash";
