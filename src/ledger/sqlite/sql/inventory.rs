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
            "SELECT {COLUMNS}, der FROM certificates
             WHERE intent = (SELECT id FROM intents WHERE serial = ?1) AND service = ?2"
        ))?
        .query_row((serial, service.as_str()), |row| Ok((certificate(row)?, row.get("der")?)))
        .optional()
}

/// The statement of a filter: one condition for each member that is given, and nothing else.
///
/// Nobody counts the rows for the planner, so it is told which index to take: a `+` before a column
/// keeps it from using one. Whatever it is, it hands out the newest first, and the statement ends
/// with the last row of the page. What no index leads to is told from the one of the service alone,
/// without looking at the rows.
pub(in crate::ledger) fn query(
    service: &ResourcePath,
    filter: &CertificateFilter,
    limit: usize,
) -> (String, Vec<Value>) {
    let limit = Value::from(i64::try_from(limit).unwrap_or(i64::MAX));
    let Some(path) = &filter.key_path else {
        return page(service, filter, None, limit);
    };
    // Either column has an index, and one page of each is enough.
    let path = Value::from(path.as_str().to_owned());
    let of = |column| page(service, filter, Some((column, path.clone())), limit.clone());
    let ((issuers, mut values), (subjects, more)) = (of("issuer_key_path"), of("subject_key_path"));
    values.extend(more);
    values.push(limit);
    let sql = format!(
        "SELECT * FROM ({issuers}) UNION SELECT * FROM ({subjects})
         ORDER BY audit_index DESC LIMIT ?"
    );
    (sql, values)
}

/// One page, of the certificates with a key path in one column if that is given.
fn page(
    service: &ResourcePath,
    filter: &CertificateFilter,
    key_path: Option<(&str, Value)>,
    limit: Value,
) -> (String, Vec<Value>) {
    let mut wanted = Conditions::default();
    let text = |text: &str| Value::from(text.to_owned());
    let seconds = |time: Timestamp| Value::from(time.unix());
    // The first that is given, the one with the fewest rows, finds them.
    wanted.equal("stored_id", filter.stored_id.as_ref().map(|id| text(id.as_str())));
    wanted.equal("subject_cn", filter.subject_cn.as_deref().map(text));
    if let Some((column, path)) = key_path {
        wanted.equal(column, Some(path));
    }
    wanted.equal("issuer_key_id", filter.issuer_key_id.clone().map(Value::from));
    wanted.and(&format!("{}service = ?", wanted.plus()), [text(service.as_str())]);
    // The indexes of these two begin with the service.
    wanted.equal("client", filter.client.as_deref().map(text));
    wanted.equal("profile", filter.profile.map(|profile| text(profile.name())));
    match filter.status {
        None => {}
        Some((CertificateStatus::Valid, now)) => {
            wanted.and("+not_before <= ? AND +not_after >= ?", [seconds(now), seconds(now)]);
        }
        Some((CertificateStatus::NotYetValid, now)) => {
            wanted.and("+not_before > ?", [seconds(now)]);
        }
        Some((CertificateStatus::Expired, now)) => wanted.and("+not_after < ?", [seconds(now)]),
        // Nothing is revoked yet.
        Some((CertificateStatus::Revoked, _)) => wanted.and("0", []),
    }
    for (condition, time) in [
        ("+issued_at >= ?", filter.issued_from),
        ("+issued_at <= ?", filter.issued_to),
        ("+not_after >= ?", filter.not_after_from),
        ("+not_after <= ?", filter.not_after_to),
    ] {
        if let Some(time) = time {
            wanted.and(condition, [seconds(time)]);
        }
    }
    if let Some(before) = filter.before_index {
        wanted.and("audit_index < ?", [Value::from(before.cast_signed())]);
    }
    let Conditions { conditions, mut values, .. } = wanted;
    values.push(limit);
    let conditions = conditions.join(" AND ");
    let sql = format!(
        "SELECT {COLUMNS} FROM certificates WHERE {conditions} ORDER BY audit_index DESC LIMIT ?"
    );
    (sql, values)
}

/// What a row must fulfil.
#[derive(Default)]
struct Conditions {
    conditions: Vec<String>,
    values: Vec<Value>,
    /// Whether a column leads to the rows already.
    is_led: bool,
}

impl Conditions {
    fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.conditions.push(condition.to_owned());
        self.values.extend(values);
    }

    /// A column that leads to the rows unless another does.
    fn equal(&mut self, column: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.and(&format!("{}{column} = ?", self.plus()), [value]);
            self.is_led = true;
        }
    }

    fn plus(&self) -> &'static str {
        if self.is_led { "+" } else { "" }
    }
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
