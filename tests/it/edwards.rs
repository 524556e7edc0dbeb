//! Keys of Ed25519: nothing is done with them unless the operator says so; then they are certified, and
//! sign nothing but their own requests.

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    appliance::{Answer, Appliance, Daemon, KMS, generic_ca, key, key_label},
    chaos::Chaos,
    support::{iaca, leaf, refused},
};

const UNSUPPORTED: &str = "key type Ed25519 is not supported";
const DESCRIPTOR: &str = "/subjectPublicKeySource/keyDescriptor";

fn allowing() -> Appliance {
    let appliance = Appliance::new();
    appliance.declare("[issuance]\ned25519_subjects = true");
    appliance
}

fn keys(path: &str) -> String {
    format!("/v1/{path}/kms-service-api/keys")
}

fn generate(daemon: &Daemon, name: &str) -> Answer {
    let route = format!("{}/generate", keys(&key_label(name)));
    daemon.client.post(&route, &json!({ "keyType": "Ed25519" }).to_string())
}

/// A leaf under the root, over the key that the source names.
fn under_root(source: Value) -> Value {
    let mut request = leaf("leaf-secp256r1", "Edwards");
    request["issuer"] =
        json!({ "type": "ca-signed", "issuerKeyDescriptor": key("root-secp256r1") });
    request["subjectPublicKeySource"] = source;
    request
}

fn described(descriptor: Value) -> Value {
    json!({ "type": "key-descriptor", "keyDescriptor": descriptor })
}

/// A request that openssl made with a key of its own.
fn csr(appliance: &Appliance) -> Value {
    let made = "openssl req -new -nodes -keyout edwards.key -newkey ed25519 -subj /CN=x";
    json!({ "type": "csr", "csrPem": appliance.shell(&format!("{made} 2>/dev/null")) })
}

/// The public key of that request.
fn jwk(appliance: &Appliance) -> Value {
    appliance.shell("openssl pkey -in edwards.key -pubout -outform DER -out edwards.der");
    let spki = fs::read(appliance.path("edwards.der")).unwrap();
    let x = URL_SAFE_NO_PAD.encode(&spki[spki.len() - 32..]);
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    json!({ "type": "jwk-encoded-key-descriptor", "jwk": jwk })
}

/// A document signer of the IACA in `iaca`, over the key that the source names.
fn document_signer(iaca: &Answer, source: Value) -> Value {
    json!({
        "iacaSigner": {
            "type": "iaca-pem-cert-descriptor",
            "iacaPemEncodedCertificate": iaca.certificate(),
            "iacaKeyDesc": key("iaca-secp256r1"),
        },
        "certificateData": {
            "country": "NL",
            "commonName": "Edwards DS",
            "crlDistributionPointUri": "https://crl.example.com",
        },
        "dsPublicKeySource": source,
    })
}

#[test]
fn without_the_operators_word_nothing_is_done_with_them() {
    let appliance = Appliance::new();
    appliance.generate_key(&key_label("edwards"), "ed25519a", "EC:edwards25519");
    let daemon = appliance.start();
    daemon.client.issue("certificate", &generic_ca("root-secp256r1", "Root")).ok();
    refused(&generate(&daemon, "new"), 400, Some("/keyType"), UNSUPPORTED);
    let answer = daemon.client.issue("certificate", &under_root(csr(&appliance)));
    refused(&answer, 400, Some("/subjectPublicKeySource/csrPem"), UNSUPPORTED);
    let answer = daemon.client.issue("certificate", &under_root(described(jwk(&appliance))));
    refused(&answer, 400, Some(&format!("{DESCRIPTOR}/jwk")), UNSUPPORTED);
    // One that lies on the token is neither listed nor certified, and makes no request.
    let listed = daemon.client.get(&keys(KMS)).ok().json.to_string();
    assert!(!listed.contains("edwards"), "{listed}");
    let answer = daemon.client.issue("certificate", &under_root(described(key("edwards"))));
    refused(&answer, 400, Some(DESCRIPTOR), UNSUPPORTED);
    let answer = daemon.client.issue("certificate", &leaf("edwards", "Edwards"));
    refused(&answer, 400, Some(DESCRIPTOR), UNSUPPORTED);
    let body = json!({
        "type": "generic",
        "subjectKeyDescriptor": key("edwards"),
        "subjectName": { "commonName": "Edwards" },
    });
    let answer = daemon.client.issue("csrs", &body);
    refused(&answer, 400, Some("/subjectKeyDescriptor"), UNSUPPORTED);
}

#[test]
fn a_key_of_the_token_requests_and_is_certified() {
    let appliance = allowing();
    let daemon = appliance.start();
    let made = generate(&daemon, "edwards");
    assert_eq!(made.status, 201, "{}", made.json);
    assert_eq!(made.json["keyType"], "Ed25519");
    let shown = &made.json["key"]["jwk"];
    assert_eq!((&shown["kty"], &shown["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert!(daemon.client.get(&keys(KMS)).ok().json.as_array().unwrap().contains(&made.json));
    refused_taken(&daemon);

    let keep = |file: &str, answer: &Answer| {
        fs::write(appliance.path(file), answer.certificate()).unwrap();
    };
    let root = daemon.client.issue("certificate", &generic_ca("root-secp256r1", "Root")).ok();
    keep("root.pem", &root);
    let contact = daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "IACA")).ok();
    keep("iaca.pem", &contact);
    let mut sources = vec![described(key("edwards"))];
    for kind in ["generic", "iso-document-signer"] {
        let body = json!({
            "type": kind,
            "subjectKeyDescriptor": key("edwards"),
            "subjectName": { "commonName": "Edwards", "country": "NL" },
        });
        let request = daemon.client.issue("csrs", &body).ok();
        let pem = request.json["csrPem"].as_str().unwrap();
        fs::write(appliance.path("request.pem"), pem).unwrap();
        appliance.shell("openssl req -in request.pem -verify -noout 2>&1");
        sources.push(json!({ "type": "csr", "csrPem": pem }));
    }
    for source in sources {
        let issued = daemon.client.issue("certificate", &under_root(source.clone())).ok();
        let certified = &issued.json["certificateData"]["publicKeyJwk"];
        assert_eq!(*certified, json!({ "kty": "OKP", "crv": "Ed25519", "x": shown["x"] }));
        keep("leaf.pem", &issued);
        appliance.shell("openssl verify -x509_strict -CAfile root.pem leaf.pem");
        let signer = document_signer(&contact, source);
        keep("signer.pem", &daemon.client.issue("iso/document-signers", &signer).ok());
        appliance.shell("openssl verify -x509_strict -CAfile iaca.pem signer.pem");
        // Both are of the key that the token shows to others.
        let keys = appliance.shell(
            "for one in leaf signer; do openssl x509 -in $one.pem -noout -pubkey; done | sort -u; \
             openssl x509 -in leaf.pem -noout -text",
        );
        assert_eq!(keys.matches("BEGIN PUBLIC KEY").count(), 1, "{keys}");
        assert!(keys.contains("Public Key Algorithm: ED25519"), "{keys}");
    }
    daemon.stop();
    let daemon = appliance.start();
    let again = under_root(described(key("edwards")));
    daemon.client.issue("certificate", &again).ok();
    let gone = daemon.client.send("DELETE", &keys(&key_label("edwards")), &[], "").unwrap();
    assert_eq!(gone.status, 200, "{}", gone.json);
}

fn refused_taken(daemon: &Daemon) {
    assert_eq!(generate(daemon, "edwards").status, 409);
}

#[test]
fn keys_from_outside_are_certified() {
    let appliance = allowing();
    let daemon = appliance.start();
    let root = daemon.client.issue("certificate", &generic_ca("root-secp256r1", "Root")).ok();
    fs::write(appliance.path("root.pem"), root.certificate()).unwrap();
    let contact = daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "IACA")).ok();
    for source in [csr(&appliance), described(jwk(&appliance))] {
        let issued = daemon.client.issue("certificate", &under_root(source.clone())).ok();
        fs::write(appliance.path("leaf.pem"), issued.certificate()).unwrap();
        appliance.shell(
            "openssl verify -x509_strict -CAfile root.pem leaf.pem; \
             diff <(openssl x509 -in leaf.pem -noout -pubkey) <(openssl pkey -in edwards.key -pubout)",
        );
        daemon.client.issue("iso/document-signers", &document_signer(&contact, source)).ok();
    }
    // Its private half goes nowhere, whoever may import.
    let mut descriptor = jwk(&appliance);
    descriptor["jwk"]["d"] = descriptor["jwk"]["x"].clone();
    let answer = daemon.client.issue("certificate", &under_root(described(descriptor)));
    assert_eq!(answer.status, 403, "{}", answer.json);
}

#[test]
fn they_sign_no_certificate_and_do_nothing_but_sign() {
    let appliance = allowing();
    let daemon = appliance.start();
    assert_eq!(generate(&daemon, "edwards").status, 201);
    daemon.client.issue("certificate", &generic_ca("root-secp256r1", "Root")).ok();
    let contact = daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "IACA")).ok();
    let issue = |route: &str, body: &Value| daemon.client.issue(route, body);
    let signs = "signs no certificate";
    for body in [leaf("edwards", "Edwards"), generic_ca("edwards", "Edwards")] {
        refused(&issue("certificate", &body), 400, Some(DESCRIPTOR), signs);
    }
    let answer = issue("iso/iacas", &iaca("edwards", "Edwards"));
    refused(&answer, 400, Some("/iacaKeyDesc"), signs);
    let mut signer = document_signer(&contact, described(key("ds-secp256r1")));
    signer["iacaSigner"]["iacaKeyDesc"] = key("edwards");
    let answer = issue("iso/document-signers", &signer);
    refused(&answer, 400, Some("/iacaSigner/iacaKeyDesc"), signs);
    let mut body = under_root(described(key("leaf-secp256r1")));
    body["issuer"]["issuerKeyDescriptor"] = key("edwards");
    let answer = issue("certificate", &body);
    refused(&answer, 400, Some("/issuer/issuerKeyDescriptor"), signs);

    let mut body = under_root(described(key("edwards")));
    body["certificateData"]["keyUsage"] = json!(["DigitalSignature", "KeyAgreement"]);
    let answer = issue("certificate", &body);
    refused(&answer, 400, Some("/certificateData/keyUsage"), "'KeyAgreement' is not for Ed25519");
    body["certificateData"]["keyUsage"] = json!(["KeyCertSign"]);
    body["certificateData"]["isCertificateAuthority"] = true.into();
    let answer = issue("certificate", &body);
    refused(&answer, 400, Some("/subjectPublicKeySource"), "may not be certified as CA");
}

#[test]
fn a_token_without_the_curve_says_so() {
    let appliance = allowing();
    let chaos = Chaos::new(appliance.path("chaos"));
    let [(module, softhsm), (place, directory)] =
        chaos.environment("/usr/lib/softhsm/libsofthsm2.so");
    appliance.configure_token(&format!(
        "module = {:?}\nenvironment = {{ {module} = {softhsm:?}, {place} = {directory:?} }}",
        Chaos::module().display().to_string()
    ));
    for hidden in ["CKM_EC_EDWARDS_KEY_PAIR_GEN", "CKM_EDDSA"] {
        chaos.order(&format!("C_GetMechanismList hide {hidden}"));
        let daemon = appliance.start();
        let answer = generate(&daemon, "edwards");
        refused(&answer, 400, Some("/keyType"), "the token does not support");
        daemon.stop();
    }
}
