//! Statements that change the ledger.

use std::time::Instant;

use rusqlite::{OptionalExtension, named_params, params, types::ToSqlOutput};
use serde_json::Value;

use super::{answers, issuers, read, vical};
use crate::{
    audit::AuditRecord,
    domain::{
        key::sha256,
        path::{PathElement, ResourcePath},
    },
    ledger::{
        error::{BeginError, CreateError, LedgerError},
        record::{
            IacaPin, Intent, IntentId, IssuedCertificate, KeyPin, Outcome, Pinning, Product,
            Reservation, StoredCopy, StoredResource,
        },
        sqlite::transaction::Transaction,
    },
};

/// Records an intent with all that hangs on it.
pub(in crate::ledger) fn begin(
    transaction: &Transaction<'_>,
    intent: &Intent,
) -> Result<IntentId, BeginError> {
    let id = insert_intent(transaction, intent)?.ok_or(BeginError::SerialTaken)?;
    for reservation in &intent.reservations {
        if !reserve(transaction, id, reservation)? {
            let Reservation { store, id } = reservation;
            return Err(BeginError::StoreIdTaken(store.child(id)));
        }
    }
    for claim in &intent.claims {
        issuers::claim(transaction, id.number, claim)?;
    }
    if let Some(spki_sha256) = &intent.noted_key {
        issuers::put_use(transaction, spki_sha256, intent.purpose)?;
    }
    append(transaction, &intent.audit)?;
    issuers::put_used(transaction, &intent.used_issuers)?;
    for Pinning { pin, audit } in &intent.key_pins {
        match pin_key(transaction, pin)? {
            Pinned::Now => {
                append(transaction, audit)?;
            }
            Pinned::Before => {}
            Pinned::Otherwise => return Err(BeginError::KeyChanged(pin.path.clone())),
        }
    }
    if let Some(Pinning { pin, audit }) = &intent.iaca_pin {
        match pin_iaca(transaction, pin)? {
            Pinned::Now => {
                append(transaction, audit)?;
            }
            Pinned::Before => {}
            Pinned::Otherwise => return Err(BeginError::IacaPinConflict),
        }
    }
    Ok(id)
}

/// Ends an intent with what it came to; the index of its audit entry.
pub(in crate::ledger) fn complete(
    transaction: &Transaction<'_>,
    id: IntentId,
    Outcome { product, audit, answer }: &Outcome,
) -> Result<u64, LedgerError> {
    // The row of a certificate refers to its audit entry; an entry before that of a publication may
    // say that the signer changed.
    let index = match product {
        Product::Certificate(certificate) => {
            let index = append(transaction, audit)?;
            keep_certificate(transaction, id, index, certificate)?;
            index
        }
        Product::Request => {
            refuse_serial(transaction, id)?;
            append(transaction, audit)?
        }
        Product::Vical(published) => {
            refuse_serial(transaction, id)?;
            vical::publish(transaction, id, published)?;
            append(transaction, audit)?
        }
    };
    if !close_intent(transaction, id, "issued")? {
        return Err(LedgerError::NotOpen);
    }
    free_reservations(transaction, id)?;
    if let Some(answer) = answer {
        answers::keep(transaction, answer, index)?;
    }
    Ok(index.unsigned_abs())
}

/// A serial number without its certificate would be a signature unaccounted for.
fn refuse_serial(transaction: &Transaction<'_>, id: IntentId) -> Result<(), LedgerError> {
    let serial: Option<Option<Vec<u8>>> = transaction
        .statement("SELECT serial FROM intents WHERE id = ?1")?
        .query_row([id.number], |row| row.get(0))
        .optional()?;
    if serial == Some(None) { Ok(()) } else { Err(LedgerError::NotOpen) }
}

fn keep_certificate(
    transaction: &Transaction<'_>,
    id: IntentId,
    audit_index: i64,
    certificate: &IssuedCertificate,
) -> Result<(), LedgerError> {
    if !insert_certificate(transaction, id, audit_index, certificate)? {
        return Err(LedgerError::NotOpen);
    }
    for copy in &certificate.entries {
        if !fill(transaction, id, copy, certificate)? {
            return Err(LedgerError::NotReserved(copy.store.child(&copy.id)));
        }
    }
    Ok(())
}

/// Ends an intent with nothing; does nothing when it has ended.
pub(in crate::ledger) fn abort(
    transaction: &Transaction<'_>,
    id: IntentId,
    audit: &AuditRecord,
) -> Result<(), LedgerError> {
    if close_intent(transaction, id, "aborted")? {
        free_reservations(transaction, id)?;
        append(transaction, audit)?;
    }
    Ok(())
}

/// Adds an entry to the log; its index.
pub(in crate::ledger) fn append(
    transaction: &Transaction<'_>,
    record: &AuditRecord,
) -> rusqlite::Result<i64> {
    transaction
        .statement(
            "INSERT INTO audit_entries (idx, entry, leaf_hash)
             VALUES ((SELECT COALESCE(MAX(idx) + 1, 0) FROM audit_entries), ?1, ?2)",
        )?
        .execute((record.entry(), record.leaf_hash()))?;
    Ok(inserted(transaction))
}

/// The number of the row that the last statement has made. Not by RETURNING: for a statement that may
/// come to several rows, as that or INSERT … SELECT may, SQLite first copies each page that it changes.
fn inserted(transaction: &Transaction<'_>) -> i64 {
    transaction.last_insert_rowid()
}

/// Records a tenant or service.
pub(in crate::ledger) fn create_resource(
    transaction: &Transaction<'_>,
    resource: &StoredResource,
    audit: &AuditRecord,
) -> Result<(), CreateError> {
    let created = transaction
        .statement(
            "INSERT INTO resources (path, definition) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute((resource.path.as_str(), &resource.definition))?;
    if created == 0 {
        return Err(CreateError::Taken);
    }
    append(transaction, audit)?;
    Ok(())
}

/// Records a changed definition.
pub(in crate::ledger) fn change_resource(
    transaction: &Transaction<'_>,
    resource: &StoredResource,
    audit: &AuditRecord,
) -> Result<(), LedgerError> {
    transaction
        .statement("UPDATE resources SET definition = ?2 WHERE path = ?1")?
        .execute((resource.path.as_str(), &resource.definition))?;
    append(transaction, audit)?;
    Ok(())
}

/// Changes a row that nobody reads: the way to find out whether the ledger can be written.
pub(in crate::ledger) fn touch(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction
        .statement(
            "INSERT INTO meta (name, value) VALUES ('probe', '1')
             ON CONFLICT (name) DO UPDATE SET value =
                 CASE meta.value WHEN '1' THEN '0' ELSE '1' END",
        )?
        .execute([])?;
    Ok(())
}

/// `None` when the serial number is taken.
fn insert_intent(
    transaction: &Transaction<'_>,
    intent: &Intent,
) -> rusqlite::Result<Option<IntentId>> {
    let rows = transaction
        .statement(
            "INSERT INTO intents (id, state,
                 serial, purpose, service, tbs_sha256,
                 issuer_key_path, subject_key_path, dev_key, client, request_id, created_at)
             VALUES ((SELECT COALESCE(MAX(id) + 1, 0) FROM intents), 'open',
                 ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (serial) DO NOTHING",
        )?
        .execute(params![
            intent.serial.as_ref().map(|serial| serial.as_octets()),
            intent.purpose.name(),
            intent.service.as_str(),
            intent.tbs_sha256,
            intent.issuer_key_path.as_ref().map(|path| path.as_str()),
            intent.subject_key_path.as_ref().map(|path| path.as_str()),
            intent.dev_key,
            intent.client,
            intent.request_id,
            intent.created_at.unix(),
        ])?;
    let reserves = !intent.reservations.is_empty();
    Ok((rows == 1).then(|| IntentId {
        number: inserted(transaction),
        reserves,
        claims: !intent.claims.is_empty(),
        since: Instant::now(),
    }))
}

/// False when the id is taken.
fn reserve(
    transaction: &Transaction<'_>,
    intent: IntentId,
    Reservation { store, id }: &Reservation,
) -> rusqlite::Result<bool> {
    let rows = transaction
        .statement(
            "INSERT INTO store_entries (store, id, reserved_by) VALUES (?1, ?2, ?3)
             ON CONFLICT (store, id) DO NOTHING",
        )?
        .execute((store.as_str(), id.as_str(), intent.number))?;
    Ok(rows == 1)
}

/// What became of a pin.
pub(super) enum Pinned {
    /// It was made.
    Now,
    /// An equal one was there.
    Before,
    /// Another one was there, and stays.
    Otherwise,
}

pub(super) fn pin_key(transaction: &Transaction<'_>, pin: &KeyPin) -> rusqlite::Result<Pinned> {
    let rows = transaction
        .statement(
            "INSERT INTO key_pins (path, token, token_serial, label, cka_id, spki, spki_sha256,
                 first_seen)
             VALUES (:path, :token, :token_serial, :label, :cka_id, :spki, :spki_sha256,
                 :first_seen)
             ON CONFLICT (path) DO NOTHING",
        )?
        .execute(named_params! {
            ":path": pin.path.as_str(),
            ":token": pin.token,
            ":token_serial": pin.token_serial,
            ":label": pin.label,
            ":cka_id": pin.cka_id,
            ":spki": pin.spki,
            ":spki_sha256": pin.spki_sha256,
            ":first_seen": pin.first_seen.unix(),
        })?;
    let pinned: [u8; 32] = transaction
        .statement("SELECT spki_sha256 FROM key_pins WHERE path = ?1")?
        .query_row([pin.path.as_str()], |row| row.get(0))?;
    Ok(match (rows, pinned == pin.spki_sha256) {
        (1.., _) => Pinned::Now,
        (0, true) => Pinned::Before,
        (0, false) => Pinned::Otherwise,
    })
}

fn pin_iaca(transaction: &Transaction<'_>, pin: &IacaPin) -> rusqlite::Result<Pinned> {
    let pinned = read::iaca_pins(transaction, &pin.spki_sha256)?;
    if !pinned.is_empty() {
        let same = pinned.iter().any(|other| other.describes_same_as(pin));
        return Ok(if same { Pinned::Before } else { Pinned::Otherwise });
    }
    transaction
        .statement(
            "INSERT INTO iaca_pins (spki_sha256, subject_der, ian_email, ian_uri, not_before,
                 not_after, key_path, pinned_at)
             VALUES (:spki_sha256, :subject_der, :ian_email, :ian_uri, :not_before,
                 :not_after, :key_path, :pinned_at)",
        )?
        .execute(named_params! {
            ":spki_sha256": pin.spki_sha256,
            ":subject_der": pin.subject_der,
            ":ian_email": pin.email.as_deref().unwrap_or_default(),
            ":ian_uri": pin.uri.as_deref().unwrap_or_default(),
            ":not_before": pin.not_before.unix(),
            ":not_after": pin.not_after.unix(),
            ":key_path": pin.key_path.as_ref().map(|path| path.as_str()),
            ":pinned_at": pin.pinned_at.unix(),
        })?;
    Ok(Pinned::Now)
}

/// False when the intent is not open or has no serial number.
fn insert_certificate(
    transaction: &Transaction<'_>,
    id: IntentId,
    audit_index: i64,
    certificate: &IssuedCertificate,
) -> rusqlite::Result<bool> {
    let mut intents = transaction.statement(
        "SELECT serial, service, purpose, issuer_key_path, subject_key_path, client, request_id,
             dev_key
         FROM intents WHERE id = ?1 AND state = 'open' AND serial IS NOT NULL",
    )?;
    let mut intents = intents.query([id.number])?;
    let Some(intent) = intents.next()? else { return Ok(false) };
    let of_intent = |column: usize| intent.get_ref(column).map(ToSqlOutput::Borrowed);
    let stored_ids: Value =
        certificate.entries.iter().map(|copy| copy.store.child(&copy.id).to_string()).collect();
    let rows = transaction
        .statement(
            "INSERT INTO certificates (audit_index, intent,
                 serial, service, profile,
                 issuer_key_path, subject_key_path, client, request_id, dev_key,
                 der, sha256, spki_sha256, subject_der, issuer_der,
                 subject_cn, subject_text, issuer_text, subject_key_id, issuer_key_id,
                 not_before, not_after, is_ca, self_signed, issued_at, stored_id, stored_ids)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            audit_index,
            id.number,
            of_intent(0)?,
            of_intent(1)?,
            of_intent(2)?,
            of_intent(3)?,
            of_intent(4)?,
            of_intent(5)?,
            of_intent(6)?,
            of_intent(7)?,
            certificate.der,
            certificate.sha256,
            certificate.spki_sha256,
            certificate.subject_der,
            certificate.issuer_der,
            certificate.subject_cn,
            certificate.subject_text,
            certificate.issuer_text,
            certificate.subject_key_id,
            certificate.issuer_key_id,
            certificate.not_before.unix(),
            certificate.not_after.unix(),
            certificate.is_ca,
            certificate.self_signed,
            certificate.issued_at.unix(),
            certificate.entries.first().map(|copy| copy.id.as_str()),
            stored_ids.to_string(),
        ])?;
    Ok(rows == 1)
}

/// False when the intent has not reserved the id.
fn fill(
    transaction: &Transaction<'_>,
    intent: IntentId,
    copy: &StoredCopy,
    certificate: &IssuedCertificate,
) -> rusqlite::Result<bool> {
    let metadata = copy
        .metadata
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let (store, id): (&ResourcePath, &PathElement) = (&copy.store, &copy.id);
    let rows = transaction
        .statement(
            "UPDATE store_entries SET reserved_by = NULL, kind = :kind, der = :der,
                 spki_sha256 = :spki_sha256, is_ca = :is_ca, metadata = :metadata,
                 subject_sha256 = :subject_sha256, key_id = :key_id
             WHERE store = :store AND id = :id AND reserved_by = :intent",
        )?
        .execute(named_params! {
            ":kind": copy.kind.name(),
            ":der": certificate.der,
            ":spki_sha256": certificate.spki_sha256,
            ":is_ca": certificate.is_ca,
            ":subject_sha256": certificate.is_ca.then(|| sha256(&certificate.subject_der)),
            ":key_id": certificate.is_ca.then_some(&certificate.subject_key_id),
            ":metadata": metadata,
            ":store": store.as_str(),
            ":id": id.as_str(),
            ":intent": intent.number,
        })?;
    Ok(rows == 1)
}

fn free_reservations(transaction: &Transaction<'_>, intent: IntentId) -> rusqlite::Result<()> {
    if intent.claims {
        transaction
            .statement("DELETE FROM key_claims WHERE intent = ?1")?
            .execute([intent.number])?;
    }
    if !intent.reserves {
        return Ok(());
    }
    for delete in [
        "DELETE FROM store_entries WHERE reserved_by = ?1",
        "DELETE FROM vical_versions WHERE reserved_by = ?1",
        "DELETE FROM vical_signers WHERE reserved_by = ?1",
    ] {
        transaction.statement(delete)?.execute([intent.number])?;
    }
    Ok(())
}

/// False when the intent was not open.
fn close_intent(
    transaction: &Transaction<'_>,
    id: IntentId,
    state: &str,
) -> rusqlite::Result<bool> {
    let rows = transaction
        .statement("UPDATE intents SET state = ?2 WHERE id = ?1 AND state = 'open'")?
        .execute((id.number, state))?;
    Ok(rows == 1)
}
