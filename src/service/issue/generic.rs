//! The door for ordinary certificates (RFC 5280), self-signed or signed by a CA, and the certificate of
//! that CA: given, or looked up. It counts when it is proven.

use super::{
    Keys, Order, refused,
    trust::{Trust, valid_now},
};
use crate::{
    domain::{
        client::KeyPurpose,
        key::PublicKey,
        member::{Member, Message, Part, RequestKey},
        request::{GenericData, GenericIssuance, GenericSigning, KeyDescriptor, Pem, SubjectKey},
        time::Timestamp,
        validity::Validity,
    },
    keys::KeyRole,
    ledger::{CaRole, Reservation},
    service::{
        IssuanceSettings,
        act::{Act, ReadyKey, keys, perform},
        bad_keys,
        error::{Error, Invalid},
        fresh,
        given::{self, GivenSubject},
        idempotency::Answer,
        key_errors,
        known::{Known, Origin},
        proof::{Proven, Prover, narrower},
        roles::{self, name_of},
    },
    x509::{
        Certificate, EncodedName, Issuer, NameAttributes, UnsignedCertificate,
        profile::generic::{self, VALIDITY},
    },
};

const PURPOSE: KeyPurpose = KeyPurpose::Generic;
/// CA certificates over one key that have not ended, at most: of more, not all would be looked at.
const CA_CERTIFICATES_MAX: usize = 256;

pub(super) async fn issue(order: &Order<'_>, request: &GenericIssuance) -> Result<Answer, Error> {
    let data = &request.data;
    match &request.signing {
        GenericSigning::SelfSigned { key } => self_signed(order, data, key).await,
        GenericSigning::CaSigned { issuer_key, issuer_certificate, subject_key } => {
            let certificate = issuer_certificate.as_ref();
            ca_signed(order, data, issuer_key, certificate, subject_key).await
        }
    }
}

async fn self_signed(
    order: &Order<'_>,
    data: &GenericData,
    descriptor: &KeyDescriptor,
) -> Result<Answer, Error> {
    let Order { services, call, .. } = *order;
    // 1. The fields, as far as they need no key.
    given::check_jwk(services, descriptor)?;
    let reservations = order.reservations()?;
    order.check_validity(data.validity, VALIDITY)?;
    bad_keys::refuse_jwk(services, descriptor).await?;

    // 2. The key.
    let role = KeyRole::Signing(PURPOSE);
    let keys = Keys::one(Box::pin(keys::find(services, call, descriptor, role)).await?);

    // 3. Profile, number, signature.
    perform(
        services,
        || Box::pin(prepare_self_signed(order, data, descriptor, &keys, &reservations)),
        |made| order.finish(&keys, &reservations, None, made),
    )
    .await
}

async fn prepare_self_signed(
    order: &Order<'_>,
    data: &GenericData,
    descriptor: &KeyDescriptor,
    keys: &Keys,
    reservations: &[Reservation],
) -> Result<Act<UnsignedCertificate>, Error> {
    let Order { services, call, now, .. } = *order;
    let (key, member) = (keys.signer.public_key(), descriptor.member());
    let refused = |error| refused(error, member, member);
    let known = Known::of_key(services, call, &keys.signer, now).await?;
    refuse_iaca_use(descriptor, &known, keys, now)?;
    order.refuse_taken(reservations).await?;

    order.check_type(member, key)?;
    generic::check_own_key(data, key).map_err(refused)?;
    let mut trust = Trust::new(call, &keys.signer, now);
    trust.records.new_use = keys::new_use(&keys.signer, PURPOSE, &known);
    if data.certificate_authority.is_some() {
        claim_ca(&mut trust, key, member, &known)?;
    }
    let validity = order.validity(data.validity, VALIDITY, None)?;

    let ready = ReadyKey::wait(&keys.signer).await?;
    let options = options(services.settings);
    let plan =
        generic::self_signed(fresh::serial()?, data, validity, key, options).map_err(refused)?;
    order.act(ready, keys, plan, reservations, trust.records)
}

/// What the preparation of a CA-signed certificate goes by.
struct CaSigned<'a> {
    data: &'a GenericData,
    issuer_key: &'a KeyDescriptor,
    /// The CA's certificate, when the request gives it.
    given: Option<Certificate>,
    /// The member that names the certified key.
    subject: Member,
    keys: Keys,
    reservations: Vec<Reservation>,
}

async fn ca_signed(
    order: &Order<'_>,
    data: &GenericData,
    issuer_key: &KeyDescriptor,
    issuer_certificate: Option<&Pem>,
    subject_key: &SubjectKey,
) -> Result<Answer, Error> {
    let Order { services, call, .. } = *order;
    // 1. The fields, as far as they need neither key nor issuer.
    given::check_jwk(services, issuer_key)?;
    given::check_subject_jwk(services, subject_key)?;
    let reservations = order.reservations()?;
    let given = issuer_certificate.map(given::certificate).transpose()?;
    let subject = GivenSubject::read(services, subject_key)?;
    order.check_validity(data.validity, VALIDITY)?;
    let certificate = given.as_ref().map(|given| (given, Member::IssuerCertificate));
    Box::pin(bad_keys::refuse_given(services, issuer_key, &subject, certificate)).await?;

    // 2. The keys.
    let signer = (issuer_key, PURPOSE);
    let (signer, other) = Box::pin(keys::find_two(services, call, signer, &subject)).await?;
    let keys = Keys { signer, other: Some(other) };

    // 3. Issuer, profile, number, signature.
    let subject = subject_key.member();
    let asked = Box::new(CaSigned { data, issuer_key, given, subject, keys, reservations });
    perform(
        services,
        || Box::pin(prepare_ca_signed(order, &asked)),
        |made| order.finish(&asked.keys, &asked.reservations, None, made),
    )
    .await
}

async fn prepare_ca_signed(
    order: &Order<'_>,
    asked: &CaSigned<'_>,
) -> Result<Act<UnsignedCertificate>, Error> {
    let Order { services, call, now, .. } = *order;
    let CaSigned { data, issuer_key: descriptor, keys, subject: member, .. } = asked;
    let (issuer_key, key) = (keys.signer.public_key(), keys.subject().public_key());
    let refused = |error| refused(error, descriptor.member(), *member);
    let known = Known::of_key(services, call, &keys.signer, now).await?;
    // Of the certified key something has to be known only when it is to be a CA's.
    let known_subject = match data.certificate_authority {
        Some(_) => Some(Known::of_key(services, call, keys.subject(), now).await?),
        None => None,
    };
    refuse_iaca_use(descriptor, &known, keys, now)?;
    if let Some(known_subject) = &known_subject {
        roles::refuse_registered_iaca(*member, known_subject, now)?;
    }
    order.refuse_taken(&asked.reservations).await?;

    let proven = match &asked.given {
        Some(given) => prove(order, given, &known).await?,
        None => None,
    };
    order.check_type(descriptor.member(), issuer_key)?;
    order.check_type(*member, key)?;
    generic::check_keys(data, issuer_key, key).map_err(refused)?;
    let mut trust = Trust::new(call, &keys.signer, now);
    trust.records.new_use = keys::new_use(&keys.signer, PURPOSE, &known);
    let issuer = issuer(order, asked, &known, proven.as_ref(), &mut trust)?;
    if let Some(known_subject) = &known_subject {
        claim_ca(&mut trust, key, *member, known_subject)?;
    }
    let validity = order.validity(data.validity, VALIDITY, Some(issuer.validity))?;

    let ready = ReadyKey::wait(&keys.signer).await?;
    let options = options(services.settings);
    let plan = generic::ca_signed(fresh::serial()?, data, validity, &issuer, key, options)
        .map_err(refused)?;
    order.act(ready, keys, plan, &asked.reservations, trust.records)
}

fn options(settings: IssuanceSettings) -> generic::Options {
    generic::Options {
        ca_without_key_cert_sign: settings.allow_ca_without_key_cert_sign,
        reserved_purposes: settings.generic_reserved_ekus,
    }
}

fn refuse_iaca_use(
    descriptor: &KeyDescriptor,
    known: &Known,
    keys: &Keys,
    now: Timestamp,
) -> Result<(), Error> {
    let field = Some(descriptor.key_member());
    roles::refuse_iaca_use(PURPOSE, known, &keys.signer, now)
        .map_err(|message| Error::Forbidden { message: message.into(), field })
}

/// The certified key becomes a CA's, unless it has too many CA certificates.
fn claim_ca(
    trust: &mut Trust<'_>,
    key: &PublicKey,
    member: Member,
    known: &Known,
) -> Result<(), Invalid> {
    let is_issued = |origin| matches!(origin, Origin::Issued(_) | Origin::IssuedToOthers(_));
    let many = known.certificates.iter().filter(|ca| is_issued(ca.origin)).count();
    if many >= CA_CERTIFICATES_MAX {
        let what = format!("the key has {CA_CERTIFICATES_MAX} CA certificates that have not ended");
        return Err(Invalid::at(member, what));
    }
    trust.claim(key, CaRole::Generic, known);
    Ok(())
}

/// Proves the issuer certificate that a caller has given; `None`: it is not proven.
async fn prove(
    order: &Order<'_>,
    given: &Certificate,
    known: &Known,
) -> Result<Option<Proven>, Error> {
    let Order { services, call, now, .. } = *order;
    let mut known = known.certificates.iter().map(|ca| &ca.proven);
    if let Some(proven) = known.find(|known| known.certificate.der() == given.der()) {
        return Ok(Some(proven.clone()));
    }
    let issued = services.ledger.has_issued_ca(given.spki_sha256(), given.sha256());
    let is_issued_here = issued.await.map_err(key_errors::ledger)?;
    let stores = call.stores();
    Prover::new(&services.ledger, &call.target, &stores, now).prove(given, is_issued_here).await
}

/// The issuer: that of the given certificate, or of the newest one over the key. What it relies on is
/// put on record.
fn issuer(
    order: &Order<'_>,
    asked: &CaSigned<'_>,
    known: &Known,
    proven: Option<&Proven>,
    trust: &mut Trust<'_>,
) -> Result<Issuer, Error> {
    let CaSigned { data, issuer_key, given, keys, .. } = asked;
    let now = order.now;
    let key_member = issuer_key.key_member();
    let member = match given {
        Some(_) => Member::IssuerCertificate,
        None => key_member,
    };
    let invalid = |what: Message| Error::Invalid(Invalid::at(member, what));
    let chosen = match given {
        Some(given) => checked(given, proven, keys.signer.public_key(), now).map_err(invalid)?,
        None => {
            newest(known, data, now).ok_or_else(|| match candidates(known).next().is_some() {
                true if data.issuer_name.is_some() => Error::Invalid(Invalid::at(
                    Member::IssuerName,
                    Message::name(Member::IssuerName)
                        .text(" differs from the issuer certificate's subject"),
                )),
                _ => Error::Invalid(Invalid::at(
                    key_member,
                    Message::from(format!(
                        "no CA certificate is known for key {} at {}; give ",
                        name_of(&keys.signer),
                        order.call.target
                    ))
                    .and(Part::Path(Member::IssuerCertificate)),
                )),
            })?
        }
    };
    if !chosen.certificate.may_sign_certificates() {
        return Err(invalid("issuer certificate may not sign certificates".into()));
    }
    let issuer = narrowed(chosen, known, now)
        .map_err(|what| invalid(format!("issuer certificate cannot be used: {what}").into()))?;
    let is_given = given.is_some();
    if is_given {
        let relied = trust.rely_on(&chosen.certificate, CaRole::Generic, known);
        relied.map_err(|what| invalid(what.into()))?;
    }
    if data.certificate_authority.is_some() {
        // What they forbid holds below the new CA too, wherever they are then.
        for above in &chosen.foreign {
            trust.put_used(above, CaRole::Generic);
        }
        let is_stored = known.certificates.iter().any(|ca| {
            matches!(ca.origin, Origin::Stored(_))
                && ca.proven.certificate.der() == chosen.certificate.der()
        });
        if is_stored && !is_given {
            let relied = trust.rely_on(&chosen.certificate, CaRole::Generic, known);
            relied.map_err(|what| invalid(what.into()))?;
            trust.claim(keys.signer.public_key(), CaRole::Generic, known);
        }
    }
    Ok(issuer)
}

/// The given certificate, when it is one of the key, valid now, and proven.
fn checked<'a>(
    given: &Certificate,
    proven: Option<&'a Proven>,
    signer: &PublicKey,
    now: Timestamp,
) -> Result<&'a Proven, Message> {
    if given.public_key().as_ref() != Ok(signer) {
        return Err(Message::name(Member::IssuerCertificate)
            .text(": public key differs from ")
            .and(Part::Name(Member::Key(RequestKey::Issuer))));
    }
    valid_now(given.validity(), now)?;
    if !given.may_sign_certificates() {
        return Err("issuer certificate may not sign certificates".into());
    }
    proven.ok_or_else(|| {
        Message::name(Member::IssuerCertificate).text(
            ": nothing proves it: it was not issued here, and its signature verifies neither under its \
             own key nor under a CA certificate that was issued here or is held in an attached store",
        )
    })
}

/// The CA certificates of a key that may stand behind what it signs.
fn candidates(known: &Known) -> impl Iterator<Item = (&Proven, bool)> {
    known.certificates.iter().filter_map(|ca| match ca.origin {
        Origin::Issued(_) => Some((&ca.proven, true)),
        Origin::Stored(_) => Some((&ca.proven, false)),
        Origin::IssuedToOthers(_) | Origin::Used(_) => None,
    })
}

/// Valid now, with the wanted subject, the latest notBefore; those that were issued here first.
fn newest<'a>(known: &'a Known, data: &GenericData, now: Timestamp) -> Option<&'a Proven> {
    let wanted = data.issuer_name.as_ref().map(NameAttributes::from);
    let named = |subject: &EncodedName| {
        wanted.as_ref().is_none_or(|wanted| *wanted == subject.attributes())
    };
    candidates(known)
        .filter(|(proven, _)| proven.certificate.validity().contains(now))
        .filter(|(proven, _)| named(proven.certificate.subject()))
        .max_by_key(|(proven, is_issued)| (*is_issued, proven.certificate.validity().not_before()))
        .map(|(proven, _)| proven)
}

/// What all certificates of the key with that subject allow together: the narrowest path length and
/// validity, and nothing that one of them forbids.
///
/// # Errors
/// In words: one of them says what is not processed here.
fn narrowed(chosen: &Proven, known: &Known, now: Timestamp) -> Result<Issuer, String> {
    let mut issuer =
        Issuer::of_certificate(&chosen.certificate).map_err(|error| error.to_string())?;
    issuer.path_length = chosen.path_length;
    issuer.restrictions = chosen.restrictions.clone()?;
    let of_subject = |(proven, _): &(&Proven, bool)| {
        let certificate = &proven.certificate;
        certificate.validity().contains(now)
            && certificate.may_sign_certificates()
            && certificate.subject().may_equal(chosen.certificate.subject())
    };
    // Stored ones count only when none was issued here.
    let is_any_issued = candidates(known).filter(of_subject).any(|(_, is_issued)| is_issued);
    for (other, is_issued) in candidates(known).filter(of_subject) {
        if is_issued != is_any_issued {
            continue;
        }
        issuer.path_length = narrower(issuer.path_length, other.path_length);
        issuer.restrictions = issuer.restrictions.and(&other.restrictions.clone()?);
        let (own, others) = (issuer.validity, other.certificate.validity());
        issuer.validity = Validity::new(
            own.not_before().max(others.not_before()),
            own.not_after().min(others.not_after()),
        )
        .map_err(|error| error.to_string())?;
    }
    Ok(issuer)
}
