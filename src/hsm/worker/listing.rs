//! What lies on the token: private keys, each joined to its public half.

use std::collections::HashMap;

use cryptoki::{
    error::{Error, RvError},
    mechanism::MechanismType,
    object::{Attribute, KeyType as CkKeyType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{
    attributes::{Attributes, PRIVATE, PUBLIC, find, read_public, value},
    classify::fault,
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
        Self { keys: Vec::new(), by_label: HashMap::new() }
    }

    /// Lists private and public keys, two searches in all.
    ///
    /// # Errors
    /// [`Fault`] of the search, or when the token holds too many keys.
    pub(super) fn read(session: &Session, mechanisms: &[MechanismType]) -> Result<Self, Fault> {
        let publics = read_class(session, ObjectClass::PUBLIC_KEY)?;
        let privates = read_class(session, ObjectClass::PRIVATE_KEY)?;
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
            let public_key = readable
                .and_then(|()| usable(private, mechanisms))
                .and_then(|()| public_half(private, halves, twins));
            listing.by_label.entry(label.clone()).or_default().push(listing.keys.len());
            let id = private.id().to_vec();
            // A token that does not say so has not promised it.
            let extractable = !private.says(&Attribute::Extractable(false));
            listing.keys.push(Held { handle: *handle, label, id, public_key, extractable });
        }
        Ok(listing)
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
) -> Result<Vec<(ObjectHandle, Attributes)>, Fault> {
    let wanted = if class == ObjectClass::PRIVATE_KEY { &PRIVATE[..] } else { &PUBLIC[..] };
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

fn usable(private: &Attributes, mechanisms: &[MechanismType]) -> Result<(), String> {
    if private.says(&Attribute::AlwaysAuthenticate(true)) {
        return Err("CKA_ALWAYS_AUTHENTICATE: the key wants the PIN for every signature".to_owned());
    }
    if private.says(&Attribute::Sign(false)) {
        return Err("CKA_SIGN is false".to_owned());
    }
    let (needed, name) = match private.key_type() {
        Some(CkKeyType::EC) => (MechanismType::ECDSA, "CKM_ECDSA"),
        Some(CkKeyType::RSA) => (MechanismType::RSA_PKCS, "CKM_RSA_PKCS"),
        Some(other) => return Err(format!("{other} is not supported")),
        None => return Err("CKA_KEY_TYPE cannot be read".to_owned()),
    };
    if mechanisms.contains(&needed) {
        Ok(())
    } else {
        Err(format!("the token does not offer {name}, only forms that hash what they are given"))
    }
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

    const ALL: [MechanismType; 2] = [MechanismType::ECDSA, MechanismType::RSA_PKCS];

    #[test]
    fn a_key_that_wants_the_pin_each_time_is_unusable() {
        let reason = usable(&ec(&[Attribute::AlwaysAuthenticate(true)]), &ALL).unwrap_err();
        assert!(reason.contains("CKA_ALWAYS_AUTHENTICATE"));
        assert!(usable(&ec(&[Attribute::AlwaysAuthenticate(false)]), &ALL).is_ok());
    }

    #[test]
    fn a_key_needs_leave_to_sign_and_a_mechanism_that_takes_digests() {
        assert!(usable(&ec(&[]), &ALL).is_ok());
        assert!(usable(&ec(&[Attribute::Sign(false)]), &ALL).is_err());
        let hashing_only = [MechanismType::ECDSA_SHA256, MechanismType::RSA_PKCS];
        assert!(usable(&ec(&[]), &hashing_only).unwrap_err().contains("CKM_ECDSA"));
        assert!(usable(&Attributes(Vec::new()), &ALL).is_err());
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
