//! Ordinary certificates: RFC 5280, self-signed or signed by a CA.

use std::{collections::HashSet, hash::Hash};

use der::asn1::ObjectIdentifier;

use super::{Profile, ProfileError};
use crate::{
    domain::{
        key::{KeyType, PublicKey},
        oid::Oid,
        request::{GenericData, KeyUsage, PathLength},
        serial::SerialNumber,
        validity::{DAY_SECONDS, Validity, ValidityRule},
    },
    x509::{
        extension::Extension,
        issuer::Issuer,
        name::{EncodedName, NameAttributes},
        oid,
        plan::{Signer, TbsPlan},
        restrictions::Place,
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
    /// Allows the extended key usages that profiles of their own issue.
    pub reserved_purposes: bool,
}

/// Whether a purpose has a profile of its own: it makes its holder a document signer, a signer of
/// VICALs, a reader, or one who answers for the CA (RFC 6960, 4.2.2.2).
fn is_reserved(purpose: &Oid) -> bool {
    let is_under = |parent: ObjectIdentifier| {
        purpose.as_octets().starts_with(parent.as_bytes())
            && purpose.as_octets().len() > parent.as_bytes().len()
    };
    *purpose == oid::OCSP_SIGNING || is_under(oid::MDL_PURPOSES) || is_under(oid::MDOC_PURPOSES)
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
    refuse_ed25519(key, SUBJECT_KEY)?;
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
    refuse_ed25519(&issuer.key, "/issuer/issuerKeyDescriptor")?;
    check(data, subject_key, options)?;
    let subject = EncodedName::encode(&data.subject)
        .map_err(|error| ProfileError::at("/certificateData/subjectName", error.to_string()))?;
    issuer.restrictions.allow(&subject, data).map_err(|forbidden| {
        let field = match forbidden.place {
            Place::Subject => "/certificateData/subjectName",
            Place::SubjectAlternativeNames => "/certificateData/subjectAlternativeNames",
            Place::ExtendedKeyUsage => EXTENDED_KEY_USAGE,
        };
        ProfileError::at(field, forbidden.message)
    })?;
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
    if is_ca && subject_key.key_type() == KeyType::Ed25519 {
        return Err(ProfileError::at(SUBJECT_KEY, "Ed25519 may not be certified as CA"));
    }
    // RFC 8410, 5; RFC 8813, 3; RFC 3279, 2.3.1: what a key of the type cannot do.
    if let Some(wrong) =
        data.key_usage.iter().find(|usage| usage.is_against(subject_key.key_type()))
    {
        let (name, key_type) = (wrong.name(), subject_key.key_type());
        return Err(ProfileError::at(KEY_USAGE, format!("'{name}' is not for {key_type}")));
    }
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
    if has(KeyUsage::EncipherOnly) && has(KeyUsage::DecipherOnly) {
        return Err(ProfileError::at(
            KEY_USAGE,
            "EncipherOnly and DecipherOnly exclude each other",
        ));
    }
    if !options.reserved_purposes
        && let Some(purpose) = data.extended_key_usage.iter().find(|purpose| is_reserved(purpose))
    {
        let how = match *purpose == oid::MDL_DOCUMENT_SIGNER {
            true => "is issued by iso/document-signers only",
            false => {
                "is reserved for a profile of its own; issuance.generic_reserved_ekus lifts it"
            }
        };
        return Err(ProfileError::at(EXTENDED_KEY_USAGE, format!("{purpose} {how}")));
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

fn refuse_ed25519(signer: &PublicKey, field: &'static str) -> Result<(), ProfileError> {
    match signer.key_type() == KeyType::Ed25519 {
        true => Err(ProfileError::at(field, "Ed25519 signs no certificate")),
        false => Ok(()),
    }
}

fn rsa_2048_as_ca(field: &'static str) -> ProfileError {
    ProfileError::at(field, "RSA-2048 may not sign as CA; use 3072 or 4096")
}

fn first_repeated<T: Eq + Hash>(values: &[T]) -> Option<&T> {
    let mut seen = HashSet::with_capacity(values.len());
    values.iter().find(|value| !seen.insert(*value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::oid::Oid,
        x509::{EncodedName, fixtures},
    };

    fn issuer(path_length: Option<u8>) -> Issuer {
        let data = fixtures::iaca_data();
        let name = EncodedName::encode(&fixtures::generic_ca().subject).unwrap();
        let validity = fixtures::iaca_validity();
        Issuer {
            name,
            path_length,
            ..Issuer::described_iaca(&data, validity, &fixtures::first_key()).unwrap()
        }
    }

    fn own(data: &GenericData) -> Result<TbsPlan, ProfileError> {
        let validity = fixtures::iaca_validity();
        let key = fixtures::first_key();
        self_signed(fixtures::serial(), data, validity, &key, Options::default())
    }

    fn under(issuer: &Issuer, data: &GenericData) -> Result<TbsPlan, ProfileError> {
        let validity = fixtures::document_signer_validity();
        let key = fixtures::second_key();
        ca_signed(fixtures::serial(), data, validity, issuer, &key, Options::default())
    }

    fn field(result: Result<TbsPlan, ProfileError>) -> Option<&'static str> {
        result.unwrap_err().field
    }

    #[test]
    fn an_issuer_name_that_is_given_is_the_issuers() {
        let mut data = fixtures::generic_leaf();
        data.issuer_name = Some(data.subject.clone());
        assert!(own(&data).is_ok());
        let found = under(&issuer(None), &data).unwrap_err();
        assert_eq!(found.field, Some("/certificateData/issuerName"));
        assert_eq!(found.message, "issuerName differs from the issuer certificate's subject");
        data.issuer_name = Some(fixtures::generic_ca().subject);
        assert!(under(&issuer(None), &data).is_ok());
        assert_eq!(field(own(&data)), Some("/certificateData/issuerName"));
    }

    #[test]
    fn the_path_length_gets_shorter_on_the_way_down() {
        use PathLength::{AtMost, Unlimited};
        for (limit, asked, effective) in [
            (None, Unlimited, Some(None)),
            (None, AtMost(7), Some(Some(7))),
            (Some(3), Unlimited, Some(Some(2))),
            (Some(3), AtMost(2), Some(Some(2))),
            (Some(3), AtMost(0), Some(Some(0))),
            (Some(3), AtMost(3), None),
            (Some(0), Unlimited, None),
            (Some(0), AtMost(0), None),
        ] {
            let mut data = fixtures::generic_ca();
            data.certificate_authority = Some(asked);
            let planned = under(&issuer(limit), &data).ok().map(|plan| plan.path_length());
            assert_eq!(planned, effective, "{limit:?} {asked:?}");
        }
        // Leaves may stand at any depth.
        assert!(under(&issuer(Some(0)), &fixtures::generic_leaf()).is_ok());
        let exhausted = under(&issuer(Some(0)), &fixtures::generic_ca()).unwrap_err();
        assert_eq!(exhausted.message, "the issuer's path length allows no CA below it");
    }

    #[test]
    fn ed25519_is_certified_to_sign_and_certifies_nothing() {
        let validity = fixtures::document_signer_validity();
        let (key, options) = (fixtures::ed25519(), Options::default());
        let ecdsa = fixtures::second_key();
        let certified = |data: &_, key: &_| {
            ca_signed(fixtures::serial(), data, validity, &issuer(None), key, options)
        };
        let mut leaf = fixtures::generic_leaf();
        leaf.key_usage = vec![KeyUsage::DigitalSignature, KeyUsage::NonRepudiation];
        assert!(certified(&leaf, &key).is_ok());
        for usage in [KeyUsage::KeyEncipherment, KeyUsage::DataEncipherment, KeyUsage::KeyAgreement]
        {
            leaf.key_usage = vec![KeyUsage::DigitalSignature, usage];
            assert_eq!(field(certified(&leaf, &key)), Some("/certificateData/keyUsage"));
            let agrees = usage == KeyUsage::KeyAgreement;
            assert_eq!(certified(&leaf, &ecdsa).is_ok(), agrees, "RFC 8813: {usage:?}");
            assert_eq!(certified(&leaf, &fixtures::rsa_2048()).is_ok(), !agrees, "{usage:?}");
        }
        leaf.key_usage = vec![KeyUsage::KeyAgreement, KeyUsage::EncipherOnly];
        assert!(certified(&leaf, &ecdsa).is_ok());
        leaf.key_usage.push(KeyUsage::DecipherOnly);
        assert_eq!(field(certified(&leaf, &ecdsa)), Some("/certificateData/keyUsage"));
        assert_eq!(field(certified(&fixtures::generic_ca(), &key)), Some(SUBJECT_KEY));
        let leaf = fixtures::generic_leaf();
        let own = self_signed(fixtures::serial(), &leaf, validity, &key, options);
        assert_eq!(field(own), Some(SUBJECT_KEY));
        let edwards = Issuer { key, ..issuer(None) };
        assert_eq!(field(under(&edwards, &leaf)), Some("/issuer/issuerKeyDescriptor"));
    }

    #[test]
    fn key_cert_sign_and_ca_go_together() {
        let mut leaf = fixtures::generic_leaf();
        leaf.key_usage = vec![KeyUsage::KeyCertSign];
        assert_eq!(field(own(&leaf)), Some("/certificateData/keyUsage"));
        let mut ca = fixtures::generic_ca();
        ca.key_usage = vec![KeyUsage::CrlSign];
        let found = own(&ca).unwrap_err();
        assert_eq!(found.message, "a CA needs KeyCertSign");
        ca.certificate_authority = Some(PathLength::Unlimited);
        let options = Options { ca_without_key_cert_sign: true, ..Options::default() };
        let validity = fixtures::iaca_validity();
        let key = fixtures::first_key();
        assert!(self_signed(fixtures::serial(), &ca, validity, &key, options).is_ok());
        // A path length without keyCertSign means nothing, whatever the operator allows.
        ca.certificate_authority = Some(PathLength::AtMost(0));
        assert_eq!(
            field(self_signed(fixtures::serial(), &ca, validity, &key, options)),
            Some("/certificateData/pathLengthConstraint")
        );
    }

    #[test]
    fn key_usages_do_not_repeat_or_contradict_each_other() {
        for usages in [
            &[KeyUsage::DigitalSignature, KeyUsage::DigitalSignature][..],
            &[KeyUsage::EncipherOnly],
            &[KeyUsage::DigitalSignature, KeyUsage::DecipherOnly],
        ] {
            let mut data = fixtures::generic_leaf();
            data.key_usage = usages.to_vec();
            assert_eq!(field(own(&data)), Some("/certificateData/keyUsage"), "{usages:?}");
        }
    }

    #[test]
    fn document_signers_are_not_issued_by_this_door() {
        let mut data = fixtures::generic_leaf();
        data.extended_key_usage = vec![oid::MDL_DOCUMENT_SIGNER.into()];
        let found = own(&data).unwrap_err();
        assert_eq!(found.field, Some("/certificateData/extendedKeyUsageOids"));
        assert_eq!(found.message, "1.0.18013.5.1.2 is issued by iso/document-signers only");
        let server = Oid::parse("1.3.6.1.5.5.7.3.1").unwrap();
        data.extended_key_usage = vec![server.clone(), server];
        assert_eq!(field(own(&data)), Some("/certificateData/extendedKeyUsageOids"));
    }

    #[test]
    fn rsa_2048_is_for_leaves_and_signs_only_itself() {
        let rsa = fixtures::rsa_2048();
        let validity = fixtures::document_signer_validity();
        let options = Options::default();
        let serial = fixtures::serial();
        let (leaf, ca) = (fixtures::generic_leaf(), fixtures::generic_ca());
        assert!(self_signed(serial, &leaf, validity, &rsa, options).is_ok());
        let found = self_signed(serial, &ca, validity, &rsa, options).unwrap_err();
        assert_eq!(found.message, "RSA-2048 may not sign as CA; use 3072 or 4096");
        assert!(ca_signed(serial, &leaf, validity, &issuer(None), &rsa, options).is_ok());
        assert!(ca_signed(serial, &ca, validity, &issuer(None), &rsa, options).is_err());
        let signer = Issuer { key: rsa, ..issuer(None) };
        assert_eq!(field(under(&signer, &leaf)), Some("/issuer/issuerKeyDescriptor"));
    }
}
