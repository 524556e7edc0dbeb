//! ISO/IEC 18013-5 Table B.1: further rules for IACAs that others issued.

mod names;
mod places;

use der::asn1::ObjectIdentifier;

use super::{Rule, Specimen, Verdict, common, extensions, require};
use crate::{
    domain::{oid::OidRef, validity::DAY_SECONDS},
    x509::{algorithm, element::Element, oid, view::value},
};

const CLAUSE: &str = "ISO/IEC 18013-5 Table B.1";
const COMMON_CLAUSE: &str = "ISO/IEC 18013-5 B.1.1";

/// Rules that run before those of [`super::iaca`], which apply to every IACA.
pub(super) const RULES: &[Rule] = &[
    common::VERSION,
    common::SERIAL,
    SIGNATURE_ALGORITHM,
    common::VALIDITY_ORDER,
    common::TIME_TYPES,
    common::UNIQUE_IDS,
    NAME_STRINGS,
    Rule { name: "name-layout", clause: CLAUSE, check: names::layout },
    Rule { name: "iaca-span", clause: CLAUSE, check: span },
    extensions::ONCE,
    extensions::PROHIBITED,
    Rule { name: "critical-extensions", clause: COMMON_CLAUSE, check: critical_extensions },
    Rule { name: "iaca-extended-key-usage", clause: CLAUSE, check: no_extended_key_usage },
    Rule { name: "subject-key-identifier", clause: CLAUSE, check: subject_key_identifier },
    Rule { name: "extension-der", clause: COMMON_CLAUSE, check: known_extensions_are_der },
    Rule {
        name: "authority-key-identifier",
        clause: "RFC 5280, 4.2.1.1",
        check: places::authority_key_identifier,
    },
    Rule { name: "contact-forms", clause: "RFC 5280, 4.2.1.6", check: places::contact },
    Rule {
        name: "alternative-name-forms",
        clause: "RFC 5280, 4.2.1.6",
        check: places::subject_alternative_names,
    },
    Rule {
        name: "crl-distribution-point",
        clause: "RFC 5280, 4.2.1.13",
        check: places::distribution_points,
    },
];

/// Warnings: properties that a supplied IACA may have, and should not.
pub(super) const WARNINGS: &[Rule] = &[
    Rule { name: "further-attributes", clause: CLAUSE, check: names::further },
    Rule { name: "authority-by-serial", clause: COMMON_CLAUSE, check: places::authority_by_serial },
];

pub(super) const SIGNATURE_ALGORITHM: Rule =
    Rule { name: "signature-algorithm", clause: COMMON_CLAUSE, check: signature_algorithm };
pub(super) const NAME_STRINGS: Rule =
    Rule { name: "name-strings", clause: COMMON_CLAUSE, check: names::strings };

fn signature_algorithm(specimen: &Specimen<'_>) -> Verdict {
    require(
        algorithm::read(specimen.view.algorithm).is_ok_and(algorithm::is_ecdsa),
        "the signature algorithm must be ECDSA with SHA-256, SHA-384 or SHA-512",
    )
}

/// 20 calendar years, five of them leap years.
fn span(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.span_seconds() <= 7_305 * DAY_SECONDS,
        "a supplied IACA is valid for at most 20 years (7305 days)",
    )
}

/// Extensions under id-ce and id-pe (RFC 5280, appendix A) are parsed. Private extensions are not.
const KNOWN_ARCS: [&[u8]; 2] = [&[0x55, 0x1D], &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01]];

fn known_extensions_are_der(specimen: &Specimen<'_>) -> Verdict {
    let known = specimen.view.extensions.iter().filter(|extension| {
        KNOWN_ARCS.iter().any(|arc| extension.oid.as_octets().starts_with(arc))
    });
    for extension in known {
        let element = Element::strict(extension.value);
        // None of them may be an empty list. basicConstraints may, and have a rule of their own.
        let may_be_empty = extension.oid == oid::BASIC_CONSTRAINTS;
        require(
            element.is_some_and(|element| may_be_empty || !element.content.is_empty()),
            &format!("{} is not DER, or empty", name_of(extension.oid)),
        )?;
    }
    Ok(())
}

/// The name of an extension, or its OID.
fn name_of(extension: OidRef<'_>) -> String {
    const NAMES: [(ObjectIdentifier, &str); 9] = [
        (oid::SUBJECT_KEY_ID, "subjectKeyIdentifier"),
        (oid::KEY_USAGE, "keyUsage"),
        (oid::SUBJECT_ALT_NAME, "subjectAltName"),
        (oid::ISSUER_ALT_NAME, "issuerAltName"),
        (oid::BASIC_CONSTRAINTS, "basicConstraints"),
        (oid::CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints"),
        (oid::AUTHORITY_KEY_ID, "authorityKeyIdentifier"),
        (ObjectIdentifier::new_unwrap("2.5.29.32"), "certificatePolicies"),
        (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1"), "authorityInfoAccess"),
    ];
    let known = NAMES.iter().find(|(known, _)| extension == *known);
    known.map_or_else(|| format!("extension {extension}"), |(_, name)| (*name).to_owned())
}

fn critical_extensions(specimen: &Specimen<'_>) -> Verdict {
    let expected = [oid::BASIC_CONSTRAINTS, oid::KEY_USAGE];
    match specimen
        .view
        .extensions
        .iter()
        .find(|extension| extension.critical && !expected.iter().any(|oid| extension.oid == *oid))
    {
        Some(extension) => Err(format!("extension {} must not be critical", extension.oid)),
        None => Ok(()),
    }
}

fn no_extended_key_usage(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.view.extension(oid::EXTENDED_KEY_USAGE).is_none(),
        "extKeyUsage must be absent",
    )
}

fn subject_key_identifier(specimen: &Specimen<'_>) -> Verdict {
    match specimen.view.extension(oid::SUBJECT_KEY_ID) {
        Some(extension) => {
            value::subject_key_id(extension.value).map(|_| ()).map_err(|error| error.to_string())
        }
        None => Err("subjectKeyIdentifier is missing".to_owned()),
    }
}
