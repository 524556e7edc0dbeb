//! Calls of PKCS#11 that hang or are slow.

use std::time::Instant;

use crate::{
    appliance::SOON,
    scene::{
        End, Outage,
        Refused::{Anybody, Nobody, Somebody},
        Scene, outage,
    },
};

pub fn outages() -> Vec<Outage> {
    vec![
        outage("C_Sign hangs", Somebody, |scene| {
            scene.chaos.order("C_Sign hang");
            scene.wait_until_refused();
            scene.mend()
        }),
        outage("C_Sign hangs for good", Somebody, |scene| {
            scene.chaos.order("C_Sign hang for-good");
            scene.wait_until_refused();
            scene.mend()
        }),
        outage("one C_Sign hangs", Nobody, |scene| {
            scene.chaos.order("C_Sign 10 hang");
            let since = Instant::now();
            scene.wait_for_log("it is frozen");
            End::Healed { since }
        }),
        outage("listing hangs", Somebody, |scene| {
            scene.chaos.order("C_FindObjects hang");
            scene.kill_signers();
            scene.wait_until_refused();
            scene.mend()
        }),
        outage("C_Initialize hangs", Somebody, |scene| no_start(scene, "C_Initialize hang")),
        outage("C_Initialize hangs for good", Somebody, |scene| {
            no_start(scene, "C_Initialize hang for-good")
        }),
        outage("C_OpenSession hangs", Somebody, |scene| no_start(scene, "C_OpenSession hang")),
        outage("C_Login hangs", Somebody, |scene| no_start(scene, "C_Login hang")),
        outage("token takes 0.6 s for a signature", Anybody, |scene| {
            slowly(scene, "C_Sign delay 300")
        }),
        outage("token signs one at a time, in 0.15 s", Anybody, |scene| {
            slowly(scene, "C_Sign in-turn 150")
        }),
        outage("token takes 5 ms for each call", Anybody, |scene| slowly(scene, "* delay 5")),
    ]
}

/// Starting signers hang.
fn no_start(scene: &Scene, order: &str) -> End {
    scene.chaos.order(order);
    scene.kill_signers();
    scene.wait_until_refused();
    scene.mend()
}

/// Service continues.
fn slowly(scene: &Scene, order: &str) -> End {
    scene.chaos.order(order);
    scene.load().wait_for(200, 30, SOON);
    scene.mend()
}
