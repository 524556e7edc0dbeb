//! Statements about VICAL versions.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{
    read::{self, parsed, timestamp},
    write,
};
use crate::{
    domain::path::{PathElement, ResourcePath},
    ledger::{
        error::{BeginError, LedgerError},
        record::{
            BegunVical, Intent, IntentId, PublishedVersion, StoreEntry, VicalArtifact,
            VicalReservation, VicalVersion,
        },
        sqlite::transaction::Transaction,
    },
};

/// Records the intent of a publication and reserves its version.
pub(in crate::ledger) fn begin(
    transaction: &Transaction<'_>,
    intent: &Intent,
    VicalReservation { version, issue_id, signer }: &VicalReservation,
) -> Result<BegunVical, BeginError> {
    let service = &intent.service;
    let recorded = signer_of(transaction, service)?;
    let replaces = recorded.clone().filter(|recorded| *recorded != signer.sha256s);
    if replaces.is_some() && !signer.may_change {
        return Err(BeginError::OtherSigner);
    }
    let id = IntentId { reserves: true, ..write::begin(transaction, intent)? };
    let rows = transaction
        .statement(
            "INSERT INTO vical_versions (service, version, issue_id, reserved_by)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT (service, version) DO NOTHING",
        )?
        .execute((service.as_str(), version.as_str(), issue_id.cast_signed(), id.number))?;
    if rows == 0 {
        return Err(BeginError::VersionTaken(version.clone()));
    }
    if recorded.is_none() {
        transaction
            .statement(
                "INSERT INTO vical_signers (service, sha256s, reserved_by) VALUES (?1, ?2, ?3)",
            )?
            .execute((service.as_str(), signer.sha256s.concat(), id.number))?;
    }
    Ok(BegunVical { intent: id, replaces })
}

/// SHA-256 of the signer on record for a service and of the certificates above it.
fn signer_of(
    transaction: &Transaction<'_>,
    service: &ResourcePath,
) -> rusqlite::Result<Option<Vec<[u8; 32]>>> {
    let sha256s: Option<Vec<u8>> = transaction
        .statement("SELECT sha256s FROM vical_signers WHERE service = ?1")?
        .query_row([service.as_str()], |row| row.get(0))
        .optional()?;
    Ok(sha256s.map(|octets| octets.as_chunks().0.to_vec()))
}

/// Puts the signer of a publication that ends on record: the first of its service, or one that
/// replaces another with the right to do so. What was put on record meanwhile by somebody else stays.
fn record_signer(
    transaction: &Transaction<'_>,
    intent: IntentId,
    published: &PublishedVersion,
) -> Result<(), LedgerError> {
    let service: Option<String> = transaction
        .statement("SELECT service FROM vical_versions WHERE reserved_by = ?1")?
        .query_row([intent.number], |row| row.get(0))
        .optional()?;
    let service = service.ok_or(LedgerError::NotOpen)?;
    let sha256s = published.signer_sha256s.concat();
    let rows = transaction
        .statement(
            "INSERT INTO vical_signers (service, sha256s) VALUES (?1, ?2)
             ON CONFLICT (service) DO UPDATE SET reserved_by = NULL
                 WHERE vical_signers.sha256s = excluded.sha256s",
        )?
        .execute((&service, &sha256s))?;
    if let (0, Some(audit)) = (rows, &published.signer_changed) {
        transaction
            .statement(
                "UPDATE vical_signers SET sha256s = ?2, reserved_by = NULL WHERE service = ?1",
            )?
            .execute((&service, &sha256s))?;
        write::append(transaction, audit)?;
    }
    Ok(())
}

/// Publishes the version that an intent reserved.
pub(super) fn publish(
    transaction: &Transaction<'_>,
    id: IntentId,
    published: &PublishedVersion,
) -> Result<(), LedgerError> {
    record_signer(transaction, id, published)?;
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
    if rows == 1 { Ok(()) } else { Err(LedgerError::NotOpen) }
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
pub(in crate::ledger) fn next_issue_id(
    transaction: &Transaction<'_>,
    service: &ResourcePath,
) -> rusqlite::Result<i64> {
    transaction
        .statement(
            "INSERT INTO vical_issues (service, last) VALUES (?1, 1)
             ON CONFLICT (service) DO UPDATE SET last = vical_issues.last + 1
             RETURNING last",
        )?
        .query_row([service.as_str()], |row| row.get(0))
}
