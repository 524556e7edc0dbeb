//! Use cases of certificate stores: read, add, replace, delete. Nothing is signed here.

use super::{
    Call, Services,
    error::{DuplicateKind, Error, Invalid},
    fresh, given, key_errors,
    known::index_of,
};
use crate::{
    audit::{AuditRecord, EntryKind as Audited},
    domain::{
        member::Message,
        path::{PathElement, ResourcePath},
        request::{Pem, VicalMetadata},
        time::Timestamp,
    },
    ledger::{CreateError, EntryKind, NewEntry, StoreEntry},
    x509::{Certificate, Outline, X509Error, lint, pem},
};
use data_encoding::HEXLOWER;

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// Its full path.
    pub path: ResourcePath,
    /// `base` or `vical-entry`.
    pub kind: &'static str,
    /// The certificate.
    pub certificate_pem: String,
    /// Set for a `vical-entry` only.
    pub metadata: Option<VicalMetadata>,
}

/// All entries of a store, sorted by path.
///
/// # Errors
/// [`Error::Unavailable`] when the ledger does not answer.
pub async fn list(services: &Services, store: &ResourcePath) -> Result<Vec<Entry>, Error> {
    let entries = services.ledger.store_entries(store.clone()).await.map_err(key_errors::ledger)?;
    Ok(entries.into_iter().map(Entry::from).collect())
}

/// The full paths of all entries of a store, sorted.
///
/// # Errors
/// [`Error::Unavailable`] when the ledger does not answer.
pub async fn ids(services: &Services, store: &ResourcePath) -> Result<Vec<ResourcePath>, Error> {
    services.ledger.store_ids(store.clone()).await.map_err(key_errors::ledger)
}

/// One entry.
///
/// # Errors
/// [`Error::NotFound`] when there is none, [`Error::Unavailable`] when the ledger does not answer.
pub async fn get(
    services: &Services,
    store: &ResourcePath,
    id: &PathElement,
) -> Result<Entry, Error> {
    services
        .ledger
        .store_entry(store.clone(), id.clone())
        .await
        .map_err(key_errors::ledger)?
        .map(Entry::from)
        .ok_or_else(|| missing(&store.child(id)))
}

/// The content of a new or replaced entry.
pub struct Content {
    /// The certificate.
    pub certificate: Pem,
    /// Makes the entry a `vical-entry`.
    pub metadata: Option<VicalMetadata>,
}

/// Adds an entry, under a UUID when no id is chosen.
///
/// # Errors
/// [`Error`]: the id is taken (409), the content does not fit (400).
pub async fn add(
    services: &Services,
    call: &Call,
    id: Option<PathElement>,
    content: Content,
    now: Timestamp,
) -> Result<Entry, Error> {
    let id = match id {
        Some(id) => id,
        None => fresh::id(),
    };
    let entry = checked(services, call, id, content).await?;
    let audit = audited(call, Audited::StoreAdded, &entry, now);
    let answer = Entry::from(stored(&entry));
    let target = answer.path.clone();
    services.ledger.add_entry(entry, audit).await.map_err(|error| match error {
        CreateError::Taken => {
            Error::Duplicate { target, kind: DuplicateKind::StoredCertificate, field: None }
        }
        CreateError::Ledger(error) => key_errors::ledger(error),
    })?;
    Ok(answer)
}

/// Replaces the content of an entry; the id stays.
///
/// # Errors
/// [`Error`]: there is none (404), the content does not fit (400).
pub async fn replace(
    services: &Services,
    call: &Call,
    id: PathElement,
    content: Content,
    now: Timestamp,
) -> Result<Entry, Error> {
    let entry = checked(services, call, id, content).await?;
    let audit = audited(call, Audited::StoreReplaced, &entry, now);
    let answer = Entry::from(stored(&entry));
    match services.ledger.replace_entry(entry, audit).await.map_err(key_errors::ledger)? {
        true => Ok(answer),
        false => Err(missing(&answer.path)),
    }
}

/// Deletes an entry and returns its path. The inventory still has the certificate if it was issued
/// here.
///
/// # Errors
/// [`Error`]: there is none (404).
pub async fn delete(
    services: &Services,
    call: &Call,
    id: PathElement,
    now: Timestamp,
) -> Result<ResourcePath, Error> {
    let path = call.target.child(&id);
    let detail = serde_json::json!({ "storedCertificateId": path.as_str() });
    let audit = call.entry(Audited::StoreDeleted, detail, now);
    let store = call.target.clone();
    match services.ledger.delete_entry(store, id, audit).await.map_err(key_errors::ledger)? {
        true => Ok(path),
        false => Err(missing(&path)),
    }
}

async fn checked(
    services: &Services,
    call: &Call,
    id: PathElement,
    content: Content,
) -> Result<NewEntry, Error> {
    let Content { certificate: Pem { member, text }, metadata } = content;
    let invalid = |what: String| {
        Error::Invalid(Invalid::at(member, Message::name(member).text(format!(": {what}"))))
    };
    let unreadable = |error: X509Error| invalid(error.to_string());
    // A base entry only needs the structure of a certificate, because it is a copy that is not
    // relied on.
    let outline = match metadata {
        None => Outline::from_pem(&text).map_err(unreadable)?,
        Some(_) => {
            let certificate = Certificate::from_pem(&text).map_err(unreadable)?;
            check_vical_entry(services, &certificate, &invalid).await?;
            Outline::from(&certificate)
        }
    };
    let kind = match metadata {
        Some(_) => EntryKind::VicalEntry,
        None => EntryKind::Base,
    };
    Ok(NewEntry {
        store: call.target.clone(),
        id,
        kind,
        index: outline.is_ca.then(|| Certificate::from_der(&outline.der).ok()).flatten().map(
            // A CA certificate that cannot be read in full is not indexed as an issuer.
            |certificate| index_of(&certificate),
        ),
        spki_sha256: outline.spki_sha256,
        is_ca: outline.is_ca,
        der: outline.der,
        metadata,
    })
}

/// Refuses a VICAL entry that is not an IACA.
async fn check_vical_entry(
    services: &Services,
    certificate: &Certificate,
    invalid: &impl Fn(String) -> Error,
) -> Result<(), Error> {
    if !services.settings.check_vical_entries {
        return Ok(());
    }
    let no_iaca = |what: &str| invalid(format!("a vical-entry must be an IACA: {what}"));
    lint::supplied_iaca(certificate).map_err(|finding| no_iaca(&finding.detail))?;
    if !certificate.is_self_signed() {
        return Err(no_iaca("self-signature does not verify"));
    }
    if let Ok(key) = certificate.public_key()
        && let Some(bad) = services.bad_keys.reason(&key).await?
    {
        return Err(no_iaca(&bad.to_string()));
    }
    given::warn_of_iaca(certificate);
    Ok(())
}

fn audited(call: &Call, kind: Audited, entry: &NewEntry, now: Timestamp) -> AuditRecord {
    let detail = serde_json::json!({
        "storedCertificateId": entry.store.child(&entry.id).as_str(),
        "kind": entry.kind.name(),
        "certificateSha256": HEXLOWER.encode(&crate::domain::key::sha256(&entry.der)),
    });
    call.entry(kind, detail, now)
}

fn stored(entry: &NewEntry) -> StoreEntry {
    StoreEntry {
        store: entry.store.clone(),
        id: entry.id.clone(),
        kind: entry.kind,
        der: entry.der.clone(),
        metadata: entry.metadata.clone(),
    }
}

fn missing(path: &ResourcePath) -> Error {
    Error::NotFound { message: format!("{path} does not exist"), field: None }
}

impl From<StoreEntry> for Entry {
    fn from(entry: StoreEntry) -> Self {
        Self {
            path: entry.store.child(&entry.id),
            kind: entry.kind.name(),
            certificate_pem: pem::encode("CERTIFICATE", &entry.der),
            metadata: entry.metadata,
        }
    }
}
