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
