//! Extensions of a planned certificate, and their encoding.

use der::{
    Encode, Tag,
    asn1::{Ia5String, OctetString},
    flagset::FlagSet,
};
use x509_cert::ext::pkix::{
    self as pkix, CrlDistributionPoints, KeyUsages, SubjectAltName,
    crl::dp::DistributionPoint,
    name::{DistributionPointName, GeneralName, GeneralNames},
};

use super::{X509Error, encoding, oid};
use crate::domain::{
    alternative_name::{HttpUrl, IssuerAlternativeName, SubjectAlternativeNames},
    oid::Oid,
    request::{KeyUsage, PathLength},
};

/// An extension of a planned certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extension {
    /// RFC 5280, 4.2.1.9; critical, on an end entity too. `None` for an end entity.
    BasicConstraints(Option<PathLength>),
    /// RFC 5280, 4.2.1.3; critical.
    KeyUsage(Vec<KeyUsage>),
    /// RFC 5280, 4.2.1.12.
    ExtendedKeyUsage { critical: bool, purposes: Vec<Oid> },
    /// RFC 5280, 4.2.1.2; non-critical.
    SubjectKeyId(Vec<u8>),
    /// RFC 5280, 4.2.1.1; non-critical, keyIdentifier only.
    AuthorityKeyId(Vec<u8>),
    /// RFC 5280, 4.2.1.6; non-critical, because our subjects are never empty.
    SubjectAlternativeNames(SubjectAlternativeNames),
    /// RFC 5280, 4.2.1.7; non-critical, e-mail first.
    IssuerAlternativeName(IssuerAlternativeName),
    /// The same, with the extnValue of the issuer's own certificate.
    CopiedIssuerAlternativeName(Vec<u8>),
    /// RFC 5280, 4.2.1.13; non-critical, one point, fullName, one URI.
    CrlDistributionPoint(HttpUrl),
}

/// Longest part before the value: an object identifier of three octets, `critical`, tag and length.
const HEAD_OCTETS_MAX: usize = 13;

impl Extension {
    /// Appends `Extension` in DER. `critical FALSE` is left out (X.690, 11.5).
    pub(super) fn push_der(&self, der: &mut Vec<u8>) -> Result<(), X509Error> {
        let (extn_id, critical, value) = match self {
            Self::BasicConstraints(path_length) => {
                let value = pkix::BasicConstraints {
                    ca: path_length.is_some(),
                    path_len_constraint: match path_length {
                        Some(PathLength::AtMost(length)) => Some(*length),
                        Some(PathLength::Unlimited) | None => None,
                    },
                };
                (oid::BASIC_CONSTRAINTS, true, value.to_der()?)
            }
            Self::KeyUsage(usages) => {
                let bits =
                    usages.iter().fold(FlagSet::default(), |bits, usage| bits | flag(*usage));
                (oid::KEY_USAGE, true, pkix::KeyUsage(bits).to_der()?)
            }
            Self::ExtendedKeyUsage { critical, purposes } => {
                let mut content = Vec::new();
                for purpose in purposes {
                    let octets = purpose.as_octets();
                    encoding::push(&mut content, Tag::ObjectIdentifier, &[octets])?;
                }
                (oid::EXTENDED_KEY_USAGE, *critical, encoding::sequence(&[&content])?)
            }
            Self::SubjectKeyId(id) => {
                (oid::SUBJECT_KEY_ID, false, encoding::element(Tag::OctetString, &[id])?)
            }
            Self::AuthorityKeyId(id) => {
                let value = pkix::AuthorityKeyIdentifier {
                    key_identifier: Some(OctetString::new(id.as_slice())?),
                    ..Default::default()
                };
                (oid::AUTHORITY_KEY_ID, false, value.to_der()?)
            }
            Self::SubjectAlternativeNames(names) => {
                let value = SubjectAltName(general_names(names)?);
                (oid::SUBJECT_ALT_NAME, false, value.to_der()?)
            }
            Self::IssuerAlternativeName(name) => {
                (oid::ISSUER_ALT_NAME, false, issuer_alternative_name(name)?)
            }
            Self::CopiedIssuerAlternativeName(value) => {
                (oid::ISSUER_ALT_NAME, false, value.clone())
            }
            Self::CrlDistributionPoint(url) => {
                let full_name = vec![uri(url.as_str())?];
                let value = CrlDistributionPoints(vec![DistributionPoint {
                    distribution_point: Some(DistributionPointName::FullName(full_name)),
                    reasons: None,
                    crl_issuer: None,
                }]);
                (oid::CRL_DISTRIBUTION_POINTS, false, value.to_der()?)
            }
        };
        let mut content = Vec::with_capacity(HEAD_OCTETS_MAX + value.len());
        encoding::push(&mut content, Tag::ObjectIdentifier, &[extn_id.as_bytes()])?;
        if critical {
            encoding::push(&mut content, Tag::Boolean, &[&[0xFF]])?;
        }
        encoding::push(&mut content, Tag::OctetString, &[&value])?;
        Ok(encoding::push(der, Tag::Sequence, &[&content])?)
    }
}

/// `IssuerAltName`, DER: e-mail first (RFC 5280, 4.2.1.7).
pub(super) fn issuer_alternative_name(name: &IssuerAlternativeName) -> Result<Vec<u8>, X509Error> {
    let mut names = GeneralNames::new();
    if let Some(address) = name.email() {
        names.push(email(address.as_str())?);
    }
    if let Some(address) = name.uri() {
        names.push(uri(address.as_str())?);
    }
    Ok(names.to_der()?)
}

fn general_names(names: &SubjectAlternativeNames) -> der::Result<GeneralNames> {
    let dns = |name: &str| Ia5String::new(name).map(GeneralName::DnsName);
    let mut all = GeneralNames::new();
    for name in &names.dns_names {
        all.push(dns(name.as_str())?);
    }
    for name in &names.uris {
        all.push(uri(name.as_str())?);
    }
    for name in &names.emails {
        all.push(email(name.as_str())?);
    }
    all.extend(names.ip_addresses.iter().map(|ip| GeneralName::from(ip.address())));
    Ok(all)
}

fn uri(text: &str) -> der::Result<GeneralName> {
    Ia5String::new(text).map(GeneralName::UniformResourceIdentifier)
}

fn email(text: &str) -> der::Result<GeneralName> {
    Ia5String::new(text).map(GeneralName::Rfc822Name)
}

fn flag(usage: KeyUsage) -> KeyUsages {
    match usage {
        KeyUsage::DigitalSignature => KeyUsages::DigitalSignature,
        KeyUsage::NonRepudiation => KeyUsages::NonRepudiation,
        KeyUsage::KeyEncipherment => KeyUsages::KeyEncipherment,
        KeyUsage::DataEncipherment => KeyUsages::DataEncipherment,
        KeyUsage::KeyAgreement => KeyUsages::KeyAgreement,
        KeyUsage::KeyCertSign => KeyUsages::KeyCertSign,
        KeyUsage::CrlSign => KeyUsages::CRLSign,
        KeyUsage::EncipherOnly => KeyUsages::EncipherOnly,
        KeyUsage::DecipherOnly => KeyUsages::DecipherOnly,
    }
}
