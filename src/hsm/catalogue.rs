//! The front's copy of a listing of the token.

use std::{borrow::Cow, collections::HashMap};

use super::{CatalogueEntry, HsmError, TokenKey, fault::sanitise, id_in, protocol::ListedKey};
use crate::domain::key::PublicKey;

/// An immutable listing.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    entries: Vec<CatalogueEntry>,
    by_label: HashMap<String, Vec<usize>>,
}

impl Catalogue {
    /// From what a signer lists. Public keys that are in `before` are not parsed again.
    pub(super) fn new(keys: Vec<ListedKey>, before: Option<&Self>) -> Self {
        let known: HashMap<&[u8], &PublicKey> = before
            .into_iter()
            .flat_map(Self::public_keys)
            .map(|key| (key.spki_der(), key))
            .collect();
        let mut catalogue = Self::default();
        for ListedKey { label, id, public_key, extractable } in keys {
            let public_key = match public_key {
                Err(reason) => Err(sanitise(&reason)),
                Ok(spki) => match known.get(spki.as_slice()) {
                    Some(key) => Ok((*key).clone()),
                    None => PublicKey::from_spki_der(&spki).map_err(|error| error.to_string()),
                },
            };
            catalogue.by_label.entry(label.clone()).or_default().push(catalogue.entries.len());
            catalogue.entries.push(CatalogueEntry { label, id, public_key, extractable });
        }
        catalogue
    }

    /// The one private key of this label.
    ///
    /// # Errors
    /// [`HsmError::Missing`], [`HsmError::Ambiguous`], [`HsmError::Unusable`].
    pub(super) fn find(&self, label: &str) -> Result<TokenKey, HsmError> {
        match &self.places_of(label)[..] {
            [] => Err(HsmError::Missing),
            [index] => match self.entries.get(*index) {
                None => Err(HsmError::Missing),
                Some(CatalogueEntry { label, id, public_key: Ok(key), .. }) => {
                    Ok(TokenKey { label: label.clone(), id: id.clone(), public_key: key.clone() })
                }
                Some(CatalogueEntry { public_key: Err(reason), .. }) => {
                    Err(HsmError::Unusable { reason: reason.clone() })
                }
            },
            twins => Err(HsmError::Ambiguous { count: twins.len() }),
        }
    }

    /// A key that can sign, by the SHA-256 of its `SubjectPublicKeyInfo`.
    pub(super) fn with_spki(&self, spki_sha256: [u8; 32]) -> Option<TokenKey> {
        let is_it = |entry: &&CatalogueEntry| {
            entry.public_key.as_ref().is_ok_and(|key| key.spki_sha256() == spki_sha256)
        };
        self.entries.iter().find(is_it).and_then(|entry| self.find(&entry.label).ok())
    }

    fn places_of(&self, label: &str) -> Cow<'_, [usize]> {
        match id_in(label) {
            None => self.by_label.get(label).map_or(&[][..], Vec::as_slice).into(),
            Some(id) => {
                let places = self.entries.iter().enumerate().filter(|(_, entry)| entry.id == id);
                places.map(|(place, _)| place).collect()
            }
        }
    }

    /// Whether a key has this label or id.
    pub(super) fn holds(&self, label: &str, id: &[u8]) -> bool {
        !self.places_of(label).is_empty() || self.entries.iter().any(|entry| entry.id == id)
    }

    /// The key for canary signatures: of the keys that can sign, one of the lowest rank; among these the
    /// preferred one, else the one with the shortest public key.
    pub(super) fn canary(
        &self,
        preferred: Option<&str>,
        rank: impl Fn(&[u8; 32]) -> u64,
    ) -> Option<TokenKey> {
        self.entries.iter().filter_map(|entry| self.find(&entry.label).ok()).min_by_key(|key| {
            let is_other = preferred != Some(key.label.as_str());
            (rank(&key.public_key.spki_sha256()), is_other, key.public_key.spki_der().len())
        })
    }

    /// The public keys of usable keys.
    pub(super) fn public_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.entries.iter().filter_map(|entry| entry.public_key.as_ref().ok())
    }

    /// All keys, in the token's order.
    pub(super) fn entries(&self) -> &[CatalogueEntry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;
    use crate::domain::key::KeyType;

    fn listed(label: &str, id: u8) -> ListedKey {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let key = PublicKey::from_ec_point(KeyType::P256, pair.public_key().as_ref()).unwrap();
        let public_key = Ok(key.spki_der().to_vec());
        ListedKey { label: label.to_owned(), id: vec![id], public_key, extractable: false }
    }

    fn broken(label: &str) -> ListedKey {
        let public_key = Err("unbound".to_owned());
        ListedKey { label: label.to_owned(), id: vec![], public_key, extractable: true }
    }

    #[test]
    fn a_label_leads_to_exactly_one_private_key_or_to_an_error() {
        let keys = vec![
            listed("a", 1),
            listed("b", 2),
            listed("b", 3),
            listed("c", 4),
            broken("c"),
            broken("d"),
        ];
        let catalogue = Catalogue::new(keys, None);
        assert_eq!(catalogue.find("a").unwrap().id, [1]);
        assert_eq!(catalogue.find("b"), Err(HsmError::Ambiguous { count: 2 }));
        assert_eq!(catalogue.find("c"), Err(HsmError::Ambiguous { count: 2 }));
        assert_eq!(catalogue.find("d"), Err(HsmError::Unusable { reason: "unbound".to_owned() }));
        assert_eq!(catalogue.find("e"), Err(HsmError::Missing));
        // By its CKA_ID, as an entry of a label table.
        assert_eq!(catalogue.find("cka-id:01").unwrap().label, "a");
        assert_eq!(catalogue.find("cka-id:09"), Err(HsmError::Missing));
        assert_eq!(catalogue.find("cka-id:"), Err(HsmError::Ambiguous { count: 2 }));
        assert_eq!(catalogue.entries().len(), 6);
    }

    #[test]
    fn the_canary_is_the_preferred_key_or_one_that_can_sign() {
        let none = |_: &[u8; 32]| 0;
        let catalogue = Catalogue::new(vec![broken("x"), listed("a", 1), listed("b", 2)], None);
        assert_eq!(catalogue.canary(Some("b"), none).unwrap().label, "b");
        assert_eq!(catalogue.canary(Some("gone"), none).unwrap().label, "a");
        assert_eq!(catalogue.canary(None, none).unwrap().label, "a");
        assert!(Catalogue::new(vec![broken("x")], None).canary(None, none).is_none());
        // A key that has failed is used when there is no other.
        let hash = |label| catalogue.find(label).unwrap().public_key.spki_sha256();
        let (a, b) = (hash("a"), hash("b"));
        let first = |key: &[u8; 32]| u64::from(*key == a);
        assert_eq!(catalogue.canary(None, first).unwrap().label, "b");
        // Even the preferred one may be broken.
        assert_eq!(catalogue.canary(Some("a"), first).unwrap().label, "b");
        let both = |key: &[u8; 32]| if *key == b { 2 } else { 1 };
        assert_eq!(catalogue.canary(None, both).unwrap().label, "a");
    }

    #[test]
    fn what_a_signer_lists_is_parsed_again_and_may_turn_out_unusable() {
        let mut key = listed("a", 1);
        key.public_key = Ok(vec![0x30, 0]);
        assert!(matches!(
            Catalogue::new(vec![key], None).find("a"),
            Err(HsmError::Unusable { .. })
        ));
    }
}
