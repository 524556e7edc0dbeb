//! Certificates that somebody gave us or that we keep.

use der::asn1::ObjectIdentifier;

use super::{
    X509Error, algorithm,
    name::EncodedName,
    oid, pem,
    view::{
        Signed, TbsView,
        value::{self, GeneralNameView},
    },
};
use crate::domain::{
    key::{KeyError, PublicKey, sha256},
    request::KeyUsage,
    validity::Validity,
};

/// The PEM label.
const LABEL: &str = "CERTIFICATE";

/// A certificate, parsed once. Says what is written in it; whether that is good is for
/// [`super::lint`] and for the caller.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Vec<u8>,
    algorithm: Vec<u8>,
    /// Whether the algorithm inside the signed octets is the one outside (RFC 5280, 4.1.1.2).
    algorithms_agree: bool,
    signature: Vec<u8>,
    serial: Vec<u8>,
    issuer: EncodedName,
    validity: Validity,
    subject: EncodedName,
    spki: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    issuer_alternative_name: Option<Vec<u8>>,
    /// `None` for an end entity, the path length inside for a CA.
    certificate_authority: Option<Option<u8>>,
    key_usage: Vec<KeyUsage>,
}

/// What an issuer alternative name says in the two forms that an IACA may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContactNames {
    /// The first rfc822Name.
    pub email: Option<String>,
    /// The first uniformResourceIdentifier.
    pub uri: Option<String>,
}

impl Certificate {
    /// Reads strict DER with nothing after it (X.690, clause 10; RFC 5280, 4.1).
    ///
    /// # Errors
    /// [`X509Error::Malformed`] names the part that is not what it must be.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let signed = Signed::read("certificate", der)?;
        let view = TbsView::read(signed.tbs)?;
        // RFC 5280, 4.2: no extension twice.
        let twice = |oid| view.extensions.iter().filter(|extension| extension.oid == oid).count();
        if view.extensions.iter().any(|extension| twice(extension.oid) > 1) {
            return Err(X509Error::Malformed("extensions"));
        }
        let extension = |oid: ObjectIdentifier| view.extension(oid).map(|found| found.value);
        let owned = |octets: &[u8]| octets.to_vec();
        let authority_key_id =
            extension(oid::AUTHORITY_KEY_ID).map(value::authority_key_id).transpose()?;
        let certificate_authority =
            extension(oid::BASIC_CONSTRAINTS).map(value::basic_constraints).transpose()?;
        Ok(Self {
            der: owned(der),
            tbs: owned(signed.tbs.der),
            algorithm: owned(signed.algorithm),
            algorithms_agree: signed.algorithm == view.algorithm,
            signature: owned(signed.signature),
            serial: owned(view.serial),
            issuer: EncodedName::from_der(view.issuer)?,
            validity: Validity::new(view.not_before.moment, view.not_after.moment)
                .map_err(|_| X509Error::Malformed("validity"))?,
            subject: EncodedName::from_der(view.subject)?,
            spki: owned(view.spki),
            subject_key_id: extension(oid::SUBJECT_KEY_ID)
                .map(value::subject_key_id)
                .transpose()?
                .map(owned),
            authority_key_id: authority_key_id.and_then(|id| id.key_id).map(owned),
            issuer_alternative_name: extension(oid::ISSUER_ALT_NAME).map(owned),
            certificate_authority: certificate_authority.flatten(),
            key_usage: match extension(oid::KEY_USAGE) {
                Some(value) => value::key_usage(value)?,
                None => Vec::new(),
            },
        })
    }

    /// Reads exactly one PEM block with the label `CERTIFICATE`.
    ///
    /// # Errors
    /// [`X509Error::Pem`], and those of [`Certificate::from_der`].
    pub fn from_pem(text: &str) -> Result<Self, X509Error> {
        Self::from_der(&pem::decode(LABEL, text)?)
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

    /// Content of the INTEGER, as it is: foreign serial numbers may be anything.
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

    /// The certified key.
    ///
    /// # Errors
    /// [`KeyError`]: a foreign key may be of a type or form that we do not support.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki_der(&self.spki)
    }

    /// subjectKeyIdentifier (RFC 5280, 4.2.1.2).
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// keyIdentifier of the authorityKeyIdentifier (RFC 5280, 4.2.1.1).
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// Whether basicConstraints say so (RFC 5280, 4.2.1.9).
    pub fn is_ca(&self) -> bool {
        self.certificate_authority.is_some()
    }

    /// pathLenConstraint; more than 255 counts as 255.
    pub fn path_length(&self) -> Option<u8> {
        self.certificate_authority.flatten()
    }

    /// The bits of keyUsage, none when the extension is absent (RFC 5280, 4.2.1.3).
    pub fn key_usage(&self) -> &[KeyUsage] {
        &self.key_usage
    }

    /// A CA with keyCertSign. Without keyUsage: no.
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
        let first = |pick: fn(&GeneralNameView<'_>) -> Option<String>| names.iter().find_map(pick);
        Some(ContactNames {
            email: first(|name| match name {
                GeneralNameView::Email(text) => Some((*text).to_owned()),
                GeneralNameView::Dns(_)
                | GeneralNameView::Uri(_)
                | GeneralNameView::Ip(_)
                | GeneralNameView::Other => None,
            }),
            uri: first(|name| match name {
                GeneralNameView::Uri(text) => Some((*text).to_owned()),
                GeneralNameView::Dns(_)
                | GeneralNameView::Email(_)
                | GeneralNameView::Ip(_)
                | GeneralNameView::Other => None,
            }),
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

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({}, sha256 ", self.subject)?;
        self.sha256().iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}
