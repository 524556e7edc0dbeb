//! Keys whose generation fails halfway, and keys that fail while others sign.

use std::time::Instant;

use crate::{
    appliance::{KMS, SOON, key_label, until},
    load::{assert_clean_refusal, leaf},
    scene::{
        End, KEY, Outage,
        Refused::{Anybody, Nobody, Somebody},
        Scene, outage,
    },
};

/// A key that the load does not use.
const OTHER: &str = "secp256r1";

pub fn outages() -> Vec<Outage> {
    vec![
        outage("one key is made and its reply lost", Anybody, |scene| {
            made_once(scene, "late CKR_DEVICE_ERROR")
        }),
        outage("one key is made and never returned", Anybody, |scene| {
            made_once(scene, "late hang")
        }),
        outage("module crashes when it has made a key", Anybody, |scene| {
            made_once(scene, "late abort")
        }),
        outage("another key fails alone", Nobody, |scene| {
            fails_alone(scene, "C_SignInit", "fail CKR_GENERAL_ERROR")
        }),
        outage("another key hangs alone, for good", Anybody, |scene| {
            fails_alone(scene, "C_Sign", "hang for-good")
        }),
        outage("the key in use fails alone", Somebody, |scene| {
            scene.chaos.order(&format!("C_SignInit key={} fail CKR_GENERAL_ERROR", key_label(KEY)));
            scene.wait_for_log("alarm=\"key_quarantined\"");
            scene.wait_until_refused();
            scene.mend()
        }),
    ]
}

/// Requests for the other key get 503 until it is in quarantine; those of the load are served.
fn fails_alone(scene: &Scene, function: &str, action: &str) -> End {
    scene.chaos.order(&format!("{function} key={} {action}", key_label(OTHER)));
    let since = Instant::now();
    let quarantined = until(2 * SOON, || {
        assert_clean_refusal(&scene.daemon().client.issue("certificate", &leaf(OTHER, "Nobody")));
        scene.daemon().log().contains("alarm=\"key_quarantined\"").then_some(())
    });
    assert!(quarantined.is_some(), "the key is not in quarantine:\n{}", scene.daemon().log());
    scene.load().wait_for(200, 40, SOON);
    scene.mend();
    End::Healed { since }
}

/// A key is generated exactly once.
fn made_once(scene: &Scene, action: &str) -> End {
    scene.chaos.order(&format!("C_GenerateKeyPair trace\nC_GenerateKeyPair 1 {action}"));
    let since = Instant::now();
    let name = "made";
    let path = format!("/v1/{KMS}.{name}/kms-service-api/keys/generate");
    let body = r#"{ "backend": "jwk", "keyType": "secp256r1" }"#;
    let answer = scene.daemon().client.post(&path, body);
    assert_eq!(answer.status, 201, "{}\n{}", answer.json, scene.daemon().log());
    assert_eq!(scene.chaos.calls("C_GenerateKeyPair"), 1);
    let listed = scene.appliance.pkcs11_tool("--list-objects --type privkey");
    assert_eq!(listed.matches(&key_label(name)).count(), 1, "{listed}");
    scene.load().wait_for(200, 20, SOON);
    End::Healed { since }
}
