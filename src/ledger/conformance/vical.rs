//! VICALs: issue ids, versions and signers.

use super::*;

fn publication(service: &str) -> Intent {
    Intent { purpose: KeyPurpose::Vical, service: path(service), ..csr_intent() }
}

async fn begin_as(
    ledger: &Ledger,
    service: &'static str,
    version: &str,
    signer: VicalSigner,
) -> Result<(BegunVical, u64), BeginError> {
    let issue_id = ledger.take_vical_number(path(service)).await?;
    let reservation = VicalReservation { version: element(version), issue_id, signer };
    Ok((ledger.begin_vical(publication(service), reservation).await?, issue_id))
}

fn signer(octets: &[u8], may_change: bool) -> VicalSigner {
    VicalSigner { sha256s: octets.iter().map(|octet| [*octet; 32]).collect(), may_change }
}

async fn begin(
    ledger: &Ledger,
    service: &'static str,
    version: &str,
) -> Result<(IntentId, u64), BeginError> {
    let (begun, issue_id) = begin_as(ledger, service, version, signer(&[1], false)).await?;
    Ok((begun.intent, issue_id))
}

async fn complete(ledger: &Ledger, id: IntentId, octet: u8) -> Result<u64, LedgerError> {
    complete_as(ledger, id, octet, signer(&[1], false), None).await
}

async fn complete_as(
    ledger: &Ledger,
    id: IntentId,
    octet: u8,
    signer: VicalSigner,
    replaced: Option<AuditRecord>,
) -> Result<u64, LedgerError> {
    let published = PublishedVersion {
        provider: "Acme".to_owned(),
        date: now(),
        next_update: None,
        entry_count: 2,
        artifact: vec![octet; 9],
        sha256: [octet; 32],
        algorithm: "ES256",
        signer_certificate_pem: "signer".to_owned(),
        signer_chain_pem: vec!["above".to_owned()],
        signer_sha256s: signer.sha256s,
        signer_changed: replaced,
    };
    let outcome = Outcome {
        product: Product::Vical(Box::new(published)),
        audit: record(Audit::VicalPublished),
        answer: None,
    };
    ledger.complete(id, outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn issue_ids_grow_by_one_in_each_service_and_none_is_given_out_twice() {
    let place = Place::new();
    let ledger = place.open();
    let (first, id) = begin(&ledger, "a.vical", "x").await.unwrap();
    assert_eq!(id, 1);
    // A taken version is refused; the issue id that was taken for it leaves a gap.
    assert_eq!(begin(&ledger, "a.vical", "x").await, Err(BeginError::VersionTaken(element("x"))));
    assert_eq!(begin(&ledger, "b.vical", "x").await.unwrap().1, 1);
    // An aborted publication frees its version and keeps its issue id.
    ledger.abort(first, record(Audit::Aborted)).await.unwrap();
    let (second, id) = begin(&ledger, "a.vical", "x").await.unwrap();
    assert_eq!(id, 3);
    assert_eq!(complete(&ledger, first, 1).await, Err(LedgerError::NotOpen));
    complete(&ledger, second, 2).await.unwrap();
    assert_eq!(complete(&ledger, second, 3).await, Err(LedgerError::NotOpen));
    begin(&ledger, "a.vical", "z").await.unwrap();
    ledger.close().await;

    // A crash leaves the intents open; their versions are taken until they are aborted.
    let (ledger, open) = place.open_any().unwrap();
    assert_eq!(open.len(), 2);
    assert!(ledger.is_version_taken(path("a.vical"), element("z")).await.unwrap());
    for intent in open {
        ledger.abort(intent.id, record(Audit::Aborted)).await.unwrap();
    }
    assert!(!ledger.is_version_taken(path("a.vical"), element("z")).await.unwrap());
    assert_eq!(begin(&ledger, "a.vical", "z").await.unwrap().1, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_reserved_is_not_there_and_the_highest_issue_id_is_the_newest() {
    let place = Place::new();
    let ledger = place.open();
    let service = || path("a.vical");
    let (older, _) = begin(&ledger, "a.vical", "older").await.unwrap();
    let (newer, _) = begin(&ledger, "a.vical", "newer").await.unwrap();
    assert_eq!(ledger.vical_artifact(service(), None).await.unwrap(), None);
    assert_eq!(ledger.vical_version(service(), Some(element("older"))).await.unwrap(), None);
    complete(&ledger, newer, 2).await.unwrap();
    complete(&ledger, older, 1).await.unwrap();
    assert_eq!(ledger.vical_ids(service()).await.unwrap(), [element("newer"), element("older")]);
    let octets = |found: Option<VicalArtifact>| found.unwrap().octets;
    assert_eq!(octets(ledger.vical_artifact(service(), None).await.unwrap()), [2; 9]);
    let older = Some(element("older"));
    assert_eq!(octets(ledger.vical_artifact(service(), older).await.unwrap()), [1; 9]);
    let newest = ledger.vical_version(service(), None).await.unwrap().unwrap();
    assert_eq!((newest.issue_id, newest.entry_count, newest.size_bytes), (2, 2, 9));
    assert_eq!(newest.signer_chain_pem, ["above"]);
    assert_eq!(ledger.vical_ids(path("b.vical")).await.unwrap(), []);
}

/// What a publication under `octets` is told, and the signer that it replaces.
async fn told(
    ledger: &Ledger,
    version: &str,
    octets: &[u8],
    may_change: bool,
) -> Result<(IntentId, Option<Vec<[u8; 32]>>), BeginError> {
    let (begun, _) = begin_as(ledger, "a.vical", version, signer(octets, may_change)).await?;
    Ok((begun.intent, begun.replaces))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signer_of_the_first_publication_stays_unless_it_may_be_changed() {
    let place = Place::new();
    let ledger = place.open();
    let ours = [1, 2];
    let others: [&[u8]; 5] = [&[1, 3], &[1], &[1, 2, 3], &[2, 1], &[]];
    let (first, replaces) = told(&ledger, "first", &ours, false).await.unwrap();
    assert_eq!(replaces, None);
    // While the first is under way, nothing but its signer is taken.
    for other in others {
        assert_eq!(told(&ledger, "x", other, false).await, Err(BeginError::OtherSigner));
    }
    let (second, _) = told(&ledger, "second", &ours, false).await.unwrap();
    // A first publication that came to nothing leaves nothing on record.
    ledger.abort(first, record(Audit::Aborted)).await.unwrap();
    let (third, _) = told(&ledger, "third", &[9], false).await.unwrap();
    ledger.abort(third, record(Audit::Aborted)).await.unwrap();
    complete_as(&ledger, second, 1, signer(&ours, false), None).await.unwrap();
    for other in others {
        assert_eq!(told(&ledger, "x", other, false).await, Err(BeginError::OtherSigner));
    }

    // A change begins with the right to it, and is on record when it has been published.
    let on_record = Some(vec![[1; 32], [2; 32]]);
    let (change, replaces) = told(&ledger, "change", &[7], true).await.unwrap();
    assert_eq!(replaces, on_record);
    ledger.abort(change, record(Audit::Aborted)).await.unwrap();
    assert_eq!(told(&ledger, "x", &[7], false).await, Err(BeginError::OtherSigner));
    let (late, _) = told(&ledger, "late", &ours, false).await.unwrap();
    let (change, replaces) = told(&ledger, "change", &[7], true).await.unwrap();
    assert_eq!(replaces, on_record);
    let size = ledger.figures().tree_size;
    let audit = || Some(record(Audit::VicalSignerChanged));
    complete_as(&ledger, change, 2, signer(&[7], true), audit()).await.unwrap();
    assert_eq!(ledger.figures().tree_size, size + 2, "the change and the publication");
    // One that began before the change ends, and does not undo it.
    complete_as(&ledger, late, 3, signer(&ours, false), None).await.unwrap();
    assert_eq!(told(&ledger, "x", &ours, false).await, Err(BeginError::OtherSigner));
    let (last, replaces) = told(&ledger, "last", &[7], false).await.unwrap();
    assert_eq!(replaces, None);
    ledger.abort(last, record(Audit::Aborted)).await.unwrap();
    ledger.close().await;
    let (ledger, _) = place.open_any().unwrap();
    assert_eq!(told(&ledger, "x", &ours, false).await, Err(BeginError::OtherSigner));
}
