//! What a store's content does to issuing, and what it does not.

use serde_json::{Value, json};

use super::{STORE_2, add, base, delete, issued_elsewhere};
use crate::{
    appliance::{Answer, Appliance, Client, KMS, SERVICE, STORE, documented, generic_ca},
    support::{iaca, leaf, refused},
};

fn inventory(client: &Client) -> Value {
    client.get(&format!("/v1/{SERVICE}/x509-service-api/certificates")).ok().json
}

/// A document signer of the described IACA of the examples, ending when it is told.
fn document_signer(client: &Client, not_after: &str) -> Answer {
    let mut request = documented("document-signers-create.request.json");
    request.as_object_mut().unwrap().remove("storedCertificateId");
    request["iacaSigner"]["certificateData"]["notAfter"] = not_after.into();
    client.issue("iso/document-signers", &request)
}

/// The IACA that the examples describe.
fn described() -> Value {
    let request = documented("document-signers-create.request.json");
    json!({
        "certificateData": request["iacaSigner"]["certificateData"],
        "iacaKeyDesc": request["iacaSigner"]["iacaKeyDesc"],
    })
}

fn intermediate(client: &Client) -> Answer {
    let mut request = documented("certificate-ca-signed-intermediate.request.json");
    request.as_object_mut().unwrap().remove("storedCertificateId");
    client.issue("certificate", &request)
}

#[test]
fn an_iaca_in_an_attached_store_is_registered_for_its_key_while_it_is_there() {
    let end = described()["certificateData"]["notAfter"].as_str().unwrap().to_owned();
    let other_end = end.replace("2040", "2039");
    let [pem] = issued_elsewhere([("iso/iacas", described())]);
    let appliance = Appliance::new();
    super::declare_more(&appliance);
    let daemon = appliance.start();
    let client = &daemon.client;
    let pins = || appliance.count("select count(*) from iaca_pins");

    let entry = format!("{STORE}.iaca");
    assert_eq!(add(client, &entry, &base(&pem)).status, 201);
    refused(
        &document_signer(client, &other_end),
        400,
        Some("/iacaSigner/certificateData"),
        "differs from the registered IACA: notAfter",
    );
    document_signer(client, &end).ok();
    assert_eq!(pins(), 0, "what is registered needs no pin");
    // The key is an IACA's, and signs nothing generic.
    let generic = leaf("iaca-secp256r1", "Leaf");
    let wanted = format!("key {KMS}.iaca-secp256r1 belongs to an IACA");
    refused(
        &client.issue("certificate", &generic),
        403,
        Some("/subjectPublicKeySource/keyDescriptor/keyIdPath"),
        &wanted,
    );

    // Without it the first description counts.
    delete(client, &entry).ok();
    document_signer(client, &other_end).ok();
    assert_eq!(pins(), 1);
    let path = format!("/v1/{KMS}.iaca-secp256r1/kms-service-api/iaca-pins");
    client.send("DELETE", &path, &[], "").unwrap().ok();
    document_signer(client, &other_end).ok();

    // In a store that is not attached it is nobody's.
    assert_eq!(add(client, &format!("{STORE_2}.iaca"), &base(&pem)).status, 201);
    refused(
        &document_signer(client, &end),
        400,
        Some("/iacaSigner/certificateData"),
        "differs from the registered IACA: notAfter",
    );
}

#[test]
fn a_ca_in_an_attached_store_is_an_issuer_while_it_is_there() {
    let [pem] = issued_elsewhere([("certificate", generic_ca("root-secp256r1", "Elsewhere"))]);
    let appliance = Appliance::new();
    super::declare_more(&appliance);
    let daemon = appliance.start();
    let client = &daemon.client;
    let unknown = |answer: &Answer| {
        refused(
            answer,
            400,
            Some("/issuer/issuerKeyDescriptor/keyIdPath"),
            &format!("no CA certificate is known for key {KMS}.root-secp256r1"),
        );
    };
    unknown(&intermediate(client));
    assert_eq!(add(client, &format!("{STORE_2}.root"), &base(&pem)).status, 201);
    unknown(&intermediate(client));
    let entry = format!("{STORE}.root");
    assert_eq!(add(client, &entry, &base(&pem)).status, 201);
    let answer = intermediate(client).ok();
    assert_eq!(answer.json["certificateData"]["issuerName"]["commonName"], "Elsewhere");
    // A leaf in its place is no issuer.
    let [leaf_pem] = issued_elsewhere([("certificate", leaf("root-secp256r1", "Leaf"))]);
    super::replace(client, &entry, &base(&leaf_pem)).ok();
    unknown(&intermediate(client));
    super::replace(client, &entry, &base(&pem)).ok();
    intermediate(client).ok();
    delete(client, &entry).ok();
    unknown(&intermediate(client));
    // By hand it still goes.
    let mut request = documented("certificate-ca-signed-intermediate.request.json");
    request["issuer"]["issuerCertificatePem"] = pem.into();
    client.issue("certificate", &request).ok();
}

#[test]
fn deleting_a_copy_changes_neither_the_inventory_nor_who_may_issue() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    let mut root = generic_ca("root-secp256r1", "Here");
    root["storedCertificateId"] = "root".into();
    client.issue("certificate", &root).ok();
    let mut request = iaca("iaca-secp256r1", "Root");
    request["storedCertificateId"] = "iaca".into();
    let issued = client.issue("iso/iacas", &request).ok();
    let before = inventory(client);
    for id in ["root", "iaca"] {
        delete(client, &format!("{STORE}.{id}")).ok();
    }
    assert_eq!(inventory(client), before);
    assert_eq!(before["items"][0]["storedCertificateIds"], json!([format!("{STORE}.iaca")]));

    intermediate(client).ok();
    let data = &issued.json["certificateData"];
    let mut request = documented("document-signers-create.request.json");
    request["iacaSigner"]["certificateData"] = data.clone();
    request["certificateData"]["country"] = data["country"].clone();
    client.issue("iso/document-signers", &request).ok();
    assert_eq!(appliance.count("select count(*) from iaca_pins"), 0);
    // The id is free for another certificate.
    let mut again = iaca("iaca-secp384r1", "Another");
    again["storedCertificateId"] = "iaca".into();
    client.issue("iso/iacas", &again).ok();
}

#[test]
fn every_attached_store_has_a_copy_of_its_own() {
    let appliance = Appliance::new();
    super::declare_more(&appliance);
    appliance.configure(|text| {
        text.replace(
            "\"test.tenant1.x509-store-1\"]",
            &format!("\"{STORE_2}\", \"test.tenant1.x509-store-1\"]"),
        )
    });
    let daemon = appliance.start();
    let client = &daemon.client;
    let mut request = iaca("iaca-secp256r1", "Root");
    request["storedCertificateId"] = "both".into();
    request["vicalEntryComplementaryMetadata"] = super::mdl();
    let answer = client.issue("iso/iacas", &request).ok();
    let [first, second] = [format!("{STORE_2}.both"), format!("{STORE}.both")];
    assert_eq!(answer.json["storedCertificateIds"], json!([first, second]));
    for path in [&first, &second] {
        let entry = client.get(&super::path(path)).ok().json;
        assert_eq!(entry["_id"], *path);
        assert_eq!(entry["data"]["type"], "vical-entry");
        assert_eq!(entry["data"]["complementaryMetadata"], super::mdl());
        assert_eq!(entry["data"]["pem"], answer.json["certificatePEM"]);
    }
    // An id that is taken in any of them is taken; what was deleted in one stays in the other.
    delete(client, &first).ok();
    let again = client.issue("iso/iacas", &request);
    crate::support::duplicate(&again, &second, "x509-certificate", Some("/storedCertificateId"));
    assert_eq!(client.get(&super::path(&second)).ok().json["_id"], second);
    // Without a chosen id, one UUID for all.
    request.as_object_mut().unwrap().remove("storedCertificateId");
    let answer = client.issue("iso/iacas", &request).ok();
    let ids: Vec<_> = answer.json["storedCertificateIds"].as_array().unwrap().iter().collect();
    let last = |path: &Value| path.as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    assert_eq!(ids.len(), 2);
    assert_eq!(last(ids[0]), last(ids[1]));
}
