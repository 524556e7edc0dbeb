//! Tokens that disappear, are replaced, or hide objects; wrong PINs and wrong modules.

use std::{fs, os::unix::fs::symlink, path::PathBuf, time::Instant};

use crate::{
    appliance::{SOON, until},
    chaos::Chaos,
    outage::{move_token_away, move_token_back, wait_for_signers},
    scene::{
        End, Outage,
        Refused::{Anybody, Somebody},
        Scene, outage,
    },
};

pub fn outages() -> Vec<Outage> {
    vec![
        outage("token directory moved away and back", Somebody, |scene| {
            move_token_away(&scene.appliance);
            scene.daemon().wait_for_token("away");
            assert_eq!(scene.daemon().readiness().0, 503);
            scene.wait_until_refused();
            // Long enough for the pauses of the backoff to grow.
            let failures = || scene.daemon().log().matches("no signer").count();
            until(SOON, || (failures() >= 5).then_some(())).expect("the supervisor has given up");
            move_token_back(&scene.appliance);
            End::Mended(Instant::now())
        }),
        outage("token initialised anew under its label", Somebody, |scene| {
            move_token_away(&scene.appliance);
            scene.appliance.shell(
                "softhsm2-util --init-token --free --label chancery-dev --so-pin 12345678 \
                 --pin $(cat pin)",
            );
            scene.wait_for_log("alarm=\"token_replaced\"");
            scene.wait_for_log("the label is on");
            scene.wait_until_refused();
            assert_eq!(scene.daemon().readiness().0, 503);
            let keys = scene.appliance.pkcs11_tool("--list-objects");
            assert!(!keys.contains("label:"), "a key on a token that is not ours: {keys}");
            move_token_back(&scene.appliance);
            End::Mended(Instant::now())
        }),
        outage("wrong PIN at a restart", Somebody, wrong_pin),
        outage("listings in batches of three", Anybody, |scene| {
            scene.chaos.order("C_FindObjects batch 3");
            let before = scene.daemon().signers();
            scene.kill_signers();
            let since = Instant::now();
            wait_for_signers(scene.daemon(), &before);
            scene.load().wait_for(200, 60, SOON);
            End::Healed { since }
        }),
        outage("listings without any object", Somebody, |scene| {
            scene.chaos.order("C_FindObjects batch 0");
            scene.wait_for_log("it lists no private key");
            scene.wait_until_refused();
            scene.mend()
        }),
        outage("listings that end after one private key", Somebody, |scene| {
            scene.chaos.order("C_FindObjects end-after 1 CKO_PRIVATE_KEY");
            scene.wait_until_refused();
            scene.mend()
        }),
        outage("a login that is none", Somebody, |scene| {
            scene.chaos.order("C_Login fail CKR_USER_ALREADY_LOGGED_IN");
            scene.kill_signers();
            scene.wait_for_log("it lists no private key");
            scene.wait_until_refused();
            scene.mend()
        }),
        outage("CKM_ECDSA not offered for a while", Somebody, |scene| {
            scene.chaos.order("C_GetMechanismList hide CKM_ECDSA");
            scene.kill_signers();
            scene.wait_until_refused();
            scene.mend()
        }),
        outage("attributes that the token hides", Anybody, |scene| {
            scene.chaos.order(
                "C_GetAttributeValue hide CKA_ALWAYS_AUTHENTICATE\n\
                 C_GetAttributeValue hide CKA_PUBLIC_KEY_INFO",
            );
            scene.kill_signers();
            let since = Instant::now();
            scene.load().wait_for(200, 60, SOON);
            End::Healed { since }
        }),
        outage("module file replaced by junk", Somebody, |scene| {
            let junk = scene.appliance.path("junk.so");
            fs::write(&junk, "not even a library, whatever its name says; longer than a header")
                .unwrap();
            point_to(scene, junk);
            scene.kill_signers();
            scene.wait_for_log("invalid ELF header");
            scene.wait_until_refused();
            point_to(scene, Chaos::module());
            End::Mended(Instant::now())
        }),
        outage("module file is another library", Somebody, |scene| {
            point_to(scene, c_library());
            scene.kill_signers();
            scene.wait_for_log("C_GetFunctionList");
            scene.wait_until_refused();
            point_to(scene, Chaos::module());
            End::Mended(Instant::now())
        }),
    ]
}

/// The PIN is tried once, and again only after an operator has changed it.
fn wrong_pin(scene: &mut Scene) -> End {
    let file = scene.appliance.path("pin");
    let pin = fs::read_to_string(&file).unwrap();
    scene.stop();
    fs::write(&file, "000000\n").unwrap();
    scene.chaos.order("C_Login trace");
    scene.start();
    scene.daemon().wait_for_token("credential fault");
    assert_eq!(scene.daemon().readiness().0, 503);
    scene.wait_until_refused();
    assert_eq!(scene.chaos.calls("C_Login"), 1, "tries of the PIN");
    let log = scene.daemon().log();
    assert!(log.contains("alarm=\"credential_fault\""), "{log}");
    for secret in ["000000", pin.trim()] {
        assert!(!log.contains(secret), "a PIN in the log");
    }
    scene.stop();
    fs::write(&file, pin).unwrap();
    let back = Instant::now();
    scene.start();
    End::Mended(back)
}

/// Replaces the file that signers load.
fn point_to(scene: &Scene, target: PathBuf) {
    let new = scene.appliance.path("new.so");
    symlink(target, &new).unwrap();
    fs::rename(new, scene.appliance.path("module.so")).unwrap();
}

/// A library that exists everywhere and is not a PKCS#11 module.
fn c_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    path.expect("a C library").into()
}
