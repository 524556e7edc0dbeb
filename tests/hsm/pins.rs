//! PINs: a wrong one is tried once.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::*;

fn reason(token: &Token) -> String {
    let TokenState::CredentialFault { reason } = token.state() else {
        panic!("{:?}", token.state())
    };
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_pin_is_not_tried_by_any_later_start() {
    let disturbed = Disturbed::new("refused-before");
    disturbed.hsm.write_pin("0000");
    for start in 0..5 {
        let token = started(disturbed.config()).await;
        let reason = reason(&token);
        assert_eq!(reason.contains("CKR_PIN_INCORRECT"), start == 0, "{reason}");
        token.stop().await;
    }
    assert_eq!(disturbed.calls("C_Login"), 1);
    let kept = std::fs::read_to_string(disturbed.config().tried_pins).unwrap();
    assert!(kept.contains("digest") && !kept.contains("0000\""), "{kept}");

    // Another wrong one is tried, and the first one is still on record.
    disturbed.hsm.write_pin("1111");
    started(disturbed.config()).await.stop().await;
    disturbed.hsm.write_pin("0000");
    let token = started(disturbed.config()).await;
    let reason = reason(&token);
    assert!(reason.contains("has refused the PIN in ") && reason.contains("tried-pins"));
    assert_eq!(disturbed.calls("C_Login"), 2);

    // The right one works, and clears the record.
    disturbed.hsm.write_pin(PIN);
    let token = started(disturbed.config()).await;
    assert!(token.state().is_ready(), "{:?}", token.state());
    assert_eq!(disturbed.calls("C_Login"), 3);
    let kept = std::fs::read_to_string(disturbed.config().tried_pins).unwrap();
    assert!(kept.contains("taken") && !kept.contains("refused"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_refused_in_service_is_not_tried_by_the_next_start() {
    let disturbed = Disturbed::new("refused-later");
    let (token, key) = disturbed.start().await;
    disturbed.tell(
        "C_Login 1 fail CKR_PIN_INCORRECT\n\
         C_SignInit 1 fail CKR_USER_NOT_LOGGED_IN",
    );
    assert!(sign(&token, &key, b"x").await.is_err());
    token.stop().await;
    let token = started(disturbed.config()).await;
    assert!(reason(&token).contains("has refused the PIN"));
    assert_eq!(disturbed.calls("C_Login"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_try_is_left_to_the_operator() {
    let disturbed = Disturbed::new("last-try");
    for (flag, words) in [
        ("CKF_USER_PIN_FINAL_TRY", "log in to it once with another tool"),
        ("CKF_USER_PIN_LOCKED", "locked"),
    ] {
        disturbed.tell(&format!("C_GetTokenInfo set {flag}"));
        let token = started(disturbed.config()).await;
        let reason = reason(&token);
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(disturbed.calls("C_Login"), 0);
    // The flag alone does not mean that this PIN is wrong: it is tried once the flag is gone.
    disturbed.tell("C_GetTokenInfo set CKF_USER_PIN_COUNT_LOW");
    let token = started(disturbed.config()).await;
    assert!(token.state().is_ready(), "{:?}", token.state());
    assert_eq!(disturbed.calls("C_Login"), 1);
}

/// Some vendors have `user:password` as PIN, or any octets.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_octets_of_any_kind() {
    let disturbed = Disturbed::new("octets");
    let pin = OsStr::from_bytes(b"\xff\xfe 7\x01:391");
    let tool = Command::new("pkcs11-tool")
        .args(["--module", MODULE, "--token-label", "test", "--login", "--pin", PIN])
        .args(["--change-pin", "--new-pin"])
        .arg(pin)
        .env("SOFTHSM2_CONF", disturbed.hsm.conf())
        .output()
        .unwrap();
    assert!(tool.status.success(), "{tool:?}");
    std::fs::write(disturbed.hsm.directory.join("pin"), pin.as_bytes()).unwrap();
    let (token, key) = disturbed.start().await;
    sign(&token, &key, b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn user_type_and_module_arguments_arrive_unchanged() {
    let disturbed = Disturbed::new("unchanged");
    disturbed.tell("C_Login record\nC_Initialize record");
    let record = || {
        std::fs::read_to_string(disturbed.hsm.directory.join("chaos/record")).unwrap_or_default()
    };
    // SoftHSM ignores both, so the test checks what was passed to it.
    let arguments = "connector=http://127.0.0.1:12345 \\ zwölf".to_owned();
    let config = TokenConfig { module_arguments: Some(arguments.clone()), ..disturbed.config() };
    let TokenState::Away { reason: words } = started(config).await.state() else { panic!() };
    assert!(words.contains("C_Initialize: CKR_ARGUMENTS_BAD"), "{words}");
    let escaped = arguments.as_bytes().escape_ascii().to_string();
    assert!(record().contains(&escaped), "{}", record());
    let config = TokenConfig { user: TokenUser::Vendor(0x8000_0083), ..disturbed.config() };
    let token = started(config).await;
    assert!(reason(&token).contains("C_Login: CKR_USER_TYPE_INVALID"), "{:?}", token.state());
    assert!(record().contains("C_Login user 0x80000083 pin 4 octets"), "{}", record());
    // The same PIN of another user is another PIN.
    let token = started(disturbed.config()).await;
    assert!(token.state().is_ready(), "{:?}", token.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pin_is_tried_when_nobody_knows_which_were_refused() {
    let disturbed = Disturbed::new("unknown-refusals");
    std::fs::write(disturbed.config().tried_pins, "not ours").unwrap();
    let token = started(disturbed.config()).await;
    let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
    assert!(reason.contains("tried-pins"), "{reason}");
    assert_eq!(disturbed.calls("C_Login"), 0);
}
