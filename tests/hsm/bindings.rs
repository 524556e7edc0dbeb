//! Pairing of public and private keys whose attributes the token hides, truncates or lacks.

use std::fs;

use chancery::hsm::StoredKey;

use super::*;

fn record(key: &TokenKey) -> Vec<StoredKey> {
    let spki = key.public_key.spki_der().to_vec();
    vec![StoredKey { label: key.label.clone(), id: key.id.clone(), spki }]
}

async fn started_with(config: TokenConfig, stored: Vec<StoredKey>) -> Token {
    logbook::open();
    let token = Token::start_with(config, PROGRAM.into(), stored);
    token.wait_until_known(PATIENCE).await;
    token
}

async fn reason(token: &Token, label: &str) -> String {
    let Err(HsmError::Unusable { reason }) = token.find(label).await else {
        panic!("expected an unusable key");
    };
    reason
}

fn delete_public_half(hsm: &SoftHsm, label: &str) {
    hsm.tool(&["--delete-object", "--type", "pubkey", "--label", label]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_public_object_is_bound_by_the_one_on_record_once_it_has_signed() {
    for (kind, label) in [("EC:secp384r1", "ec"), ("rsa:2048", "rsa")] {
        let hsm = SoftHsm::new(&format!("on-record-{label}"));
        hsm.keygen(label, kind, "02");
        hsm.keygen("other", kind, "03");
        let token = started(hsm.config()).await;
        let key = token.find(label).await.unwrap();
        let other = token.find("other").await.unwrap();
        token.stop().await;
        delete_public_half(&hsm, label);

        let token = started(hsm.config()).await;
        assert!(reason(&token, label).await.contains("unbound"), "{label}: nothing on record");
        token.stop().await;

        let token = started_with(hsm.config(), record(&key)).await;
        assert_eq!(token.find(label).await.as_ref(), Ok(&key));
        sign(&token, &key, b"bound").await.unwrap();
        token.stop().await;

        // The stored key of another pair is refused, because this private key does not sign for it.
        let mut wrong = record(&key);
        wrong[0].spki = other.public_key.spki_der().to_vec();
        let token = started_with(hsm.config(), wrong).await;
        let reason = reason(&token, label).await;
        assert!(reason.contains("unbound") && reason.contains("on record"), "{reason}");
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_object_that_is_lost_in_service_costs_nothing() {
    let hsm = SoftHsm::new("lost-half");
    hsm.keygen("key", "EC:prime256v1", "01");
    let token = started(hsm.config()).await;
    let key = token.find("key").await.unwrap();
    delete_public_half(&hsm, "key");
    assert_eq!(token.list().await.unwrap().len(), 1);
    sign(&token, &key, b"the same signer").await.unwrap();
    signal("-KILL", hsm.signers()[0]);
    sign(&token, &key, b"the next").await.unwrap();
    assert_eq!(token.find("key").await.unwrap(), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_a_token_hides_is_named_or_done_without() {
    let disturbed = Disturbed::new("hidden");
    disturbed.hsm.keygen("rsa", "rsa:2048", "02");
    // Attribute; reason why the EC key is unusable; reason why the RSA key is.
    for (attribute, ec, rsa) in [
        // They are bound by their labels.
        ("CKA_ID", None, None),
        ("CKA_KEY_TYPE", Some("CKA_KEY_TYPE"), Some("CKA_KEY_TYPE")),
        ("CKA_EC_PARAMS", Some("CKA_EC_PARAMS"), None),
        ("CKA_EC_POINT", Some("CKA_EC_POINT"), None),
        ("CKA_MODULUS", None, Some("CKA_MODULUS")),
        ("CKA_PUBLIC_EXPONENT", None, Some("CKA_PUBLIC_EXPONENT")),
        ("CKA_PUBLIC_KEY_INFO", None, None),
        ("CKA_ALWAYS_AUTHENTICATE", None, None),
        ("CKA_SIGN", None, None),
        ("CKA_EXTRACTABLE", None, None),
        ("CKA_SENSITIVE", None, None),
        ("CKA_UNIQUE_ID", None, None),
    ] {
        disturbed.tell(&format!("C_GetAttributeValue hide {attribute}"));
        let token = started(disturbed.config()).await;
        assert!(token.state().is_ready(), "{attribute}: {:?}", token.state());
        for (label, expected) in [("key", ec), ("rsa", rsa)] {
            match (token.find(label).await, expected) {
                (Ok(key), None) => {
                    sign(&token, &key, b"x").await.unwrap();
                    let hidden = attribute == "CKA_EXTRACTABLE";
                    assert_eq!(token.is_extractable(&key), hidden, "{attribute}: not promised");
                }
                (Err(HsmError::Unusable { reason }), Some(words)) => {
                    assert!(reason.contains(words), "{attribute}, {label}: {reason}");
                }
                (found, _) => panic!("{attribute}, {label}: {found:?}"),
            }
        }
        token.stop().await;
    }
    // Without labels no key can be found.
    disturbed.tell("C_GetAttributeValue hide CKA_LABEL");
    let token = started(disturbed.config()).await;
    assert_eq!(token.find("key").await, Err(HsmError::Missing));
    assert_eq!(token.list().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_in_short_batches_misses_no_key() {
    let disturbed = Disturbed::new("batches");
    for number in 2..=25 {
        disturbed.hsm.keygen(&format!("key-{number}"), "EC:prime256v1", &format!("{number:02x}"));
    }
    for batch in [1, 3, 10, 24] {
        disturbed.tell(&format!("C_FindObjects batch {batch}"));
        let token = started(disturbed.config()).await;
        let keys = token.list().await.unwrap();
        assert_eq!(keys.len(), 25, "in batches of {batch}");
        assert!(keys.iter().all(|entry| entry.public_key.is_ok()), "in batches of {batch}");
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_wants_the_pin_for_each_signature_never_meets_one() {
    let disturbed = Disturbed::new("always");
    disturbed.tell("C_GetAttributeValue lie CKA_ALWAYS_AUTHENTICATE 01");
    let mut config = disturbed.config();
    config.name = "always".to_owned();
    let token = started(config).await;
    let reason = reason(&token, "key").await;
    assert!(reason.contains("CKA_ALWAYS_AUTHENTICATE"), "{reason}");
    let listed = token.list().await.unwrap();
    assert_eq!(listed[0].public_key, Err(reason));
    assert_eq!(disturbed.calls("C_SignInit"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_is_an_alarm_and_no_reconnect() {
    let disturbed = Disturbed::new("replaced");
    let config = TokenConfig { name: "replaced".to_owned(), ..disturbed.config() };
    let token = started(config).await;
    let key = token.find("key").await.unwrap();
    logbook::of("replaced");
    let hsm = &disturbed.hsm;
    fs::rename(hsm.tokens(), hsm.directory.join("aside")).unwrap();
    fs::create_dir(hsm.tokens()).unwrap();
    hsm.init_token("test");
    let mut alarm = false;
    eventually("an alarm is raised", PATIENCE, async || {
        assert!(sign(&token, &key, b"x").await.is_err());
        alarm |= logbook::of("replaced")
            .iter()
            .any(|event| event["fields"]["alarm"] == "token_replaced" && event["level"] == "ERROR");
        alarm
    })
    .await;
    assert!(!token.state().is_ready(), "{:?}", token.state());
    assert_eq!(disturbed.calls("C_GenerateKeyPair") + disturbed.calls("C_CreateObject"), 0);
}
