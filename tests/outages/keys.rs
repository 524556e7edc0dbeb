//! Keys that are made while the module loses the reply. Making a key is never tried twice.

use std::time::Instant;

use crate::{
    appliance::{KMS, SOON, key_label},
    scene::{End, Outage, Refused::Anybody, Scene, outage},
};

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
    ]
}

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
