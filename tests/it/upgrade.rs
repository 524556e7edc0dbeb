//! What an earlier version has left in the ledger, and would be refused today, goes on; the operator is
//! told of it at the start, and by a check.

use serde_json::json;

use crate::{
    appliance::{Appliance, KMS, SOON, STORE, generic_ca, key_label, until},
    support::iaca,
};

/// By a small private key: the base point of P-256 itself.
const WEAK_SPKI: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004\
    6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
    4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
const MADE: &str = "test.old.made";
const OWN: &str = "test.old.own";
const LATER: &str = "test.old.later";

/// One warning for each kind, by words that it has.
fn expected() -> [Vec<String>; 5] {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let first = key_label("iaca-secp256r1");
    let second = key_label("iaca-secp384r1");
    [
        words(&[&format!("service {MADE} "), &format!("{KMS}, {STORE}, outside test.old")]),
        words(&[&format!("key {first} is on record both"), "it is an IACA's"]),
        words(&[&format!("key {second} is on record both"), "it is another CA's"]),
        words(&[&format!("key {first}: 1 described IACAs count no more")]),
        words(&[&format!("key {KMS}.weak is known to be bad"), "signs no more"]),
    ]
}

fn missing(text: &str) -> Vec<Vec<String>> {
    let is_told = |words: &Vec<String>| {
        text.lines().any(|line| words.iter().all(|word| line.contains(word.as_str())))
    };
    expected().into_iter().filter(|words| !is_told(words)).collect()
}

fn check(appliance: &Appliance) -> String {
    let output = appliance.run(&["check", "--config", appliance.config().to_str().unwrap()]);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A ledger with one of each kind: services, certificates and a description of an earlier version.
fn with_the_past() -> Appliance {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let create = |path: &str, what: &str, body| {
        let answer =
            daemon.client.post_json(&format!("/v1/{path}/resource-api/{what}/create"), &body);
        assert_eq!(answer.status, 201, "{}", answer.json);
    };
    create("test.old", "tenants", json!({}));
    create("test.old.certs", "services", json!({ "type": "x509-store" }));
    let uses = |what: &[&str]| json!({ "type": "x509-service", "dependencies": what });
    create(MADE, "services", uses(&[KMS, STORE]));
    create(OWN, "services", uses(&["test.old.certs"]));
    for name in ["iaca-secp256r1", "iaca-secp384r1"] {
        for common_name in ["One", "Two"] {
            daemon.client.issue("iso/iacas", &iaca(name, common_name)).ok();
        }
    }
    daemon.stop();
    // A certificate of the other profile over the key is what an earlier version would have issued.
    let other_profile = |name: &str, which: &str| {
        format!(
            "UPDATE certificates SET profile = 'generic' WHERE audit_index =
                 (SELECT {which}(audit_index) FROM certificates WHERE subject_key_path = '{}');",
            key_label(name)
        )
    };
    let label = key_label("iaca-secp256r1");
    appliance
        .ledger()
        .execute_batch(&format!(
            "{}{}
             UPDATE certificates SET issued_at = issued_at - 10 WHERE audit_index =
                 (SELECT MIN(audit_index) FROM certificates WHERE subject_key_path = '{}');
             UPDATE resources SET definition_before = definition;
             INSERT INTO iaca_pins SELECT spki_sha256, x'3000', '', 'https://a.example', 1780000000,
                 4102444800, path, 1780000000 FROM key_pins WHERE path = '{label}';
             INSERT INTO key_pins SELECT '{KMS}.weak', token, 'weak', x'77', x'{WEAK_SPKI}', zeroblob(32),
                 first_seen, token_serial FROM key_pins WHERE path = '{label}';",
            other_profile("iaca-secp256r1", "MAX"),
            other_profile("iaca-secp384r1", "MIN"),
            key_label("iaca-secp384r1"),
        ))
        .unwrap();
    appliance
}

#[test]
fn what_an_earlier_version_has_left_is_told_at_the_start_and_goes_on() {
    let appliance = with_the_past();
    let daemon = appliance.start();
    let told = until(SOON, || missing(&daemon.log()).is_empty().then_some(()));
    told.unwrap_or_else(|| panic!("{:?}\n{}", missing(&daemon.log()), daemon.log()));
    for silent in [OWN, "root-secp256r1"] {
        assert!(!daemon.log().contains(&format!("{silent} ")), "{}", daemon.log());
    }
    // The service keeps what it uses.
    let path = format!("/v1/{MADE}/x509-service-api/certificate");
    let request = generic_ca("root-secp256r1", "Kept");
    daemon.client.post(&path, &request.to_string()).ok();
    // The keys refuse what the warnings say.
    for (route, body, words) in [
        ("certificate", generic_ca("iaca-secp256r1", "Other"), "belongs to an IACA"),
        ("iso/iacas", iaca("iaca-secp384r1", "Three"), "has a CA certificate that is no IACA"),
    ] {
        let refused = daemon.client.issue(route, &body);
        assert_eq!(refused.status, 403, "{}", refused.json);
        assert!(refused.json["message"].as_str().unwrap().contains(words), "{}", refused.json);
    }
    // What is made under today's rules is nobody's past.
    let body = json!({ "type": "x509-service", "dependencies": [KMS] });
    let path = format!("/v1/{LATER}/resource-api/services/create");
    assert_eq!(daemon.client.post_json(&path, &body).status, 201);
    daemon.stop();
    let daemon = appliance.start();
    let told = until(SOON, || missing(&daemon.log()).is_empty().then_some(()));
    told.unwrap_or_else(|| panic!("{:?}\n{}", missing(&daemon.log()), daemon.log()));
    assert!(!daemon.log().contains(&format!("service {LATER} ")), "{}", daemon.log());
}

#[test]
fn a_check_tells_the_same_of_the_ledger_of_a_stopped_and_of_a_running_daemon() {
    let appliance = with_the_past();
    let text = check(&appliance);
    assert_eq!(missing(&text), Vec::<Vec<String>>::new(), "{text}");
    assert!(!text.contains("the ledger has version"), "{text}");
    // Of a ledger of the version before it says what will become of it, and changes nothing.
    appliance.ledger().pragma_update(None, "user_version", 2).unwrap();
    let text = check(&appliance);
    assert_eq!(missing(&text), Vec::<Vec<String>>::new(), "{text}");
    assert!(text.contains("the ledger has version 2; the start will bring it to 3"), "{text}");
    let version: i32 =
        appliance.ledger().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
    appliance.ledger().pragma_update(None, "user_version", 3).unwrap();

    let daemon = appliance.start();
    daemon.wait_until_ready();
    let text = check(&appliance);
    assert_eq!(missing(&text), Vec::<Vec<String>>::new(), "{text}");
    daemon.client.issue("certificate", &generic_ca("root-secp256r1", "Goes On")).ok();
    assert!(!daemon.log().contains("ledger-displaced"), "{}", daemon.log());
    daemon.stop();
}
