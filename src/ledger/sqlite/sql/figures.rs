//! Statements that count.

use data_encoding::HEXLOWER;
use rusqlite::{Connection, Row};

use super::read::{parsed, purpose, timestamp};
use crate::ledger::{
    record::{CaEnd, News},
    sqlite::transaction::Transaction,
};

/// Everything that is there, told from indexes alone.
pub(in crate::ledger) fn all(connection: &Connection) -> rusqlite::Result<News> {
    let issued = connection
        // By service, too, as an index has them: nothing is sorted in memory.
        .prepare("SELECT profile, COUNT(*) AS number FROM certificates GROUP BY service, profile")?
        .query_map([], |row| {
            let number: i64 = row.get("number")?;
            Ok((parsed(row, "profile", purpose)?, number.unsigned_abs()))
        })?
        .collect::<Result<_, _>>()?;
    let cas = connection
        .prepare(
            // IS NOT NULL would lead to the index of all keys, of which few are CAs'.
            "SELECT subject_key_id, subject_text, not_after FROM certificates
             WHERE is_ca AND COALESCE(subject_key_path, '') <> ''",
        )?
        .query_map([], ca)?
        .collect::<Result<_, _>>()?;
    Ok(News { tree_size: tree_size(connection)?, issued, cas })
}

/// What has come about since the log had `from` entries.
pub(in crate::ledger) fn since(transaction: &Transaction<'_>, from: u64) -> rusqlite::Result<News> {
    let tree_size = tree_size(transaction)?;
    let mut news = News { tree_size, ..News::default() };
    if tree_size == from {
        return Ok(news);
    }
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let mut statement = transaction.statement(
        "SELECT profile, is_ca AND subject_key_path IS NOT NULL AS is_our_ca, subject_key_id,
             subject_text, not_after
         FROM certificates WHERE audit_index >= ?1",
    )?;
    let mut rows = statement.query([from])?;
    while let Some(row) = rows.next()? {
        // By position: here, names cost more than the row.
        news.issued.push((parsed(row, 0, purpose)?, 1));
        if row.get(1)? {
            news.cas.push(ca(row)?);
        }
    }
    Ok(news)
}

fn tree_size(connection: &Connection) -> rusqlite::Result<u64> {
    let size: i64 = connection
        .prepare_cached("SELECT COALESCE(MAX(idx) + 1, 0) FROM audit_entries")?
        .query_row([], |row| row.get(0))?;
    Ok(size.unsigned_abs())
}

fn ca(row: &Row<'_>) -> rusqlite::Result<CaEnd> {
    let key_id: Vec<u8> = row.get("subject_key_id")?;
    Ok(CaEnd {
        key_id: HEXLOWER.encode(&key_id),
        subject: row.get("subject_text")?,
        not_after: timestamp(row, "not_after")?,
    })
}
