//! Statements about VICAL versions.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{
    read::{self, parsed, timestamp},
    write,
};
use crate::{
    audit::AuditRecord,
    domain::path::{PathElement, ResourcePath},
    ledger::{
        error::{BeginError, LedgerError},
        record::{Intent, IntentId, KeptAnswer, StoreEntry},
        transaction::Transaction,
        vical::{PublishedVersion, VicalArtifact, VicalVersion},
    },
};

/// Takes the next issue id of a service, has the intent made that signs with it, and records both.
pub(in crate::ledger) fn begin<T>(
    transaction: &Transaction<'_>,
    service: &ResourcePath,
    version: &PathElement,
    make: impl FnOnce(u64) -> Result<(Intent, T), String>,
) -> Result<(IntentId, T), BeginError> {
    let issue_id = next_issue_id(transaction, service)?;
    let (intent, made) = make(issue_id.unsigned_abs()).map_err(BeginError::NotMade)?;
    let id = IntentId { reserves: true, ..write::begin(transaction, &intent)? };
    let rows = transaction
        .statement(
            "INSERT INTO vical_versions (service, version, issue_id, reserved_by)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT (service, version) DO NOTHING",
        )?
        .execute((service.as_str(), version.as_str(), issue_id, id.number))?;
    if rows == 0 {
        return Err(BeginError::VersionTaken);
    }
    Ok((id, made))
}

/// Ends an intent with the version that it reserved; the index of its audit entry.
pub(in crate::ledger) fn complete(
    transaction: &Transaction<'_>,
    id: IntentId,
    published: &PublishedVersion,
    audit: &AuditRecord,
    answer: Option<&KeptAnswer>,
) -> Result<u64, LedgerError> {
    let chain = serde_json::Value::from(published.signer_chain_pem.clone()).to_string();
    let rows = transaction
        .statement(
            "UPDATE vical_versions SET reserved_by = NULL, provider = :provider, date = :date,
                 next_update = :next_update, entry_count = :entry_count, artifact = :artifact,
                 sha256 = :sha256, size_bytes = :size_bytes, algorithm = :algorithm,
                 signer_certificate_pem = :signer_certificate_pem,
                 signer_chain_pem = :signer_chain_pem
             WHERE reserved_by = :intent",
        )?
        .execute(named_params! {
            ":provider": published.provider,
            ":date": published.date.unix(),
            ":next_update": published.next_update.map(|moment| moment.unix()),
            ":entry_count": i64::try_from(published.entry_count).unwrap_or(i64::MAX),
            ":artifact": published.artifact,
            ":sha256": published.sha256,
            ":size_bytes": i64::try_from(published.artifact.len()).unwrap_or(i64::MAX),
            ":algorithm": published.algorithm,
            ":signer_certificate_pem": published.signer_certificate_pem,
            ":signer_chain_pem": chain,
            ":intent": id.number,
        })?;
    if rows != 1 {
        return Err(LedgerError::NotOpen);
    }
    write::complete_request(transaction, id, audit, answer)
}

/// The `vical-entry` entries of several stores, in the order of the stores, then by id.
pub(in crate::ledger) fn entries(
    connection: &Connection,
    stores: &[ResourcePath],
) -> rusqlite::Result<Vec<StoreEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, kind, der, metadata FROM store_entries
         WHERE store = ?1 AND kind = 'vical-entry' ORDER BY id",
    )?;
    let mut entries = Vec::new();
    for store in stores {
        for entry in statement.query_map([store.as_str()], |row| read::entry(row, store))? {
            entries.push(entry?);
        }
    }
    Ok(entries)
}

/// Whether the version exists or is reserved.
pub(in crate::ledger) fn is_taken(
    connection: &Connection,
    service: &ResourcePath,
    version: &PathElement,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM vical_versions WHERE service = ?1 AND version = ?2")?
        .exists((service.as_str(), version.as_str()))
}

/// The published versions, newest first.
pub(in crate::ledger) fn ids(
    connection: &Connection,
    service: &ResourcePath,
) -> rusqlite::Result<Vec<PathElement>> {
    connection
        .prepare_cached(
            "SELECT version FROM vical_versions
             WHERE service = ?1 AND artifact IS NOT NULL ORDER BY issue_id DESC",
        )?
        .query_map([service.as_str()], |row| parsed(row, "version", PathElement::parse))?
        .collect()
}

/// What is known of a published version without its octets; without `version`, of the newest.
pub(in crate::ledger) fn version(
    connection: &Connection,
    service: &ResourcePath,
    version: Option<&PathElement>,
) -> rusqlite::Result<Option<VicalVersion>> {
    connection
        .prepare_cached(
            "SELECT version, issue_id, provider, date, next_update, entry_count, size_bytes, sha256,
                 algorithm, signer_certificate_pem, signer_chain_pem
             FROM vical_versions
             WHERE service = ?1 AND (?2 IS NULL OR version = ?2) AND artifact IS NOT NULL
             ORDER BY issue_id DESC LIMIT 1",
        )?
        .query_row((service.as_str(), version.map(PathElement::as_str)), described)
        .optional()
}

/// The octets of a published version; without `version`, of the newest.
pub(in crate::ledger) fn artifact(
    connection: &Connection,
    service: &ResourcePath,
    version: Option<&PathElement>,
) -> rusqlite::Result<Option<VicalArtifact>> {
    connection
        .prepare_cached(
            "SELECT artifact, sha256 FROM vical_versions
             WHERE service = ?1 AND (?2 IS NULL OR version = ?2) AND artifact IS NOT NULL
             ORDER BY issue_id DESC LIMIT 1",
        )?
        .query_row((service.as_str(), version.map(PathElement::as_str)), |row| {
            Ok(VicalArtifact { octets: row.get("artifact")?, sha256: row.get("sha256")? })
        })
        .optional()
}

fn described(row: &Row<'_>) -> rusqlite::Result<VicalVersion> {
    let unsigned = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let next_update: Option<i64> = row.get("next_update")?;
    Ok(VicalVersion {
        version: parsed(row, "version", PathElement::parse)?,
        issue_id: unsigned("issue_id")?,
        provider: row.get("provider")?,
        date: timestamp(row, "date")?,
        next_update: next_update.map(|_| timestamp(row, "next_update")).transpose()?,
        entry_count: unsigned("entry_count")?,
        size_bytes: unsigned("size_bytes")?,
        sha256: row.get("sha256")?,
        algorithm: row.get("algorithm")?,
        signer_certificate_pem: row.get("signer_certificate_pem")?,
        signer_chain_pem: parsed(row, "signer_chain_pem", |text| serde_json::from_str(text))?,
    })
}

/// Counts even what comes to nothing: the octets may have been signed all the same.
fn next_issue_id(transaction: &Transaction<'_>, service: &ResourcePath) -> rusqlite::Result<i64> {
    transaction
        .statement(
            "INSERT INTO vical_issues (service, last) VALUES (?1, 1)
             ON CONFLICT (service) DO UPDATE SET last = vical_issues.last + 1
             RETURNING last",
        )?
        .query_row([service.as_str()], |row| row.get(0))
}
