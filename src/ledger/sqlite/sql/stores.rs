//! Statements that change store entries outside an issuance.

use rusqlite::named_params;

use super::write::append;
use crate::{
    audit::AuditRecord,
    domain::path::{PathElement, ResourcePath},
    ledger::{
        error::{CreateError, LedgerError},
        record::NewEntry,
        sqlite::transaction::Transaction,
    },
};

/// Adds an entry; an id that is there or reserved is taken.
pub(in crate::ledger) fn add(
    transaction: &Transaction<'_>,
    entry: &NewEntry,
    audit: &AuditRecord,
) -> Result<(), CreateError> {
    let added = execute(
        transaction,
        entry,
        "INSERT INTO store_entries (store, id, kind, der, spki_sha256, is_ca, metadata,
             subject_sha256, key_id)
         VALUES (:store, :id, :kind, :der, :spki_sha256, :is_ca, :metadata, :subject_sha256,
             :key_id)
         ON CONFLICT DO NOTHING",
    )?;
    if added == 0 {
        return Err(CreateError::Taken);
    }
    append(transaction, audit)?;
    Ok(())
}

/// Replaces an entry; false when there is none.
pub(in crate::ledger) fn replace(
    transaction: &Transaction<'_>,
    entry: &NewEntry,
    audit: &AuditRecord,
) -> Result<bool, LedgerError> {
    let replaced = execute(
        transaction,
        entry,
        "UPDATE store_entries SET kind = :kind, der = :der, spki_sha256 = :spki_sha256,
             is_ca = :is_ca, metadata = :metadata, subject_sha256 = :subject_sha256,
             key_id = :key_id
         WHERE store = :store AND id = :id AND der IS NOT NULL",
    )?;
    if replaced == 1 {
        append(transaction, audit)?;
    }
    Ok(replaced == 1)
}

/// Deletes an entry; false when there is none.
pub(in crate::ledger) fn delete(
    transaction: &Transaction<'_>,
    store: &ResourcePath,
    id: &PathElement,
    audit: &AuditRecord,
) -> Result<bool, LedgerError> {
    let deleted = transaction
        .statement("DELETE FROM store_entries WHERE store = ?1 AND id = ?2 AND der IS NOT NULL")?
        .execute((store.as_str(), id.as_str()))?;
    if deleted == 1 {
        append(transaction, audit)?;
    }
    Ok(deleted == 1)
}

fn execute(
    transaction: &Transaction<'_>,
    entry: &NewEntry,
    sql: &'static str,
) -> rusqlite::Result<usize> {
    let metadata = entry
        .metadata
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction.statement(sql)?.execute(named_params! {
        ":store": entry.store.as_str(),
        ":id": entry.id.as_str(),
        ":kind": entry.kind.name(),
        ":der": entry.der,
        ":spki_sha256": entry.spki_sha256,
        ":is_ca": entry.is_ca,
        ":metadata": metadata,
        ":subject_sha256": entry.index.as_ref().map(|index| index.subject_sha256),
        ":key_id": entry.index.as_ref().and_then(|index| index.key_id.as_deref()),
    })
}
