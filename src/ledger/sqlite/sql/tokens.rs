//! Statements about the tokens that the names of the configuration stand for.

use rusqlite::{Connection, named_params};

use super::{read::timestamp, write};
use crate::{
    audit::AuditRecord,
    domain::path::KeyPath,
    ledger::{record::RecordedToken, sqlite::transaction::Transaction},
};

/// All of them, by name.
pub(in crate::ledger) fn all(connection: &Connection) -> rusqlite::Result<Vec<RecordedToken>> {
    connection
        .prepare_cached("SELECT name, serial, since FROM tokens ORDER BY name")?
        .query_map([], |row| {
            Ok(RecordedToken {
                name: row.get("name")?,
                serial: row.get("serial")?,
                since: timestamp(row, "since")?,
            })
        })?
        .collect()
}

/// From now on the name stands for this token. One that stands for it already stays as it is.
pub(in crate::ledger) fn record(
    transaction: &Transaction<'_>,
    token: &RecordedToken,
    keys: &[(KeyPath, [u8; 32])],
    audit: &AuditRecord,
) -> rusqlite::Result<()> {
    transaction
        .statement(
            "INSERT INTO tokens (name, serial, since) VALUES (:name, :serial, :since)
             ON CONFLICT (name) DO UPDATE SET serial = excluded.serial, since = excluded.since
                 WHERE tokens.serial <> excluded.serial",
        )?
        .execute(named_params! {
            ":name": token.name,
            ":serial": token.serial,
            ":since": token.since.unix(),
        })?;
    place_pins(transaction, token, keys)?;
    write::append(transaction, audit)?;
    Ok(())
}

/// Puts on record that the token has these keys, each with the public key that its path is pinned to.
fn place_pins(
    transaction: &Transaction<'_>,
    token: &RecordedToken,
    keys: &[(KeyPath, [u8; 32])],
) -> rusqlite::Result<()> {
    for (path, spki_sha256) in keys {
        transaction
            .statement(
                "UPDATE key_pins SET token = :name, token_serial = :serial
                 WHERE path = :path AND spki_sha256 = :spki_sha256",
            )?
            .execute(named_params! {
                ":name": token.name,
                ":serial": token.serial,
                ":path": path.as_str(),
                ":spki_sha256": spki_sha256,
            })?;
    }
    Ok(())
}
