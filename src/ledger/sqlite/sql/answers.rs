//! Answers that are given again to the same Idempotency-Key.

use rusqlite::{Connection, OptionalExtension, named_params};

use crate::{
    domain::time::Timestamp,
    ledger::{
        record::{KeptAnswer, RequestKey},
        sqlite::transaction::Transaction,
    },
};

/// Keeps an answer; one that was kept too long ago gives way.
pub(in crate::ledger) fn keep(
    transaction: &Transaction<'_>,
    answer: &KeptAnswer,
    audit_index: i64,
) -> rusqlite::Result<()> {
    transaction
        .statement(
            "INSERT INTO answers (client, route, key, fingerprint, serial, audit_index, body, kept_at)
             VALUES (:client, :route, :key, :fingerprint, :serial, :audit_index, :body, :kept_at)
             ON CONFLICT (client, route, key) DO UPDATE SET fingerprint = excluded.fingerprint,
                 serial = excluded.serial, audit_index = excluded.audit_index,
                 body = excluded.body, kept_at = excluded.kept_at",
        )?
        .execute(named_params! {
            ":client": answer.request.client,
            ":route": answer.request.route,
            ":key": answer.request.key,
            ":fingerprint": answer.fingerprint,
            ":serial": answer.serial,
            ":audit_index": audit_index,
            ":body": answer.body,
            ":kept_at": answer.kept_at.unix(),
        })?;
    Ok(())
}

/// The answer of a request, if it is kept and not older than `since`, and the index of its audit
/// entry.
pub(in crate::ledger) fn find(
    connection: &Connection,
    request: &RequestKey,
    since: Timestamp,
) -> rusqlite::Result<Option<(KeptAnswer, u64)>> {
    connection
        .prepare_cached(
            "SELECT fingerprint, serial, audit_index, body, kept_at FROM answers
             WHERE client = ?1 AND route = ?2 AND key = ?3 AND kept_at >= ?4",
        )?
        .query_row((&request.client, &request.route, &request.key, since.unix()), |row| {
            let answer = KeptAnswer {
                request: request.clone(),
                fingerprint: row.get("fingerprint")?,
                serial: row.get("serial")?,
                body: row.get("body")?,
                kept_at: super::read::timestamp(row, "kept_at")?,
            };
            Ok((answer, row.get::<_, i64>("audit_index")?.unsigned_abs()))
        })
        .optional()
}

/// Forgets answers that were kept before `since`, the oldest first.
pub(in crate::ledger) fn forget(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM answers WHERE (client, route, key) IN
                 (SELECT client, route, key FROM answers WHERE kept_at < ?1
                  ORDER BY kept_at LIMIT ?2)",
        )?
        .execute((since.unix(), i64::try_from(limit).unwrap_or(i64::MAX)))
}
