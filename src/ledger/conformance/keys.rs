//! Keys: pins, roles, and the CA certificates that are known of them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_path_means_one_public_key_for_good() {
    let place = Place::new();
    let ledger = place.open();
    let with = |pin| Intent { key_pins: vec![pinning(pin)], ..intent(&["a"]) };
    let id = ledger.begin(with(key_pin(b"spki"))).await.unwrap();
    ledger.abort(id, record(Audit::Aborted)).await.unwrap();
    let changed = ledger.begin(with(key_pin(b"other spki"))).await;
    assert_eq!(changed, Err(BeginError::KeyChanged(KeyPath::parse("a.kms.k").unwrap())));
    assert_eq!(ledger.taken(vec![(path("a.certs"), element("a"))]).await, Ok(None));
    ledger.begin(with(KeyPin { token: "other".to_owned(), ..key_pin(b"spki") })).await.unwrap();
    assert_eq!(ledger.key_pins().await, Ok(vec![key_pin(b"spki")]));
    // Two intents, an abort, and the pin: once.
    assert_eq!(place.count("audit_entries"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_pinned_to_one_described_iaca() {
    let place = Place::new();
    let ledger = place.open();
    let with = |pin| Intent { iaca_pin: Some(pinning(pin)), ..intent(&[]) };
    ledger.begin(with(iaca_pin(None))).await.unwrap();
    ledger.begin(with(iaca_pin(None))).await.unwrap();
    let conflict = ledger.begin(with(iaca_pin(Some("https://other.example")))).await;
    assert_eq!(conflict, Err(BeginError::IacaPinConflict));
    assert_eq!(ledger.known_key(question(KEY, &[])).await.unwrap().pins, vec![iaca_pin(None)]);
    // Two intents, and the pin: once.
    assert_eq!(place.count("audit_entries"), 3);
    assert!(ledger.known_key(question([0; 32], &[])).await.unwrap().pins.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_one_role_at_a_time_and_none_against_what_is_on_record() {
    let place = Place::new();
    let ledger = place.open();
    let claim = |role, state| {
        let claims = vec![KeyClaim { spki_sha256: KEY, role, state }];
        Intent { serial: Some(fresh_serial()), claims, ..intent(&[]) }
    };
    let fresh = ledger.known_key(question(KEY, &[])).await.unwrap().state;
    let first = ledger.begin(claim(CaRole::Generic, fresh)).await.unwrap();
    // Until it has ended, the key has that role and no other.
    ledger.begin(claim(CaRole::Generic, fresh)).await.map(drop).unwrap();
    let other = ledger.begin(claim(CaRole::Iaca, fresh)).await;
    assert_eq!(other, Err(BeginError::KeyClaimed));
    ledger.abort(first, record(Audit::Aborted)).await.unwrap();
    assert_eq!(ledger.begin(claim(CaRole::Iaca, fresh)).await, Err(BeginError::KeyClaimed));
    ledger.close().await;
    // A crash leaves the claim; whoever aborts its intent ends it.
    let (ledger, open_intents) = place.open_any().unwrap();
    for open_intent in open_intents {
        ledger.abort(open_intent.id, record(Audit::Aborted)).await.unwrap();
    }
    let id = ledger.begin(claim(CaRole::Iaca, fresh)).await.unwrap();
    ledger.complete(id, outcome(&[])).await.unwrap();
    // Now a certificate says so, to all who have not seen it; of the same role it is no news.
    assert_eq!(ledger.begin(claim(CaRole::Generic, fresh)).await, Err(BeginError::KeyLearned));
    ledger.begin(claim(CaRole::Iaca, fresh)).await.unwrap();
    assert_eq!(place.count("key_claims"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_certificates_are_found_by_key_whether_issued_here_or_stored() {
    let place = Place::new();
    let ledger = place.open();
    let id = ledger.begin(intent(&["z", "Z", "a"])).await.unwrap();
    ledger.complete(id, outcome(&["z", "Z", "a"])).await.unwrap();
    let id = ledger.begin(intent(&["leaf"])).await.unwrap();
    ledger
        .complete(id, outcome_of(IssuedCertificate { is_ca: false, ..certificate(&["leaf"]) }))
        .await
        .unwrap();

    let known =
        ledger.known_key(question(KEY, &["a.certs", "b.certs"])).await.unwrap().certificates;
    let origins: Vec<_> = known.into_iter().map(|certificate| certificate.origin).collect();
    let stored = |id| CertificateOrigin::Stored { store: path("a.certs"), id: element(id) };
    let issued = CertificateOrigin::Issued {
        service: path("a.x509"),
        profile: KeyPurpose::Iaca,
        subject_key_path: Some(KeyPath::parse("a.kms.k").unwrap()),
        self_signed: true,
        issued_at: now(),
    };
    assert_eq!(origins, [issued.clone(), stored("Z"), stored("a"), stored("z")]);
    let elsewhere = ledger.known_key(question(KEY, &["b.certs"])).await.unwrap().certificates;
    assert_eq!(elsewhere.len(), 1);
    assert!(
        ledger.known_key(question([0; 32], &["a.certs"])).await.unwrap().certificates.is_empty()
    );
    let ids: Vec<_> = ["Z", "a", "leaf", "z"].map(|id| path("a.certs").child(&element(id))).into();
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(ids));
    assert_eq!(ledger.store_entries(path("a.certs")).await.unwrap().len(), 4);
}
