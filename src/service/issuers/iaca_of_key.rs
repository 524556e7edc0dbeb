//! The IACA behind a document signer: supplied as a certificate, or described.

use super::valid_now;
use crate::{
    domain::{client::Permission, request::IacaData, time::Timestamp},
    ledger::IacaPin,
    service::{
        Call, Services,
        error::{Error, Invalid},
        known::Known,
        signing::{SigningKeys, warn_of_iaca},
    },
    x509::{Certificate, Issuer, lint, profile::iaca},
};

/// The IACA that the caller has supplied.
pub(super) fn supplied(
    certificate: &Certificate,
    field: &str,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Issuer, Error> {
    let invalid = |what: String| {
        Error::Invalid(Invalid::at(field, format!("iacaPemEncodedCertificate: {what}")))
    };
    lint::supplied_iaca(certificate)
        .map_err(|finding| invalid(format!("not an IACA: {}", finding.detail)))?;
    if !certificate.is_self_signed() {
        return Err(invalid("self-signature does not verify".to_owned()));
    }
    warn_of_iaca(certificate);
    if certificate.public_key().as_ref() != Ok(keys.signer.public_key()) {
        return Err(invalid("public key differs from iacaKeyDesc".to_owned()));
    }
    valid_now(certificate.validity(), now).map_err(invalid)?;
    Issuer::of_certificate(certificate).map_err(|error| invalid(error.to_string()))
}

/// A described IACA is one of those registered for its key; the first description of an
/// unregistered one is pinned.
pub(super) fn described(
    services: &Services,
    call: &Call,
    known: &Known,
    data: &IacaData,
    field: &str,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<(Issuer, Option<IacaPin>), Error> {
    let invalid = |member: Option<&str>, what: String| {
        let field = member.map_or_else(|| field.to_owned(), |member| format!("{field}/{member}"));
        Error::Invalid(Invalid::at(field, what))
    };
    let key = keys.signer.public_key();
    let validity = data
        .validity
        .resolve(now, iaca::VALIDITY, None)
        .map_err(|error| invalid(Some(error.member()), error.to_string()))?;
    let described = Issuer::described_iaca(data, validity, key)
        .map_err(|error| invalid(None, error.to_string()))?;

    let mut difference = None;
    for certificate in known.iacas() {
        match difference_to_certificate(data, &described, certificate) {
            None => {
                valid_now(certificate.validity(), now).map_err(|what| invalid(None, what))?;
                let issuer = Issuer::of_certificate(certificate)
                    .map_err(|error| invalid(None, error.to_string()))?;
                return Ok((issuer, None));
            }
            Some(member) => difference = Some(member),
        }
    }
    let wanted = pin_of(data, &described, keys, now);
    for pin in &known.pins {
        if pin.describes_same_as(&wanted) {
            return Ok((described, None));
        }
        difference = difference.or(Some(difference_to_pin(&wanted, pin)));
    }
    if let Some(member) = difference {
        return Err(invalid(
            None,
            format!("iacaSigner.certificateData differs from the registered IACA: {member}"),
        ));
    }
    refuse_pin(services, call, known).map_err(|why| {
        let what = "no IACA is registered for this key; store it or use iaca-pem-cert-descriptor";
        invalid(None, why.map_or_else(|| what.to_owned(), |why| format!("{what} ({why})")))
    })?;
    Ok((described, Some(wanted)))
}

/// Whether a description may not become the IACA of its key, and why.
fn refuse_pin(services: &Services, call: &Call, known: &Known) -> Result<(), Option<String>> {
    if !services.settings.pin_described_iaca {
        return Err(None);
    }
    if !call.grants.may(Permission::IssueIaca, &call.target) {
        return Err(Some(format!("to describe a new one needs {}", Permission::IssueIaca)));
    }
    if !known.certificates.is_empty() {
        return Err(Some("the key has a CA certificate that is no IACA".to_owned()));
    }
    match known.uses.first() {
        Some(purpose) => Err(Some(format!("the key has signed for {purpose}"))),
        None => Ok(()),
    }
}

fn pin_of(data: &IacaData, described: &Issuer, keys: &SigningKeys, now: Timestamp) -> IacaPin {
    let contact = &data.issuer_alternative_name;
    IacaPin {
        spki_sha256: described.key.spki_sha256(),
        subject_der: described.name.as_der().to_vec(),
        email: contact.email().map(|email| email.as_str().to_owned()),
        uri: contact.uri().map(|uri| uri.as_str().to_owned()),
        not_before: described.validity.not_before(),
        not_after: described.validity.not_after(),
        key_path: keys.signer.path().cloned(),
        pinned_at: now,
    }
}

/// The first member in which a description differs from a certificate.
fn difference_to_certificate(
    data: &IacaData,
    described: &Issuer,
    certificate: &Certificate,
) -> Option<&'static str> {
    let contact = certificate.issuer_alternative_name().unwrap_or_default();
    let given = &data.issuer_alternative_name;
    if described.name.attributes() != certificate.subject().attributes() {
        Some("subject")
    } else if contact.email.as_deref() != given.email().map(|email| email.as_str())
        || contact.uri.as_deref() != given.uri().map(|uri| uri.as_str())
    {
        Some("issuerAlternativeNameConf")
    } else if described.validity.not_before() != certificate.validity().not_before() {
        Some("notBefore")
    } else if described.validity.not_after() != certificate.validity().not_after() {
        Some("notAfter")
    } else {
        None
    }
}

/// The first member in which two pins differ.
fn difference_to_pin(wanted: &IacaPin, pin: &IacaPin) -> &'static str {
    if wanted.subject_der != pin.subject_der {
        "subject"
    } else if wanted.email != pin.email || wanted.uri != pin.uri {
        "issuerAlternativeNameConf"
    } else if wanted.not_before != pin.not_before {
        "notBefore"
    } else {
        "notAfter"
    }
}
