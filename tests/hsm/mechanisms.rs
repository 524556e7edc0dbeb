//! Tokens that lack a mechanism.

use super::*;

const EC: [(&str, &str); 3] =
    [("EC:prime256v1", "aa"), ("EC:secp384r1", "bb"), ("EC:secp521r1", "cc")];
const HASHING_EC: &str = "C_GetMechanismList offer CKM_ECDSA_SHA256\n\
                          C_GetMechanismList offer CKM_ECDSA_SHA384\n\
                          C_GetMechanismList offer CKM_ECDSA_SHA512\n";

async fn sign_all(token: &Token, labels: &[&str]) {
    assert!(token.state().is_ready(), "{:?}", token.state());
    for label in labels {
        let key = token.find(label).await.unwrap();
        for length in [0, 1, 32, 2_000, 8 * 1024] {
            sign(token, &key, &vec![7; length]).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_signs_with_either_form_of_ecdsa() {
    let disturbed = Disturbed::new("ecdsa-forms");
    for (kind, label) in EC {
        disturbed.hsm.keygen(label, kind, label);
    }
    let labels = EC.map(|(_, label)| label);
    for orders in [
        HASHING_EC.to_owned(),
        format!("{HASHING_EC}C_GetMechanismList hide CKM_ECDSA"),
        "C_GetMechanismList hide CKM_ECDSA_SHA256".to_owned(),
    ] {
        disturbed.tell(&orders);
        let token = started(disturbed.config()).await;
        sign_all(&token, &labels).await;
        let made = token.generate("made", &[9; 20], KeyType::P256).await.unwrap();
        sign(&token, &made, b"x").await.unwrap();
        token.destroy(&made).await.unwrap();
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hashes_takes_no_long_message() {
    let disturbed = Disturbed::new("long");
    disturbed.tell(&format!("{HASHING_EC}C_GetMechanismList hide CKM_ECDSA"));
    let token = started(disturbed.config()).await;
    let key = token.find("key").await.unwrap();
    let Err(HsmError::Unusable { reason }) = sign(&token, &key, &[7; 8 * 1024 + 1]).await else {
        panic!("expected a refusal");
    };
    assert!(reason.contains("8192 octets"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_rsa_make_the_same_signature() {
    let disturbed = Disturbed::new("rsa-forms");
    disturbed.hsm.keygen("rsa", "rsa:2048", "02");
    let mut made = Vec::new();
    for hidden in ["CKM_SHA256_RSA_PKCS", "CKM_RSA_PKCS"] {
        disturbed.tell(&format!("C_GetMechanismList hide {hidden}"));
        let token = started(disturbed.config()).await;
        sign_all(&token, &["rsa", "key"]).await;
        let key = token.find("rsa").await.unwrap();
        made.push(token.sign(&key, b"the same").await.unwrap());
        token.stop().await;
    }
    assert!(made[0] == made[1], "two signatures of PKCS#1 v1.5 over one message differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_any_form_is_refused_and_its_mechanisms_are_named() {
    let disturbed = Disturbed::new("no-form");
    disturbed.tell("C_GetMechanismList hide CKM_ECDSA");
    let token = started(disturbed.config()).await;
    let TokenState::Away { reason } = token.state() else { panic!("{:?}", token.state()) };
    assert!(reason.contains("does not offer CKM_ECDSA or CKM_ECDSA_SHA256"), "{reason}");
    token.stop().await;

    // When one key can sign, the others are listed with the reason.
    disturbed.hsm.keygen("rsa", "rsa:2048", "02");
    let token = started(disturbed.config()).await;
    sign_all(&token, &["rsa"]).await;
    let Err(HsmError::Unusable { reason }) = token.find("key").await else {
        panic!("expected an unusable key");
    };
    assert!(reason.contains("CKM_ECDSA or CKM_ECDSA_SHA256"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_offers_is_told_with_the_sizes_of_keys_used_or_not() {
    let disturbed = Disturbed::new("offers");
    disturbed.tell("C_GetMechanismList hide CKM_SHA384_RSA_PKCS_PSS");
    let token = started(disturbed.config()).await;
    let offers: Vec<_> = token.facts().unwrap().offers.iter().map(ToString::to_string).collect();
    for wanted in ["CKM_RSA_PKCS_PSS", "CKM_SHA256_RSA_PKCS_PSS", "CKM_SHA512_RSA_PKCS_PSS"] {
        assert!(offers.contains(&format!("{wanted} (512 to 16384)")), "{offers:?}");
    }
    assert!(!offers.iter().any(|offer| offer.contains("SHA384_RSA_PKCS_PSS")), "{offers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_local_says_nothing_other_attributes_are_believed_and_no_others_lie() {
    let disturbed = Disturbed::new("quirk-local");
    let nss = vendor("Mozilla Foundation", "NSS 3");
    let lie = |attribute| format!("C_GetAttributeValue lie {attribute} 00\n");
    for (vendor, lie, made) in [
        (nss.as_str(), lie("CKA_LOCAL"), true),
        (nss.as_str(), lie("CKA_ALWAYS_SENSITIVE"), false),
        (nss.as_str(), lie("CKA_NEVER_EXTRACTABLE"), false),
        ("", lie("CKA_LOCAL"), false),
    ] {
        disturbed.tell(&format!("{vendor}{lie}"));
        let token = started(disturbed.config()).await;
        assert_eq!(token.facts().unwrap().local_says_nothing, !vendor.is_empty());
        let key = token.generate("made", &[9; 20], KeyType::P256).await;
        assert_eq!(key.is_ok(), made, "{vendor}{lie}: {key:?}");
        if let Ok(key) = key {
            token.destroy(&key).await.unwrap();
        }
        token.stop().await;
    }
}

fn vendor(manufacturer: &str, model: &str) -> String {
    format!("C_GetTokenInfo manufacturer {manufacturer}\nC_GetTokenInfo model {model}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_without_an_attribute_is_not_asked_for_it() {
    let disturbed = Disturbed::new("quirk-attributes");
    let lie = "C_GetAttributeValue lie CKA_ALWAYS_AUTHENTICATE 01";
    for (vendor, usable) in [
        (vendor("SafeNet", "LunaSA 7.7.0"), true),
        (vendor("Cavium", "NITROX"), true),
        (vendor("Marvell Semiconductors", "LS2"), true),
        (vendor("SafeNet", "eToken"), false),
    ] {
        disturbed.tell(&format!("{vendor}{lie}"));
        let token = started(disturbed.config()).await;
        assert_eq!(token.find("key").await.is_ok(), usable, "{vendor}");
        token.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_with_few_sessions_is_not_asked_for_more() {
    let disturbed = Disturbed::new("quirk-sessions");
    disturbed.tell(&vendor("Yubico (www.yubico.com)", "YubiHSM"));
    let config = TokenConfig { sessions: 20, ..disturbed.config() };
    let token = started(config).await;
    assert!(token.state().is_ready(), "{:?}", token.state());
    // The keeper's session, those that sign, and one that is opened to leave room for changes.
    assert_eq!(disturbed.calls("C_OpenSession"), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_calls_a_burst_a_bad_argument_is_only_busy() {
    let disturbed = Disturbed::new("quirk-burst");
    let burst = "C_OpenSession 6- fail CKR_ARGUMENTS_BAD";
    disturbed.tell(&format!("{}{burst}", vendor("Cavium", "NITROX")));
    let config = TokenConfig { sessions: 8, ..disturbed.config() };
    let token = started(config.clone()).await;
    let key = token.find("key").await.unwrap();
    sign(&token, &key, b"with the sessions that there are").await.unwrap();
    token.stop().await;
    // With a token of another vendor it is a fault.
    disturbed.tell(burst);
    let token = started(config).await;
    assert!(matches!(token.state(), TokenState::Away { .. }), "{:?}", token.state());
}
