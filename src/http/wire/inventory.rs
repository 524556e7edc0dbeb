//! Issued certificates.

use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::{
    domain::time::Timestamp,
    service::inventory::{Certificate, Page},
};

/// One page of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl List {
    /// With the state of each certificate now.
    pub fn new(page: Page, now: Timestamp) -> Self {
        let Page { certificates, next } = page;
        Self {
            items: certificates.into_iter().map(|item| Item::new(item, None, now)).collect(),
            next_cursor: next.map(cursor::encode),
        }
    }
}

/// One certificate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    serial: String,
    profile: &'static str,
    status: &'static str,
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
    subject_key_id: String,
    issuer_key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key_id_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_key_id_path: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stored_certificate_ids: Vec<String>,
    sha256: String,
    issued_at: String,
    issued_by: String,
    request_id: String,
    audit_index: u64,
    dev_key: bool,
    #[serde(rename = "certificatePEM", skip_serializing_if = "Option::is_none")]
    certificate_pem: Option<String>,
}

impl Item {
    /// With its state now, and its PEM where that is wanted.
    pub fn new(certificate: Certificate, pem: Option<String>, now: Timestamp) -> Self {
        Self {
            serial: certificate.serial.to_string(),
            profile: certificate.profile.name(),
            status: certificate.status(now).name(),
            subject: certificate.subject_text,
            issuer: certificate.issuer_text,
            not_before: certificate.not_before.to_string(),
            not_after: certificate.not_after.to_string(),
            subject_key_id: HEXLOWER.encode(&certificate.subject_key_id),
            issuer_key_id: HEXLOWER.encode(&certificate.issuer_key_id),
            issuer_key_id_path: certificate.issuer_key_path.map(|path| path.to_string()),
            subject_key_id_path: certificate.subject_key_path.map(|path| path.to_string()),
            stored_certificate_ids: certificate.stored_ids,
            sha256: HEXLOWER.encode(&certificate.sha256),
            issued_at: certificate.issued_at.to_string(),
            issued_by: certificate.client,
            request_id: certificate.request_id,
            audit_index: certificate.audit_index,
            dev_key: certificate.dev_key,
            certificate_pem: pem,
        }
    }
}

/// Cursors are opaque to callers: base64url of the audit index where the next page starts.
pub mod cursor {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    /// The cursor of an index.
    pub fn encode(index: u64) -> String {
        URL_SAFE_NO_PAD.encode(index.to_be_bytes())
    }

    /// The index of a cursor; `None` when it is none of ours.
    pub fn decode(cursor: &str) -> Option<u64> {
        let octets = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let index = u64::from_be_bytes(octets.try_into().ok()?);
        i64::try_from(index).is_ok().then_some(index)
    }
}
