//! Generating and destroying keys: visible at once, one at a time, never retried.

use chancery::hsm::ChangeError;

use super::{faults::Disturbed, *};

const ID: [u8; 20] = [0xab; 20];

/// The private keys with a label, as another tool sees them.
fn on_token(hsm: &SoftHsm, label: &str) -> usize {
    objects(hsm, "privkey", label)
}

/// The public keys with a label.
fn public_keys(hsm: &SoftHsm, label: &str) -> usize {
    objects(hsm, "pubkey", label)
}

fn objects(hsm: &SoftHsm, kind: &str, label: &str) -> usize {
    let output = Command::new("pkcs11-tool")
        .args(["--module", MODULE, "--token-label", "test", "--login", "--pin", PIN])
        .args(["--list-objects", "--type", kind])
        .env("SOFTHSM2_CONF", hsm.conf())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.trim().strip_prefix("label:").is_some_and(|text| text.trim() == label))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_made_signs_at_once_and_is_destroyed_for_all_signers() {
    let hsm = SoftHsm::new("made");
    let token = started(TokenConfig { processes: 2, ..hsm.config() }).await;
    eventually("both signers are up", PATIENCE, async || open_signers(&hsm).len() == 2).await;
    let signers = hsm.signers();
    for (number, key_type) in (0u8..).zip(KeyType::ALL) {
        let label = format!("acme.kms.{}", key_type.name());
        let begin = Instant::now();
        let key = token.generate(&label, &[number; 20], key_type).await.unwrap();
        println!("{key_type} made in {:?}", begin.elapsed());
        assert_eq!(key.public_key.key_type(), key_type);
        assert!(!token.is_extractable(&key));
        // At once in the catalogue, and usable by both signers.
        assert_eq!(token.find(&label).await, Ok(key.clone()));
        let signing = (0..16u8).map(|round| {
            let (token, key) = (token.clone(), key.clone());
            tokio::spawn(async move { sign(&token, &key, &[round]).await })
        });
        for signed in signing.collect::<Vec<_>>() {
            signed.await.unwrap().unwrap();
        }
        let again = token.generate(&label, &[99; 20], key_type).await;
        assert_eq!(again, Err(ChangeError::Taken), "the label");
        let again = token.generate("acme.kms.other", &[number; 20], key_type).await;
        assert_eq!(again, Err(ChangeError::Taken), "the id");
        token.destroy(&key).await.unwrap();
        assert_eq!(token.find(&label).await, Err(HsmError::Missing));
        for round in 0..8u8 {
            assert_eq!(sign(&token, &key, &[round]).await, Err(HsmError::Missing));
        }
        assert_eq!(token.destroy(&key).await, Err(ChangeError::Missing));
        assert_eq!((on_token(&hsm, &label), public_keys(&hsm, &label)), (0, 0));
    }
    assert_eq!(hsm.signers(), signers, "nobody was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_make_one_key() {
    let hsm = SoftHsm::new("fifty");
    let token = started(TokenConfig { processes: 2, ..hsm.config() }).await;
    let making = (0..50).map(|_| {
        let token = token.clone();
        tokio::spawn(async move { token.generate("one", &ID, KeyType::P256).await })
    });
    let mut made = 0;
    for result in making.collect::<Vec<_>>() {
        match result.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error, ChangeError::Taken),
        }
    }
    assert_eq!((made, on_token(&hsm, "one")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_on_the_token() {
    let disturbed = Disturbed::new("lost");
    let (token, _) = disturbed.start().await;
    // The module makes the key and then returns an error.
    disturbed.tell("C_GenerateKeyPair 1 late CKR_DEVICE_ERROR");
    let key = token.generate("late", &ID, KeyType::P256).await.unwrap();
    sign(&token, &key, b"made once").await.unwrap();
    assert_eq!(on_token(&disturbed.hsm, "late"), 1);
    assert_eq!(disturbed.calls("C_GenerateKeyPair"), 1);
    // The module makes no key and returns an error.
    disturbed.tell("C_GenerateKeyPair 1 fail CKR_DEVICE_ERROR");
    let none = token.generate("none", &[1; 20], KeyType::P256).await;
    assert!(matches!(none, Err(ChangeError::Failed(HsmError::Unavailable { .. }))), "{none:?}");
    assert_eq!(on_token(&disturbed.hsm, "none"), 0);
    assert_eq!(disturbed.calls("C_GenerateKeyPair"), 2);
    // The module destroys the private half and then returns an error.
    disturbed.tell("C_DestroyObject 1 late CKR_FUNCTION_FAILED");
    token.destroy(&key).await.unwrap();
    assert_eq!((on_token(&disturbed.hsm, "late"), public_keys(&disturbed.hsm, "late")), (0, 1));
    // The public half that is left does not prevent another key of the same name.
    token.generate("late", &ID, KeyType::P256).await.unwrap();
    assert_eq!((on_token(&disturbed.hsm, "late"), public_keys(&disturbed.hsm, "late")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_hangs_after_its_work_is_killed_and_the_key_is_found() {
    let disturbed = Disturbed::new("hangs");
    let token = started(TokenConfig { generate_deadline_ms: 2_000, ..disturbed.config() }).await;
    disturbed.forget();
    let before = disturbed.hsm.signers();
    disturbed.tell("C_GenerateKeyPair 1 late hang");
    let begin = Instant::now();
    let key = token.generate("late", &ID, KeyType::P256).await.unwrap();
    println!("hung after its work: found after {:?}", begin.elapsed());
    sign(&token, &key, b"made once").await.unwrap();
    assert_eq!(disturbed.calls("C_GenerateKeyPair"), 1);
    assert_ne!(disturbed.hsm.signers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_busy_making_a_key_is_not_taken_for_frozen() {
    let disturbed = Disturbed::new("busy");
    let config = TokenConfig { sign_deadline_ms: 1_000, canary_seconds: 1, ..disturbed.config() };
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    let signers = disturbed.hsm.signers();
    disturbed.tell("C_GenerateKeyPair hang");
    let making = tokio::spawn({
        let token = token.clone();
        async move { token.generate("slow", &ID, KeyType::P256).await }
    });
    sleep(Duration::from_secs(3)).await;
    assert!(!making.is_finished());
    // Signing goes on during the change.
    sign(&token, &key, b"meanwhile").await.unwrap();
    disturbed.tell("");
    making.await.unwrap().unwrap();
    assert_eq!(disturbed.hsm.signers(), signers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_what_was_asked_for_is_destroyed_and_refused() {
    let disturbed = Disturbed::new("lies");
    // No canary signature, which would consume an order to the module.
    let token = started(TokenConfig { canary_seconds: 3_600, ..disturbed.config() }).await;
    for name in
        ["CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_NEVER_EXTRACTABLE", "CKA_LOCAL", "CKA_SIGN"]
    {
        disturbed.tell(&format!("C_GetAttributeValue lie {name}"));
        let refused = token.generate("liar", &ID, KeyType::P256).await;
        disturbed.tell("");
        let Err(ChangeError::Rejected(reason)) = refused else { panic!("{name}: {refused:?}") };
        assert!(reason.contains(name) && reason.ends_with("destroyed"), "{reason}");
        assert_eq!((on_token(&disturbed.hsm, "liar"), public_keys(&disturbed.hsm, "liar")), (0, 0));
    }
    // A key that is listed and cannot sign, as a crash leaves one.
    eventually("the canary has signed", PATIENCE, async || {
        token.list().await.is_ok() && matches!(token.state(), TokenState::Ready { .. })
    })
    .await;
    let signers = disturbed.hsm.signers();
    disturbed.tell("C_Sign 1 fail CKR_GENERAL_ERROR");
    let refused = token.generate("liar", &ID, KeyType::P256).await;
    assert!(matches!(refused, Err(ChangeError::Rejected(_))), "{refused:?}");
    assert_eq!((on_token(&disturbed.hsm, "liar"), public_keys(&disturbed.hsm, "liar")), (0, 0));
    assert_eq!(disturbed.hsm.signers(), signers);
    // The token changes the label, as tokens do that truncate it.
    disturbed.tell("C_GetAttributeValue lie CKA_LABEL");
    let refused = token.generate("liar", &ID, KeyType::P256).await;
    disturbed.tell("");
    assert_eq!(refused, Err(ChangeError::LabelTooLong(4)));
    // A key that makes wrong signatures. Wait until the listings made under the last order are over.
    eventually("the canary has signed", PATIENCE, async || {
        token.list().await.is_ok() && matches!(token.state(), TokenState::Ready { .. })
    })
    .await;
    disturbed.tell("C_Sign 1 flip");
    let refused = token.generate("liar", &ID, KeyType::P256).await;
    assert!(matches!(refused, Err(ChangeError::Rejected(_))), "{refused:?}");
    assert_eq!((on_token(&disturbed.hsm, "liar"), public_keys(&disturbed.hsm, "liar")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_token_cannot_do_is_said_so() {
    let disturbed = Disturbed::new("cannot");
    let (token, _) = disturbed.start().await;
    let signers = disturbed.hsm.signers();
    disturbed.tell("C_GenerateKeyPair 1 fail CKR_MECHANISM_INVALID");
    let refused = token.generate("new", &ID, KeyType::P521).await;
    assert_eq!(refused, Err(ChangeError::Unsupported("key type secp521r1".to_owned())));
    token.generate("new", &ID, KeyType::P521).await.unwrap();
    assert_eq!(disturbed.hsm.signers(), signers);
}
