//! The CA certificate behind a generic certificate: given, or looked up. It counts when it is proven.

use super::{KnownOfBoth, OnRecord, name_of, used, valid_now};
use crate::{
    domain::{
        member::{Member, Message, Part, RequestKey},
        path::ResourcePath,
        request::{GenericData, GenericIssuance, GenericSigning, Issuance},
        time::Timestamp,
        validity::Validity,
    },
    ledger::CaRole,
    service::{
        Call, Services,
        error::{Error, Invalid},
        key_errors,
        known::{Known, Origin},
        proof::{Proven, Prover, narrower},
        signing::{SigningKeys, Supplied},
    },
    x509::{Certificate, EncodedName, Issuer, NameAttributes},
};

/// Proves the issuer certificate that a caller has given; `None`: there is none, or it is not proven.
///
/// # Errors
/// [`Error::Unavailable`] without the ledger.
pub(in crate::service) async fn prove_given(
    services: &Services,
    call: &Call,
    issuance: &Issuance,
    supplied: &Supplied,
    known: &Known,
    stores: &[ResourcePath],
    now: Timestamp,
) -> Result<Option<Proven>, Error> {
    let (Issuance::Generic(_), Some(given)) = (issuance, &supplied.issuer) else { return Ok(None) };
    let known = known.certificates.iter().map(|ca| &ca.proven);
    if let Some(proven) = known.into_iter().find(|known| known.certificate.der() == given.der()) {
        return Ok(Some(proven.clone()));
    }
    let issued = services.ledger.has_issued_ca(given.spki_sha256(), given.sha256());
    let is_issued_here = issued.await.map_err(key_errors::ledger)?;
    Prover::new(&services.ledger, &call.target, stores, now).prove(given, is_issued_here).await
}

/// The issuer of a generic certificate; `None` for a self-signed one. What is relied on is noted.
pub(super) fn issuer(
    call: &Call,
    request: &GenericIssuance,
    supplied: &Supplied,
    known: &KnownOfBoth<'_>,
    keys: &SigningKeys,
    now: Timestamp,
    on_record: &mut OnRecord,
) -> Result<Option<Issuer>, Error> {
    let GenericSigning::CaSigned { issuer_key, .. } = &request.signing else { return Ok(None) };
    let key_member = issuer_key.key_member();
    let place = match supplied.issuer {
        Some(_) => Member::IssuerCertificate,
        None => key_member,
    };
    let blamed = |what: Message| Error::Invalid(Invalid::at(place, what));
    let chosen = match &supplied.issuer {
        Some(given) => checked(given, known.given, keys, now).map_err(blamed)?,
        None => newest(known.signer, &request.data, now).ok_or_else(|| {
            let wanted = name_of(&keys.signer);
            match candidates(known.signer).next().is_some() {
                true if request.data.issuer_name.is_some() => Error::Invalid(Invalid::at(
                    Member::IssuerName,
                    Message::name(Member::IssuerName)
                        .text(" differs from the issuer certificate's subject"),
                )),
                _ => Error::Invalid(Invalid::at(
                    key_member,
                    Message::from(format!(
                        "no CA certificate is known for key {wanted} at {}; give ",
                        call.target
                    ))
                    .and(Part::Path(Member::IssuerCertificate)),
                )),
            }
        })?,
    };
    if !chosen.certificate.may_sign_certificates() {
        return Err(blamed("issuer certificate may not sign certificates".into()));
    }
    let issuer = narrowed(chosen, known.signer, now)
        .map_err(|what| blamed(format!("issuer certificate cannot be used: {what}").into()))?;
    if supplied.issuer.is_some() {
        let is_new = on_record.rely_on(&chosen.certificate, false, known.signer, call, now);
        if is_new.map_err(|what| blamed(what.into()))? {
            on_record.claim(keys.signer.public_key(), CaRole::Generic, known.signer);
        }
    }
    if request.data.certificate_authority.is_some() {
        // What they forbid holds below the new CA too, wherever they are then.
        let foreign = chosen.foreign.iter();
        on_record.used.extend(foreign.map(|above| used(above, false, &call.target, now)));
        let is_stored = known.signer.certificates.iter().any(|ca| {
            matches!(ca.origin, Origin::Stored(_))
                && ca.proven.certificate.der() == chosen.certificate.der()
        });
        if is_stored && supplied.issuer.is_none() {
            on_record
                .rely_on(&chosen.certificate, false, known.signer, call, now)
                .map_err(|what| blamed(what.into()))?;
            on_record.claim(keys.signer.public_key(), CaRole::Generic, known.signer);
        }
    }
    Ok(Some(issuer))
}

/// The given certificate, when it is one of the key, valid now, and proven.
fn checked<'a>(
    given: &Certificate,
    proven: Option<&'a Proven>,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<&'a Proven, Message> {
    if given.public_key().as_ref() != Ok(keys.signer.public_key()) {
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
