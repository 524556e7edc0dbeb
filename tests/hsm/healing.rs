//! Recovery without an operator from unexplained faults and from starts that hang.

use std::{fs, os::unix::fs::PermissionsExt};

use chancery::hsm::{LossCause, SignatureOutcome};

use super::{faults::Disturbed, *};

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_whose_canaries_fail_for_no_stated_reason_is_replaced() {
    let disturbed = Disturbed::new("no-reason");
    let token = started(TokenConfig { canary_seconds: 1, ..disturbed.config() }).await;
    let key = token.find("key").await.unwrap();
    let lost = || {
        let lost = token.figures().signers_lost;
        lost.iter().find(|(cause, _)| *cause == LossCause::Fault).unwrap().1
    };
    // As a token with a dropped connector answers, for as long as the session is the old one.
    disturbed.tell("C_Sign fail CKR_FUNCTION_FAILED");
    eventually("the signer is replaced", PATIENCE, async || lost() == 1).await;
    disturbed.tell("");
    eventually("service returns", PATIENCE, async || sign(&token, &key, b"x").await.is_ok()).await;
    let signed = token.figures().signatures;
    assert!(signed.contains(&(SignatureOutcome::Signed, 1)), "{signed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_hangs_for_good_is_given_up_long_before_its_deadline() {
    let hsm = SoftHsm::new("hung-start");
    hsm.keygen("key", "EC:prime256v1", "01");
    let program = hsm.directory.join("program");
    let hang = hsm.directory.join("hang");
    let script = format!(
        "#!/bin/sh\nif rm {} 2>/dev/null; then exec sleep 1000; fi\nexec {PROGRAM} \"$@\"\n",
        hang.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    logbook::open();
    let deadline = Duration::from_secs(120);
    let start_deadline_ms = deadline.as_millis().try_into().unwrap();
    let token = Token::start(TokenConfig { start_deadline_ms, ..hsm.config() }, program);
    token.wait_until_known(PATIENCE).await;
    let key = token.find("key").await.unwrap();
    fs::write(&hang, "").unwrap();
    signal("-KILL", hsm.signers()[0]);
    let back = async || sign(&token, &key, b"back").await.is_ok();
    let took = eventually("service returns", deadline / 2, back).await;
    println!("a start that hangs: service after {took:?}");
    assert!(!hang.exists());
}
