//! What the ledger is told of an issuance: before the signature, and after it.

use serde::Serialize;

use super::{
    Call, Services,
    error::Error,
    issue::{purpose, taken},
    issuers::{OnRecord, Ruling},
    signing::{self, SigningKeys},
};
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::{
        path::{KeyPath, ResourcePath},
        request::Issuance,
        serial::SerialNumber,
        time::Timestamp,
    },
    ledger::{
        BeginError, EntryKind as StoredKind, IacaPin, Intent, IntentId, IssuedCertificate,
        KeptAnswer, KeyPin, LedgerError, Outcome, Pinning, Product, Reservation, StoredCopy,
        UsedIssuer,
    },
    x509::{SignedCertificate, UnsignedCertificate},
};

/// Everything that was decided about one issuance.
pub(super) struct Recording<'a> {
    pub(super) services: &'a Services,
    pub(super) call: &'a Call,
    pub(super) issuance: &'a Issuance,
    pub(super) keys: &'a SigningKeys,
    pub(super) ruling: Ruling,
    pub(super) on_record: OnRecord,
    pub(super) reservations: Vec<Reservation>,
    /// One full path for each attached store, in order of attachment.
    pub(super) stored_paths: Vec<ResourcePath>,
    pub(super) now: Timestamp,
}

/// A recorded intent and what it is about.
pub(super) struct Begun {
    pub(super) unsigned: UnsignedCertificate,
    pub(super) facts: Facts,
    pub(super) intent: IntentId,
}

/// Why there is no intent.
pub(super) enum Unbegun {
    /// What a key may be used for was decided on what is not true any more, or not for long.
    DecideAgain,
    /// The caller is told.
    Failed(Error),
}

impl From<Error> for Unbegun {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What the plan knew and the octets no longer say at a glance.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) is_ca: bool,
    pub(super) path_length: Option<u8>,
    tbs_sha256: [u8; 32],
}

/// What `intent` and `issued` say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
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

/// What `iaca-pinned` says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PinDetail<'a> {
    key_path: Option<&'a KeyPath>,
    not_after: Timestamp,
    not_before: Timestamp,
    subject: Option<String>,
}

/// What is said of a CA certificate from elsewhere.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsedDetail<'a> {
    certificate_sha256: String,
    key_path: Option<&'a KeyPath>,
    not_after: Timestamp,
    spki_sha256: String,
}

/// 126 random bits do not collide; a broken random source does.
const SERIAL_DRAWS_MAX: usize = 3;

impl Recording<'_> {
    /// Plans, encodes, lints, and makes the intent durable. A serial number that is taken is drawn
    /// again.
    ///
    /// # Errors
    /// [`Error`]; nothing is recorded then.
    pub(super) async fn begin(&self) -> Result<Begun, Unbegun> {
        for _ in 0..SERIAL_DRAWS_MAX {
            let serial = SerialNumber::from_random(signing::random()?);
            let plan =
                self.ruling.plan(serial, self.issuance, self.keys, self.services.settings)?;
            let (is_ca, path_length) = (plan.is_ca(), plan.path_length());
            let unsigned = UnsignedCertificate::encode(plan)
                .map_err(|error| Error::Internal(format!("our own certificate: {error}")))?;
            let facts = Facts { is_ca, path_length, tbs_sha256: unsigned.tbs_sha256() };
            let key_pins = signing::new_pins(self.services, self.keys, self.now);
            let pinned: Vec<_> = key_pins.iter().map(signing::pinned).collect();
            match self.services.ledger.begin(self.intent(serial, facts, key_pins)).await {
                Ok(intent) => {
                    self.services.keyring.pinned(pinned);
                    return Ok(Begun { unsigned, facts, intent });
                }
                Err(BeginError::SerialTaken) => {
                    tracing::error!(%serial, "a random serial number was taken already");
                }
                Err(BeginError::StoreIdTaken(target)) => return Err(taken(target).into()),
                Err(BeginError::KeyLearned | BeginError::KeyClaimed) => {
                    return Err(Unbegun::DecideAgain);
                }
                Err(error) => return Err(signing::not_begun(error).into()),
            }
        }
        let what = "random serial numbers collide: is the random source broken?";
        Err(Error::Internal(what.to_owned()).into())
    }

    /// Makes the certificate and its copies durable; the answer is the index of its audit entry.
    ///
    /// # Errors
    /// [`LedgerError`]; the intent is still open then.
    pub(super) async fn complete(
        &self,
        intent: IntentId,
        signed: &SignedCertificate,
        facts: Facts,
        answer: Option<KeptAnswer>,
    ) -> Result<u64, LedgerError> {
        let outcome = Outcome { answer, ..self.outcome(signed, facts) };
        self.services.ledger.complete(intent, outcome).await
    }

    fn intent(&self, serial: SerialNumber, facts: Facts, key_pins: Vec<KeyPin>) -> Intent {
        let key_pins = key_pins.into_iter().map(|pin| signing::pinning(self.call, pin, self.now));
        let iaca_pin = self.on_record.pin.as_deref().map(|pin| Pinning {
            audit: self.entry(EntryKind::IacaPinned, &self.pin_detail(pin)),
            pin: pin.clone(),
        });
        let used_issuers = self.on_record.used.iter().map(|used| {
            let kind = match used.is_iaca {
                true => EntryKind::IacaPinned,
                false => EntryKind::IssuerPinned,
            };
            let detail = UsedDetail {
                certificate_sha256: signing::hex(&used.sha256),
                key_path: self.keys.signer.path().filter(|_| self.is_signers(used)),
                not_after: used.not_after,
                spki_sha256: signing::hex(&used.spki_sha256),
            };
            Pinning { audit: self.entry(kind, &detail), pin: used.clone() }
        });
        Intent {
            serial: Some(serial),
            purpose: purpose(self.issuance),
            service: self.call.target.clone(),
            tbs_sha256: facts.tbs_sha256,
            issuer_key_path: self.keys.signer.path().cloned(),
            subject_key_path: self.keys.subject_path().cloned(),
            dev_key: self.keys.any_dev(),
            client: self.call.client.to_string(),
            request_id: self.call.request_id.clone(),
            created_at: self.now,
            reservations: self.reservations.clone(),
            key_pins: key_pins.collect(),
            iaca_pin,
            used_issuers: used_issuers.collect(),
            claims: self.on_record.claims.clone(),
            noted_key: self.on_record.noted_key,
            audit: self.entry(EntryKind::Intent, &self.detail(serial, facts, None)),
        }
    }

    fn outcome(&self, signed: &SignedCertificate, facts: Facts) -> Outcome {
        let sha256 = signed.sha256();
        let detail = self.detail(signed.serial(), facts, Some(sha256));
        let certificate = IssuedCertificate {
            der: signed.der().to_vec(),
            sha256,
            spki_sha256: signed.subject_key().spki_sha256(),
            subject_der: signed.subject().as_der().to_vec(),
            issuer_der: signed.issuer().as_der().to_vec(),
            subject_cn: signed.subject().common_name(),
            subject_text: signed.subject().to_string(),
            issuer_text: signed.issuer().to_string(),
            subject_key_id: signed.subject_key().subject_key_id().to_vec(),
            issuer_key_id: self.ruling.issuer_key_id(self.keys),
            not_before: signed.validity().not_before(),
            not_after: signed.validity().not_after(),
            is_ca: facts.is_ca,
            self_signed: self.keys.is_self_signed(),
            issued_at: self.now,
            entries: self.copies(),
        };
        Outcome {
            product: Product::Certificate(Box::new(certificate)),
            audit: self.entry(EntryKind::Issued, &detail),
            answer: None,
        }
    }

    fn copies(&self) -> Vec<StoredCopy> {
        let metadata = match self.issuance {
            Issuance::Iaca(iaca) => iaca.metadata.clone(),
            Issuance::DocumentSigner(_) | Issuance::Generic(_) => None,
        };
        let kind = match metadata {
            Some(_) => StoredKind::VicalEntry,
            None => StoredKind::Base,
        };
        self.reservations
            .iter()
            .map(|Reservation { store, id }| StoredCopy {
                store: store.clone(),
                id: id.clone(),
                kind,
                metadata: metadata.clone(),
            })
            .collect()
    }

    /// What `intent` and `issued` say alike.
    fn detail(&self, serial: SerialNumber, facts: Facts, sha256: Option<[u8; 32]>) -> Detail<'_> {
        Detail {
            certificate_sha256: sha256.map(|sha256| signing::hex(&sha256)),
            dev_key: self.keys.any_dev(),
            issuer_key_path: self.keys.signer.path(),
            profile: purpose(self.issuance).name(),
            serial,
            stored_certificate_ids: &self.stored_paths,
            subject_key_path: self.keys.subject_path(),
            tbs_sha256: signing::hex(&facts.tbs_sha256),
        }
    }

    fn is_signers(&self, used: &UsedIssuer) -> bool {
        used.spki_sha256 == self.keys.signer.public_key().spki_sha256()
    }

    fn pin_detail(&self, pin: &IacaPin) -> PinDetail<'_> {
        PinDetail {
            key_path: self.keys.signer.path(),
            not_after: pin.not_after,
            not_before: pin.not_before,
            subject: self.ruling.issuer_text(),
        }
    }

    fn entry(&self, kind: EntryKind, detail: &impl Serialize) -> AuditRecord {
        signing::entry(self.call, kind, detail, self.now)
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
        let pin = PinDetail {
            key_path: Some(&key_path),
            not_after: Timestamp::from_unix(1).unwrap(),
            not_before: Timestamp::from_unix(0).unwrap(),
            subject: None,
        };
        // Values sort their members.
        for (written, value) in [
            (serde_json::to_string(&detail), serde_json::to_value(&detail)),
            (serde_json::to_string(&pin), serde_json::to_value(&pin)),
        ] {
            assert_eq!(written.unwrap(), value.unwrap().to_string());
        }
    }
}
