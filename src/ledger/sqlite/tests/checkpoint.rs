//! What becomes of the write-ahead log.

use super::*;
use crate::ledger::sqlite::checkpoint::CHECKPOINT_PAGES;

/// Pages of a certificate here, so that a few fill the log.
const PAGES: usize = 50;

/// Issues until the log could have been filled so many times.
async fn fill(ledger: &Ledger, times: usize) {
    let each = times * CHECKPOINT_PAGES / PAGES / WRITERS;
    let issue = |ledger: Ledger| async move {
        for _ in 0..each {
            let id = ledger.begin(intent(&[])).await.unwrap();
            let der = vec![0x30; PAGES * 4_096];
            ledger
                .complete(id, outcome_of(IssuedCertificate { der, ..certificate(&[]) }))
                .await
                .unwrap();
        }
    };
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(issue(ledger.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

const WRITERS: usize = 4;

/// Pages in the log.
fn logged(place: &Place) -> i64 {
    let sql = "PRAGMA wal_checkpoint(NOOP)";
    place.connect().query_row(sql, [], |row| row.get(1)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_written_without_pause_begins_anew_all_the_same() {
    let place = Place::new();
    let ledger = place.open();
    fill(&ledger, 8).await;
    // The file keeps the length that the log had at its longest.
    let pages = fs::metadata(format!("{}-wal", place.file().display())).unwrap().len() / 4_120;
    assert!(pages < 3 * CHECKPOINT_PAGES as u64, "{pages}");
    ledger.close().await;
    place.assert_consistent();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_a_backup_has_kept_begins_anew_after_it() {
    let place = Place::new();
    let ledger = place.open();
    let reader = place.connect();
    reader.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
    fill(&ledger, 3).await;
    assert!(logged(&place) > 3 * CHECKPOINT_PAGES as i64);
    reader.execute_batch("COMMIT").unwrap();
    fill(&ledger, 3).await;
    assert!(logged(&place) < 2 * CHECKPOINT_PAGES as i64, "{}", logged(&place));
}
