//! Interrupted logins: a wrong PIN is tried once, whichever process dies during the login, and a right one
//! needs no operator.

use super::{faults::Disturbed, *};

/// A token that does not report wrong PINs, and is not known to.
const SILENT: &str =
    "C_GetTokenInfo manufacturer Acme\nC_GetTokenInfo clear CKF_USER_PIN_COUNT_LOW\n";

fn tries(disturbed: &Disturbed) -> usize {
    disturbed.calls("C_Login")
}

/// Kills a front whose signer is in `C_Login`, which then returns.
async fn cut_a_login(disturbed: &Disturbed, orders: &str) {
    let before = tries(disturbed);
    disturbed.tell(&format!("{orders}C_Login delay 500"));
    let mut front = front(disturbed);
    eventually("a login is under way", PATIENCE, async || tries(disturbed) > before).await;
    front.kill().unwrap();
    front.wait().unwrap();
    eventually("the login comes to its end", PATIENCE, async || {
        let returned = disturbed.returned();
        returned.iter().filter(|(_, function, _)| function == "C_Login").count() == before + 1
    })
    .await;
    disturbed.tell(orders);
}

async fn state_after_start(disturbed: &Disturbed) -> TokenState {
    let token = started(disturbed.config()).await;
    let state = token.state();
    token.stop().await;
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_tried_once_also_when_nobody_heard_that_it_was_refused() {
    for (name, orders, words) in [
        ("cut-wrong", "", "has refused the PIN"),
        ("cut-wrong-silent", SILENT, "what came of that is not known"),
    ] {
        let disturbed = Disturbed::new(name);
        disturbed.hsm.write_pin("0000");
        cut_a_login(&disturbed, orders).await;
        for _ in 0..3 {
            let state = state_after_start(&disturbed).await;
            let TokenState::CredentialFault { reason } = &state else { panic!("{state:?}") };
            assert!(reason.contains(words) && reason.contains("tried-pins"), "{reason}");
        }
        assert_eq!(tries(&disturbed), 1, "{name}");
        disturbed.hsm.write_pin(PIN);
        assert!(state_after_start(&disturbed).await.is_ready());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_pin_whose_login_was_cut_needs_no_operator() {
    for (name, orders, taken_before) in
        [("cut-new", "", false), ("cut-taken", "", true), ("cut-taken-silent", SILENT, true)]
    {
        let disturbed = Disturbed::new(name);
        disturbed.tell(orders);
        if taken_before {
            assert!(state_after_start(&disturbed).await.is_ready());
        }
        for _ in 0..2 {
            cut_a_login(&disturbed, orders).await;
            let state = state_after_start(&disturbed).await;
            assert!(state.is_ready(), "{name}: {state:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_was_never_taken_and_whose_login_was_cut_is_the_operators() {
    let disturbed = Disturbed::new("cut-new-silent");
    cut_a_login(&disturbed, SILENT).await;
    assert!(!state_after_start(&disturbed).await.is_ready());
    assert_eq!(tries(&disturbed), 1);
    std::fs::remove_file(disturbed.config().tried_pins).unwrap();
    assert!(state_after_start(&disturbed).await.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_pin_is_tried_by_one_signer_of_many() {
    let disturbed = Disturbed::new("old-pin");
    let token = started(TokenConfig { processes: 3, ..disturbed.config() }).await;
    let key = token.find("key").await.unwrap();
    eventually("all signers are up", PATIENCE, async || token.figures().signer_pids.len() == 3)
        .await;
    // As when the PIN was changed with another tool. A process of SoftHSM keeps accepting the old one, so
    // this is ordered.
    disturbed.forget();
    disturbed.tell("C_SignInit logout\nC_Login fail CKR_PIN_INCORRECT");
    let calls: Vec<_> = (0..16u8)
        .map(|round| {
            let (token, key) = (token.clone(), key.clone());
            tokio::spawn(async move { sign(&token, &key, &[round]).await })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(HsmError::Unavailable { .. })));
    }
    eventually("no signer is left", PATIENCE, async || disturbed.hsm.signers().is_empty()).await;
    assert!(matches!(token.state(), TokenState::CredentialFault { .. }), "{:?}", token.state());
    token.stop().await;
    assert!(!state_after_start(&disturbed).await.is_ready());
    assert_eq!(tries(&disturbed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_given_up_in_its_login_is_let_finish() {
    let disturbed = Disturbed::new("slow-login");
    assert!(state_after_start(&disturbed).await.is_ready());
    disturbed.forget();
    disturbed.tell("C_Login 1 delay 1500");
    let token = started(TokenConfig { start_deadline_ms: 1_000, ..disturbed.config() }).await;
    let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
    assert!(reason.contains("not ready within start_deadline_ms"), "{reason}");
    eventually("the next one is ready", PATIENCE, async || token.state().is_ready()).await;
    let first = disturbed.first_caller();
    eventually("the first one takes its leave", PATIENCE, async || {
        let returned = disturbed.returned();
        let of_first = returned.iter().filter(|(pid, ..)| *pid == first);
        let ok = of_first.filter(|(_, _, code)| code == "CKR_OK").map(|(_, function, _)| function);
        let ok: Vec<_> = ok.collect();
        ok.iter().any(|function| *function == "C_Login")
            && ok.last().is_some_and(|last| *last == "C_Finalize")
    })
    .await;
    eventually("it is gone", PATIENCE, async || !disturbed.hsm.signers().contains(&first)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_be_noted_is_not_begun() {
    let disturbed = Disturbed::new("not-noted");
    let aside = disturbed.hsm.directory.join("nowhere/tried-pins");
    let config = TokenConfig { tried_pins: aside.clone(), ..disturbed.config() };
    let token = started(config).await;
    let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
    assert!(reason.contains("cannot be noted"), "{reason}");
    assert_eq!(tries(&disturbed), 0);
    std::fs::create_dir(aside.parent().unwrap()).unwrap();
    eventually("it heals", PATIENCE, async || token.state().is_ready()).await;
}

/// Codes that do not mention the PIN, as of a dropped connection or a burst of logins.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_was_taken_before_is_tried_again_after_a_code_that_says_nothing_of_it() {
    for (name, code) in [
        ("code-failed", "CKR_FUNCTION_FAILED"),
        ("code-canceled", "CKR_FUNCTION_CANCELED"),
        ("code-arguments", "CKR_ARGUMENTS_BAD"),
        ("code-cancel", "CKR_CANCEL"),
        ("code-unknown", "0x2ff"),
    ] {
        let disturbed = Disturbed::new(name);
        assert!(state_after_start(&disturbed).await.is_ready());
        disturbed.forget();
        disturbed.tell(&format!("C_Login 1 fail {code}"));
        let token = started(disturbed.config()).await;
        let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
        assert!(reason.contains("has not said why") && !reason.contains("refused"), "{reason}");
        eventually("it heals", Duration::from_secs(10), async || {
            token.wanted();
            token.state().is_ready()
        })
        .await;
        assert_eq!(tries(&disturbed), 2, "{code}");
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_does_not_explain_is_tried_three_times_an_hour_whatever_is_restarted() {
    let disturbed = Disturbed::new("hourly");
    assert!(state_after_start(&disturbed).await.is_ready());
    disturbed.forget();
    disturbed.tell("C_Login fail CKR_FUNCTION_FAILED");
    let token = started(disturbed.config()).await;
    eventually("three tries", PATIENCE, async || {
        token.wanted();
        tries(&disturbed) == 3
    })
    .await;
    token.stop().await;
    disturbed.tell("");
    for _ in 0..3 {
        let state = state_after_start(&disturbed).await;
        let TokenState::Away { reason } = &state else { panic!("{state:?}") };
        assert!(reason.contains("is tried again in "), "{reason}");
    }
    assert_eq!(tries(&disturbed), 3);
    // An hour later.
    let file = disturbed.config().tried_pins;
    let mut kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let at = &mut kept[0]["outcome"]["unexplained-after-taken"]["at"];
    for moment in at.as_array_mut().unwrap() {
        *moment = (moment.as_u64().unwrap() - 3_600).into();
    }
    std::fs::write(&file, kept.to_string()).unwrap();
    assert!(state_after_start(&disturbed).await.is_ready());
    assert_eq!(tries(&disturbed), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_counts_a_wrong_pin_is_not_asked_again_whatever_it_says() {
    let disturbed = Disturbed::new("counts");
    assert!(state_after_start(&disturbed).await.is_ready());
    disturbed.forget();
    disturbed
        .tell("C_Login fail CKR_FUNCTION_FAILED\nC_GetTokenInfo 4- set CKF_USER_PIN_COUNT_LOW");
    for _ in 0..3 {
        let state = state_after_start(&disturbed).await;
        assert!(matches!(state, TokenState::CredentialFault { .. }), "{state:?}");
    }
    assert_eq!(tries(&disturbed), 1);
}
