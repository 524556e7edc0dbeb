//! Serving a token: keys are found, signatures are made, and signers are replaced.

use super::*;

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
