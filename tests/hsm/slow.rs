//! HSMs that are slow and well: they are given what they can do and not killed for what waits; and such
//! that are slow and freeze.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::{faults::Disturbed, *};

/// What is measured.
const DURATION: Duration = Duration::from_secs(16);
/// Of what the HSM could sign in that time, at least.
const SHARE_PERCENT: usize = 80;

/// A slow HSM and those who want signatures.
struct Row {
    name: &'static str,
    /// What each call of `C_Sign` is told.
    order: &'static str,
    one_ms: u64,
    /// Signatures that it makes at a time, over all.
    at_once: usize,
    processes: usize,
    sessions: usize,
    callers: usize,
}

const ROWS: [Row; 6] = [
    Row {
        name: "slow-1500",
        order: "C_Sign delay 1500",
        one_ms: 1_500,
        at_once: 2,
        processes: 1,
        sessions: 2,
        callers: 16,
    },
    Row {
        name: "slow-850",
        order: "C_Sign in-turn 850",
        one_ms: 850,
        at_once: 1,
        processes: 1,
        sessions: 2,
        callers: 16,
    },
    Row {
        name: "slow-400",
        order: "C_Sign in-turn 400",
        one_ms: 400,
        at_once: 1,
        processes: 1,
        sessions: 8,
        callers: 16,
    },
    Row {
        name: "slow-1000",
        order: "C_Sign delay 1000",
        one_ms: 1_000,
        at_once: 2,
        processes: 1,
        sessions: 2,
        callers: 600,
    },
    Row {
        name: "slow-four",
        order: "C_Sign in-turn 700",
        one_ms: 700,
        at_once: 1,
        processes: 4,
        sessions: 2,
        callers: 32,
    },
    Row {
        name: "slow-one",
        order: "C_Sign delay 2000",
        one_ms: 2_000,
        at_once: 1,
        processes: 1,
        sessions: 1,
        callers: 4,
    },
];

fn lost(token: &Token) -> u64 {
    token.figures().signers_lost.iter().map(|(_, count)| count).sum()
}

/// The defaults of the configuration, which promise a signature within 5 s.
fn config(disturbed: &Disturbed, row: &Row) -> TokenConfig {
    TokenConfig {
        name: row.name.to_owned(),
        processes: row.processes,
        sessions: row.sessions,
        sign_deadline_ms: 5_000,
        start_deadline_ms: 10_000,
        canary_seconds: if row.processes == 1 { 15 } else { 3_600 },
        ..disturbed.config()
    }
}

/// Callers of one token, each asking again as soon as it has an answer; how many signatures they got.
async fn signed_for(token: &Token, key: &TokenKey, callers: usize) -> usize {
    let signed = Arc::new(AtomicUsize::new(0));
    let end = Instant::now() + DURATION;
    let mut all = JoinSet::new();
    for caller in 0..callers {
        let (token, key, signed) = (token.clone(), key.clone(), Arc::clone(&signed));
        all.spawn(async move {
            for round in 0u64.. {
                let asked = Instant::now();
                if asked >= end {
                    return;
                }
                let message = [caller.to_be_bytes(), round.to_be_bytes()].concat();
                match sign(&token, &key, &message).await {
                    Ok(()) if Instant::now() <= end => drop(signed.fetch_add(1, Relaxed)),
                    Ok(()) => {}
                    Err(HsmError::Busy { .. } | HsmError::DeadlineMissed { .. }) => {
                        sleep(Duration::from_millis(100)).await;
                    }
                    Err(other) => panic!("{other:?}"),
                }
                assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
    signed.load(Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_that_is_slow_and_well_signs_what_it_can_and_loses_no_signer() {
    join_all(ROWS.map(|row| async move {
        let disturbed = Disturbed::new(row.name);
        let token = started(config(&disturbed, &row)).await;
        let key = token.find("key").await.unwrap();
        eventually("all signers are up", PATIENCE, async || {
            token.figures().signer_pids.len() == row.processes
        })
        .await;
        disturbed.tell(row.order);
        let signed = signed_for(&token, &key, row.callers).await;
        // One signer proves itself every 7.5 s, at the same pace.
        let proofs = match row.processes {
            1 => usize::try_from(DURATION.as_millis() / 7_500).unwrap(),
            _ => 0,
        };
        let could = row.at_once * usize::try_from(DURATION.as_millis()).unwrap()
            / usize::try_from(row.one_ms).unwrap()
            - proofs;
        println!("{}: {signed} of {could}", row.name);
        assert_eq!(lost(&token), 0, "{}: signers were killed", row.name);
        assert!(100 * signed >= SHARE_PERCENT * could, "{}: {signed} of {could}", row.name);
        disturbed.tell("");
        token.stop().await;
    }))
    .await;
}

/// As long as the HSM is slow, its pace explains some silence; not all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_signer_that_freezes_is_replaced_all_the_same() {
    let rows = [
        ("froze-all", "C_Sign delay 400", "C_Sign hang for-good"),
        ("froze-one", "C_Sign delay 400", "C_Sign delay 400\nC_Sign 1 hang for-good"),
        ("froze-late", "C_Sign in-turn 400", "C_Sign in-turn 400\nC_Sign 1 late hang for-good"),
    ];
    join_all(rows.map(|(name, slow, frozen)| async move {
        let disturbed = Disturbed::new(name);
        let row = Row { name, order: slow, sessions: 2, processes: 1, ..ROWS[0] };
        let token = started(config(&disturbed, &row)).await;
        let key = token.find("key").await.unwrap();
        disturbed.tell(slow);
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let (token, key) = (token.clone(), key.clone());
            callers.spawn(async move {
                loop {
                    let _ = sign(&token, &key, b"x").await;
                }
            });
        }
        sleep(Duration::from_secs(2)).await;
        assert_eq!(lost(&token), 0, "{name}");
        disturbed.tell(frozen);
        eventually("the frozen signer is killed", Duration::from_secs(10), async || {
            lost(&token) > 0
        })
        .await;
        disturbed.tell("");
        eventually("service returns", Duration::from_secs(5), async || {
            sign(&token, &key, b"y").await.is_ok()
        })
        .await;
        callers.abort_all();
        token.stop().await;
    }))
    .await;
}
