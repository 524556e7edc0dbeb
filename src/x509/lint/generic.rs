//! RFC 5280: ordinary certificates.

use super::{
    Rule, Specimen, Verdict,
    extensions::{CRITICAL, NON_CRITICAL, Row, may, must},
    require,
};
use crate::{
    domain::{
        key::{KeyType, PublicKey},
        request::KeyUsage,
    },
    x509::{
        oid,
        view::value::{self, GeneralNameView},
    },
};

/// basicConstraints are critical on an end entity too.
pub(super) const TABLE: &[Row] = &[
    must(oid::BASIC_CONSTRAINTS, "basicConstraints", CRITICAL),
    may(oid::KEY_USAGE, "keyUsage", CRITICAL),
    may(oid::EXTENDED_KEY_USAGE, "extKeyUsage", NON_CRITICAL),
    must(oid::SUBJECT_KEY_ID, "subjectKeyIdentifier", NON_CRITICAL),
    must(oid::AUTHORITY_KEY_ID, "authorityKeyIdentifier", NON_CRITICAL),
    may(oid::SUBJECT_ALT_NAME, "subjectAltName", NON_CRITICAL),
    may(oid::CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints", NON_CRITICAL),
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "generic-basic-constraints",
        clause: "RFC 5280, 4.2.1.9",
        check: basic_constraints,
    },
    Rule { name: "generic-path-length", clause: "RFC 5280, 4.2.1.9", check: path_length },
    Rule { name: "generic-key-usage", clause: "RFC 5280, 4.2.1.3", check: key_usage },
    Rule { name: "generic-key-cert-sign", clause: "RFC 5280, 4.2.1.9", check: key_cert_sign },
    Rule {
        name: "generic-extended-key-usage",
        clause: "RFC 5280, 4.2.1.12",
        check: extended_key_usage,
    },
    Rule {
        name: "generic-alternative-names",
        clause: "RFC 5280, 4.2.1.6",
        check: alternative_names,
    },
    Rule { name: "generic-rsa-2048", clause: "NIST SP 800-57", check: rsa_2048_is_no_ca },
    Rule { name: "generic-ed25519", clause: "RFC 8410, 5", check: ed25519_only_signs },
    Rule {
        name: "generic-key-usage-of-type",
        clause: "RFC 8813, 3; RFC 3279, 2.3.1",
        check: key_usage_of_type,
    },
];

fn basic_constraints(specimen: &Specimen<'_>) -> Verdict {
    certificate_authority(specimen).map(|_| ())
}

fn path_length(specimen: &Specimen<'_>) -> Verdict {
    let own = certificate_authority(specimen)?;
    let limit = specimen.signer().and_then(|issuer| issuer.path_length);
    match (own, limit) {
        (None, _) | (Some(_), None) => Ok(()),
        (Some(length), Some(limit)) => require(
            length.is_some_and(|length| length < limit),
            "the path length must be smaller than the issuer's",
        ),
    }
}

fn key_usage(specimen: &Specimen<'_>) -> Verdict {
    let bits = usages(specimen)?;
    let has = |usage| bits.contains(&usage);
    require(
        has(KeyUsage::KeyAgreement)
            || !(has(KeyUsage::EncipherOnly) || has(KeyUsage::DecipherOnly)),
        "encipherOnly and decipherOnly need keyAgreement",
    )?;
    require(
        !(has(KeyUsage::EncipherOnly) && has(KeyUsage::DecipherOnly)),
        "encipherOnly and decipherOnly exclude each other",
    )
}

fn key_usage_of_type(specimen: &Specimen<'_>) -> Verdict {
    let Some(key_type) = specimen.subject_key.as_ref().map(PublicKey::key_type) else {
        return Ok(());
    };
    match usages(specimen)?.into_iter().find(|usage| usage.is_against(key_type)) {
        Some(usage) => Err(format!("keyUsage {} is not for {key_type}", usage.name())),
        None => Ok(()),
    }
}

fn key_cert_sign(specimen: &Specimen<'_>) -> Verdict {
    let signs = usages(specimen)?.contains(&KeyUsage::KeyCertSign);
    match certificate_authority(specimen)? {
        None => require(!signs, "keyCertSign needs a CA"),
        Some(_) if signs => Ok(()),
        Some(Some(_)) => Err("a path length needs keyCertSign".to_owned()),
        Some(None) => require(specimen.ca_without_key_cert_sign, "a CA needs keyCertSign"),
    }
}

fn extended_key_usage(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::EXTENDED_KEY_USAGE) else { return Ok(()) };
    let purposes = value::extended_key_usage(extension.value).map_err(|error| error.to_string())?;
    require(
        !purposes.iter().any(|purpose| *purpose == oid::MDL_DOCUMENT_SIGNER),
        "1.0.18013.5.1.2 is for document signers only",
    )
}

fn alternative_names(specimen: &Specimen<'_>) -> Verdict {
    let Some(extension) = specimen.view.extension(oid::SUBJECT_ALT_NAME) else { return Ok(()) };
    let names = value::general_names("subjectAltName", extension.value)
        .map_err(|error| error.to_string())?;
    let is_good = |name: &GeneralNameView<'_>| match name {
        GeneralNameView::Ip(octets) => matches!(octets.len(), 4 | 16),
        GeneralNameView::Uri(uri) => uri.contains(':') && !uri.contains(' '),
        GeneralNameView::Email(address) => address.contains('@') && !address.contains(' '),
        GeneralNameView::Dns(name) => !name.ends_with('.') && !name.contains([' ', ':', '/', '@']),
        GeneralNameView::Directory(_)
        | GeneralNameView::RegisteredId(_)
        | GeneralNameView::OtherName(_)
        | GeneralNameView::Other => false,
    };
    require(names.iter().all(is_good), "a subject alternative name has another form than its type")
}

fn rsa_2048_is_no_ca(specimen: &Specimen<'_>) -> Verdict {
    let is_short =
        |key: Option<&PublicKey>| key.is_some_and(|key| key.key_type() == KeyType::Rsa2048);
    let ca_key_is_short =
        certificate_authority(specimen)?.is_some() && is_short(specimen.subject_key.as_ref());
    let signer_is_short = is_short(specimen.signer().map(|issuer| &issuer.key));
    require(!ca_key_is_short && !signer_is_short, "RSA-2048 may not sign as CA")
}

fn ed25519_only_signs(specimen: &Specimen<'_>) -> Verdict {
    let is_edwards =
        specimen.subject_key.as_ref().is_some_and(|key| key.key_type() == KeyType::Ed25519);
    if !is_edwards {
        return Ok(());
    }
    require(certificate_authority(specimen)?.is_none(), "a key of Ed25519 is no CA's")?;
    let signs = |usage: &KeyUsage| {
        matches!(usage, KeyUsage::DigitalSignature | KeyUsage::NonRepudiation | KeyUsage::CrlSign)
    };
    require(usages(specimen)?.iter().all(signs), "a key of Ed25519 does nothing but sign")
}

/// `None` for an end entity, the path length inside for a CA.
fn certificate_authority(specimen: &Specimen<'_>) -> Result<Option<Option<u8>>, String> {
    match specimen.view.extension(oid::BASIC_CONSTRAINTS) {
        Some(extension) => {
            value::basic_constraints(extension.value).map_err(|error| error.to_string())
        }
        None => Ok(None),
    }
}

fn usages(specimen: &Specimen<'_>) -> Result<Vec<KeyUsage>, String> {
    match specimen.view.extension(oid::KEY_USAGE) {
        Some(extension) => value::key_usage(extension.value).map_err(|error| error.to_string()),
        None => Ok(Vec::new()),
    }
}
