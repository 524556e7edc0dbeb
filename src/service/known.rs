//! What the ledger knows of the keys that sign, read once and kept while it stays true.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Call, Services,
    error::Error,
    key_errors,
    proof::{Proven, Prover, narrower},
};
use crate::{
    domain::{
        client::KeyPurpose,
        path::{KeyPath, ResourcePath},
        time::Timestamp,
    },
    keys::Key,
    ledger::{
        CaRole, CertificateOrigin, IacaPin, IssuerIndex, KeyQuestion, KeyState, KnownCertificate,
        KnownKey, Ledger, LedgerError,
    },
    x509::{Certificate, lint},
};

/// Answers that are kept in mind, at most; when there are more, all are forgotten and asked for again.
const ANSWERS_MAX: usize = 4_096;
/// How long an answer is kept: certificates above those of a key become valid.
const KEPT_SECONDS: i64 = 600;
/// Stored CA certificates that are indexed at a time.
const INDEXED_MAX: u32 = 256;

/// CA certificates, pins and uses of one key.
pub(super) struct Known {
    /// CA certificates over the key that count, those issued here first.
    pub(super) certificates: Vec<KnownCa>,
    /// The IACA descriptions that were pinned to it and count.
    pub(super) pins: Vec<IacaPin>,
    /// What it has signed, IACAs and document signers aside.
    pub(super) uses: Vec<KeyPurpose>,
    /// To be held against the ledger when the key takes a role.
    pub(super) state: KeyState,
    /// The first moment after this at which something else may be known.
    changes_at: Option<Timestamp>,
}

/// A CA certificate that counts.
pub(super) struct KnownCa {
    pub(super) proven: Proven,
    /// Whether it makes the key an IACA's.
    pub(super) is_iaca: bool,
    pub(super) origin: Origin,
}

/// Where it is from, and since when it speaks of the key's role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Issued here, and an issuer for the service of the call.
    Issued(Timestamp),
    /// Issued here for others: it speaks of the key's role alone.
    IssuedToOthers(Timestamp),
    /// From elsewhere; an issuance has relied on it.
    Used(Timestamp),
    /// Held in an attached store; `true`: its own key has signed it.
    Stored(bool),
}

impl Known {
    /// Asks the ledger, unless it would say what it said before.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without the ledger.
    pub(super) async fn of_key(
        services: &Services,
        call: &Call,
        key: &Key,
        now: Timestamp,
    ) -> Result<Arc<Self>, Error> {
        let (spki_sha256, stores) = (key.public_key().spki_sha256(), call.stores());
        let question =
            Question { spki_sha256, key_path: key.path(), service: &call.target, stores: &stores };
        // Before the answer is read: what changes meanwhile makes it old, never falsely new.
        let version = services.ledger.known_keys_version();
        if let Some(known) = services.known.get(&question, version, now) {
            return Ok(known);
        }
        let asked =
            KeyQuestion { spki_sha256, service: call.target.clone(), stores: stores.clone(), now };
        let answer = services.ledger.known_key(asked).await.map_err(key_errors::ledger)?;
        let known = Arc::new(Self::of(&services.ledger, answer, &question, now).await?);
        services.known.keep(&question, version, now, Arc::clone(&known));
        Ok(known)
    }

    async fn of(
        ledger: &Ledger,
        KnownKey { certificates, pins, uses, state }: KnownKey,
        question: &Question<'_>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut prover = Prover::new(ledger, question.service, question.stores, now);
        let mut known = Vec::new();
        for KnownCertificate { der, origin } in certificates {
            let Ok(certificate) = Certificate::from_der(&der) else {
                tracing::error!("a certificate in the ledger does not parse");
                continue;
            };
            known.extend(question.judge(&mut prover, certificate, &origin).await?);
        }
        let ends = known.iter().flat_map(|ca: &KnownCa| {
            let validity = ca.proven.certificate.validity();
            [Some(validity.not_before()), Some(validity.not_after()), ca.proven.holds_until]
        });
        let ends = ends.flatten().chain(pins.iter().map(|pin| pin.not_after));
        let changes_at = ends.filter(|end| *end >= now).min();
        // A registered IACA speaks for the key; a description that is none of it counts no more.
        let is_registered = known.iter().any(|ca| ca.is_iaca);
        let pins = if is_registered { Vec::new() } else { pins };
        Ok(Self { certificates: known, pins, uses, state, changes_at })
    }

    /// The certificates that make the key an IACA's.
    pub(super) fn iacas(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|known| known.is_iaca).map(|ca| &ca.proven.certificate)
    }

    /// The role of the key among CAs: that which is on record first, of all that have not ended. What
    /// lies in a store comes last, and only when the key itself has signed it.
    pub(super) fn role(&self, now: Timestamp) -> Option<CaRole> {
        let certificates = self.certificates.iter().filter_map(|ca| {
            let is_over = ca.proven.certificate.validity().not_after() < now;
            let since = match ca.origin {
                _ if is_over => return None,
                Origin::Issued(since) | Origin::IssuedToOthers(since) | Origin::Used(since) => {
                    Some(since)
                }
                Origin::Stored(true) => None,
                Origin::Stored(false) => return None,
            };
            Some((since, if ca.is_iaca { CaRole::Iaca } else { CaRole::Generic }))
        });
        let pins = self.pins.iter().filter(|pin| pin.not_after >= now);
        let pins = pins.map(|pin| (Some(pin.pinned_at), CaRole::Iaca));
        let order = |(since, role): &(Option<Timestamp>, CaRole)| {
            (since.is_none(), *since, *role == CaRole::Generic)
        };
        certificates.chain(pins).min_by_key(order).map(|(_, role)| role)
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
    /// What a CA certificate over the key counts for; `None`: nothing.
    async fn judge(
        &self,
        prover: &mut Prover<'_>,
        certificate: Certificate,
        origin: &CertificateOrigin,
    ) -> Result<Option<KnownCa>, Error> {
        let is_iaca = || lint::supplied_iaca(&certificate).is_ok();
        let (is_iaca, origin) = match origin {
            CertificateOrigin::Issued { service, profile, subject_key_path, issued_at, .. } => {
                // Anyone may have a CA certificate made over a public key that is not theirs. As issuers
                // only those count that were made for the key path itself or by the service of the call.
                let is_ours = service == self.service
                    || (subject_key_path.is_some() && subject_key_path.as_ref() == self.key_path);
                let origin = match is_ours {
                    true => Origin::Issued(*issued_at),
                    false => Origin::IssuedToOthers(*issued_at),
                };
                (*profile == KeyPurpose::Iaca, origin)
            }
            CertificateOrigin::Used { service, is_iaca, self_signed, used_at } => {
                if !self_signed && service != self.service {
                    return Ok(None);
                }
                (*is_iaca, Origin::Used(*used_at))
            }
            CertificateOrigin::Stored { .. } => {
                let is_self_signed = certificate.is_self_signed();
                (is_self_signed && is_iaca(), Origin::Stored(is_self_signed))
            }
        };
        let is_issued_here = matches!(origin, Origin::Issued(_) | Origin::IssuedToOthers(_));
        let proven = prover.prove(&certificate, is_issued_here).await?;
        Ok(proven.map(|proven| KnownCa { proven, is_iaca, origin }))
    }
}

/// Indexes the CA certificates in stores that an earlier version has left without.
///
/// # Errors
/// [`LedgerError`]; the next start goes on.
pub async fn index_stores(ledger: &Ledger) -> Result<(), LedgerError> {
    loop {
        let entries = ledger.unindexed_cas(INDEXED_MAX).await?;
        if entries.is_empty() {
            return Ok(());
        }
        let indexed = entries.into_iter().map(|(row, der)| {
            let index = match Certificate::from_der(&der) {
                Ok(certificate) => index_of(&certificate),
                // It can be nobody's issuer.
                Err(_) => IssuerIndex::new([0; 32], None),
            };
            (row, index)
        });
        ledger.index_cas(indexed.collect()).await?;
    }
}

/// By what a certificate is found as the issuer of others.
pub(super) fn index_of(certificate: &Certificate) -> IssuerIndex {
    let subject_sha256 = crate::domain::key::sha256(certificate.subject().as_der());
    IssuerIndex::new(subject_sha256, certificate.subject_key_id())
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
    /// When it was read; it was not asked of an earlier time.
    since: Timestamp,
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
    fn get(&self, question: &Question<'_>, version: u64, now: Timestamp) -> Option<Arc<Known>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(&question.spki_sha256)?.iter().find(|kept| kept.answers(question))?;
        let until = narrower(kept.known.changes_at, Some(kept.since.plus_seconds(KEPT_SECONDS)));
        let is_in_time = kept.since <= now && until.is_none_or(|until| now <= until);
        (kept.version == version && is_in_time).then(|| Arc::clone(&kept.known))
    }

    fn keep(&self, question: &Question<'_>, version: u64, now: Timestamp, known: Arc<Known>) {
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
            since: now,
            known,
        });
    }
}
