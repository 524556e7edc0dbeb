//! The document signer: ISO/IEC 18013-5 Table B.3.

use super::{Profile, ProfileError};
use crate::{
    domain::{
        key::{KeyType, PublicKey},
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

/// Table B.3, validity: at most 457 days. The default is a second less, for RFC 5280 counts both ends.
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
    check_keys(iaca, subject_key)?;
    check_names(data, iaca)?;
    let Some(contact) = &iaca.issuer_alternative_name else {
        return Err(ProfileError::of_key("the IACA has no issuer alternative name"));
    };
    let extensions = vec![
        // Table B.3 has no row for basicConstraints: left out.
        // Table B.3, keyUsage: critical, digitalSignature only.
        Extension::KeyUsage(vec![KeyUsage::DigitalSignature]),
        // Table B.3, extKeyUsage: critical, mdlDS. Readers of the first edition refuse a second one.
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

fn check_keys(iaca: &Issuer, subject_key: &PublicKey) -> Result<(), ProfileError> {
    // B.1.1: certificates are signed by ECDSA only; Table B.3: Ed25519 may be certified.
    if !iaca.key.key_type().is_ec() {
        let key_type = iaca.key.key_type();
        return Err(ProfileError::at(
            "/iacaSigner/iacaKeyDesc",
            format!("{key_type} is not allowed for an IACA; use P-256, P-384 or P-521"),
        ));
    }
    let key_type = subject_key.key_type();
    if !key_type.is_ec() && key_type != KeyType::Ed25519 {
        return Err(ProfileError::of_key(format!(
            "{key_type} is not allowed for a document signer; use P-256, P-384 or P-521"
        )));
    }
    if *subject_key == iaca.key {
        return Err(ProfileError::of_key("the document signer key must differ from the IACA key"));
    }
    Ok(())
}

/// B.1.1: an end entity carries the IACA's country, and its state exactly when the IACA has one.
fn check_names(data: &DocumentSignerData, iaca: &Issuer) -> Result<(), ProfileError> {
    let own = NameAttributes::from(&data.subject);
    let theirs = iaca.name.attributes();
    if own.country.is_none() {
        return Err(ProfileError::at("/certificateData/country", "country is required"));
    }
    if own.organizational_unit.is_some() {
        return Err(ProfileError::at(
            "/certificateData",
            "a document signer has no organizationalUnitName",
        ));
    }
    for (field, what, own, theirs) in [
        ("/certificateData/country", "country", own.country, theirs.country),
        (
            "/certificateData/stateOrProvinceName",
            "stateOrProvinceName",
            own.state_or_province,
            theirs.state_or_province,
        ),
    ] {
        let message = match (own, theirs) {
            (own, theirs) if own == theirs => continue,
            (Some(own), Some(theirs)) => format!("{what} {own} differs from the IACA's {theirs}"),
            (None, Some(theirs)) => format!("{what} is required: the IACA has {theirs}"),
            (_, None) => format!("{what} must be left out: the IACA has none"),
        };
        return Err(ProfileError::at(field, message));
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
        assert_eq!(found.field, Some("/certificateData/country"));
        assert_eq!(found.message, "country DE differs from the IACA's NL");
        let found = refused(|data| data.subject.country = None);
        assert_eq!(found.field, Some("/certificateData/country"));
        for state in [None, Some("Limburg"), Some("utrecht")] {
            let mut data = fixtures::document_signer_data();
            data.subject.state_or_province =
                state.and_then(|state| fixtures::text(AttributeKind::StateOrProvince, state));
            let found = planned(&data, &iaca(), &fixtures::second_key()).unwrap_err();
            assert_eq!(found.field, Some("/certificateData/stateOrProvinceName"), "{found}");
        }
    }

    #[test]
    fn a_state_needs_an_iaca_with_a_state_and_none_needs_one_with_none() {
        let data = fixtures::iaca_data();
        let validity = fixtures::iaca_validity();
        let iaca = Issuer::described_iaca(&data, validity, &fixtures::first_key()).unwrap();
        let mut data = fixtures::document_signer_data();
        let found = planned(&data, &iaca, &fixtures::second_key()).unwrap_err();
        assert_eq!(found.field, Some("/certificateData/stateOrProvinceName"));
        data.subject.state_or_province = None;
        assert!(planned(&data, &iaca, &fixtures::second_key()).is_ok());
    }

    #[test]
    fn its_key_is_on_a_curve_and_not_the_iacas() {
        let data = fixtures::document_signer_data();
        let found = planned(&data, &iaca(), &fixtures::first_key()).unwrap_err();
        assert_eq!(found.message, "the document signer key must differ from the IACA key");
        let found = planned(&data, &iaca(), &fixtures::rsa_2048()).unwrap_err();
        assert!(found.message.contains("RSA-2048 is not allowed"), "{found}");
        let rsa = Issuer { key: fixtures::rsa_2048(), ..iaca() };
        let found = planned(&data, &rsa, &fixtures::second_key()).unwrap_err();
        assert_eq!(found.field, Some("/iacaSigner/iacaKeyDesc"));
    }

    #[test]
    fn an_iaca_without_contact_signs_no_document_signer() {
        let iaca = Issuer { issuer_alternative_name: None, ..iaca() };
        let data = fixtures::document_signer_data();
        assert!(planned(&data, &iaca, &fixtures::second_key()).is_err());
    }
}
