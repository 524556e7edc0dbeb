//! What the ledger is told of a certificate: the details of its audit entries, and what is kept.

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::Keys;
use crate::{
    domain::{
        client::KeyPurpose,
        path::{KeyPath, ResourcePath},
        request::VicalMetadata,
        serial::SerialNumber,
        time::Timestamp,
    },
    ledger::{EntryKind, IssuedCertificate, Reservation, StoredCopy},
    x509::SignedCertificate,
};

/// The detail of `intent` and of `issued`; the members are in alphabetical order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail<'a> {
    /// Of `issued`.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_sha256: Option<String>,
    dev_key: bool,
    issuer_key_path: Option<&'a KeyPath>,
    profile: &'static str,
    serial: SerialNumber,
    stored_certificate_ids: &'a [ResourcePath],
    subject_key_path: Option<&'a KeyPath>,
    tbs_sha256: String,
}

impl<'a> Detail<'a> {
    /// The detail of `intent`.
    pub(super) fn new(
        profile: KeyPurpose,
        serial: SerialNumber,
        keys: &'a Keys,
        stored_certificate_ids: &'a [ResourcePath],
        tbs_sha256: &[u8; 32],
    ) -> Self {
        Self {
            certificate_sha256: None,
            dev_key: keys.signer.is_dev() || keys.subject().is_dev(),
            issuer_key_path: keys.signer.path(),
            profile: profile.name(),
            serial,
            stored_certificate_ids,
            subject_key_path: keys.subject().path(),
            tbs_sha256: HEXLOWER.encode(tbs_sha256),
        }
    }

    /// The detail of `issued`.
    pub(super) fn of_issued(self, certificate_sha256: &[u8; 32]) -> Self {
        Self { certificate_sha256: Some(HEXLOWER.encode(certificate_sha256)), ..self }
    }
}

/// What is kept of a certificate. `metadata` makes the copies in the stores VICAL entries.
pub(super) fn kept(
    signed: &SignedCertificate,
    keys: &Keys,
    reservations: &[Reservation],
    metadata: Option<&VicalMetadata>,
    now: Timestamp,
) -> IssuedCertificate {
    let kind = match metadata {
        Some(_) => EntryKind::VicalEntry,
        None => EntryKind::Base,
    };
    let copies = reservations.iter().map(|Reservation { store, id }| StoredCopy {
        store: store.clone(),
        id: id.clone(),
        kind,
        metadata: metadata.cloned(),
    });
    IssuedCertificate {
        der: signed.der().to_vec(),
        sha256: signed.sha256(),
        spki_sha256: signed.subject_key().spki_sha256(),
        subject_der: signed.subject().as_der().to_vec(),
        issuer_der: signed.issuer().as_der().to_vec(),
        subject_cn: signed.subject().common_name(),
        subject_text: signed.subject().to_string(),
        issuer_text: signed.issuer().to_string(),
        subject_key_id: signed.subject_key().subject_key_id().to_vec(),
        issuer_key_id: signed.issuer_key_id().to_vec(),
        not_before: signed.validity().not_before(),
        not_after: signed.validity().not_after(),
        is_ca: signed.is_ca(),
        self_signed: keys.is_self_signed(),
        issued_at: now,
        entries: copies.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_detail_are_in_alphabetical_order() {
        let key_path = KeyPath::parse("acme.kms.iaca").unwrap();
        let stored = [ResourcePath::parse("acme.store.a").unwrap()];
        let detail = Detail {
            certificate_sha256: Some("ab".to_owned()),
            dev_key: false,
            issuer_key_path: Some(&key_path),
            profile: "iaca",
            serial: SerialNumber::from_random([7; 16]),
            stored_certificate_ids: &stored,
            subject_key_path: None,
            tbs_sha256: "cd".to_owned(),
        };
        // Values sort their members.
        let written = serde_json::to_string(&detail).unwrap();
        assert_eq!(written, serde_json::to_value(&detail).unwrap().to_string());
    }
}
