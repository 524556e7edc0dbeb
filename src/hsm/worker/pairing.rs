//! Pairing of private keys with public key objects.
//!
//! A private key is bound by its label, if no other private key has it; else by its `CKA_ID`, if no other has
//! that; else by its own `CKA_PUBLIC_KEY_INFO`; else by the certificate with the same `CKA_ID`, as Java
//! creates them. Several objects with the same public key count as one. An ambiguous key is not bound.

use std::collections::HashMap;

use cryptoki::object::{Attribute, KeyType as CkKeyType};

use super::attributes::{Attributes, read_public, value};
use crate::{domain::key::PublicKey, hsm::UNBOUND};

/// The objects of a listing, indexed by label and id.
pub(super) struct Pairing<'a> {
    publics: &'a [Attributes],
    public_labels: HashMap<&'a [u8], Vec<usize>>,
    public_ids: HashMap<&'a [u8], Vec<usize>>,
    /// Number of private keys with the label.
    private_labels: HashMap<&'a [u8], usize>,
    /// Number of private keys with the `CKA_ID` that are not bound by their label.
    private_ids: HashMap<&'a [u8], usize>,
}

impl<'a> Pairing<'a> {
    pub(super) fn of(
        privates: impl Iterator<Item = &'a Attributes> + Clone,
        publics: &'a [Attributes],
    ) -> Self {
        let mut pairing = Self {
            publics,
            public_labels: HashMap::new(),
            public_ids: HashMap::new(),
            private_labels: HashMap::new(),
            private_ids: HashMap::new(),
        };
        for (at, public) in publics.iter().enumerate() {
            if !public.label().is_empty() {
                pairing.public_labels.entry(public.label()).or_default().push(at);
            }
            if !public.id().is_empty() {
                pairing.public_ids.entry(public.id()).or_default().push(at);
            }
        }
        for private in privates.clone() {
            *pairing.private_labels.entry(private.label()).or_default() += 1;
        }
        for private in privates {
            if !pairing.is_bound_by_label(private) {
                *pairing.private_ids.entry(private.id()).or_default() += 1;
            }
        }
        pairing
    }

    /// The public half of a private key. `certificates` returns the keys of the certificates with a `CKA_ID`.
    ///
    /// # Errors
    /// For the operator. Begins with [`UNBOUND`] when there is no public half, or more than one.
    pub(super) fn public_half(
        &self,
        private: &Attributes,
        certificates: impl FnOnce(&[u8]) -> Vec<PublicKey>,
    ) -> Result<PublicKey, String> {
        let described = value!(PublicKeyInfo, private.0)
            .filter(|spki| !spki.is_empty())
            .and_then(|spki| PublicKey::from_spki_der(spki).ok());
        if self.is_bound_by_label(private) {
            return one_of(private, &self.labelled(private), "label");
        }
        let sharing = self.private_ids.get(private.id()).copied().unwrap_or(0);
        if !private.id().is_empty() && sharing == 1 {
            let of_id = self.of_id(private);
            if !of_id.is_empty() {
                return one_of(private, &of_id, "CKA_ID");
            }
        }
        if let Some(described) = described {
            return fitting(private, described, "CKA_PUBLIC_KEY_INFO");
        }
        if private.id().is_empty() {
            return Err(format!(
                "{UNBOUND}no public key object has its label, and it has no CKA_ID"
            ));
        }
        if sharing > 1 {
            return Err(format!("{UNBOUND}{sharing} private keys have this CKA_ID"));
        }
        let mut certified = certificates(private.id());
        certified.retain(|key| fits(private, key));
        certified.dedup();
        match certified.as_slice() {
            [key] => Ok(key.clone()),
            [] => Err(format!(
                "{UNBOUND}no public key object has this label or CKA_ID, and no certificate this CKA_ID"
            )),
            several => {
                Err(format!("{UNBOUND}certificates of {} keys have this CKA_ID", several.len()))
            }
        }
    }

    /// Whether the label alone determines the public key.
    fn is_bound_by_label(&self, private: &Attributes) -> bool {
        let label = private.label();
        !label.is_empty()
            && self.private_labels.get(label) == Some(&1)
            && !self.labelled(private).is_empty()
    }

    fn labelled(&self, private: &Attributes) -> Vec<&'a Attributes> {
        self.of_type(private, self.public_labels.get(private.label()))
    }

    /// Without objects that are bound to another private key by their label.
    fn of_id(&self, private: &Attributes) -> Vec<&'a Attributes> {
        let mut found = self.of_type(private, self.public_ids.get(private.id()));
        found.retain(|public| {
            public.label() == private.label()
                || public.label().is_empty()
                || !self.private_labels.contains_key(public.label())
        });
        found
    }

    fn of_type(&self, private: &Attributes, found: Option<&Vec<usize>>) -> Vec<&'a Attributes> {
        let found = found.into_iter().flatten().filter_map(|at| self.publics.get(*at));
        found.filter(|public| public.key_type() == private.key_type()).collect()
    }
}

/// The public key of these objects (at least one). When they differ, those with the private key's own
/// `CKA_ID` or modulus count.
fn one_of(private: &Attributes, publics: &[&Attributes], by: &str) -> Result<PublicKey, String> {
    let read = |publics: &[&Attributes]| -> Result<Vec<PublicKey>, String> {
        let mut keys: Vec<PublicKey> = Vec::new();
        for public in publics {
            let key = read_public(public)?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    };
    let mut keys = read(publics)?;
    if keys.len() > 1 {
        let own: Vec<_> = publics
            .iter()
            .filter(|public| !private.id().is_empty() && public.id() == private.id())
            .copied()
            .collect();
        if !own.is_empty() {
            keys = read(&own)?;
        }
    }
    if keys.len() > 1 && private.modulus().is_some_and(|modulus| !modulus.is_empty()) {
        keys.retain(|key| fits(private, key));
    }
    match keys.as_slice() {
        [key] => fitting(private, key.clone(), by),
        keys => Err(format!("{UNBOUND}{} public keys have this {by}", keys.len())),
    }
}

/// Checks a public object against the modulus of an RSA private key.
fn fitting(private: &Attributes, key: PublicKey, by: &str) -> Result<PublicKey, String> {
    match fits(private, &key) {
        true => Ok(key),
        false => Err(format!("the public key object of this {by} belongs to another key")),
    }
}

fn fits(private: &Attributes, key: &PublicKey) -> bool {
    let kind = match private.key_type() {
        Some(CkKeyType::RSA) => key.modulus().is_some(),
        Some(CkKeyType::EC) => key.key_type().is_ec(),
        Some(_) | None => !key.key_type().is_ec() && key.modulus().is_none(),
    };
    kind && match (private.modulus(), key.modulus()) {
        (Some(private), Some(public)) if !private.is_empty() => {
            stripped(private) == stripped(&public)
        }
        _ => true,
    }
}

fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use std::slice;

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    use der::Encode;

    use super::*;
    use crate::domain::key::KeyType;

    /// A public key and its object with a label and an id.
    fn public(label: &str, id: &[u8]) -> (PublicKey, Attributes) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let mut object = private(label, id);
        object.0.push(Attribute::EcParams(KeyType::P256.curve().unwrap().to_der().unwrap()));
        object.0.push(Attribute::EcPoint(pair.public_key().as_ref().to_vec()));
        (read_public(&object).unwrap(), object)
    }

    fn private(label: &str, id: &[u8]) -> Attributes {
        Attributes(vec![
            Attribute::KeyType(CkKeyType::EC),
            Attribute::Label(label.into()),
            Attribute::Id(id.to_vec()),
        ])
    }

    fn copy(object: &Attributes) -> Attributes {
        Attributes(object.0.clone())
    }

    /// The public halves of the private keys.
    fn bound(
        privates: &[Attributes],
        publics: &[&Attributes],
        certified: &[PublicKey],
    ) -> Vec<Result<PublicKey, String>> {
        let publics: Vec<_> = publics.iter().map(|public| copy(public)).collect();
        let pairing = Pairing::of(privates.iter(), &publics);
        privates
            .iter()
            .map(|private| pairing.public_half(private, |_| certified.to_vec()))
            .collect()
    }

    #[test]
    fn a_unique_label_binds_whatever_the_ids_are() {
        let ids: [(&[u8], &[u8]); 5] =
            [(&[1], &[1]), (&[], &[]), (&[1], &[]), (&[1], &[2]), (&[], &[3])];
        for (of_a, of_b) in ids {
            let (a, object_a) = public("a", of_a);
            let (b, object_b) = public("b", of_b);
            let privates = [private("a", of_b), private("b", of_a)];
            let found = bound(&privates, &[&object_b, &object_a], &[]);
            assert_eq!(found, [Ok(a), Ok(b)], "{of_a:?} {of_b:?}");
        }
    }

    #[test]
    fn several_objects_with_one_public_key_are_one() {
        let (key, object) = public("a", &[1]);
        let same = || copy(&object);
        let found = bound(&[private("a", &[1])], &[&object, &same(), &same()], &[]);
        assert_eq!(found, [Ok(key.clone())]);
        let mut nameless = same();
        nameless.0.retain(|it| !matches!(it, Attribute::Label(_)));
        let found = bound(&[private("x", &[1])], &[&nameless, &copy(&nameless)], &[]);
        assert_eq!(found, [Ok(key)]);
    }

    #[test]
    fn without_a_label_the_id_binds_then_the_key_itself_then_a_certificate() {
        let (key, object) = public("", &[1]);
        let (other, _) = public("", &[1]);
        assert_eq!(bound(&[private("a", &[1])], &[&object], &[]), [Ok(key.clone())]);
        let mut described = private("a", &[1]);
        described.0.push(Attribute::PublicKeyInfo(other.spki_der().to_vec()));
        assert_eq!(bound(&[described], &[], slice::from_ref(&key)), [Ok(other)]);
        // As Java creates them: no label, no public object.
        assert_eq!(bound(&[private("", &[1])], &[], slice::from_ref(&key)), [Ok(key.clone())]);
        assert_eq!(bound(&[private("", &[1])], &[], &[key.clone(), key.clone()]), [Ok(key)]);
    }

    #[test]
    fn what_is_ambiguous_is_bound_to_nothing() {
        let (one, object_one) = public("a", &[1]);
        let (other, object_other) = public("a", &[2]);
        let (_, nameless_one) = public("", &[1]);
        let (_, nameless_other) = public("", &[1]);
        let both = [one.clone(), other];
        // Of two public keys with the label, the one with the same id counts.
        let found = bound(&[private("a", &[1])], &[&object_one, &object_other], &[]);
        assert_eq!(found, [Ok(one.clone())]);
        type Row<'a> = (&'a [Attributes], &'a [&'a Attributes], &'a [PublicKey], &'a str);
        let rows: [Row<'_>; 6] = [
            (&[private("a", &[9])], &[&object_one, &object_other], &[], "2 public keys"),
            (&[private("x", &[1])], &[&nameless_one, &nameless_other], &[], "2 public keys"),
            (&[private("x", &[1]), private("y", &[1])], &[&nameless_one], &[], "2 private keys"),
            (&[private("x", &[1]), private("y", &[1])], &[], &[one], "2 private keys"),
            (&[private("x", &[1])], &[], &both, "certificates of 2 keys"),
            (&[private("x", &[1])], &[], &[], "no public key object"),
        ];
        for (privates, publics, certified, words) in rows {
            for found in bound(privates, publics, certified) {
                let reason = found.unwrap_err();
                assert!(reason.starts_with(UNBOUND) && reason.contains(words), "{reason}");
            }
        }
        // A public object that is bound to one private key is not bound to another.
        let privates = [private("a", &[1]), private("b", &[1])];
        let found = bound(&privates, &[&object_one], &[]);
        assert!(found[0].is_ok() && found[1].is_err(), "{found:?}");
    }

    #[test]
    fn attributes_that_are_hidden_end_in_words_not_in_a_panic() {
        for hidden in 0..5 {
            let (_, mut object) = public("a", &[1]);
            object.0.remove(hidden);
            let _ = bound(&[private("a", &[1])], &[&object], &[]);
        }
    }
}
