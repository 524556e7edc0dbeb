//! Statements about keys and their pins.

use rusqlite::{Connection, named_params};

use super::{
    read::{parsed, timestamp},
    write,
};
use crate::{
    audit::AuditRecord,
    domain::{path::KeyPath, time::Timestamp},
    ledger::{
        record::{KeyChange, PinChange},
        sqlite::transaction::Transaction,
    },
};

/// Records a change as open.
pub(in crate::ledger) fn begin(
    transaction: &Transaction<'_>,
    change: &KeyChange,
    audit: &AuditRecord,
) -> rusqlite::Result<()> {
    transaction
        .statement(
            "INSERT INTO key_changes (path, operation, client, request_id, begun_at)
             VALUES (:path, :operation, :client, :request_id, :begun_at)
             ON CONFLICT (path) DO UPDATE SET operation = excluded.operation,
                 client = excluded.client, request_id = excluded.request_id,
                 begun_at = excluded.begun_at",
        )?
        .execute(named_params! {
            ":path": change.path.as_str(),
            ":operation": change.operation,
            ":client": change.client,
            ":request_id": change.request_id,
            ":begun_at": change.begun_at.unix(),
        })?;
    write::append(transaction, audit)?;
    Ok(())
}

/// Closes a change, unless another took its place.
pub(in crate::ledger) fn end(
    transaction: &Transaction<'_>,
    change: &KeyChange,
    pin: &PinChange,
    audit: &AuditRecord,
) -> rusqlite::Result<()> {
    let path = &change.path;
    let ended = transaction
        .statement(
            "DELETE FROM key_changes WHERE path = ?1 AND request_id = ?2 AND operation = ?3",
        )?
        .execute((path.as_str(), &change.request_id, &change.operation))?;
    match pin {
        _ if ended == 0 => {}
        PinChange::None => {}
        PinChange::Set(pin) => {
            remove_pin(transaction, path)?;
            write::pin_key(transaction, pin)?;
        }
        PinChange::Remove => remove_pin(transaction, path)?,
    }
    write::append(transaction, audit)?;
    Ok(())
}

/// The open changes, by path.
pub(in crate::ledger) fn open(connection: &Connection) -> rusqlite::Result<Vec<KeyChange>> {
    connection
        .prepare_cached(
            "SELECT path, operation, client, request_id, begun_at FROM key_changes ORDER BY path",
        )?
        .query_map([], |row| {
            Ok(KeyChange {
                path: parsed(row, "path", KeyPath::parse)?,
                operation: row.get("operation")?,
                client: row.get("client")?,
                request_id: row.get("request_id")?,
                begun_at: timestamp(row, "begun_at")?,
            })
        })?
        .collect()
}

/// The number of CA certificates of a key that have not expired at `now`.
pub(in crate::ledger) fn valid_cas(
    connection: &Connection,
    spki_sha256: &[u8; 32],
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT COUNT(*) FROM certificates
             WHERE spki_sha256 = ?1 AND is_ca AND not_after >= ?2",
        )?
        .query_row((spki_sha256, now.unix()), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// How many certificates that were issued with a key of this path, or for it, have not expired; as far as
/// [`COUNTED_MAX`].
pub(in crate::ledger) fn valid_of_key(
    connection: &Connection,
    path: &KeyPath,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT COUNT(*) FROM (
                 SELECT audit_index FROM certificates WHERE issuer_key_path = ?1 AND not_after >= ?2
                 UNION
                 SELECT audit_index FROM certificates WHERE subject_key_path = ?1 AND not_after >= ?2
                 LIMIT ?3)",
        )?
        .query_row((path.as_str(), now.unix(), COUNTED_MAX), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Certificates of a key that are counted.
const COUNTED_MAX: i64 = 10_000;

fn remove_pin(transaction: &Transaction<'_>, path: &KeyPath) -> rusqlite::Result<()> {
    transaction.statement("DELETE FROM key_pins WHERE path = ?1")?.execute([path.as_str()])?;
    Ok(())
}
