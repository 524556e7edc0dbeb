//! Every return code of PKCS#11 from each function that signs: its class, the recovery, the caller's error,
//! and the state of the breaker.

use chancery::hsm::BreakerState;
use serde_json::Value;

use super::{logbook, *};

/// The consequences of a code for the request, its signer and the token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// The signer recovers with this many logins and searches, and the request succeeds.
    Healed { logins: usize, searches: usize },
    /// The request is refused, because this key cannot serve it.
    Unusable,
    /// The request is refused for now.
    Busy,
    /// The request fails and is not retried.
    Unavailable,
    /// The signer is killed, and the request succeeds with the next one.
    Replaced,
    /// The token is out of service until an operator has acted.
    Stopped,
}

const SESSION: Next = Next::Healed { logins: 0, searches: 0 };
const HANDLE: Next = Next::Healed { logins: 0, searches: 2 };
const LOGIN: Next = Next::Healed { logins: 1, searches: 2 };

/// Class, consequences, codes.
#[rustfmt::skip]
const TABLE: [(&str, Next, &[&str]); 9] = [
    ("caller", Next::Unusable, &[
        "CKR_DATA_INVALID", "CKR_DATA_LEN_RANGE", "CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID",
        "CKR_KEY_TYPE_INCONSISTENT", "CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_KEY_SIZE_RANGE",
    ]),
    ("session", SESSION, &[
        "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED", "CKR_OPERATION_ACTIVE",
        "CKR_OPERATION_NOT_INITIALIZED",
    ]),
    ("handle", HANDLE, &["CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID"]),
    ("login", LOGIN, &["CKR_USER_NOT_LOGGED_IN"]),
    ("capacity", Next::Busy, &["CKR_SESSION_COUNT", "CKR_DEVICE_MEMORY", "CKR_HOST_MEMORY"]),
    ("device", Next::Replaced, &[
        "CKR_DEVICE_ERROR", "CKR_DEVICE_REMOVED", "CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_RECOGNIZED",
        "CKR_GENERAL_ERROR", "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_SLOT_ID_INVALID",
        "CKR_NEED_TO_CREATE_THREADS", "CKR_CANT_LOCK", "CKR_MUTEX_BAD", "CKR_MUTEX_NOT_LOCKED",
        "CKR_FIPS_SELF_TEST_FAILED", "CKR_LIBRARY_LOAD_FAILED",
    ]),
    ("vendor", Next::Replaced, &["0x80000000", "0x80000042", "0xffffffff"]),
    ("unexpected", Next::Unavailable, &[
        "CKR_CANCEL", "CKR_FUNCTION_FAILED", "CKR_ARGUMENTS_BAD", "CKR_NO_EVENT",
        "CKR_ATTRIBUTE_READ_ONLY", "CKR_ATTRIBUTE_SENSITIVE", "CKR_ATTRIBUTE_TYPE_INVALID",
        "CKR_ATTRIBUTE_VALUE_INVALID", "CKR_ACTION_PROHIBITED", "CKR_ENCRYPTED_DATA_INVALID",
        "CKR_ENCRYPTED_DATA_LEN_RANGE", "CKR_FUNCTION_CANCELED", "CKR_FUNCTION_NOT_PARALLEL",
        "CKR_FUNCTION_NOT_SUPPORTED", "CKR_CURVE_NOT_SUPPORTED", "CKR_KEY_NOT_NEEDED",
        "CKR_KEY_CHANGED", "CKR_KEY_NEEDED", "CKR_KEY_INDIGESTIBLE", "CKR_KEY_NOT_WRAPPABLE",
        "CKR_KEY_UNEXTRACTABLE", "CKR_SESSION_PARALLEL_NOT_SUPPORTED", "CKR_SESSION_READ_ONLY",
        "CKR_SESSION_EXISTS", "CKR_SESSION_READ_ONLY_EXISTS", "CKR_SESSION_READ_WRITE_SO_EXISTS",
        "CKR_SIGNATURE_INVALID", "CKR_SIGNATURE_LEN_RANGE", "CKR_TEMPLATE_INCOMPLETE",
        "CKR_TEMPLATE_INCONSISTENT", "CKR_TOKEN_WRITE_PROTECTED",
        "CKR_UNWRAPPING_KEY_HANDLE_INVALID", "CKR_UNWRAPPING_KEY_SIZE_RANGE",
        "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", "CKR_USER_ALREADY_LOGGED_IN",
        "CKR_USER_TYPE_INVALID", "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "CKR_USER_TOO_MANY_TYPES",
        "CKR_WRAPPED_KEY_INVALID", "CKR_WRAPPED_KEY_LEN_RANGE", "CKR_WRAPPING_KEY_HANDLE_INVALID",
        "CKR_WRAPPING_KEY_SIZE_RANGE", "CKR_WRAPPING_KEY_TYPE_INCONSISTENT",
        "CKR_RANDOM_SEED_NOT_SUPPORTED", "CKR_RANDOM_NO_RNG", "CKR_DOMAIN_PARAMS_INVALID",
        "CKR_SAVED_STATE_INVALID", "CKR_INFORMATION_SENSITIVE", "CKR_STATE_UNSAVEABLE",
        "CKR_CRYPTOKI_ALREADY_INITIALIZED", "CKR_NEW_PIN_MODE", "CKR_NEXT_OTP",
        "CKR_EXCEEDED_MAX_ITERATIONS", "CKR_PUBLIC_KEY_INVALID", "CKR_FUNCTION_REJECTED",
        "CKR_BUFFER_TOO_SMALL", "0x2ff", "0x7fffffff",
    ]),
    ("credential", Next::Stopped, &[
        "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED", "CKR_PIN_INVALID",
        "CKR_PIN_LEN_RANGE", "CKR_PIN_TOO_WEAK", "CKR_USER_PIN_NOT_INITIALIZED",
    ]),
];

/// The action in the log for each consequence.
const ACTIONS: [(Next, &str); 8] = [
    (SESSION, "try once more in a fresh session"),
    (HANDLE, "find the key again and try once more"),
    (LOGIN, "log in again and try once more"),
    (Next::Unusable, "refuse the request"),
    (Next::Busy, "shed load"),
    (Next::Unavailable, "fail the request"),
    (Next::Replaced, "kill and respawn the signer"),
    (Next::Stopped, "no further login until the PIN file is corrected and the service restarted"),
];

fn rows() -> impl Iterator<Item = (&'static str, Next, &'static str, &'static str)> {
    let codes = TABLE
        .into_iter()
        .flat_map(|(class, next, codes)| codes.iter().map(move |code| (class, next, *code)));
    codes.flat_map(|(class, next, code)| {
        ["C_SignInit", "C_Sign"].map(|function| (class, next, code, function))
    })
}

/// Checks all that the table says about one code from one function.
async fn assert_row(
    disturbed: &Disturbed,
    token: &Token,
    key: &TokenKey,
    (class, next, code, function): (&str, Next, &str, &str),
) {
    let row = format!("{code} of {function}");
    let before = token.figures();
    logbook::of(token.name());
    disturbed.forget();
    disturbed.tell(&format!("{function} 1 fail {code}"));
    let result = sign(token, key, b"x").await;
    let figures = token.figures();
    match (next, &result) {
        (Next::Healed { .. } | Next::Replaced, Ok(()))
        | (Next::Unusable, Err(HsmError::Unusable { .. }))
        | (Next::Busy, Err(HsmError::Busy { .. }))
        | (Next::Unavailable | Next::Stopped, Err(HsmError::Unavailable { .. })) => {}
        _ => panic!("{row}: {result:?}"),
    }
    if let Next::Healed { logins, searches } = next {
        let calls = (disturbed.calls("C_Login"), disturbed.calls("C_FindObjectsInit"));
        assert_eq!(calls, (logins, searches), "{row}: logins and searches");
    }
    let replaced = next == Next::Replaced;
    let lost = |figures: &chancery::hsm::TokenFigures| -> u64 {
        figures.signers_lost.iter().map(|(_, count)| count).sum()
    };
    let gone = lost(&figures) - lost(&before);
    assert_eq!(gone, u64::from(replaced || next == Next::Stopped), "{row}: signers lost");
    assert_eq!(figures.signer_pids == before.signer_pids, gone == 0, "{row}: signers");
    let breaker = if next == Next::Stopped { BreakerState::Open } else { BreakerState::Closed };
    assert_eq!(figures.breaker.state, breaker, "{row}: breaker");

    let faults = logbook::faults_of(token.name());
    let [line] = &faults[..] else { panic!("{row}: {faults:?}") };
    let said = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{row}: {line}"));
    let action = ACTIONS.iter().find(|(of, _)| *of == next).unwrap().1;
    assert_eq!(
        (said("function"), said("class"), said("token"), said("key"), said("action")),
        (function, class, token.name(), key.label.as_str(), action),
        "{row}"
    );
    assert!(said("code").contains(code), "{row}: {line}");
    assert!(said("code").contains("(0x"), "{row}: {line}");
    let counted = |figures: &chancery::hsm::TokenFigures| {
        figures.faults.iter().find(|(name, _)| *name == class).unwrap().1
    };
    assert_eq!(counted(&figures), counted(&before) + 1, "{row}: faults of the class");
}

fn config(disturbed: &Disturbed, name: &str) -> TokenConfig {
    // Without canary signatures in between.
    TokenConfig { name: name.to_owned(), canary_seconds: 3_600, ..disturbed.config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_every_signing_function_has_its_consequence() {
    let disturbed = Disturbed::new("codes");
    let token = started(config(&disturbed, "codes")).await;
    let key = token.find("key").await.unwrap();
    let mut count = 0;
    for row in rows().filter(|(_, next, ..)| *next != Next::Stopped) {
        assert_row(&disturbed, &token, &key, row).await;
        count += 1;
    }
    println!("{count} rows of the table hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_that_speaks_of_the_pin_stops_the_token() {
    let disturbed = Disturbed::new("pin-codes");
    for row in rows().filter(|(_, next, ..)| *next == Next::Stopped) {
        disturbed.tell("");
        let token = started(config(&disturbed, "pin-codes")).await;
        let key = token.find("key").await.unwrap();
        assert_row(&disturbed, &token, &key, row).await;
        assert!(matches!(token.state(), TokenState::CredentialFault { .. }), "{row:?}");
        assert_eq!(disturbed.calls("C_Login"), 0, "{row:?}");
        let again = sign(&token, &key, b"x").await;
        assert!(matches!(again, Err(HsmError::Unavailable { retry_after_seconds: 60 })), "{row:?}");
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_goes_up_one_step_at_a_time() {
    let disturbed = Disturbed::new("steps");
    let token = started(config(&disturbed, "steps")).await;
    let key = token.find("key").await.unwrap();
    let steps = ["fresh session", "find the key again", "log in again", "kill and respawn"];
    for (code, first) in
        [("CKR_SESSION_CLOSED", 0), ("CKR_OBJECT_HANDLE_INVALID", 1), ("CKR_USER_NOT_LOGGED_IN", 2)]
    {
        logbook::of("steps");
        // Exactly as often as one signer meets it.
        let signers = disturbed.hsm.signers();
        disturbed.tell(&format!("C_SignInit 1-{} fail {code}", steps.len() - first));
        sign(&token, &key, b"made by the next signer").await.unwrap();
        let actions: Vec<_> = logbook::faults_of("steps").iter().map(action_of).collect();
        assert_eq!(actions.len(), steps.len() - first, "{code}: {actions:?}");
        for (action, step) in actions.iter().zip(&steps[first..]) {
            assert!(action.contains(step), "{code}: {actions:?}");
        }
        assert_ne!(disturbed.hsm.signers(), signers, "{code}");
    }
}

fn action_of(fields: &Value) -> String {
    fields["action"].as_str().unwrap().to_owned()
}
