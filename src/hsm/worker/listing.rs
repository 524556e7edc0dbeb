//! What lies on the token: private keys, each joined to its public half.

use std::collections::HashMap;

use cryptoki::{
    error::{Error, RvError},
    mechanism::MechanismType,
    object::{Attribute, AttributeType, KeyType as CkKeyType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{
    attributes::{Attributes, PRIVATE, PUBLIC, find, read_public, value},
    classify::fault,
    known::Known,
    module::OpenToken,
    scheme::{self, Scheme},
};
use crate::{
    domain::key::PublicKey,
    hsm::{
        fault::{Class, Fault},
        protocol::{KEYS_MAX, ListedKey, SignOrder},
    },
};

/// One listing of the token. Handles are good within it only.
pub(super) struct Listing {
    keys: Vec<Held>,
    by_label: HashMap<String, Vec<usize>>,
    /// Why the first key cannot be used for which the token has no mechanism.
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
    /// Without a key.
    pub(super) fn empty() -> Self {
        Self { keys: Vec::new(), by_label: HashMap::new(), lacking: None }
    }

    /// Lists private and public keys, two searches in all.
    ///
    /// # Errors
    /// [`Fault`] of the search, or when the token holds too many keys.
    pub(super) fn read(
        session: &Session,
        token: &OpenToken,
        known: &mut Known,
    ) -> Result<Self, Fault> {
        let publics = read_class(session, ObjectClass::PUBLIC_KEY, &PUBLIC)?;
        let askable = token.quirks.askable(&PRIVATE);
        let privates = read_class(session, ObjectClass::PRIVATE_KEY, &askable)?;
        let mut by_id: HashMap<&[u8], Vec<&Attributes>> = HashMap::new();
        for (_, public) in &publics {
            by_id.entry(public.id()).or_default().push(public);
        }
        let mut sharing: HashMap<&[u8], usize> = HashMap::new();
        for (_, private) in &privates {
            *sharing.entry(private.id()).or_default() += 1;
        }
        let mut listing = Self::empty();
        for (handle, private) in &privates {
            let (label, readable) = match std::str::from_utf8(private.label()) {
                Ok(label) => (label.to_owned(), Ok(())),
                Err(_) => (
                    String::from_utf8_lossy(private.label()).into_owned(),
                    Err("CKA_LABEL is not UTF-8".to_owned()),
                ),
            };
            let halves = by_id.get(private.id()).map_or(&[][..], Vec::as_slice);
            let twins = sharing.get(private.id()).copied().unwrap_or(0);
            let id = private.id().to_vec();
            let public_key = readable
                .and_then(|()| usable(private))
                .and_then(|()| match public_half(private, halves, twins) {
                    Ok(key) => {
                        known.learn(&label, &id, &key);
                        Ok(key)
                    }
                    Err(reason) => on_record(known, (token, session), *handle, &label, &id, reason),
                })
                .and_then(|key| match missing_mechanism(&key, &token.mechanisms) {
                    None => Ok(key),
                    Some(reason) => {
                        listing.lacking.get_or_insert_with(|| reason.clone());
                        Err(reason)
                    }
                });
            listing.by_label.entry(label.clone()).or_default().push(listing.keys.len());
            // A token that does not say so has not promised it.
            let extractable = !private.says(&Attribute::Extractable(false));
            listing.keys.push(Held { handle: *handle, label, id, public_key, extractable });
        }
        Ok(listing)
    }

    /// Refuses a token whose keys cannot sign for want of a mechanism, all of them.
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

    /// The handle of exactly the key that was ordered; `None` when there is none or more than one.
    pub(super) fn handle(&self, order: &SignOrder) -> Option<(ObjectHandle, &PublicKey)> {
        let mut fitting = self
            .by_label
            .get(&order.label)?
            .iter()
            .filter_map(|index| self.keys.get(*index))
            .filter(|held| held.id == order.id)
            .filter_map(|held| Some((held.handle, held.public_key.as_ref().ok()?)))
            .filter(|(_, key)| key.spki_sha256() == order.spki_sha256);
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    /// For the front.
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
    session: &Session,
    class: ObjectClass,
    wanted: &[AttributeType],
) -> Result<Vec<(ObjectHandle, Attributes)>, Fault> {
    let template = [Attribute::Class(class), Attribute::Token(true)];
    let handles = find(session, &template, KEYS_MAX + 1).map_err(|error| fault(&error))?;
    if handles.len() > KEYS_MAX {
        let words = format!("more than {KEYS_MAX} keys on the token");
        return Err(Fault::ours(Class::Configuration, "C_FindObjects", words));
    }
    let mut read = Vec::with_capacity(handles.len());
    for handle in handles {
        match Attributes::read(session, handle, wanted) {
            Ok(attributes) => read.push((handle, attributes)),
            // Deleted by another tool since the search.
            Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => {}
            Err(error) => return Err(fault(&error)),
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

/// The public key that the front has on record, when the private key proves to belong to it.
fn on_record(
    known: &mut Known,
    (token, session): (&OpenToken, &Session),
    private: ObjectHandle,
    label: &str,
    id: &[u8],
    reason: String,
) -> Result<PublicKey, String> {
    let Some(key) = known.get(label, id) else { return Err(reason) };
    match known.prove(token, session, private, &key) {
        Ok(()) => Ok(key),
        Err(refusal) => Err(format!("{reason}; {refusal}")),
    }
}

fn missing_mechanism(key: &PublicKey, mechanisms: &[MechanismType]) -> Option<String> {
    let algorithm = key.key_type().signature_algorithm();
    let scheme = Scheme::of(algorithm, mechanisms);
    scheme.is_none().then(|| format!("the token does not offer {}", scheme::wanted(algorithm)))
}

/// The public object of the same `CKA_ID`, else the private key's own `CKA_PUBLIC_KEY_INFO`.
fn public_half(
    private: &Attributes,
    halves: &[&Attributes],
    twins: usize,
) -> Result<PublicKey, String> {
    let described = value!(PublicKeyInfo, private.0)
        .filter(|spki| !spki.is_empty())
        .and_then(|spki| PublicKey::from_spki_der(spki).ok());
    // Without an id of its own, a private key cannot be joined to a public object.
    let joined = if private.id().is_empty() || twins > 1 { &[][..] } else { halves };
    let candidates: Vec<_> =
        joined.iter().filter(|public| public.key_type() == private.key_type()).collect();
    let key = match (candidates.as_slice(), described) {
        ([public], _) => read_public(public)?,
        ([], Some(described)) => described,
        ([], None) if twins > 1 => {
            return Err(format!("unbound: {twins} private keys have this CKA_ID"));
        }
        ([], None) => return Err("unbound: no public key object has this CKA_ID".to_owned()),
        (several, _) => {
            return Err(format!("unbound: {} public keys have this CKA_ID", several.len()));
        }
    };
    // An RSA private key shows its modulus; a public object of another key is found out here.
    match (private.modulus(), key.modulus()) {
        (Some(private), Some(public))
            if !private.is_empty() && stripped(private) != stripped(&public) =>
        {
            Err("the public key object of this CKA_ID belongs to another key".to_owned())
        }
        _ => Ok(key),
    }
}

fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    use der::Encode;

    use super::*;
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

    #[test]
    fn halves_are_joined_by_id_and_only_when_the_id_is_unique() {
        let (one, other) = (public_object(), public_object());
        let expected = read_public(&one).unwrap();
        assert_eq!(public_half(&ec(&[]), &[&one], 1).unwrap(), expected);
        assert!(public_half(&ec(&[]), &[&one, &other], 1).unwrap_err().contains("2 public keys"));
        assert!(public_half(&ec(&[]), &[&one], 2).unwrap_err().contains("2 private keys"));
        assert!(public_half(&ec(&[]), &[], 1).unwrap_err().contains("unbound"));
    }

    #[test]
    fn without_a_public_object_the_private_key_describes_itself() {
        let described = read_public(&public_object()).unwrap();
        let info = Attribute::PublicKeyInfo(described.spki_der().to_vec());
        assert_eq!(public_half(&ec(&[info]), &[], 1).unwrap(), described);
        assert!(public_half(&ec(&[Attribute::PublicKeyInfo(vec![])]), &[], 1).is_err());
    }

    #[test]
    fn attributes_that_are_hidden_end_in_words_not_in_a_panic() {
        for hidden in 0..4 {
            let mut public = public_object();
            public.0.remove(hidden);
            let _ = public_half(&ec(&[]), &[&public], 1);
            let _ = read_public(&public);
        }
    }
}
