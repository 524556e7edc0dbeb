//! Ledgers that an earlier build has written.

use rusqlite::types::Value;

use super::*;
use crate::ledger::sqlite::schema::{SCHEMA_VERSION, STEPS};

/// A ledger of version 1 with an issued, an aborted and an open intent.
fn of_version_1(place: &Place) -> [SerialNumber; 3] {
    let serials = [(); 3].map(|()| fresh_serial());
    let connection = place.connect();
    connection.execute_batch(STEPS[0]).unwrap();
    connection.pragma_update(None, "application_id", 0x4368_6E63).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let entries = [Audit::Intent, Audit::Intent, Audit::Intent, Audit::Issued, Audit::Aborted];
    for (index, record) in (0_i64..).zip(entries.map(record)) {
        let row = (index, record.entry(), record.leaf_hash());
        connection.execute("INSERT INTO audit_entries VALUES (?1, ?2, ?3)", row).unwrap();
    }
    for (id, (state, serial)) in (0_i64..).zip(["issued", "aborted", "open"].iter().zip(&serials)) {
        let insert = "INSERT INTO intents VALUES (?1, ?2, ?3, 'iaca', 'a.x509', zeroblob(32),
             'a.kms.k', 'a.kms.k', FALSE, 'CN=a', 'request', 1780000000)";
        connection.execute(insert, (id, state, serial.as_octets())).unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO store_entries (store, id, reserved_by) VALUES ('a.certs', 'open', 2);
             INSERT INTO certificates SELECT 3, id, serial, service, purpose, x'30', zeroblob(32),
                 zeroblob(32), x'', x'', 'Root', 'CN=Root', 'CN=Root', zeroblob(20), zeroblob(20),
                 issuer_key_path, subject_key_path, 1780000000, 1780001000, TRUE, TRUE, 1780000000,
                 client, request_id, dev_key, NULL, '[]' FROM intents WHERE id = 0",
        )
        .unwrap();
    serials
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_version_1_goes_on_with_all_that_is_in_it() {
    let place = Place::new();
    let [issued, aborted, left_open] = of_version_1(&place);
    let (ledger, open_intents) = place.open_any().unwrap();
    let [open_intent] = open_intents.as_slice() else { panic!("{open_intents:?}") };
    assert_eq!(open_intent.serial, Some(left_open));
    assert_eq!(ledger.figures().tree_size, 5);
    for serial in [issued, aborted, left_open] {
        let again = Intent { serial: Some(serial), ..intent(&[]) };
        assert_eq!(ledger.begin(again).await, Err(BeginError::SerialTaken));
    }
    let (certificate, der) =
        ledger.certificate(path("a.x509"), issued.as_octets().to_vec()).await.unwrap().unwrap();
    assert_eq!((certificate.audit_index, &*certificate.subject_text), (3, "CN=Root"));
    assert_eq!(der, [0x30]);
    assert_eq!(ledger.complete(open_intent.id, outcome(&["open"])).await, Ok(5));
    let next = ledger.begin(intent(&["next"])).await.unwrap();
    assert_eq!(ledger.complete(next, outcome(&["next"])).await, Ok(7));
    ledger.close().await;

    place.assert_consistent();
    let connection = place.connect();
    let version: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, SCHEMA_VERSION);
    let wrong = connection.execute("UPDATE intents SET state = 'lost' WHERE id = 0", []);
    assert!(wrong.unwrap_err().to_string().contains("CHECK constraint failed"));
}

#[test]
fn no_statement_about_an_intent_makes_a_table_of_its_own() {
    let place = Place::new();
    drop(place.open_any().unwrap());
    let connection = place.connect();
    let mut explained =
        connection.prepare("EXPLAIN UPDATE intents SET state = 'issued' WHERE id = 0").unwrap();
    let steps: Vec<String> =
        explained.query_map([], |row| row.get("opcode")).unwrap().map(Result::unwrap).collect();
    assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{steps:?}");
}

/// What the version before has left behind: tables by name, rows with their columns as they were.
fn rows(connection: &Connection, columns: &[(String, String)]) -> Vec<(String, Vec<Vec<Value>>)> {
    let read = |(table, columns): &(String, String)| {
        let sql = format!("SELECT {columns} FROM {table} ORDER BY 1, 2");
        let mut statement = connection.prepare(&sql).unwrap();
        let count = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..count).map(|at| row.get(at)).collect();
        let rows = statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
        (table.clone(), rows)
    };
    columns.iter().map(read).collect()
}

/// The tables and their columns, but for the name of the version.
fn columns(connection: &Connection) -> Vec<(String, String)> {
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let named = |table: String| {
        let sql = format!("SELECT group_concat(name) FROM pragma_table_info('{table}')");
        let columns = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        (table, columns)
    };
    tables.into_iter().filter(|table| table != "meta").map(named).collect()
}

/// A ledger of version 2 with a row of each kind.
fn of_version_2(place: &Place) -> Vec<(String, Vec<Vec<Value>>)> {
    of_version_1(place);
    let connection = place.connect();
    connection.execute_batch(STEPS[1]).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    let spki = b"the public key".to_vec();
    for (path, label) in [("a.kms.k", "a.kms.k"), ("a.kms.root", "Root G1")] {
        connection
            .execute(
                "INSERT INTO key_pins (path, token, label, cka_id, spki, spki_sha256, first_seen)
                 VALUES (?1, 'hsm', ?2, x'01', ?3, ?4, 1780000000)",
                (path, label, &spki, sha256(&spki)),
            )
            .unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO store_entries (store, id, kind, der, spki_sha256, is_ca, metadata)
                 VALUES ('a.certs', 'root', 'base', x'30', zeroblob(32), TRUE, NULL);
             INSERT INTO vical_issues VALUES ('a.vical', 7);
             INSERT INTO vical_versions VALUES ('a.vical', 'v7', 7, NULL, 'Provider', 1780000000,
                 NULL, 1, x'd2', zeroblob(32), 1, 'ES256', 'pem', NULL);
             INSERT INTO answers VALUES
                 ('CN=a', 'POST /', 'key', zeroblob(32), '01', 3, x'7b7d', 1780000000);
             INSERT INTO resources VALUES
                 ('a.x509', '{\"type\":\"x509-service\",\"dependencies\":[\"a.kms\",\"a.certs\"]}');
             INSERT INTO key_changes VALUES ('a.kms.new', 'generate', 'CN=a', 'request', 1780000000);
             INSERT INTO iaca_pins VALUES
                 (zeroblob(32), x'3000', '', 'https://a.example', 1780000000, 1780001000, 'a.kms.k',
                 1780000000);",
        )
        .unwrap();
    rows(&connection, &columns(&connection))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_the_version_before_keeps_every_row_and_its_pins_get_their_token() {
    let place = Place::new();
    let before = of_version_2(&place);
    assert!(before.iter().all(|(table, rows)| !rows.is_empty() || table == "sqlite_stat1"));
    let tables = columns(&place.connect());
    let (ledger, open_intents) = place.open_any().unwrap();
    assert_eq!(open_intents.len(), 1);
    let resources = ledger.resources().await.unwrap();
    assert!(resources[0].definition.contains("a.certs"), "{resources:?}");
    assert_eq!(ledger.tokens().await, Ok(Vec::new()));
    let pins = ledger.key_pins().await.unwrap();
    assert_eq!(pins.len(), 2);
    assert!(pins.iter().all(|pin| pin.token == "hsm" && pin.token_serial.is_none()), "{pins:?}");
    assert_eq!(rows(&place.connect(), &tables), before);

    // The first look shows one of them, and another key where the other one was.
    let token = RecordedToken { name: "hsm".to_owned(), serial: "0011".to_owned(), since: now() };
    let shown = vec![(pins[0].path.clone(), pins[0].spki_sha256), (pins[1].path.clone(), KEY)];
    ledger.record_token(token.clone(), shown, record(Audit::TokenRecorded)).await.unwrap();
    let serials = |pins: Vec<KeyPin>| pins.into_iter().map(|pin| pin.token_serial).collect();
    let known: Vec<_> = serials(ledger.key_pins().await.unwrap());
    assert_eq!(known, [Some("0011".to_owned()), None]);
    assert_eq!(ledger.tokens().await, Ok(vec![token.clone()]));
    ledger.close().await;
    place.assert_consistent();
}

/// Neither a lock nor a migration is needed to tell what an older ledger holds.
#[test]
fn a_ledger_of_each_version_is_read_as_it_is_beside_whoever_uses_it() {
    let place = Place::new();
    assert_eq!(Ledger::inherited_beside(place.file(), now()), Ok(None));
    of_version_2(&place);
    let version = || {
        let connection = place.connect();
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0)).unwrap()
    };
    let before = Ledger::inherited_beside(place.file(), now()).unwrap().unwrap();
    assert_eq!(before.older, Some((2, SCHEMA_VERSION)));
    assert_eq!(version(), 2);
    let Inherited { resources, cas, iaca_pins, keys, is_cut } = &before.inherited;
    assert_eq!((resources.len(), cas.len(), iaca_pins.len(), keys.len()), (1, 1, 1, 2));
    assert!(!is_cut);

    let (_ledger, _) = place.open_any().unwrap();
    assert_eq!(version(), SCHEMA_VERSION);
    let after = Ledger::inherited_beside(place.file(), now()).unwrap().unwrap();
    assert_eq!(after, LedgerBeside { older: None, inherited: before.inherited });
}
