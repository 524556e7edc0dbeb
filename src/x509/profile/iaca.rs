//! The IACA root: ISO/IEC 18013-5 Table B.1.

use super::{Profile, ProfileError, check_iaca_key};
use crate::{
    domain::{
        key::PublicKey,
        member::{Member, Message},
        request::{IacaData, KeyUsage, PathLength},
        serial::SerialNumber,
        validity::{DAY_SECONDS, Validity, ValidityRule},
    },
    x509::{
        extension::Extension,
        plan::{Signer, TbsPlan},
    },
};

/// Table B.1, validity: at most 20 years. Counted as 20 times 365 days, because validators do so.
pub const VALIDITY: ValidityRule = ValidityRule {
    default_seconds: 7_300 * DAY_SECONDS,
    longest: Some((7_300 * DAY_SECONDS, "an IACA is valid for at most 7300 days")),
};

/// Choices that Table B.1 leaves open.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Writes an authorityKeyIdentifier, equal to the subjectKeyIdentifier. Table B.1 has no row for
    /// it; RFC 5280, 4.2.1.1 lets a self-signed certificate go without.
    pub authority_key_id: bool,
}

/// Checks the key alone.
///
/// # Errors
/// [`ProfileError`] for a key that is not on P-256, P-384 or P-521.
pub fn check_key(key: &PublicKey) -> Result<(), ProfileError> {
    check_iaca_key(key)
}

/// Plans an IACA root that `key` both signs and is certified by.
///
/// # Errors
/// [`ProfileError`] for a key that is not on P-256, P-384 or P-521, and for a subject without country
/// or with attributes that Table B.1 does not list.
pub fn plan(
    serial: SerialNumber,
    data: &IacaData,
    validity: Validity,
    key: &PublicKey,
    options: Options,
) -> Result<TbsPlan, ProfileError> {
    check_key(key)?;
    if data.subject.country.is_none() {
        return Err(ProfileError::at(
            Member::Country,
            Message::name(Member::Country).text(" is required"),
        ));
    }
    if data.subject.locality.is_some() || data.subject.organizational_unit.is_some() {
        return Err(ProfileError::at(
            Member::CertificateData,
            "an IACA has no localityName and no organizationalUnitName",
        ));
    }
    let key_id = key.subject_key_id().to_vec();
    let mut extensions = vec![
        // Table B.1, basicConstraints: critical, CA, pathLen 0. An IACA issues end entities only.
        Extension::BasicConstraints(Some(PathLength::AtMost(0))),
        // Table B.1, keyUsage: critical, keyCertSign and cRLSign, nothing else.
        Extension::KeyUsage(vec![KeyUsage::KeyCertSign, KeyUsage::CrlSign]),
        // Table B.1, subjectKeyIdentifier: mandatory, SHA-1 of the subjectPublicKey.
        Extension::SubjectKeyId(key_id.clone()),
    ];
    if options.authority_key_id {
        extensions.push(Extension::AuthorityKeyId(key_id));
    }
    // Table B.1, issuerAltName: mandatory contact data.
    extensions.push(Extension::IssuerAlternativeName(data.issuer_alternative_name.clone()));
    // Table B.1, cRLDistributionPoints: optional; readers of the first edition want one.
    extensions.extend(data.crl_distribution_point.clone().map(Extension::CrlDistributionPoint));
    Ok(TbsPlan {
        profile: Profile::Iaca,
        serial,
        signer: Signer::Itself,
        validity,
        subject: data.subject.clone(),
        subject_key: key.clone(),
        extensions,
        ca_without_key_cert_sign: false,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Blame, *};
    use crate::{
        domain::name::{AttributeKind, DistinguishedName},
        x509::fixtures,
    };

    fn refused(subject: DistinguishedName, key: &PublicKey) -> ProfileError {
        let data = IacaData { subject, ..fixtures::iaca_data() };
        let validity = fixtures::iaca_validity();
        plan(fixtures::serial(), &data, validity, key, Options::default()).unwrap_err()
    }

    #[test]
    fn an_iaca_has_a_country_and_no_locality() {
        let mut nowhere = fixtures::iaca_data().subject;
        nowhere.country = None;
        let found = refused(nowhere, &fixtures::first_key());
        assert_eq!(found.blame, Blame::Member(Member::Country));
        let mut local = fixtures::iaca_data().subject;
        local.locality = fixtures::text(AttributeKind::Locality, "Utrecht");
        let found = refused(local, &fixtures::first_key());
        assert_eq!(found.blame, Blame::Member(Member::CertificateData));
    }

    #[test]
    fn an_iaca_has_no_rsa_key() {
        let found = refused(fixtures::iaca_data().subject, &fixtures::rsa_2048());
        assert_eq!(found.blame, Blame::SigningKey);
        assert_eq!(found.to_string(), "RSA is not allowed for an IACA; use P-256, P-384 or P-521");
    }

    #[test]
    fn an_iaca_never_allows_a_sub_ca() {
        let data = fixtures::iaca_data_with_everything();
        let validity = fixtures::iaca_validity();
        let key = fixtures::first_key();
        let plan = plan(fixtures::serial(), &data, validity, &key, Options::default()).unwrap();
        assert!(plan.is_ca());
        assert_eq!(plan.path_length(), Some(0));
    }
}
