//! What one certificate looks like, in the list and alone.

use serde_json::{Value, json};

use super::{OTHER, appliance, issue_some, items, list, path};
use crate::{
    appliance::{Answer, Appliance, KMS, SERVICE, STORE, documented},
    support::{iaca, leaf, members, refused},
};

/// What openssl reads in a certificate.
struct Read {
    serial: String,
    sha256: String,
    subject: String,
    issuer: String,
    subject_key_id: String,
    not_before: String,
    not_after: String,
}

fn read(appliance: &Appliance, pem: &str) -> Read {
    std::fs::write(appliance.path("one.pem"), pem).unwrap();
    let text = appliance.shell(
        "openssl x509 -in one.pem -noout -serial -fingerprint -sha256 -subject -issuer \
             -nameopt sep_comma_plus,esc_2253,utf8,sname -dateopt iso_8601 -dates \
             -ext subjectKeyIdentifier",
    );
    let after = |start: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start} in {text}")).trim().to_owned()
    };
    let hex = |text: &str| text.replace(':', "").to_lowercase();
    Read {
        serial: hex(&after("serial=")),
        sha256: hex(&after("sha256 Fingerprint=")),
        subject: after("subject="),
        issuer: after("issuer="),
        subject_key_id: hex(text.lines().last().unwrap().trim()),
        not_before: after("notBefore=").replace(' ', "T"),
        not_after: after("notAfter=").replace(' ', "T"),
    }
}

/// The item of an answer, wanted member for member.
fn wanted(
    appliance: &Appliance,
    answer: &Answer,
    profile: &str,
    issuer_key_id: Option<&str>,
    signer: &str,
    subject: Option<&str>,
) -> Value {
    let certificate = read(appliance, answer.certificate());
    assert_eq!(answer.header("chancery-serial"), Some(certificate.serial.as_str()));
    let index: u64 = answer.header("chancery-audit-index").unwrap().parse().unwrap();
    let mut item = json!({
        "serial": certificate.serial,
        "profile": profile,
        "status": "valid",
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "notBefore": certificate.not_before,
        "notAfter": certificate.not_after,
        "subjectKeyId": certificate.subject_key_id,
        "issuerKeyId": issuer_key_id.unwrap_or(&certificate.subject_key_id),
        "issuerKeyIdPath": format!("{KMS}.{signer}"),
        "sha256": certificate.sha256,
        "issuedBy": "demo",
        "requestId": answer.header("x-request-id"),
        "auditIndex": index,
        "devKey": false,
    });
    if let Some(key) = subject {
        item["subjectKeyIdPath"] = format!("{KMS}.{key}").into();
    }
    if let Some(ids) = answer.json.get("storedCertificateIds") {
        item["storedCertificateIds"] = ids.clone();
    }
    item
}

#[test]
fn an_item_says_what_the_certificate_says_and_who_asked() {
    let (appliance, _) = appliance();
    let daemon = appliance.start();
    let client = &daemon.client;
    let mut request = iaca("iaca-secp384r1", "Root");
    request["certificateData"]["stateOrProvinceName"] = "Utrecht".into();
    request["certificateData"]["organizationName"] = "Acme Vehicle Authority".into();
    request["storedCertificateId"] = "root".into();
    let root = client.issue("iso/iacas", &request).ok();
    let root_key_id = read(&appliance, root.certificate()).subject_key_id;

    // The subject key comes in a CSR: no path leads to it.
    let csr = json!({
        "type": "generic",
        "subjectName": { "commonName": "x", "country": "NL" },
        "subjectKeyDescriptor": crate::appliance::key("ds-from-csr"),
    });
    let csr = client.issue("csrs", &csr).ok();
    let mut request = documented("document-signers-create.request.json");
    request["storedCertificateId"] = "ds".into();
    request["iacaSigner"] = json!({
        "type": "iaca-pem-cert-descriptor",
        "iacaPemEncodedCertificate": root.certificate(),
        "iacaKeyDesc": crate::appliance::key("iaca-secp384r1"),
    });
    request["certificateData"]["country"] = "NL".into();
    request["certificateData"]["stateOrProvinceName"] = "Utrecht".into();
    request["dsPublicKeySource"] = json!({ "type": "csr", "csrPem": csr.json["csrPem"] });
    let signer = client.issue("iso/document-signers", &request).ok();
    let hosted = client.issue("certificate", &leaf("leaf-secp256r1", "Leaf, \"Ö\"")).ok();
    let path_2 = format!("/v1/{OTHER}/x509-service-api/certificate");
    let bare = client.post_json(&path_2, &leaf("leaf-secp256r1", "Bare")).ok();
    assert!(bare.json.get("storedCertificateIds").is_none());

    let mut items = items(client, "");
    assert_eq!(items.len(), 3, "a CSR is no certificate");
    items.extend(client.get(&path(OTHER)).ok().json["items"].as_array().unwrap().clone());
    let wanted = [
        wanted(&appliance, &hosted, "generic", None, "leaf-secp256r1", Some("leaf-secp256r1")),
        wanted(&appliance, &signer, "document-signer", Some(&root_key_id), "iaca-secp384r1", None),
        wanted(&appliance, &root, "iaca", None, "iaca-secp384r1", Some("iaca-secp384r1")),
        wanted(&appliance, &bare, "generic", None, "leaf-secp256r1", Some("leaf-secp256r1")),
    ];
    for (item, mut wanted) in items.iter().zip(wanted) {
        wanted["issuedAt"] = item["issuedAt"].clone();
        assert_eq!(item, &wanted);
        let issued_at = item["issuedAt"].as_str().unwrap();
        assert!(issued_at.len() == 20 && issued_at.ends_with('Z'), "{issued_at}");
    }
    assert_eq!(items[2]["notBefore"], items[2]["issuedAt"], "the default start is now");
    assert_eq!(items[1]["storedCertificateIds"], json!([format!("{STORE}.ds")]));
    assert_eq!(
        items[2]["subject"], "C=NL,CN=Root,ST=Utrecht,O=Acme Vehicle Authority",
        "names are written as in the certificate"
    );

    // One alone is the same, and the certificate.
    for (answer, service, item) in [
        (&hosted, SERVICE, &items[0]),
        (&signer, SERVICE, &items[1]),
        (&root, SERVICE, &items[2]),
        (&bare, OTHER, &items[3]),
    ] {
        let mut wanted = item.clone();
        wanted["certificatePEM"] = answer.certificate().into();
        let serial = answer.header("chancery-serial").unwrap();
        for written in [serial.to_owned(), serial.to_uppercase()] {
            let one = client.get(&format!("{}/{written}", path(service))).ok();
            assert_eq!(one.json, wanted);
        }
        let elsewhere = if service == OTHER { SERVICE } else { OTHER };
        let missing = client.get(&format!("{}/{serial}", path(elsewhere)));
        refused(&missing, 404, None, "no certificate with this serial");
    }
}

#[test]
fn what_an_aborted_or_refused_issuance_leaves_is_not_in_the_inventory() {
    let (appliance, _) = appliance();
    let daemon = appliance.start();
    let mut request = iaca("iaca-secp384r1", "Root");
    request["certificateData"]["country"] = "XX".into();
    assert_eq!(daemon.client.issue("iso/iacas", &request).status, 400);
    assert_eq!(list(&daemon.client, "").ok().json, json!({ "items": [] }));
}

#[test]
fn a_serial_is_hex_digits_and_nothing_else() {
    let (appliance, second) = appliance();
    let daemon = appliance.start();
    issue_some(&appliance, &daemon, &second);
    let all = items(&daemon.client, "limit=500");
    let serial = all[0]["serial"].as_str().unwrap();
    let colons = serial.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let colons = colons.collect::<Vec<_>>().join(":");
    for bad in [colons.as_str(), "xyz", "0x12", "12%20", "%31%32", "-12", "1g", "0x", ":"] {
        let answer = daemon.client.get(&format!("{}/{bad}", path(SERVICE)));
        refused(&answer, 400, None, "serialHex");
    }
    // A serial is a number: zeros before it change nothing.
    for zeros in [1, 2, 3, 40] {
        let leading = format!("{}/{}{serial}", path(SERVICE), "0".repeat(zeros));
        assert_eq!(daemon.client.get(&leading).ok().json["serial"], serial, "{leading}");
    }
    let odd =
        [&serial[1..], &format!("{serial}0"), &format!("0{}", &serial[1..])].map(str::to_owned);
    let long = "ab".repeat(200);
    let none =
        ["0", "00", "000", "1", "123", "0123456789abcdef", &serial[..30], &serial[..31], &long];
    for none in none.into_iter().chain(odd.iter().map(String::as_str)) {
        let answer = daemon.client.get(&format!("{}/{none}", path(SERVICE)));
        refused(&answer, 404, None, "no certificate with this serial");
    }
    let child = daemon.client.get(&format!("/v1/{SERVICE}.x/x509-service-api/certificates"));
    refused(&child, 404, None, "does not exist");
}

#[test]
fn the_inventory_is_the_same_after_a_stop_and_after_kill_9() {
    let (appliance, second) = appliance();
    let daemon = appliance.start();
    issue_some(&appliance, &daemon, &second);
    let everything = |client: &crate::appliance::Client| {
        let list = items(client, "limit=500");
        let one = format!("{}/{}", path(SERVICE), list[3]["serial"].as_str().unwrap());
        let other = client.get(&path(OTHER)).ok().json;
        (list, client.get(&one).ok().json, other)
    };
    let before = everything(&daemon.client);
    assert_eq!(before.0.len(), 12);
    daemon.stop();
    let daemon = appliance.start();
    assert_eq!(everything(&daemon.client), before);
    daemon.kill();
    let daemon = appliance.start();
    assert_eq!(everything(&daemon.client), before);
    // What comes later is newer.
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "After")).ok();
    let after = items(&daemon.client, "limit=500");
    assert_eq!(after[1..], before.0);
    assert_eq!(members(&list(&daemon.client, "limit=500").json), ["items"]);
}
