//! Statements that hold what is recorded against the hashes that are recorded with it.

use data_encoding::HEXLOWER;
use rusqlite::{Connection, Row};
use serde_json::Value;

use super::read::parsed;
use crate::{
    audit::leaf_hash,
    domain::{key::sha256, path::KeyPath, time::Timestamp},
    ledger::record::{CaKey, Counts},
};

/// Checks every hash and counts.
///
/// # Errors
/// The first thing that is wrong.
pub(in crate::ledger) fn everything(connection: &Connection) -> Result<Counts, String> {
    Ok(Counts {
        audit_entries: audit_entries(connection)?,
        certificates: certificates(connection)?,
        vical_versions: hashes(
            connection,
            "VICAL version",
            "SELECT service || '.versions.' || version AS name, artifact AS content, sha256
             FROM vical_versions WHERE artifact IS NOT NULL",
        )?,
        key_pins: hashes(
            connection,
            "key pin",
            "SELECT path AS name, spki AS content, spki_sha256 AS sha256 FROM key_pins",
        )?,
        store_entries: count(connection)?,
    })
}

/// Every entry is there, and is what was hashed.
fn audit_entries(connection: &Connection) -> Result<u64, String> {
    let mut next = 0;
    each(connection, "SELECT idx, entry, leaf_hash FROM audit_entries ORDER BY idx", |row| {
        let (index, entry, hash): (i64, Vec<u8>, Vec<u8>) =
            (row.get("idx")?, row.get("entry")?, row.get("leaf_hash")?);
        if index != next {
            return Ok(Err(format!("audit entry {next} is missing")));
        }
        next += 1;
        let is_whole = leaf_hash(&entry)[..] == hash[..];
        Ok(if is_whole { Ok(()) } else { Err(format!("audit entry {index} was changed")) })
    })
}

/// Every certificate is what its audit entry says.
fn certificates(connection: &Connection) -> Result<u64, String> {
    let sql = "SELECT audit_index, der, sha256, entry FROM certificates
         LEFT JOIN audit_entries ON idx = audit_index ORDER BY audit_index";
    each(connection, sql, |row| {
        let index: i64 = row.get("audit_index")?;
        let (der, hash): (Vec<u8>, Vec<u8>) = (row.get("der")?, row.get("sha256")?);
        let entry: Option<Vec<u8>> = row.get("entry")?;
        let entry: Value =
            entry.and_then(|entry| serde_json::from_slice(&entry).ok()).unwrap_or_default();
        let computed = sha256(&der);
        let hex = HEXLOWER.encode(&computed);
        let is_whole = computed[..] == hash[..]
            && entry["type"] == "issued"
            && entry["detail"]["certificateSha256"] == hex.as_str();
        let wrong = || format!("the certificate of audit entry {index} was changed");
        Ok(if is_whole { Ok(()) } else { Err(wrong()) })
    })
}

fn hashes(connection: &Connection, what: &str, sql: &str) -> Result<u64, String> {
    each(connection, sql, |row| {
        let name: String = row.get("name")?;
        let (content, hash): (Vec<u8>, Vec<u8>) = (row.get("content")?, row.get("sha256")?);
        let is_whole = sha256(&content)[..] == hash[..];
        Ok(if is_whole { Ok(()) } else { Err(format!("{what} {name} was changed")) })
    })
}

fn count(connection: &Connection) -> Result<u64, String> {
    each(connection, "SELECT 1 FROM store_entries WHERE der IS NOT NULL", |_| Ok(Ok(())))
}

/// Has a look at each row; the answer is how many there are.
fn each(
    connection: &Connection,
    sql: &str,
    mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<Result<(), String>>,
) -> Result<u64, String> {
    let words = |error: rusqlite::Error| error.to_string();
    let mut statement = connection.prepare(sql).map_err(words)?;
    let mut rows = statement.query([]).map_err(words)?;
    let mut number = 0;
    while let Some(row) = rows.next().map_err(words)? {
        look(row).map_err(words)??;
        number += 1;
    }
    Ok(number)
}

/// The keys that CAs need: those of CA certificates that have not expired, and those that have signed
/// and are still pinned.
pub(in crate::ledger) fn ca_keys(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Vec<CaKey>> {
    connection
        .prepare(
            "SELECT subject_key_path AS path, spki_sha256 FROM certificates
             WHERE is_ca AND subject_key_path IS NOT NULL AND not_after >= ?1
             UNION
             SELECT path, spki_sha256 FROM key_pins
             WHERE path IN (SELECT issuer_key_path FROM certificates)
             ORDER BY path",
        )?
        .query_map([now.unix()], |row| {
            Ok(CaKey {
                path: parsed(row, "path", KeyPath::parse)?,
                spki_sha256: row.get("spki_sha256")?,
            })
        })?
        .collect()
}
