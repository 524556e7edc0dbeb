//! One issuance: from an intent to its end.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_an_entry_when_it_is_filled_and_not_before() {
    let place = Place::new();
    let ledger = place.open();
    let wanted = vec![
        (path("a.certs"), element("free")),
        (path("a.certs"), element("iaca")),
        (path("a.certs"), element("spare")),
    ];
    let id = ledger.begin(intent(&["iaca", "spare"])).await.unwrap();
    assert_eq!(ledger.taken(wanted.clone()).await, Ok(Some(path("a.certs.iaca"))));
    assert_eq!(ledger.store_entry(path("a.certs"), element("iaca")).await, Ok(None));
    assert_eq!(ledger.store_entries(path("a.certs")).await, Ok(Vec::new()));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(Vec::new()));
    assert!(ledger.known_key(question(KEY, &["a.certs"])).await.unwrap().certificates.is_empty());

    assert_eq!(ledger.complete(id, outcome(&["iaca"])).await, Ok(1));
    let entry = ledger.store_entry(path("a.certs"), element("iaca")).await.unwrap().unwrap();
    assert_eq!(entry.der, certificate(&[]).der);
    assert_eq!((entry.kind, entry.metadata), (EntryKind::VicalEntry, Some(metadata())));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(vec![path("a.certs.iaca")]));
    let spare = vec![wanted[2].clone()];
    assert_eq!(ledger.taken(spare).await, Ok(None), "a reservation not used is freed");
    ledger.close().await;
    assert_eq!(
        place.count(r#"certificates WHERE stored_id = 'iaca' AND stored_ids = '["a.certs.iaca"]'"#),
        1
    );
    place.assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_is_all_or_nothing() {
    let place = Place::new();
    let ledger = place.open();
    let other = ledger.begin(intent(&["of-another"])).await.unwrap();
    let id = ledger.begin(intent(&["mine"])).await.unwrap();
    let wrong = ledger.complete(id, outcome(&["mine", "of-another"])).await;
    assert_eq!(wrong, Err(LedgerError::NotReserved(path("a.certs.of-another"))));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(Vec::new()));
    assert_eq!(place.count("certificates"), 0);
    assert_eq!(place.count("audit_entries"), 2);

    assert_eq!(ledger.complete(id, outcome(&["mine"])).await, Ok(2));
    assert_eq!(ledger.complete(other, outcome(&["of-another"])).await, Ok(3));
    ledger.close().await;
    place.assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_ends_once() {
    let place = Place::new();
    let ledger = place.open();
    let id = ledger.begin(intent(&["a"])).await.unwrap();
    let wrong = ledger.complete(id, request()).await;
    assert_eq!(wrong, Err(LedgerError::NotOpen), "a serial number needs its certificate");
    ledger.complete(id, outcome(&["a"])).await.unwrap();
    assert_eq!(ledger.abort(id, record(Audit::Aborted)).await, Ok(()));
    assert_eq!(ledger.complete(id, outcome(&[])).await, Err(LedgerError::NotOpen));
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(vec![path("a.certs.a")]));

    let csr = ledger.begin(csr_intent()).await.unwrap();
    assert_eq!(ledger.complete(csr, outcome(&[])).await, Err(LedgerError::NotOpen));
    assert_eq!(ledger.complete(csr, request()).await, Ok(3));
    let again = ledger.complete(csr, request()).await;
    assert_eq!(again, Err(LedgerError::NotOpen));
    ledger.close().await;
    assert_eq!(place.count("audit_entries"), 4, "what is refused leaves no entry");
    place.assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_frees_the_ids_and_never_the_serial_number() {
    let place = Place::new();
    let ledger = place.open();
    let first = intent(&["a"]);
    let id = ledger.begin(first.clone()).await.unwrap();
    assert_eq!(ledger.begin(first.clone()).await, Err(BeginError::SerialTaken));
    ledger.abort(id, record(Audit::Aborted)).await.unwrap();
    ledger.abort(id, record(Audit::Aborted)).await.unwrap();
    assert_eq!(ledger.taken(vec![(path("a.certs"), element("a"))]).await, Ok(None));
    assert_eq!(ledger.complete(id, outcome(&["a"])).await, Err(LedgerError::NotOpen));
    assert_eq!(ledger.begin(first.clone()).await, Err(BeginError::SerialTaken));
    ledger.begin(intent(&["a"])).await.unwrap();
    ledger.close().await;
    assert_eq!(place.count("audit_entries"), 3, "the second abort leaves no entry");

    let (ledger, _) = place.open_any().unwrap();
    assert_eq!(ledger.begin(first).await, Err(BeginError::SerialTaken));
}
