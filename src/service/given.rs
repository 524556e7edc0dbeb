//! What requests bring along: public JWKs, certificates, PKCS#10 requests.

use std::fmt::Display;

use super::{Services, error::Invalid};
use crate::{
    domain::{
        key::PublicKey,
        member::{Member, Message},
        request::{KeyDescriptor, KeySource, Pem, SubjectKey},
    },
    x509::{Certificate, csr::CertificationRequest, lint},
};

/// Refuses a public JWK of a type that the operator does not allow.
///
/// # Errors
/// [`Invalid`] at the JWK.
pub(super) fn check_jwk(services: &Services, descriptor: &KeyDescriptor) -> Result<(), Invalid> {
    match &descriptor.source {
        KeySource::PublicJwk { key, member } => {
            let allowed = services.settings.key_policy.check(key.key_type());
            allowed.map_err(|error| Invalid::at(*member, format!("jwk: {error}")))
        }
        KeySource::PrivateJwk { .. } | KeySource::Kms(_) => Ok(()),
    }
}

/// The same of the key that another key certifies.
///
/// # Errors
/// [`Invalid`] at the JWK.
pub(super) fn check_subject_jwk(services: &Services, given: &SubjectKey) -> Result<(), Invalid> {
    match given {
        SubjectKey::Descriptor(descriptor) => check_jwk(services, descriptor),
        SubjectKey::Csr(_) => Ok(()),
    }
}

/// The key that another key certifies, as the request gives it.
pub(super) enum GivenSubject<'a> {
    /// Described.
    Described(&'a KeyDescriptor),
    /// The key of a PKCS#10 request whose signature verifies.
    Csr(Member, PublicKey),
}

impl<'a> GivenSubject<'a> {
    /// Reads a PKCS#10 request and verifies its signature.
    ///
    /// # Errors
    /// [`Invalid`] at the request.
    pub(super) fn read(services: &Services, given: &'a SubjectKey) -> Result<Self, Invalid> {
        let pem = match given {
            SubjectKey::Descriptor(descriptor) => return Ok(Self::Described(descriptor)),
            SubjectKey::Csr(pem) => pem,
        };
        let request = CertificationRequest::from_pem(&pem.text)
            .map_err(|error| unreadable(pem.member, &error))?;
        let key = request.public_key();
        let allowed = services.settings.key_policy.check(key.key_type());
        allowed.map_err(|error| unreadable(pem.member, &error))?;
        Ok(Self::Csr(pem.member, key.clone()))
    }
}

/// A certificate in PEM.
///
/// # Errors
/// [`Invalid`] at its member.
pub(super) fn certificate(pem: &Pem) -> Result<Certificate, Invalid> {
    Certificate::from_pem(&pem.text).map_err(|error| unreadable(pem.member, &error))
}

/// A complaint about the content of a member.
pub(super) fn unreadable(member: Member, error: &dyn Display) -> Invalid {
    Invalid::at(member, Message::name(member).text(format!(": {error}")))
}

/// Logs what is unusual about an IACA from elsewhere.
pub(super) fn warn_of_iaca(certificate: &Certificate) {
    for finding in lint::supplied_iaca_warnings(certificate) {
        tracing::warn!(iaca = %certificate.subject(), "a supplied IACA is taken, though: {finding}");
    }
}
