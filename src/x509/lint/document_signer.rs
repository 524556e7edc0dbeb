//! ISO/IEC 18013-5 Table B.3: the document signer.

use super::{
    Rule, Specimen, Verdict,
    extensions::{CRITICAL, NON_CRITICAL, Row, must},
    require,
};
use crate::{
    domain::{key::KeyType, request::KeyUsage, validity::DAY_SECONDS},
    x509::{oid, view::value},
};

const CLAUSE: &str = "ISO/IEC 18013-5 Table B.3";
const COMMON_CLAUSE: &str = "ISO/IEC 18013-5 B.1.1";

/// There is no row for basicConstraints: it is left out.
pub(super) const TABLE: &[Row] = &[
    must(oid::KEY_USAGE, "keyUsage", CRITICAL),
    must(oid::EXTENDED_KEY_USAGE, "extKeyUsage", CRITICAL),
    must(oid::SUBJECT_KEY_ID, "subjectKeyIdentifier", NON_CRITICAL),
    must(oid::AUTHORITY_KEY_ID, "authorityKeyIdentifier", NON_CRITICAL),
    must(oid::ISSUER_ALT_NAME, "issuerAltName", NON_CRITICAL),
    must(oid::CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints", NON_CRITICAL),
];

pub(super) const RULES: &[Rule] = &[
    Rule { name: "ds-issuer", clause: CLAUSE, check: issuer },
    Rule { name: "ds-country", clause: COMMON_CLAUSE, check: country },
    Rule { name: "ds-state", clause: COMMON_CLAUSE, check: state },
    Rule { name: "ds-key", clause: CLAUSE, check: key },
    Rule { name: "ds-key-differs", clause: CLAUSE, check: key_differs },
    Rule { name: "ds-span", clause: CLAUSE, check: span },
    Rule { name: "ds-key-usage", clause: CLAUSE, check: key_usage },
    Rule { name: "ds-extended-key-usage", clause: CLAUSE, check: extended_key_usage },
    Rule { name: "ds-contact", clause: CLAUSE, check: contact },
];

fn issuer(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.signer().is_some_and(|iaca| iaca.key.key_type().is_ec()),
        "an IACA with a key on P-256, P-384 or P-521 must sign",
    )
}

fn country(specimen: &Specimen<'_>) -> Verdict {
    let country = specimen.subject.text(oid::COUNTRY);
    require(
        country.is_some() && country == specimen.issuer.text(oid::COUNTRY),
        "countryName must be the IACA's",
    )
}

fn state(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.subject.text(oid::STATE_OR_PROVINCE)
            == specimen.issuer.text(oid::STATE_OR_PROVINCE),
        "stateOrProvinceName must be the IACA's",
    )
}

fn key(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen
            .subject_key
            .as_ref()
            .is_some_and(|key| key.key_type().is_ec() || key.key_type() == KeyType::Ed25519),
        "the key must be on P-256, P-384 or P-521, or of Ed25519",
    )
}

fn key_differs(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.subject_key.as_ref() != specimen.signing_key(),
        "the key must differ from the IACA's",
    )
}

fn span(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.span_seconds() <= 457 * DAY_SECONDS,
        "a document signer is valid for at most 457 days",
    )
}

fn key_usage(specimen: &Specimen<'_>) -> Verdict {
    let extension = specimen.view.extension(oid::KEY_USAGE);
    require(
        extension
            .and_then(|extension| value::key_usage(extension.value).ok())
            .is_some_and(|bits| bits == [KeyUsage::DigitalSignature]),
        "keyUsage must be exactly digitalSignature",
    )
}

fn extended_key_usage(specimen: &Specimen<'_>) -> Verdict {
    let extension = specimen.view.extension(oid::EXTENDED_KEY_USAGE);
    require(
        extension
            .and_then(|extension| value::extended_key_usage(extension.value).ok())
            .is_some_and(|purposes| purposes == [oid::MDL_DOCUMENT_SIGNER]),
        "extKeyUsage must be exactly 1.0.18013.5.1.2",
    )
}

fn contact(specimen: &Specimen<'_>) -> Verdict {
    let found = specimen.view.extension(oid::ISSUER_ALT_NAME).map(|extension| extension.value);
    let expected = specimen.signer().and_then(|iaca| iaca.issuer_alternative_name.as_deref());
    require(found.is_some() && found == expected, "issuerAltName must be the octets of the IACA's")
}
