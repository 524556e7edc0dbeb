//! A module that leaks memory: the limit of its process, and what happens when it is reached.

use std::fs;

use super::{faults::Disturbed, *};

/// Resident memory of a process (KiB).
pub(super) fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_leaks_is_replaced_at_its_limit_and_every_signature_is_made() {
    let disturbed = Disturbed::new("leak");
    let mut config = TokenConfig { canary_seconds: 1, ..disturbed.config() };
    config.sandbox.memory_max_mb = 192;
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    let before = disturbed.hsm.signers();
    disturbed.tell("C_Sign leak 20000000");
    let mut most = 0;
    let mut signed = 0;
    let begin = Instant::now();
    while signed < 40 {
        assert!(begin.elapsed() < 4 * PATIENCE, "{signed} of 40 signatures");
        match sign(&token, &key, b"leaky").await {
            Ok(()) => signed += 1,
            Err(HsmError::Busy { .. } | HsmError::Unavailable { .. }) => {
                sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("not a clean error: {error:?}"),
        }
        most = most.max(disturbed.hsm.signers().into_iter().map(resident_kb).max().unwrap_or(0));
    }
    println!("40 signatures that leak 20 MB each: at most {most} KiB, {:?}", begin.elapsed());
    assert!(most < 256 * 1024, "{most} KiB");
    assert_ne!(disturbed.hsm.signers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_without_memory_is_replaced_though_it_answers() {
    let disturbed = Disturbed::new("no-memory");
    let token = started(TokenConfig { canary_seconds: 1, ..disturbed.config() }).await;
    let key = token.find("key").await.unwrap();
    let before = disturbed.hsm.signers();
    disturbed.tell("C_Sign 1 fail CKR_HOST_MEMORY");
    eventually("the signer is replaced", PATIENCE, async || {
        let now = disturbed.hsm.signers();
        now.len() == 1 && now != before
    })
    .await;
    sign(&token, &key, b"with memory").await.unwrap();
}
