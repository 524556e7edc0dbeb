//! Tokens with few sessions, and modules for one thread.

use super::*;

/// Signs under load while keys are made and destroyed, and finds a key of another tool, all without replacing
/// a signer.
async fn serves(disturbed: &Disturbed, token: &Token, other: &str) {
    assert!(matches!(token.state(), TokenState::Ready { .. }), "{:?}", token.state());
    let signers = disturbed.hsm.signers();
    let key = token.find("key").await.unwrap();
    let (signed, refused) = under_load(token, &key, Duration::from_secs(10), 16, async || {
        let made = token.generate("made", &[7; 20], KeyType::P256).await.unwrap();
        sign(token, &made, b"x").await.unwrap();
        token.destroy(&made).await.unwrap();
        assert_eq!(token.find("made").await, Err(HsmError::Missing));
    })
    .await;
    assert!(signed > 0 && refused == 0, "{signed} signed, {refused} refused");
    disturbed.hsm.keygen(other, "EC:prime256v1", &format!("{:02x}", other.as_bytes()[0]));
    let found = token.find(other).await.unwrap();
    sign(token, &found, b"x").await.unwrap();
    assert_eq!(disturbed.hsm.signers(), signers, "nobody was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_room_for_few_sessions_is_served_in_these() {
    let disturbed = Disturbed::new("few");
    for (limit, told, other) in [
        (1, true, "a"),
        (1, false, "b"),
        (2, true, "c"),
        (2, false, "d"),
        (16, true, "e"),
        (16, false, "f"),
    ] {
        println!("limit {limit}, told: {told}");
        let says =
            if told { format!("C_GetTokenInfo max-sessions {limit}") } else { String::new() };
        disturbed.tell(&format!("C_OpenSession limit {limit}\n{says}"));
        disturbed.forget();
        let token = started(TokenConfig { sessions: 32, ..disturbed.config() }).await;
        assert_eq!(disturbed.calls("C_Login"), 1);
        serves(&disturbed, &token, other).await;
        assert_eq!(disturbed.calls("C_Login"), 1);
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_session_is_replaced_when_it_fails() {
    let disturbed = Disturbed::new("only");
    disturbed.tell("C_OpenSession limit 1");
    let (token, key) = disturbed.start().await;
    let signers = disturbed.hsm.signers();
    for (function, code, logins) in [
        ("C_SignInit", "CKR_SESSION_HANDLE_INVALID", 1),
        ("C_Sign", "CKR_SESSION_HANDLE_INVALID", 1),
        ("C_SignInit", "CKR_OBJECT_HANDLE_INVALID", 1),
        ("C_SignInit", "CKR_USER_NOT_LOGGED_IN", 1),
        ("C_FindObjectsInit", "CKR_SESSION_CLOSED", 1),
    ] {
        disturbed.forget();
        disturbed.tell(&format!("C_OpenSession limit 1\n{function} 1 fail {code}"));
        // A label that is missing causes a listing.
        assert_eq!(token.find("none").await, Err(HsmError::Missing), "{function} {code}");
        sign(&token, &key, b"healed").await.unwrap();
        assert_eq!(disturbed.calls("C_Login"), logins, "{function} {code}");
        assert_eq!(disturbed.calls("C_OpenSession"), disturbed.calls("C_CloseSession"));
    }
    // A fault that fails only the request closes the session, and the next request opens another.
    disturbed.tell("C_OpenSession limit 1\nC_Sign 1 fail CKR_FUNCTION_FAILED");
    assert!(sign(&token, &key, b"x").await.is_err());
    sign(&token, &key, b"y").await.unwrap();
    assert_eq!(disturbed.hsm.signers(), signers);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_for_another_session_is_a_request_to_come_back() {
    let disturbed = Disturbed::new("no-room");
    let (token, key) = disturbed.start().await;
    let signers = disturbed.hsm.signers();
    disturbed
        .tell("C_OpenSession fail CKR_SESSION_COUNT\nC_Sign 1 fail CKR_SESSION_HANDLE_INVALID");
    for _ in 0..5 {
        let result = sign(&token, &key, b"x").await;
        assert_eq!(result, Err(HsmError::Busy { retry_after_seconds: 1 }));
    }
    let made = token.generate("made", &[7; 20], KeyType::P256).await;
    assert!(format!("{made:?}").contains("Busy"), "{made:?}");
    disturbed.tell("");
    sign(&token, &key, b"x").await.unwrap();
    token.generate("made", &[7; 20], KeyType::P256).await.unwrap();
    assert_eq!(disturbed.hsm.signers(), signers, "nobody was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_cannot_lock_is_used_by_one_thread() {
    let disturbed = Disturbed::new("one-thread");
    disturbed.tell("C_Initialize cant-lock");
    let token = started(disturbed.config()).await;
    assert_eq!(disturbed.calls("C_Initialize"), 2);
    serves(&disturbed, &token, "a").await;
    token.stop().await;
    let trace = std::fs::read_to_string(disturbed.hsm.directory.join("chaos/trace")).unwrap();
    let threads: std::collections::BTreeSet<_> =
        trace.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(threads.len(), 1, "{threads:?}");
}
