//! Two tokens that are to hold the same key, and do not; and keys that only one of them has.

use serde_json::json;

use super::{B, wait_for_check};
use crate::{
    appliance::{Appliance, KMS, SOON, until},
    evidence::assert_sound,
    load::leaf,
    support::refused,
};

fn with_another_twin() -> Appliance {
    let appliance = Appliance::with_twins("canary_seconds = 1");
    appliance.shell("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out another");
    appliance.import_key("twin", "", "chancery-dev", "torn", "aa03");
    appliance.import_key("another", "-b", "b", "torn", "aa03");
    appliance
}

#[test]
fn twins_that_disagree_are_refused_until_an_operator_resolves_it() {
    let appliance = with_another_twin();
    let daemon = appliance.start();
    wait_for_check(&daemon, "token:other", "ok");
    let kms = format!("kms:{KMS}");
    let (status, _) = wait_for_check(&daemon, &kms, "its tokens hold different keys");
    assert_eq!(status, 503);
    let message = format!("key {KMS}.torn is not the same on all of its tokens");
    for _ in 0..5 {
        let answer = daemon.client.issue("certificate", &leaf("torn", "Torn"));
        refused(&answer, 500, None, &message);
    }
    let log = daemon.log();
    assert!(log.contains("alarm=\"twins-disagree\""), "{log}");
    // Others are served.
    daemon.client.issue("certificate", &leaf("twin", "Twin")).ok();
    // Neither of the two is shown.
    let keys = daemon.client.get(&format!("/v1/{KMS}/kms-service-api/keys")).ok();
    assert!(!keys.text.contains("torn") && keys.text.contains("twin"), "{}", keys.text);

    let check = appliance.run(&["check", "--config", appliance.config().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    let problem = format!("key {KMS}.torn: another key on {B} than on softhsm");
    assert!(!check.status.success() && said.contains(&problem), "{said}");
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    let alone = format!("key {KMS}.leaf-secp256r1: on softhsm alone");
    assert!(said.contains(&alone) && !said.contains("twin: on"), "{said}");

    appliance.shell(&format!(
        "export SOFTHSM2_CONF=$PWD/softhsm2-b.conf PIN=$(cat pin-b)
         delete() {{ pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so \
            --token-label b --login --pin env:PIN --delete-object --type $1 \
            --label {KMS}.torn; }}
         # SoftHSM now and then does not see a token that another process works with.
         for type in privkey pubkey; do
            for try in 1 2 3 4 5; do delete $type && break || sleep 0.2; done
         done"
    ));
    let served = until(SOON, || {
        (daemon.client.issue("certificate", &leaf("torn", "Torn")).status == 200).then_some(())
    });
    assert!(served.is_some(), "{}", daemon.log());
    let (status, _) = wait_for_check(&daemon, &kms, "ok");
    assert_eq!(status, 200);
}

#[test]
fn a_token_that_comes_back_with_another_key_is_noticed() {
    let appliance = with_another_twin();
    appliance.move_away(B);
    let daemon = appliance.start();
    wait_for_check(&daemon, "token:softhsm", "ok");
    // Alone it is served and pinned.
    let first = daemon.client.issue("certificate", &leaf("torn", "Torn")).ok();
    appliance.move_back(B);
    wait_for_check(&daemon, "token:other", "ok");
    let answer = daemon.client.issue("certificate", &leaf("torn", "Torn"));
    refused(&answer, 500, None, "is not the same on all of its tokens");
    // What was pinned keeps the other from being used when it is alone.
    appliance.move_away("softhsm");
    wait_for_check(&daemon, "token:softhsm", "away");
    let answer = daemon.client.issue("certificate", &leaf("torn", "Torn"));
    refused(&answer, 503, None, "is not the one it was");
    daemon.stop();
    assert_sound(&appliance, &[crate::evidence::Held::of(&first)], None);
}

#[test]
fn keys_of_twins_are_shown_once_and_changed_on_the_tokens_alone() {
    let appliance = Appliance::with_twins("canary_seconds = 1");
    appliance.configure(|text| format!("{text}\n[dev]\nimport_keys = true\n"));
    let daemon = appliance.start();
    wait_for_check(&daemon, "token:other", "ok");
    let keys = daemon.client.get(&format!("/v1/{KMS}/kms-service-api/keys")).ok();
    let paths: Vec<_> = keys
        .json
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["keyIdPath"].as_str().unwrap())
        .collect();
    assert!(paths.is_sorted());
    let twin = format!("{KMS}.twin");
    assert_eq!(paths.iter().filter(|path| **path == twin).count(), 1);
    // Those of one token alone are keys too.
    assert_eq!(paths.len(), 14);
    daemon.client.issue("certificate", &leaf("leaf-secp256r1", "Of one token")).ok();
    let shown = daemon.client.get(&format!("/v1/{twin}/kms-service-api/keys")).ok();
    assert_eq!(shown.json["extractable"], false);

    let reason = "has 2 tokens that hold the same keys";
    let route = format!("/v1/{KMS}.new/kms-service-api/keys");
    let generate = json!({ "backend": "jwk", "keyType": "secp256r1" });
    refused(&daemon.client.post_json(&format!("{route}/generate"), &generate), 403, None, reason);
    let deleted =
        daemon.client.send("DELETE", &format!("/v1/{twin}/kms-service-api/keys"), &[], "");
    refused(&deleted.unwrap(), 403, None, reason);
    daemon.client.issue("certificate", &leaf("twin", "Still there")).ok();
}

#[test]
fn a_kms_names_its_tokens_in_one_way() {
    for (setting, problem) in [
        ("tokens = []", "tokens names no token"),
        ("tokens = [\"softhsm\", \"none\"]", "token 'none' is not configured"),
        ("tokens = [\"softhsm\", \"softhsm\"]", "token 'softhsm' is named twice"),
        ("token = \"softhsm\"\ntokens = [\"softhsm\"]", "token and tokens exclude each other"),
    ] {
        let appliance = Appliance::new();
        appliance.configure(|text| {
            text.replace("type = \"kms\"", &format!("type = \"kms\"\n{setting}"))
        });
        let said = appliance.refuses_to_start();
        assert!(said.contains(problem), "{setting}: {said}");
    }
}
