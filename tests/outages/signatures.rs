//! Signatures that are wrong, made by another key, or lost.

use std::time::Instant;

use crate::{
    appliance::{SOON, key_label},
    scene::{
        End, KEY, Outage,
        Refused::{Nobody, Somebody},
        Scene, outage,
    },
};

pub fn outages() -> Vec<Outage> {
    vec![
        outage("a bit of each signature is wrong", Somebody, |scene| wrong(scene, "C_Sign flip")),
        outage("a bit is wrong, but not for canaries", Somebody, |scene| {
            wrong(scene, "C_Sign flip 32")
        }),
        outage("one wrong signature", Somebody, |scene| {
            scene.chaos.order("C_Sign 10 flip 32");
            let since = Instant::now();
            scene.wait_for_log("alarm=\"bad");
            End::Healed { since }
        }),
        outage("another key signs", Somebody, |scene| {
            let (meant, other) = (key_label(KEY), key_label("secp256r1"));
            wrong(scene, &format!("C_SignInit foreign {meant} {other}"))
        }),
        outage("one signature is made and its reply lost", Nobody, |scene| {
            lost(scene, "C_Sign 5 late CKR_DEVICE_ERROR", "CKR_DEVICE_ERROR")
        }),
        outage("one signature is made and never returned", Nobody, |scene| {
            lost(scene, "C_Sign 5 late hang", "it is frozen")
        }),
    ]
}

/// No client gets one, because each certificate that was answered is verified at the end.
fn wrong(scene: &Scene, order: &str) -> End {
    scene.chaos.order(order);
    scene.wait_for_log("alarm=\"bad");
    scene.wait_until_refused();
    scene.mend()
}

/// The certificate is issued exactly once.
fn lost(scene: &Scene, order: &str, said: &str) -> End {
    scene.chaos.order(order);
    let since = Instant::now();
    scene.wait_for_log(said);
    scene.load().wait_for(200, 20, SOON);
    End::Healed { since }
}
