//! The HSM layer with a real SoftHSM2, through the real program, with faults of every kind.
#![expect(clippy::unwrap_used, reason = "clippy.toml allows it in tests, not in their helpers")]
#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use chancery::{
    domain::key::KeyType,
    hsm::{
        HsmError, Made, Recycling, Sandbox, Token, TokenConfig, TokenKey, TokenState, TokenUser,
    },
};
use chancery_test_support::{
    chaos, signs,
    softhsm::{MODULE, PIN, SoftHsm},
};
use faults::Disturbed;
use tokio::time::sleep;

mod bad_keys;
mod bindings;
mod changes;
mod codes;
mod counts;
mod faults;
mod figures;
mod handles;
mod healing;
mod liars;
mod lifecycle;
mod logbook;
mod logins;
mod mechanisms;
mod memory;
mod messages;
mod pins;
mod recycling;
mod sessions;
mod slow;
mod starts;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chancery");
/// Debug builds on a shared machine are slow. A test that passes does not wait this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the daemon would be told of it.
trait Configuration {
    fn config(&self) -> TokenConfig;
}

impl Configuration for SoftHsm {
    fn config(&self) -> TokenConfig {
        TokenConfig {
            name: "hsm".to_owned(),
            module: MODULE.into(),
            module_arguments: None,
            label: "test".to_owned(),
            serial: None,
            pin_file: self.directory.join("pin"),
            user: TokenUser::Normal,
            tried_pins: self.directory.join("tried-pins"),
            processes: 1,
            sessions: 2,
            queue_max: 10_000,
            sign_deadline_ms: 10_000,
            generate_deadline_ms: 60_000,
            start_deadline_ms: 20_000,
            canary_seconds: 15,
            canary_label: None,
            environment: BTreeMap::from([(
                "SOFTHSM2_CONF".to_owned(),
                self.conf().to_str().unwrap().to_owned(),
            )]),
            sandbox: Sandbox { write: vec![self.directory.clone()], ..Sandbox::default() },
            recycling: Recycling::default(),
        }
    }
}

/// Those whose token is open.
fn open_signers(hsm: &SoftHsm) -> Vec<u32> {
    hsm.signers().into_iter().filter(|pid| signs(*pid)).collect()
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill {name} {pid}");
}

/// Polls until `holds`, and panics with `what` when that takes too long.
async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
    begin.elapsed()
}

async fn started(config: TokenConfig) -> Token {
    logbook::open();
    let token = Token::start(config, PROGRAM.into());
    token.wait_until_known(PATIENCE).await;
    token
}

/// Signs a message and verifies the signature.
async fn sign(token: &Token, key: &TokenKey, message: &[u8]) -> Result<(), HsmError> {
    let signature = token.sign(key, message).await?;
    assert!(key.public_key.verifies(message, &signature), "a signature that does not verify");
    Ok(())
}

/// A signature that is not verified, and the signer that made it.
async fn made(token: &Token, key: &TokenKey, message: &[u8]) -> Result<Made, HsmError> {
    let deadline = tokio::time::Instant::now() + token.sign_deadline();
    token.sign_for("", key, message, deadline).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_type_signs_and_verifies() {
    let hsm = SoftHsm::new("types");
    let kinds = [
        ("EC:prime256v1", KeyType::P256),
        ("EC:secp384r1", KeyType::P384),
        ("EC:secp521r1", KeyType::P521),
        ("rsa:2048", KeyType::Rsa2048),
        ("rsa:3072", KeyType::Rsa3072),
        ("rsa:4096", KeyType::Rsa4096),
    ];
    for (number, (kind, key_type)) in kinds.iter().enumerate() {
        hsm.keygen(&format!("acme.kms.{}", key_type.name()), kind, &format!("0{number}"));
    }
    let token = started(hsm.config()).await;
    assert!(matches!(token.state(), TokenState::Ready { .. }), "{:?}", token.state());
    for (_, key_type) in kinds {
        let key = token.find(&format!("acme.kms.{}", key_type.name())).await.unwrap();
        assert_eq!(key.public_key.key_type(), key_type);
        for round in 0..20u8 {
            sign(&token, &key, &[round]).await.unwrap();
        }
    }
    assert_eq!(token.list().await.unwrap().len(), kinds.len());
    token.stop().await;
    assert_eq!(hsm.signers(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_without_a_key_is_missing_and_one_with_two_is_ambiguous() {
    let hsm = SoftHsm::new("labels");
    hsm.keygen("one", "EC:prime256v1", "01");
    hsm.keygen("two", "EC:prime256v1", "02");
    hsm.keygen("two", "EC:prime256v1", "03");
    hsm.keygen("twin", "EC:prime256v1", "04");
    hsm.keygen("twin", "EC:prime256v1", "04");
    let token = started(hsm.config()).await;
    assert_eq!(token.find("none").await, Err(HsmError::Missing));
    assert_eq!(token.find("two").await, Err(HsmError::Ambiguous { count: 2 }));
    assert_eq!(token.find("twin").await, Err(HsmError::Ambiguous { count: 2 }));
    assert_eq!(token.find("one").await.unwrap().id, [1]);
    assert_eq!(token.list().await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_without_public_half_is_unusable_with_a_reason() {
    let hsm = SoftHsm::new("unbound");
    hsm.keygen("halved", "EC:prime256v1", "01");
    hsm.tool(&["--delete-object", "--type", "pubkey", "--label", "halved"]);
    let token = started(hsm.config()).await;
    assert_eq!(token.state(), TokenState::NoKeys);
    let Err(HsmError::Unusable { reason }) = token.find("halved").await else {
        panic!("expected an unusable key");
    };
    assert!(reason.contains("unbound"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_by_another_tool_is_found_without_restart() {
    let hsm = SoftHsm::new("new-key");
    let token = started(hsm.config()).await;
    assert_eq!(token.state(), TokenState::NoKeys);
    assert_eq!(token.find("late").await, Err(HsmError::Missing));
    let before = hsm.signers();
    hsm.keygen("late", "EC:prime256v1", "01");
    let key = token.find("late").await.unwrap();
    sign(&token, &key, b"late").await.unwrap();
    assert_eq!(hsm.signers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_missing_and_one_made_anew_is_another_key() {
    let hsm = SoftHsm::new("deleted");
    hsm.keygen("stays", "EC:prime256v1", "01");
    hsm.keygen("goes", "EC:prime256v1", "02");
    let token = started(hsm.config()).await;
    let old = token.find("goes").await.unwrap();
    hsm.tool(&["--delete-object", "--type", "privkey", "--label", "goes"]);
    hsm.tool(&["--delete-object", "--type", "pubkey", "--label", "goes"]);
    assert_eq!(sign(&token, &old, b"gone").await, Err(HsmError::Missing));
    hsm.keygen("goes", "EC:prime256v1", "02");
    assert_eq!(sign(&token, &old, b"replaced").await, Err(HsmError::Missing));
    eventually("the new key is found", PATIENCE, async || {
        token.find("goes").await.is_ok_and(|key| key != old)
    })
    .await;
    let stays = token.find("stays").await.unwrap();
    sign(&token, &stays, b"still there").await.unwrap();
}

/// Runs `callers` at once while `fault` runs. Every result has to be a good signature or a clean error, in
/// time. Returns how many were signed and how many were refused.
async fn under_load(
    token: &Token,
    key: &TokenKey,
    deadline: Duration,
    callers: usize,
    fault: impl AsyncFnOnce(),
) -> (usize, usize) {
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let (token, key, stop) = (token.clone(), key.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let (mut signed, mut refused, mut round) = (0, 0, 0u64);
            while !stop.is_cancelled() {
                let begin = Instant::now();
                round += 1;
                match sign(&token, &key, format!("{caller}.{round}").as_bytes()).await {
                    Ok(()) => signed += 1,
                    Err(
                        HsmError::Unavailable { .. }
                        | HsmError::Busy { .. }
                        | HsmError::DeadlineMissed { .. },
                    ) => {
                        refused += 1;
                        sleep(Duration::from_millis(10)).await;
                    }
                    Err(error) => panic!("not a clean error: {error:?}"),
                }
                // Some allowance for a busy machine.
                assert!(begin.elapsed() < deadline + Duration::from_millis(500));
            }
            (signed, refused)
        }));
    }
    fault().await;
    stop.cancel();
    let mut total = (0, 0);
    for task in tasks {
        let (signed, refused) = task.await.unwrap();
        total = (total.0 + signed, total.1 + refused);
    }
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn signers_killed_under_load_cost_no_signature() {
    let hsm = SoftHsm::new("killed");
    hsm.keygen("key", "EC:prime256v1", "01");
    let config = TokenConfig { processes: 2, ..hsm.config() };
    let deadline = Duration::from_millis(config.sign_deadline_ms);
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    eventually("both signers are up", PATIENCE, async || hsm.signers().len() == 2).await;
    let (signed, refused) = under_load(&token, &key, deadline, 16, async || {
        for _ in 0..5 {
            let signers = hsm.signers();
            let Some(victim) = signers.first().copied() else { continue };
            signal("-KILL", victim);
            let took = eventually("the signer is replaced", PATIENCE, async || {
                let now = hsm.signers();
                now.len() == 2 && !now.contains(&victim)
            })
            .await;
            println!("kill -9: another process after {took:?}");
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    println!("kill -9 under load: {signed} signed, {refused} refused");
    assert!(signed > 0);
    sign(&token, &key, b"after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_signer_killed_is_back_within_the_deadline() {
    let hsm = SoftHsm::new("only");
    hsm.keygen("key", "EC:prime256v1", "01");
    let token = started(hsm.config()).await;
    let key = token.find("key").await.unwrap();
    signal("-KILL", hsm.signers()[0]);
    let begin = Instant::now();
    sign(&token, &key, b"waits for the next signer").await.unwrap();
    println!("kill -9 of the only signer: next signature after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_signer_is_replaced_within_the_deadline() {
    let hsm = SoftHsm::new("frozen");
    hsm.keygen("key", "EC:prime256v1", "01");
    let config = TokenConfig { sign_deadline_ms: 4_000, ..hsm.config() };
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    let frozen = hsm.signers()[0];
    signal("-STOP", frozen);
    let begin = Instant::now();
    sign(&token, &key, b"made by the next signer").await.unwrap();
    println!("SIGSTOP: signature after {:?} of 4 s", begin.elapsed());
    let limit = Duration::from_secs(10);
    eventually("the frozen signer is gone", limit, async || !hsm.signers().contains(&frozen)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_goes_away_is_unavailable_and_served_again_when_it_is_back() {
    let hsm = SoftHsm::new("away");
    hsm.keygen("key", "EC:prime256v1", "01");
    let token = started(hsm.config()).await;
    let key = token.find("key").await.unwrap();
    sign(&token, &key, b"before").await.unwrap();
    let aside = hsm.directory.join("aside");
    std::fs::rename(hsm.tokens(), &aside).unwrap();
    std::fs::create_dir(hsm.tokens()).unwrap();
    let took = eventually("requests are refused", PATIENCE, async || {
        matches!(sign(&token, &key, b"away").await, Err(HsmError::Unavailable { .. }))
    })
    .await;
    println!("token away: refused after {took:?}");
    let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
    assert!(reason.contains("no token is labelled 'test'"), "{reason}");
    // The pauses of the backoff have grown meanwhile.
    sleep(Duration::from_secs(4)).await;
    std::fs::remove_dir(hsm.tokens()).unwrap();
    std::fs::rename(&aside, hsm.tokens()).unwrap();
    let took = eventually("service returns", Duration::from_secs(5), async || {
        sign(&token, &key, b"back").await.is_ok()
    })
    .await;
    println!("token back: signed after {took:?}");
    assert!(matches!(token.state(), TokenState::Ready { .. }));
}

/// A program that records each of its starts and becomes the signer.
fn counting_program(hsm: &SoftHsm) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let (program, starts) = (hsm.directory.join("program"), hsm.directory.join("starts"));
    let text = format!("#!/bin/sh\necho start >> {}\nexec {PROGRAM} \"$@\"\n", starts.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program, starts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_tried_exactly_once() {
    logbook::open();
    let hsm = SoftHsm::new("pin");
    hsm.keygen("key", "EC:prime256v1", "01");
    hsm.write_pin("0000");
    let (program, starts) = counting_program(&hsm);
    let config = TokenConfig { processes: 4, ..hsm.config() };
    let token = Token::start(config, program);
    token.wait_until_known(PATIENCE).await;
    let TokenState::CredentialFault { reason } = token.state() else {
        panic!("{:?}", token.state())
    };
    assert!(reason.contains("C_Login: CKR_PIN_INCORRECT (0xa0)"), "{reason}");
    assert!(!reason.contains("0000"));
    // Neither time nor requests cause another attempt.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(matches!(token.find("key").await, Err(HsmError::Unavailable { .. })));
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(std::fs::read_to_string(&starts).unwrap().lines().count(), 1);
    assert_eq!(hsm.signers(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn start_failures_are_explained_to_the_operator() {
    let hsm = SoftHsm::new("explained");
    hsm.init_token("twin");
    hsm.init_token("twin");
    let missing_pin = hsm.directory.join("no-such-pin");
    for (config, words) in [
        (TokenConfig { label: "other".to_owned(), ..hsm.config() }, "no token is labelled 'other'"),
        (TokenConfig { label: "twin".to_owned(), ..hsm.config() }, "2 tokens are labelled 'twin'"),
        (TokenConfig { module: "/nonexistent.so".into(), ..hsm.config() }, "/nonexistent.so"),
        (TokenConfig { pin_file: missing_pin, ..hsm.config() }, "no-such-pin"),
        (TokenConfig { serial: Some("feed".to_owned()), ..hsm.config() }, "with serial feed"),
    ] {
        let token = started(config).await;
        let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
        assert!(reason.contains(words), "{reason}");
        assert!(matches!(token.find("key").await, Err(HsmError::Unavailable { .. })));
    }
    let nobody = Token::start(hsm.config(), "/nonexistent/program".into());
    nobody.wait_until_known(PATIENCE).await;
    assert!(matches!(nobody.state(), TokenState::Away { .. }), "{:?}", nobody.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_talks_nonsense_is_no_signer() {
    use std::os::unix::fs::PermissionsExt;
    logbook::open();
    let hsm = SoftHsm::new("nonsense");
    let program = hsm.directory.join("program");
    // Frames of absurd length, noise, and silence, on the socket that is its stdin.
    for script in [
        "printf '\\377\\377\\377\\377' >&0; sleep 60",
        "head -c 100000 /dev/urandom >&0",
        "printf '\\000\\000\\000\\003\\002\\007\\001' >&0; sleep 60",
        "exit 0",
    ] {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let token = Token::start(hsm.config(), program.clone());
        token.wait_until_known(PATIENCE).await;
        assert!(matches!(token.state(), TokenState::Away { .. }), "{script}: {:?}", token.state());
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_queue_holds_is_busy_not_slow() {
    let hsm = SoftHsm::new("busy");
    hsm.keygen("key", "rsa:4096", "01");
    let config = TokenConfig { queue_max: 4, sessions: 1, ..hsm.config() };
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    let calls = (0..64u8).map(|round| {
        let (token, key) = (token.clone(), key.clone());
        tokio::spawn(async move { sign(&token, &key, &[round]).await })
    });
    let (mut signed, mut busy) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(()) => signed += 1,
            Err(HsmError::Busy { .. }) => busy += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(signed >= 4 && busy > 0, "{signed} signed, {busy} busy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_signature_costs_its_signer_the_life() {
    let hsm = SoftHsm::new("reported");
    hsm.keygen("key", "EC:prime256v1", "01");
    let token = started(hsm.config()).await;
    let key = token.find("key").await.unwrap();
    let made = made(&token, &key, b"x").await.unwrap();
    let before = hsm.signers();
    token.report_bad_signature(&key, made.maker);
    eventually("the signer is replaced", PATIENCE, async || {
        let now = hsm.signers();
        now.len() == 1 && now != before
    })
    .await;
    sign(&token, &key, b"y").await.unwrap();
}

#[test]
fn dropping_everything_leaves_no_process() {
    let hsm = SoftHsm::new("dropped");
    hsm.keygen("key", "EC:prime256v1", "01");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let token = runtime.block_on(started(TokenConfig { processes: 2, ..hsm.config() }));
    assert!(!hsm.signers().is_empty());
    drop(token);
    drop(runtime);
    let begin = Instant::now();
    while !hsm.signers().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(5), "orphans: {:?}", hsm.signers());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test of its own: the front that the next test starts and kills"]
async fn front_to_be_killed() {
    let Ok(directory) = std::env::var("CHANCERY_TEST_FRONT") else { return };
    let disturbed = std::mem::ManuallyDrop::new(Disturbed::again(directory.into()));
    let _token = started(TokenConfig { processes: 2, ..disturbed.config() }).await;
    sleep(PATIENCE).await;
}

/// A front in a process of its own.
fn front(disturbed: &Disturbed) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "front_to_be_killed"])
        .env("CHANCERY_TEST_FRONT", &disturbed.hsm.directory)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Starts a front, kills it, and returns how long its signers outlived it.
async fn kill_a_front(disturbed: &Disturbed, signers: usize) -> Duration {
    let hsm = &disturbed.hsm;
    let mut front = front(disturbed);
    eventually("signers are started", PATIENCE, async || hsm.signers().len() == signers).await;
    front.kill().unwrap();
    front.wait().unwrap();
    let gone = async || hsm.signers().is_empty();
    eventually("signers have ended", Duration::from_secs(5), gone).await
}

#[tokio::test(flavor = "multi_thread")]
async fn signers_end_with_a_front_that_was_killed() {
    let took = kill_a_front(&Disturbed::new("orphans"), 2).await;
    println!("front killed: signers gone after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signers_end_with_a_front_that_was_killed_even_when_their_module_hangs() {
    let disturbed = Disturbed::new("hanging-orphans");
    disturbed.tell("C_Initialize hang");
    let took = kill_a_front(&disturbed, 1).await;
    println!("front killed: signers with a hanging module gone after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_hangs_is_given_up_in_time() {
    let disturbed = Disturbed::new("hanging");
    disturbed.tell("C_Initialize hang");
    let config = TokenConfig { start_deadline_ms: 500, ..disturbed.config() };
    let token = started(config).await;
    let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
    assert!(reason.contains("not ready within start_deadline_ms"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_signers_under_load_cost_no_signature() {
    let hsm = SoftHsm::new("frozen-load");
    hsm.keygen("key", "EC:prime256v1", "01");
    let config = TokenConfig { processes: 2, sign_deadline_ms: 4_000, ..hsm.config() };
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    eventually("both signers are open", PATIENCE, async || open_signers(&hsm).len() == 2).await;
    for round in 0..50u8 {
        // Meanwhile the second one makes its canary signature.
        sign(&token, &key, &[round]).await.unwrap();
    }
    let (signed, refused) = under_load(&token, &key, Duration::from_secs(4), 16, async || {
        let frozen = hsm.signers();
        for pid in &frozen {
            signal("-STOP", *pid);
        }
        let took = eventually("all signers are replaced", PATIENCE, async || {
            let now = hsm.signers();
            now.len() == 2 && !now.iter().any(|pid| frozen.contains(pid))
        })
        .await;
        println!("SIGSTOP of all signers: replaced after {took:?}");
        sleep(Duration::from_millis(100)).await;
    })
    .await;
    println!("SIGSTOP of all under load: {signed} signed, {refused} refused");
    assert!(signed > 0 && refused == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_of_a_token_makes_it_ready() {
    let hsm = SoftHsm::new("first-key");
    let token = started(hsm.config()).await;
    assert_eq!(token.state(), TokenState::NoKeys);
    hsm.keygen("first", "EC:prime256v1", "01");
    token.find("first").await.unwrap();
    eventually("ready", PATIENCE, async || matches!(token.state(), TokenState::Ready { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_notice_a_token_that_is_gone_without_a_request() {
    let hsm = SoftHsm::new("canary");
    hsm.keygen("key", "EC:prime256v1", "01");
    let token = started(TokenConfig { canary_seconds: 1, ..hsm.config() }).await;
    std::fs::rename(hsm.tokens(), hsm.directory.join("aside")).unwrap();
    std::fs::create_dir(hsm.tokens()).unwrap();
    eventually("the outage is seen", Duration::from_secs(5), async || {
        matches!(token.state(), TokenState::Away { .. })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_signatures_finish() {
    let hsm = SoftHsm::new("stopping");
    hsm.keygen("key", "rsa:4096", "01");
    let token = started(hsm.config()).await;
    let key = token.find("key").await.unwrap();
    let calls: Vec<_> = (0..8u8)
        .map(|round| {
            let (token, key) = (token.clone(), key.clone());
            tokio::spawn(async move { sign(&token, &key, &[round]).await })
        })
        .collect();
    // The supervisor has received all of them once the first is answered.
    sleep(Duration::from_millis(20)).await;
    token.clone().stop().await;
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unavailable { .. })));
    assert_eq!(hsm.signers(), Vec::<u32>::new());
}
