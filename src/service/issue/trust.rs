//! What an issuance puts on record about keys: the roles that they take, and the CA certificates and
//! descriptions that it relies on.

use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::{
    audit::EntryKind,
    domain::{
        key::{PublicKey, sha256},
        path::KeyPath,
        time::Timestamp,
        validity::Validity,
    },
    keys::Key,
    ledger::{CaRole, IacaPin, KeyClaim, Pinning, UsedIssuer},
    service::{
        Call,
        act::Records,
        known::{Known, KnownCa, Origin},
    },
    x509::{Certificate, Issuer},
};

/// CA certificates from elsewhere over one key that are put on record, at most.
const USED_MAX: usize = 64;

/// The records of one issuance, as they are collected.
pub(super) struct Trust<'a> {
    call: &'a Call,
    signer: &'a Key,
    now: Timestamp,
    pub(super) records: Records,
}

/// The detail of `iaca-pinned` about a description; the members are in alphabetical order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedDetail<'a> {
    key_path: Option<&'a KeyPath>,
    not_after: Timestamp,
    not_before: Timestamp,
    subject: String,
}

/// The detail of `iaca-pinned` and `issuer-pinned` about a certificate; the members are in alphabetical
/// order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsedDetail<'a> {
    certificate_sha256: String,
    key_path: Option<&'a KeyPath>,
    not_after: Timestamp,
    spki_sha256: String,
}

impl<'a> Trust<'a> {
    pub(super) fn new(call: &'a Call, signer: &'a Key, now: Timestamp) -> Self {
        Self { call, signer, now, records: Records::default() }
    }

    /// A key takes a role, once.
    pub(super) fn claim(&mut self, key: &PublicKey, role: CaRole, known: &Known) {
        let spki_sha256 = key.spki_sha256();
        if self.records.claims.iter().all(|claim| claim.spki_sha256 != spki_sha256) {
            self.records.claims.push(KeyClaim { spki_sha256, role, state: known.state });
        }
    }

    /// Makes a description the IACA of the signing key.
    pub(super) fn pin(&mut self, pin: IacaPin, described: &Issuer, known: &Known) {
        let detail = DescribedDetail {
            key_path: self.signer.path(),
            not_after: pin.not_after,
            not_before: pin.not_before,
            subject: described.name.to_string(),
        };
        let audit = self.call.entry(EntryKind::IacaPinned, detail, self.now);
        self.records.iaca_pin = Some(Pinning { audit, pin });
        self.claim(self.signer.public_key(), CaRole::Iaca, known);
    }

    /// Relies on a CA certificate over the signing key. When it is not on record, it is put there, and
    /// the key takes its role.
    ///
    /// # Errors
    /// In words: there are too many on record.
    pub(super) fn rely_on(
        &mut self,
        certificate: &Certificate,
        role: CaRole,
        known: &Known,
    ) -> Result<(), String> {
        let is_on_record = |ca: &KnownCa| {
            !matches!(ca.origin, Origin::Stored(_))
                && ca.proven.certificate.der() == certificate.der()
        };
        if known.certificates.iter().any(is_on_record) {
            return Ok(());
        }
        let is_used = |ca: &&KnownCa| matches!(ca.origin, Origin::Used(_));
        if known.certificates.iter().filter(is_used).count() >= USED_MAX {
            return Err(format!(
                "the key is on record with {USED_MAX} issuer certificates already"
            ));
        }
        self.put_used(certificate, role);
        self.claim(self.signer.public_key(), role, known);
        Ok(())
    }

    /// Puts a CA certificate from elsewhere on record.
    pub(super) fn put_used(&mut self, certificate: &Certificate, role: CaRole) {
        let spki_sha256 = certificate.spki_sha256();
        let is_signers = spki_sha256 == self.signer.public_key().spki_sha256();
        let pin = UsedIssuer {
            spki_sha256,
            sha256: certificate.sha256(),
            subject_sha256: sha256(certificate.subject().as_der()),
            der: certificate.der().to_vec(),
            is_iaca: role == CaRole::Iaca,
            self_signed: certificate.is_self_signed(),
            not_after: certificate.validity().not_after(),
            service: self.call.target.clone(),
            used_at: self.now,
        };
        let detail = UsedDetail {
            certificate_sha256: HEXLOWER.encode(&pin.sha256),
            key_path: self.signer.path().filter(|_| is_signers),
            not_after: pin.not_after,
            spki_sha256: HEXLOWER.encode(&pin.spki_sha256),
        };
        let kind = match role {
            CaRole::Iaca => EntryKind::IacaPinned,
            CaRole::Generic => EntryKind::IssuerPinned,
        };
        let audit = self.call.entry(kind, detail, self.now);
        self.records.used_issuers.push(Pinning { audit, pin });
    }
}

/// Whether an issuer certificate is valid now.
///
/// # Errors
/// Words for the caller.
pub(super) fn valid_now(validity: Validity, now: Timestamp) -> Result<(), String> {
    if validity.contains(now) {
        return Ok(());
    }
    Err(format!(
        "issuer certificate is valid from {} to {}, not now",
        validity.not_before(),
        validity.not_after()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_detail_are_in_alphabetical_order() {
        let key_path = KeyPath::parse("acme.kms.iaca").unwrap();
        let [not_before, not_after] = [0, 1].map(|unix| Timestamp::from_unix(unix).unwrap());
        let described = DescribedDetail {
            key_path: Some(&key_path),
            not_after,
            not_before,
            subject: "CN=IACA".to_owned(),
        };
        let used = UsedDetail {
            certificate_sha256: "ab".to_owned(),
            key_path: Some(&key_path),
            not_after,
            spki_sha256: "cd".to_owned(),
        };
        // Values sort their members.
        for (written, value) in [
            (serde_json::to_string(&described), serde_json::to_value(&described)),
            (serde_json::to_string(&used), serde_json::to_value(&used)),
        ] {
            assert_eq!(written.unwrap(), value.unwrap().to_string());
        }
    }
}
