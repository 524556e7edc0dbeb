//! Pins: each key path stands for the public key that it was first used with (trust on first use).
//! Also compares the pins with what the tokens list.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Keyring;
use crate::{
    domain::{
        path::{KeyPath, ResourcePath},
        tree::{Kms, ResourceTree},
    },
    hsm::{HsmError, Token},
};

/// The pin of one key path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedKey {
    /// SHA-256 over the public key (`SubjectPublicKeyInfo`, DER).
    pub spki_sha256: [u8; 32],
    /// The serial number of the token that has shown it; `None` until one has.
    pub token_serial: Option<String>,
}

/// Why a pinned key cannot sign although a token that should have it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinFault {
    /// The token does not list the key.
    Missing,
    /// The token lists another public key under the label.
    Changed,
    /// Several keys have the label, or the one that has it cannot be used.
    Unusable,
}

impl PinFault {
    /// The explanation for the operator.
    pub fn words(self) -> &'static str {
        match self {
            Self::Missing => "its token does not list it",
            Self::Changed => "its token lists another public key under its label",
            Self::Unusable => "its token lists it and it cannot be used, or lists it twice",
        }
    }
}

/// Which pinned keys of a KMS can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PinnedKeys {
    /// How many can be used.
    pub usable: usize,
    /// Those that cannot be used, and why. Keys of a token that is down are not counted, because
    /// its listing may be out of date.
    pub refused: BTreeMap<KeyPath, PinFault>,
}

impl PinnedKeys {
    /// Whether there are pinned keys and none of them can be used.
    pub fn are_all_refused(&self) -> bool {
        self.usable == 0 && !self.refused.is_empty()
    }
}

/// The pins by key path, in memory.
#[derive(Default)]
pub(super) struct Pins(Mutex<HashMap<KeyPath, PinnedKey>>);

impl Pins {
    pub(super) fn get(&self, path: &KeyPath) -> Option<PinnedKey> {
        self.lock().get(path).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyPath, PinnedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromIterator<(KeyPath, PinnedKey)> for Pins {
    fn from_iter<I: IntoIterator<Item = (KeyPath, PinnedKey)>>(pins: I) -> Self {
        Self(Mutex::new(pins.into_iter().collect()))
    }
}

impl Keyring {
    /// Adds pins, after the ledger has stored them.
    pub fn pinned(&self, pins: impl IntoIterator<Item = (KeyPath, PinnedKey)>) {
        self.pins.lock().extend(pins);
    }

    /// Removes a pin, after the ledger has removed it.
    pub fn unpinned(&self, path: &KeyPath) {
        self.pins.lock().remove(path);
    }

    /// Records the token, by serial number, that has these keys.
    pub fn placed(&self, serial: &str, keys: &[(KeyPath, [u8; 32])]) {
        let mut pins = self.pins.lock();
        for (path, spki_sha256) in keys {
            if let Some(pin) = pins.get_mut(path)
                && pin.spki_sha256 == *spki_sha256
            {
                pin.token_serial = Some(serial.to_owned());
            }
        }
    }

    /// Whether the path is pinned to another public key than this.
    pub fn is_changed(&self, path: &KeyPath, spki_sha256: [u8; 32]) -> bool {
        self.pins.get(path).is_some_and(|pinned| pinned.spki_sha256 != spki_sha256)
    }

    /// The public key that the path is pinned to.
    pub fn pin_of(&self, path: &KeyPath) -> Option<PinnedKey> {
        self.pins.get(path)
    }

    /// The pinned keys on this token whose recorded token is none of the tokens that are present,
    /// with the SHA-256 of their public keys. They have moved to this token.
    pub fn newly_shown_by(&self, token: &Token, tree: &ResourceTree) -> Vec<(KeyPath, [u8; 32])> {
        let facts: Vec<_> = self.tokens().filter_map(Token::facts).collect();
        let there: HashSet<_> = facts.iter().map(|facts| facts.serial.as_str()).collect();
        let is_elsewhere =
            |serial: &Option<String>| serial.as_deref().is_none_or(|it| !there.contains(it));
        let pins = self.pins.lock();
        let moved = pins.iter().filter(|(_, pin)| is_elsewhere(&pin.token_serial));
        moved.filter(|(path, pin)| shows(token, tree, path, pin)).map(named).collect()
    }

    /// Whether this token shows none of the pinned keys that only it should have. `false` when
    /// there are no such keys. A token that hides them all is probably another token.
    pub fn hides_all_pins(&self, token: &Token, tree: &ResourceTree) -> bool {
        let pins = self.pins.lock();
        let own = |path: &KeyPath| tree.kms(&path.kms()).is_some_and(|kms| is_only(token, kms));
        let mut own = pins.iter().filter(|(path, _)| own(path)).peekable();
        own.peek().is_some() && !own.any(|(path, pin)| shows(token, tree, path, pin))
    }

    /// Which pinned keys can be used, by KMS, according to the tokens' last listings.
    pub fn pinned_keys(&self, tree: &ResourceTree) -> BTreeMap<ResourcePath, PinnedKeys> {
        let pins = self.pins.lock();
        let mut by_kms: HashMap<&str, Vec<_>> = HashMap::new();
        for (path, pin) in pins.iter() {
            by_kms.entry(path.kms_text()).or_default().push((path, pin));
        }
        let mut all = BTreeMap::new();
        for pins in by_kms.into_values() {
            let Some(kms_path) = pins.first().map(|(path, _)| path.kms()) else { continue };
            let Some(kms) = tree.kms(&kms_path) else { continue };
            let Some(tokens) = self.tokens_of(kms) else { continue };
            let up: Vec<_> = tokens.iter().filter(|token| token.state().is_up()).collect();
            let all_are_up = up.len() == tokens.len();
            let mut keys = PinnedKeys::default();
            for (path, pin) in pins {
                let label = kms.label_of(path);
                let judged = up.iter().map(|token| judge(token, &label, pin));
                match judged.min() {
                    Some(Verdict::Usable) => keys.usable += 1,
                    // A token that is down may have the key.
                    Some(Verdict::Refused(PinFault::Missing)) if !all_are_up => {}
                    Some(Verdict::Refused(fault)) => {
                        keys.refused.insert(path.clone(), fault);
                    }
                    None => {}
                }
            }
            all.insert(kms_path, keys);
        }
        all
    }
}

/// How a token's listing agrees with a pin, best first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Usable,
    Refused(PinFault),
}

fn judge(token: &Token, label: &str, pin: &PinnedKey) -> Verdict {
    match token.look_up(label) {
        Ok(key) if key.public_key.spki_sha256() == pin.spki_sha256 => Verdict::Usable,
        Ok(_) => Verdict::Refused(PinFault::Changed),
        Err(HsmError::Missing) => Verdict::Refused(PinFault::Missing),
        Err(_) => Verdict::Refused(PinFault::Unusable),
    }
}

fn shows(token: &Token, tree: &ResourceTree, path: &KeyPath, pin: &PinnedKey) -> bool {
    tree.kms(&path.kms()).is_some_and(|kms| {
        kms.tokens.iter().any(|name| name == token.name())
            && judge(token, &kms.label_of(path), pin) == Verdict::Usable
    })
}

fn is_only(token: &Token, kms: &Kms) -> bool {
    matches!(&kms.tokens[..], [name] if name == token.name())
}

fn named((path, pin): (&KeyPath, &PinnedKey)) -> (KeyPath, [u8; 32]) {
    (path.clone(), pin.spki_sha256)
}
