//! The document signer: ISO/IEC 18013-5 Table B.3.

use super::{Blame, Profile, ProfileError, check_iaca_key};
use crate::{
    domain::{
        key::{KeyType, PublicKey},
        member::{Member, Message},
        request::{DocumentSignerData, KeyUsage},
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

/// Table B.3, validity: at most 457 days. The default is a second less, because RFC 5280 counts
/// both ends.
pub const VALIDITY: ValidityRule = ValidityRule {
    default_seconds: 457 * DAY_SECONDS - 1,
    longest: Some((457 * DAY_SECONDS, "a document signer is valid for at most 457 days")),
};

/// Plans a document signer under `iaca`.
///
/// # Errors
/// [`ProfileError`] when country or state differ from the IACA's, when the key is the IACA's own or
/// not on P-256, P-384 or P-521, and when the IACA has no issuer alternative name to copy.
pub fn plan(
    serial: SerialNumber,
    data: &DocumentSignerData,
    validity: Validity,
    iaca: &Issuer,
    subject_key: &PublicKey,
) -> Result<TbsPlan, ProfileError> {
    check_keys(&iaca.key, subject_key)?;
    check_names(data, iaca)?;
    let Some(contact) = &iaca.issuer_alternative_name else {
        return Err(ProfileError::of(Blame::Issuer, "the IACA has no issuer alternative name"));
    };
    let extensions = vec![
        // Table B.3 has no row for basicConstraints: left out.
        // Table B.3, keyUsage: critical, digitalSignature only.
        Extension::KeyUsage(vec![KeyUsage::DigitalSignature]),
        // Table B.3, extKeyUsage: critical, mdlDS. One purpose only, because readers of the first
        // edition refuse a second one.
        Extension::ExtendedKeyUsage {
            critical: true,
            purposes: vec![oid::MDL_DOCUMENT_SIGNER.into()],
        },
        // Table B.3, subjectKeyIdentifier: mandatory.
        Extension::SubjectKeyId(subject_key.subject_key_id().to_vec()),
        // Table B.3, authorityKeyIdentifier: the IACA's subjectKeyIdentifier.
        Extension::AuthorityKeyId(iaca.key_id.clone()),
        // Table B.3, issuerAltName: mandatory; the IACA's own.
        Extension::CopiedIssuerAlternativeName(contact.clone()),
        // Table B.3, cRLDistributionPoints: mandatory.
        Extension::CrlDistributionPoint(data.crl_distribution_point.clone()),
    ];
    Ok(TbsPlan {
        profile: Profile::DocumentSigner,
        serial,
        signer: Signer::Issuer(Box::new(iaca.clone())),
        validity,
        subject: data.subject.clone(),
        subject_key: subject_key.clone(),
        extensions,
        ca_without_key_cert_sign: false,
    })
}

/// Checks the keys alone.
///
/// # Errors
/// [`ProfileError`] when the IACA's key is not on P-256, P-384 or P-521, and when the certified one is
/// RSA or the IACA's own.
pub fn check_keys(iaca_key: &PublicKey, subject_key: &PublicKey) -> Result<(), ProfileError> {
    check_iaca_key(iaca_key)?;
    let key_type = subject_key.key_type();
    // Table B.3: Ed25519 may be certified.
    if !key_type.is_ec() && key_type != KeyType::Ed25519 {
        let what = "RSA is not allowed for a document signer; use P-256, P-384 or P-521";
        return Err(ProfileError::of(Blame::SubjectKey, what));
    }
    if subject_key == iaca_key {
        let what = "the document signer key must differ from the IACA key";
        return Err(ProfileError::of(Blame::SubjectKey, what));
    }
    Ok(())
}

/// B.1.1: an end entity carries the IACA's country, and its state exactly when the IACA has one.
fn check_names(data: &DocumentSignerData, iaca: &Issuer) -> Result<(), ProfileError> {
    let own = NameAttributes::from(&data.subject);
    let theirs = iaca.name.attributes();
    if own.country.is_none() {
        return Err(ProfileError::at(
            Member::Country,
            Message::name(Member::Country).text(" is required"),
        ));
    }
    if own.organizational_unit.is_some() {
        return Err(ProfileError::at(
            Member::CertificateData,
            "a document signer has no organizationalUnitName",
        ));
    }
    for (member, own, theirs) in [
        (Member::Country, own.country, theirs.country),
        (Member::StateOrProvince, own.state_or_province, theirs.state_or_province),
    ] {
        let what = match (own, theirs) {
            (own, theirs) if own == theirs => continue,
            (Some(own), Some(theirs)) => format!(" {own} differs from the IACA's {theirs}"),
            (None, Some(theirs)) => format!(" is required: the IACA has {theirs}"),
            (_, None) => " must be left out: the IACA has none".to_owned(),
        };
        return Err(ProfileError::at(member, Message::name(member).text(what)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::name::{AttributeKind, Country},
        x509::fixtures,
    };

    fn iaca() -> Issuer {
        let data = fixtures::iaca_data_with_everything();
        Issuer::described_iaca(&data, fixtures::iaca_validity(), &fixtures::first_key()).unwrap()
    }

    fn planned(
        data: &DocumentSignerData,
        iaca: &Issuer,
        key: &PublicKey,
    ) -> Result<TbsPlan, ProfileError> {
        plan(fixtures::serial(), data, fixtures::document_signer_validity(), iaca, key)
    }

    fn refused(change: fn(&mut DocumentSignerData)) -> ProfileError {
        let mut data = fixtures::document_signer_data();
        change(&mut data);
        planned(&data, &iaca(), &fixtures::second_key()).unwrap_err()
    }

    #[test]
    fn country_and_state_are_the_iacas() {
        let found = refused(|data| data.subject.country = Some(Country::parse("DE").unwrap()));
        assert_eq!(found.blame, Blame::Member(Member::Country));
        assert_eq!(found.message.to_string(), "Country DE differs from the IACA's NL");
        let found = refused(|data| data.subject.country = None);
        assert_eq!(found.blame, Blame::Member(Member::Country));
        for state in [None, Some("Limburg"), Some("utrecht")] {
            let mut data = fixtures::document_signer_data();
            data.subject.state_or_province =
                state.and_then(|state| fixtures::text(AttributeKind::StateOrProvince, state));
            let found = planned(&data, &iaca(), &fixtures::second_key()).unwrap_err();
            assert_eq!(found.blame, Blame::Member(Member::StateOrProvince), "{found}");
        }
    }

    #[test]
    fn a_state_needs_an_iaca_with_a_state_and_none_needs_one_with_none() {
        let data = fixtures::iaca_data();
        let validity = fixtures::iaca_validity();
        let iaca = Issuer::described_iaca(&data, validity, &fixtures::first_key()).unwrap();
        let mut data = fixtures::document_signer_data();
        let found = planned(&data, &iaca, &fixtures::second_key()).unwrap_err();
        assert_eq!(found.blame, Blame::Member(Member::StateOrProvince));
        data.subject.state_or_province = None;
        assert!(planned(&data, &iaca, &fixtures::second_key()).is_ok());
    }

    #[test]
    fn its_key_is_on_a_curve_and_not_the_iacas() {
        let data = fixtures::document_signer_data();
        let found = planned(&data, &iaca(), &fixtures::first_key()).unwrap_err();
        let message = found.message.to_string();
        assert_eq!(message, "the document signer key must differ from the IACA key");
        let found = planned(&data, &iaca(), &fixtures::rsa_2048()).unwrap_err();
        assert_eq!(found.blame, Blame::SubjectKey, "{found}");
        assert!(found.to_string().contains("RSA is not allowed"), "{found}");
        let rsa = Issuer { key: fixtures::rsa_2048(), ..iaca() };
        let found = planned(&data, &rsa, &fixtures::second_key()).unwrap_err();
        assert_eq!(found.blame, Blame::SigningKey);
    }

    #[test]
    fn an_iaca_without_contact_signs_no_document_signer() {
        let iaca = Issuer { issuer_alternative_name: None, ..iaca() };
        let data = fixtures::document_signer_data();
        assert!(planned(&data, &iaca, &fixtures::second_key()).is_err());
    }
}
