//! The PIN and private keys of requests: where they must not be.

use std::fs;

use serde_json::{Value, json};

use crate::{
    appliance::Appliance,
    refusals::{
        bench::Bench,
        keys::{by_jwk, by_path, private_jwk, public_jwk},
        request::{Ask, csr, document_signer, iaca, leaf},
    },
};

/// Requests with the private key in right, wrong and very wrong places.
fn asks() -> Vec<Ask> {
    let jwk = private_jwk();
    let text = jwk.to_string();
    let mut broken = jwk.clone();
    broken["x"] = public_jwk()["y"].clone();
    let subject = "/subjectPublicKeySource/keyDescriptor";
    let mut asks = vec![
        iaca().set("/iacaKeyDesc", by_jwk(jwk.clone())),
        leaf().set(subject, by_jwk(text.clone().into())),
        csr().set("/subjectKeyDescriptor", by_jwk(jwk.clone())),
        document_signer().set("/dsPublicKeySource/keyDescriptor", by_jwk(jwk.clone())),
        leaf().set(subject, by_jwk(broken)),
        leaf().set(subject, by_jwk(format!("{text} x").into())),
        leaf().set(subject, by_path(&text)),
        leaf().set(subject, by_path(jwk["d"].as_str().unwrap())),
        leaf().set(subject, jwk.clone()),
        leaf().set("/subjectPublicKeySource", jwk.clone()),
        leaf().set("/certificateData/subjectName/commonName", text.clone()),
        leaf().set("/storedCertificateId", text.clone()),
        leaf().set("/issuer", jwk.clone()),
        leaf().set("/issuer/issuerCertificatePem", text.clone()),
        leaf().raw(format!("{{\"a\": {text}")),
        leaf().raw(format!("{{\"a\": {text}, \"a\": {text}}}")),
        leaf().raw(text.clone()),
        leaf().set("/certificateData/notAfter", text),
    ];
    for member in ["dsKeyDescriptor", "key"] {
        asks.push(document_signer().set(&format!("/{member}"), jwk.clone()));
    }
    asks
}

/// A needle as text, in hexadecimal, and as `{:?}` shows octets.
fn spellings(secret: &str) -> Vec<String> {
    let octets = secret.as_bytes();
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let list: Vec<_> = octets.iter().map(u8::to_string).collect();
    vec![secret.to_owned(), hex.to_uppercase(), hex, list.join(", ")]
}

fn assert_without(place: &str, content: &[u8], secrets: &[(&str, String)]) {
    for (name, secret) in secrets {
        let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{name} in {place}");
    }
}

#[test]
fn neither_the_pin_nor_a_private_key_of_a_request_is_anywhere() {
    for arguments in [&[][..], &["--dev"]] {
        let appliance = Appliance::new();
        appliance.declare("[log]\nfilter = \"trace\"");
        let pin = fs::read_to_string(appliance.path("pin")).unwrap().trim().to_owned();
        assert!(pin.len() >= 12);
        let mut bench = Bench::with(appliance, arguments);
        let mut answers = Vec::new();
        for ask in asks() {
            let answer = bench.send(&ask);
            assert!(answer.status < 500, "{}", answer.json);
            answers.push(json!([answer.status, answer.json]));
        }
        let signed = answers.iter().filter(|answer| answer[0] == 200).count();
        assert_eq!(signed > 0, !arguments.is_empty(), "{answers:?}");

        // A part is as bad as the whole.
        let d = private_jwk()["d"].as_str().unwrap().to_owned();
        let mut secrets: Vec<(&str, String)> = Vec::new();
        secrets.extend(spellings(&pin).into_iter().map(|text| ("the PIN", text)));
        secrets.extend(spellings(&d[..12]).into_iter().map(|text| ("the private key", text)));
        secrets.extend(octets_of(&d).into_iter().map(|text| ("the private scalar", text)));

        let log = bench.daemon.log();
        assert!(log.contains("TRACE") && log.contains("answered"), "the filter does not work");
        assert_without("the log", log.as_bytes(), &secrets);
        assert_without("the answers", Value::from(answers).to_string().as_bytes(), &secrets);
        for suffix in ["", "-wal", "-shm"] {
            let file = bench.appliance.path(&format!("ledger.sqlite{suffix}"));
            let content = fs::read(&file).unwrap_or_default();
            assert!(!suffix.is_empty() || content.len() > 1_000, "{}", file.display());
            assert_without(&file.display().to_string(), &content, &secrets);
        }
        let mut processes = bench.daemon.signers();
        assert!(!processes.is_empty(), "no signers");
        processes.push(bench.daemon.pid());
        for process in processes {
            for file in ["cmdline", "environ"] {
                let file = format!("/proc/{process}/{file}");
                let content = fs::read(&file).unwrap();
                assert!(!content.is_empty(), "{file}");
                assert_without(&file, &content, &secrets);
            }
        }
        bench.daemon.stop();
    }
}

/// The first octets that a base64url text stands for, in hexadecimal and as a list.
fn octets_of(base64url: &str) -> Vec<String> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let octets = &URL_SAFE_NO_PAD.decode(base64url).unwrap()[..12];
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let list: Vec<_> = octets.iter().map(u8::to_string).collect();
    vec![hex.to_uppercase(), hex, list.join(", ")]
}
