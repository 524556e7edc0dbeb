//! The issuer's data that a certificate copies or must respect.

use super::{Certificate, EncodedName, Restrictions, X509Error, extension};
use crate::domain::{key::PublicKey, request::IacaData, validity::Validity};

/// The issuer of a certificate.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its subject, as exact octets.
    pub name: EncodedName,
    /// Its key.
    pub key: PublicKey,
    /// Its subjectKeyIdentifier (RFC 5280, 4.2.1.1: the two match).
    pub key_id: Vec<u8>,
    /// Its validity; certificates below must lie within it.
    pub validity: Validity,
    /// extnValue of its issuerAltName.
    pub issuer_alternative_name: Option<Vec<u8>>,
    /// How many CAs may follow below it; `None`: no limit.
    pub path_length: Option<u8>,
    /// The restrictions of its certificate and of those above it.
    pub restrictions: Restrictions,
}

impl Issuer {
    /// Reads the issuer's certificate. Without a subjectKeyIdentifier, it uses the usual one (RFC
    /// 5280, 4.2.1.2, method 1).
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

    /// Makes the issuer of the description of an IACA, when its certificate is not at hand: as
    /// [`super::profile::iaca`] would write it.
    ///
    /// # Errors
    /// [`X509Error::Encoding`], only for values that their types should have refused.
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
