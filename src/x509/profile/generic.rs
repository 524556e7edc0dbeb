//! Ordinary certificates: RFC 5280, self-signed or signed by a CA.

use std::{collections::HashSet, hash::Hash};

use der::asn1::ObjectIdentifier;

use super::{Blame, ED25519_SIGNS_NOTHING, Profile, ProfileError};
use crate::{
    domain::{
        key::{KeyType, PublicKey},
        member::{Member, Message, Part},
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
        restrictions::RestrictedPart,
    },
};

/// One year by default, limited only by the issuer's validity.
pub const VALIDITY: ValidityRule =
    ValidityRule { default_seconds: 365 * DAY_SECONDS, longest: None };

/// Rules that an operator may relax.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Allows a CA without keyCertSign, against RFC 5280, 4.2.1.9 read together with 4.2.1.3. Such a
    /// CA signs nothing here.
    pub ca_without_key_cert_sign: bool,
    /// Allows the extended key usages that profiles of their own issue.
    pub reserved_purposes: bool,
}

/// Whether a purpose is reserved for another profile: document signers, VICAL signers, readers,
/// OCSP responders (RFC 6960, 4.2.2.2).
fn is_reserved(purpose: &Oid) -> bool {
    let is_under = |parent: ObjectIdentifier| {
        purpose.as_octets().starts_with(parent.as_bytes())
            && purpose.as_octets().len() > parent.as_bytes().len()
    };
    *purpose == oid::OCSP_SIGNING || is_under(oid::MDL_PURPOSES) || is_under(oid::MDOC_PURPOSES)
}

/// Checks a key that certifies itself, alone.
///
/// # Errors
/// [`ProfileError`] for Ed25519, and for RSA-2048 as a CA.
pub fn check_own_key(data: &GenericData, key: &PublicKey) -> Result<(), ProfileError> {
    check_signing_key(key, data.certificate_authority.is_some())
}

/// Checks the keys of issuer and subject, alone.
///
/// # Errors
/// [`ProfileError`] for an issuer's key of Ed25519, for RSA-2048 as a CA on either side, and when both
/// keys are one.
pub fn check_keys(
    data: &GenericData,
    issuer_key: &PublicKey,
    subject_key: &PublicKey,
) -> Result<(), ProfileError> {
    if issuer_key.key_type() == KeyType::Ed25519 {
        return Err(ProfileError::of(Blame::SigningKey, ED25519_SIGNS_NOTHING));
    }
    if issuer_key == subject_key {
        let what = "the key must differ from the issuer's";
        return Err(ProfileError::of(Blame::SubjectKey, what));
    }
    check_signing_key(issuer_key, true)?;
    if data.certificate_authority.is_some() && subject_key.key_type() == KeyType::Rsa2048 {
        let what = "RSA-2048 may not be certified as CA; use 3072 or 4096";
        return Err(ProfileError::of(Blame::SubjectKey, what));
    }
    Ok(())
}

fn check_signing_key(key: &PublicKey, is_ca: bool) -> Result<(), ProfileError> {
    let what = match key.key_type() {
        KeyType::Ed25519 => ED25519_SIGNS_NOTHING,
        KeyType::Rsa2048 if is_ca => "RSA-2048 may not sign as CA; use 3072 or 4096",
        KeyType::P256
        | KeyType::P384
        | KeyType::P521
        | KeyType::Rsa2048
        | KeyType::Rsa3072
        | KeyType::Rsa4096 => return Ok(()),
    };
    Err(ProfileError::of(Blame::SigningKey, what))
}

/// Plans a certificate that `key` both signs and is certified by.
///
/// # Errors
/// [`ProfileError`] when the given issuer name is not the subject, for an RSA-2048 CA, and for key
/// usages that contradict each other or the kind of certificate.
pub fn self_signed(
    serial: SerialNumber,
    data: &GenericData,
    validity: Validity,
    key: &PublicKey,
    options: Options,
) -> Result<TbsPlan, ProfileError> {
    if data.issuer_name.as_ref().is_some_and(|name| *name != data.subject) {
        return Err(ProfileError::at(
            Member::IssuerName,
            Message::name(Member::IssuerName)
                .text(" of a self-signed certificate must equal ")
                .and(Part::Name(Member::SubjectName)),
        ));
    }
    check_own_key(data, key)?;
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
/// [`ProfileError`] when the given issuer name is not the issuer's, when the issuer's path length
/// does not allow the certificate, for an RSA-2048 CA on either side, and for key usages that
/// contradict each other or the kind of certificate.
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
            Member::IssuerName,
            Message::name(Member::IssuerName)
                .text(" differs from the issuer certificate's subject"),
        ));
    }
    check_keys(data, &issuer.key, subject_key)?;
    check(data, subject_key, options)?;
    let subject = EncodedName::encode(&data.subject)
        .map_err(|error| ProfileError::at(Member::SubjectName, error.to_string()))?;
    issuer.restrictions.allow(&subject, data).map_err(|forbidden| {
        let member = match forbidden.part {
            RestrictedPart::Subject => Member::SubjectName,
            RestrictedPart::SubjectAlternativeNames => Member::SubjectAlternativeNames,
            RestrictedPart::ExtendedKeyUsage => Member::ExtendedKeyUsage,
        };
        ProfileError::at(member, forbidden.message)
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
            Member::CertificateAuthority,
            "the issuer's path length allows no CA below it",
        )),
        (PathLength::Unlimited, Some(limit)) => Ok(PathLength::AtMost(limit - 1)),
        (PathLength::AtMost(length), Some(limit)) if length < limit => Ok(asked),
        (PathLength::AtMost(length), Some(limit)) => Err(ProfileError::at(
            Member::PathLength,
            Message::name(Member::PathLength)
                .text(format!(" {length} must be smaller than the issuer's {limit}")),
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
        return Err(ProfileError::at(
            Member::PublicKeySource,
            "Ed25519 may not be certified as CA",
        ));
    }
    // RFC 8410, 5; RFC 8813, 3; RFC 3279, 2.3.1: usages that the key type does not allow.
    if let Some(wrong) =
        data.key_usage.iter().find(|usage| usage.is_against(subject_key.key_type()))
    {
        let (name, key_type) = (wrong.name(), subject_key.key_type());
        return Err(ProfileError::at(Member::KeyUsage, format!("'{name}' is not for {key_type}")));
    }
    if let Some(usage) = first_repeated(&data.key_usage) {
        return Err(ProfileError::at(Member::KeyUsage, format!("'{}' is repeated", usage.name())));
    }
    // RFC 5280, 4.2.1.9: keyCertSign and cA go together.
    if is_ca && !has(KeyUsage::KeyCertSign) && !options.ca_without_key_cert_sign {
        return Err(ProfileError::at(Member::KeyUsage, "a CA needs KeyCertSign"));
    }
    if !is_ca && has(KeyUsage::KeyCertSign) {
        return Err(ProfileError::at(
            Member::KeyUsage,
            Message::from("KeyCertSign needs ")
                .and(Part::Name(Member::CertificateAuthority))
                .text(" true"),
        ));
    }
    // RFC 5280, 4.2.1.9: a path length without keyCertSign means nothing.
    if matches!(data.certificate_authority, Some(PathLength::AtMost(_)))
        && !has(KeyUsage::KeyCertSign)
    {
        return Err(ProfileError::at(
            Member::PathLength,
            Message::name(Member::PathLength).text(" needs KeyCertSign"),
        ));
    }
    // RFC 5280, 4.2.1.3: undefined without keyAgreement.
    if (has(KeyUsage::EncipherOnly) || has(KeyUsage::DecipherOnly)) && !has(KeyUsage::KeyAgreement)
    {
        return Err(ProfileError::at(
            Member::KeyUsage,
            "EncipherOnly and DecipherOnly need KeyAgreement",
        ));
    }
    if has(KeyUsage::EncipherOnly) && has(KeyUsage::DecipherOnly) {
        return Err(ProfileError::at(
            Member::KeyUsage,
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
        return Err(ProfileError::at(Member::ExtendedKeyUsage, format!("{purpose} {how}")));
    }
    if let Some(purpose) = first_repeated(&data.extended_key_usage) {
        return Err(ProfileError::at(Member::ExtendedKeyUsage, format!("{purpose} is repeated")));
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
        // RFC 5280, 4.2.1.12: either; non-critical, because that is usual.
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

    fn blame(result: Result<TbsPlan, ProfileError>) -> Blame {
        result.unwrap_err().blame
    }

    #[test]
    fn an_issuer_name_that_is_given_is_the_issuers() {
        let mut data = fixtures::generic_leaf();
        data.issuer_name = Some(data.subject.clone());
        assert!(own(&data).is_ok());
        let found = under(&issuer(None), &data).unwrap_err();
        assert_eq!(found.blame, Blame::Member(Member::IssuerName));
        assert_eq!(found.to_string(), "IssuerName differs from the issuer certificate's subject");
        data.issuer_name = Some(fixtures::generic_ca().subject);
        assert!(under(&issuer(None), &data).is_ok());
        assert_eq!(blame(own(&data)), Blame::Member(Member::IssuerName));
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
        assert_eq!(exhausted.to_string(), "the issuer's path length allows no CA below it");
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
            assert_eq!(blame(certified(&leaf, &key)), Blame::Member(Member::KeyUsage));
            let agrees = usage == KeyUsage::KeyAgreement;
            assert_eq!(certified(&leaf, &ecdsa).is_ok(), agrees, "RFC 8813: {usage:?}");
            assert_eq!(certified(&leaf, &fixtures::rsa_2048()).is_ok(), !agrees, "{usage:?}");
        }
        leaf.key_usage = vec![KeyUsage::KeyAgreement, KeyUsage::EncipherOnly];
        assert!(certified(&leaf, &ecdsa).is_ok());
        leaf.key_usage.push(KeyUsage::DecipherOnly);
        assert_eq!(blame(certified(&leaf, &ecdsa)), Blame::Member(Member::KeyUsage));
        let as_ca = blame(certified(&fixtures::generic_ca(), &key));
        assert_eq!(as_ca, Blame::Member(Member::PublicKeySource));
        let leaf = fixtures::generic_leaf();
        let own = self_signed(fixtures::serial(), &leaf, validity, &key, options);
        assert_eq!(blame(own), Blame::SigningKey);
        let edwards = Issuer { key, ..issuer(None) };
        assert_eq!(blame(under(&edwards, &leaf)), Blame::SigningKey);
    }

    #[test]
    fn key_cert_sign_and_ca_go_together() {
        let mut leaf = fixtures::generic_leaf();
        leaf.key_usage = vec![KeyUsage::KeyCertSign];
        assert_eq!(blame(own(&leaf)), Blame::Member(Member::KeyUsage));
        let mut ca = fixtures::generic_ca();
        ca.key_usage = vec![KeyUsage::CrlSign];
        let found = own(&ca).unwrap_err();
        assert_eq!(found.to_string(), "a CA needs KeyCertSign");
        ca.certificate_authority = Some(PathLength::Unlimited);
        let options = Options { ca_without_key_cert_sign: true, ..Options::default() };
        let validity = fixtures::iaca_validity();
        let key = fixtures::first_key();
        assert!(self_signed(fixtures::serial(), &ca, validity, &key, options).is_ok());
        // A path length without keyCertSign means nothing, whatever the operator allows.
        ca.certificate_authority = Some(PathLength::AtMost(0));
        assert_eq!(
            blame(self_signed(fixtures::serial(), &ca, validity, &key, options)),
            Blame::Member(Member::PathLength)
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
            assert_eq!(blame(own(&data)), Blame::Member(Member::KeyUsage), "{usages:?}");
        }
    }

    #[test]
    fn document_signers_are_not_issued_by_this_door() {
        let mut data = fixtures::generic_leaf();
        data.extended_key_usage = vec![oid::MDL_DOCUMENT_SIGNER.into()];
        let found = own(&data).unwrap_err();
        assert_eq!(found.blame, Blame::Member(Member::ExtendedKeyUsage));
        assert_eq!(found.to_string(), "1.0.18013.5.1.2 is issued by iso/document-signers only");
        let server = Oid::parse("1.3.6.1.5.5.7.3.1").unwrap();
        data.extended_key_usage = vec![server.clone(), server];
        assert_eq!(blame(own(&data)), Blame::Member(Member::ExtendedKeyUsage));
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
        assert_eq!(found.to_string(), "RSA-2048 may not sign as CA; use 3072 or 4096");
        assert!(ca_signed(serial, &leaf, validity, &issuer(None), &rsa, options).is_ok());
        assert!(ca_signed(serial, &ca, validity, &issuer(None), &rsa, options).is_err());
        let signer = Issuer { key: rsa, ..issuer(None) };
        assert_eq!(blame(under(&signer, &leaf)), Blame::SigningKey);
    }
}
