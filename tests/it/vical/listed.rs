//! Which certificates a VICAL lists.

use super::*;

#[test]
fn one_certificate_in_several_stores_is_listed_once_with_all_its_document_types() {
    let appliance = appliance();
    let second = "test.tenant1.x509-store-2";
    appliance.configure(|text| {
        text.replace(
            &with_store(),
            &format!("dependencies = [\"{second}\", \"{KMS}\", \"{STORE}\"]"),
        )
    });
    appliance.declare(&format!("[[services]]\npath = \"{second}\"\ntype = \"x509-store\""));
    let daemon = appliance.start();
    let client = &daemon.client;
    issue_signer(client);
    let metadata = json!({
        "docType": ["a", "b"], "certificateProfile": ["urn:oid:1.0.18013.5.1.7"],
    });
    let issued = client.issue("iso/iacas", &iaca("iaca-secp256r1", "one", &metadata)).ok();
    client.issue("iso/iacas", &iaca("iaca-secp384r1", "two", &mdl())).ok();
    let add = |id: &str, metadata: Value| {
        let body = json!({
            "type": "vical-entry", "certificatePem": issued.certificate(),
            "complementaryMetadata": metadata,
        });
        let path = format!("/v1/{id}/x509-store-api/certificates");
        assert_eq!(client.post(&path, &body.to_string()).status, 201);
    };
    add(&format!("{second}.z"), json!({ "docType": ["c", "b"], "certificateProfile": ["free"] }));
    add(&format!("{STORE}.zzz"), json!({ "docType": ["d", "a"] }));

    let answer = publish(client, &by_acme()).ok();
    assert_eq!(answer.json["entryCount"], 2);
    let said = judged(&appliance, &octets_of_latest(&daemon));
    let entries = said["entries"].as_array().unwrap();
    let expected = [
        (json!(["c", "b", "a", "d"]), json!(["free", "urn:oid:1.0.18013.5.1.7"])),
        (json!(["org.iso.18013.5.1.mDL"]), Value::Null),
    ];
    for (entry, (doc_types, profiles)) in entries.iter().zip(&expected) {
        assert_eq!((&entry["docType"], &entry["certificateProfile"]), (doc_types, profiles));
    }
    // 'free' is no URN: published, and said in log and audit.
    let warned = "select count(*) from audit_entries where \
                  cast(entry as text) like '%\"type\":\"vical-published\"%not a URN%'";
    assert_eq!(appliance.count(warned), 1);
    assert!(daemon.log().contains("'free'"));
    daemon.stop();
}

/// The same certificate with the other signature that verifies: n - s in the place of s.
fn twin(pem: &str) -> String {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).unwrap();
    let length = |at: usize| usize::from(der[at]) << 8 | usize::from(der[at + 1]);
    let tbs_end = 8 + length(6);
    let algorithm_end = tbs_end + 2 + usize::from(der[tbs_end + 1]);
    let signature = &der[algorithm_end + 3..];
    let r_end = 4 + usize::from(signature[3]);
    let s = &signature[r_end + 2..];
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let octet = |at: usize| i32::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap();
    let mut other = [0_u8; 33];
    let mut borrow = 0;
    for at in (0..32).rev() {
        let taken = (s.len() + at).checked_sub(32).map_or(0, |at| i32::from(s[at]));
        let difference = octet(at) - taken - borrow;
        borrow = i32::from(difference < 0);
        other[at + 1] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let first = (0..33).find(|at| other[*at] != 0).unwrap();
    let start = if other[first] & 0x80 == 0 { first } else { first - 1 };
    let element =
        |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let values = [&signature[2..r_end], &element(2, &other[start..])].concat();
    let bits = element(3, &[&[0][..], &element(0x30, &values)].concat());
    let content = [&der[4..algorithm_end], &bits].concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let der = [&[0x30, 0x82][..], &length, &content].concat();
    let lines: String = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .fold(String::new(), |text, line| text + std::str::from_utf8(line).unwrap() + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

#[test]
fn a_certificate_is_listed_once_however_its_signature_is_written() {
    let appliance = appliance();
    appliance.declare("[store]\ncheck_vical_entries = false");
    let daemon = appliance.start();
    let client = &daemon.client;
    issue_signer(client);
    let issued = client.issue("iso/iacas", &iaca("iaca-secp256r1", "m", &mdl())).ok();
    let twin = twin(issued.certificate());
    fs::write(appliance.path("twin.pem"), &twin).unwrap();
    appliance.shell("openssl verify -x509_strict -CAfile twin.pem twin.pem");
    // And one whose signature is nobody's; the rules of the store let it in.
    let marker = twin.len() - "-----END CERTIFICATE-----\n".len();
    let mut broken = twin.clone();
    let at = marker - 12;
    let other = if &broken[at..=at] == "A" { "B" } else { "A" };
    broken.replace_range(at..=at, other);
    let add = |id: &str, pem: &str, doc_type: &str| {
        let body = json!({
            "type": "vical-entry", "certificatePem": pem,
            "complementaryMetadata": { "docType": [doc_type] },
        });
        let path = format!("/v1/{STORE}.{id}/x509-store-api/certificates");
        let answer = client.post(&path, &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.json);
    };
    add("a", &broken, "broken");
    add("z", &twin, "twin");
    let answer = publish(client, &by_acme()).ok();
    assert_eq!(answer.json["entryCount"], 1);
    let said = judged(&appliance, &octets_of_latest(&daemon));
    let [entry] = said["entries"].as_array().unwrap().as_slice() else { panic!("{said}") };
    assert_eq!(entry["docType"], json!(["broken", "org.iso.18013.5.1.mDL", "twin"]));
    // The one that verifies is listed, though the broken one comes first.
    let octets = octets_of_latest(&daemon);
    let base64: String =
        issued.certificate().lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).unwrap();
    assert!(octets.windows(der.len()).any(|window| window == der));
    daemon.stop();
}

#[test]
fn an_expired_iaca_is_left_out_and_named() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    let soon = chancery::domain::time::Timestamp::now().plus_seconds(3);
    let mut short = iaca("iaca-secp256r1", "short", &mdl());
    short["certificateData"]["notBefore"] = "2020-01-01T00:00:00Z".into();
    short["certificateData"]["notAfter"] = soon.to_string().into();
    daemon.client.issue("iso/iacas", &short).ok();
    thread::sleep(Duration::from_secs(5));
    let refused = publish(&daemon.client, &by_acme());
    assert_eq!(refused.status, 400, "{}", refused.json);

    daemon.client.issue("iso/iacas", &iaca("iaca-secp384r1", "long", &mdl())).ok();
    let answer = publish(&daemon.client, &by_acme()).ok();
    assert_eq!(answer.json["entryCount"], 1);
    assert_eq!(
        answer.json["skipped"],
        json!([{ "storedCertificateId": format!("{STORE}.short"), "reason": "expired" }])
    );
    assert_eq!(
        judged(&appliance, &octets_of_latest(&daemon))["entries"].as_array().unwrap().len(),
        1
    );
    daemon.stop();
}

#[test]
fn a_list_of_nothing_and_a_tag_are_written_where_the_settings_say_so() {
    let appliance = appliance();
    set(&appliance, "allow_empty = true\ncose_tag = true");
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    assert_eq!(publish(&daemon.client, &by_acme()).ok().json["entryCount"], 0);
    let octets = octets_of_latest(&daemon);
    assert!(hex(&octets).starts_with("d28443a10126"), "{}", hex(&octets));
    let said = judged(&appliance, &octets);
    assert_eq!((&said["tagged"], &said["entries"]), (&json!(true), &json!([])));
    daemon.stop();
}
