//! The IACA behind a document signer: supplied as a certificate, or described.

use std::borrow::Cow;

use super::valid_now;
use crate::{
    domain::{
        client::Permission,
        member::{Form, Member, Message, Part, RequestKey},
        request::IacaData,
        time::Timestamp,
    },
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
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Issuer, Error> {
    const GIVEN: Member = Member::IacaCertificate;
    let named = |what: Message| Error::Invalid(Invalid::at(GIVEN, what));
    let invalid = |what: String| named(Message::name(GIVEN).text(format!(": {what}")));
    lint::supplied_iaca(certificate)
        .map_err(|finding| invalid(format!("not an IACA: {}", finding.detail)))?;
    if !certificate.is_self_signed() {
        return Err(invalid("self-signature does not verify".to_owned()));
    }
    warn_of_iaca(certificate);
    if certificate.public_key().as_ref() != Ok(keys.signer.public_key()) {
        return Err(named(
            Message::name(GIVEN)
                .text(": public key differs from ")
                .and(Part::Name(Member::Key(RequestKey::IssuingIaca))),
        ));
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
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<(Issuer, Option<IacaPin>), Error> {
    let invalid = |what: Message| Error::Invalid(Invalid::at(Member::DescribedIaca, what));
    let key = keys.signer.public_key();
    let validity = data.validity.resolve(now, iaca::VALIDITY, None).map_err(|error| {
        let member = if error.member() == Member::NotBefore {
            Member::DescribedNotBefore
        } else {
            Member::DescribedNotAfter
        };
        Error::Invalid(Invalid::at(member, error.to_string()))
    })?;
    let described = Issuer::described_iaca(data, validity, key)
        .map_err(|error| invalid(error.to_string().into()))?;

    let mut difference = None;
    for certificate in known.iacas() {
        match difference_to_certificate(data, &described, certificate) {
            None => {
                valid_now(certificate.validity(), now).map_err(|what| invalid(what.into()))?;
                let issuer = Issuer::of_certificate(certificate)
                    .map_err(|error| invalid(error.to_string().into()))?;
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
            Message::path(Member::DescribedIaca)
                .text(" differs from the registered IACA: ")
                .and(member),
        ));
    }
    refuse_pin(services, call, known).map_err(|why| {
        let what = Message::from("no IACA is registered for this key; store it or use ")
            .and(Part::Form(Form::SuppliedIaca));
        invalid(match why {
            Some(why) => what.text(format!(" ({why})")),
            None => what,
        })
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

/// Its names together are no single member.
const SUBJECT: Part = Part::Text(Cow::Borrowed("subject"));

/// The first member in which a description differs from a certificate.
fn difference_to_certificate(
    data: &IacaData,
    described: &Issuer,
    certificate: &Certificate,
) -> Option<Part> {
    let contact = certificate.issuer_alternative_name().unwrap_or_default();
    let given = &data.issuer_alternative_name;
    if described.name.attributes() != certificate.subject().attributes() {
        Some(SUBJECT)
    } else if contact.email.as_deref() != given.email().map(|email| email.as_str())
        || contact.uri.as_deref() != given.uri().map(|uri| uri.as_str())
    {
        Some(Part::Name(Member::IssuerAlternativeName))
    } else if described.validity.not_before() != certificate.validity().not_before() {
        Some(Part::Name(Member::NotBefore))
    } else if described.validity.not_after() != certificate.validity().not_after() {
        Some(Part::Name(Member::NotAfter))
    } else {
        None
    }
}

/// The first member in which two pins differ.
fn difference_to_pin(wanted: &IacaPin, pin: &IacaPin) -> Part {
    if wanted.subject_der != pin.subject_der {
        SUBJECT
    } else if wanted.email != pin.email || wanted.uri != pin.uri {
        Part::Name(Member::IssuerAlternativeName)
    } else if wanted.not_before != pin.not_before {
        Part::Name(Member::NotBefore)
    } else {
        Part::Name(Member::NotAfter)
    }
}
