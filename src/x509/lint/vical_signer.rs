//! ISO/IEC 18013-5 Table C.1: rules for VICAL signers, for our certificates and for others'.

use super::{
    Rule, Specimen, Verdict, common, extensions, require,
    supplied::{NAME_STRINGS, SIGNATURE_ALGORITHM},
};
use crate::{
    domain::{name::Country, request::KeyUsage, validity::DAY_SECONDS},
    x509::{
        element::{PRINTABLE_STRING, UTF8_STRING},
        oid,
        view::value::{self, GeneralNameView},
    },
};

const CLAUSE: &str = "ISO/IEC 18013-5 Table C.1";

pub(super) const RULES: &[Rule] = &[
    common::VERSION,
    common::SERIAL,
    SIGNATURE_ALGORITHM,
    common::VALIDITY_ORDER,
    common::TIME_TYPES,
    common::UNIQUE_IDS,
    NAME_STRINGS,
    extensions::ONCE,
    extensions::PROHIBITED,
    Rule { name: "vical-signer-country", clause: CLAUSE, check: country },
    Rule { name: "vical-signer-organization", clause: CLAUSE, check: organization },
    Rule { name: "vical-signer-common-name", clause: CLAUSE, check: common_name },
    Rule { name: "vical-signer-key", clause: CLAUSE, check: key },
    Rule { name: "vical-signer-span", clause: CLAUSE, check: span },
    Rule { name: "vical-signer-authority-key-id", clause: CLAUSE, check: authority_key_id },
    Rule { name: "vical-signer-subject-key-id", clause: CLAUSE, check: subject_key_id },
    Rule { name: "vical-signer-key-usage", clause: CLAUSE, check: key_usage },
    Rule { name: "vical-signer-extended-key-usage", clause: CLAUSE, check: extended_key_usage },
    Rule { name: "vical-signer-basic-constraints", clause: CLAUSE, check: basic_constraints },
    Rule { name: "vical-signer-crl", clause: CLAUSE, check: crl_distribution_points },
    Rule { name: "vical-signer-critical", clause: CLAUSE, check: critical_extensions },
];

fn country(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.subject.attribute(oid::COUNTRY).is_some_and(|country| {
            country.value.tag == PRINTABLE_STRING
                && Country::parse(country.text().unwrap_or_default()).is_ok()
        }),
        "countryName must be an upper-case ISO 3166-1 alpha-2 code in a PrintableString",
    )
}

fn organization(specimen: &Specimen<'_>) -> Verdict {
    let named = specimen.subject.attribute(oid::ORGANIZATION);
    require(
        named.is_some_and(|attribute| attribute.value.tag == UTF8_STRING),
        "organizationName must be there as UTF8String",
    )
}

fn common_name(specimen: &Specimen<'_>) -> Verdict {
    let named = specimen.subject.attribute(oid::COMMON_NAME);
    require(
        named.is_some_and(|attribute| attribute.value.tag == UTF8_STRING),
        "commonName must be there as UTF8String",
    )
}

fn key(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.subject_key.as_ref().is_some_and(|key| key.key_type().is_ec()),
        "the key must be on P-256, P-384 or P-521",
    )
}

fn span(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.span_seconds() <= 1_187 * DAY_SECONDS,
        "a VICAL signer is valid for at most 1187 days",
    )
}

fn authority_key_id(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::AUTHORITY_KEY_ID) else {
        return Err("authorityKeyIdentifier is missing".to_owned());
    };
    let found = value::authority_key_id(extension.value).map_err(|error| error.to_string())?;
    require(found.key_id.is_some(), "the authorityKeyIdentifier must have a keyIdentifier")
}

fn subject_key_id(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::SUBJECT_KEY_ID) else {
        return Err("subjectKeyIdentifier is missing".to_owned());
    };
    let found = value::subject_key_id(extension.value).map_err(|error| error.to_string())?;
    require(
        specimen.subject_key.as_ref().is_some_and(|key| key.subject_key_id() == found),
        "the subjectKeyIdentifier must be the SHA-1 of the certified key (RFC 5280, 4.2.1.2)",
    )
}

fn key_usage(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.view.extension(oid::KEY_USAGE).is_some_and(|extension| {
            extension.critical
                && value::key_usage(extension.value)
                    .is_ok_and(|bits| bits == [KeyUsage::NonRepudiation])
        }),
        "keyUsage must be critical and exactly nonRepudiation",
    )
}

/// The purpose of ISO/IEC 23220-4 is allowed in addition, not instead.
fn extended_key_usage(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.view.extension(oid::EXTENDED_KEY_USAGE).is_some_and(|extension| {
            extension.critical
                && value::extended_key_usage(extension.value).is_ok_and(|purposes| {
                    let own = [oid::MDL_VICAL_SIGNER, oid::MDOC_VICAL_SIGNER];
                    purposes.iter().any(|purpose| *purpose == oid::MDL_VICAL_SIGNER)
                        && purposes.iter().all(|purpose| own.iter().any(|own| *purpose == *own))
                })
        }),
        "extKeyUsage must be critical and 1.0.18013.5.1.8",
    )
}

/// Table C.1 has no row for it.
fn basic_constraints(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.view.extension(oid::BASIC_CONSTRAINTS).is_none(),
        "basicConstraints must be absent",
    )
}

fn crl_distribution_points(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::CRL_DISTRIBUTION_POINTS) else {
        return Err("cRLDistributionPoints is missing".to_owned());
    };
    let points =
        value::crl_distribution_points(extension.value).map_err(|error| error.to_string())?;
    let has_uri = points
        .iter()
        .flat_map(|point| &point.full_name)
        .any(|name| matches!(name, GeneralNameView::Uri(_)));
    require(
        has_uri && !points.iter().any(|point| point.is_partial),
        "cRLDistributionPoints must have a URI, no reasons and no cRLIssuer",
    )
}

fn critical_extensions(specimen: &Specimen<'_>) -> Verdict {
    let expected = [oid::KEY_USAGE, oid::EXTENDED_KEY_USAGE, oid::BASIC_CONSTRAINTS];
    let critical = specimen.view.extensions.iter().filter(|extension| extension.critical);
    match critical.into_iter().find(|extension| expected.iter().all(|oid| extension.oid != *oid)) {
        Some(extension) => Err(format!("extension {} must not be critical", extension.oid)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use der::asn1::ObjectIdentifier;

    use super::super::vical_signer;
    use crate::{
        domain::{
            fixtures::{self, SoftwareKey},
            key::KeyType,
            name::AttributeKind,
            request::{GenericData, KeyUsage},
            validity::Validity,
        },
        x509::{
            Certificate, Issuer, SignedCertificate, UnsignedCertificate, plan::TbsPlan,
            profile::generic,
        },
    };

    fn signed(plan: TbsPlan, key: &SoftwareKey) -> SignedCertificate {
        let unsigned = UnsignedCertificate::encode(plan).unwrap();
        let signature = key.sign(unsigned.tbs_der());
        unsigned.assemble(signature).unwrap()
    }

    /// What the issuance of generic certificates makes of a request for a VICAL signer.
    fn signer(change: impl FnOnce(&mut GenericData, &mut Validity)) -> Certificate {
        let ca_key = SoftwareKey::generate(KeyType::P256);
        let key = SoftwareKey::generate(KeyType::P256);
        let validity = fixtures::validity("2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z");
        let options = generic::Options { reserved_purposes: true, ..generic::Options::default() };
        let ca = generic::self_signed(
            fixtures::serial(),
            &fixtures::generic_ca(),
            validity,
            &ca_key.public,
            options,
        );
        let ca = Certificate::from_der(signed(ca.unwrap(), &ca_key).der()).unwrap();
        let mut data = fixtures::generic_leaf_with_everything();
        data.subject = fixtures::name("NL", "Acme Trust List");
        data.subject.organization = fixtures::text(AttributeKind::Organization, "Acme");
        data.key_usage = vec![KeyUsage::NonRepudiation];
        data.extended_key_usage = vec![ObjectIdentifier::new_unwrap("1.0.18013.5.1.8").into()];
        data.issuer_name = None;
        let mut validity = fixtures::validity("2026-01-01T00:00:00Z", "2029-01-01T00:00:00Z");
        change(&mut data, &mut validity);
        let issuer = Issuer::of_certificate(&ca).unwrap();
        let plan =
            generic::ca_signed(fixtures::serial(), &data, validity, &issuer, &key.public, options);
        Certificate::from_der(signed(plan.unwrap(), &ca_key).der()).unwrap()
    }

    #[track_caller]
    fn assert_broken(rules: &[&str], change: impl FnOnce(&mut GenericData, &mut Validity)) {
        let found: Vec<_> =
            vical_signer(&signer(change)).into_iter().map(|finding| finding.rule).collect();
        let mut expected = rules.to_vec();
        // Generic certificates carry the empty extension, and theirs is never critical.
        expected.extend(["vical-signer-basic-constraints"]);
        for rule in &expected {
            assert!(found.contains(rule), "{rule}: {found:?}");
        }
        let others: Vec<_> = found
            .iter()
            .filter(|rule| !expected.contains(rule))
            .filter(|rule| **rule != "vical-signer-extended-key-usage")
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }

    #[test]
    fn each_row_of_the_table_is_looked_at() {
        assert_broken(&[], |_, _| {});
        assert_broken(&["vical-signer-country"], |data, _| data.subject.country = None);
        assert_broken(&["vical-signer-organization"], |data, _| data.subject.organization = None);
        assert_broken(&["vical-signer-key-usage"], |data, _| {
            data.key_usage = vec![KeyUsage::DigitalSignature];
        });
        assert_broken(&["vical-signer-crl"], |data, _| data.crl_distribution_point = None);
        assert_broken(&["vical-signer-span"], |_, validity| {
            *validity = fixtures::validity("2026-01-01T00:00:00Z", "2029-04-03T00:00:00Z");
        });
    }
}
