//! Each class of PKCS#11 fault in a real module: what is retried, which signer is killed, what is refused,
//! and what is never retried.

use super::{chaos::Chaos, *};

/// A SoftHSM with one key, behind the module that fails on order. Every call is traced.
pub(super) struct Disturbed {
    pub(super) hsm: SoftHsm,
    chaos: Chaos,
}

impl Disturbed {
    pub(super) fn new(name: &str) -> Self {
        let hsm = SoftHsm::new(name);
        hsm.keygen("key", "EC:prime256v1", "01");
        let chaos = Chaos::new(hsm.directory.join("chaos"));
        chaos.order("* trace");
        Self { hsm, chaos }
    }

    /// The same, in another process.
    pub(super) fn again(directory: PathBuf) -> Self {
        let chaos = Chaos::of(directory.join("chaos"));
        Self { hsm: SoftHsm { directory }, chaos }
    }

    /// One session, so that the next signature meets the next fault.
    pub(super) fn config(&self) -> TokenConfig {
        let mut config = TokenConfig { sessions: 1, module: Chaos::module(), ..self.hsm.config() };
        config.environment.extend(self.chaos.environment(MODULE));
        config
    }

    pub(super) async fn start(&self) -> (Token, TokenKey) {
        let token = started(self.config()).await;
        let key = token.find("key").await.unwrap();
        self.forget();
        (token, key)
    }

    /// Replaces the orders.
    pub(super) fn tell(&self, orders: &str) {
        self.chaos.order(&format!("* trace\n{orders}"));
    }

    pub(super) fn calls(&self, function: &str) -> usize {
        self.chaos.calls(function)
    }

    /// The functions that were called.
    pub(super) fn trace(&self) -> Vec<String> {
        self.chaos.trace()
    }

    /// The calls that have returned: process, function and code.
    pub(super) fn returned(&self) -> Vec<(u32, String, String)> {
        self.chaos.returned()
    }

    /// What callers passed to functions with a `record` order: process, function, text.
    pub(super) fn record(&self) -> Vec<(u32, String, String)> {
        let path = self.hsm.directory.join("chaos/record");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let words = |line: &str| {
            let mut parts = line.splitn(4, ' ');
            let pid = parts.next()?.parse().ok()?;
            Some((pid, parts.nth(1)?.to_owned(), parts.next()?.to_owned()))
        };
        text.lines().filter_map(words).collect()
    }

    /// The process that called first.
    pub(super) fn first_caller(&self) -> u32 {
        self.returned()[0].0
    }

    pub(super) fn forget(&self) {
        self.chaos.forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn session_handle_and_login_faults_heal_within_the_signer() {
    let disturbed = Disturbed::new("heal");
    let (token, key) = disturbed.start().await;
    let signers = disturbed.hsm.signers();
    for (function, code, logins, listings) in [
        ("C_SignInit", "CKR_SESSION_HANDLE_INVALID", 0, 0),
        ("C_Sign", "CKR_SESSION_HANDLE_INVALID", 0, 0),
        ("C_SignInit", "CKR_OBJECT_HANDLE_INVALID", 0, 2),
        ("C_SignInit", "CKR_USER_NOT_LOGGED_IN", 1, 2),
    ] {
        disturbed.forget();
        disturbed.tell(&format!("{function} 1 fail {code}"));
        sign(&token, &key, b"healed").await.unwrap();
        assert_eq!(disturbed.calls("C_Login"), logins, "{function} {code}");
        assert_eq!(disturbed.calls("C_FindObjectsInit"), listings, "{function} {code}");
        assert_eq!(disturbed.calls("C_OpenSession"), 1, "{function} {code}");
    }
    assert_eq!(disturbed.hsm.signers(), signers, "no signer was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_two_calls_of_the_module() {
    let disturbed = Disturbed::new("calls");
    disturbed.hsm.keygen("rsa", "rsa:4096", "02");
    // Without canary signatures in between.
    let token = started(TokenConfig { canary_seconds: 3_600, ..disturbed.config() }).await;
    for label in ["key", "rsa"] {
        let key = &token.find(label).await.unwrap();
        disturbed.forget();
        sign(&token, key, b"x").await.unwrap();
        assert_eq!(disturbed.chaos.trace(), ["C_SignInit", "C_Sign"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn device_and_vendor_faults_cost_the_signer_and_no_signature() {
    let disturbed = Disturbed::new("device");
    let (token, key) = disturbed.start().await;
    for code in ["CKR_DEVICE_ERROR", "CKR_GENERAL_ERROR", "0x80000042"] {
        let before = disturbed.hsm.signers();
        disturbed.tell(&format!("C_Sign 1 fail {code}"));
        sign(&token, &key, b"made by the next signer").await.unwrap();
        assert_ne!(disturbed.hsm.signers(), before, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_one_request_do_not_touch_the_signer() {
    let disturbed = Disturbed::new("request");
    let (token, key) = disturbed.start().await;
    let signers = disturbed.hsm.signers();
    disturbed.tell("C_SignInit 1 fail CKR_MECHANISM_INVALID");
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unusable { .. })));
    disturbed.tell("C_Sign 1 fail CKR_DEVICE_MEMORY");
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Busy { .. })));
    disturbed.tell("C_Sign 1 fail CKR_FUNCTION_FAILED");
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unavailable { .. })));
    sign(&token, &key, b"x").await.unwrap();
    assert_eq!(disturbed.hsm.signers(), signers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_refused_in_service_is_not_tried_again() {
    let disturbed = Disturbed::new("refused");
    let (token, key) = disturbed.start().await;
    disturbed.tell(
        "C_Login 1 fail CKR_PIN_INCORRECT\n\
         C_SignInit 1 fail CKR_USER_NOT_LOGGED_IN",
    );
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unavailable { .. })));
    let TokenState::CredentialFault { reason } = token.state() else {
        panic!("{:?}", token.state())
    };
    assert!(reason.contains("CKR_PIN_INCORRECT"), "{reason}");
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unavailable { .. })));
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(disturbed.calls("C_Login"), 1);
    assert_eq!(disturbed.hsm.signers(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_without_a_word_is_not_tried_again() {
    let disturbed = Disturbed::new("wordless");
    disturbed.tell("C_Login 1 fail CKR_FUNCTION_FAILED");
    let token = started(disturbed.config()).await;
    assert!(matches!(token.state(), TokenState::CredentialFault { .. }), "{:?}", token.state());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(disturbed.calls("C_Login"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_start_is_named_and_overcome() {
    let disturbed = Disturbed::new("start");
    for (function, code, name) in [
        ("C_Initialize", "CKR_GENERAL_ERROR", "C_Initialize: CKR_GENERAL_ERROR (0x5)"),
        ("C_OpenSession", "CKR_SESSION_COUNT", "C_OpenSession: CKR_SESSION_COUNT (0xb1)"),
        ("C_FindObjectsInit", "CKR_DEVICE_ERROR", "C_FindObjectsInit: CKR_DEVICE_ERROR (0x30)"),
        ("C_Sign", "0x80000042", "C_Sign: CKR_VENDOR_DEFINED (0x80000042)"),
    ] {
        disturbed.tell(&format!("{function} 1 fail {code}"));
        let token = Token::start(disturbed.config(), PROGRAM.into());
        token.wait_until_known(PATIENCE).await;
        let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
        assert!(reason.contains(name), "{reason}");
        eventually("the next start succeeds", PATIENCE, async || token.state().is_ready()).await;
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_with_a_wrong_bit_is_found_by_canary_and_caller() {
    let disturbed = Disturbed::new("flip");
    let (token, key) = disturbed.start().await;
    let before = disturbed.hsm.signers();
    disturbed.tell("C_Sign 1 flip");
    let Ok(made) = made(&token, &key, b"x").await else { panic!("expected a signature") };
    assert!(!key.public_key.verifies(b"x", &made.signature));
    // The first signature of the next signer is wrong, so it is not admitted.
    disturbed.tell("C_Sign 1 flip");
    token.report_bad_signature(&key, made.maker);
    sign(&token, &key, b"y").await.unwrap_or_else(|error| {
        assert!(matches!(error, HsmError::Unavailable { .. }), "{error:?}");
    });
    eventually("a sound signer", PATIENCE, async || sign(&token, &key, b"z").await.is_ok()).await;
    assert!(disturbed.hsm.signers().iter().all(|pid| !before.contains(pid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_that_hangs_misses_the_deadline_and_serves_again_after() {
    let disturbed = Disturbed::new("hang");
    let token = started(TokenConfig { sign_deadline_ms: 1_000, ..disturbed.config() }).await;
    let key = token.find("key").await.unwrap();
    disturbed.tell("C_Sign hang");
    let begin = Instant::now();
    let Err(error) = sign(&token, &key, b"x").await else { panic!("a hanging HSM signed") };
    let late = begin.elapsed() > Duration::from_millis(1_500);
    assert!(matches!(error, HsmError::DeadlineMissed { .. }) && !late, "{error:?}");
    disturbed.tell("");
    let took = eventually("service returns", Duration::from_secs(5), async || {
        sign(&token, &key, b"x").await.is_ok()
    })
    .await;
    println!("HSM thawed: signed after {took:?}");
}

/// A crash during C_GenerateKeyPair leaves a private key that is listed like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_only_key_is_half_made_can_be_given_another() {
    let disturbed = Disturbed::new("half-made");
    // The first and the second start fail to sign. A fault of a handle is retried, so there are three calls
    // each.
    for (code, calls) in
        [("CKR_GENERAL_ERROR", 2), ("CKR_KEY_HANDLE_INVALID", 6), ("CKR_FUNCTION_FAILED", 2)]
    {
        disturbed.tell(&format!("C_SignInit 1-{calls} fail {code}"));
        let token = Token::start(disturbed.config(), PROGRAM.into());
        eventually("a signer is let in", PATIENCE, async || {
            matches!(token.state(), TokenState::Unproven { .. })
        })
        .await;
        assert!(!token.state().is_ready());
        let made = token.generate("made", &[7; 20], KeyType::P256).await.unwrap();
        sign(&token, &made, b"x").await.unwrap();
        eventually("ready", PATIENCE, async || matches!(token.state(), TokenState::Ready { .. }))
            .await;
        token.destroy(&made).await.unwrap();
        token.stop().await;
    }
}

/// A token that is gone fails the listing too, so no signer is admitted without a canary signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_signs_nothing_and_shows_nothing_is_away() {
    let disturbed = Disturbed::new("away");
    disturbed.tell("C_SignInit removed CKR_DEVICE_REMOVED");
    let token = started(disturbed.config()).await;
    for _ in 0..40 {
        assert!(!matches!(token.state(), TokenState::Unproven { .. }), "{:?}", token.state());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_signature_does_not_keep_the_service_from_stopping() {
    let disturbed = Disturbed::new("stuck");
    let (token, key) = disturbed.start().await;
    disturbed.tell("C_Sign hang");
    let calling = tokio::spawn({
        let token = token.clone();
        async move { sign(&token, &key, b"x").await }
    });
    sleep(Duration::from_millis(50)).await;
    let begin = Instant::now();
    token.stop().await;
    println!("stop with a stuck signature: {:?}", begin.elapsed());
    assert!(calling.await.unwrap().is_err());
    eventually("no signer is left", Duration::from_secs(2), async || {
        disturbed.hsm.signers().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_signatures_search_the_token_not_once() {
    let disturbed = Disturbed::new("searches");
    let (token, key) = disturbed.start().await;
    for round in 0..1_000u32 {
        sign(&token, &key, &round.to_be_bytes()).await.unwrap();
    }
    assert_eq!(disturbed.calls("C_FindObjectsInit"), 0);
    assert_eq!(disturbed.calls("C_OpenSession"), 0);
    assert_eq!(disturbed.calls("C_Login"), 0);
}
