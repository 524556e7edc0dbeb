//! Audit entries beside those of issued certificates and changed keys: start, stop, reload, recovery after a
//! crash, refused requests.

use data_encoding::HEXLOWER;
use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::Services;
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::time::Timestamp,
    ledger::{Ledger, LedgerError, OpenIntent, PinChange, Restoration},
};

/// Aborts the intents that a crash left open. The audit entry has the hash of the octets, because the HSM may
/// have signed them. The serial number is not used again.
///
/// # Errors
/// [`LedgerError`] if it cannot be recorded. The daemon must not start then.
pub async fn abort_open_intents(
    ledger: &Ledger,
    open: Vec<OpenIntent>,
    now: Timestamp,
) -> Result<(), LedgerError> {
    for intent in open {
        tracing::warn!(
            request_id = intent.request_id,
            serial = intent.serial.map(|serial| serial.to_string()),
            "aborting an intent that a crash left open"
        );
        let record = AuditRecord::new(
            EntryKind::Aborted,
            now,
            Some(&intent.request_id),
            Some(&intent.client),
            Some(intent.service.as_str()),
            json!({
                "reason": "the daemon ended before the outcome was recorded",
                "serial": intent.serial.map(|serial| serial.to_string()),
                "tbsSha256": HEXLOWER.encode(&intent.tbs_sha256),
            }),
        );
        ledger.abort(intent.id, record).await?;
    }
    Ok(())
}

/// Ends the changes of keys that a crash left open. Whether the HSM made or destroyed the key is not known here:
/// the next listing of the token shows it.
///
/// # Errors
/// [`LedgerError`] if it cannot be recorded. The daemon must not start then.
pub async fn end_open_key_changes(ledger: &Ledger, now: Timestamp) -> Result<(), LedgerError> {
    for change in ledger.open_key_changes().await? {
        tracing::warn!(
            key = %change.path,
            operation = change.operation,
            request_id = change.request_id,
            alarm = "key-unresolved",
            "a crash left a change of a key open; look for the key on its token"
        );
        let record = AuditRecord::new(
            EntryKind::KeyUnresolved,
            now,
            Some(&change.request_id),
            Some(&change.client),
            Some(change.path.kms().as_str()),
            json!({
                "reason": "the daemon ended before the outcome was recorded",
                "operation": change.operation,
                "keyPath": change.path.as_str(),
            }),
        );
        ledger.end_key_change(change, PinChange::None, record).await?;
    }
    Ok(())
}

/// Records the start of the daemon with its flags.
///
/// # Errors
/// [`LedgerError`] if it cannot be recorded. The daemon must not start then.
pub async fn started(
    ledger: &Ledger,
    dev: bool,
    import_keys: bool,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let version = env!("CARGO_PKG_VERSION");
    let detail = json!({ "version": version, "dev": dev, "importKeys": import_keys });
    ledger.append(AuditRecord::new(EntryKind::Started, now, None, None, None, detail)).await?;
    Ok(())
}

/// Records a reload with its flags, before the new configuration is taken up.
///
/// # Errors
/// [`LedgerError`] if it cannot be recorded. The old configuration must stay then.
pub async fn reloaded(
    ledger: &Ledger,
    import_keys: bool,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let detail = json!({ "importKeys": import_keys });
    ledger.append(AuditRecord::new(EntryKind::Reloaded, now, None, None, None, detail)).await?;
    Ok(())
}

/// Records an orderly stop.
///
/// # Errors
/// [`LedgerError`] if it cannot be recorded.
pub async fn stopped(ledger: &Ledger, now: Timestamp) -> Result<(), LedgerError> {
    ledger.append(AuditRecord::new(EntryKind::Stopped, now, None, None, None, json!({}))).await?;
    Ok(())
}

/// Turns a checked backup into the ledger, and records that in its audit log.
///
/// # Errors
/// In words for the operator. The ledger does not exist then.
pub fn restored(
    restoration: Restoration,
    keys_checked: bool,
    now: Timestamp,
) -> Result<(), String> {
    let label = restoration.label();
    let detail = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "backupCreatedAt": label.created_at,
        "backupSha256": label.sha256,
        "auditEntries": label.counts.audit_entries,
        "keysChecked": keys_checked,
    });
    restoration.finish(&AuditRecord::new(EntryKind::Restored, now, None, None, None, detail))
}

/// A request that was refused.
pub struct Refusal<'a> {
    /// The id of the request.
    pub request_id: &'a str,
    /// The configured client, or the subject of an unknown certificate.
    pub client: &'a str,
    /// The target in the path, if it could be parsed.
    pub target: Option<&'a str>,
    /// The path of the request.
    pub operation: &'a str,
    /// HTTP status.
    pub status: u16,
    /// The message of the answer.
    pub message: &'a str,
}

/// Records a refused request that would have changed something. Does not wait for a stalled ledger, because
/// the caller waits for the answer.
///
/// # Errors
/// In words for the log: why it could not be recorded.
pub async fn refused(
    services: &Services,
    refusal: Refusal<'_>,
    now: Timestamp,
) -> Result<(), String> {
    let detail = json!({
        "operation": refusal.operation,
        "status": refusal.status,
        "message": refusal.message,
    });
    let record = AuditRecord::new(
        EntryKind::Refused,
        now,
        Some(refusal.request_id),
        Some(refusal.client),
        refusal.target,
        detail,
    );
    let ledger = &services.ledger;
    tokio::select! {
        biased;
        appended = ledger.append(record) => appended.map(drop).map_err(|error| error.to_string()),
        () = ledger.stalls() => Err("the ledger does not answer".to_owned()),
    }
}

/// The refused requests of one caller.
#[derive(Debug)]
pub struct RefusedCaller {
    /// The configured client, or the subject of an unknown certificate.
    pub name: Arc<str>,
    /// Their numbers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
}

impl RefusedCaller {
    /// Their number.
    pub fn count(&self) -> u64 {
        self.statuses.values().sum()
    }
}

/// Records how many refused requests since a time have no entry of their own: for each of the `named` callers,
/// and the sum for the `others`.
///
/// # Errors
/// [`LedgerError`] if it cannot be recorded.
pub async fn more_refused(
    services: &Services,
    since: Timestamp,
    named: &[&RefusedCaller],
    others: &[&RefusedCaller],
    now: Timestamp,
) -> Result<(), LedgerError> {
    let count = |callers: &[&RefusedCaller]| callers.iter().map(|one| one.count()).sum::<u64>();
    let clients: Vec<Value> = named
        .iter()
        .map(|one| json!({ "client": &*one.name, "count": one.count(), "statuses": &one.statuses }))
        .collect();
    let mut detail = json!({
        "clients": clients,
        "count": count(named) + count(others),
        "since": since,
    });
    if !others.is_empty() {
        detail["others"] = count(others).into();
    }
    let kind = EntryKind::RefusalsSummary;
    services.ledger.append(AuditRecord::new(kind, now, None, None, None, detail)).await?;
    Ok(())
}
