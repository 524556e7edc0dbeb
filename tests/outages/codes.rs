//! Return codes of PKCS#11, occasional and lasting.

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
    let once_in_a_while = [
        ("one CKR_DEVICE_ERROR", "C_Sign 10 fail CKR_DEVICE_ERROR", "CKR_DEVICE_ERROR"),
        (
            "CKR_SESSION_HANDLE_INVALID now and then",
            "C_Sign /30 fail CKR_SESSION_HANDLE_INVALID",
            "CKR_SESSION_HANDLE_INVALID",
        ),
        (
            "CKR_SESSION_CLOSED now and then",
            "C_SignInit /15 fail CKR_SESSION_CLOSED",
            "CKR_SESSION_CLOSED",
        ),
        (
            "CKR_OPERATION_ACTIVE now and then",
            "C_SignInit /15 fail CKR_OPERATION_ACTIVE",
            "CKR_OPERATION_ACTIVE",
        ),
        (
            "CKR_OBJECT_HANDLE_INVALID now and then",
            "C_SignInit /15 fail CKR_OBJECT_HANDLE_INVALID",
            "CKR_OBJECT_HANDLE_INVALID",
        ),
        (
            "CKR_KEY_HANDLE_INVALID now and then",
            "C_SignInit /15 fail CKR_KEY_HANDLE_INVALID",
            "CKR_KEY_HANDLE_INVALID",
        ),
        (
            "CKR_USER_NOT_LOGGED_IN now and then",
            "C_SignInit /30 fail CKR_USER_NOT_LOGGED_IN",
            "CKR_USER_NOT_LOGGED_IN",
        ),
        ("logged out now and then", "C_SignInit /30 logout", "CKR_"),
    ];
    let lasting = [
        ("CKR_DEVICE_ERROR until it ends", "CKR_DEVICE_ERROR"),
        ("CKR_GENERAL_ERROR until it ends", "CKR_GENERAL_ERROR"),
        ("CKR_CRYPTOKI_NOT_INITIALIZED until it ends", "CKR_CRYPTOKI_NOT_INITIALIZED"),
        ("CKR_HOST_MEMORY until it ends", "CKR_HOST_MEMORY"),
        ("CKR_DEVICE_MEMORY until it ends", "CKR_DEVICE_MEMORY"),
        ("CKR_FUNCTION_FAILED until it ends", "CKR_FUNCTION_FAILED"),
        ("a vendor's 0x80000001 until it ends", "0x80000001"),
    ];
    let removed = [
        ("token removed, CKR_DEVICE_REMOVED", "CKR_DEVICE_REMOVED"),
        ("token removed, CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_PRESENT"),
    ];
    let now_and_then = once_in_a_while.into_iter().map(|(name, order, said)| {
        outage(name, Nobody, move |scene| {
            scene.chaos.order(order);
            let since = Instant::now();
            scene.wait_for_log(said);
            scene.load().wait_for(200, 60, SOON);
            scene.mend();
            End::Healed { since }
        })
    });
    let lasting = lasting.into_iter().map(|(name, code)| {
        outage(name, Somebody, move |scene| {
            while_it_stands(scene, &format!("C_Sign fail {code}"), code)
        })
    });
    let removed = removed.into_iter().map(|(name, code)| {
        outage(name, Somebody, move |scene| {
            while_it_stands(scene, &format!("* removed {code}"), code)
        })
    });
    // In signers that are starting.
    let functions = [
        ("C_Initialize fails", "C_Initialize"),
        ("C_GetSlotList fails", "C_GetSlotList"),
        ("C_GetTokenInfo fails", "C_GetTokenInfo"),
        ("C_GetMechanismList fails", "C_GetMechanismList"),
        ("C_OpenSession fails", "C_OpenSession"),
        ("C_Login fails", "C_Login"),
        ("C_FindObjectsInit fails", "C_FindObjectsInit"),
        ("C_FindObjects fails", "C_FindObjects"),
        ("C_GetAttributeValue fails", "C_GetAttributeValue"),
        ("C_SignInit fails", "C_SignInit"),
    ];
    let functions = functions.into_iter().map(|(name, function)| {
        outage(name, Somebody, move |scene| {
            scene.chaos.order(&format!("{function} fail CKR_DEVICE_ERROR"));
            scene.kill_signers();
            scene.wait_for_log("CKR_DEVICE_ERROR");
            scene.wait_until_refused();
            scene.mend()
        })
    });
    // The module succeeds and then returns an error.
    let lost_replies = [
        ("replies of C_Initialize lost", "C_Initialize"),
        ("replies of C_OpenSession lost", "C_OpenSession"),
        ("replies of C_Login lost", "C_Login"),
        ("replies of C_FindObjectsInit lost", "C_FindObjectsInit"),
        ("replies of C_GetAttributeValue lost", "C_GetAttributeValue"),
        ("replies of C_SignInit lost", "C_SignInit"),
    ];
    let lost_replies = lost_replies.into_iter().map(|(name, function)| {
        outage(name, Somebody, move |scene| {
            scene.chaos.order(&format!("{function} late CKR_DEVICE_ERROR"));
            scene.kill_signers();
            scene.wait_for_log("CKR_DEVICE_ERROR");
            scene.wait_until_refused();
            scene.mend()
        })
    });
    let lost_sessions = outage("sessions lost, and no more to be had", Somebody, |scene| {
        scene.chaos.order(
            "C_Sign /5 fail CKR_SESSION_HANDLE_INVALID\nC_OpenSession fail CKR_SESSION_COUNT",
        );
        scene.wait_for_log("CKR_SESSION_COUNT");
        scene.wait_until_refused();
        scene.mend()
    });
    let sessions = outage("fewer sessions than configured", Anybody, |scene| {
        scene.chaos.order("C_OpenSession limit 2");
        scene.kill_signers();
        let since = Instant::now();
        scene.wait_for_log("CKR_SESSION_COUNT");
        scene.load().wait_for(200, 60, SOON);
        End::Healed { since }
    });
    let no_session = outage("no session left", Somebody, |scene| {
        scene.chaos.order("C_OpenSession limit 0");
        scene.kill_signers();
        scene.wait_for_log("CKR_SESSION_COUNT");
        scene.wait_until_refused();
        scene.mend()
    });
    let sessions = [sessions, no_session, lost_sessions];
    let at_starts = functions.chain(lost_replies).chain(sessions);
    now_and_then.chain(lasting).chain(removed).chain(at_starts).collect()
}

fn while_it_stands(scene: &Scene, order: &str, said: &str) -> End {
    scene.chaos.order(order);
    scene.wait_for_log(said);
    scene.wait_until_refused();
    scene.mend()
}
