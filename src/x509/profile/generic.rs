//! Ordinary certificates: RFC 5280, self-signed or signed by a CA.

use super::{Profile, ProfileError};
use crate::{
    domain::{
        key::{KeyType, PublicKey},
        request::{GenericData, KeyUsage, PathLength},
        serial::SerialNumber,
        validity::{DAY_SECONDS, Validity, ValidityRule},
    },
    x509::{
        extension::Extension,
        issuer::Issuer,
        name::NameAttributes,
        oid,
        plan::{Signer, TbsPlan},
    },
};

/// A year when nothing is said, no limit but the issuer's.
pub const VALIDITY: ValidityRule =
    ValidityRule { default_seconds: 365 * DAY_SECONDS, longest: None };

const KEY_USAGE: &str = "/certificateData/keyUsage";
const EXTENDED_KEY_USAGE: &str = "/certificateData/extendedKeyUsageOids";
const PATH_LENGTH: &str = "/certificateData/pathLengthConstraint";
const SUBJECT_KEY: &str = "/subjectPublicKeySource";

/// What an operator may relax.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Allows a CA without keyCertSign, against RFC 5280, 4.2.1.9 read together with 4.2.1.3. Such a
    /// CA signs nothing here.
    pub ca_without_key_cert_sign: bool,
}

/// Plans a certificate that `key` both signs and is certified by.
///
/// # Errors
/// [`ProfileError`] when `issuerName` is not the subject, for an RSA-2048 CA, and for key usages that
/// contradict each other or the kind of certificate.
pub fn self_signed(
    serial: SerialNumber,
    data: &GenericData,
    validity: Validity,
    key: &PublicKey,
    options: Options,
) -> Result<TbsPlan, ProfileError> {
    if data.issuer_name.as_ref().is_some_and(|name| *name != data.subject) {
        return Err(ProfileError::at(
            "/certificateData/issuerName",
            "issuerName of a self-signed certificate must equal subjectName",
        ));
    }
    check(data, key, options)?;
    let key_id = key.subject_key_id();
    Ok(TbsPlan {
        profile: Profile::Generic,
        serial,
        signer: Signer::Itself,
        validity,
        subject: data.subject.clone(),
        subject_key: key.clone(),
        extensions: extensions(data, data.certificate_authority, &key_id, &key_id),
        ca_without_key_cert_sign: options.ca_without_key_cert_sign,
    })
}

/// Plans a certificate that `issuer` signs.
///
/// # Errors
/// [`ProfileError`] when `issuerName` is not the issuer's, when the issuer's path length does not allow
/// the certificate, for an RSA-2048 CA on either side, and for key usages that contradict each other
/// or the kind of certificate.
pub fn ca_signed(
    serial: SerialNumber,
    data: &GenericData,
    validity: Validity,
    issuer: &Issuer,
    subject_key: &PublicKey,
    options: Options,
) -> Result<TbsPlan, ProfileError> {
    let differs = |name| NameAttributes::from(name) != issuer.name.attributes();
    if data.issuer_name.as_ref().is_some_and(differs) {
        return Err(ProfileError::at(
            "/certificateData/issuerName",
            "issuerName differs from the issuer certificate's subject",
        ));
    }
    if issuer.key.key_type() == KeyType::Rsa2048 {
        return Err(rsa_2048_as_ca("/issuer/issuerKeyDescriptor"));
    }
    check(data, subject_key, options)?;
    let certificate_authority = match data.certificate_authority {
        Some(asked) => Some(effective_path_length(asked, issuer.path_length)?),
        None => None,
    };
    let key_id = subject_key.subject_key_id();
    Ok(TbsPlan {
        profile: Profile::Generic,
        serial,
        signer: Signer::Issuer(Box::new(issuer.clone())),
        validity,
        subject: data.subject.clone(),
        subject_key: subject_key.clone(),
        extensions: extensions(data, certificate_authority, &key_id, &issuer.key_id),
        ca_without_key_cert_sign: options.ca_without_key_cert_sign,
    })
}

/// RFC 5280, 4.2.1.9: a path below the issuer is shorter by one CA.
fn effective_path_length(
    asked: PathLength,
    issuer: Option<u8>,
) -> Result<PathLength, ProfileError> {
    match (asked, issuer) {
        (asked, None) => Ok(asked),
        (_, Some(0)) => Err(ProfileError::at(
            "/certificateData/isCertificateAuthority",
            "the issuer's path length allows no CA below it",
        )),
        (PathLength::Unlimited, Some(limit)) => Ok(PathLength::AtMost(limit - 1)),
        (PathLength::AtMost(length), Some(limit)) if length < limit => Ok(asked),
        (PathLength::AtMost(length), Some(limit)) => Err(ProfileError::at(
            PATH_LENGTH,
            format!("pathLengthConstraint {length} must be smaller than the issuer's {limit}"),
        )),
    }
}

fn check(
    data: &GenericData,
    subject_key: &PublicKey,
    options: Options,
) -> Result<(), ProfileError> {
    let has = |usage| data.key_usage.contains(&usage);
    let is_ca = data.certificate_authority.is_some();
    if is_ca && subject_key.key_type() == KeyType::Rsa2048 {
        return Err(rsa_2048_as_ca(SUBJECT_KEY));
    }
    if let Some(usage) = first_repeated(&data.key_usage) {
        return Err(ProfileError::at(KEY_USAGE, format!("'{}' is repeated", usage.name())));
    }
    // RFC 5280, 4.2.1.9: keyCertSign and cA go together.
    if is_ca && !has(KeyUsage::KeyCertSign) && !options.ca_without_key_cert_sign {
        return Err(ProfileError::at(KEY_USAGE, "a CA needs KeyCertSign"));
    }
    if !is_ca && has(KeyUsage::KeyCertSign) {
        return Err(ProfileError::at(KEY_USAGE, "KeyCertSign needs isCertificateAuthority true"));
    }
    // RFC 5280, 4.2.1.9: a path length without keyCertSign means nothing.
    if matches!(data.certificate_authority, Some(PathLength::AtMost(_)))
        && !has(KeyUsage::KeyCertSign)
    {
        return Err(ProfileError::at(PATH_LENGTH, "pathLengthConstraint needs KeyCertSign"));
    }
    // RFC 5280, 4.2.1.3: undefined without keyAgreement.
    if (has(KeyUsage::EncipherOnly) || has(KeyUsage::DecipherOnly)) && !has(KeyUsage::KeyAgreement)
    {
        return Err(ProfileError::at(KEY_USAGE, "EncipherOnly and DecipherOnly need KeyAgreement"));
    }
    if data.extended_key_usage.contains(&oid::MDL_DOCUMENT_SIGNER) {
        return Err(ProfileError::at(
            EXTENDED_KEY_USAGE,
            format!("{} is issued by iso/document-signers only", oid::MDL_DOCUMENT_SIGNER),
        ));
    }
    if let Some(purpose) = first_repeated(&data.extended_key_usage) {
        return Err(ProfileError::at(EXTENDED_KEY_USAGE, format!("{purpose} is repeated")));
    }
    Ok(())
}

fn extensions(
    data: &GenericData,
    certificate_authority: Option<PathLength>,
    subject_key_id: &[u8],
    authority_key_id: &[u8],
) -> Vec<Extension> {
    // RFC 5280, 4.2.1.9: critical in a CA; here on an end entity too, where it is empty.
    let mut extensions = vec![Extension::BasicConstraints(certificate_authority)];
    if !data.key_usage.is_empty() {
        // RFC 5280, 4.2.1.3: critical.
        extensions.push(Extension::KeyUsage(data.key_usage.clone()));
    }
    if !data.extended_key_usage.is_empty() {
        // RFC 5280, 4.2.1.12: either; non-critical as everybody expects it.
        extensions.push(Extension::ExtendedKeyUsage {
            critical: false,
            purposes: data.extended_key_usage.clone(),
        });
    }
    // RFC 5280, 4.2.1.2 and 4.2.1.1.
    extensions.push(Extension::SubjectKeyId(subject_key_id.to_vec()));
    extensions.push(Extension::AuthorityKeyId(authority_key_id.to_vec()));
    if !data.subject_alternative_names.is_empty() {
        // RFC 5280, 4.2.1.6: non-critical beside a subject.
        extensions.push(Extension::SubjectAlternativeNames(data.subject_alternative_names.clone()));
    }
    // RFC 5280, 4.2.1.13.
    extensions.extend(data.crl_distribution_point.clone().map(Extension::CrlDistributionPoint));
    extensions
}

fn rsa_2048_as_ca(field: &'static str) -> ProfileError {
    ProfileError::at(field, "RSA-2048 may not sign as CA; use 3072 or 4096")
}

fn first_repeated<T: PartialEq>(values: &[T]) -> Option<&T> {
    values
        .iter()
        .enumerate()
        .find(|(index, value)| values[..*index].contains(value))
        .map(|(_, v)| v)
}
