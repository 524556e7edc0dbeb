//! What certificates and certification requests share on their way: keys, pins, audit entries, and
//! the way back when something fails.

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use serde::Serialize;
use uuid::Uuid;

use super::{
    Call, Services,
    error::{Error, Invalid},
    issue::purpose,
    key_errors,
    known::Known,
};
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::{
        client::KeyPurpose,
        key::PublicKey,
        member::{Member, Message},
        path::{KeyPath, PathElement},
        request::{
            GenericSigning, IacaCertificate, Issuance, KeyDescriptor, KeySource, Pem, SubjectKey,
        },
        time::Timestamp,
    },
    keys::{Admitted, Key, KeyRole, PinnedKey},
    ledger::{BeginError, IntentId, KeyPin, Pinning},
    x509::{Certificate, csr::CertificationRequest, lint},
};

/// The keys of one issuance.
pub(super) struct SigningKeys {
    /// Signs.
    pub(super) signer: Key,
    /// Is certified; `None` when it is the signer.
    subject: Option<Key>,
}

impl SigningKeys {
    /// The certified key.
    pub(super) fn subject(&self) -> &PublicKey {
        self.subject.as_ref().unwrap_or(&self.signer).public_key()
    }

    /// Its path, when it is on a token.
    pub(super) fn subject_path(&self) -> Option<&KeyPath> {
        self.subject.as_ref().unwrap_or(&self.signer).path()
    }

    /// Whether the certified key signs.
    pub(super) fn is_self_signed(&self) -> bool {
        self.subject.is_none()
    }

    /// Whether a private key came with the request.
    pub(super) fn any_dev(&self) -> bool {
        self.signer.is_dev() || self.subject.as_ref().is_some_and(Key::is_dev)
    }
}

/// What a request brings along in PEM, read.
pub(super) struct Supplied {
    /// The IACA of a document signer, or the CA's certificate of a generic one.
    pub(super) issuer: Option<Certificate>,
    /// The public key of a CSR.
    csr_key: Option<PublicKey>,
}

impl Supplied {
    /// The keys in the PEM members that were read, each with its member.
    pub(super) fn keys<'a>(&self, issuance: &'a Issuance) -> Vec<(&'a Pem, PublicKey)> {
        let (issuer, subject) = given(issuance);
        let issuer_key = self.issuer.as_ref().and_then(|issuer| issuer.public_key().ok());
        let subject = match subject {
            Some(SubjectKey::Csr(pem)) => Some(pem),
            Some(SubjectKey::Descriptor(_)) | None => None,
        };
        let given = [issuer.zip(issuer_key), subject.zip(self.csr_key.clone())];
        given.into_iter().flatten().collect()
    }
}

/// The issuer certificate that a request may bring, and the key that another certifies.
fn given(issuance: &Issuance) -> (Option<&Pem>, Option<&SubjectKey>) {
    match issuance {
        Issuance::Iaca(_) => (None, None),
        Issuance::DocumentSigner(ds) => match &ds.iaca.certificate {
            IacaCertificate::Supplied(pem) => (Some(pem), Some(&ds.subject_key)),
            IacaCertificate::Described { .. } => (None, Some(&ds.subject_key)),
        },
        Issuance::Generic(generic) => match &generic.signing {
            GenericSigning::SelfSigned { .. } => (None, None),
            GenericSigning::CaSigned { issuer_certificate, subject_key, .. } => {
                (issuer_certificate.as_ref(), Some(subject_key))
            }
        },
    }
}

/// Reads the PEM members of a request. A CSR's signature is verified.
pub(super) fn read_supplied(services: &Services, issuance: &Issuance) -> Result<Supplied, Invalid> {
    let (issuer, subject) = given(issuance);
    let issuer = issuer
        .map(|pem| Certificate::from_pem(&pem.text).map_err(|error| unreadable(pem, &error)))
        .transpose()?;
    let csr_key = match subject {
        Some(SubjectKey::Csr(pem)) => {
            let request = CertificationRequest::from_pem(&pem.text)
                .map_err(|error| unreadable(pem, &error))?;
            let key_type = request.public_key().key_type();
            let allowed = services.settings.key_policy.check(key_type);
            allowed.map_err(|error| unreadable(pem, &error))?;
            Some(request.public_key().clone())
        }
        Some(SubjectKey::Descriptor(_)) | None => None,
    };
    Ok(Supplied { issuer, csr_key })
}

/// Tells the log what is unusual about an IACA that others made.
pub(super) fn warn_of_iaca(certificate: &Certificate) {
    for finding in lint::supplied_iaca_warnings(certificate) {
        tracing::warn!(iaca = %certificate.subject(), "a supplied IACA is taken, though: {finding}");
    }
}

pub(super) fn unreadable(pem: &Pem, error: &dyn std::fmt::Display) -> Invalid {
    Invalid::at(pem.member, Message::name(pem.member).text(format!(": {error}")))
}

/// Finds the keys. Every check that needs no token comes first, for all of them.
pub(super) async fn resolve(
    services: &Services,
    call: &Call,
    issuance: &Issuance,
    supplied: &Supplied,
) -> Result<SigningKeys, Error> {
    let (signer, subject) = descriptors(issuance);
    let (admitted_signer, admitted_subject) =
        admit_both(services, call, (signer, KeyRole::Signing(purpose(issuance))), subject)?;
    let signer = find(services, signer, admitted_signer).await?;
    let subject = match (subject, admitted_subject, &supplied.csr_key) {
        (Some(descriptor), Some(admitted), _) => Some(find(services, descriptor, admitted).await?),
        (_, _, Some(key)) => Some(Key::Public(key.clone())),
        _ => None,
    };
    Ok(SigningKeys { signer, subject })
}

/// All key descriptors of an issuance: that of the key that signs first.
pub(super) fn descriptors_of(issuance: &Issuance) -> impl Iterator<Item = &KeyDescriptor> {
    let (signer, subject) = descriptors(issuance);
    [Some(signer), subject].into_iter().flatten()
}

/// The descriptor of the key that signs, and of the one that is certified when that is another.
fn descriptors(issuance: &Issuance) -> (&KeyDescriptor, Option<&KeyDescriptor>) {
    match issuance {
        Issuance::Iaca(iaca) => (&iaca.key, None),
        Issuance::DocumentSigner(ds) => (&ds.iaca.key, described(&ds.subject_key)),
        Issuance::Generic(generic) => match &generic.signing {
            GenericSigning::SelfSigned { key } => (key, None),
            GenericSigning::CaSigned { issuer_key, subject_key, .. } => {
                (issuer_key, described(subject_key))
            }
        },
    }
}

fn described(subject_key: &SubjectKey) -> Option<&KeyDescriptor> {
    match subject_key {
        SubjectKey::Descriptor(descriptor) => Some(descriptor),
        SubjectKey::Csr(_) => None,
    }
}

/// The request member that names the certified key.
pub(super) fn subject_member(issuance: &Issuance) -> Member {
    match issuance {
        Issuance::Iaca(iaca) => iaca.key.member(),
        Issuance::DocumentSigner(ds) => ds.subject_key.member(),
        Issuance::Generic(generic) => match &generic.signing {
            GenericSigning::SelfSigned { key } => key.member(),
            GenericSigning::CaSigned { subject_key, .. } => subject_key.member(),
        },
    }
}

/// The descriptor of the signing key.
pub(super) fn signer_descriptor(issuance: &Issuance) -> &KeyDescriptor {
    descriptors(issuance).0
}

/// Refuses public JWKs that are of no use here.
///
/// # Errors
/// [`Invalid`] at the JWK.
pub(super) fn check_jwks(services: &Services, issuance: &Issuance) -> Result<(), Invalid> {
    descriptors_of(issuance).try_for_each(|descriptor| check_jwk(services, descriptor))
}

/// Refuses a public JWK of a type that is not allowed.
///
/// # Errors
/// [`Invalid`] at the JWK.
pub(super) fn check_jwk(services: &Services, descriptor: &KeyDescriptor) -> Result<(), Invalid> {
    match &descriptor.source {
        KeySource::PublicJwk { key, member } => {
            let allowed = services.settings.key_policy.check(key.key_type());
            allowed.map_err(|error| Invalid::at(*member, format!("jwk: {error}")))
        }
        KeySource::PrivateJwk { .. } | KeySource::Kms(_) => Ok(()),
    }
}

/// The check that fails first is that of the contract's order, not that of the first descriptor.
fn admit_both(
    services: &Services,
    call: &Call,
    (signer, role): (&KeyDescriptor, KeyRole),
    subject: Option<&KeyDescriptor>,
) -> Result<(Admitted, Option<Admitted>), Error> {
    let admit = |descriptor: &KeyDescriptor, role| {
        services.keyring.admit(descriptor, &call.tree, &call.target, role)
    };
    let admitted_subject = match subject {
        Some(descriptor) => {
            admit(descriptor, KeyRole::Subject).map(Some).map_err(|refusal| (descriptor, refusal))
        }
        None => Ok(None),
    };
    let refused = |(descriptor, refusal)| key_errors::refused(descriptor, refusal);
    match (admit(signer, role), admitted_subject) {
        (Ok(signer), Ok(subject)) => Ok((signer, subject)),
        (Err(first), Err(second)) if second.1.precedence() < first.precedence() => {
            Err(refused(second))
        }
        (Err(first), _) => Err(refused((signer, first))),
        (Ok(_), Err(second)) => Err(refused(second)),
    }
}

pub(super) fn admit(
    services: &Services,
    call: &Call,
    descriptor: &KeyDescriptor,
    role: KeyRole,
) -> Result<Admitted, Error> {
    services
        .keyring
        .admit(descriptor, &call.tree, &call.target, role)
        .map_err(|refusal| key_errors::refused(descriptor, refusal))
}

pub(super) async fn find(
    services: &Services,
    descriptor: &KeyDescriptor,
    admitted: Admitted,
) -> Result<Key, Error> {
    services
        .keyring
        .find(admitted)
        .await
        .map_err(|refusal| key_errors::refused(descriptor, refusal))
}

/// The pins of the keys on tokens that are used for the first time.
pub(super) fn new_pins(services: &Services, keys: &SigningKeys, now: Timestamp) -> Vec<KeyPin> {
    [Some(&keys.signer), keys.subject.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|key| new_pin(services, key, now))
        .collect()
}

pub(super) fn new_pin(services: &Services, key: &Key, now: Timestamp) -> Option<KeyPin> {
    let Key::Hosted(hosted) = key else { return None };
    services.keyring.pin_of(&hosted.path).is_none().then(|| KeyPin {
        path: hosted.path.clone(),
        token: hosted.token_name().to_owned(),
        token_serial: hosted.as_pinned().token_serial,
        label: hosted.key.label.clone(),
        cka_id: hosted.key.id.clone(),
        spki: hosted.key.public_key.spki_der().to_vec(),
        spki_sha256: hosted.key.public_key.spki_sha256(),
        first_seen: now,
    })
}

/// What the ring of keys is told of a pin.
pub(super) fn pinned(pin: &KeyPin) -> (KeyPath, PinnedKey) {
    let (spki_sha256, token_serial) = (pin.spki_sha256, pin.token_serial.clone());
    (pin.path.clone(), PinnedKey { spki_sha256, token_serial })
}

/// The public key whose use is noted: one in an HSM, which is not on record with that use.
pub(super) fn noted(key: &Key, purpose: KeyPurpose, known: &Known) -> Option<[u8; 32]> {
    match key {
        Key::Hosted(_) if !known.uses.contains(&purpose) => Some(key.public_key().spki_sha256()),
        Key::Hosted(_) | Key::Dev(_) | Key::Public(_) => None,
    }
}

/// A pin with its audit entry.
pub(super) fn pinning(call: &Call, pin: KeyPin, now: Timestamp) -> Pinning<KeyPin> {
    let detail = serde_json::json!({
        "keyPath": pin.path.as_str(),
        "token": pin.token,
        "tokenSerial": pin.token_serial,
        "spkiSha256": hex(&pin.spki_sha256),
    });
    Pinning { audit: entry(call, EntryKind::KeyPinned, detail, now), pin }
}

/// Why an intent was not recorded, for the errors that both use cases share.
pub(super) fn not_begun(error: BeginError) -> Error {
    match error {
        BeginError::KeyChanged(key) => {
            tracing::error!(%key, alarm = "key-changed", "another public key is pinned");
            Error::Unavailable {
                message: format!("key {key} is not the one it was; an operator must resolve it"),
                retry_after_seconds: 60,
            }
        }
        BeginError::IacaPinConflict => Error::Invalid(Invalid::at(
            Member::DescribedIaca,
            Message::path(Member::DescribedIaca).text(" differs from the registered IACA"),
        )),
        BeginError::Ledger(error) => key_errors::ledger(error),
        BeginError::KeyLearned | BeginError::KeyClaimed => Error::Conflict {
            message: "another request decides what the key is used for; try again".to_owned(),
            retry_after_seconds: Some(1),
        },
        BeginError::SerialTaken
        | BeginError::StoreIdTaken(_)
        | BeginError::VersionTaken
        | BeginError::OtherSigner
        | BeginError::NotMade(_) => {
            Error::Internal(format!("unexpected answer of the ledger: {error}"))
        }
    }
}

/// A signature that does not verify: nothing leaves, the token is suspected.
pub(super) fn bad_signature(key: &Key, error: &dyn std::fmt::Display) -> Error {
    tracing::error!(
        key = path_text(key.path()),
        %error,
        alarm = "bad-signature",
        "the signature does not verify under the pinned key; nothing was released"
    );
    key.report_bad_signature();
    Error::Unavailable {
        message: "signing is unavailable; try again in 5 s".to_owned(),
        retry_after_seconds: 5,
    }
}

/// Records that an intent came to nothing, and hands the error on. When the ledger does not take
/// it now, it is tried again until the next start finds the intent open.
pub(super) async fn abort(
    services: &Services,
    call: &Call,
    intent: IntentId,
    error: Error,
    now: Timestamp,
) -> Error {
    let reason = match &error {
        Error::Unavailable { message, .. } => message.as_str(),
        Error::Invalid(_)
        | Error::Forbidden { .. }
        | Error::NotFound { .. }
        | Error::Duplicate { .. }
        | Error::Conflict { .. }
        | Error::AmbiguousKey(_)
        | Error::Internal(_) => "internal error",
    };
    let record = entry(call, EntryKind::Aborted, serde_json::json!({ "reason": reason }), now);
    // A caller does not wait twice for a ledger that takes nothing.
    let is_hopeless = !services.ledger.figures().writable || services.ledger.is_stalled();
    let aborted = match is_hopeless {
        true => Err("its last transaction was lost, or does not end".to_owned()),
        false => {
            let aborted = services.ledger.abort(intent, record.clone()).await;
            aborted.map_err(|error| error.to_string())
        }
    };
    if let Err(reason) = aborted {
        tracing::error!(reason, "the intent could not be aborted yet");
        let ledger = services.ledger.clone();
        tokio::spawn(async move {
            for attempt in 0..ABORT_RETRIES_MAX {
                tokio::time::sleep(ABORT_RETRY_AFTER * (attempt + 1)).await;
                if ledger.abort(intent, record.clone()).await.is_ok() {
                    return;
                }
            }
            tracing::error!("an intent stays open; the next start aborts it");
        });
    }
    error
}

const ABORT_RETRIES_MAX: u32 = 60;
const ABORT_RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(500);

/// An audit entry of a call.
pub(super) fn entry(
    call: &Call,
    kind: EntryKind,
    detail: impl Serialize,
    now: Timestamp,
) -> AuditRecord {
    AuditRecord::new(
        kind,
        now,
        Some(&call.request_id),
        Some(&call.client),
        Some(call.target.as_str()),
        detail,
    )
}

/// Octets from the CSPRNG.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut octets = [0; N];
    rand::fill(&mut octets).map_err(|_| Error::Internal("no random octets".to_owned()))?;
    Ok(octets)
}

/// An id that nobody chose: a UUID of version 7 (RFC 9562), so that neighbours in time are neighbours
/// in the ledger's indexes too.
pub(super) fn random_id() -> Result<PathElement, Error> {
    PathElement::parse(&Uuid::now_v7().to_string())
        .map_err(|error| Error::Internal(format!("a UUID is no path element: {error}")))
}

/// Lower-case hexadecimal.
pub(super) fn hex(octets: &[u8]) -> String {
    HEXLOWER.encode(octets)
}

pub(super) fn path_text(path: Option<&KeyPath>) -> Option<&str> {
    path.map(KeyPath::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::serial::SerialNumber;

    const SERIALS: u32 = 100_000;

    #[test]
    fn serial_numbers_are_distinct_and_each_of_their_126_bits_is_as_often_set_as_not() {
        let serials: HashSet<_> =
            (0..SERIALS).map(|_| SerialNumber::from_random(random().unwrap())).collect();
        assert_eq!(serials.len(), 100_000);
        for bit in 0..128 {
            let is_set =
                |serial: &&SerialNumber| serial.as_octets()[bit / 8] << (bit % 8) & 0x80 != 0;
            let share = serials.iter().filter(is_set).count();
            match bit {
                0 => assert_eq!(share, 0, "negative"),
                1 => assert_eq!(share, 100_000, "short"),
                // Six standard deviations.
                _ => assert!((49_050..=50_950).contains(&share), "bit {bit}: {share}"),
            }
        }
    }
}
