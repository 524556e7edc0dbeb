//! What a certificate takes over from the one that signs it.

use super::{Certificate, EncodedName, Restrictions, X509Error, extension};
use crate::domain::{key::PublicKey, request::IacaData, validity::Validity};

/// The signing side of a certificate, as far as it shows in what is signed.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its subject, octet by octet.
    pub name: EncodedName,
    /// Its key.
    pub key: PublicKey,
    /// Its subjectKeyIdentifier (RFC 5280, 4.2.1.1: the two match).
    pub key_id: Vec<u8>,
    /// Its validity: what it signs lies within.
    pub validity: Validity,
    /// extnValue of its issuerAltName.
    pub issuer_alternative_name: Option<Vec<u8>>,
    /// How many CAs may follow below it; `None`: no limit.
    pub path_length: Option<u8>,
    /// What it and those above it forbid.
    pub restrictions: Restrictions,
}

impl Issuer {
    /// From the issuer's certificate. A certificate without subjectKeyIdentifier counts as having the
    /// usual one (RFC 5280, 4.2.1.2, method 1).
    ///
    /// # Errors
    /// [`X509Error::MayNotSignCertificates`] unless it is a CA with keyCertSign;
    /// [`X509Error::Key`] when its key is of no type that we sign with.
    pub fn of_certificate(certificate: &Certificate) -> Result<Self, X509Error> {
        if !certificate.may_sign_certificates() {
            return Err(X509Error::MayNotSignCertificates);
        }
        let key = certificate.public_key()?;
        let key_id = match certificate.subject_key_id() {
            Some(id) => id.to_vec(),
            None => key.subject_key_id().to_vec(),
        };
        Ok(Self {
            name: certificate.subject().clone(),
            key,
            key_id,
            validity: certificate.validity(),
            issuer_alternative_name: certificate.issuer_alternative_name_der().map(<[u8]>::to_vec),
            path_length: certificate.path_length(),
            restrictions: Restrictions::default(),
        })
    }

    /// From the data of an IACA of which there is no certificate at hand: what
    /// [`super::profile::iaca`] would have written for it.
    ///
    /// # Errors
    /// [`X509Error::Encoding`]; with values that satisfy their types it does not happen.
    pub fn described_iaca(
        data: &IacaData,
        validity: Validity,
        key: &PublicKey,
    ) -> Result<Self, X509Error> {
        Ok(Self {
            name: EncodedName::encode(&data.subject)?,
            key: key.clone(),
            key_id: key.subject_key_id().to_vec(),
            validity,
            issuer_alternative_name: Some(extension::issuer_alternative_name(
                &data.issuer_alternative_name,
            )?),
            // ISO/IEC 18013-5 Table B.1.
            path_length: Some(0),
            restrictions: Restrictions::default(),
        })
    }
}
