//! ISO/IEC 18013-5 Table B.1 as held against IACAs that others made.

use super::{Rule, Specimen, Verdict, common, extensions, require};
use crate::x509::{
    algorithm,
    element::{IA5_STRING, PRINTABLE_STRING, UTF8_STRING},
    oid,
    view::value,
};

const CLAUSE: &str = "ISO/IEC 18013-5 Table B.1";
const COMMON_CLAUSE: &str = "ISO/IEC 18013-5 B.1.1";

/// Before those of [`super::iaca`], which hold for every IACA.
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
    Rule { name: "critical-extensions", clause: COMMON_CLAUSE, check: critical_extensions },
    Rule { name: "iaca-extended-key-usage", clause: CLAUSE, check: no_extended_key_usage },
    Rule { name: "subject-key-identifier", clause: CLAUSE, check: subject_key_identifier },
];

pub(super) const SIGNATURE_ALGORITHM: Rule =
    Rule { name: "signature-algorithm", clause: COMMON_CLAUSE, check: signature_algorithm };
pub(super) const NAME_STRINGS: Rule =
    Rule { name: "name-strings", clause: COMMON_CLAUSE, check: name_strings };

fn signature_algorithm(specimen: &Specimen<'_>) -> Verdict {
    require(
        algorithm::read(specimen.view.algorithm).is_ok_and(algorithm::is_ecdsa),
        "the signature algorithm must be ECDSA with SHA-256, SHA-384 or SHA-512",
    )
}

/// B.1.1: PrintableString or UTF8String; IA5String is the type of e-mail and domain components.
fn name_strings(specimen: &Specimen<'_>) -> Verdict {
    require(
        specimen.subject.attributes().iter().all(|attribute| {
            matches!(attribute.value.tag, PRINTABLE_STRING | UTF8_STRING | IA5_STRING)
                && !attribute.value.content.is_empty()
        }),
        "names must be of PrintableStrings and UTF8Strings that are not empty",
    )
}

fn critical_extensions(specimen: &Specimen<'_>) -> Verdict {
    let expected = [oid::BASIC_CONSTRAINTS, oid::KEY_USAGE];
    match specimen
        .view
        .extensions
        .iter()
        .find(|extension| extension.critical && !expected.contains(&extension.oid))
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
