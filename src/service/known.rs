//! What the ledger knows of the keys that sign, read once and kept while it stays true.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Call, Services, error::Error, key_errors, signing::SigningKeys};
use crate::{
    domain::{
        client::KeyPurpose,
        path::{KeyPath, ResourcePath},
    },
    ledger::{CertificateOrigin, IacaPin, KnownCertificate, KnownKey},
    x509::{Certificate, lint},
};

/// Answers that are kept in mind, at most; when there are more, all are forgotten and asked for again.
const ANSWERS_MAX: usize = 4_096;

/// CA certificates and pins of one signing key.
pub(super) struct Known {
    /// CA certificates over the key, from where the service may take them.
    pub(super) certificates: Vec<KnownCa>,
    /// The IACA descriptions that were pinned to it.
    pub(super) pins: Vec<IacaPin>,
}

/// One of them.
pub(super) struct KnownCa {
    pub(super) certificate: Certificate,
    /// Whether it makes the key an IACA's.
    pub(super) is_iaca: bool,
}

impl Known {
    /// Asks the ledger, unless it would say what it said before.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without the ledger.
    pub(super) async fn load(
        services: &Services,
        call: &Call,
        keys: &SigningKeys,
        stores: &[ResourcePath],
    ) -> Result<Arc<Self>, Error> {
        let question = Question {
            spki_sha256: keys.signer.public_key().spki_sha256(),
            key_path: keys.signer.path(),
            service: &call.target,
            stores,
        };
        // Before the answer is read: what changes meanwhile makes it old, never falsely new.
        let version = services.ledger.known_keys_version();
        if let Some(known) = services.known.get(&question, version) {
            return Ok(known);
        }
        let answer = services
            .ledger
            .known_key(question.spki_sha256, stores.to_vec())
            .await
            .map_err(key_errors::ledger)?;
        let known = Arc::new(Self::of(answer, &question));
        services.known.keep(&question, version, Arc::clone(&known));
        Ok(known)
    }

    fn of(KnownKey { certificates, pins }: KnownKey, question: &Question<'_>) -> Self {
        let certificates = certificates
            .into_iter()
            .filter(|row| question.is_ours(&row.origin))
            .filter_map(|KnownCertificate { der, origin }| match Certificate::from_der(&der) {
                Ok(certificate) => {
                    Some(KnownCa { is_iaca: is_iaca(&certificate, &origin), certificate })
                }
                Err(error) => {
                    tracing::error!(%error, "a certificate in the ledger does not parse");
                    None
                }
            })
            .collect();
        Self { certificates, pins }
    }

    /// The certificates that make the key an IACA's.
    pub(super) fn iacas(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|known| known.is_iaca).map(|known| &known.certificate)
    }
}

fn is_iaca(certificate: &Certificate, origin: &CertificateOrigin) -> bool {
    match origin {
        CertificateOrigin::Issued { profile, .. } => *profile == KeyPurpose::Iaca,
        CertificateOrigin::Stored { .. } => {
            lint::supplied_iaca(certificate).is_ok() && certificate.is_self_signed()
        }
    }
}

/// What is asked of the ledger, and for whom.
struct Question<'a> {
    spki_sha256: [u8; 32],
    key_path: Option<&'a KeyPath>,
    service: &'a ResourcePath,
    stores: &'a [ResourcePath],
}

impl Question<'_> {
    /// Anyone may have a CA certificate made over a public key that is not theirs. Of those issued
    /// here, only those count that were made for the key path itself or by the service of the call.
    fn is_ours(&self, origin: &CertificateOrigin) -> bool {
        match origin {
            CertificateOrigin::Issued { service, subject_key_path, .. } => {
                service == self.service
                    || (subject_key_path.is_some() && subject_key_path.as_ref() == self.key_path)
            }
            CertificateOrigin::Stored { .. } => true,
        }
    }
}

/// Answers of the ledger that are still true, by the public key that they are about.
#[derive(Default)]
pub struct KnownKeys(Mutex<HashMap<[u8; 32], Vec<Kept>>>);

/// What was known at a version of the ledger, to whom.
struct Kept {
    key_path: Option<KeyPath>,
    service: ResourcePath,
    stores: Vec<ResourcePath>,
    version: u64,
    known: Arc<Known>,
}

impl Kept {
    fn answers(&self, question: &Question<'_>) -> bool {
        self.key_path.as_ref() == question.key_path
            && self.service == *question.service
            && self.stores == question.stores
    }
}

impl KnownKeys {
    fn get(&self, question: &Question<'_>, version: u64) -> Option<Arc<Known>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(&question.spki_sha256)?.iter().find(|kept| kept.answers(question))?;
        (kept.version == version).then(|| Arc::clone(&kept.known))
    }

    fn keep(&self, question: &Question<'_>, version: u64, known: Arc<Known>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.values().map(Vec::len).sum::<usize>() >= ANSWERS_MAX {
            all.clear();
        }
        let kept = all.entry(question.spki_sha256).or_default();
        kept.retain(|kept| !kept.answers(question));
        kept.push(Kept {
            key_path: question.key_path.cloned(),
            service: question.service.clone(),
            stores: question.stores.to_vec(),
            version,
            known,
        });
    }
}
