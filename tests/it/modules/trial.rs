//! What is asked of every module, over HTTP, of the daemon in its full sandbox.

use std::{fs, path::PathBuf, time::Instant};

use serde_json::{Value, json};

use crate::{
    appliance::{Answer, Appliance, Daemon, KMS, SOON, generic_ca, key, key_label, signal},
    evidence::{Held, assert_sound},
    load::{Load, assert_clean, assert_clean_refusal},
    support::{iaca, leaf},
};

/// As clients write them.
pub const KEY_TYPES: [&str; 6] =
    ["secp256r1", "secp384r1", "secp521r1", "RSA", "RSA3072", "RSA4096"];
/// Certificates for the time that one takes.
const ROUNDS: u32 = 20;
/// Keys of chains.
const HIERARCHY: [&str; 4] =
    ["module-root", "module-intermediate", "module-subject", "module-iaca"];
/// A PIN that is not the right one, of a length that every module takes.
const WRONG_PIN: &str = "00000000\n";

/// What came out.
pub struct Outcome {
    /// Key types that passed everything; none when the module made no key that is fit for use.
    pub works: Vec<&'static str>,
    /// Whether a key of Ed25519 was certified.
    pub edwards: bool,
    /// Key types that the module refused to make, with the answer.
    pub refused: Vec<(&'static str, String)>,
    /// For a certificate over the API with the first type that works (milliseconds).
    pub certificate_ms: u128,
}

/// A module on its appliance.
pub struct Trial {
    appliance: Appliance,
    pin_file: PathBuf,
}

impl Trial {
    pub fn new(appliance: Appliance, pin_file: PathBuf) -> Self {
        appliance.declare("[issuance]\ned25519_subjects = true");
        Self { appliance, pin_file }
    }

    /// Asks for everything; what a module does wrong is a panic, what it does not offer is not.
    pub fn run(&self) -> Outcome {
        self.refuses_a_wrong_pin();
        let daemon = self.start();
        let mut outcome = self.generate(&daemon);
        let Some(&first) = outcome.works.first() else { return outcome };
        let listed = daemon.client.get(&keys_route(KMS)).ok().json.to_string();
        for key_type in &outcome.works {
            assert!(listed.contains(&key_label(&name(key_type))), "{key_type}: {listed}");
            self.certifies(&daemon, key_type);
        }
        self.issues_chains(&daemon, &outcome.works);
        self.certifies_edwards(&daemon, &mut outcome);
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            daemon.client.issue("certificate", &leaf(&name(first), "Module")).ok();
        }
        outcome.certificate_ms = begin.elapsed().as_millis() / u128::from(ROUNDS);
        let held = self.loses_its_signers(&daemon, first);
        daemon.kill();

        let daemon = self.start();
        assert_sound(&self.appliance, &held, None);
        for key_type in &outcome.works {
            self.certifies(&daemon, key_type);
            assert_eq!(delete(&daemon, key_type), 200, "{key_type}\n{}", daemon.log());
            assert_eq!(delete(&daemon, key_type), 404, "{key_type}");
            let gone = daemon.client.issue("certificate", &leaf(&name(key_type), "Gone"));
            assert_ne!(gone.status, 200, "{key_type}: a deleted key signs");
        }
        daemon.stop();
        outcome
    }

    fn start(&self) -> Daemon {
        let daemon = self.appliance.start();
        daemon.wait_until_ready();
        assert!(!daemon.log().contains("cage: missing"), "{}", daemon.log());
        daemon
    }

    /// It is not tried again, nothing is signed meanwhile, and nobody is told why.
    fn refuses_a_wrong_pin(&self) {
        let right = fs::read(&self.pin_file).unwrap();
        fs::write(&self.pin_file, WRONG_PIN).unwrap();
        let daemon = self.appliance.start();
        daemon.wait_for_token("credential fault");
        let answer = daemon.client.issue("certificate", &leaf(&name(KEY_TYPES[0]), "Module"));
        assert_clean_refusal(&answer);
        daemon.stop();
        fs::write(&self.pin_file, right).unwrap();
    }

    fn generate(&self, daemon: &Daemon) -> Outcome {
        let mut outcome =
            Outcome { works: Vec::new(), edwards: false, refused: Vec::new(), certificate_ms: 0 };
        for key_type in KEY_TYPES {
            let answer = make(daemon, &name(key_type), key_type);
            match answer.status {
                201 => outcome.works.push(key_type),
                400 => {
                    assert_eq!(answer.json["field"], "/keyType", "{}", answer.json);
                    outcome.refused.push((key_type, answer.json["message"].to_string()));
                }
                status => {
                    outcome.refused.push((key_type, format!("{status} {}", answer.json["message"])))
                }
            }
        }
        println!("{}", daemon.log());
        outcome
    }

    /// Has the key certify itself and openssl verify that.
    fn certifies(&self, daemon: &Daemon, key_type: &str) {
        let answer = daemon.client.issue("certificate", &leaf(&name(key_type), "Module"));
        assert_eq!(answer.status, 200, "{key_type}: {}\n{}", answer.json, daemon.log());
        self.keep("module", &answer);
        self.appliance
            .shell("openssl verify -check_ss_sig -partial_chain -CAfile module.pem module.pem");
    }

    /// A root, an intermediate and a leaf under it, whose request another key of the token has signed;
    /// where the module has the curve, an IACA and its document signer, too. openssl judges.
    fn issues_chains(&self, daemon: &Daemon, works: &[&str]) {
        let Some(ca_type) = works.iter().find(is_fit_for_a_ca) else { return };
        for key_name in HIERARCHY {
            let made = make(daemon, key_name, ca_type);
            assert_eq!(made.status, 201, "{}\n{}", made.json, daemon.log());
        }
        let issue = |route, body: &Value| daemon.client.issue(route, body).ok();
        let root = issue("certificate", &generic_ca("module-root", "Module Root"));
        self.keep("root", &root);
        let mut intermediate = generic_ca("module-intermediate", "Module Intermediate");
        intermediate["issuer"] = signed_by("module-root");
        self.keep("intermediate", &issue("certificate", &intermediate));
        let mut subject = leaf("module-subject", "Module Leaf");
        subject["issuer"] = signed_by("module-intermediate");
        subject["subjectPublicKeySource"] = self.request(daemon, "generic", "module-subject");
        self.keep("leaf", &issue("certificate", &subject));
        self.appliance.shell(
            "openssl verify -x509_strict -CAfile root.pem -untrusted intermediate.pem leaf.pem",
        );
        if *ca_type == "secp256r1" {
            let iaca = issue("iso/iacas", &iaca("module-iaca", "Module IACA"));
            self.keep("iaca", &iaca);
            let signer = json!({
                "iacaSigner": {
                    "type": "iaca-pem-cert-descriptor",
                    "iacaPemEncodedCertificate": iaca.certificate(),
                    "iacaKeyDesc": key("module-iaca"),
                },
                "certificateData": {
                    "country": "NL",
                    "commonName": "Module DS",
                    "crlDistributionPointUri": "https://crl.example.com",
                },
                "dsPublicKeySource": self.request(daemon, "iso-document-signer", "module-subject"),
            });
            self.keep("signer", &issue("iso/document-signers", &signer));
            self.appliance.shell("openssl verify -x509_strict -CAfile iaca.pem signer.pem");
        }
        for key_name in HIERARCHY {
            assert_eq!(delete_key(daemon, key_name), 200);
        }
    }

    /// A key of Ed25519 requests a certificate, and gets it.
    fn certifies_edwards(&self, daemon: &Daemon, outcome: &mut Outcome) {
        let answer = make(daemon, "module-edwards", "Ed25519");
        if answer.status != 201 {
            return outcome.refused.push(("Ed25519", answer.json["message"].to_string()));
        }
        let Some(ca_type) = outcome.works.iter().find(is_fit_for_a_ca) else { return };
        let root = daemon.client.issue("certificate", &generic_ca(&name(ca_type), "Root")).ok();
        self.keep("root", &root);
        let mut body = leaf("module-edwards", "Module Edwards");
        body["issuer"] = signed_by(&name(ca_type));
        body["subjectPublicKeySource"] = self.request(daemon, "generic", "module-edwards");
        self.keep("leaf", &daemon.client.issue("certificate", &body).ok());
        self.appliance.shell("openssl verify -x509_strict -CAfile root.pem leaf.pem");
        assert_eq!(delete_key(daemon, "module-edwards"), 200);
        outcome.edwards = true;
    }

    /// A CSR that the token signs, as a public key source.
    fn request(&self, daemon: &Daemon, kind: &str, key_name: &str) -> Value {
        let body = json!({
            "type": kind,
            "subjectKeyDescriptor": key(key_name),
            "subjectName": { "commonName": "Module CSR", "country": "NL" },
        });
        let answer = daemon.client.issue("csrs", &body).ok();
        let pem = answer.json["csrPem"].as_str().unwrap();
        fs::write(self.appliance.path("request.pem"), pem).unwrap();
        self.appliance.shell("openssl req -in request.pem -verify -noout 2>&1");
        json!({ "type": "csr", "csrPem": pem })
    }

    /// `kill -9` of all signers while clients ask: certificates that verify, or a 503, until there are new
    /// ones. What clients hold.
    fn loses_its_signers(&self, daemon: &Daemon, key_type: &str) -> Vec<Held> {
        let key_name = name(key_type);
        let load = Load::start(&self.appliance, daemon, 2, move |client, round| {
            ("certificate", leaf(&key_name, &format!("Module {client}-{round}")))
        });
        load.wait_for(200, 2, SOON);
        let killed = Instant::now();
        for pid in daemon.settled_signers() {
            signal(pid, "KILL");
        }
        load.recovery(killed, SOON);
        load.wait_for(200, 4, SOON);
        assert_clean(&load.stop(), 2 * SOON)
    }

    fn keep(&self, file: &str, answer: &Answer) {
        fs::write(self.appliance.path(&format!("{file}.pem")), answer.certificate()).unwrap();
    }
}

/// 2048 bits are too few for one.
fn is_fit_for_a_ca(key_type: &&&str) -> bool {
    **key_type != "RSA"
}

fn keys_route(path: &str) -> String {
    format!("/v1/{path}/kms-service-api/keys")
}

fn name(key_type: &str) -> String {
    format!("module-{}", key_type.to_lowercase())
}

fn make(daemon: &Daemon, key_name: &str, key_type: &str) -> Answer {
    let body = json!({ "backend": "jwk", "keyType": key_type }).to_string();
    daemon.client.post(&format!("{}/generate", keys_route(&key_label(key_name))), &body)
}

fn delete(daemon: &Daemon, key_type: &str) -> u16 {
    delete_key(daemon, &name(key_type))
}

fn delete_key(daemon: &Daemon, key_name: &str) -> u16 {
    let route = format!("{}?force=true", keys_route(&key_label(key_name)));
    daemon.client.send("DELETE", &route, &[], "").unwrap().status
}

fn signed_by(key_name: &str) -> Value {
    json!({ "type": "ca-signed", "issuerKeyDescriptor": key(key_name) })
}
