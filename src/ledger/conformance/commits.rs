//! Group commit: what shares a transaction, and what a job does to the others in it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_while_the_writer_is_busy_shares_one_commit() {
    let place = Place::new();
    let ledger = place.open();
    let release = hold_writer(&ledger);
    let mut handles = Vec::new();
    for _ in 0..50 {
        let begin = |ledger: Ledger| async move { ledger.begin(intent(&[])).await };
        handles.push(queue(&ledger, begin).await);
    }
    drop(release);
    assert!(all(handles).await.iter().all(Result::is_ok));
    assert_eq!(ledger.figures().committed, 2);
    ledger.close().await;
    assert_eq!(place.count("intents"), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_waits_longer_for_more_when_signatures_take_long() {
    let place = Place::new();
    let ledger = place.open();
    let at_first = ledger.inner.delay.pause();
    let mut id = ledger.begin(intent(&[])).await.unwrap();
    id.since -= Duration::from_secs(10);
    ledger.complete(id, outcome(&[])).await.unwrap();
    assert!(ledger.inner.delay.pause() > at_first);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_begins_with_one_store_id_one_wins_and_the_other_leaves_nothing() {
    let place = Place::new();
    let ledger = place.open();
    let release = hold_writer(&ledger);
    let mut handles = Vec::new();
    for id in ["one", "two"] {
        let intent = Intent { key_pins: vec![pinning(key_pin(b"spki"))], ..intent(&[id, "iaca"]) };
        let begin = |ledger: Ledger| async move { ledger.begin(intent).await };
        handles.push(queue(&ledger, begin).await);
    }
    drop(release);
    let results = all(handles).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.contains(&Err(BeginError::StoreIdTaken(path("a.certs.iaca")))));
    ledger.close().await;
    assert_eq!(place.count("intents"), 1);
    assert_eq!(place.count("store_entries"), 2);
    // The winner's intent and its pin.
    assert_eq!(place.count("audit_entries"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_takes_nobody_with_it() {
    let place = Place::new();
    let ledger = place.open();
    let release = hold_writer(&ledger);
    let sql = "INSERT INTO audit_entries (idx, entry, leaf_hash) VALUES (0, 'x', 'x')".to_owned();
    let panic = || panic!("on purpose");
    let work = write::Test(sql, Box::new(panic));
    let panics = queue(&ledger, |ledger| async move { ledger.write(work).await }).await;
    let begins = queue(&ledger, |ledger| async move { ledger.begin(intent(&[])).await }).await;
    drop(release);
    assert!(matches!(panics.await.unwrap(), Err(LedgerError::Unavailable { .. })));
    assert!(begins.await.unwrap().is_ok());
    let read = ledger.read(read::Test(Box::new(panic))).await;
    assert!(matches!(read, Err(LedgerError::Unavailable { .. })));
    assert_eq!(ledger.key_pins().await, Ok(Vec::new()));
    ledger.close().await;
    assert_eq!(place.count("audit_entries"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_turns_new_work_away_and_lets_begun_work_wait() {
    let place = Place::new();
    let (ledger, _) = place.open_with(4);
    let id = ledger.begin(intent(&[])).await.unwrap();
    let release = hold_writer(&ledger);
    let mut handles = Vec::new();
    for _ in 0..4 {
        let append = |ledger: Ledger| async move { ledger.append(record(Audit::Refused)).await };
        handles.push(queue(&ledger, append).await);
    }
    assert_eq!(ledger.append(record(Audit::Refused)).await, Err(LedgerError::Busy));
    assert_eq!(ledger.is_writable().await, Err(LedgerError::Busy));
    assert_eq!(ledger.begin(intent(&[])).await, Err(BeginError::Ledger(LedgerError::Busy)));
    let completion = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.complete(id, outcome(&[])).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!completion.is_finished());
    drop(release);
    assert!(all(handles).await.iter().all(Result::is_ok));
    assert_eq!(completion.await.unwrap(), Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_no_gap_after_five_hundred_mixed_jobs_at_once() {
    let place = Place::new();
    let ledger = place.open();
    let calls = (0..500).map(|number: u32| {
        let ledger = ledger.clone();
        async move {
            let id = format!("id-{number}");
            match number % 5 {
                0 => {
                    ledger.append(record(Audit::Refused)).await.unwrap();
                }
                1 => {
                    let intent = ledger.begin(intent(&[&id])).await.unwrap();
                    ledger.complete(intent, outcome(&[&id])).await.unwrap();
                }
                2 => {
                    let intent = ledger.begin(intent(&[&id])).await.unwrap();
                    ledger.abort(intent, record(Audit::Aborted)).await.unwrap();
                }
                3 => {
                    let intent = ledger.begin(csr_intent()).await.unwrap();
                    ledger.complete(intent, request()).await.unwrap();
                }
                _ => {
                    // All want one id: the first gets it, and keeps it.
                    let _ = ledger.begin(intent(&[&id, "shared"])).await;
                }
            }
        }
    });
    let handles: Vec<_> = calls.map(tokio::spawn).collect();
    all(handles).await;
    ledger.close().await;
    place.assert_consistent();
    assert_eq!(place.count("audit_entries"), 100 + 3 * 200 + 1);
    assert_eq!(place.count("store_entries WHERE der IS NOT NULL"), 100);
    assert_eq!(place.count("store_entries WHERE der IS NULL"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_issuances_at_once_cost_fewer_commits_than_jobs() {
    let place = Place::new();
    let ledger = place.open();
    let calls = (0..32).map(|number| {
        let ledger = ledger.clone();
        async move {
            let id = format!("id-{number}");
            let intent = ledger.begin(intent(&[&id])).await.unwrap();
            ledger.complete(intent, outcome(&[&id])).await.unwrap()
        }
    });
    let release = hold_writer(&ledger);
    let handles: Vec<_> = calls.map(tokio::spawn).collect();
    while ledger.inner.writes.waiting() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(release);
    let mut indexes = all(handles).await;
    indexes.sort_unstable();
    indexes.dedup();
    assert_eq!(indexes.len(), 32);
    assert!(ledger.figures().committed < 64);
    assert_eq!(ledger.store_ids(path("a.certs")).await.unwrap().len(), 32);
    ledger.close().await;
    place.assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_the_ledger_at_a_time() {
    let place = Place::new();
    let ledger = place.open();
    let refused = place.open_any().map(|_| ());
    assert!(
        matches!(&refused, Err(LedgerError::Refused { reason }) if reason.contains("in use")),
        "{refused:?}"
    );
    let clone = ledger.clone();
    ledger.append(record(Audit::Stopped)).await.unwrap();
    ledger.close().await;
    let late = clone.append(record(Audit::Started)).await;
    assert!(matches!(late, Err(LedgerError::Unavailable { .. })));
    assert!(matches!(clone.key_pins().await, Err(LedgerError::Unavailable { .. })));
    clone.close().await;
    let ledger = place.open();
    assert_eq!(ledger.append(record(Audit::Started)).await, Ok(1));
}
