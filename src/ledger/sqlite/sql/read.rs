//! Statements that only read.

use std::{error::Error, time::Instant};

use rusqlite::{Connection, OptionalExtension, Row, RowIndex, types::Type};

use crate::{
    domain::{
        client::KeyPurpose,
        path::{KeyPath, PathElement, ResourcePath},
        serial::SerialNumber,
        time::Timestamp,
    },
    ledger::record::{
        EntryKind, IacaPin, IntentId, KeyPin, OpenIntent, StoreEntry, StoredResource,
    },
};

/// The intents that have not ended, oldest first.
pub(in crate::ledger) fn open_intents(
    connection: &Connection,
) -> rusqlite::Result<Vec<OpenIntent>> {
    connection
        .prepare_cached(
            "SELECT id, serial, purpose, service, tbs_sha256, issuer_key_path, subject_key_path,
                 dev_key, client, request_id, created_at
             FROM intents WHERE state = 'open' ORDER BY id",
        )?
        .query_map([], |row| {
            Ok(OpenIntent {
                id: IntentId {
                    number: row.get("id")?,
                    reserves: true,
                    claims: true,
                    since: Instant::now(),
                },
                // Shaping what is shaped already changes nothing.
                serial: row.get::<_, Option<[u8; 16]>>("serial")?.map(SerialNumber::from_random),
                purpose: parsed(row, "purpose", purpose)?,
                service: parsed(row, "service", ResourcePath::parse)?,
                tbs_sha256: row.get("tbs_sha256")?,
                issuer_key_path: parsed_option(row, "issuer_key_path", KeyPath::parse)?,
                subject_key_path: parsed_option(row, "subject_key_path", KeyPath::parse)?,
                dev_key: row.get("dev_key")?,
                client: row.get("client")?,
                request_id: row.get("request_id")?,
                created_at: timestamp(row, "created_at")?,
            })
        })?
        .collect()
}

/// All tenants and services that were created over the API, by path.
pub(in crate::ledger) fn resources(
    connection: &Connection,
) -> rusqlite::Result<Vec<StoredResource>> {
    connection
        .prepare_cached("SELECT path, definition FROM resources ORDER BY path")?
        .query_map([], |row| {
            Ok(StoredResource {
                path: parsed(row, "path", ResourcePath::parse)?,
                definition: row.get("definition")?,
            })
        })?
        .collect()
}

/// All key pins, by path.
pub(in crate::ledger) fn key_pins(connection: &Connection) -> rusqlite::Result<Vec<KeyPin>> {
    connection
        .prepare_cached(
            "SELECT path, token, token_serial, label, cka_id, spki, spki_sha256, first_seen
             FROM key_pins ORDER BY path",
        )?
        .query_map([], |row| {
            Ok(KeyPin {
                path: parsed(row, "path", KeyPath::parse)?,
                token: row.get("token")?,
                token_serial: row.get("token_serial")?,
                label: row.get("label")?,
                cka_id: row.get("cka_id")?,
                spki: row.get("spki")?,
                spki_sha256: row.get("spki_sha256")?,
                first_seen: timestamp(row, "first_seen")?,
            })
        })?
        .collect()
}

/// The IACA that a key is pinned to.
pub(in crate::ledger) fn iaca_pins(
    connection: &Connection,
    spki_sha256: &[u8; 32],
) -> rusqlite::Result<Vec<IacaPin>> {
    connection
        .prepare_cached(
            "SELECT spki_sha256, subject_der, ian_email, ian_uri, not_before, not_after, key_path,
                 pinned_at
             FROM iaca_pins WHERE spki_sha256 = ?1 ORDER BY pinned_at",
        )?
        .query_map([spki_sha256], iaca_pin)?
        .collect()
}

pub(super) fn iaca_pin(row: &Row<'_>) -> rusqlite::Result<IacaPin> {
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(IacaPin {
        spki_sha256: row.get("spki_sha256")?,
        subject_der: row.get("subject_der")?,
        email: given(row.get("ian_email")?),
        uri: given(row.get("ian_uri")?),
        not_before: timestamp(row, "not_before")?,
        not_after: timestamp(row, "not_after")?,
        key_path: parsed_option(row, "key_path", KeyPath::parse)?,
        pinned_at: timestamp(row, "pinned_at")?,
    })
}

/// The full path of the first of these ids that exists or is reserved.
pub(in crate::ledger) fn first_taken(
    connection: &Connection,
    ids: &[(ResourcePath, PathElement)],
) -> rusqlite::Result<Option<ResourcePath>> {
    for (store, id) in ids {
        if is_taken(connection, store, id)? {
            return Ok(Some(store.child(id)));
        }
    }
    Ok(None)
}

fn is_taken(
    connection: &Connection,
    store: &ResourcePath,
    id: &PathElement,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM store_entries WHERE store = ?1 AND id = ?2")?
        .exists((store.as_str(), id.as_str()))
}

/// One entry, unless it is only reserved.
pub(in crate::ledger) fn store_entry(
    connection: &Connection,
    store: &ResourcePath,
    id: &PathElement,
) -> rusqlite::Result<Option<StoreEntry>> {
    connection
        .prepare_cached(
            "SELECT id, kind, der, metadata FROM store_entries
             WHERE store = ?1 AND id = ?2 AND der IS NOT NULL",
        )?
        .query_row((store.as_str(), id.as_str()), |row| entry(row, store))
        .optional()
}

/// The entries of a store, by id; not those that are only reserved.
pub(in crate::ledger) fn store_entries(
    connection: &Connection,
    store: &ResourcePath,
) -> rusqlite::Result<Vec<StoreEntry>> {
    connection
        .prepare_cached(
            "SELECT id, kind, der, metadata FROM store_entries
             WHERE store = ?1 AND der IS NOT NULL ORDER BY id",
        )?
        .query_map([store.as_str()], |row| entry(row, store))?
        .collect()
}

/// The full paths of a store's entries, sorted; not those that are only reserved.
pub(in crate::ledger) fn store_ids(
    connection: &Connection,
    store: &ResourcePath,
) -> rusqlite::Result<Vec<ResourcePath>> {
    connection
        .prepare_cached(
            "SELECT id FROM store_entries WHERE store = ?1 AND der IS NOT NULL ORDER BY id",
        )?
        .query_map([store.as_str()], |row| {
            Ok(store.child(&parsed(row, "id", PathElement::parse)?))
        })?
        .collect()
}

pub(super) fn entry(row: &Row<'_>, store: &ResourcePath) -> rusqlite::Result<StoreEntry> {
    Ok(StoreEntry {
        store: store.clone(),
        id: parsed(row, "id", PathElement::parse)?,
        kind: parsed(row, "kind", entry_kind)?,
        der: row.get("der")?,
        metadata: parsed_option(row, "metadata", |text| serde_json::from_str(text))?,
    })
}

pub(super) fn purpose(text: &str) -> Result<KeyPurpose, String> {
    let named = |purpose: &KeyPurpose| purpose.name() == text;
    KeyPurpose::ALL.into_iter().find(named).ok_or_else(|| format!("'{text}' is no profile"))
}

fn entry_kind(text: &str) -> Result<EntryKind, String> {
    let named = |kind: &EntryKind| kind.name() == text;
    EntryKind::ALL.into_iter().find(named).ok_or_else(|| format!("'{text}' is no kind of entry"))
}

pub(super) fn timestamp(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Timestamp> {
    let seconds: i64 = row.get(column)?;
    Timestamp::from_unix(seconds).map_err(|error| unreadable(row, column, error))
}

pub(super) fn parsed<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    column: impl RowIndex,
    parse: impl Fn(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|error| unreadable(row, column, error))?;
    parse(text).map_err(|error| unreadable(row, column, error))
}

pub(super) fn parsed_option<T, E: Into<Box<dyn Error + Send + Sync>>>(
    row: &Row<'_>,
    column: impl RowIndex,
    parse: impl Fn(&str) -> Result<T, E>,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null();
    let text = text.map_err(|error| unreadable(row, column, error))?;
    text.map(|text| parse(text).map_err(|error| unreadable(row, column, error))).transpose()
}

/// What the ledger wrote is not what it reads: somebody else was at the file.
fn unreadable(
    row: &Row<'_>,
    column: impl RowIndex,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> rusqlite::Error {
    let index = column.idx(row.as_ref()).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
}
