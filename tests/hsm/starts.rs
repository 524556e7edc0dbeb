//! Starts that hang for good in a call that began while the HSM was away: service does not wait for their
//! end.

use futures_util::future::join_all;

use super::{faults::Disturbed, *};

/// Limit for the return of service after that of the HSM.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Limit of the signer processes of a token with one process, while its HSM hangs.
const PROCESSES_MAX: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn service_is_back_in_time_whatever_call_of_a_start_hangs_for_good() {
    let rows = [
        ("start-initialize-5", "C_Initialize hang for-good", 5_000),
        ("start-initialize-12", "C_Initialize hang for-good", 12_000),
        ("start-initialize-14", "C_Initialize hang for-good", 14_000),
        ("start-initialize-19", "C_Initialize hang for-good", 19_000),
        ("start-takes-20", "C_Initialize delay 20000", 12_000),
        ("start-session", "C_OpenSession hang for-good", 7_000),
        ("start-login", "C_Login hang for-good", 6_000),
        ("start-listing", "C_FindObjects hang for-good", 9_000),
        ("start-signature", "C_SignInit hang for-good", 8_000),
    ];
    join_all(rows.map(|(name, order, outage_ms)| async move {
        let disturbed = Disturbed::new(name);
        let config =
            TokenConfig { name: name.to_owned(), start_deadline_ms: 10_000, ..disturbed.config() };
        let token = started(config).await;
        let key = token.find("key").await.unwrap();
        disturbed.tell(order);
        disturbed.hsm.signers().into_iter().for_each(|pid| signal("-KILL", pid));
        let end = Instant::now() + Duration::from_millis(outage_ms);
        while Instant::now() < end {
            let _ =
                tokio::time::timeout(Duration::from_millis(200), sign(&token, &key, b"x")).await;
            let processes = disturbed.hsm.signers().len();
            assert!(processes <= PROCESSES_MAX, "{name}: {processes} signers");
        }
        disturbed.tell("");
        let took = eventually("service is back", BACK_WITHIN, async || {
            let asked = tokio::time::timeout(Duration::from_millis(200), sign(&token, &key, b"y"));
            matches!(asked.await, Ok(Ok(())))
        })
        .await;
        println!("{name}: back after {took:?}");
        eventually("one signer is left", PATIENCE, async || disturbed.hsm.signers().len() == 1)
            .await;
        token.stop().await;
    }))
    .await;
}
