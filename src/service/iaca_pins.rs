//! What makes a key an IACA's without a certificate that was issued or is stored here: descriptions that
//! were pinned, and certificates that were supplied. Read, and dropped.

use super::{Call, Services, error::Error, key_errors, keys};
use crate::{
    audit::EntryKind,
    domain::{
        path::{KeyPath, PathElement},
        time::Timestamp,
    },
    ledger::{IacaPin, UsedIssuer},
    x509::{Certificate, EncodedName, certificate::ContactNames},
};
use data_encoding::HEXLOWER;

/// One of them.
#[derive(Debug)]
pub struct ShownPin {
    /// The key that was asked for.
    pub key_path: KeyPath,
    /// The name of the IACA, `C=NL,CN=Root`.
    pub subject: String,
    /// How to reach it.
    pub contact: ContactNames,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// Since when it is on record.
    pub since: Timestamp,
    /// The certificate, when one was supplied.
    pub certificate_pem: Option<String>,
}

/// The IACAs that a key is on record with, by its public key.
///
/// # Errors
/// [`Error`]: no such key (404), no HSM or no ledger (503).
pub async fn list(
    services: &Services,
    call: &Call,
    id: &PathElement,
) -> Result<Vec<ShownPin>, Error> {
    let key = keys::get(services, call, id).await?;
    let found = services.ledger.iaca_pins(key.public_key.spki_sha256());
    let (pins, used) = found.await.map_err(key_errors::ledger)?;
    let mut shown: Vec<_> = pins.into_iter().map(|pin| described(&key.path, pin)).collect();
    for used in used {
        shown.push(supplied(&key.path, &used)?);
    }
    Ok(shown)
}

/// Drops them all: the next IACA of the key may be another.
///
/// # Errors
/// [`Error`]: no such key, or nothing on record of it (404), no HSM or no ledger (503).
pub async fn drop_all(
    services: &Services,
    call: &Call,
    id: &PathElement,
    now: Timestamp,
) -> Result<KeyPath, Error> {
    let key = keys::get(services, call, id).await?;
    let spki_sha256 = key.public_key.spki_sha256();
    let detail = serde_json::json!({
        "keyPath": key.path.as_str(),
        "spkiSha256": HEXLOWER.encode(&spki_sha256),
    });
    let audit = call.entry(EntryKind::IacaUnpinned, detail, now);
    match services.ledger.drop_iaca_pins(spki_sha256, audit).await.map_err(key_errors::ledger)? {
        true => Ok(key.path),
        false => Err(Error::NotFound {
            message: format!("no IACA is pinned to key {}", key.path),
            field: None,
        }),
    }
}

fn described(key_path: &KeyPath, pin: IacaPin) -> ShownPin {
    ShownPin {
        key_path: key_path.clone(),
        subject: EncodedName::from_der(&pin.subject_der)
            .map_or_else(|_| HEXLOWER.encode(&pin.subject_der), |name| name.to_string()),
        contact: ContactNames { email: pin.email, uri: pin.uri },
        not_before: pin.not_before,
        not_after: pin.not_after,
        since: pin.pinned_at,
        certificate_pem: None,
    }
}

fn supplied(key_path: &KeyPath, used: &UsedIssuer) -> Result<ShownPin, Error> {
    let certificate = Certificate::from_der(&used.der).map_err(|error| {
        Error::Internal(format!("a certificate in the ledger does not parse: {error}"))
    })?;
    Ok(ShownPin {
        key_path: key_path.clone(),
        subject: certificate.subject().to_string(),
        contact: certificate.issuer_alternative_name().unwrap_or_default(),
        not_before: certificate.validity().not_before(),
        not_after: certificate.validity().not_after(),
        since: used.used_at,
        certificate_pem: Some(certificate.pem()),
    })
}
