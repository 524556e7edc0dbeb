//! Every module is finalised and every session closed, in order.

use super::{faults::Disturbed, *};

/// Sessions that were opened and not closed since the trace was cleared.
fn open_sessions(disturbed: &Disturbed) -> i64 {
    let returned = disturbed.returned();
    let good = |wanted: &str| {
        let calls =
            returned.iter().filter(|(_, function, code)| function == wanted && code == "CKR_OK");
        i64::try_from(calls.count()).unwrap()
    };
    good("C_OpenSession") - good("C_CloseSession")
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_closes_every_session_and_finalizes_last() {
    let disturbed = Disturbed::new("order");
    let token = started(TokenConfig { sessions: 3, ..disturbed.config() }).await;
    let key = token.find("key").await.unwrap();
    let made = token.generate("made", &[7; 20], KeyType::P256).await.unwrap();
    sign(&token, &key, b"x").await.unwrap();
    sign(&token, &made, b"x").await.unwrap();
    assert_eq!(open_sessions(&disturbed), 4);
    token.stop().await;
    let returned = disturbed.returned();
    let end: Vec<_> = returned.iter().rev().take(5).map(|(_, function, _)| function).collect();
    let closed = "C_CloseSession";
    assert_eq!(end, ["C_Finalize", closed, closed, closed, closed]);
    assert_eq!((open_sessions(&disturbed), disturbed.calls("C_Finalize")), (0, 1));
    assert_eq!(disturbed.calls("C_CloseSession"), disturbed.calls("C_OpenSession"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_was_initialised_already_is_used_and_left_as_it_is() {
    let disturbed = Disturbed::new("adopted");
    disturbed.tell("C_Initialize late CKR_CRYPTOKI_ALREADY_INITIALIZED");
    let (token, key) = disturbed.start().await;
    sign(&token, &key, b"x").await.unwrap();
    token.stop().await;
    assert_eq!((disturbed.calls("C_CloseSession"), disturbed.calls("C_Finalize")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_signers_end_with_status_zero() {
    let hsm = SoftHsm::new("hundred");
    hsm.keygen("key", "EC:prime256v1", "01");
    for _ in 0..100 {
        let token = started(TokenConfig { name: "hundred".to_owned(), ..hsm.config() }).await;
        let key = token.find("key").await.unwrap();
        sign(&token, &key, b"x").await.unwrap();
        token.stop().await;
    }
    let mut ends = Vec::new();
    eventually("all have ended", PATIENCE, async || {
        let events = logbook::of("hundred").into_iter().map(|mut event| event["fields"].take());
        ends.extend(events.filter(|fields| fields["message"] == "signer has ended"));
        ends.len() == 100
    })
    .await;
    let bad: Vec<_> = ends.iter().filter(|end| end["status"] != "exit status: 0").collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_after_a_failed_signature_has_a_fresh_session() {
    let disturbed = Disturbed::new("fresh");
    let (token, key) = disturbed.start().await;
    disturbed.tell("C_Sign 1 fail CKR_FUNCTION_FAILED");
    assert!(sign(&token, &key, b"x").await.is_err());
    sign(&token, &key, b"y").await.unwrap();
    assert_eq!(
        disturbed.trace(),
        ["C_SignInit", "C_Sign", "C_CloseSession", "C_OpenSession", "C_SignInit", "C_Sign"]
    );
    assert_eq!(open_sessions(&disturbed), 0, "as many as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_behind_our_back_costs_one_login_and_one_listing() {
    let disturbed = Disturbed::new("logout");
    let (token, key) = disturbed.start().await;
    let signers = disturbed.hsm.signers();
    token.find("none").await.unwrap_err();
    let listing = disturbed.calls("C_FindObjectsInit");
    disturbed.forget();
    disturbed.tell("C_SignInit 1 logout");
    sign(&token, &key, b"logged in again").await.unwrap();
    assert_eq!((disturbed.calls("C_Login"), disturbed.calls("C_FindObjectsInit")), (1, listing));
    assert_eq!(disturbed.hsm.signers(), signers);
}

/// Every call of a signer that is up fails, one function after the other, repeatedly.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_failed_calls_leave_no_session_open() {
    let disturbed = Disturbed::new("ten-thousand");
    let token = started(TokenConfig { canary_seconds: 3_600, ..disturbed.config() }).await;
    let key = token.find("key").await.unwrap();
    let signers = disturbed.hsm.signers();
    disturbed.forget();
    let mut failed = 0;
    // These fail one request, or are recovered from; no signer is killed.
    for (function, when, code, rounds) in [
        ("C_SignInit", "", "CKR_FUNCTION_FAILED", 2_500),
        ("C_SignInit", "", "CKR_MECHANISM_INVALID", 2_500),
        ("C_SignInit", "/2", "CKR_SESSION_HANDLE_INVALID", 1_000),
        ("C_SignInit", "/2", "CKR_OBJECT_HANDLE_INVALID", 300),
        ("C_Sign", "", "CKR_FUNCTION_FAILED", 2_500),
        ("C_Sign", "/2", "CKR_SESSION_CLOSED", 1_000),
        ("C_Sign", "/2", "CKR_OPERATION_NOT_INITIALIZED", 1_000),
        ("C_OpenSession", "/2", "CKR_SESSION_COUNT", 1_000),
        ("C_FindObjectsInit", "/2", "CKR_FUNCTION_FAILED", 200),
        ("C_FindObjects", "/2", "CKR_FUNCTION_FAILED", 200),
        ("C_FindObjectsFinal", "/2", "CKR_FUNCTION_FAILED", 200),
        ("C_GetAttributeValue", "/2", "CKR_FUNCTION_FAILED", 200),
        ("C_GetSessionInfo", "/2", "CKR_FUNCTION_FAILED", 200),
    ] {
        // Causes a listing, or opens a session.
        let reason = match function {
            "C_SignInit" | "C_Sign" => "",
            "C_OpenSession" => "C_Sign /2 fail CKR_FUNCTION_FAILED",
            _ => "C_SignInit /2 fail CKR_OBJECT_HANDLE_INVALID",
        };
        disturbed.tell(&format!("{function} {when} fail {code}\n{reason}"));
        for round in 0..rounds {
            let _ = sign(&token, &key, &[u8::try_from(round % 256).unwrap()]).await;
        }
        disturbed.tell("");
        sign(&token, &key, b"well").await.unwrap();
        let returned = disturbed.returned();
        let count = returned.iter().filter(|(.., with)| with == code).count();
        println!("{function} {code}: {count} times");
        failed += count;
        assert_eq!(open_sessions(&disturbed), 0, "{function} {code}");
        assert_eq!(disturbed.hsm.signers(), signers, "{function} {code}");
        disturbed.forget();
    }
    assert!(failed >= 10_000, "{failed}");
}
