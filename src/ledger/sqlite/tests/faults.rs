//! What disks and crashes do to the file.

use std::process::Command;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_open_intents_come_back_with_their_reservations() {
    let place = Place::new();
    let ledger = place.open();
    let left_open = intent(&["open"]);
    let id = ledger.begin(left_open.clone()).await.unwrap();
    let done = ledger.begin(intent(&["done"])).await.unwrap();
    ledger.complete(done, outcome(&["done"])).await.unwrap();
    // What kill -9 leaves: the file and its log as they are now.
    let copy = place.file().with_file_name("copy.db");
    for suffix in ["", "-wal"] {
        let side = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(side(place.file()), side(&copy)).unwrap();
    }

    let (ledger, open_intents) = Place::at(&copy).open_any().unwrap();
    let expected = OpenIntent {
        id,
        serial: left_open.serial,
        purpose: left_open.purpose,
        service: left_open.service.clone(),
        tbs_sha256: left_open.tbs_sha256,
        issuer_key_path: left_open.issuer_key_path.clone(),
        subject_key_path: left_open.subject_key_path.clone(),
        dev_key: left_open.dev_key,
        client: left_open.client.clone(),
        request_id: left_open.request_id.clone(),
        created_at: left_open.created_at,
    };
    assert_eq!(open_intents, [expected]);
    assert_eq!(ledger.store_ids(path("a.certs")).await, Ok(vec![path("a.certs.done")]));
    let taken = Err(BeginError::StoreIdTaken(path("a.certs.open")));
    assert_eq!(ledger.begin(intent(&["open"])).await, taken);
    ledger.abort(id, record(Audit::Aborted)).await.unwrap();
    ledger.begin(intent(&["open"])).await.unwrap();
    ledger.close().await;
    Place::at(&copy).assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_commit_fails_the_whole_batch_is_told_and_the_next_one_works() {
    let place = Place::new();
    let ledger = place.open();
    let release = hold_writer(&ledger);
    let mut begins = Vec::new();
    for _ in 0..3 {
        let begin = |ledger: Ledger| async move { ledger.begin(intent(&[])).await };
        begins.push(queue(&ledger, begin).await);
    }
    // SQLite finds this out when it commits.
    let sql = "PRAGMA defer_foreign_keys = ON;
         INSERT INTO store_entries (store, id, reserved_by) VALUES ('x', 'y', 999);";
    let poison = queue(&ledger, |ledger| async move { in_writer(&ledger, sql).await }).await;
    drop(release);
    for result in all(begins).await {
        let unavailable = matches!(
            result,
            Err(BeginError::Ledger(LedgerError::Unavailable { reason })) if reason.contains("FOREIGN")
        );
        assert!(unavailable);
    }
    assert!(matches!(poison.await.unwrap(), Err(LedgerError::Unavailable { .. })));
    assert_eq!(place.count("intents"), 0);
    assert_eq!(place.count("audit_entries"), 0);
    ledger.begin(intent(&["a"])).await.unwrap();
    ledger.close().await;
    place.assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_database_is_full_nothing_is_half_written() {
    let place = Place::new();
    let ledger = place.open();
    let id = ledger.begin(intent(&["a"])).await.unwrap();
    // The connection's own limit: a new connection has none.
    let limit = |pages: u32| in_writer(&ledger, format!("PRAGMA max_page_count = {pages}"));
    let is_full = |error: &LedgerError| matches!(error, LedgerError::Unavailable { reason } if reason.contains("full"));
    limit(1).await.unwrap();
    // Of this statement alone SQLite goes back.
    let large = outcome_of(IssuedCertificate { der: vec![0; 100_000], ..certificate(&["a"]) });
    assert!(is_full(&ledger.complete(id, large.clone()).await.unwrap_err()));
    assert_eq!(place.count("certificates"), 0);
    assert_eq!(place.count("audit_entries"), 1);
    limit(1_000_000).await.unwrap();
    assert_eq!(ledger.complete(id, large).await, Ok(1), "the intent is still open");

    // With this one it gives up the whole transaction, and whoever shared it is told so.
    limit(1).await.unwrap();
    let release = hold_writer(&ledger);
    let append = |ledger: Ledger| async move { ledger.append(record(Audit::Refused)).await };
    let sharing = queue(&ledger, append).await;
    let large = "INSERT INTO meta (name, value) VALUES ('large', printf('%100000s', 'x'))";
    let filling = queue(&ledger, |ledger| async move { in_writer(&ledger, large).await }).await;
    drop(release);
    for result in [filling.await.unwrap(), sharing.await.unwrap().map(|_| ())] {
        let error = result.unwrap_err();
        assert!(is_full(&error) && error.to_string().contains("given up"), "{error}");
    }
    assert_eq!(ledger.append(record(Audit::Refused)).await, Ok(2));
    ledger.close().await;
    place.assert_consistent();
}

const FULL_DISK: &str = "CHANCERY_TEST_LEDGER_ON_A_FULL_DISK";

#[test]
fn a_full_disk_makes_the_ledger_unavailable_until_there_is_room_again() {
    let place = Place::new();
    // No file may grow beyond 1 MiB, and a write beyond fails instead of killing the process.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -S -f 2048; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "ledger::sqlite::tests::faults::on_a_full_disk",
        ])
        .env(FULL_DISK, place.file())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    place.assert_consistent();
    assert!(place.count("certificates") > 10);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process with a limit"]
async fn on_a_full_disk() {
    let Ok(file) = std::env::var(FULL_DISK) else { return };
    let ledger = Place::at(Path::new(&file)).open();
    // With a reader about, the write-ahead log is not emptied behind our back.
    ledger.key_pins().await.unwrap();
    let mut issued = 0;
    let failed = loop {
        let id = ledger.begin(intent(&[])).await;
        let result = match id {
            Ok(id) => ledger.complete(id, outcome(&[])).await.map_err(BeginError::from),
            Err(error) => Err(error),
        };
        match result {
            Ok(_) => issued += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, BeginError::Ledger(LedgerError::Unavailable { .. })), "{failed}");
    // What failed was large; what is smaller may still fit, until nothing does.
    let mut probes = 0;
    while ledger.is_writable().await.is_ok() {
        probes += 1;
        assert!(probes < 1_000, "the disk is never full");
    }
    for _ in 0..3 {
        assert!(ledger.is_writable().await.is_err());
        assert!(ledger.begin(intent(&[])).await.is_err());
    }
    let seen = ledger.known_key(question(KEY, &[])).await.unwrap();
    assert_eq!(seen.certificates.len(), issued.min(256), "what is there can still be read");

    let own = std::process::id().to_string();
    let room = Command::new("prlimit").args(["--pid", &own, "--fsize=unlimited:"]).status();
    assert!(room.unwrap().success());
    ledger.is_writable().await.unwrap();
    let id = ledger.begin(intent(&["after"])).await.unwrap();
    ledger.complete(id, outcome(&["after"])).await.unwrap();
    ledger.close().await;
}
