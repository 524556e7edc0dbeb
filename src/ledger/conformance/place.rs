//! Where the ledger of a test lies, and a look at it beside the ledger.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, types::FromSql};
use tempfile::TempDir;

use crate::{
    audit::leaf_hash,
    ledger::{Ledger, LedgerError, NewLedger, OpenIntent},
};

/// See the module.
pub(in crate::ledger) struct Place {
    file: PathBuf,
    _directory: Option<TempDir>,
}

impl Place {
    /// One of its own, gone with this.
    pub(in crate::ledger) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { file: directory.path().join("ledger.db"), _directory: Some(directory) }
    }

    /// That of another process or ledger.
    pub(in crate::ledger) fn at(file: &Path) -> Self {
        Self { file: file.to_owned(), _directory: None }
    }

    pub(in crate::ledger) fn file(&self) -> &Path {
        &self.file
    }

    /// Opens a ledger in which no intent is open.
    pub(in crate::ledger) fn open(&self) -> Ledger {
        let (ledger, open_intents) = self.open_any().unwrap();
        assert!(open_intents.is_empty());
        ledger
    }

    pub(in crate::ledger) fn open_any(&self) -> Result<(Ledger, Vec<OpenIntent>), LedgerError> {
        Ledger::open(&self.file)
    }

    /// With a queue of that length.
    pub(in crate::ledger) fn open_with(&self, jobs_max: usize) -> (Ledger, Vec<OpenIntent>) {
        Ledger::open_with(&self.file, NewLedger::Refused, jobs_max).unwrap()
    }

    /// A connection that knows nothing of the ledger's.
    pub(in crate::ledger) fn connect(&self) -> Connection {
        Connection::open(&self.file).unwrap()
    }

    /// How many rows there are, of a table or `table WHERE …`.
    pub(in crate::ledger) fn count(&self, from: &str) -> i64 {
        self.column::<i64>(&format!("SELECT COUNT(*) FROM {from}"))[0]
    }

    /// The first column of each row.
    pub(in crate::ledger) fn column<T: FromSql>(&self, sql: &str) -> Vec<T> {
        let connection = self.connect();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// What holds whatever happened.
    pub(in crate::ledger) fn assert_consistent(&self) {
        let indexes = self.column::<i64>("SELECT idx FROM audit_entries ORDER BY idx");
        assert!(
            (0..).zip(&indexes).all(|(position, index)| position == *index),
            "a gap: {indexes:?}"
        );
        let entries = self.column::<Vec<u8>>("SELECT entry FROM audit_entries ORDER BY idx");
        let hashes = self.column::<[u8; 32]>("SELECT leaf_hash FROM audit_entries ORDER BY idx");
        assert_eq!(entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>(), hashes);
        for (what, rows) in [
            (
                "issued without a certificate",
                "intents WHERE state = 'issued' AND serial IS NOT NULL
                 AND id NOT IN (SELECT intent FROM certificates)",
            ),
            (
                "a certificate of an intent not issued",
                "certificates WHERE intent IN (SELECT id FROM intents WHERE state <> 'issued')",
            ),
            (
                "reserved by an intent not open",
                "store_entries WHERE reserved_by IN (SELECT id FROM intents WHERE state <> 'open')",
            ),
        ] {
            assert_eq!(self.count(rows), 0, "{what}");
        }
        for index in self.column::<i64>("SELECT audit_index FROM certificates") {
            let entry = &entries[usize::try_from(index).unwrap()];
            let entry: serde_json::Value = serde_json::from_slice(entry).unwrap();
            assert_eq!(entry["type"], "issued", "the entry of a certificate is another");
        }
        assert_eq!(self.column::<String>("PRAGMA integrity_check"), ["ok"]);
    }
}
