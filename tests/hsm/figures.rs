//! The metrics of a token during faults.

use chancery::hsm::{Breaker, BreakerState, LossCause, SignatureOutcome};

use super::{faults::Disturbed, *};

fn of<T: PartialEq + Copy>(counts: &[(T, u64)], name: T) -> u64 {
    counts.iter().find(|(other, _)| *other == name).unwrap().1
}

fn total<T>(counts: &[(T, u64)]) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_signers_and_times_are_counted() {
    let hsm = SoftHsm::new("figures");
    hsm.keygen("key", "EC:prime256v1", "01");
    let token = started(TokenConfig { processes: 2, ..hsm.config() }).await;
    let key = token.find("key").await.unwrap();
    eventually("both signers are up", PATIENCE, async || token.figures().signer_pids.len() == 2)
        .await;
    for round in 0..20u8 {
        sign(&token, &key, &[round]).await.unwrap();
    }
    let figures = token.figures();
    let mut pids = figures.signer_pids.clone();
    pids.sort_unstable();
    let mut signers = hsm.signers();
    signers.sort_unstable();
    assert_eq!(pids, signers);
    assert_eq!(of(&figures.signatures, SignatureOutcome::Signed), 20);
    assert_eq!(total(&figures.signatures), 20);
    for times in [&figures.queue_wait, &figures.signing] {
        assert_eq!(times.count, 20);
        assert!(times.at_most.is_sorted() && times.at_most.iter().all(|count| *count <= 20));
    }
    assert!(figures.signing.sum > Duration::ZERO);
    assert_eq!((figures.sessions_configured, figures.queue_max), (4, 10_000));
    assert!(figures.canary_age.is_some_and(|age| age < PATIENCE));
    assert_eq!((figures.signers_started, total(&figures.signers_lost)), (2, 0));
    assert_eq!(figures.breaker.state, BreakerState::Closed);

    signal("-KILL", pids[0]);
    eventually("the loss is counted", PATIENCE, async || {
        let figures = token.figures();
        figures.signers_started == 3 && of(&figures.signers_lost, LossCause::Ended) == 1
    })
    .await;
    assert_eq!(total(&token.figures().signers_lost), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_waits_and_work_that_is_done_shows() {
    let disturbed = Disturbed::new("gauges");
    let (token, key) = disturbed.start().await;
    disturbed.tell("C_Sign hang");
    let calls: Vec<_> = (0..8u8)
        .map(|round| {
            let (token, key) = (token.clone(), key.clone());
            tokio::spawn(async move { sign(&token, &key, &[round]).await })
        })
        .collect();
    // There is one session and no measured latency yet, so only one request is given to the signer.
    eventually("seven wait", PATIENCE, async || token.figures().queue_depth == 7).await;
    assert_eq!(token.figures().sessions_in_use, 1);
    disturbed.tell("");
    for call in calls {
        call.await.unwrap().unwrap();
    }
    eventually("nothing is left", PATIENCE, async || {
        let figures = token.figures();
        figures.queue_depth == 0 && figures.sessions_in_use == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_away_opens_the_breaker_and_its_return_closes_it() {
    let hsm = SoftHsm::new("breaker");
    hsm.keygen("key", "EC:prime256v1", "01");
    let token = started(hsm.config()).await;
    let key = token.find("key").await.unwrap();
    std::fs::rename(hsm.tokens(), hsm.directory.join("aside")).unwrap();
    std::fs::create_dir(hsm.tokens()).unwrap();
    eventually("the breaker is open", PATIENCE, async || {
        let _ = sign(&token, &key, b"x").await;
        let breaker = token.figures().breaker;
        breaker.reason.is_some_and(|reason| reason.contains("no token is labelled"))
    })
    .await;
    let asking = tokio::spawn({
        let (token, key) = (token.clone(), key.clone());
        async move {
            loop {
                // Retry-After is true: while requests come, the next start is never far.
                match sign(&token, &key, b"x").await {
                    Ok(()) => return,
                    Err(HsmError::Unavailable { retry_after_seconds: 1..=2 }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let mut states = Vec::new();
    eventually("some tries are made", PATIENCE, async || {
        let breaker = token.figures().breaker;
        assert!(breaker.reason.unwrap().contains("no token is labelled"));
        assert_eq!(breaker.next_try_in.is_some(), breaker.state == BreakerState::Open);
        if states.last() != Some(&breaker.state) {
            states.push(breaker.state);
        }
        states.len() >= 6
    })
    .await;
    // Each start has to be proven by a canary signature.
    assert!(!states.contains(&BreakerState::Closed), "{states:?}");
    assert!(token.figures().starts_failed >= 2);
    std::fs::remove_dir(hsm.tokens()).unwrap();
    std::fs::rename(hsm.directory.join("aside"), hsm.tokens()).unwrap();
    let took = eventually("service returns", Duration::from_secs(5), async || asking.is_finished());
    println!("token back: signed after {:?}", took.await);
    asking.await.unwrap();
    eventually("the breaker is closed", PATIENCE, async || {
        token.figures().breaker.state == BreakerState::Closed
    })
    .await;
    let breaker = token.figures().breaker;
    assert!(
        matches!(
            breaker,
            Breaker { state: BreakerState::Closed, reason: None, next_try_in: None, .. }
        ),
        "{breaker:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_errors_of_callers_leave_the_breaker_closed() {
    let disturbed = Disturbed::new("callers");
    let token = started(TokenConfig { canary_seconds: 3_600, ..disturbed.config() }).await;
    let key = token.find("key").await.unwrap();
    disturbed.tell("C_SignInit fail CKR_MECHANISM_INVALID");
    for _ in 0..1_000 {
        let refused = sign(&token, &key, b"x").await;
        assert!(matches!(refused, Err(HsmError::Unusable { .. })), "{refused:?}");
    }
    let figures = token.figures();
    assert_eq!(of(&figures.signatures, SignatureOutcome::Refused), 1_000);
    assert_eq!(of(&figures.faults, "caller"), 1_000);
    assert_eq!((figures.signers_started, total(&figures.signers_lost)), (1, 0));
    assert_eq!(figures.breaker.state, BreakerState::Closed);
    disturbed.tell("");
    sign(&token, &key, b"x").await.unwrap();

    // One fault of class device opens the breaker.
    disturbed.tell("C_Sign 1 fail CKR_DEVICE_ERROR");
    sign(&token, &key, b"made by the next signer").await.unwrap();
    let figures = token.figures();
    assert_eq!(of(&figures.faults, "device"), 1);
    assert_eq!(of(&figures.signers_lost, LossCause::Fault), 1);
    assert_eq!(figures.signers_started, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_without_a_class_costs_one_request() {
    let disturbed = Disturbed::new("no-class");
    let (token, key) = disturbed.start().await;
    disturbed.tell("C_Sign 1 fail CKR_FUNCTION_FAILED");
    assert!(matches!(sign(&token, &key, b"x").await, Err(HsmError::Unavailable { .. })));
    let figures = token.figures();
    assert_eq!(of(&figures.signatures, SignatureOutcome::Unavailable), 1);
    assert_eq!(of(&figures.faults, "unexpected"), 1);
    assert_eq!(figures.breaker.state, BreakerState::Closed);
}
