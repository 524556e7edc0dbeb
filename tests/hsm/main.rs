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
mod serving;
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

/// A program that records each of its starts and becomes the signer.
fn counting_program(hsm: &SoftHsm) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let (program, starts) = (hsm.directory.join("program"), hsm.directory.join("starts"));
    let text = format!("#!/bin/sh\necho start >> {}\nexec {PROGRAM} \"$@\"\n", starts.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program, starts)
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
