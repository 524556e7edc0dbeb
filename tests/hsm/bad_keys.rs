//! Broken keys beside working ones: a fault of one key must cost the others as little as possible.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::{faults::Disturbed, *};

/// Minimal throughput on a working key while broken keys are in quarantine, compared with the throughput
/// before.
const SHARE_PERCENT: usize = 50;
/// Length of each measurement.
const DURATION: Duration = Duration::from_secs(4);

struct Row {
    name: &'static str,
    order: &'static str,
    bad: usize,
    /// Signers that may be lost during the measurement, because some probes cost one each.
    lost_max: u64,
    /// Signers that may be lost until all broken keys are in quarantine.
    lost_before: u64,
}

const fn row(
    name: &'static str,
    order: &'static str,
    bad: usize,
    lost_max: u64,
    lost_before: u64,
) -> Row {
    Row { name, order, bad, lost_max, lost_before }
}

const ROWS: [Row; 7] = [
    row("bad-general", "C_SignInit key=bad-* fail CKR_GENERAL_ERROR", 3, 0, 6),
    row("bad-device", "C_Sign key=bad-* fail CKR_DEVICE_ERROR", 3, 0, 6),
    row("bad-vendor", "C_Sign key=bad-* fail 0x80000042", 3, 0, 6),
    row("bad-wrong", "C_Sign key=bad-* flip", 3, 0, 6),
    row("bad-crash", "C_Sign key=bad-* segfault", 3, 4, 15),
    row("bad-hang", "C_SignInit key=bad-* hang for-good", 3, 3, 12),
    row("bad-ten", "C_Sign key=bad-* fail CKR_DEVICE_ERROR", 10, 0, 20),
];

fn lost(token: &Token) -> u64 {
    token.figures().signers_lost.iter().map(|(_, count)| count).sum()
}

/// Requests signatures until it is told to stop, and reports those that do not verify.
async fn ask(
    token: Token,
    label: String,
    stop: Arc<AtomicBool>,
    signed: Arc<AtomicUsize>,
    pause: Duration,
) {
    for round in 0u64.. {
        if stop.load(Relaxed) {
            return;
        }
        if let Ok(key) = token.find(&label).await {
            let message = round.to_be_bytes();
            let deadline = tokio::time::Instant::now() + token.sign_deadline();
            match token.sign_for(&label, &key, &message, deadline).await {
                Ok(made) if key.public_key.verifies(&message, &made.signature) => {
                    signed.fetch_add(1, Relaxed);
                }
                Ok(made) => token.report_bad_signature(&key, made.maker),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
        sleep(pause).await;
    }
}

async fn count_during(signed: &AtomicUsize, time: Duration) -> usize {
    let before = signed.load(Relaxed);
    sleep(time).await;
    signed.load(Relaxed) - before
}

async fn a_row(row: Row) {
    let disturbed = Disturbed::new(row.name);
    let config = TokenConfig {
        name: row.name.to_owned(),
        processes: 2,
        sessions: 2,
        sign_deadline_ms: 2_000,
        canary_seconds: 2,
        ..disturbed.config()
    };
    let token = started(config).await;
    let labels: Vec<_> = (0..row.bad).map(|number| format!("bad-{number}")).collect();
    for (number, label) in labels.iter().enumerate() {
        let id = u8::try_from(100 + number).unwrap();
        token.generate(label, &[id], KeyType::P256).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (good, bad) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut callers = JoinSet::new();
    let mut start = |label: &str, signed: &Arc<AtomicUsize>, pause| {
        let (token, stop, signed) = (token.clone(), Arc::clone(&stop), Arc::clone(signed));
        callers.spawn(ask(token, label.to_owned(), stop, signed, Duration::from_millis(pause)));
    };
    (0..4).for_each(|_| start("key", &good, 2));
    labels.iter().for_each(|label| start(label, &bad, 50));
    let undisturbed = count_during(&good, DURATION).await;
    assert_eq!(lost(&token), 0, "{}", row.name);

    // The keys are quarantined one after the other, and then the fault costs nothing more.
    disturbed.tell(row.order);
    eventually("all bad keys are refused", PATIENCE, async || {
        let found = join_all(labels.iter().map(|label| token.find(label))).await;
        found.iter().all(Result::is_err)
    })
    .await;
    let before = lost(&token);
    assert!(before <= row.lost_before, "{}: {before} signers lost", row.name);
    let disturbed_count = count_during(&good, DURATION).await;
    let lost_meanwhile = lost(&token) - before;
    assert!(lost_meanwhile <= row.lost_max, "{}: {lost_meanwhile} signers lost", row.name);
    assert!(token.state().is_ready(), "{}: {:?}", row.name, token.state());
    for entry in token.list().await.unwrap() {
        assert_eq!(entry.public_key.is_ok(), entry.label == "key", "{}: {entry:?}", row.name);
    }

    // Each key is released once it signs again.
    disturbed.tell("");
    eventually("the keys are released", PATIENCE, async || {
        let found = join_all(labels.iter().map(|label| token.find(label))).await;
        found.iter().all(Result::is_ok)
    })
    .await;
    let signed_before = bad.load(Relaxed);
    eventually("they sign", PATIENCE, async || bad.load(Relaxed) > signed_before + 2 * row.bad)
        .await;
    // Measured twice, because other tests use the machine more at some times than at others.
    let undisturbed = undisturbed.min(count_during(&good, DURATION).await);
    println!(
        "{}: {disturbed_count} of {undisturbed}, {before} and {lost_meanwhile} signers lost",
        row.name
    );
    assert!(
        100 * disturbed_count >= SHARE_PERCENT * undisturbed,
        "{}: {disturbed_count} of {undisturbed}",
        row.name
    );
    stop.store(true, Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    token.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_follows_some_keys_costs_the_others_next_to_nothing() {
    // In parallel, because these tests mostly wait.
    let [one, two, three, four, rest @ ..] = ROWS;
    join_all([one, two, three, four].map(a_row)).await;
    join_all(rest.map(a_row)).await;
}

/// A private key with the public object of another pair, as after an import that failed halfway.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_never_signed_proves_itself_before_it_is_believed() {
    let disturbed = Disturbed::new("unseen");
    disturbed.hsm.keygen("good", "EC:prime256v1", "02");
    disturbed.hsm.keygen("wrong", "EC:prime256v1", "03");
    disturbed.tell("C_Sign key=wrong flip");
    // Named so that it is not the first choice for canary signatures.
    let config =
        TokenConfig { canary_label: Some("key".to_owned()), processes: 2, ..disturbed.config() };
    let token = started(config).await;
    let (good, wrong) = (token.find("good").await.unwrap(), token.find("wrong").await.unwrap());
    token.prove_key(&good).await.unwrap();
    let Err(HsmError::Unusable { reason }) = token.prove_key(&wrong).await else {
        panic!("a key that signs for another was believed")
    };
    assert!(reason.contains("do not verify"), "{reason}");
    assert!(matches!(token.find("wrong").await, Err(HsmError::Unusable { .. })));
    sign(&token, &good, b"x").await.unwrap();
    assert_eq!(lost(&token), 0);
    let listed = token.list().await.unwrap();
    let listed: Vec<_> = listed.iter().filter(|entry| entry.public_key.is_ok()).collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    disturbed.tell("");
    eventually("it is released when it signs", PATIENCE, async || {
        token.prove_key(&wrong).await.is_ok()
    })
    .await;
}

/// With two signers, the one that made the last signature is often not the one that made the wrong signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_costs_the_signer_that_made_it() {
    let disturbed = Disturbed::new("maker");
    disturbed.hsm.keygen("other", "EC:prime256v1", "02");
    let config = TokenConfig {
        processes: 2,
        canary_seconds: 3_600,
        canary_label: Some("other".to_owned()),
        ..disturbed.config()
    };
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    eventually("both signers are up", PATIENCE, async || token.figures().signer_pids.len() == 2)
        .await;
    disturbed.tell("C_Sign delay 200");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let one = token.sign_for("", &key, b"one", deadline);
    let two = async {
        sleep(Duration::from_millis(50)).await;
        token.sign_for("", &key, b"two", deadline).await
    };
    let (one, two) = tokio::join!(one, two);
    let (one, two) = (one.unwrap().maker, two.unwrap().maker);
    assert_ne!(one, two);
    disturbed.tell("");
    // The second one has made the last signature.
    token.report_bad_signature(&key, one);
    let mut makers = Vec::new();
    for round in 0..20u8 {
        makers.push(token.sign_for("", &key, &[round], deadline).await.unwrap().maker);
    }
    assert!(makers.contains(&two) && !makers.contains(&one), "{one}, {two}: {makers:?}");
}
