//! Figures, and what is forgotten.

use super::*;

/// A CA's certificate that ends so many seconds after the others.
fn ending(key_id: u8, later: i64) -> IssuedCertificate {
    IssuedCertificate {
        subject_key_id: vec![key_id; 20],
        not_after: now().plus_seconds(1_000 + later),
        ..certificate(&[])
    }
}

async fn issue(ledger: &Ledger, intent: Intent, outcome: Outcome) {
    let id = ledger.begin(intent).await.unwrap();
    ledger.complete(id, outcome).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_issued_is_counted_and_a_ca_ends_with_its_last_certificate() {
    let place = Place::new();
    let ledger = place.open();
    assert_eq!((ledger.figures().tree_size, ledger.figures().issued), (0, vec![]));
    issue(&ledger, intent(&[]), outcome_of(ending(7, 50))).await;
    issue(&ledger, intent(&[]), outcome_of(ending(7, 20))).await;
    issue(&ledger, intent(&[]), outcome_of(ending(8, 10))).await;
    // Neither a leaf nor a key that came with the request is a CA of ours.
    let leaf = Intent { purpose: KeyPurpose::Generic, ..intent(&[]) };
    issue(&ledger, leaf, outcome_of(IssuedCertificate { is_ca: false, ..ending(9, 0) })).await;
    let foreign = Intent { subject_key_path: None, ..intent(&[]) };
    issue(&ledger, foreign, outcome_of(ending(10, 0))).await;
    // What came to nothing counts as entries alone.
    let aborted = ledger.begin(intent(&[])).await.unwrap();
    ledger.abort(aborted, record(Audit::Aborted)).await.unwrap();

    let before = ledger.figures();
    assert_eq!(before.tree_size, 12);
    assert_eq!(before.issued, [(KeyPurpose::Generic, 1), (KeyPurpose::Iaca, 4)]);
    let ends: Vec<_> = before.cas.iter().map(|ca| (&ca.key_id[..4], ca.not_after)).collect();
    let after = |later: i64| now().plus_seconds(1_000 + later);
    assert_eq!(ends, [("0808", after(10)), ("0707", after(50))]);
    ledger.close().await;

    let again = place.open().figures();
    assert_eq!((again.tree_size, again.issued, again.cas), (12, before.issued, before.cas));
    assert_eq!((again.committed, again.lost, again.writable), (0, 0, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_hangs_is_seen_without_asking_it() {
    let place = Place::new();
    let ledger = place.open();
    assert_eq!(ledger.figures().under_way, None);
    let release = hold_writer(&ledger);
    let waits = queue(&ledger, |ledger| async move { ledger.is_writable().await }).await;
    let figures = ledger.figures();
    assert!(figures.under_way.is_some());
    assert_eq!(figures.writes_waiting, 1);
    drop(release);
    waits.await.unwrap().unwrap();
    assert_eq!(ledger.figures().under_way, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_answers_are_forgotten_bit_by_bit_the_oldest_first() {
    let place = Place::new();
    let ledger = place.open();
    for age in [30_i64, 10, 20, 0] {
        let request =
            RequestKey { client: "c".to_owned(), route: "r".to_owned(), key: age.to_string() };
        let answer = KeptAnswer {
            request,
            fingerprint: [0; 32],
            serial: None,
            body: vec![1],
            kept_at: now().plus_seconds(-age),
        };
        issue(&ledger, intent(&[]), Outcome { answer: Some(answer), ..outcome(&[]) }).await;
    }
    let since = now().plus_seconds(-5);
    assert_eq!(ledger.forget_answers(since, 2).await, Ok(2));
    let left = || place.column::<String>("SELECT key FROM answers ORDER BY kept_at");
    assert_eq!(left(), ["10", "0"]);
    assert_eq!(ledger.forget_answers(since, 2).await, Ok(1));
    assert_eq!(ledger.forget_answers(since, 2).await, Ok(0));
    assert_eq!(left(), ["0"]);
}
