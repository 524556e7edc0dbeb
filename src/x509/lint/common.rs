//! Rules for every profile.

use der::asn1::ObjectIdentifier;

use super::{Rule, SignedBy, Specimen, Verdict, require};
use crate::{
    domain::name::Country,
    x509::{
        algorithm,
        element::{NULL, PRINTABLE_STRING, UTF8_STRING},
        oid,
        view::TimeView,
    },
};

pub(super) const RULES: &[Rule] = &[
    VERSION,
    SERIAL,
    Rule { name: "serial-entropy", clause: "ISO/IEC 18013-5 B.1.1", check: serial_entropy },
    Rule { name: "signature-algorithm", clause: "RFC 5280, 4.1.1.2", check: signature_algorithm },
    Rule { name: "issuer-octets", clause: "RFC 5280, 4.1.2.4", check: issuer_octets },
    Rule { name: "subject-layout", clause: "RFC 5280, 4.1.2.6", check: subject_layout },
    Rule { name: "subject-strings", clause: "RFC 5280, appendix A.1", check: subject_strings },
    VALIDITY_ORDER,
    TIME_TYPES,
    Rule { name: "validity-nests", clause: "RFC 5280, 6.1", check: validity_nests },
    UNIQUE_IDS,
    Rule { name: "subject-key", clause: "RFC 5480, 2; RFC 3279, 2.3.1", check: subject_key },
];

pub(super) const VERSION: Rule =
    Rule { name: "version-3", clause: "RFC 5280, 4.1.2.1", check: version };
pub(super) const SERIAL: Rule =
    Rule { name: "serial-positive", clause: "RFC 5280, 4.1.2.2", check: serial_positive };
pub(super) const VALIDITY_ORDER: Rule =
    Rule { name: "validity-order", clause: "RFC 5280, 4.1.2.5", check: validity_order };
pub(super) const TIME_TYPES: Rule =
    Rule { name: "time-types", clause: "RFC 5280, 4.1.2.5", check: time_types };
pub(super) const UNIQUE_IDS: Rule =
    Rule { name: "no-unique-ids", clause: "RFC 5280, 4.1.2.8", check: no_unique_ids };

fn version(specimen: &Specimen<'_>) -> Verdict {
    require(specimen.view.version == 2, "version must be 3")
}

fn serial_positive(specimen: &Specimen<'_>) -> Verdict {
    let serial = specimen.view.serial;
    require(
        serial.len() <= 20
            && serial.first().is_some_and(|first| first & 0x80 == 0)
            && serial.iter().any(|octet| *octet != 0),
        "the serial number must be positive and of at most 20 octets",
    )
}

fn serial_entropy(specimen: &Specimen<'_>) -> Verdict {
    require(specimen.view.serial.len() >= 16, "the serial number must have 16 octets")
}

fn signature_algorithm(specimen: &Specimen<'_>) -> Verdict {
    let expected = specimen.signing_key().map(|key| key.key_type().signature_algorithm());
    let found = algorithm::read(specimen.view.algorithm).ok();
    require(
        found.is_some() && found == expected,
        "the signature algorithm must be the signing key's",
    )?;
    // RFC 4055, 5: NULL for RSA. The parser has checked that ECDSA has no parameters.
    require(
        found.is_some_and(algorithm::is_ecdsa) || specimen.view.algorithm.ends_with(&[NULL, 0]),
        "it must be ECDSA, or RSA with NULL for its parameters",
    )
}

fn issuer_octets(specimen: &Specimen<'_>) -> Verdict {
    let expected = match specimen.signed_by {
        SignedBy::Itself => specimen.view.subject,
        SignedBy::Issuer(issuer) => issuer.name.as_der(),
    };
    require(
        specimen.view.issuer == expected,
        "the issuer must be the octets of the signer's subject",
    )
}

/// The attributes of our names in our order, with their upper bounds in characters.
const ATTRIBUTES: [(ObjectIdentifier, usize); 6] = [
    (oid::COUNTRY, 2),
    (oid::COMMON_NAME, 64),
    (oid::STATE_OR_PROVINCE, 128),
    (oid::ORGANIZATION, 64),
    (oid::LOCALITY, 128),
    (oid::ORGANIZATIONAL_UNIT, 64),
];

fn subject_layout(specimen: &Specimen<'_>) -> Verdict {
    let attributes = specimen.subject.attributes();
    require(
        attributes.iter().all(|attribute| attribute.starts_rdn),
        "every RDN must have one attribute",
    )?;
    // Each attribute must come after the one before it in the list.
    let mut places = ATTRIBUTES.iter();
    require(
        attributes.iter().all(|attribute| places.any(|(kind, _)| attribute.kind == *kind)),
        "the subject must be of C, CN, ST, O, L, OU, once each and in this order",
    )?;
    require(
        specimen.subject.attribute(oid::COMMON_NAME).is_some(),
        "the subject must have a commonName",
    )
}

fn subject_strings(specimen: &Specimen<'_>) -> Verdict {
    for attribute in specimen.subject.attributes() {
        let text = attribute.text().unwrap_or_default();
        let bound = ATTRIBUTES
            .iter()
            .find(|(kind, _)| attribute.kind == *kind)
            .map_or(0, |(_, bound)| *bound);
        if attribute.kind == oid::COUNTRY {
            require(
                attribute.value.tag == PRINTABLE_STRING && Country::parse(text).is_ok(),
                "countryName must be an upper-case ISO 3166-1 alpha-2 code in a PrintableString",
            )?;
        } else {
            require(
                attribute.value.tag == UTF8_STRING,
                "attributes other than countryName must be UTF8Strings",
            )?;
        }
        let characters = text.chars().count();
        require(
            (1..=bound).contains(&characters),
            "an attribute is empty or over its upper bound",
        )?;
    }
    Ok(())
}

fn validity_order(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.view.not_before.moment < specimen.view.not_after.moment,
        "notAfter must be later than notBefore",
    )
}

/// 2050-01-01T00:00:00Z, in seconds since 1970.
const START_OF_2050: i64 = 2_524_608_000;

fn time_types(specimen: &Specimen<'_>) -> Verdict {
    let fits = |time: TimeView| time.is_utc_time == (time.moment.unix() < START_OF_2050);
    require(
        fits(specimen.view.not_before) && fits(specimen.view.not_after),
        "times must be UTCTime through 2049 and GeneralizedTime from 2050",
    )
}

fn validity_nests(specimen: &Specimen<'_>) -> Verdict {
    let (from, to) = (specimen.view.not_before.moment, specimen.view.not_after.moment);
    require(
        specimen
            .signer()
            .is_none_or(|issuer| issuer.validity.contains(from) && issuer.validity.contains(to)),
        "the validity must lie within the issuer's",
    )
}

fn no_unique_ids(specimen: &Specimen<'_>) -> Verdict {
    require(!specimen.view.has_unique_ids, "unique identifiers must be absent")
}

fn subject_key(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.subject_key.is_some(),
        "the public key must be on P-256, P-384 or P-521 by name and uncompressed, or RSA",
    )
}
