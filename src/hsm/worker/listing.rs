//! Listing of the private keys on the token, each with its public half.

use std::collections::HashMap;

use cryptoki::{
    mechanism::MechanismType,
    object::{Attribute, AttributeType, KeyType as CkKeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use der::{Decode, Encode};

use super::{
    attributes::{Attributes, CERTIFICATE, PRIVATE, PUBLIC, value},
    module::OpenToken,
    pairing::Pairing,
    scheme::{self, Scheme},
    stored_keys::StoredKeys,
};
use crate::{
    domain::key::PublicKey,
    hsm::{
        fault::{Class, Fault},
        protocol::{KEYS_MAX, ListedKey, SignRequest},
    },
};

/// A listing. Its handles are valid within it only.
pub(super) struct Listing {
    keys: Vec<Held>,
    by_label: HashMap<String, Vec<usize>>,
    /// The first reason why a key cannot be used for want of a mechanism.
    lacking: Option<String>,
}

struct Held {
    handle: ObjectHandle,
    label: String,
    id: Vec<u8>,
    public_key: Result<PublicKey, String>,
    extractable: bool,
}

impl Listing {
    /// A listing without keys.
    pub(super) fn empty() -> Self {
        Self { keys: Vec::new(), by_label: HashMap::new(), lacking: None }
    }

    /// Lists private and public keys by one search each, and certificates where they are needed.
    ///
    /// # Errors
    /// [`Fault`] of the search, or when the token has too many keys.
    pub(super) fn read(
        session: &Session,
        token: &OpenToken,
        stored_keys: &mut StoredKeys,
    ) -> Result<Self, Fault> {
        let publics = read_class(token, session, ObjectClass::PUBLIC_KEY, &PUBLIC)?;
        let askable = token.quirks.askable(&PRIVATE);
        let privates = read_class(token, session, ObjectClass::PRIVATE_KEY, &askable)?;
        let publics: Vec<_> = publics.into_iter().map(|(_, public)| public).collect();
        let pairing = Pairing::of(privates.iter().map(|(_, private)| private), &publics);
        let mut certificates = Certificates { token, session, read: None };
        let mut listing = Self::empty();
        for (handle, private) in &privates {
            let (label, readable) = match std::str::from_utf8(private.label()) {
                Ok(label) => (label.to_owned(), Ok(())),
                Err(_) => (
                    String::from_utf8_lossy(private.label()).into_owned(),
                    Err("CKA_LABEL is not UTF-8".to_owned()),
                ),
            };
            let id = private.id().to_vec();
            let public_key = readable
                .and_then(|()| usable(private))
                .and_then(|()| match pairing.public_half(private, |id| certificates.keys_of(id)) {
                    Ok(key) => {
                        stored_keys.learn(&label, &id, &key);
                        Ok(key)
                    }
                    Err(reason) => {
                        on_record(stored_keys, (token, session), *handle, &label, &id, reason)
                    }
                })
                .and_then(|key| match missing_mechanism(&key, &token.mechanisms) {
                    None => Ok(key),
                    Some(reason) => {
                        listing.lacking.get_or_insert_with(|| reason.clone());
                        Err(reason)
                    }
                });
            listing.by_label.entry(label.clone()).or_default().push(listing.keys.len());
            // When the token does not say, the key may be extractable.
            let extractable = !private.says(&Attribute::Extractable(false));
            listing.keys.push(Held { handle: *handle, label, id, public_key, extractable });
        }
        Ok(listing)
    }

    /// Refuses a token none of whose keys can sign for want of mechanisms.
    ///
    /// # Errors
    /// [`Fault`] of configuration class that names the mechanisms.
    pub(super) fn assert_mechanisms(&self) -> Result<(), Fault> {
        match &self.lacking {
            Some(reason) if self.keys.iter().all(|held| held.public_key.is_err()) => {
                Err(Fault::ours(Class::Configuration, "choose mechanism", reason.as_str()))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The handle of exactly the requested key; `None` when there is none or more than one.
    pub(super) fn handle(&self, request: &SignRequest) -> Option<(ObjectHandle, &PublicKey)> {
        let mut fitting = self
            .by_label
            .get(&request.label)?
            .iter()
            .filter_map(|index| self.keys.get(*index))
            .filter(|held| held.id == request.id)
            .filter_map(|held| Some((held.handle, held.public_key.as_ref().ok()?)))
            .filter(|(_, key)| key.spki_sha256() == request.spki_sha256);
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    /// The keys, for the front.
    pub(super) fn to_wire(&self) -> Vec<ListedKey> {
        self.keys
            .iter()
            .map(|held| ListedKey {
                label: held.label.clone(),
                id: held.id.clone(),
                public_key: match &held.public_key {
                    Ok(key) => Ok(key.spki_der().to_vec()),
                    Err(reason) => Err(reason.clone()),
                },
                extractable: held.extractable,
            })
            .collect()
    }
}

fn read_class(
    token: &OpenToken,
    session: &Session,
    class: ObjectClass,
    wanted: &[AttributeType],
) -> Result<Vec<(ObjectHandle, Attributes)>, Fault> {
    let template = [Attribute::Class(class), Attribute::Token(true)];
    let handles = token.find(session, &template, KEYS_MAX + 1)?;
    if handles.len() > KEYS_MAX {
        let words = format!("more than {KEYS_MAX} keys on the token");
        return Err(Fault::ours(Class::Configuration, "C_FindObjects", words));
    }
    let mut read = Vec::with_capacity(handles.len());
    for handle in handles {
        match token.attributes(session, handle, wanted) {
            Ok(attributes) => read.push((handle, attributes)),
            // Another tool has deleted the object since the search.
            Err(fault) if fault.class == Class::Handle => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(read)
}

fn usable(private: &Attributes) -> Result<(), String> {
    if private.says(&Attribute::AlwaysAuthenticate(true)) {
        return Err("CKA_ALWAYS_AUTHENTICATE: the key wants the PIN for every signature".to_owned());
    }
    if private.says(&Attribute::Sign(false)) {
        return Err("CKA_SIGN is false".to_owned());
    }
    match private.key_type() {
        Some(CkKeyType::EC | CkKeyType::RSA | CkKeyType::EC_EDWARDS) => Ok(()),
        Some(other) => Err(format!("{other} is not supported")),
        None => Err("CKA_KEY_TYPE cannot be read".to_owned()),
    }
}

/// The public key on record, after the private key has proven to belong to it.
fn on_record(
    stored_keys: &mut StoredKeys,
    (token, session): (&OpenToken, &Session),
    private: ObjectHandle,
    label: &str,
    id: &[u8],
    reason: String,
) -> Result<PublicKey, String> {
    let Some(key) = stored_keys.get(label, id) else { return Err(reason) };
    match stored_keys.prove(token, session, private, &key) {
        Ok(()) => Ok(key),
        Err(refusal) => Err(format!("{reason}; {refusal}")),
    }
}

fn missing_mechanism(key: &PublicKey, mechanisms: &[MechanismType]) -> Option<String> {
    let algorithm = key.key_type().signature_algorithm();
    let scheme = Scheme::of(algorithm, mechanisms);
    scheme.is_none().then(|| format!("the token does not offer {}", scheme::wanted(algorithm)))
}

/// The keys of the certificates on the token by `CKA_ID`, read on first use.
struct Certificates<'a> {
    token: &'a OpenToken,
    session: &'a Session,
    read: Option<HashMap<Vec<u8>, Vec<PublicKey>>>,
}

impl Certificates<'_> {
    fn keys_of(&mut self, id: &[u8]) -> Vec<PublicKey> {
        let (token, session) = (self.token, self.session);
        let read = self.read.get_or_insert_with(|| read_certificates(token, session));
        read.get(id).cloned().unwrap_or_default()
    }
}

/// Certificates that cannot be read are ignored.
fn read_certificates(token: &OpenToken, session: &Session) -> HashMap<Vec<u8>, Vec<PublicKey>> {
    let mut by_id: HashMap<_, Vec<_>> = HashMap::new();
    match read_class(token, session, ObjectClass::CERTIFICATE, &CERTIFICATE) {
        Ok(certificates) => {
            for (_, certificate) in certificates {
                let Some(key) = certified_key(&certificate) else { continue };
                let keys: &mut Vec<PublicKey> = by_id.entry(certificate.id().to_vec()).or_default();
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        Err(fault) => tracing::warn!("{fault}: the certificates on the token are ignored"),
    }
    by_id
}

fn certified_key(certificate: &Attributes) -> Option<PublicKey> {
    let der = value!(Value, certificate.0)?;
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der().ok()?;
    PublicKey::from_spki_der(&spki).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    use der::Encode;

    use super::{super::attributes::read_public, *};
    use crate::domain::key::KeyType;

    fn ec(extra: &[Attribute]) -> Attributes {
        let mut all = vec![Attribute::KeyType(CkKeyType::EC), Attribute::Id(vec![1])];
        all.extend_from_slice(extra);
        Attributes(all)
    }

    fn public_object() -> Attributes {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        ec(&[
            Attribute::EcParams(KeyType::P256.curve().unwrap().to_der().unwrap()),
            Attribute::EcPoint(pair.public_key().as_ref().to_vec()),
        ])
    }

    #[test]
    fn a_key_that_wants_the_pin_each_time_is_unusable() {
        let reason = usable(&ec(&[Attribute::AlwaysAuthenticate(true)])).unwrap_err();
        assert!(reason.contains("CKA_ALWAYS_AUTHENTICATE"));
        assert!(usable(&ec(&[Attribute::AlwaysAuthenticate(false)])).is_ok());
    }

    #[test]
    fn a_key_needs_leave_to_sign_and_a_mechanism() {
        assert!(usable(&ec(&[])).is_ok());
        assert!(usable(&ec(&[Attribute::Sign(false)])).is_err());
        assert!(usable(&Attributes(Vec::new())).is_err());
        let key = read_public(&public_object()).unwrap();
        assert_eq!(missing_mechanism(&key, &[MechanismType::ECDSA_SHA256]), None);
        let missing = missing_mechanism(&key, &[MechanismType::RSA_PKCS]).unwrap();
        assert!(missing.contains("CKM_ECDSA or CKM_ECDSA_SHA256"), "{missing}");
    }
}
