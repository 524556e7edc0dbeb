//! The log line of a fault: function, code, class, token, key and action, and no secret.

use serde_json::Value;

use super::{logbook, *};

fn config(disturbed: &Disturbed, name: &str) -> TokenConfig {
    TokenConfig { name: name.to_owned(), canary_seconds: 3_600, ..disturbed.config() }
}

/// Checks the one line of a fault for all that an operator needs.
fn assert_told(events: &[Value], function: &str, key: &str, next: &str) {
    let told = |event: &&Value| {
        let fields = &event["fields"];
        let said = |name: &str| fields[name].as_str().unwrap_or_default();
        said("message") == "PKCS#11 fault"
            && said("function") == function
            && said("code") == "CKR_FUNCTION_REJECTED (0x200)"
            && ["unexpected", "credential", "device"].contains(&said("class"))
            && said("key") == key
            && said("action").contains(next)
    };
    let lines = events.iter().filter(told).count();
    assert_eq!(lines, 1, "{function}: {events:#?}");
}

fn assert_no_secret(events: &[Value]) {
    for event in events {
        assert!(!event.to_string().contains(PIN), "the PIN is in the log: {event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_that_fails_at_a_start_is_named() {
    let disturbed = Disturbed::new("told-start");
    for (function, key, next) in [
        ("C_Initialize", "none", "start another signer"),
        ("C_GetSlotList", "none", "start another signer"),
        ("C_GetMechanismList", "none", "start another signer"),
        ("C_OpenSession", "none", "start another signer"),
        ("C_FindObjectsInit", "none", "start another signer"),
        ("C_FindObjects", "none", "start another signer"),
        ("C_GetAttributeValue", "none", "start another signer"),
        ("C_SignInit", "key", "start another signer"),
        ("C_Sign", "key", "start another signer"),
        // The token has accepted this PIN before.
        ("C_Login", "none", "start another signer"),
    ] {
        disturbed.tell(&format!("{function} 1 fail CKR_FUNCTION_REJECTED"));
        let name = format!("told-{function}");
        let token = started(config(&disturbed, &name)).await;
        let events = logbook::of(&name);
        assert_told(&events, function, key, next);
        assert_no_secret(&events);
        token.stop().await;
    }
    // A PIN that was never accepted is not tried again.
    disturbed.tell("C_Login 1 fail CKR_FUNCTION_REJECTED");
    let config = config(&disturbed, "told-first-login");
    let tried_pins = config.tried_pins.with_extension("none");
    let token = started(TokenConfig { tried_pins, ..config }).await;
    let events = logbook::of("told-first-login");
    assert_told(&events, "C_Login", "none", "no further login");
    assert_no_secret(&events);
    token.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_information_cannot_be_had_is_named() {
    let disturbed = Disturbed::new("told-info");
    disturbed.tell("C_GetTokenInfo fail CKR_FUNCTION_REJECTED");
    let token = started(config(&disturbed, "told-info")).await;
    let mut said = String::new();
    eventually("the signer's words are in the log", PATIENCE, async || {
        said.extend(logbook::of("told-info").iter().map(Value::to_string));
        said.contains("C_GetTokenInfo: CKR_FUNCTION_REJECTED (0x200)")
            && said.contains("its slot is passed over")
            && said.contains("no token is labelled 'test'")
    })
    .await;
    token.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_that_fails_while_a_key_is_made_is_named() {
    let disturbed = Disturbed::new("told-change");
    let token = started(config(&disturbed, "told-change")).await;
    for (number, function) in
        (0u8..).zip(["C_GetSessionInfo", "C_OpenSession", "C_GenerateKeyPair", "C_FindObjectsInit"])
    {
        logbook::of("told-change");
        disturbed.tell(&format!("{function} 1 fail CKR_FUNCTION_REJECTED"));
        let label = format!("made-{number}");
        let refused = token.generate(&label, &[number; 20], KeyType::P256).await;
        assert!(refused.is_err(), "{function}");
        assert_told(&logbook::of("told-change"), function, &label, "");
    }
}
