//! Certificates. Each profile has a door of its own, which decides everything from top to bottom; all
//! end in `service::act::perform`.

mod document_signer;
mod generic;
mod iaca;
mod record;
mod trust;

use record::Detail;

use super::{
    Call, Services,
    act::{self, Act, Finished, Made, ReadyKey, Records},
    actor::Actor,
    error::{Error, Invalid},
    fresh,
    idempotency::Answer,
    key_errors,
};
use crate::{
    audit::EntryKind,
    domain::{
        key::{PublicKey, sha256},
        member::{Member, Message},
        path::{PathElement, ResourcePath},
        request::{Issuance, IssuanceRequest, VicalMetadata},
        time::Timestamp,
        validity::{RequestedValidity, Validity, ValidityError, ValidityRule},
    },
    keys::Key,
    ledger::{Product, Reservation},
    x509::{
        SignedCertificate, UnsignedCertificate,
        plan::TbsPlan,
        profile::{Blame, ProfileError},
    },
};

/// A certificate that verifies. Nobody gets it before it is recorded.
#[derive(Debug)]
pub struct Issued<'a> {
    /// The certificate.
    pub certificate: &'a SignedCertificate,
    /// One full path for each attached store, in order of attachment.
    pub stored_certificate_ids: &'a [ResourcePath],
    /// Effective path length of a CA.
    pub path_length: Option<u8>,
}

/// Writes the body of the answer; it is kept with the certificate for the same Idempotency-Key.
pub type Render = fn(&IssuanceRequest, &Issued<'_>) -> serde_json::Result<Vec<u8>>;

/// Issues one certificate.
///
/// Everything that can be refused is refused before the HSM is asked, and nothing is signed that
/// is not already in the ledger.
///
/// # Errors
/// [`Error`] says what the caller is told. After an error nothing of the request remains but its
/// audit entries.
pub async fn issue(
    services: &Services,
    call: &Call,
    request: &IssuanceRequest,
    render: Render,
    now: Timestamp,
) -> Result<Answer, Error> {
    let order = Order { services, call, request, render, now };
    match &request.issuance {
        Issuance::Iaca(asked) => iaca::issue(&order, asked).await,
        Issuance::DocumentSigner(asked) => document_signer::issue(&order, asked).await,
        Issuance::Generic(asked) => generic::issue(&order, asked).await,
    }
}

/// A request for a certificate: what the doors have in common.
struct Order<'a> {
    services: &'a Services,
    call: &'a Call,
    request: &'a IssuanceRequest,
    render: Render,
    now: Timestamp,
}

/// The keys of one certificate.
struct Keys {
    /// Signs.
    signer: Key,
    /// Is certified; `None` when it is the signer.
    other: Option<Key>,
}

impl Keys {
    /// A key that certifies itself.
    fn one(signer: Key) -> Self {
        Self { signer, other: None }
    }

    /// Is certified.
    fn subject(&self) -> &Key {
        self.other.as_ref().unwrap_or(&self.signer)
    }

    /// Whether the certified key signs.
    fn is_self_signed(&self) -> bool {
        self.other.is_none()
    }
}

impl Order<'_> {
    /// The id in all attached stores, one reservation for each. Without an attached store the member is
    /// ignored, whatever it holds.
    fn reservations(&self) -> Result<Vec<Reservation>, Error> {
        let stores = self.call.stores();
        let given = self.request.stored_certificate_id.as_deref().filter(|_| !stores.is_empty());
        let id = given.map_or_else(|| Ok(fresh::id()), parse_stored_id)?;
        Ok(stores.into_iter().map(|store| Reservation { store, id: id.clone() }).collect())
    }

    /// Refuses an id that is taken. One that was drawn here is not looked up: recording the intent
    /// would tell.
    async fn refuse_taken(&self, reservations: &[Reservation]) -> Result<(), Error> {
        if self.request.stored_certificate_id.is_none() || reservations.is_empty() {
            return Ok(());
        }
        let ids = reservations.iter().map(|wanted| (wanted.store.clone(), wanted.id.clone()));
        let taken = self.services.ledger.taken(ids.collect()).await.map_err(key_errors::ledger)?;
        taken.map_or(Ok(()), |target| Err(act::stored_id_taken(target)))
    }

    /// Checks the given ends of the validity, as far as that needs no issuer. With an issuer, the
    /// defaults change and with them the period.
    fn check_validity(
        &self,
        requested: RequestedValidity,
        rule: ValidityRule,
    ) -> Result<(), Invalid> {
        match requested.resolve(self.now, rule, None) {
            // A default start of now is clipped to the issuer's later.
            Err(ValidityError::TooLong(_)) if requested.not_before.is_none() => Ok(()),
            Err(error) => Err(invalid_validity(&error)),
            Ok(_) => Ok(()),
        }
    }

    /// The effective validity; `issuer` is that of the issuer's certificate.
    fn validity(
        &self,
        requested: RequestedValidity,
        rule: ValidityRule,
        issuer: Option<Validity>,
    ) -> Result<Validity, Invalid> {
        requested.resolve(self.now, rule, issuer).map_err(|error| invalid_validity(&error))
    }

    /// Refuses a key of a type that the operator does not allow.
    fn check_type(&self, member: Member, key: &PublicKey) -> Result<(), Invalid> {
        let allowed = self.services.settings.key_policy.check(key.key_type());
        allowed.map_err(|error| Invalid::at(member, Message::from(error.to_string()).at(member)))
    }

    /// Encodes and lints a planned certificate: the act that signs it.
    fn act(
        &self,
        key: ReadyKey,
        keys: &Keys,
        plan: TbsPlan,
        reservations: &[Reservation],
        records: Records,
    ) -> Result<Act<UnsignedCertificate>, Error> {
        let (purpose, serial) = (plan.profile(), plan.serial());
        let unsigned = UnsignedCertificate::encode(plan)
            .map_err(|error| Error::Internal(format!("our own certificate: {error}")))?;
        let (ids, tbs_sha256) = (paths(reservations), sha256(unsigned.tbs_der()));
        let detail = Detail::new(purpose, serial, keys, &ids, &tbs_sha256);
        Ok(Act {
            actor: Actor::Client(self.call.clone()),
            service: self.call.target.clone(),
            purpose,
            key,
            audit: self.call.entry(EntryKind::Intent, detail, self.now),
            unsigned,
            records: Records {
                serial: Some(serial),
                subject: Some(keys.subject().clone()),
                reservations: reservations.to_vec(),
                ..records
            },
            now: self.now,
        })
    }

    /// The outcome of a certificate. `metadata` makes the copies in the stores VICAL entries.
    fn finish(
        &self,
        keys: &Keys,
        reservations: &[Reservation],
        metadata: Option<&VicalMetadata>,
        Made { signed, tbs_sha256, .. }: &Made<SignedCertificate>,
    ) -> Result<Finished, Error> {
        let ids = paths(reservations);
        let issued = Issued {
            certificate: signed,
            stored_certificate_ids: &ids,
            path_length: signed.path_length(),
        };
        let body = (self.render)(self.request, &issued).map_err(|error| act::unwritable(&error))?;
        let kept = record::kept(signed, keys, reservations, metadata, self.now);
        let detail = Detail::new(signed.profile(), signed.serial(), keys, &ids, tbs_sha256)
            .of_issued(&kept.sha256);
        Ok(Finished {
            audit: self.call.entry(EntryKind::Issued, detail, self.now),
            product: Product::Certificate(Box::new(kept)),
            body,
            serial: Some(signed.serial().to_string()),
        })
    }
}

/// The full path of each copy, in order of attachment.
fn paths(reservations: &[Reservation]) -> Vec<ResourcePath> {
    reservations.iter().map(|wanted| wanted.store.child(&wanted.id)).collect()
}

fn parse_stored_id(text: &str) -> Result<PathElement, Invalid> {
    PathElement::parse(text).map_err(|error| {
        let wrong = text.chars().find(|c| PathElement::parse(c.encode_utf8(&mut [0; 4])).is_err());
        Invalid::at(
            Member::StoredCertificateId,
            Message::name(Member::StoredCertificateId).text(match wrong {
                Some(wrong) => format!(": {wrong:?} is not allowed"),
                None => format!(": {error}"),
            }),
        )
    })
}

fn invalid_validity(error: &ValidityError) -> Invalid {
    Invalid::at(error.member(), error.to_string())
}

/// A broken rule of the profile, at the member that names what broke it.
fn refused(error: ProfileError, signer: Member, subject: Member) -> Error {
    let key = match error.blame {
        Blame::Member(member) => return Error::Invalid(Invalid::at(member, error.message)),
        Blame::Issuer => return Error::Invalid(Invalid::body(error.message)),
        Blame::SigningKey => signer,
        Blame::SubjectKey => subject,
    };
    Error::Invalid(Invalid::at(key, error.message.at(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of a future, without making one.
    fn size<'a, F>(
        _: impl FnOnce(&'a Services, &'a Call, &'a IssuanceRequest, Render, Timestamp) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_issuance_that_waits_takes_little_room() {
        assert!(size(issue) <= 2_560, "{}", size(issue));
    }
}
