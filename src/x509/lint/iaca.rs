//! ISO/IEC 18013-5 Table B.1: the IACA root.

use super::{
    Rule, Specimen, Verdict,
    extensions::{CRITICAL, NON_CRITICAL, Row, may, must},
    require,
};
use crate::{
    domain::{name::Country, request::KeyUsage, validity::DAY_SECONDS},
    x509::{
        element::PRINTABLE_STRING,
        oid,
        view::value::{self, GeneralNameView},
    },
};

const CLAUSE: &str = "ISO/IEC 18013-5 Table B.1";

pub(super) const TABLE: &[Row] = &[
    must(oid::BASIC_CONSTRAINTS, "basicConstraints", CRITICAL),
    must(oid::KEY_USAGE, "keyUsage", CRITICAL),
    must(oid::SUBJECT_KEY_ID, "subjectKeyIdentifier", NON_CRITICAL),
    may(oid::AUTHORITY_KEY_ID, "authorityKeyIdentifier", NON_CRITICAL),
    must(oid::ISSUER_ALT_NAME, "issuerAltName", NON_CRITICAL),
    may(oid::CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints", NON_CRITICAL),
];

/// Rules for our own and for supplied IACAs.
pub(super) const RULES: &[Rule] = &[
    Rule { name: "iaca-self-issued", clause: CLAUSE, check: self_issued },
    Rule { name: "iaca-country", clause: CLAUSE, check: country },
    Rule { name: "iaca-common-name", clause: CLAUSE, check: common_name },
    Rule { name: "iaca-key", clause: "ISO/IEC 18013-5 B.1.1", check: key },
    Rule { name: "iaca-basic-constraints", clause: CLAUSE, check: basic_constraints },
    Rule { name: "iaca-key-usage", clause: CLAUSE, check: key_usage },
    Rule { name: "iaca-contact", clause: CLAUSE, check: contact },
];

/// Further rules for our own IACAs.
pub(super) const OWN_RULES: &[Rule] = &[Rule { name: "iaca-span", clause: CLAUSE, check: span }];

fn self_issued(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.view.issuer == specimen.view.subject,
        "issuer and subject must be the same octets",
    )
}

fn country(specimen: &Specimen<'_>) -> Verdict {
    let attributes = specimen.subject.attributes().iter();
    let countries: Vec<_> = attributes.filter(|attribute| attribute.kind == oid::COUNTRY).collect();
    match countries.as_slice() {
        [] => Err("countryName is missing".to_owned()),
        [country] => require(
            country.value.tag == PRINTABLE_STRING
                && Country::parse(country.text().unwrap_or_default()).is_ok(),
            "countryName must be an upper-case ISO 3166-1 alpha-2 code in a PrintableString",
        ),
        _ => Err("countryName occurs twice".to_owned()),
    }
}

fn common_name(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.subject.text(oid::COMMON_NAME).is_some_and(|name| !name.is_empty()),
        "commonName is missing",
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
        specimen.span_seconds() <= 7_300 * DAY_SECONDS,
        "an IACA is valid for at most 7300 days",
    )
}

fn basic_constraints(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::BASIC_CONSTRAINTS) else {
        return Err("basicConstraints is missing".to_owned());
    };
    require(extension.critical, "basicConstraints must be critical")?;
    match value::basic_constraints(extension.value).map_err(|error| error.to_string())? {
        Some(Some(0)) => Ok(()),
        Some(_) => Err("pathLenConstraint must be 0".to_owned()),
        None => Err("basicConstraints must say CA".to_owned()),
    }
}

fn key_usage(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::KEY_USAGE) else {
        return Err("keyUsage is missing".to_owned());
    };
    require(extension.critical, "keyUsage must be critical")?;
    let bits =
        value::key_usage(extension.value).map_err(|error| {
            match value::foreign_key_usage(extension.value) {
                Ok(_) => "keyUsage is not DER: it has bits at its end that say nothing".to_owned(),
                Err(_) => error.to_string(),
            }
        })?;
    require(
        bits == [KeyUsage::KeyCertSign, KeyUsage::CrlSign],
        "keyUsage must be exactly keyCertSign and cRLSign",
    )
}

fn contact(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::ISSUER_ALT_NAME) else {
        return Err("issuerAltName is missing".to_owned());
    };
    require(!extension.critical, "issuerAltName must not be critical")?;
    let names = value::general_names("issuerAltName", extension.value)
        .map_err(|error| error.to_string())?;
    require(
        names
            .iter()
            .any(|name| matches!(name, GeneralNameView::Email(_) | GeneralNameView::Uri(_))),
        "issuerAltName must have an e-mail address or a URI",
    )
}
