//! Rules for extensions: the check against a profile's table, and rules that several profiles
//! share.

use aws_lc_rs::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::asn1::ObjectIdentifier;

use super::{Finding, Rule, Specimen, Verdict, require};
use crate::x509::{
    element::Element,
    oid,
    view::value::{self, GeneralNameView},
};

/// One row of a profile's table of extensions.
pub(super) struct Row {
    pub(super) oid: ObjectIdentifier,
    pub(super) name: &'static str,
    pub(super) mandatory: bool,
    pub(super) critical: bool,
}

/// A row for a mandatory extension.
pub(super) const fn must(oid: ObjectIdentifier, name: &'static str, critical: bool) -> Row {
    Row { oid, name, mandatory: true, critical }
}

/// A row for an optional extension.
pub(super) const fn may(oid: ObjectIdentifier, name: &'static str, critical: bool) -> Row {
    Row { oid, name, mandatory: false, critical }
}

pub(super) const CRITICAL: bool = true;
pub(super) const NON_CRITICAL: bool = false;

/// Checks the extensions against the rows: none repeated, none missing, none that the table does
/// not have, each with the criticality of its row, each value DER.
pub(super) fn check(table: &[Row], specimen: &Specimen<'_>) -> Result<(), Finding> {
    const CLAUSE: &str = "RFC 5280, 4.2";
    let finding = |rule, detail| Err(Finding { rule, clause: CLAUSE, detail });
    super::run(&[ONCE, PROHIBITED], specimen)?;
    for extension in &specimen.view.extensions {
        let Some(row) = table.iter().find(|row| extension.oid == row.oid) else {
            return finding("extension-unlisted", format!("{} is not listed", extension.oid));
        };
        if extension.critical != row.critical {
            let wanted = if row.critical { "critical" } else { "non-critical" };
            return finding("extension-criticality", format!("{} must be {wanted}", row.name));
        }
        if Element::strict(extension.value).is_none() {
            return finding("extension-der", format!("{} is not DER", row.name));
        }
    }
    match table.iter().find(|row| row.mandatory && specimen.view.extension(row.oid).is_none()) {
        Some(row) => finding("extension-missing", format!("{} is missing", row.name)),
        None => Ok(()),
    }
}

/// RFC 5280, 4.2.
pub(super) const ONCE: Rule = Rule { name: "extension-once", clause: "RFC 5280, 4.2", check: once };
/// B.1.1.
pub(super) const PROHIBITED: Rule =
    Rule { name: "extension-prohibited", clause: "ISO/IEC 18013-5 B.1.1", check: not_prohibited };
/// For our own certificates and for supplied ones.
pub(super) const CRL_DISTRIBUTION_POINT: Rule = Rule {
    name: "crl-distribution-point",
    clause: "RFC 5280, 4.2.1.13",
    check: crl_distribution_point,
};

/// Rules for extensions that all profiles write alike.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "subject-key-identifier",
        clause: "RFC 5280, 4.2.1.2",
        check: subject_key_identifier,
    },
    Rule {
        name: "authority-key-identifier",
        clause: "RFC 5280, 4.2.1.1",
        check: authority_key_identifier,
    },
    CRL_DISTRIBUTION_POINT,
];

fn once(specimen: &Specimen<'_>) -> Verdict {
    match specimen.view.repeated_extension() {
        Some(twice) => Err(format!("extension {} occurs twice", twice.oid)),
        None => Ok(()),
    }
}

fn not_prohibited(specimen: &Specimen<'_>) -> Verdict {
    for (oid, name) in [
        (oid::POLICY_MAPPINGS, "policyMappings"),
        (oid::NAME_CONSTRAINTS, "nameConstraints"),
        (oid::POLICY_CONSTRAINTS, "policyConstraints"),
        (oid::INHIBIT_ANY_POLICY, "inhibitAnyPolicy"),
        (oid::FRESHEST_CRL, "freshestCRL"),
    ] {
        if specimen.view.extension(oid).is_some() {
            return Err(format!("{name} must be absent"));
        }
    }
    Ok(())
}

fn subject_key_identifier(specimen: &Specimen<'_>) -> Verdict {
    let found = match specimen.view.extension(oid::SUBJECT_KEY_ID) {
        Some(extension) => {
            value::subject_key_id(extension.value).map_err(|error| error.to_string())?
        }
        None => return Ok(()),
    };
    require(
        key_id(specimen).is_some_and(|id| id.as_ref() == found),
        "the subjectKeyIdentifier must be the SHA-1 of the public key's bits",
    )
}

/// Method 1: over the BIT STRING without tag, length and count of unused bits.
fn key_id(specimen: &Specimen<'_>) -> Option<Digest> {
    let [_, bits] = Element::known(specimen.view.spki)?.children_exactly()?;
    Some(digest(&SHA1_FOR_LEGACY_USE_ONLY, bits.content.get(1..)?))
}

fn authority_key_identifier(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::AUTHORITY_KEY_ID) else { return Ok(()) };
    let found = value::authority_key_id(extension.value).map_err(|error| error.to_string())?;
    require(
        !found.has_issuer_and_serial(),
        "the authorityKeyIdentifier must have a keyIdentifier only",
    )?;
    let is_expected = |found: &[u8]| match specimen.signer() {
        Some(issuer) => issuer.key_id == found,
        None => key_id(specimen).is_some_and(|id| id.as_ref() == found),
    };
    require(
        found.key_id.is_some_and(is_expected),
        "the authorityKeyIdentifier must be the issuer's subjectKeyIdentifier",
    )
}

fn crl_distribution_point(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::CRL_DISTRIBUTION_POINTS) else {
        return Ok(());
    };
    let points =
        value::crl_distribution_points(extension.value).map_err(|error| error.to_string())?;
    let is_http = |name: &GeneralNameView<'_>| {
        matches!(name, GeneralNameView::Uri(uri)
        if ["http://", "https://"].into_iter().any(|scheme| {
            uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        }))
    };
    match points.as_slice() {
        [point]
            if !point.is_partial
                && !point.is_relative
                && matches!(point.full_name.as_slice(), [name] if is_http(name)) =>
        {
            Ok(())
        }
        _ => Err("there must be one CRL distribution point with one http or https URI".to_owned()),
    }
}
