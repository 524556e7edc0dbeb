//! Tokens that lack the one or the other mechanism.

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

    // With a key that can sign, the others are listed with the reason.
    disturbed.hsm.keygen("rsa", "rsa:2048", "02");
    let token = started(disturbed.config()).await;
    sign_all(&token, &["rsa"]).await;
    let Err(HsmError::Unusable { reason }) = token.find("key").await else {
        panic!("expected an unusable key");
    };
    assert!(reason.contains("CKM_ECDSA or CKM_ECDSA_SHA256"), "{reason}");
}
