//! What a store takes.

use serde_json::{Value, json};

use super::{add, base, daemon, foreign_iaca, ids, mdl, path, replace, vical_entry};
use crate::{
    appliance::{Appliance, Client, STORE},
    support::refused,
};

/// POST on the store, POST and PUT on an entry: all refuse alike, and leave the entry.
#[track_caller]
fn all_refuse(client: &Client, body: &Value, field: Option<&str>, message: &str) {
    let there = format!("{STORE}.there");
    let before = client.get(&path(STORE)).ok().json;
    for answer in [
        add(client, STORE, body),
        add(client, &format!("{STORE}.new"), body),
        replace(client, &there, body),
    ] {
        refused(&answer, 400, field, message);
    }
    assert_eq!(client.get(&path(STORE)).ok().json, before);
}

#[test]
fn bodies_are_strict() {
    let (_appliance, daemon, [iaca, leaf]) = daemon();
    let client = &daemon.client;
    add(client, &format!("{STORE}.there"), &base(&leaf));
    let with = |name: &str, value: Value| {
        let mut body = base(&leaf);
        body[name] = value;
        body
    };
    let pem = Some("/certificatePem");
    all_refuse(client, &json!([]), None, "must be an object");
    all_refuse(client, &json!({ "certificatePem": leaf }), Some("/type"), "type is required");
    all_refuse(client, &json!({ "type": "base" }), pem, "certificatePem is required");
    all_refuse(client, &with("type", json!("iaca")), Some("/type"), "not one of base, vical-entry");
    all_refuse(client, &with("type", json!(1)), Some("/type"), "must be a string");
    all_refuse(client, &with("certificatePem", json!(null)), pem, "certificatePem is required");
    all_refuse(client, &with("certificatePem", json!(1)), pem, "must be a string");
    // One spelling in bodies, another in answers.
    for name in ["certificatePEM", "pem", "_id", "data", "storedCertificateId"] {
        let wanted = format!("unknown member '{name}'");
        all_refuse(client, &with(name, json!("x")), Some(&format!("/{name}")), &wanted);
    }
    for name in ["complementaryMetadata", "vicalEntryComplementaryMetadata"] {
        let field = format!("/{name}");
        all_refuse(client, &with(name, mdl()), Some(&field), "metadata is for a vical-entry");
        // `null` is absent.
        let answer = add(client, STORE, &with(name, Value::Null));
        assert_eq!(answer.status, 201, "{}", answer.json);
        assert!(answer.json["data"].get("complementaryMetadata").is_none());
    }

    // Metadata, under either name, and not under both.
    let vical = |name: &str, metadata: Value| json!({ "type": "vical-entry", "certificatePem": iaca, name: metadata });
    all_refuse(
        client,
        &json!({ "type": "vical-entry", "certificatePem": iaca }),
        Some("/complementaryMetadata"),
        "complementaryMetadata is required",
    );
    let mut both = vical("complementaryMetadata", mdl());
    both["vicalEntryComplementaryMetadata"] = mdl();
    all_refuse(client, &both, Some("/vicalEntryComplementaryMetadata"), "exactly one");
    for name in ["complementaryMetadata", "vicalEntryComplementaryMetadata"] {
        let answer = add(client, STORE, &vical(name, mdl()));
        assert_eq!(answer.status, 201, "{}", answer.json);
        assert_eq!(answer.json["data"]["complementaryMetadata"], mdl());
        for (metadata, member, message) in [
            (json!([]), "", "must be an object"),
            (json!({}), "/docType", "docType is required"),
            (json!({ "docType": null }), "/docType", "docType is required"),
            (json!({ "docType": [] }), "/docType", "docType needs at least one value"),
            (json!({ "docType": "x" }), "/docType", "must be an array of strings"),
            (json!({ "docType": [1] }), "/docType/0", "must be a string"),
            (json!({ "docType": ["x", " "] }), "/docType/1", "must not be blank"),
            (json!({ "docType": ["x", "y", "x"] }), "/docType/2", "twice"),
            (
                json!({ "docType": ["x"], "certificateProfile": ["p", "p"] }),
                "/certificateProfile/1",
                "twice",
            ),
            (json!({ "docType": ["x"], "extra": 1 }), "/extra", "unknown member 'extra'"),
        ] {
            let field = format!("/{name}{member}");
            all_refuse(client, &vical(name, metadata), Some(&field), message);
        }
    }
}

#[test]
fn one_clean_pem_block_is_a_certificate_whatever_its_line_ends() {
    let (_appliance, daemon, [iaca, leaf]) = daemon();
    let client = &daemon.client;
    add(client, &format!("{STORE}.there"), &base(&leaf));
    for given in [
        leaf.clone(),
        leaf.trim_end().to_owned(),
        leaf.replace('\n', "\r\n"),
        leaf.trim_end().replace('\n', "\r\n"),
        format!("\r\n\t {leaf} \n\n"),
    ] {
        let answer = add(client, STORE, &base(&given));
        assert_eq!(answer.status, 201, "{given:?}: {}", answer.json);
        assert_eq!(answer.json["data"]["pem"], leaf, "out it comes in one form");
    }
    let count = ids(client, STORE);
    let middle = leaf.len() / 2;
    for (given, message) in [
        (String::new(), "expected exactly one CERTIFICATE block"),
        ("certificate".to_owned(), "expected exactly one CERTIFICATE block"),
        (format!("{leaf}{leaf}"), "expected exactly one CERTIFICATE block"),
        (format!("{leaf}{iaca}"), "expected exactly one CERTIFICATE block"),
        (format!("Subject: CN=x\n{leaf}"), "expected exactly one CERTIFICATE block"),
        (format!("{leaf}# x"), "expected exactly one CERTIFICATE block"),
        (
            leaf.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            "expected exactly one CERTIFICATE block",
        ),
        (
            leaf.replace("CERTIFICATE", "CERTIFICATE REQUEST"),
            "expected exactly one CERTIFICATE block",
        ),
        (format!("{}{}", &leaf[..middle], &leaf[middle + 4..]), "certificatePem: "),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            "certificatePem: ",
        ),
    ] {
        all_refuse(client, &base(&given), Some("/certificatePem"), message);
    }
    assert_eq!(ids(client, STORE), count);
}

#[test]
fn a_vical_entry_is_an_iaca_expired_or_not() {
    let (appliance, daemon, [iaca, leaf]) = daemon();
    let client = &daemon.client;
    add(client, &format!("{STORE}.there"), &base(&leaf));
    let expired = foreign_iaca(&appliance, "20100101000000Z", "20200101000000Z");
    let to_come = foreign_iaca(&appliance, "20900101000000Z", "21000101000000Z");
    let too_long = foreign_iaca(&appliance, "20100101000000Z", "20400101000000Z");
    for pem in [&iaca, &expired, &to_come] {
        let answer = add(client, STORE, &vical_entry(pem, &mdl()));
        assert_eq!(answer.status, 201, "{}", answer.json);
        assert_eq!(&answer.json["data"]["pem"], pem);
        replace(client, &format!("{STORE}.there"), &vical_entry(pem, &mdl())).ok();
    }
    let forged = forged(&iaca);
    for (pem, message) in [
        (&leaf, "a vical-entry must be an IACA"),
        (&too_long, "a vical-entry must be an IACA"),
        (&forged, "a vical-entry must be an IACA: self-signature does not verify"),
    ] {
        all_refuse(client, &vical_entry(pem, &mdl()), Some("/certificatePem"), message);
        // As `base` anything that is a certificate may stand there.
        assert_eq!(add(client, STORE, &base(pem)).status, 201);
    }
}

#[test]
fn without_the_check_any_certificate_may_be_a_vical_entry() {
    let appliance = Appliance::new();
    super::declare_more(&appliance);
    appliance.declare("[store]\ncheck_vical_entries = false");
    let daemon = appliance.start();
    let [iaca, leaf] = super::two_certificates(&daemon.client);
    for pem in [&leaf, &forged(&iaca)] {
        let answer = add(&daemon.client, STORE, &vical_entry(pem, &mdl()));
        assert_eq!(answer.status, 201, "{}", answer.json);
        assert_eq!(answer.json["data"]["type"], "vical-entry");
    }
    let broken = add(&daemon.client, STORE, &vical_entry("no PEM", &mdl()));
    refused(&broken, 400, Some("/certificatePem"), "expected exactly one CERTIFICATE block");
}

/// The same certificate with another last octet of the signature.
fn forged(pem: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = STANDARD.decode(base64).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
