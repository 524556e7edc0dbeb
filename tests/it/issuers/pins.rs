//! What makes a key an IACA's without a certificate here can be seen, and dropped.

use serde_json::{Value, json};

use super::roles::{described, supplied};
use crate::{
    appliance::{Answer, Appliance, Client, KMS, key},
    support::{iaca, leaf, refused},
};

fn path(name: &str) -> String {
    format!("/v1/{KMS}.{name}/kms-service-api/iaca-pins")
}

fn drop_all(client: &Client, name: &str) -> Answer {
    client.send("DELETE", &path(name), &[], "").unwrap()
}

#[test]
fn a_pin_that_should_not_be_there_is_seen_and_dropped_and_that_is_audited() {
    let [pem] =
        crate::stores::issued_elsewhere([("iso/iacas", iaca("iaca-secp384r1", "Elsewhere"))]);
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    assert_eq!(client.get(&path("iaca-secp256r1")).ok().json, json!([]));
    refused(&drop_all(client, "iaca-secp256r1"), 404, None, "no IACA is pinned");
    refused(&client.get(&path("nothing")), 404, None, "not found");

    client.issue("iso/document-signers", &described(&key("iaca-secp256r1"))).ok();
    client.issue("iso/document-signers", &supplied(&pem, &key("iaca-secp384r1"))).ok();
    let listed = client.get(&path("iaca-secp256r1")).ok().json;
    let pin = &listed[0];
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(pin["keyIdPath"], format!("{KMS}.iaca-secp256r1"));
    assert_eq!(pin["subject"], "C=US,CN=Example IACA");
    assert_eq!(pin["issuerAlternativeNameConf"], json!({ "uri": "https://iaca.example.com" }));
    assert_eq!(pin["notAfter"], "2040-05-24T12:23:01Z");
    assert_eq!(pin.get("certificatePem"), None);
    let listed = client.get(&path("iaca-secp384r1")).ok().json;
    assert_eq!(listed[0]["certificatePem"], pem);
    assert_eq!(listed[0]["subject"], "C=NL,CN=Elsewhere");

    for name in ["iaca-secp256r1", "iaca-secp384r1"] {
        let generic = leaf(name, "Leaf");
        assert_eq!(client.issue("certificate", &generic).status, 403);
        let deleted = drop_all(client, name).ok().json;
        assert_eq!(deleted, json!({ "deleted": format!("{KMS}.{name}") }));
        assert_eq!(client.get(&path(name)).ok().json, json!([]));
        // At once, and for good.
        client.issue("certificate", &generic).ok();
    }
    let audited = "select count(*) from audit_entries where cast(entry as text) like \
                   '%\"type\":\"iaca-unpinned\"%'";
    assert_eq!(appliance.count(audited), 2);
}

#[test]
fn the_command_line_shows_and_drops_pins() {
    let appliance = Appliance::new();
    let daemon = crate::cli::set_up(&appliance);
    daemon.client.issue("iso/document-signers", &described(&key("iaca-secp256r1"))).ok();
    let path = format!("{KMS}.iaca-secp256r1");
    let run = |arguments: &[&str]| {
        let output = crate::cli::run(&appliance, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = run(&["key", "iaca-pins", &path]);
    assert!(shown.contains("C=US,CN=Example IACA") && shown.contains("described"), "{shown}");
    assert!(run(&["key", "drop-iaca-pins", &path]).contains("dropped"));
    let listed: Value = serde_json::from_str(&run(&["key", "iaca-pins", &path, "--json"])).unwrap();
    assert_eq!(listed, json!([]));
}
