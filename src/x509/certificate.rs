//! Parsed certificates: those that callers supply, and stored ones.

use std::sync::OnceLock;

use der::asn1::ObjectIdentifier;

use super::{
    X509Error, algorithm,
    name::EncodedName,
    oid, pem,
    view::{
        Signed, TbsParts, TbsView,
        value::{self, GeneralNameView},
    },
};
use crate::domain::{
    alternative_name::IssuerAlternativeName,
    key::{KeyError, PublicKey, sha256},
    request::KeyUsage,
    validity::Validity,
};

/// The PEM label.
pub(super) const LABEL: &str = "CERTIFICATE";

/// A certificate, parsed once. Parsing checks the structure; [`super::lint`] and the callers judge
/// the content.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Vec<u8>,
    algorithm: Vec<u8>,
    /// Whether the algorithms inside and outside the signed octets are equal (RFC 5280, 4.1.1.2).
    algorithms_agree: bool,
    signature: Vec<u8>,
    serial: Vec<u8>,
    issuer: EncodedName,
    validity: Validity,
    subject: EncodedName,
    spki: Vec<u8>,
    /// The parsed key, cached at the first use.
    public_key: OnceLock<Result<PublicKey, KeyError>>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    issuer_alternative_name: Option<Vec<u8>>,
    /// `None` for an end entity, the path length inside for a CA.
    certificate_authority: Option<Option<u8>>,
    key_usage: Vec<KeyUsage>,
}

/// The names in an issuer alternative name, in the two forms that an IACA may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContactNames {
    /// The first rfc822Name.
    pub email: Option<String>,
    /// The first uniformResourceIdentifier.
    pub uri: Option<String>,
}

impl From<&IssuerAlternativeName> for ContactNames {
    fn from(name: &IssuerAlternativeName) -> Self {
        Self {
            email: name.email().map(|email| email.as_str().to_owned()),
            uri: name.uri().map(|uri| uri.as_str().to_owned()),
        }
    }
}

impl Certificate {
    /// Parses as leniently as OpenSSL, GnuTLS and Go do: lengths and nesting are those of DER, and
    /// nothing follows the certificate; but a named bit list may end in zeros, TRUE may be another
    /// octet than FF, a DEFAULT may be encoded, and a string may contain characters that its type
    /// forbids. Strict DER is a rule for IACAs, in [`super::lint`].
    ///
    /// # Errors
    /// [`X509Error::Malformed`] names the malformed part.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let signed = Signed::read("certificate", der)?;
        let view = TbsView::read(signed.tbs)?;
        if view.repeated_extension().is_some() {
            return Err(X509Error::Malformed("extensions"));
        }
        let extension = |oid: ObjectIdentifier| view.extension(oid).map(|found| found.value);
        let owned = |octets: &[u8]| octets.to_vec();
        let authority_key_id =
            extension(oid::AUTHORITY_KEY_ID).map(value::authority_key_id).transpose()?;
        let certificate_authority =
            extension(oid::BASIC_CONSTRAINTS).map(value::foreign_basic_constraints).transpose()?;
        Ok(Self {
            der: owned(der),
            tbs: owned(signed.tbs.der),
            algorithm: owned(signed.algorithm),
            algorithms_agree: signed.algorithm == view.algorithm,
            signature: owned(signed.signature),
            serial: owned(view.serial),
            issuer: EncodedName::from_der(view.issuer)
                .map_err(|_| X509Error::Malformed("issuer"))?,
            validity: Validity::new(view.not_before.moment, view.not_after.moment)
                .map_err(|_| X509Error::Malformed("validity"))?,
            subject: EncodedName::from_der(view.subject)
                .map_err(|_| X509Error::Malformed("subject"))?,
            spki: owned(view.spki),
            public_key: OnceLock::new(),
            subject_key_id: extension(oid::SUBJECT_KEY_ID)
                .map(value::subject_key_id)
                .transpose()?
                .map(owned),
            authority_key_id: authority_key_id.and_then(|id| id.key_id).map(owned),
            issuer_alternative_name: extension(oid::ISSUER_ALT_NAME).map(owned),
            certificate_authority: certificate_authority.flatten(),
            key_usage: match extension(oid::KEY_USAGE) {
                Some(value) => value::foreign_key_usage(value)?,
                None => Vec::new(),
            },
        })
    }

    /// Reads exactly one PEM block with the label `CERTIFICATE`.
    ///
    /// # Errors
    /// [`X509Error::Pem`], and those of [`Certificate::from_der`].
    pub fn from_pem(text: &str) -> Result<Self, X509Error> {
        Self::from_der(&pem::decode(&[LABEL], text)?)
    }

    /// All octets.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// One PEM block.
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// SHA-256 over all octets.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.der)
    }

    /// The octets that are signed.
    pub fn tbs_der(&self) -> &[u8] {
        &self.tbs
    }

    /// The content octets of the INTEGER, unchecked: foreign serial numbers may be negative or
    /// long.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Subject.
    pub fn subject(&self) -> &EncodedName {
        &self.subject
    }

    /// Issuer.
    pub fn issuer(&self) -> &EncodedName {
        &self.issuer
    }

    /// Validity.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// SHA-256 over the `SubjectPublicKeyInfo` as encoded, whatever the type of the key.
    pub fn spki_sha256(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// The certified key.
    ///
    /// # Errors
    /// [`KeyError`] when the key's type or encoding is not supported.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        self.public_key.get_or_init(|| PublicKey::from_spki_der(&self.spki)).clone()
    }

    /// subjectKeyIdentifier (RFC 5280, 4.2.1.2).
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// keyIdentifier of the authorityKeyIdentifier (RFC 5280, 4.2.1.1).
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// Whether basicConstraints mark a CA (RFC 5280, 4.2.1.9).
    pub fn is_ca(&self) -> bool {
        self.certificate_authority.is_some()
    }

    /// pathLenConstraint; more than 255 counts as 255.
    pub fn path_length(&self) -> Option<u8> {
        self.certificate_authority.flatten()
    }

    /// The key usages; empty when the extension is absent (RFC 5280, 4.2.1.3).
    pub fn key_usage(&self) -> &[KeyUsage] {
        &self.key_usage
    }

    /// Whether it is a CA with keyCertSign. A CA without keyUsage does not count.
    pub fn may_sign_certificates(&self) -> bool {
        self.is_ca() && self.key_usage.contains(&KeyUsage::KeyCertSign)
    }

    /// extnValue of the issuerAltName (RFC 5280, 4.2.1.7), for copying.
    pub fn issuer_alternative_name_der(&self) -> Option<&[u8]> {
        self.issuer_alternative_name.as_deref()
    }

    /// The contact in the issuerAltName; `None` when it is absent or cannot be read.
    pub fn issuer_alternative_name(&self) -> Option<ContactNames> {
        let names =
            value::general_names("issuerAltName", self.issuer_alternative_name.as_deref()?).ok()?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(ContactNames {
            email: owned(names.iter().find_map(GeneralNameView::email)),
            uri: owned(names.iter().find_map(GeneralNameView::uri)),
        })
    }

    /// Whether `key` made the signature: ECDSA or RSA PKCS#1 v1.5 with SHA-256, SHA-384 or SHA-512,
    /// the same algorithm named inside and outside (RFC 5280, 4.1.1.2).
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.algorithms_agree
            && algorithm::read(&self.algorithm).is_ok_and(|algorithm| {
                algorithm::verifies(key, algorithm, &self.tbs, &self.signature)
            })
    }

    /// Issuer and subject are the same octets, and the certified key made the signature.
    pub fn is_self_signed(&self) -> bool {
        self.issuer == self.subject && self.public_key().is_ok_and(|key| self.is_signed_by(&key))
    }
}

/// The outline of a base entry in a store, of which only the structure is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// All octets.
    pub der: Vec<u8>,
    /// SHA-256 over the `SubjectPublicKeyInfo` as encoded.
    pub spki_sha256: [u8; 32],
    /// Whether it can be parsed in full, and is a CA's.
    pub is_ca: bool,
}

impl Outline {
    /// Reads exactly one PEM block with the label `CERTIFICATE`, and in it the parts of one
    /// certificate (RFC 5280, 4.1). The content of the parts is not checked.
    ///
    /// # Errors
    /// [`X509Error::Pem`]; [`X509Error::Malformed`] names the part with a broken structure.
    pub fn from_pem(text: &str) -> Result<Self, X509Error> {
        let der = pem::decode(&[LABEL], text)?;
        let signed = Signed::read("certificate", &der)?;
        let spki_sha256 = sha256(TbsParts::read(signed.tbs)?.spki.der);
        let is_ca = Certificate::from_der(&der).is_ok_and(|certificate| certificate.is_ca());
        Ok(Self { der, spki_sha256, is_ca })
    }
}

impl From<&Certificate> for Outline {
    fn from(certificate: &Certificate) -> Self {
        Self {
            der: certificate.der.clone(),
            spki_sha256: certificate.spki_sha256(),
            is_ca: certificate.is_ca(),
        }
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({}, sha256 ", self.subject)?;
        self.sha256().iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{key::KeyType, request::PathLength},
        x509::{
            UnsignedCertificate,
            fixtures::{self, SoftwareKey},
            profile::{generic, iaca},
        },
    };

    fn iaca_by(key: &SoftwareKey) -> Certificate {
        let data = fixtures::iaca_data_with_everything();
        let validity = fixtures::iaca_validity();
        let options = iaca::Options { authority_key_id: true };
        let plan = iaca::plan(fixtures::serial(), &data, validity, &key.public, options).unwrap();
        let unsigned = UnsignedCertificate::encode(plan).unwrap();
        let signature = key.sign(unsigned.tbs_der());
        let signed = unsigned.assemble(signature).unwrap();
        let certificate = Certificate::from_der(signed.der()).unwrap();
        assert_eq!(certificate.sha256(), signed.sha256());
        certificate
    }

    #[test]
    fn what_was_issued_is_read_back() {
        let key = SoftwareKey::generate(KeyType::P384);
        let certificate = iaca_by(&key);
        assert_eq!(certificate.serial(), fixtures::serial().as_octets());
        assert_eq!(certificate.subject(), certificate.issuer());
        assert_eq!(certificate.subject().attributes().country.as_deref(), Some("NL"));
        assert_eq!(certificate.validity(), fixtures::iaca_validity());
        assert_eq!(certificate.public_key().unwrap(), key.public);
        assert_eq!(certificate.subject_key_id(), Some(&key.public.subject_key_id()[..]));
        assert_eq!(certificate.authority_key_id(), certificate.subject_key_id());
        assert!(certificate.is_ca() && certificate.may_sign_certificates());
        assert_eq!(certificate.path_length(), Some(0));
        let contact = certificate.issuer_alternative_name().unwrap();
        let described = fixtures::iaca_data_with_everything().issuer_alternative_name;
        assert_eq!(contact, ContactNames::from(&described));
        assert_eq!(contact.email.as_deref(), Some("pki@acme.example"));
        let again = Certificate::from_pem(&certificate.pem().replace('\n', "\r\n")).unwrap();
        assert_eq!(again.der(), certificate.der());
    }

    #[test]
    fn only_the_key_that_signed_verifies() {
        let key = SoftwareKey::generate(KeyType::P256);
        let certificate = iaca_by(&key);
        assert!(certificate.is_self_signed());
        for other in KeyType::ALL {
            assert!(!certificate.is_signed_by(&SoftwareKey::generate(other).public), "{other}");
        }
        let mut altered = certificate.der().to_vec();
        let serial = altered.windows(3).position(|octets| octets == [0x41, 0x02, 0x03]).unwrap();
        altered[serial] ^= 0x02;
        assert!(!Certificate::from_der(&altered).unwrap().is_self_signed());
    }

    #[test]
    fn whatever_octet_is_changed_reading_says_yes_or_no() {
        let der = iaca_by(&SoftwareKey::generate(KeyType::P256)).der;
        for place in 0..der.len() {
            for value in [0x00, 0x01, 0x30, 0x7F, 0x80, 0x81, 0x84, 0xA0, 0xFF] {
                let mut changed = der.clone();
                changed[place] = value;
                if let Ok(certificate) = Certificate::from_der(&changed) {
                    assert!(certificate.der() == der || !certificate.is_self_signed());
                    let _ = (certificate.issuer_alternative_name(), format!("{certificate:?}"));
                    let _ = crate::x509::lint::supplied_iaca(&certificate);
                    let _ = crate::x509::lint::supplied_iaca_warnings(&certificate);
                    let _ = crate::x509::lint::vical_signer(&certificate);
                }
                let _ = Outline::from_pem(&pem::encode(LABEL, &changed));
            }
            assert!(Certificate::from_der(&der[..place]).is_err());
            assert!(Outline::from_pem(&pem::encode(LABEL, &der[..place])).is_err());
        }
        let longer = [&der[..], &[0]].concat();
        assert!(Certificate::from_der(&longer).is_err());
        assert!(Outline::from_pem(&pem::encode(LABEL, &longer)).is_err());
    }

    #[test]
    fn a_ca_without_key_usage_may_not_sign_certificates() {
        let key = SoftwareKey::generate(KeyType::P256);
        let mut data = fixtures::generic_ca();
        data.certificate_authority = Some(PathLength::Unlimited);
        data.key_usage.clear();
        let options =
            generic::Options { ca_without_key_cert_sign: true, ..generic::Options::default() };
        let validity = fixtures::iaca_validity();
        let plan = generic::self_signed(fixtures::serial(), &data, validity, &key.public, options)
            .unwrap();
        let unsigned = UnsignedCertificate::encode(plan).unwrap();
        let signature = key.sign(unsigned.tbs_der());
        let signed = unsigned.assemble(signature).unwrap();
        let certificate = Certificate::from_der(signed.der()).unwrap();
        assert!(certificate.is_ca() && !certificate.may_sign_certificates());
        assert_eq!(
            crate::x509::Issuer::of_certificate(&certificate).unwrap_err(),
            X509Error::MayNotSignCertificates
        );
    }
}
