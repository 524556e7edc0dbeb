//! Which CA certificates count as issuers: those whose signature leads to one that was issued here, or
//! that its own key has signed (RFC 5280, 6.1, from the leaf upwards).
//!
//! A member of a chain that is no CA, is not valid now, may not sign certificates, allows no CA below it,
//! has another name than the one that is asked for, or a critical extension that is not processed,
//! proves nothing. The work has bounds: a store may hold anything.

use std::pin::Pin;

use super::{error::Error, key_errors};
use crate::{
    domain::{key::sha256, path::ResourcePath, time::Timestamp},
    ledger::{CertificateOrigin, KnownCertificate, Ledger, NamedQuestion},
    x509::{Certificate, Restrictions},
};

/// CAs above an issuer, at most.
const DEPTH_MAX: usize = 8;
/// Signatures that are verified to prove the certificates of one key, at most.
const SIGNATURES_MAX: usize = 128;

/// A CA certificate that counts.
#[derive(Clone)]
pub(super) struct Proven {
    pub(super) certificate: Certificate,
    /// What it and those above it forbid; in words, when it says something that is not processed.
    pub(super) restrictions: Result<Restrictions, String>,
    /// How many CAs may follow below it, as it and those above it say.
    pub(super) path_length: Option<u8>,
    /// Those above it that were not issued here.
    pub(super) foreign: Vec<Certificate>,
    /// The moment when one of those above it ends: then it has to be proven again.
    pub(super) holds_until: Option<Timestamp>,
}

/// What the certificates above one say together.
#[derive(Clone, Default)]
struct Above {
    restrictions: Restrictions,
    /// How many CAs may follow below the certificate in question.
    path_length: Option<u8>,
    foreign: Vec<Certificate>,
    holds_until: Option<Timestamp>,
}

/// A CA certificate that may have signed another.
struct Parent<'a> {
    certificate: &'a Certificate,
    is_issued_here: bool,
    with_used: bool,
}

/// Proves certificates for one service at one moment.
pub(super) struct Prover<'a> {
    ledger: &'a Ledger,
    service: &'a ResourcePath,
    stores: &'a [ResourcePath],
    now: Timestamp,
    signatures_left: usize,
}

type Climb<'f> = Pin<Box<dyn Future<Output = Result<Option<Above>, Error>> + Send + 'f>>;

impl<'a> Prover<'a> {
    pub(super) fn new(
        ledger: &'a Ledger,
        service: &'a ResourcePath,
        stores: &'a [ResourcePath],
        now: Timestamp,
    ) -> Self {
        Self { ledger, service, stores, now, signatures_left: SIGNATURES_MAX }
    }

    /// What a certificate counts for; `None`: nothing. One that was issued here counts, whatever is
    /// known of those above it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without the ledger.
    pub(super) async fn prove(
        &mut self,
        certificate: &Certificate,
        issued_here: bool,
    ) -> Result<Option<Proven>, Error> {
        let above = match self.climb(certificate, issued_here, 0).await? {
            Some(above) => above,
            None if issued_here => Above::default(),
            None => return Ok(None),
        };
        Ok(Some(Proven {
            certificate: certificate.clone(),
            restrictions: Restrictions::of(certificate).map(|own| own.and(&above.restrictions)),
            path_length: narrower(certificate.path_length(), above.path_length),
            foreign: above.foreign,
            holds_until: above.holds_until,
        }))
    }

    /// What is above a certificate; `None` when its signature leads nowhere. What was used here before
    /// proves nothing, but restricts what was issued here (`with_used`).
    fn climb<'f>(
        &'f mut self,
        certificate: &'f Certificate,
        with_used: bool,
        depth: usize,
    ) -> Climb<'f> {
        Box::pin(async move {
            if certificate.issuer() == certificate.subject()
                && self.verify(|| certificate.is_self_signed())
            {
                return Ok(Some(Above::default()));
            }
            if depth == DEPTH_MAX || self.signatures_left == 0 {
                return Ok(None);
            }
            let mut all: Option<Above> = None;
            let mut are_issued_here = false;
            for KnownCertificate { der, origin } in self.named(certificate).await? {
                let is_issued_here = matches!(origin, CertificateOrigin::Issued { .. });
                // What was issued here comes first, and then nothing else counts.
                if are_issued_here && !is_issued_here {
                    break;
                }
                if matches!(origin, CertificateOrigin::Used { .. }) && !with_used {
                    continue;
                }
                let Ok(parent) = Certificate::from_der(&der) else { continue };
                let parent = Parent { certificate: &parent, is_issued_here, with_used };
                let Some(above) = self.above_by(certificate, parent, depth).await? else {
                    continue;
                };
                are_issued_here |= is_issued_here;
                all = Some(match all {
                    None => above,
                    Some(known) => known.and(above),
                });
            }
            Ok(all)
        })
    }

    /// What is above a certificate when `parent` has signed it.
    async fn above_by(
        &mut self,
        certificate: &Certificate,
        Parent { certificate: parent, is_issued_here, with_used }: Parent<'_>,
        depth: usize,
    ) -> Result<Option<Above>, Error> {
        if parent.der() == certificate.der()
            || parent.subject() != certificate.issuer()
            || !parent.may_sign_certificates()
            || !parent.validity().contains(self.now)
        {
            return Ok(None);
        }
        let Ok(own) = Restrictions::of(parent) else { return Ok(None) };
        let Ok(key) = parent.public_key() else { return Ok(None) };
        if !self.verify(|| certificate.is_signed_by(&key)) {
            return Ok(None);
        }
        let above = match self.climb(parent, with_used || is_issued_here, depth + 1).await? {
            Some(above) => above,
            None if is_issued_here => Above::default(),
            None => return Ok(None),
        };
        let restrictions = own.and(&above.restrictions);
        let is_self_issued = certificate.issuer() == certificate.subject();
        // RFC 5280, 6.1.3 (b) and 6.1.4 (l): self-issued certificates are not held against either.
        if !is_self_issued && restrictions.allow_certificate(certificate).is_err() {
            return Ok(None);
        }
        let path_length = match narrower(parent.path_length(), above.path_length) {
            Some(0) if !is_self_issued => return Ok(None),
            Some(length) if !is_self_issued => Some(length - 1),
            unchanged => unchanged,
        };
        let mut foreign = above.foreign;
        if !is_issued_here {
            foreign.push(parent.clone());
        }
        let holds_until = narrower(Some(parent.validity().not_after()), above.holds_until);
        Ok(Some(Above { restrictions, path_length, foreign, holds_until }))
    }

    async fn named(&self, below: &Certificate) -> Result<Vec<KnownCertificate>, Error> {
        let subject_der = below.issuer().as_der().to_vec();
        let question = NamedQuestion {
            subject_sha256: sha256(&subject_der),
            subject_der,
            key_id: below.authority_key_id().map(<[u8]>::to_vec),
            service: self.service.clone(),
            stores: self.stores.to_vec(),
            now: self.now,
        };
        self.ledger.cas_named(question).await.map_err(key_errors::ledger)
    }

    /// Verifies a signature, while the bound allows.
    fn verify(&mut self, signature: impl FnOnce() -> bool) -> bool {
        match self.signatures_left.checked_sub(1) {
            Some(left) => {
                self.signatures_left = left;
                signature()
            }
            None => false,
        }
    }
}

impl Above {
    /// What several that have signed one certificate say together: the narrowest holds.
    fn and(mut self, other: Self) -> Self {
        self.foreign.extend(other.foreign);
        Self {
            restrictions: self.restrictions.and(&other.restrictions),
            path_length: narrower(self.path_length, other.path_length),
            foreign: self.foreign,
            holds_until: narrower(self.holds_until, other.holds_until),
        }
    }
}

/// The smaller of two limits, where `None` is none.
pub(super) fn narrower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
