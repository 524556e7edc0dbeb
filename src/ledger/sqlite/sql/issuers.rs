//! Statements about keys that sign certificates.

use rusqlite::{Connection, Row, named_params};

use super::{
    read::{self, parsed, parsed_option, purpose, timestamp},
    write,
};
use crate::{
    audit::AuditRecord,
    domain::{
        client::KeyPurpose,
        path::{KeyPath, PathElement, ResourcePath},
    },
    ledger::{
        error::BeginError,
        record::{
            CaRole, CertificateOrigin, IacaPin, IssuerIndex, KeyClaim, KeyQuestion, KeyState,
            KnownCertificate, KnownKey, NamedQuestion, Pinning, UsedIssuer,
        },
        sqlite::transaction::Transaction,
    },
};

/// CA certificates over one key that are looked at, at most: issued here.
const ISSUED_MAX: u32 = 256;
/// The same in one store, and of those used here.
const OTHERS_MAX: u32 = 64;
/// CA certificates with one subject that are looked at, at most, of each kind.
const NAMED_MAX: u32 = 8;

/// The certificates that a service, `:service`, counts as issued here: its own, and those whose key is
/// in an HSM here or has signed them. Anyone can have a certificate made over a public key.
macro_rules! counts {
    () => {
        "(service = :service OR subject_key_path IS NOT NULL OR self_signed)"
    };
}

/// What is known of a public key.
pub(in crate::ledger) fn known_key(
    connection: &Connection,
    question: &KeyQuestion,
) -> rusqlite::Result<KnownKey> {
    let spki_sha256 = &question.spki_sha256;
    let mut certificates = issued(connection, question)?;
    let used = used(connection, spki_sha256)?.into_iter();
    certificates.extend(used.map(|used| used_certificate(&used)));
    for store in &question.stores {
        certificates.extend(stored(connection, spki_sha256, store)?);
    }
    Ok(KnownKey {
        certificates,
        pins: read::iaca_pins(connection, spki_sha256)?,
        uses: uses(connection, spki_sha256)?,
        state: state(connection, spki_sha256)?,
    })
}

fn issued(
    connection: &Connection,
    question: &KeyQuestion,
) -> rusqlite::Result<Vec<KnownCertificate>> {
    let mut certificates: Vec<_> = connection
        .prepare_cached(concat!(
            "SELECT der, service, profile, subject_key_path, self_signed, issued_at
             FROM certificates
             WHERE spki_sha256 = :spki AND is_ca AND (not_after >= :now OR profile = 'iaca') AND ",
            counts!(),
            " ORDER BY audit_index DESC LIMIT :max"
        ))?
        .query_map(
            named_params! {
                ":spki": question.spki_sha256,
                ":now": question.now.unix(),
                ":service": question.service.as_str(),
                ":max": ISSUED_MAX,
            },
            issued_certificate,
        )?
        .collect::<Result<_, _>>()?;
    certificates.reverse();
    Ok(certificates)
}

pub(super) fn issued_certificate(row: &Row<'_>) -> rusqlite::Result<KnownCertificate> {
    let origin = CertificateOrigin::Issued {
        service: parsed(row, "service", ResourcePath::parse)?,
        profile: parsed(row, "profile", purpose)?,
        subject_key_path: parsed_option(row, "subject_key_path", KeyPath::parse)?,
        self_signed: row.get("self_signed")?,
        issued_at: timestamp(row, "issued_at")?,
    };
    Ok(KnownCertificate { der: row.get("der")?, origin })
}

fn stored(
    connection: &Connection,
    spki_sha256: &[u8; 32],
    store: &ResourcePath,
) -> rusqlite::Result<Vec<KnownCertificate>> {
    connection
        .prepare_cached(
            "SELECT id, der FROM store_entries
             WHERE spki_sha256 = ?1 AND is_ca AND store = ?2 ORDER BY id LIMIT ?3",
        )?
        .query_map((spki_sha256, store.as_str(), OTHERS_MAX), |row| stored_certificate(row, store))?
        .collect()
}

fn stored_certificate(row: &Row<'_>, store: &ResourcePath) -> rusqlite::Result<KnownCertificate> {
    let id = parsed(row, "id", PathElement::parse)?;
    let origin = CertificateOrigin::Stored { store: store.clone(), id };
    Ok(KnownCertificate { der: row.get("der")?, origin })
}

const USED_COLUMNS: &str = "spki_sha256, sha256, subject_sha256, der, is_iaca, self_signed, \
                            not_after, service, used_at";

fn used(connection: &Connection, spki_sha256: &[u8; 32]) -> rusqlite::Result<Vec<UsedIssuer>> {
    connection
        .prepare_cached(&format!(
            "SELECT {USED_COLUMNS} FROM used_issuers WHERE spki_sha256 = ?1
             ORDER BY used_at, sha256 LIMIT ?2"
        ))?
        .query_map((spki_sha256, OTHERS_MAX), used_issuer)?
        .collect()
}

fn used_issuer(row: &Row<'_>) -> rusqlite::Result<UsedIssuer> {
    Ok(UsedIssuer {
        spki_sha256: row.get("spki_sha256")?,
        sha256: row.get("sha256")?,
        subject_sha256: row.get("subject_sha256")?,
        der: row.get("der")?,
        is_iaca: row.get("is_iaca")?,
        self_signed: row.get("self_signed")?,
        not_after: timestamp(row, "not_after")?,
        service: parsed(row, "service", ResourcePath::parse)?,
        used_at: timestamp(row, "used_at")?,
    })
}

fn used_certificate(used: &UsedIssuer) -> KnownCertificate {
    let origin = CertificateOrigin::Used {
        service: used.service.clone(),
        is_iaca: used.is_iaca,
        self_signed: used.self_signed,
        used_at: used.used_at,
    };
    KnownCertificate { der: used.der.clone(), origin }
}

fn uses(connection: &Connection, spki_sha256: &[u8; 32]) -> rusqlite::Result<Vec<KeyPurpose>> {
    connection
        .prepare_cached("SELECT purpose FROM key_uses WHERE spki_sha256 = ?1 ORDER BY purpose")?
        .query_map([spki_sha256], |row| parsed(row, "purpose", purpose))?
        .collect()
}

fn state(connection: &Connection, spki_sha256: &[u8; 32]) -> rusqlite::Result<KeyState> {
    connection
        .prepare_cached(
            "SELECT (SELECT MAX(audit_index) FROM certificates WHERE spki_sha256 = ?1 AND is_ca),
                 (SELECT COUNT(*) FROM iaca_pins WHERE spki_sha256 = ?1)
                     + (SELECT COUNT(*) FROM used_issuers WHERE spki_sha256 = ?1 AND is_iaca),
                 (SELECT COUNT(*) FROM used_issuers WHERE spki_sha256 = ?1 AND NOT is_iaca)",
        )?
        .query_row([spki_sha256], |row| {
            Ok(KeyState { newest_ca: row.get(0)?, iacas: row.get(1)?, others: row.get(2)? })
        })
}

/// CA certificates with a subject.
pub(in crate::ledger) fn named(
    connection: &Connection,
    question: &NamedQuestion,
) -> rusqlite::Result<Vec<KnownCertificate>> {
    let mut all: Vec<KnownCertificate> = Vec::new();
    let mut add = |found: Vec<KnownCertificate>| {
        for certificate in found {
            if !all.iter().any(|known| known.der == certificate.der) {
                all.push(certificate);
            }
        }
    };
    let key_ids = [question.key_id.as_deref(), None];
    let key_ids = &key_ids[usize::from(question.key_id.is_none())..];
    for key_id in key_ids {
        add(issued_named(connection, question, *key_id)?);
    }
    add(connection
        .prepare_cached(&format!(
            "SELECT {USED_COLUMNS} FROM used_issuers
             WHERE subject_sha256 = ?1 AND not_after >= ?2 LIMIT ?3"
        ))?
        .query_map((question.subject_sha256, question.now.unix(), NAMED_MAX), |row| {
            used_issuer(row).map(|used| used_certificate(&used))
        })?
        .collect::<Result<_, _>>()?);
    for store in &question.stores {
        for key_id in key_ids {
            add(stored_named(connection, question, store, *key_id)?);
        }
    }
    Ok(all)
}

fn issued_named(
    connection: &Connection,
    question: &NamedQuestion,
    key_id: Option<&[u8]>,
) -> rusqlite::Result<Vec<KnownCertificate>> {
    let sql = match key_id {
        Some(_) => concat!(
            "SELECT der, service, profile, subject_key_path, self_signed, issued_at
             FROM certificates WHERE subject_der = :subject AND subject_key_id = :key_id AND is_ca
                 AND not_after >= :now AND ",
            counts!(),
            " ORDER BY audit_index DESC LIMIT :max"
        ),
        None => concat!(
            "SELECT der, service, profile, subject_key_path, self_signed, issued_at
             FROM certificates WHERE subject_der = :subject AND is_ca AND :key_id IS NULL
                 AND not_after >= :now AND ",
            counts!(),
            " LIMIT :max"
        ),
    };
    connection
        .prepare_cached(sql)?
        .query_map(
            named_params! {
                ":subject": question.subject_der,
                ":key_id": key_id,
                ":now": question.now.unix(),
                ":service": question.service.as_str(),
                ":max": NAMED_MAX,
            },
            issued_certificate,
        )?
        .collect()
}

fn stored_named(
    connection: &Connection,
    question: &NamedQuestion,
    store: &ResourcePath,
    key_id: Option<&[u8]>,
) -> rusqlite::Result<Vec<KnownCertificate>> {
    let sql = match key_id {
        Some(_) => {
            "SELECT id, der FROM store_entries
             WHERE subject_sha256 = ?1 AND store = ?2 AND key_id = ?3 AND is_ca LIMIT ?4"
        }
        None => {
            "SELECT id, der FROM store_entries
             WHERE subject_sha256 = ?1 AND store = ?2 AND ?3 IS NULL AND is_ca LIMIT ?4"
        }
    };
    connection
        .prepare_cached(sql)?
        .query_map((question.subject_sha256, store.as_str(), key_id, NAMED_MAX), |row| {
            stored_certificate(row, store)
        })?
        .collect()
}

/// Whether the CA certificate was issued here.
pub(in crate::ledger) fn has_issued(
    connection: &Connection,
    spki_sha256: &[u8; 32],
    sha256: &[u8; 32],
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM certificates WHERE spki_sha256 = ?1 AND is_ca AND sha256 = ?2",
        )?
        .exists((spki_sha256, sha256))
}

/// The IACAs that a key is on record with.
pub(in crate::ledger) fn iaca_pins(
    connection: &Connection,
    spki_sha256: &[u8; 32],
) -> rusqlite::Result<(Vec<IacaPin>, Vec<UsedIssuer>)> {
    let used = used(connection, spki_sha256)?.into_iter().filter(|used| used.is_iaca);
    Ok((read::iaca_pins(connection, spki_sha256)?, used.collect()))
}

/// Drops them; false when there are none.
pub(in crate::ledger) fn drop_pins(
    transaction: &Transaction<'_>,
    spki_sha256: &[u8; 32],
    audit: &AuditRecord,
) -> rusqlite::Result<bool> {
    let mut dropped = 0;
    for delete in [
        "DELETE FROM iaca_pins WHERE spki_sha256 = ?1",
        "DELETE FROM used_issuers WHERE spki_sha256 = ?1 AND is_iaca",
    ] {
        dropped += transaction.statement(delete)?.execute([spki_sha256])?;
    }
    if dropped > 0 {
        write::append(transaction, audit)?;
    }
    Ok(dropped > 0)
}

/// Takes a role for a key.
pub(super) fn claim(
    transaction: &Transaction<'_>,
    intent: i64,
    claim: &KeyClaim,
) -> Result<(), BeginError> {
    let now = state(transaction, &claim.spki_sha256)?;
    let before = claim.state;
    let is_iaca = claim.role == CaRole::Iaca;
    let is_contradicted = match claim.role {
        CaRole::Iaca => now.others != before.others,
        CaRole::Generic => now.iacas != before.iacas,
    };
    let is_other_issued = now.newest_ca != before.newest_ca
        && transaction
            .statement(
                "SELECT 1 FROM certificates WHERE spki_sha256 = ?1 AND is_ca
                     AND audit_index > COALESCE(?2, -1) AND (profile = 'iaca') <> ?3",
            )?
            .exists((claim.spki_sha256, before.newest_ca, is_iaca))?;
    if is_contradicted || is_other_issued {
        return Err(BeginError::KeyLearned);
    }
    let is_claimed = transaction
        .statement("SELECT 1 FROM key_claims WHERE spki_sha256 = ?1 AND role <> ?2")?
        .exists((claim.spki_sha256, claim.role.name()))?;
    if is_claimed {
        return Err(BeginError::KeyClaimed);
    }
    transaction
        .statement("INSERT INTO key_claims (intent, spki_sha256, role) VALUES (?1, ?2, ?3)")?
        .execute((intent, claim.spki_sha256, claim.role.name()))?;
    Ok(())
}

/// Puts certificates on record that an issuance relies on.
pub(super) fn put_used(
    transaction: &Transaction<'_>,
    used: &[Pinning<UsedIssuer>],
) -> rusqlite::Result<()> {
    for Pinning { pin, audit } in used {
        let rows = transaction
            .statement(
                "INSERT INTO used_issuers (spki_sha256, sha256, subject_sha256, der, is_iaca,
                     self_signed, not_after, service, used_at)
                 VALUES (:spki_sha256, :sha256, :subject_sha256, :der, :is_iaca, :self_signed,
                     :not_after, :service, :used_at)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(named_params! {
                ":spki_sha256": pin.spki_sha256,
                ":sha256": pin.sha256,
                ":subject_sha256": pin.subject_sha256,
                ":der": pin.der,
                ":is_iaca": pin.is_iaca,
                ":self_signed": pin.self_signed,
                ":not_after": pin.not_after.unix(),
                ":service": pin.service.as_str(),
                ":used_at": pin.used_at.unix(),
            })?;
        if rows == 1 {
            write::append(transaction, audit)?;
        }
    }
    Ok(())
}

/// Notes what a key signs.
pub(super) fn put_use(
    transaction: &Transaction<'_>,
    spki_sha256: &[u8; 32],
    purpose: KeyPurpose,
) -> rusqlite::Result<()> {
    transaction
        .statement(
            "INSERT INTO key_uses (spki_sha256, purpose) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute((spki_sha256, purpose.name()))?;
    Ok(())
}

/// CA certificates in stores that are not indexed.
pub(in crate::ledger) fn unindexed(
    connection: &Connection,
    many: u32,
) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    connection
        .prepare_cached(
            "SELECT rowid, der FROM store_entries
             WHERE is_ca AND der IS NOT NULL AND subject_sha256 IS NULL LIMIT ?1",
        )?
        .query_map([many], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Indexes them.
pub(in crate::ledger) fn index(
    transaction: &Transaction<'_>,
    entries: &[(i64, IssuerIndex)],
) -> rusqlite::Result<()> {
    for (row, index) in entries {
        transaction
            .statement(
                "UPDATE store_entries SET subject_sha256 = ?2, key_id = ?3
                 WHERE rowid = ?1 AND is_ca AND subject_sha256 IS NULL",
            )?
            .execute((row, index.subject_sha256, &index.key_id))?;
    }
    Ok(())
}
