//! Modules that leak memory, descriptors or sessions: another signer takes over before a limit is reached,
//! and no request fails.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use chancery::hsm::RecycleCause;

use super::{faults::Disturbed, memory::resident_kb, *};

const DEADLINE: Duration = Duration::from_secs(10);

fn recycled(token: &Token, cause: RecycleCause) -> u64 {
    token.figures().signers_recycled.iter().find(|(other, _)| *other == cause).unwrap().1
}

fn lost(token: &Token) -> u64 {
    token.figures().signers_lost.iter().map(|(_, count)| count).sum()
}

/// Signs under load until several signers were replaced for `cause`. No signature may fail and no signer may
/// be lost. Returns the most memory that one used, in KiB.
async fn wear_out(
    disturbed: &Disturbed,
    config: TokenConfig,
    orders: &str,
    cause: RecycleCause,
) -> u64 {
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    disturbed.tell(orders);
    let most = AtomicU64::new(0);
    let (signed, refused) = under_load(&token, &key, DEADLINE, 8, async || {
        eventually("three signers are replaced", 2 * PATIENCE, async || {
            let resident = disturbed.hsm.signers().into_iter().map(resident_kb).max();
            most.fetch_max(resident.unwrap_or(0), Relaxed);
            recycled(&token, cause) >= 3
        })
        .await;
    })
    .await;
    println!("{cause:?}: {signed} signed, at most {most:?} KiB");
    assert_eq!((refused, lost(&token)), (0, 0), "{cause:?}, {signed} signed");
    disturbed.tell("");
    eventually("one signer is left", PATIENCE, async || disturbed.hsm.signers().len() == 1).await;
    token.stop().await;
    most.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_leaks_memory_is_replaced_before_its_limit_and_no_request_fails() {
    let disturbed = Disturbed::new("worn-memory");
    let mut config = disturbed.config();
    config.sandbox.memory_max_mb = 768;
    config.recycling.memory_mb = 256;
    let most = wear_out(&disturbed, config, "C_Sign leak 2000000", RecycleCause::Memory).await;
    // Halfway to its limit it gets no more requests.
    assert!((100_000..600_000).contains(&most), "{most} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_leaks_descriptors_is_replaced_before_its_limit_and_no_request_fails() {
    let disturbed = Disturbed::new("worn-descriptors");
    wear_out(&disturbed, disturbed.config(), "C_Sign leak-descriptor", RecycleCause::Descriptors)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_whose_sessions_stay_open_is_replaced_before_their_limit_and_no_request_fails() {
    let disturbed = Disturbed::new("worn-sessions");
    let orders = "C_GetTokenInfo count-sessions";
    disturbed.tell(orders);
    let config = TokenConfig { canary_seconds: 1, ..disturbed.config() };
    let orders = format!(
        "{orders}\nC_OpenSession limit 1000\nC_CloseSession leak\n\
         C_Sign /20 fail CKR_SESSION_HANDLE_INVALID"
    );
    wear_out(&disturbed, config, &orders, RecycleCause::Sessions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_has_signed_enough_takes_its_leave_when_the_next_one_has_signed() {
    let disturbed = Disturbed::new("worn-signatures");
    let mut config = disturbed.config();
    config.recycling.signatures = 200;
    wear_out(&disturbed, config, "", RecycleCause::Signatures).await;
    let calls = disturbed.returned();
    let ends = calls.iter().enumerate().filter(|(_, (_, function, _))| function == "C_Finalize");
    let mut gone = BTreeSet::new();
    for (at, (pid, _, code)) in ends {
        assert_eq!(code, "CKR_OK");
        assert!(gone.insert(pid), "{pid} finalises twice");
        let after = calls[at + 1..].iter().filter(|(other, ..)| other == pid).count();
        assert_eq!(after, 0, "calls after C_Finalize");
        let others = calls[..at]
            .iter()
            .filter(|(other, function, _)| function == "C_Sign" && !gone.contains(other));
        // The last one ends with the token.
        assert!(others.count() > 0 || at + 1 == calls.len(), "{pid} went before the next one");
    }
    assert!(gone.len() >= 4, "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lets_one_process_in_at_a_time_is_left_before_the_next_one_comes() {
    let disturbed = Disturbed::new("worn-alone");
    for (told, refusals) in [(true, 0), (false, 1)] {
        disturbed.tell("C_OpenSession exclusive");
        disturbed.forget();
        let mut config = disturbed.config();
        config.recycling.signatures = 50;
        config.recycling.one_at_a_time = told;
        wear_out(&disturbed, config, "C_OpenSession exclusive", RecycleCause::Signatures).await;
        let calls = disturbed.returned();
        let refused: BTreeSet<_> = calls
            .iter()
            .filter(|(_, function, code)| function == "C_OpenSession" && code != "CKR_OK")
            .map(|(pid, ..)| pid)
            .collect();
        assert_eq!(refused.len(), refusals, "{refused:?}, told: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_one_session_is_left_before_the_next_one_comes() {
    let disturbed = Disturbed::new("worn-single");
    let orders = "C_OpenSession limit 1\nC_OpenSession exclusive";
    disturbed.tell(orders);
    let mut config = disturbed.config();
    config.recycling.signatures = 50;
    wear_out(&disturbed, config, orders, RecycleCause::Signatures).await;
    let calls = disturbed.returned();
    let is_refused = |(_, function, code): &&(u32, String, String)| {
        function == "C_Initialize" && code != "CKR_OK"
    };
    assert_eq!(calls.iter().filter(is_refused).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worn_signer_serves_on_while_no_other_comes_up() {
    let disturbed = Disturbed::new("worn-needed");
    let mut config = disturbed.config();
    config.recycling.signatures = 20;
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    let signers = disturbed.hsm.signers();
    disturbed.tell("C_Initialize fail CKR_GENERAL_ERROR");
    for round in 0..100_u8 {
        sign(&token, &key, &[round]).await.unwrap();
    }
    eventually("starts fail", PATIENCE, async || token.figures().starts_failed >= 2).await;
    sign(&token, &key, b"served still").await.unwrap();
    assert!(disturbed.hsm.signers().contains(&signers[0]));
    disturbed.tell("");
    eventually("it is replaced", PATIENCE, async || !disturbed.hsm.signers().contains(&signers[0]))
        .await;
    sign(&token, &key, b"served again").await.unwrap();
    assert_eq!(lost(&token), 0);
}
