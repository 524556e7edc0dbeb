//! The keys of an act: allowed, there, the ones that were pinned, not known to be bad; and what the
//! ledger is told of a key that is used for the first time.

use data_encoding::HEXLOWER;
use serde_json::json;

use crate::{
    audit::EntryKind,
    domain::{
        client::KeyPurpose,
        path::{KeyPath, ResourcePath},
        request::KeyDescriptor,
        time::Timestamp,
    },
    keys::{Key, KeyRole, PinnedKey},
    ledger::{KeyPin, Pinning},
    service::{
        Call, Services, actor::Actor, bad_keys, error::Error, given::GivenSubject, key_errors,
        known::Known,
    },
};

/// Finds a key that a request describes.
///
/// # Errors
/// [`Error`]: the key is not allowed for this service and role, not there, not the one that was
/// pinned, or bad.
pub(in crate::service) async fn find(
    services: &Services,
    call: &Call,
    descriptor: &KeyDescriptor,
    role: KeyRole,
) -> Result<Key, Error> {
    let refused = |refusal| key_errors::refused(descriptor, refusal);
    let keyring = &services.keyring;
    let admitted = keyring.admit(descriptor, &call.tree, &call.target, role).map_err(refused)?;
    let key = keyring.find(admitted).await.map_err(refused)?;
    bad_keys::refuse(services, descriptor, key.public_key()).await?;
    Ok(key)
}

/// Finds the key that signs, and the one that it certifies. Every check that needs no token comes first,
/// for both. When both fail, the caller is told what comes first in the contract's order.
///
/// # Errors
/// As for [`find`].
pub(in crate::service) async fn find_two(
    services: &Services,
    call: &Call,
    (signer, purpose): (&KeyDescriptor, KeyPurpose),
    subject: &GivenSubject<'_>,
) -> Result<(Key, Key), Error> {
    let role = KeyRole::Signing(purpose);
    let subject = match subject {
        GivenSubject::Described(subject) => *subject,
        GivenSubject::Csr(_, key) => {
            return Ok((find(services, call, signer, role).await?, Key::Public(key.clone())));
        }
    };
    let admit = |descriptor, role| {
        let admitted = services.keyring.admit(descriptor, &call.tree, &call.target, role);
        admitted.map_err(|refusal| (descriptor, refusal))
    };
    let refused = |(descriptor, refusal)| key_errors::refused(descriptor, refusal);
    let (admitted_signer, admitted_subject) =
        match (admit(signer, role), admit(subject, KeyRole::Subject)) {
            (Ok(signer), Ok(subject)) => (signer, subject),
            (Err(first), Err(second)) if second.1.precedence() < first.1.precedence() => {
                return Err(refused(second));
            }
            (Err(refusal), _) | (Ok(_), Err(refusal)) => return Err(refused(refusal)),
        };
    let found = services.keyring.find(admitted_signer).await;
    let signer_key = found.map_err(|refusal| key_errors::refused(signer, refusal))?;
    let found = services.keyring.find(admitted_subject).await;
    let subject_key = found.map_err(|refusal| key_errors::refused(subject, refusal))?;
    bad_keys::refuse(services, signer, signer_key.public_key()).await?;
    bad_keys::refuse(services, subject, subject_key.public_key()).await?;
    Ok((signer_key, subject_key))
}

/// The use of a key to be put on record: that of a key in an HSM, when it is new.
pub(in crate::service) fn new_use(
    key: &Key,
    purpose: KeyPurpose,
    known: &Known,
) -> Option<[u8; 32]> {
    match key {
        Key::Hosted(_) if !known.uses.contains(&purpose) => Some(key.public_key().spki_sha256()),
        Key::Hosted(_) | Key::Dev(_) | Key::Public(_) => None,
    }
}

/// The pin of a key on a token that is used for the first time.
pub(super) fn new_pin(
    services: &Services,
    actor: &Actor,
    service: &ResourcePath,
    key: &Key,
    now: Timestamp,
) -> Option<Pinning<KeyPin>> {
    let Key::Hosted(hosted) = key else { return None };
    if services.keyring.pin_of(&hosted.path).is_some() {
        return None;
    }
    let pin = KeyPin {
        path: hosted.path.clone(),
        token: hosted.token_name().to_owned(),
        token_serial: hosted.as_pinned().token_serial,
        label: hosted.key.label.clone(),
        cka_id: hosted.key.id.clone(),
        spki: hosted.key.public_key.spki_der().to_vec(),
        spki_sha256: hosted.key.public_key.spki_sha256(),
        first_seen: now,
    };
    let detail = json!({
        "keyPath": pin.path.as_str(),
        "token": pin.token,
        "tokenSerial": pin.token_serial,
        "spkiSha256": HEXLOWER.encode(&pin.spki_sha256),
    });
    Some(Pinning { audit: actor.entry(EntryKind::KeyPinned, service, detail, now), pin })
}

/// What the keyring is told of a pin that is on record.
pub(in crate::service) fn pinned(pin: &KeyPin) -> (KeyPath, PinnedKey) {
    let (spki_sha256, token_serial) = (pin.spki_sha256, pin.token_serial.clone());
    (pin.path.clone(), PinnedKey { spki_sha256, token_serial })
}
