//! Reading what was issued.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, types::Value};

use super::read::{parsed, parsed_option, purpose, timestamp};
use crate::{
    domain::{
        path::{KeyPath, ResourcePath},
        serial::SerialNumber,
        time::Timestamp,
    },
    ledger::record::{Certificate, CertificateFilter, CertificateStatus},
};

const COLUMNS: &str = "audit_index, serial, profile, subject_text, issuer_text, not_before,
    not_after, subject_key_id, issuer_key_id, issuer_key_path, subject_key_path, stored_ids,
    sha256, issued_at, client, request_id, dev_key";

/// The certificates of a service that pass the filter, newest first, at most `limit`.
pub(in crate::ledger) fn list(
    connection: &Connection,
    service: &ResourcePath,
    filter: &CertificateFilter,
    limit: usize,
) -> rusqlite::Result<Vec<Certificate>> {
    let (sql, values) = query(service, filter, limit);
    let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    connection.prepare_cached(&sql)?.query_map(values.as_slice(), certificate)?.collect()
}

/// One certificate of a service, and its DER.
pub(in crate::ledger) fn one(
    connection: &Connection,
    service: &ResourcePath,
    serial: &[u8],
) -> rusqlite::Result<Option<(Certificate, Vec<u8>)>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, der FROM certificates WHERE serial = ?1 AND service = ?2"
        ))?
        .query_row((serial, service.as_str()), |row| Ok((certificate(row)?, row.get("der")?)))
        .optional()
}

/// The statement of a filter: one condition for each member that is given, and nothing else.
pub(in crate::ledger) fn query(
    service: &ResourcePath,
    filter: &CertificateFilter,
    limit: usize,
) -> (String, Vec<Value>) {
    let mut conditions = vec!["service = ?".to_owned()];
    let mut values = vec![Value::from(service.as_str().to_owned())];
    let mut and = |condition: &str, given: Vec<Value>| {
        conditions.push(condition.to_owned());
        values.extend(given);
    };
    let text = |text: &str| Value::from(text.to_owned());
    let seconds = |time: Timestamp| Value::from(time.unix());
    if let Some(profile) = filter.profile {
        and("profile = ?", vec![text(profile.name())]);
    }
    match filter.status {
        None => {}
        Some((CertificateStatus::Valid, now)) => {
            and("not_before <= ? AND not_after >= ?", vec![seconds(now), seconds(now)]);
        }
        Some((CertificateStatus::NotYetValid, now)) => and("not_before > ?", vec![seconds(now)]),
        Some((CertificateStatus::Expired, now)) => and("not_after < ?", vec![seconds(now)]),
        // Nothing is revoked yet.
        Some((CertificateStatus::Revoked, _)) => and("0", Vec::new()),
    }
    if let Some(key_id) = &filter.issuer_key_id {
        and("issuer_key_id = ?", vec![Value::from(key_id.clone())]);
    }
    if let Some(name) = &filter.subject_cn {
        and("subject_cn = ?", vec![text(name)]);
    }
    if let Some(path) = &filter.key_path {
        and(
            "(issuer_key_path = ? OR subject_key_path = ?)",
            vec![text(path.as_str()), text(path.as_str())],
        );
    }
    if let Some(id) = &filter.stored_id {
        and("stored_id = ?", vec![text(id.as_str())]);
    }
    if let Some(client) = &filter.client {
        and("client = ?", vec![text(client)]);
    }
    for (condition, time) in [
        ("issued_at >= ?", filter.issued_from),
        ("issued_at <= ?", filter.issued_to),
        ("not_after >= ?", filter.not_after_from),
        ("not_after <= ?", filter.not_after_to),
    ] {
        if let Some(time) = time {
            and(condition, vec![seconds(time)]);
        }
    }
    if let Some(before) = filter.before_index {
        and("audit_index < ?", vec![Value::from(before.cast_signed())]);
    }
    values.push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX)));
    let conditions = conditions.join(" AND ");
    let sql = format!(
        "SELECT {COLUMNS} FROM certificates WHERE {conditions} ORDER BY audit_index DESC LIMIT ?"
    );
    (sql, values)
}

fn certificate(row: &Row<'_>) -> rusqlite::Result<Certificate> {
    let stored: Vec<String> = parsed(row, "stored_ids", |text| serde_json::from_str(text))?;
    Ok(Certificate {
        audit_index: row.get::<_, i64>("audit_index")?.unsigned_abs(),
        // Shaping what is shaped already changes nothing.
        serial: SerialNumber::from_random(row.get("serial")?),
        profile: parsed(row, "profile", purpose)?,
        subject_text: row.get("subject_text")?,
        issuer_text: row.get("issuer_text")?,
        not_before: timestamp(row, "not_before")?,
        not_after: timestamp(row, "not_after")?,
        subject_key_id: row.get("subject_key_id")?,
        issuer_key_id: row.get("issuer_key_id")?,
        issuer_key_path: parsed_option(row, "issuer_key_path", KeyPath::parse)?,
        subject_key_path: parsed_option(row, "subject_key_path", KeyPath::parse)?,
        stored_ids: stored,
        sha256: row.get("sha256")?,
        issued_at: timestamp(row, "issued_at")?,
        client: row.get("client")?,
        request_id: row.get("request_id")?,
        dev_key: row.get("dev_key")?,
    })
}
