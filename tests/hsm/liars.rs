//! Signers that break the protocol: the front loses nothing but that signer.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

/// Modes of tests/hsm/liar.py, and whether the front must detect the lie at once, so that it serves no caller
/// with that signer.
const LIES: [(&str, bool); 19] = [
    ("noise", true),
    ("huge", true),
    ("half", true),
    ("empty", true),
    ("unasked", true),
    ("twice", true),
    ("ready again", true),
    ("refused late", true),
    ("flood of answers", true),
    ("flood of readiness", true),
    ("flood of notes", true),
    ("flood of keys", true),
    ("keys without end", true),
    ("strange", true),
    ("gone", true),
    ("deaf", true),
    ("wrong bits", false),
    ("drop by drop", false),
    ("chatter", false),
];
/// Limit of a front's resident memory (KiB). The largest frame has 8 MiB.
const MEMORY_KB_MAX: u64 = 64 * 1024;
/// Limit of what a front logs during a lie (octets).
const LOG_BYTES_MAX: u64 = 1 << 20;

fn liar(hsm: &SoftHsm, mode: &str) -> (TokenConfig, PathBuf) {
    let program = hsm.directory.join("liar");
    fs::write(&program, include_str!("liar.py")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = TokenConfig { sign_deadline_ms: 2_000, ..hsm.config() };
    let honest = hsm.directory.join("honest").to_str().unwrap().to_owned();
    config.environment.extend([
        ("LIAR_MODE".to_owned(), mode.to_owned()),
        ("LIAR_HONEST".to_owned(), honest),
        ("LIAR_SIGNER".to_owned(), PROGRAM.to_owned()),
    ]);
    (config, program)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test of its own: the front that the next test starts for each lie"]
async fn front_that_is_lied_to() {
    let (Ok(directory), Ok(mode)) =
        (std::env::var("CHANCERY_TEST_FRONT"), std::env::var("CHANCERY_TEST_LIE"))
    else {
        return;
    };
    logbook::open();
    let hsm = std::mem::ManuallyDrop::new(SoftHsm { directory: directory.into() });
    let (config, program) = liar(&hsm, &mode);
    let deadline = Duration::from_millis(config.sign_deadline_ms) + Duration::from_millis(500);
    let token = Token::start(config, program);
    token.wait_until_known(PATIENCE).await;
    let begin = Instant::now();
    let mut signed = 0;
    while begin.elapsed() < Duration::from_millis(1_500) {
        let asked = Instant::now();
        if let Ok(key) = token.find("key").await {
            match made(&token, &key, b"x").await {
                Ok(made) if key.public_key.verifies(b"x", &made.signature) => signed += 1,
                // Detected by the caller, which reports it.
                Ok(made) => token.report_bad_signature(&key, made.maker),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        assert!(asked.elapsed() < 2 * deadline, "a caller waited for {:?}", asked.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    println!("signed while lied to: {signed}");
    fs::write(hsm.directory.join("honest"), "").unwrap();
    eventually("an honest signer serves", PATIENCE, async || match token.find("key").await {
        Ok(key) => sign(&token, &key, b"honest").await.is_ok(),
        Err(_) => false,
    })
    .await;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
    token.stop().await;
}

#[test]
fn whatever_a_signer_says_the_front_serves_on_and_does_not_grow() {
    // In parallel, because fronts mostly wait.
    std::thread::scope(|scope| {
        for lies in LIES.chunks(LIES.len().div_ceil(4)) {
            scope.spawn(|| lies.iter().for_each(|(mode, seen)| lie_to_a_front(mode, *seen)));
        }
    });
}

fn lie_to_a_front(mode: &str, seen_through: bool) {
    let hsm = SoftHsm::new(&format!("liar-{}", mode.replace(' ', "-")));
    hsm.keygen("key", "EC:prime256v1", "01");
    let log = hsm.directory.join("log");
    let front = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "liars::front_that_is_lied_to"])
        .env("CHANCERY_TEST_FRONT", &hsm.directory)
        .env("CHANCERY_TEST_LIE", mode)
        .stdout(fs::File::create(&log).unwrap())
        .stderr(fs::File::options().append(true).open(&log).unwrap())
        .status()
        .unwrap();
    let length = fs::metadata(&log).unwrap().len();
    let text = fs::read_to_string(&log).unwrap();
    let shown = &text[text.len().saturating_sub(8_000)..];
    assert!(front.success() && !text.contains("panicked"), "{mode}: {front}\n{shown}");
    assert!(length < LOG_BYTES_MAX, "{mode}: {length} octets of log\n{shown}");
    let number = |label: &str| -> u64 {
        let line = text.lines().find_map(|line| line.split_once(label)).unwrap().1;
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let (memory, signed) = (number("VmHWM:"), number("signed while lied to: "));
    println!("{mode}: {signed} signed, {memory} KiB, {length} octets of log");
    assert!(memory < MEMORY_KB_MAX, "{mode}: {memory} KiB");
    // One canary, or one answer before the lie, is all that is accepted.
    assert!(!seen_through || signed < 5, "{mode}: {signed} signed");
    assert!(mode != "drop by drop" && mode != "chatter" || signed > 0, "{mode}\n{shown}");
    let starts = text.matches("signer started").count();
    assert!(starts <= 12, "{mode}: {starts} starts in a few seconds");
}
