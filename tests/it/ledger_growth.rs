//! What a refused request costs: an outage of the HSM must not fill the disk.

use std::fs;

use serde_json::json;

use crate::{
    appliance::{Appliance, Daemon, KMS, SOON, generic_ca, key_label, until},
    chaos::Chaos,
    load::{assert_clean_refusal, csr, leaf},
    outage::move_token_away,
};

const KEY: &str = "leaf-secp256r1";
const REQUESTS: usize = 40;

/// One of each kind that needs the HSM.
fn ask(daemon: &Daemon) {
    let client = &daemon.client;
    let keys = |name: &str| format!("/v1/{KMS}.{name}/kms-service-api/keys");
    let generate = json!({ "keyType": "secp256r1" }).to_string();
    let delete = client.send("DELETE", &keys("mine"), &[], "").unwrap();
    let answers = [
        client.issue("certificate", &leaf(KEY, "Example Leaf")),
        client.issue("certificate", &generic_ca(KEY, "Example CA")),
        client.issue("csrs", &csr(KEY)),
        client.post(&format!("{}/generate", keys("new")), &generate),
        delete,
    ];
    for answer in &answers {
        assert_clean_refusal(answer);
        assert!(answer.header("retry-after").is_some(), "{}", answer.json);
    }
}

fn rows(appliance: &Appliance) -> [i64; 3] {
    ["audit_entries", "intents", "key_changes"]
        .map(|table| appliance.count(&format!("select count(*) from {table}")))
}

#[test]
fn what_is_refused_while_no_signer_can_come_leaves_nothing_in_the_ledger() {
    type Begin<'a> = &'a dyn Fn(&Appliance, &Chaos);
    // How the outage begins, and what readiness says of the token.
    let outages: [(&str, Begin<'_>, &str); 5] = [
        (
            "the module does not come up",
            &|_, chaos| {
                chaos.order("C_Initialize fail CKR_DEVICE_ERROR\n* fail CKR_DEVICE_REMOVED");
            },
            "away",
        ),
        (
            "the token has gone",
            &|appliance, chaos| {
                move_token_away(appliance);
                chaos.order("C_Sign 1 abort");
            },
            "away",
        ),
        (
            "another token is in its place",
            &|appliance, chaos| {
                move_token_away(appliance);
                appliance.shell(
                    "softhsm2-util --init-token --free --label chancery-dev --so-pin 12345678 \
                 --pin $(cat pin)",
                );
                chaos.order("C_Sign 1 abort");
            },
            "away",
        ),
        (
            "the PIN is refused",
            &|appliance, chaos| {
                fs::write(appliance.path("pin"), "000000\n").unwrap();
                chaos.order("C_Sign 1 abort");
            },
            "credential fault",
        ),
        (
            "no token is listed",
            &|_, chaos| {
                chaos.order("C_GetSlotList fail CKR_GENERAL_ERROR\nC_Sign 1 abort");
            },
            "away",
        ),
    ];
    for (outage, begin, word) in outages {
        let appliance = Appliance::new();
        let chaos = Chaos::new(appliance.path("chaos"));
        let [(module, softhsm), (place, directory)] =
            chaos.environment("/usr/lib/softhsm/libsofthsm2.so");
        appliance.configure_token(&format!(
            "module = {:?}\nprocesses = 1\ncanary_seconds = 1\n\
             environment = {{ {module} = {softhsm:?}, {place} = {directory:?} }}",
            Chaos::module().display().to_string()
        ));
        let daemon = appliance.start();
        daemon.wait_until_ready();
        daemon.client.issue("certificate", &leaf(KEY, "Example Leaf")).ok();
        let generate = json!({ "keyType": "secp256r1" }).to_string();
        let mine = format!("/v1/{}/kms-service-api/keys/generate", key_label("mine"));
        assert_eq!(daemon.client.post(&mine, &generate).status, 201);
        begin(&appliance, &chaos);
        let is_out = || (daemon.readiness().1["token:softhsm"] == word).then_some(());
        until(SOON, is_out).unwrap_or_else(|| panic!("{outage}:\n{}", daemon.log()));
        let before = rows(&appliance);
        for _ in 0..REQUESTS {
            ask(&daemon);
        }
        assert_eq!(rows(&appliance), before, "{outage}: entries, intents, changes of keys");
    }
}
