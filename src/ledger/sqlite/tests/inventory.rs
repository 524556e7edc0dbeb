//! Plans of the inventory: how many instructions a page costs.

use rusqlite::{Connection, StatementStatus, ToSql};

use crate::{
    domain::{
        client::KeyPurpose,
        path::{KeyPath, PathElement, ResourcePath},
        time::Timestamp,
    },
    ledger::{
        record::{CertificateFilter, CertificateStatus},
        sqlite::{schema, sql::inventory},
    },
};

const ROWS: i32 = 20_000;
const RARE: i32 = 11;

/// A ledger of so many certificates of one service, in which every value of interest is either
/// everywhere or on the oldest eleven rows.
fn ledger() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    schema::migrate(&connection, 0).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA foreign_keys = OFF;
             WITH RECURSIVE n (n) AS
                 (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {ROWS}),
             r (n, kind) AS (SELECT n, iif(n < {RARE}, 'rare', 'common') FROM n)
             INSERT INTO certificates (audit_index, intent, serial, service, profile, der,
                 sha256, spki_sha256, subject_der, issuer_der, subject_cn, subject_text,
                 issuer_text, subject_key_id, issuer_key_id, issuer_key_path, subject_key_path,
                 not_before, not_after, is_ca, self_signed, issued_at, client, request_id,
                 dev_key, stored_id, stored_ids)
             SELECT n, n, CAST(printf('%016d', n) AS BLOB), 'acme.x509',
                 iif(n < {RARE}, 'iaca', 'document-signer'), zeroblob(600), zeroblob(32),
                 zeroblob(32), x'', x'', kind, kind, kind, zeroblob(20), CAST(kind AS BLOB),
                 'acme.kms.' || kind, iif(n < {RARE}, 'acme.kms.rare', NULL),
                 iif(n < {RARE}, -9, 1000), iif(n < {RARE}, -1, 2000), 0, 0, n, kind, 'r', 0,
                 kind, '[]' FROM r;"
        ))
        .unwrap();
    connection
}

/// The audit indexes that a filter finds, and how many instructions of SQLite it takes.
fn find(connection: &Connection, filter: &CertificateFilter) -> (Vec<i64>, i32) {
    let service = ResourcePath::parse("acme.x509").unwrap();
    let (sql, values) = inventory::query(&service, filter, 50);
    let mut statement = connection.prepare(&sql).unwrap();
    let values: Vec<&dyn ToSql> = values.iter().map(|v| v as _).collect();
    let rows = statement.query_map(values.as_slice(), |row| row.get("audit_index")).unwrap();
    let found = rows.map(Result::unwrap).collect();
    (found, statement.get_status(StatementStatus::VmStep))
}

/// Filters by `common` or `rare` values; the two are alike for all others.
fn filters(kind: &str) -> Vec<CertificateFilter> {
    let is_rare = kind == "rare";
    let none = CertificateFilter::default;
    let time = |seconds: i32| Some(Timestamp::from_unix(seconds).unwrap());
    let at = Timestamp::from_unix(1_500).unwrap();
    let profile = if is_rare { KeyPurpose::Iaca } else { KeyPurpose::DocumentSigner };
    let key_path = KeyPath::parse(&format!("acme.kms.{kind}")).unwrap();
    let status = if is_rare { CertificateStatus::Expired } else { CertificateStatus::Valid };
    let limits = if is_rare { (None, time(RARE - 1)) } else { (time(RARE), None) };
    let ends = if is_rare { (None, time(-1)) } else { (time(2_000), None) };
    vec![
        CertificateFilter { profile: Some(profile), ..none() },
        CertificateFilter { status: Some((status, at)), ..none() },
        CertificateFilter { issuer_key_id: Some(kind.into()), ..none() },
        CertificateFilter { subject_cn: Some(kind.into()), ..none() },
        CertificateFilter { key_path: Some(key_path), ..none() },
        CertificateFilter { stored_id: PathElement::parse(kind).ok(), ..none() },
        CertificateFilter { client: Some(kind.into()), ..none() },
        CertificateFilter { issued_from: limits.0, issued_to: limits.1, ..none() },
        CertificateFilter { not_after_from: ends.0, not_after_to: ends.1, ..none() },
    ]
}

#[test]
fn what_is_common_is_found_without_reading_on_and_what_is_rare_without_reading_all() {
    let connection = ledger();
    let mut cases = vec![(CertificateFilter::default(), 0..ROWS)];
    cases.extend(filters("common").into_iter().map(|filter| (filter, RARE..ROWS)));
    cases.extend(filters("rare").into_iter().map(|filter| (filter, 0..RARE)));
    for (filter, rows) in cases {
        for before_index in [None, Some(15_000), Some(60)] {
            let filter = CertificateFilter { before_index, ..filter.clone() };
            let (found, steps) = find(&connection, &filter);
            let below = before_index.map_or(ROWS, |before| i32::try_from(before).unwrap());
            let wanted: Vec<_> =
                (rows.start..rows.end.min(below)).rev().take(50).map(i64::from).collect();
            assert_eq!(found, wanted, "{filter:?}");
            // Times alone are told from the index, at some instructions a row.
            let by_time = filter.status.is_some()
                || filter.issued_to.is_some()
                || filter.not_after_to.is_some();
            let most = if by_time && rows.end == RARE { 12 * below } else { 5_000 };
            assert!(steps <= most, "{steps} of {most}: {filter:?}");
        }
    }
}

#[test]
fn two_filters_take_the_one_that_finds_less() {
    let connection = ledger();
    let common = filters("common");
    let rare = filters("rare");
    let key_path = rare[4].key_path.clone();
    let status = common[1].status;
    for filter in [
        CertificateFilter { client: Some("common".into()), ..rare[3].clone() },
        CertificateFilter { issuer_key_id: Some("common".into()), ..rare[3].clone() },
        CertificateFilter { profile: Some(KeyPurpose::DocumentSigner), ..rare[2].clone() },
        CertificateFilter { subject_cn: Some("common".into()), ..rare[5].clone() },
        CertificateFilter { key_path, issuer_key_id: Some("common".into()), ..common[6].clone() },
        CertificateFilter { status, ..rare[4].clone() },
    ] {
        let (found, steps) = find(&connection, &filter);
        assert!(found.is_empty(), "{found:?}: {filter:?}");
        assert!(steps <= 2_000, "{steps}: {filter:?}");
    }
}

#[test]
fn a_key_path_is_found_in_either_column_once() {
    let connection = ledger();
    let set = "UPDATE certificates SET subject_key_path = 'acme.kms.x'";
    connection.execute(&format!("{set} WHERE audit_index % 1000 = 7"), []).unwrap();
    let set = "UPDATE certificates SET issuer_key_path = 'acme.kms.x'";
    connection.execute(&format!("{set} WHERE audit_index % 2000 = 7"), []).unwrap();
    connection.execute(&format!("{set} WHERE audit_index % 1000 = 8"), []).unwrap();
    let key_path = KeyPath::parse("acme.kms.x").ok();
    let filter = CertificateFilter { key_path, ..CertificateFilter::default() };
    let (found, _) = find(&connection, &filter);
    let wanted: Vec<_> =
        (0..20).rev().flat_map(|n| [n * 1_000 + 8, n * 1_000 + 7]).collect::<Vec<i64>>();
    assert_eq!(found, wanted);
}
