//! The door for document signers (ISO/IEC 18013-5 Table B.3), and the IACA that signs one: supplied as
//! a certificate, or described.

use std::borrow::Cow;

use super::{
    Keys, Order, refused,
    trust::{Trust, valid_now},
};
use crate::{
    domain::{
        client::{KeyPurpose, Permission},
        key::PublicKey,
        member::{Form, Member, Message, Part, RequestKey},
        request::{DocumentSignerIssuance, IacaCertificate, IacaData},
        time::Timestamp,
    },
    keys::Key,
    ledger::{CaRole, IacaPin, Reservation},
    service::{
        Call, IssuanceSettings,
        act::{Act, ReadyKey, keys, perform},
        bad_keys,
        error::{Error, Invalid},
        fresh,
        given::{self, GivenSubject},
        idempotency::Answer,
        known::Known,
        roles,
    },
    x509::{
        Certificate, Issuer, UnsignedCertificate, lint,
        profile::{
            document_signer::{self, VALIDITY},
            iaca,
        },
    },
};

/// The IACA that signs, as the request gives it.
enum GivenIaca<'a> {
    Supplied(Box<Certificate>),
    Described(&'a IacaData),
}

pub(super) async fn issue(
    order: &Order<'_>,
    request: &DocumentSignerIssuance,
) -> Result<Answer, Error> {
    let Order { services, call, .. } = *order;
    // 1. The fields, as far as they need neither key nor issuer.
    given::check_jwk(services, &request.iaca.key)?;
    given::check_subject_jwk(services, &request.subject_key)?;
    let reservations = order.reservations()?;
    let iaca = match &request.iaca.certificate {
        IacaCertificate::Supplied(pem) => GivenIaca::Supplied(Box::new(given::certificate(pem)?)),
        IacaCertificate::Described(data) => GivenIaca::Described(data),
    };
    let subject = GivenSubject::read(services, &request.subject_key)?;
    order.check_validity(request.data.validity, VALIDITY)?;
    let supplied = match &iaca {
        GivenIaca::Supplied(certificate) => Some((&**certificate, Member::IacaCertificate)),
        GivenIaca::Described(_) => None,
    };
    Box::pin(bad_keys::refuse_given(services, &request.iaca.key, &subject, supplied)).await?;

    // 2. The keys.
    let signer = (&request.iaca.key, KeyPurpose::DocumentSigner);
    let (signer, other) = Box::pin(keys::find_two(services, call, signer, &subject)).await?;
    let keys = Keys { signer, other: Some(other) };

    // 3. IACA, profile, number, signature.
    perform(
        services,
        || Box::pin(prepare(order, request, &iaca, &keys, &reservations)),
        |made| order.finish(&keys, &reservations, None, made),
    )
    .await
}

async fn prepare(
    order: &Order<'_>,
    request: &DocumentSignerIssuance,
    iaca: &GivenIaca<'_>,
    keys: &Keys,
    reservations: &[Reservation],
) -> Result<Act<UnsignedCertificate>, Error> {
    let Order { services, call, now, .. } = *order;
    let (iaca_key, key) = (keys.signer.public_key(), keys.subject().public_key());
    let (iaca_member, member) = (request.iaca.key.member(), request.subject_key.member());
    let refused = |error| refused(error, iaca_member, member);
    let refuse_other_ca =
        |known: &Known| roles::refuse_other_ca(&request.iaca.key, &keys.signer, known, now);
    let known = Known::of_key(services, call, &keys.signer, now).await?;
    // Whether a supplied certificate is an IACA's is said first, below.
    if let GivenIaca::Described(_) = iaca {
        refuse_other_ca(&known)?;
    }
    order.refuse_taken(reservations).await?;

    order.check_type(iaca_member, iaca_key)?;
    order.check_type(member, key)?;
    document_signer::check_keys(iaca_key, key).map_err(refused)?;
    let mut trust = Trust::new(call, &keys.signer, now);
    let issuer = match iaca {
        GivenIaca::Supplied(certificate) => {
            let issuer = supplied(certificate, iaca_key, now)?;
            refuse_other_ca(&known)?;
            trust
                .rely_on(certificate, CaRole::Iaca, &known)
                .map_err(|what| Invalid::at(Member::IacaCertificate, what))?;
            issuer
        }
        GivenIaca::Described(data) => {
            let (issuer, pin) =
                described(services.settings, call, &known, data, &keys.signer, now)?;
            if let Some(pin) = pin {
                trust.pin(pin, &issuer, &known);
            }
            issuer
        }
    };
    let validity = order.validity(request.data.validity, VALIDITY, Some(issuer.validity))?;

    let ready = ReadyKey::wait(&keys.signer).await?;
    let plan = document_signer::plan(fresh::serial()?, &request.data, validity, &issuer, key)
        .map_err(refused)?;
    order.act(ready, keys, plan, reservations, trust.records)
}

/// The IACA that the caller has supplied.
fn supplied(
    certificate: &Certificate,
    iaca_key: &PublicKey,
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
    given::warn_of_iaca(certificate);
    if certificate.public_key().as_ref() != Ok(iaca_key) {
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
fn described(
    settings: IssuanceSettings,
    call: &Call,
    known: &Known,
    data: &IacaData,
    signer: &Key,
    now: Timestamp,
) -> Result<(Issuer, Option<IacaPin>), Error> {
    let invalid = |what: Message| Error::Invalid(Invalid::at(Member::DescribedIaca, what));
    let validity = data.validity.resolve(now, iaca::VALIDITY, None).map_err(|error| {
        let member = if error.member() == Member::NotBefore {
            Member::DescribedNotBefore
        } else {
            Member::DescribedNotAfter
        };
        Error::Invalid(Invalid::at(member, error.to_string()))
    })?;
    let described = Issuer::described_iaca(data, validity, signer.public_key())
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
    let wanted = pin_of(data, &described, signer, now);
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
    refuse_pin(settings, call, known).map_err(|why| {
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
fn refuse_pin(
    settings: IssuanceSettings,
    call: &Call,
    known: &Known,
) -> Result<(), Option<String>> {
    if !settings.pin_described_iaca {
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

fn pin_of(data: &IacaData, described: &Issuer, signer: &Key, now: Timestamp) -> IacaPin {
    let contact = &data.issuer_alternative_name;
    IacaPin {
        spki_sha256: described.key.spki_sha256(),
        subject_der: described.name.as_der().to_vec(),
        email: contact.email().map(|email| email.as_str().to_owned()),
        uri: contact.uri().map(|uri| uri.as_str().to_owned()),
        not_before: described.validity.not_before(),
        not_after: described.validity.not_after(),
        key_path: signer.path().cloned(),
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
