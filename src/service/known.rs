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

/// Keys that are kept in mind, at most; when there are more, all are forgotten and asked for again.
const KEYS_MAX: usize = 4_096;

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
    ) -> Result<Arc<Self>, Error> {
        let question = Question {
            spki_sha256: keys.signer.public_key().spki_sha256(),
            key_path: keys.signer.path().cloned(),
            service: call.target.clone(),
            stores: call.stores(),
        };
        // Before the answer is read: what changes meanwhile makes it old, never falsely new.
        let version = services.ledger.known_keys_version();
        if let Some(known) = services.known.get(&question, version) {
            return Ok(known);
        }
        let answer = services
            .ledger
            .known_key(question.spki_sha256, question.stores.clone())
            .await
            .map_err(key_errors::ledger)?;
        let known = Arc::new(Self::of(answer, &question));
        services.known.keep(question, version, Arc::clone(&known));
        Ok(known)
    }

    fn of(KnownKey { certificates, pins }: KnownKey, question: &Question) -> Self {
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
#[derive(PartialEq, Eq, Hash)]
struct Question {
    spki_sha256: [u8; 32],
    key_path: Option<KeyPath>,
    service: ResourcePath,
    stores: Vec<ResourcePath>,
}

impl Question {
    /// Anyone may have a CA certificate made over a public key that is not theirs. Of those issued
    /// here, only those count that were made for the key path itself or by the service of the call.
    fn is_ours(&self, origin: &CertificateOrigin) -> bool {
        match origin {
            CertificateOrigin::Issued { service, subject_key_path, .. } => {
                *service == self.service
                    || (subject_key_path.is_some() && *subject_key_path == self.key_path)
            }
            CertificateOrigin::Stored { .. } => true,
        }
    }
}

/// Answers of the ledger that are still true.
#[derive(Default)]
pub struct KnownKeys(Mutex<HashMap<Question, Kept>>);

/// What was known at a version of the ledger.
struct Kept {
    version: u64,
    known: Arc<Known>,
}

impl KnownKeys {
    fn get(&self, question: &Question, version: u64) -> Option<Arc<Known>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(question)
            .filter(|kept| kept.version == version)
            .map(|kept| Arc::clone(&kept.known))
    }

    fn keep(&self, question: Question, version: u64, known: Arc<Known>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEYS_MAX {
            kept.clear();
        }
        kept.insert(question, Kept { version, known });
    }
}
