//! Rules for the subject of IACAs that others issued (ISO/IEC 18013-5 Table B.1 and B.1.1; RFC
//! 5280, appendix A.1).

use der::asn1::ObjectIdentifier;

use super::super::{Specimen, Verdict, require};
use crate::{
    domain::text::check_characters,
    x509::{
        element::{IA5_STRING, PRINTABLE_STRING, UTF8_STRING},
        name::{Attribute, NameView},
        oid,
    },
};

/// Limits of a known attribute: its name, its upper bound in characters, how often it may occur,
/// its string types.
struct Kind {
    oid: ObjectIdentifier,
    name: &'static str,
    characters_max: usize,
    times_max: usize,
    types: &'static [u8],
}

const fn kind(
    oid: ObjectIdentifier,
    name: &'static str,
    characters_max: usize,
    times_max: usize,
    types: &'static [u8],
) -> Kind {
    Kind { oid, name, characters_max, times_max, types }
}

/// DirectoryString, restricted by B.1.1.
const DIRECTORY: &[u8] = &[PRINTABLE_STRING, UTF8_STRING];
const PRINTABLE: &[u8] = &[PRINTABLE_STRING];
const IA5: &[u8] = &[IA5_STRING];
const ANY_TIMES: usize = usize::MAX;

const KINDS: [Kind; 8] = [
    // How often it occurs, and its type, are rules for every IACA.
    kind(oid::COUNTRY, "countryName", 2, ANY_TIMES, DIRECTORY),
    kind(oid::COMMON_NAME, "commonName", 64, 1, DIRECTORY),
    kind(oid::STATE_OR_PROVINCE, "stateOrProvinceName", 128, 1, DIRECTORY),
    kind(oid::ORGANIZATION, "organizationName", 64, 1, DIRECTORY),
    kind(oid::SERIAL_NUMBER, "serialNumber", 64, 1, PRINTABLE),
    kind(oid::LOCALITY, "localityName", 128, ANY_TIMES, DIRECTORY),
    kind(oid::ORGANIZATIONAL_UNIT, "organizationalUnitName", 64, ANY_TIMES, DIRECTORY),
    kind(oid::EMAIL_ADDRESS, "emailAddress", 255, ANY_TIMES, IA5),
];

/// B.1.1: no TeletexString, BMPString, UniversalString or other obsolete types.
const STRING_TYPES: &[u8] = &[PRINTABLE_STRING, UTF8_STRING, IA5_STRING];

/// Types of attributes, and their values.
pub(super) fn strings(specimen: &Specimen<'_>) -> Verdict {
    values("subject", &specimen.subject)
}

/// Checks the values of a name; `place` says whose.
pub(super) fn values(place: &str, name: &NameView<'_>) -> Verdict {
    name.attributes().iter().try_for_each(|attribute| value(place, attribute))
}

fn value(place: &str, attribute: &Attribute<'_>) -> Verdict {
    let known = KINDS.iter().find(|kind| attribute.kind == kind.oid);
    let name = known.map_or_else(|| attribute.kind.to_string(), |kind| kind.name.to_owned());
    let types = known.map_or(STRING_TYPES, |kind| kind.types);
    require(
        types.contains(&attribute.value.tag),
        &format!("{place}: {name} is of a string type that is not allowed"),
    )?;
    let text = attribute.text().unwrap_or_default();
    require(!text.trim().is_empty(), &format!("{place}: {name} is blank"))?;
    check_characters(text).map_err(|error| format!("{place}: {name}: {error}"))?;
    match known.map(|kind| kind.characters_max) {
        Some(bound) if text.chars().count() > bound => {
            Err(format!("{place}: {name} has more than {bound} characters"))
        }
        Some(_) | None => Ok(()),
    }
}

/// One attribute per RDN, and each identifying attribute at most once.
pub(super) fn layout(specimen: &Specimen<'_>) -> Verdict {
    let attributes = specimen.subject.attributes();
    require(
        attributes.iter().all(|attribute| attribute.starts_rdn),
        "subject: every RDN must have one attribute",
    )?;
    for kind in &KINDS {
        let times = attributes.iter().filter(|attribute| attribute.kind == kind.oid).count();
        require(times <= kind.times_max, &format!("subject: {} occurs twice", kind.name))?;
    }
    Ok(())
}

/// A warning for attributes that Table B.1 does not have.
pub(super) fn further(specimen: &Specimen<'_>) -> Verdict {
    const OF_THE_TABLE: usize = 5;
    let table = &KINDS[..OF_THE_TABLE];
    let beside = |attribute: &&Attribute<'_>| table.iter().all(|kind| attribute.kind != kind.oid);
    match specimen.subject.attributes().iter().find(beside) {
        Some(attribute) => Err(format!("subject: {} is not in the table", attribute.kind)),
        None => Ok(()),
    }
}
