//! Statements about what earlier versions have written. They run on tables of every version.

use std::path::Path;

use rusqlite::Connection;

use super::{
    issuers::issued_certificate,
    read::{iaca_pin, parsed},
};
use crate::{
    domain::{
        path::{KeyPath, ResourcePath},
        time::Timestamp,
    },
    ledger::{
        error::LedgerError,
        record::{Inherited, InheritedResource, LedgerBeside, StoredResource},
        sqlite::{file, schema::SCHEMA_VERSION},
    },
};

/// Rows of each kind that are looked at, at most.
const ROWS_MAX: u16 = 10_000;

/// All of it, of the file of a ledger of any version; `None` where there is no ledger yet.
pub(in crate::ledger) fn beside(
    path: &Path,
    now: Timestamp,
) -> Result<Option<LedgerBeside>, LedgerError> {
    let Some((connection, version)) = file::open_beside(path)? else { return Ok(None) };
    let transaction = connection.unchecked_transaction()?;
    let inherited = all(&transaction, version, now)?;
    let older = (version < SCHEMA_VERSION).then_some((version, SCHEMA_VERSION));
    Ok(Some(LedgerBeside { older, inherited }))
}

/// All of it, of a ledger of that version.
pub(in crate::ledger) fn all(
    connection: &Connection,
    version: i32,
    now: Timestamp,
) -> rusqlite::Result<Inherited> {
    let limit = ROWS_MAX + 1;
    let before = if version < 3 { "definition" } else { "definition_before" };
    let mut resources: Vec<_> = connection
        .prepare(&format!(
            "SELECT path, definition, {before} AS before FROM resources
             WHERE {before} IS NOT NULL ORDER BY path LIMIT ?1"
        ))?
        .query_map([limit], |row| {
            let now = StoredResource {
                path: parsed(row, "path", ResourcePath::parse)?,
                definition: row.get("definition")?,
            };
            Ok(InheritedResource { now, before: row.get("before")? })
        })?
        .collect::<Result<_, _>>()?;
    let mut cas: Vec<_> = connection
        .prepare(
            "SELECT der, service, profile, subject_key_path, self_signed, issued_at
             FROM certificates WHERE is_ca AND (not_after >= ?1 OR profile = 'iaca')
             ORDER BY spki_sha256, audit_index LIMIT ?2",
        )?
        .query_map((now.unix(), limit), issued_certificate)?
        .collect::<Result<_, _>>()?;
    let mut iaca_pins: Vec<_> = connection
        .prepare(
            "SELECT spki_sha256, subject_der, ian_email, ian_uri, not_before, not_after, key_path,
                 pinned_at
             FROM iaca_pins WHERE not_after >= ?1 ORDER BY spki_sha256, pinned_at LIMIT ?2",
        )?
        .query_map((now.unix(), limit), iaca_pin)?
        .collect::<Result<_, _>>()?;
    let mut keys: Vec<_> = connection
        .prepare("SELECT path, spki FROM key_pins ORDER BY path LIMIT ?1")?
        .query_map([limit], |row| Ok((parsed(row, "path", KeyPath::parse)?, row.get("spki")?)))?
        .collect::<Result<_, _>>()?;
    let cuts = [cut(&mut resources), cut(&mut cas), cut(&mut iaca_pins), cut(&mut keys)];
    Ok(Inherited { resources, cas, iaca_pins, keys, is_cut: cuts.contains(&true) })
}

fn cut<T>(rows: &mut Vec<T>) -> bool {
    let max = usize::from(ROWS_MAX);
    let is_cut = rows.len() > max;
    rows.truncate(max);
    is_cut
}
