//! The corridor: every certificate, of whatever profile, is issued by [`issue`].

use tokio::time::Instant;

use super::{
    Call, Services, bad_keys,
    error::{DuplicateKind, Error, Invalid},
    idempotency::Answer,
    issuers::{self, KnownOfBoth},
    key_errors,
    known::Known,
    recording::{Begun, Recording, Unbegun},
    signing::{self, SigningKeys, Supplied},
};
use crate::{
    domain::{
        client::KeyPurpose,
        member::{Member, Message},
        path::{PathElement, ResourcePath},
        request::{Issuance, IssuanceRequest},
        time::Timestamp,
        validity::{RequestedValidity, ValidityError, ValidityRule},
    },
    ledger::{BeginError, Reservation},
    x509::{
        SignedCertificate, UnsignedCertificate,
        profile::{document_signer, generic, iaca},
    },
};

/// A certificate that verifies. Nobody sees it before it is recorded.
#[derive(Debug)]
pub struct Issued<'a> {
    /// The certificate.
    pub certificate: &'a SignedCertificate,
    /// One full path for each attached store, in order of attachment.
    pub stored_certificate_ids: &'a [ResourcePath],
    /// Effective path length of a CA.
    pub path_length: Option<u8>,
}

/// Writes the body of the answer; it is kept with the certificate for those who ask again.
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
    // 1. The rules of the fields, as far as they need neither key nor issuer.
    signing::check_jwks(services, &request.issuance)?;
    let stores = call.stores();
    let stored_id = stored_id(request, &stores)?;
    let supplied = signing::read_supplied(services, &request.issuance)?;
    check_requested_validity(&request.issuance, now)?;
    Box::pin(bad_keys::refuse_given(services, &request.issuance, &supplied)).await?;

    // 2. The keys: allowed for this service and purpose, there, and the ones that were pinned.
    let keys = signing::resolve(services, call, &request.issuance, &supplied).await?;
    Box::pin(bad_keys::refuse_named(services, &request.issuance, &keys)).await?;

    // 3. to 6. What is known of the keys, ids in the stores, the profile's and the issuer's rules;
    //    whether somebody could sign; plan, encode, lint; record the intent. Boxed: a request that waits
    //    for its signature needs no room for them.
    let decide = Decide { services, call, request, supplied: &supplied, keys: &keys, now };
    let (recording, begun, deadline) = Box::pin(decide.begin(&stores, &stored_id)).await?;
    let Begun { unsigned, facts, intent } = begun;

    // 7. Sign, and verify in software.
    let signed = match sign(call, &keys, unsigned, deadline).await {
        Ok(signed) => signed,
        Err(error) => return Err(signing::abort(services, call, intent, error, now).await),
    };

    // 8. Record the outcome. Then, and only then, hand it out.
    let issued = Issued {
        certificate: &signed,
        stored_certificate_ids: &recording.stored_paths,
        path_length: facts.path_length,
    };
    let body = match render(request, &issued) {
        Ok(body) => body,
        Err(error) => {
            let error = Error::Internal(format!("the answer could not be written: {error}"));
            return Err(signing::abort(services, call, intent, error, now).await);
        }
    };
    let serial = signed.serial().to_string();
    let kept = call.keyed.as_ref().map(|keyed| keyed.keep(&body, Some(serial.clone()), now));
    match Box::pin(recording.complete(intent, &signed, facts, kept)).await {
        Ok(audit_index) => Ok(Answer { body, serial: Some(serial), audit_index, replayed: false }),
        Err(error) => {
            tracing::error!(%error, serial, "outcome not recorded");
            let told = Error::Unavailable {
                message: "storing failed; no certificate was issued".to_owned(),
                retry_after_seconds: STORING_RETRY_SECONDS,
            };
            Err(signing::abort(services, call, intent, told, now).await)
        }
    }
}

/// Everything that an issuance is decided on but what the ledger knows.
struct Decide<'a> {
    services: &'a Services,
    call: &'a Call,
    request: &'a IssuanceRequest,
    supplied: &'a Supplied,
    keys: &'a SigningKeys,
    now: Timestamp,
}

/// Two requests may take different roles for one key at the same time: the second waits for the first
/// to end, and is decided again. So often, at most, and after so long.
const DECISIONS_MAX: u32 = 60;
const DECIDE_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(100);

impl<'a> Decide<'a> {
    /// Decides, and makes the intent durable.
    ///
    /// # Errors
    /// [`Error`]; nothing is recorded then.
    async fn begin(
        &self,
        stores: &[ResourcePath],
        stored_id: &PathElement,
    ) -> Result<(Box<Recording<'a>>, Begun, Instant), Error> {
        // An id that was drawn here is taken by nobody; if it were, recording the intent would say so.
        let reservations = reservations(stores, stored_id);
        for decided in 0..DECISIONS_MAX {
            if decided > 0 {
                tokio::time::sleep(DECIDE_AGAIN_AFTER).await;
            }
            let recording = Box::new(self.decide(stores, &reservations).await?);
            // What is refused for want of a signer leaves nothing behind.
            let deadline = self.keys.signer.until_up().await.map_err(key_errors::signing)?;
            match recording.begin().await {
                Ok(begun) => return Ok((recording, begun, deadline)),
                Err(Unbegun::DecideAgain) => {}
                Err(Unbegun::Failed(error)) => return Err(error),
            }
        }
        Err(signing::not_begun(BeginError::KeyClaimed))
    }

    async fn decide(
        &self,
        stores: &[ResourcePath],
        reservations: &[Reservation],
    ) -> Result<Recording<'a>, Error> {
        let Self { services, call, request, supplied, keys, now } = *self;
        let issuance = &request.issuance;
        // What is on record of the keys.
        let signer = (keys.signer.public_key(), keys.signer.path());
        let signer = Known::load(services, call, signer, stores, now).await?;
        let is_other_ca = is_ca(issuance) && !keys.is_self_signed();
        let subject = match is_other_ca {
            true => {
                let subject = (keys.subject(), keys.subject_path());
                Some(Known::load(services, call, subject, stores, now).await?)
            }
            false => None,
        };
        let mut known = KnownOfBoth {
            signer: &signer,
            subject: subject.as_deref().or(is_ca(issuance).then_some(&*signer)),
            given: None,
        };
        issuers::refuse_role(issuance, &known, keys, now)?;

        // The ids in the stores.
        if request.stored_certificate_id.is_some() {
            refuse_taken(services, reservations).await?;
        }

        // The profile's and the issuer's rules.
        let given =
            issuers::prove_given(services, call, issuance, supplied, &signer, stores, now).await?;
        known.given = given.as_ref();
        let (ruling, on_record) =
            issuers::rule(services, call, issuance, supplied, keys, &known, now)?;
        Ok(Recording {
            services,
            call,
            issuance,
            keys,
            ruling,
            on_record,
            stored_paths: (reservations.iter())
                .map(|wanted| wanted.store.child(&wanted.id))
                .collect(),
            reservations: reservations.to_vec(),
            now,
        })
    }
}

/// Whether a generic CA is to be certified.
fn is_ca(issuance: &Issuance) -> bool {
    match issuance {
        Issuance::Generic(generic) => generic.data.certificate_authority.is_some(),
        Issuance::Iaca(_) | Issuance::DocumentSigner(_) => false,
    }
}

/// The purpose that the signing key of an issuance needs.
pub(super) fn purpose(issuance: &Issuance) -> KeyPurpose {
    match issuance {
        Issuance::Iaca(_) => KeyPurpose::Iaca,
        Issuance::DocumentSigner(_) => KeyPurpose::DocumentSigner,
        Issuance::Generic(_) => KeyPurpose::Generic,
    }
}

pub(super) fn validity_rule(issuance: &Issuance) -> (RequestedValidity, ValidityRule) {
    match issuance {
        Issuance::Iaca(iaca) => (iaca.data.validity, iaca::VALIDITY),
        Issuance::DocumentSigner(ds) => (ds.data.validity, document_signer::VALIDITY),
        Issuance::Generic(generic) => (generic.data.validity, generic::VALIDITY),
    }
}

pub(super) fn invalid_validity(error: &ValidityError) -> Invalid {
    Invalid::at(error.member(), error.to_string())
}

const STORING_RETRY_SECONDS: u64 = 5;

/// Without an attached store the member is ignored, whatever it holds.
fn stored_id(request: &IssuanceRequest, stores: &[ResourcePath]) -> Result<PathElement, Error> {
    let given = request.stored_certificate_id.as_deref().filter(|_| !stores.is_empty());
    let Some(text) = given else { return signing::random_id() };
    let parsed = PathElement::parse(text).map_err(|error| {
        let wrong = text.chars().find(|c| PathElement::parse(c.encode_utf8(&mut [0; 4])).is_err());
        Invalid::at(
            Member::StoredCertificateId,
            Message::name(Member::StoredCertificateId).text(match wrong {
                Some(wrong) => format!(": {wrong:?} is not allowed"),
                None => format!(": {error}"),
            }),
        )
    });
    Ok(parsed?)
}

/// With an issuer, the defaults change and with them the period; the given values do not.
fn check_requested_validity(issuance: &Issuance, now: Timestamp) -> Result<(), Invalid> {
    let (requested, rule) = validity_rule(issuance);
    match requested.resolve(now, rule, None) {
        // A default start of now is clipped to the issuer's later.
        Err(ValidityError::TooLong(_)) if requested.not_before.is_none() => Ok(()),
        Err(error) => Err(invalid_validity(&error)),
        Ok(_) => Ok(()),
    }
}

fn reservations(stores: &[ResourcePath], id: &PathElement) -> Vec<Reservation> {
    stores.iter().map(|store| Reservation { store: store.clone(), id: id.clone() }).collect()
}

async fn refuse_taken(services: &Services, reservations: &[Reservation]) -> Result<(), Error> {
    if reservations.is_empty() {
        return Ok(());
    }
    let paths = reservations.iter().map(|wanted| (wanted.store.clone(), wanted.id.clone()));
    match services.ledger.taken(paths.collect()).await.map_err(key_errors::ledger)? {
        None => Ok(()),
        Some(target) => Err(taken(target)),
    }
}

pub(super) fn taken(target: ResourcePath) -> Error {
    Error::Duplicate {
        target,
        kind: DuplicateKind::StoredCertificate,
        field: Some(Member::StoredCertificateId),
    }
}

async fn sign(
    call: &Call,
    keys: &SigningKeys,
    unsigned: UnsignedCertificate,
    deadline: Instant,
) -> Result<SignedCertificate, Error> {
    let signed = keys.signer.sign(&call.client, unsigned.tbs_der(), deadline).await;
    let signature = signed.map_err(key_errors::signing)?;
    unsigned.assemble(signature).map_err(|error| signing::bad_signature(&keys.signer, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what a call returns, without a call.
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
