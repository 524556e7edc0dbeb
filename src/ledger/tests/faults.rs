//! What disks, crashes and panics do to the ledger.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_open_intents_come_back_with_their_reservations() {
    let (directory, file) = place();
    let ledger = open(&file);
    let left_open = intent(&["open"]);
    let id = ledger.begin(left_open.clone()).await.unwrap();
    let done = ledger.begin(intent(&["done"])).await.unwrap();
    ledger.complete(done, outcome(&["done"])).await.unwrap();
    // What kill -9 leaves: the file and its log as they are now.
    let copy = directory.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let side = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(side(&file), side(&copy)).unwrap();
    }

    let (ledger, open_intents) = Ledger::open(&copy).unwrap();
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
    assert_consistent(&copy);
}

const KILLED: &str = "CHANCERY_TEST_LEDGER_TO_BE_KILLED";

#[test]
fn what_was_answered_before_a_kill_is_there_after_it() {
    let (_directory, file) = place();
    let mut answered = Vec::new();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "ledger::tests::faults::until_killed"])
            .env(KILLED, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut serials = lines.filter_map(|line| line.strip_prefix("issued ").map(str::to_owned));
        // The pipe stays open: nothing but the kill ends the child.
        answered.extend(serials.by_ref().take(60));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(answered.len(), 180);
    assert!(count(&file, "intents WHERE state = 'open'") <= 3 * 8);
    assert_consistent(&file);
    for serial in answered {
        assert_eq!(count(&file, &format!("certificates WHERE serial = x'{serial}'")), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process that is killed"]
async fn until_killed() {
    let Ok(file) = std::env::var(KILLED) else { return };
    let (ledger, _) = Ledger::open(Path::new(&file)).unwrap();
    let issue = || {
        let ledger = ledger.clone();
        async move {
            loop {
                let serial = SerialNumber::from_random(*uuid::Uuid::new_v4().as_bytes());
                let id = serial.to_string();
                let intent = Intent { serial: Some(serial), ..intent(&[&id]) };
                let intent = ledger.begin(intent).await.unwrap();
                ledger.complete(intent, outcome(&[&id])).await.unwrap();
                println!("issued {serial}");
            }
        }
    };
    let endless: Vec<tokio::task::JoinHandle<()>> = (0..8).map(|_| tokio::spawn(issue())).collect();
    all(endless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_commit_fails_the_whole_batch_is_told_and_the_next_one_works() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let release = hold_writer(&ledger);
    let mut begins = Vec::new();
    for _ in 0..3 {
        let begin = |ledger: Ledger| async move { ledger.begin(intent(&[])).await };
        begins.push(queue(&ledger, begin).await);
    }
    // SQLite finds this out when it commits.
    let work = |connection: &Transaction<'_>| {
        connection.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO store_entries (store, id, reserved_by) VALUES ('x', 'y', 999);",
        )
    };
    let poison = queue(&ledger, |ledger| async move { in_writer(&ledger, work).await }).await;
    drop(release);
    for result in all(begins).await {
        let unavailable = matches!(
            result,
            Err(BeginError::Ledger(LedgerError::Unavailable { reason })) if reason.contains("FOREIGN")
        );
        assert!(unavailable);
    }
    assert!(matches!(poison.await.unwrap(), Err(LedgerError::Unavailable { .. })));
    assert_eq!(count(&file, "intents"), 0);
    assert_eq!(count(&file, "audit_entries"), 0);
    ledger.begin(intent(&["a"])).await.unwrap();
    ledger.close().await;
    assert_consistent(&file);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_database_is_full_nothing_is_half_written() {
    let (_directory, file) = place();
    let ledger = open(&file);
    let id = ledger.begin(intent(&["a"])).await.unwrap();
    // The connection's own limit: a new connection has none.
    let limit = |pages: u32| {
        in_writer(&ledger, move |connection| {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        })
    };
    let is_full = |error: &LedgerError| matches!(error, LedgerError::Unavailable { reason } if reason.contains("full"));
    limit(1).await.unwrap();
    // Of this statement alone SQLite goes back.
    let large = outcome_of(IssuedCertificate { der: vec![0; 100_000], ..certificate(&["a"]) });
    assert!(is_full(&ledger.complete(id, large.clone()).await.unwrap_err()));
    assert_eq!(count(&file, "certificates"), 0);
    assert_eq!(count(&file, "audit_entries"), 1);
    limit(1_000_000).await.unwrap();
    assert_eq!(ledger.complete(id, large).await, Ok(1), "the intent is still open");

    // With this one it gives up the whole transaction, and whoever shared it is told so.
    limit(1).await.unwrap();
    let release = hold_writer(&ledger);
    let append = |ledger: Ledger| async move { ledger.append(record(Audit::Refused)).await };
    let sharing = queue(&ledger, append).await;
    let work = |connection: &Transaction<'_>| {
        let large = "x".repeat(100_000);
        connection.execute("INSERT INTO meta (name, value) VALUES ('large', ?1)", [large])?;
        Ok(())
    };
    let filling = queue(&ledger, |ledger| async move { in_writer(&ledger, work).await }).await;
    drop(release);
    for result in [filling.await.unwrap(), sharing.await.unwrap().map(|_| ())] {
        let error = result.unwrap_err();
        assert!(is_full(&error) && error.to_string().contains("given up"), "{error}");
    }
    assert_eq!(ledger.append(record(Audit::Refused)).await, Ok(2));
    ledger.close().await;
    assert_consistent(&file);
}

const FULL_DISK: &str = "CHANCERY_TEST_LEDGER_ON_A_FULL_DISK";

#[test]
fn a_full_disk_makes_the_ledger_unavailable_until_there_is_room_again() {
    let (_directory, file) = place();
    // No file may grow beyond 1 MiB, and a write beyond fails instead of killing the process.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -S -f 2048; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "ledger::tests::faults::on_a_full_disk"])
        .env(FULL_DISK, &file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    assert_consistent(&file);
    assert!(count(&file, "certificates") > 10);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process with a limit"]
async fn on_a_full_disk() {
    let Ok(file) = std::env::var(FULL_DISK) else { return };
    let ledger = open(Path::new(&file));
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
