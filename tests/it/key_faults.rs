//! Keys that other tools delete, replace or double while the daemon runs.

use serde_json::Value;

use crate::{
    appliance::{Answer, Appliance, Daemon, KMS, SOON, key_label, until},
    evidence::{Held, assert_sound},
    load::{assert_clean_refusal, leaf},
    spy::Spy,
};

const KEY: &str = "leaf-secp256r1";
const OTHER_KEY: &str = "secp256r1";

fn issue(daemon: &Daemon, key_name: &str) -> Answer {
    daemon.client.issue("certificate", &leaf(key_name, "Example Leaf"))
}

fn delete(appliance: &Appliance) {
    let label = key_label(KEY);
    appliance.pkcs11_tool(&format!("--delete-object --type privkey --label {label}"));
    appliance.pkcs11_tool(&format!("--delete-object --type pubkey --label {label}"));
}

#[test]
fn a_deleted_key_is_refused_and_the_others_go_on() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let held = [Held::of(&issue(&daemon, KEY).ok()), Held::of(&issue(&daemon, OTHER_KEY).ok())];
    delete(&appliance);
    let first = issue(&daemon, KEY);
    assert_eq!(first.status, 503, "{}", first.json);
    let path = key_label(KEY);
    let message = format!("key {path} is not on its token; an operator must resolve it");
    let told = || {
        let answer = issue(&daemon, KEY);
        assert_clean_refusal(&answer);
        (answer.json["message"] == message).then_some(())
    };
    until(SOON, told).unwrap_or_else(|| panic!("never told:\n{}", daemon.log()));
    let other = Held::of(&issue(&daemon, OTHER_KEY).ok());
    assert_eq!(daemon.readiness().0, 200);
    daemon.stop();
    let [one, two] = held;
    let evidence = assert_sound(&appliance, &[one, two, other], None);
    assert_eq!(evidence.certificates.len(), 3);
}

#[test]
fn a_key_that_was_replaced_is_never_signed_with() {
    let appliance = Appliance::new();
    let spy = Spy::on(&appliance);
    let daemon = appliance.start();
    daemon.wait_until_ready();
    issue(&daemon, KEY).ok();
    issue(&daemon, OTHER_KEY).ok();
    let signed = spy.digests();
    delete(&appliance);
    appliance.generate_key(&key_label(KEY), "abcdef", "EC:secp256r1");
    let alarmed = |daemon: &Daemon| {
        assert_clean_refusal(&issue(daemon, KEY));
        daemon.log().contains("alarm=\"key-changed\"").then_some(())
    };
    until(SOON, || alarmed(&daemon)).unwrap_or_else(|| panic!("no alarm:\n{}", daemon.log()));
    let told = issue(&daemon, KEY);
    assert_clean_refusal(&told);
    let message =
        format!("key {} is not the one it was; an operator must resolve it", key_label(KEY));
    assert_eq!(told.json["message"], message);
    assert_eq!(spy.digests(), signed, "nothing was signed with the impostor");
    daemon.stop();

    // The pin is in the ledger, not in memory.
    let daemon = appliance.start();
    daemon.wait_until_ready();
    alarmed(&daemon).unwrap_or_else(|| panic!("no alarm:\n{}", daemon.log()));
    issue(&daemon, OTHER_KEY).ok();
    daemon.stop();
    let evidence = assert_sound(&appliance, &[], Some(&spy));
    assert_eq!(evidence.certificates.len(), 3);
    assert_eq!(spy.digests().len(), 3);
}

#[test]
fn two_private_keys_under_one_label_are_ambiguous_until_an_operator_removes_one() {
    let appliance = Appliance::new();
    appliance.configure_token("canary_seconds = 1");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    issue(&daemon, KEY).ok();
    appliance.generate_key(&key_label(KEY), "abcdef", "EC:secp256r1");
    let refused = until(SOON, || {
        let answer = issue(&daemon, KEY);
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.expect("the twin was not noticed");
    assert_eq!(refused.status, 500);
    let path = key_label(KEY);
    let message = format!("key {path} is ambiguous on its token; an operator must resolve it");
    assert_eq!(refused.json["message"], Value::from(message));
    assert_eq!(refused.json["id"], "InternalServerErrorException");
    assert!(daemon.log().contains("several private keys answer to one key path"));
    issue(&daemon, OTHER_KEY).ok();
    for kind in ["privkey", "pubkey"] {
        appliance.pkcs11_tool(&format!("--delete-object --type {kind} --id abcdef"));
    }
    let again = until(SOON, || (issue(&daemon, KEY).status == 200).then_some(()));
    assert!(again.is_some(), "{}", daemon.log());
    daemon.stop();
    assert_sound(&appliance, &[], None);
}

/// A half-done import: the private key of one pair beside the public object of another.
#[test]
fn a_private_key_beside_anothers_public_object_is_the_operators_and_costs_nobody_else_anything() {
    let appliance = Appliance::new();
    let label = key_label("wrong");
    for name in ["a", "b"] {
        appliance.shell(&format!(
            "openssl ecparam -name prime256v1 -genkey -noout -outform DER -out {name}.der && \
             openssl ec -inform DER -in {name}.der -pubout -outform DER -out {name}.pub"
        ));
    }
    for (file, kind) in [("a.der", "privkey"), ("b.pub", "pubkey")] {
        let path = appliance.path(file).display().to_string();
        appliance.pkcs11_tool(&format!(
            "--write-object {path} --type {kind} --label {label} --id 9a01 --usage-sign"
        ));
    }
    let daemon = appliance.start();
    daemon.wait_until_ready();
    issue(&daemon, KEY).ok();
    let signers = daemon.signers();
    for _ in 0..5 {
        let refused = issue(&daemon, "wrong");
        assert_eq!(refused.status, 500, "{}", refused.json);
        let message = format!("key {label} cannot be used; an operator must resolve it");
        assert_eq!(refused.json["message"], Value::from(message));
        issue(&daemon, KEY).ok();
    }
    let listed = daemon.client.get(&format!("/v1/{KMS}/kms-service-api/keys")).json.to_string();
    assert!(listed.contains(&key_label(KEY)) && !listed.contains(&label), "{listed}");
    assert_eq!(daemon.signers(), signers, "a signer was killed for a key");
    let log = daemon.log();
    assert!(log.contains("alarm=\"key_quarantined\"") && !log.contains("breaker open"), "{log}");
    daemon.stop();
    let pins = appliance.count("select count(*) from key_pins where path like '%.wrong'");
    assert_eq!(pins, 0, "it was pinned");
    assert_sound(&appliance, &[], None);
}
