//! Each class of PKCS#11 error, injected into a real module: what is retried, what is killed, what
//! is refused, and what is never tried again.

use std::fs;

use super::*;

/// A SoftHSM with one key behind the shim.
pub(super) struct Shimmed {
    pub(super) hsm: SoftHsm,
    module: PathBuf,
    pub(super) control: PathBuf,
}

impl Shimmed {
    pub(super) fn new(name: &str) -> Self {
        let hsm = SoftHsm::new(name);
        hsm.keygen("key", "EC:prime256v1", "01");
        let (source, module) = (hsm.directory.join("shim.c"), hsm.directory.join("shim.so"));
        fs::write(&source, include_str!("shim.c")).unwrap();
        let (source, target) = (source.to_str().unwrap(), module.to_str().unwrap());
        hsm.run("cc", &["-shared", "-fPIC", "-w", "-o", target, source]);
        let control = hsm.directory.join("control");
        fs::create_dir(&control).unwrap();
        Self { hsm, module, control }
    }

    /// One session, so that the next signature meets the next fault.
    pub(super) fn config(&self) -> TokenConfig {
        let mut config =
            TokenConfig { sessions: 1, module: self.module.clone(), ..self.hsm.config() };
        let control = self.control.to_str().unwrap().to_owned();
        config.environment.insert("CHANCERY_SHIM".to_owned(), control);
        config
    }

    pub(super) async fn start(&self) -> (Token, TokenKey) {
        let token = started(self.config()).await;
        let key = token.find("key").await.unwrap();
        fs::write(self.control.join("trace"), "").unwrap();
        (token, key)
    }

    pub(super) fn tell(&self, name: &str, code: u64) {
        let (draft, told) = (self.control.join("draft"), self.control.join(name));
        fs::write(&draft, format!("{code:x}")).unwrap();
        fs::rename(draft, told).unwrap();
    }

    pub(super) fn calls(&self, function: &str) -> usize {
        let trace = fs::read_to_string(self.control.join("trace")).unwrap();
        trace.lines().filter(|line| *line == function).count()
    }
}

pub(super) const GENERAL_ERROR: u64 = 0x05;
pub(super) const FUNCTION_FAILED: u64 = 0x06;
pub(super) const DEVICE_ERROR: u64 = 0x30;
const DEVICE_MEMORY: u64 = 0x31;
pub(super) const MECHANISM_INVALID: u64 = 0x70;
const OBJECT_HANDLE_INVALID: u64 = 0x82;
const PIN_INCORRECT: u64 = 0xa0;
const SESSION_COUNT: u64 = 0xb1;
const SESSION_HANDLE_INVALID: u64 = 0xb3;
const USER_NOT_LOGGED_IN: u64 = 0x101;
const VENDOR: u64 = 0x8000_0042;

#[tokio::test(flavor = "multi_thread")]
async fn session_handle_and_login_faults_heal_within_the_signer() {
    let shim = Shimmed::new("heal");
    let (token, key) = shim.start().await;
    let signers = shim.hsm.signers();
    for (function, code, logins, listings) in [
        ("C_SignInit", SESSION_HANDLE_INVALID, 0, 0),
        ("C_Sign", SESSION_HANDLE_INVALID, 0, 0),
        ("C_SignInit", OBJECT_HANDLE_INVALID, 0, 2),
        ("C_SignInit", USER_NOT_LOGGED_IN, 1, 2),
    ] {
        fs::write(shim.control.join("trace"), "").unwrap();
        shim.tell(function, code);
        sign(&token, &key, b"healed").await.unwrap();
        assert_eq!(shim.calls("C_Login"), logins, "{function} {code:#x}");
        assert_eq!(shim.calls("C_FindObjectsInit"), listings, "{function} {code:#x}");
        assert_eq!(shim.calls("C_OpenSession"), 1, "{function} {code:#x}");
    }
    assert_eq!(shim.hsm.signers(), signers, "no signer was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_behind_our_back_costs_one_login() {
    let shim = Shimmed::new("logout");
    let (token, key) = shim.start().await;
    let signers = shim.hsm.signers();
    shim.tell("logout", 0);
    sign(&token, &key, b"logged in again").await.unwrap();
    assert_eq!(shim.calls("C_Login"), 1);
    assert_eq!(shim.hsm.signers(), signers);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_and_vendor_faults_cost_the_signer_and_no_signature() {
    let shim = Shimmed::new("device");
    let (token, key) = shim.start().await;
    for code in [DEVICE_ERROR, GENERAL_ERROR, VENDOR] {
        let before = shim.hsm.signers();
        shim.tell("C_Sign", code);
        sign(&token, &key, b"made by the next signer").await.unwrap();
        assert_ne!(shim.hsm.signers(), before, "{code:#x}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_one_request_do_not_touch_the_signer() {
    let shim = Shimmed::new("request");
    let (token, key) = shim.start().await;
    let signers = shim.hsm.signers();
    shim.tell("C_SignInit", MECHANISM_INVALID);
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unusable { .. })));
    shim.tell("C_Sign", DEVICE_MEMORY);
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Busy { .. })));
    shim.tell("C_Sign", FUNCTION_FAILED);
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unavailable { .. })));
    sign(&token, &key, b"x").await.unwrap();
    assert_eq!(shim.hsm.signers(), signers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_refused_in_service_is_not_tried_again() {
    let shim = Shimmed::new("refused");
    let (token, key) = shim.start().await;
    shim.tell("C_Login", PIN_INCORRECT);
    shim.tell("C_SignInit", USER_NOT_LOGGED_IN);
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
    assert_eq!(shim.calls("C_Login"), 1);
    assert_eq!(shim.hsm.signers(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_without_a_word_is_not_tried_again() {
    let shim = Shimmed::new("wordless");
    shim.tell("C_Login", FUNCTION_FAILED);
    let token = started(shim.config()).await;
    assert!(matches!(token.state(), TokenState::CredentialFault { .. }), "{:?}", token.state());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shim.calls("C_Login"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_start_is_named_and_overcome() {
    let shim = Shimmed::new("start");
    for (function, code, name) in [
        ("C_Initialize", GENERAL_ERROR, "C_Initialize: CKR_GENERAL_ERROR (0x5)"),
        ("C_OpenSession", SESSION_COUNT, "C_OpenSession: CKR_SESSION_COUNT (0xb1)"),
        ("C_FindObjectsInit", DEVICE_ERROR, "C_FindObjectsInit: CKR_DEVICE_ERROR (0x30)"),
        ("C_Sign", VENDOR, "C_Sign: CKR_VENDOR_DEFINED (0x80000042)"),
    ] {
        shim.tell(function, code);
        let token = Token::start(shim.config(), PROGRAM.into());
        token.wait_until_known(PATIENCE).await;
        let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
        assert!(reason.contains(name), "{reason}");
        eventually("the next start succeeds", PATIENCE, async || token.state().is_ready()).await;
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_with_a_wrong_bit_is_found_by_canary_and_caller() {
    let shim = Shimmed::new("flip");
    let (token, key) = shim.start().await;
    let before = shim.hsm.signers();
    shim.tell("flip", 0);
    let digest = Digest::of(key.public_key.key_type().signature_algorithm().hash(), b"x");
    let Ok(signature) = token.sign(&key, digest).await else { panic!("expected a signature") };
    assert!(!key.public_key.verifies(b"x", &signature));
    // The next signer makes its first signature wrong, and is not let in.
    shim.tell("flip", 0);
    token.report_bad_signature(&key);
    sign(&token, &key, b"y").await.unwrap_or_else(|error| {
        assert!(matches!(error, HsmError::Unavailable { .. }), "{error:?}");
    });
    eventually("a sound signer", PATIENCE, async || sign(&token, &key, b"z").await.is_ok()).await;
    assert!(shim.hsm.signers().iter().all(|pid| !before.contains(pid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_that_hangs_misses_the_deadline_and_serves_again_after() {
    let shim = Shimmed::new("hang");
    let token = started(TokenConfig { sign_deadline_ms: 1_000, ..shim.config() }).await;
    let key = token.find("key").await.unwrap();
    shim.tell("hang", 0);
    let begin = Instant::now();
    let Err(error) = sign(&token, &key, b"x").await else { panic!("a hanging HSM signed") };
    let late = begin.elapsed() > Duration::from_millis(1_500);
    assert!(matches!(error, HsmError::DeadlineMissed { .. }) && !late, "{error:?}");
    fs::remove_file(shim.control.join("hang")).unwrap();
    let took = eventually("service returns", Duration::from_secs(5), async || {
        sign(&token, &key, b"x").await.is_ok()
    })
    .await;
    println!("HSM thawed: signed after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_signature_does_not_keep_the_service_from_stopping() {
    let shim = Shimmed::new("stuck");
    let (token, key) = shim.start().await;
    shim.tell("hang", 0);
    let calling = tokio::spawn({
        let token = token.clone();
        async move { sign(&token, &key, b"x").await }
    });
    sleep(Duration::from_millis(50)).await;
    let begin = Instant::now();
    token.stop().await;
    println!("stop with a stuck signature: {:?}", begin.elapsed());
    assert!(calling.await.unwrap().is_err());
    eventually("no signer is left", Duration::from_secs(2), async || shim.hsm.signers().is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_closes_every_session_and_finalizes_last() {
    let shim = Shimmed::new("order");
    let (token, key) = shim.start().await;
    sign(&token, &key, b"x").await.unwrap();
    token.stop().await;
    let trace = fs::read_to_string(shim.control.join("trace")).unwrap();
    let end: Vec<_> = trace.lines().rev().take(3).collect();
    assert_eq!(end, ["C_Finalize", "C_CloseSession", "C_CloseSession"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_signatures_search_the_token_not_once() {
    let shim = Shimmed::new("searches");
    let (token, key) = shim.start().await;
    for round in 0..1_000u32 {
        sign(&token, &key, &round.to_be_bytes()).await.unwrap();
    }
    assert_eq!(shim.calls("C_FindObjectsInit"), 0);
    assert_eq!(shim.calls("C_OpenSession"), 0);
    assert_eq!(shim.calls("C_Login"), 0);
}
