use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::*;
use crate::domain::key::{KeyType, PublicKey};

fn key(label: &str) -> TokenKey {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let public_key = PublicKey::from_ec_point(KeyType::P256, pair.public_key().as_ref());
    TokenKey { label: label.to_owned(), id: vec![1], public_key: public_key.unwrap() }
}

fn is_quarantined(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Quarantined { .. })
}

#[test]
fn a_key_that_signs_is_tried_before_one_that_was_never_seen_to() {
    let now = Instant::now();
    let (well, bad) = (key("well"), key("bad"));
    let mut key_breakers = KeyBreakers::default();
    key_breakers.signed(KeyRef::to(&well).spki_sha256, now);
    // Both keys were in use when a signer ended.
    for key in [&bad, &well] {
        key_breakers.suspect(key.clone(), Blame::Crash, now);
    }
    assert_eq!(key_breakers.due(now), Some(&KeyRef::to(&well)));
    key_breakers.probing(&KeyRef::to(&well), 1, true, now);
    assert!(key_breakers.cleared(&KeyRef::to(&well), now).is_some());
    // Only the other one can be to blame now.
    key_breakers.probing(&KeyRef::to(&bad), 1, true, now);
    assert_eq!(key_breakers.lost(1, now), Some(KeyRef::to(&bad)));
    assert!(!is_quarantined(&key_breakers.failed(&KeyRef::to(&bad), Blame::Crash, now)));
    assert!(is_quarantined(&key_breakers.failed(&KeyRef::to(&bad), Blame::Crash, now)));
    assert!(key_breakers.get(&KeyRef::to(&well)).is_none());
}

#[test]
fn of_several_that_were_tried_together_none_is_blamed_and_each_is_tried_alone() {
    let now = Instant::now();
    let keys = [key("one"), key("two")];
    let mut key_breakers = KeyBreakers::default();
    for key in &keys {
        key_breakers.signed(KeyRef::to(key).spki_sha256, now);
        key_breakers.suspect(key.clone(), Blame::Crash, now);
    }
    for key in &keys {
        assert!(key_breakers.due(now).is_some());
        key_breakers.probing(&KeyRef::to(key), 1, true, now);
    }
    assert_eq!(key_breakers.lost(1, now), None);
    let first = key_breakers.due(now).unwrap().clone();
    key_breakers.probing(&first, 2, true, now);
    assert_eq!(key_breakers.due(now), None, "one at a time");
    assert_eq!(key_breakers.lost(2, now), Some(first));
}

#[test]
fn tries_in_quarantine_grow_seldom_and_those_that_cost_a_signer_have_a_bound_over_all_keys() {
    let begin = Instant::now();
    let after = |ms| begin + Duration::from_millis(ms);
    let mut key_breakers = KeyBreakers::default();
    let names: Vec<_> = ["one", "two"]
        .map(key)
        .into_iter()
        .map(|key| {
            let name = KeyRef::to(&key);
            key_breakers.suspect(key, Blame::Hang, begin);
            name
        })
        .collect();
    for name in &names {
        key_breakers.probing(name, 1, true, begin);
        assert!(is_quarantined(&key_breakers.failed(name, Blame::Hang, after(2_000))));
    }
    // The last probe took 2 s.
    assert_eq!(key_breakers.due(after(9_900)), None);
    assert!(key_breakers.due(after(10_100)).is_some());
    let mut now = begin;
    let mut tries = 0;
    while now < after(600_000) {
        now = key_breakers.next_at(now).unwrap();
        let Some(name) = key_breakers.due(now).cloned() else { continue };
        key_breakers.probing(&name, 1, true, now);
        now += Duration::from_secs(2);
        let _ = key_breakers.failed(&name, Blame::Hang, now);
        tries += 1;
    }
    assert!((4..40).contains(&tries), "{tries} in ten minutes");
    let cheap = key("cheap");
    let name = KeyRef::to(&cheap);
    key_breakers.suspect(cheap, Blame::Fault, begin);
    let _ = key_breakers.failed(&name, Blame::Fault, after(8_000));
    assert_eq!(key_breakers.get(&name).unwrap().next_probe(), Some(after(10_000)));
}

#[test]
fn only_what_is_wrong_with_its_objects_is_said_to_be_the_operators() {
    let now = Instant::now();
    let later = now + BROKEN_AFTER;
    for (blame, signed, at, broken) in [
        (Blame::WrongSignature, false, now, true),
        (Blame::WrongSignature, true, now, false),
        (Blame::WrongSignature, true, later, true),
        (Blame::Fault, false, later, false),
        (Blame::Crash, false, later, false),
    ] {
        let key = key("key");
        let name = KeyRef::to(&key);
        let mut key_breakers = KeyBreakers::default();
        if signed {
            key_breakers.signed(name.spki_sha256, now);
        }
        key_breakers.suspect(key, blame, now);
        while !is_quarantined(&key_breakers.failed(&name, blame, now)) {}
        let refusal = key_breakers.get(&name).unwrap().quarantine(at).refusal(at);
        assert_eq!(matches!(refusal, HsmError::Unusable { .. }), broken, "{blame:?}");
    }
}
