//! Ledgers that an earlier build has written.

use super::*;
use crate::ledger::sql::schema::{SCHEMA_VERSION, STEPS};

/// A ledger of version 1 with an issued, an aborted and an open intent.
fn of_version_1(file: &Path) -> [SerialNumber; 3] {
    let serials = [(); 3].map(|()| fresh_serial());
    let connection = Connection::open(file).unwrap();
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
    let (_directory, file) = place();
    let [issued, aborted, left_open] = of_version_1(&file);
    let (ledger, open_intents) = Ledger::open(&file).unwrap();
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

    assert_consistent(&file);
    let connection = Connection::open(&file).unwrap();
    let version: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, SCHEMA_VERSION);
    let wrong = connection.execute("UPDATE intents SET state = 'lost' WHERE id = 0", []);
    assert!(wrong.unwrap_err().to_string().contains("CHECK constraint failed"));
}

#[test]
fn no_statement_about_an_intent_makes_a_table_of_its_own() {
    let (_directory, file) = place();
    drop(Ledger::open(&file).unwrap());
    let connection = Connection::open(&file).unwrap();
    let mut explained =
        connection.prepare("EXPLAIN UPDATE intents SET state = 'issued' WHERE id = 0").unwrap();
    let steps: Vec<String> =
        explained.query_map([], |row| row.get("opcode")).unwrap().map(Result::unwrap).collect();
    assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{steps:?}");
}
