//! Whether a KMS of several tokens is ready as a whole.

use std::collections::BTreeMap;

use super::{Keyring, keys_of};
use crate::{
    domain::{
        path::{KeyPath, ResourcePath},
        tree::{Kms, ResourceTree},
    },
    hsm::Token,
};

/// Readiness of a KMS of several tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KmsReadiness {
    /// Requests can be expected to succeed.
    Ready,
    /// None of its tokens is ready.
    NoToken,
    /// Its tokens hold different keys under the same path: the first such path.
    Different(KeyPath),
}

impl KmsReadiness {
    /// Whether requests can be expected to succeed.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// The word for it. It holds no secret and may be shown without authentication.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ok",
            Self::NoToken => "no token",
            Self::Different(_) => "its tokens hold different keys",
        }
    }

    /// [`Self::word`] with the key that it is about, for the operator.
    pub fn detail(&self) -> String {
        match self {
            Self::Different(key) => format!("{}: {key}", self.word()),
            Self::Ready | Self::NoToken => self.word().to_owned(),
        }
    }
}

impl Keyring {
    /// The readiness of each KMS service that has several tokens, sorted by path.
    pub fn twins<'a>(&self, tree: &'a ResourceTree) -> Vec<(&'a ResourcePath, KmsReadiness)> {
        let all = tree.services().filter_map(|(path, _)| Some((path, tree.kms(path)?)));
        all.filter(|(_, kms)| kms.tokens.len() > 1)
            .map(|(path, kms)| (path, self.readiness(path, kms)))
            .collect()
    }

    /// Whether other tokens replace this one: at least one KMS names it, and each of them has
    /// another token that is ready.
    pub fn is_stood_in_for(&self, token: &Token, tree: &ResourceTree) -> bool {
        let mut names_it = tree
            .services()
            .filter_map(|(path, _)| tree.kms(path))
            .filter(|kms| kms.tokens.iter().any(|name| name == token.name()))
            .peekable();
        names_it.peek().is_some() && names_it.all(|kms| self.has_ready_token(kms))
    }

    fn has_ready_token(&self, kms: &Kms) -> bool {
        let tokens = self.tokens_of(kms).unwrap_or_default();
        tokens.iter().any(|token| token.state().is_ready())
    }

    fn readiness(&self, path: &ResourcePath, kms: &Kms) -> KmsReadiness {
        if !self.has_ready_token(kms) {
            return KmsReadiness::NoToken;
        }
        let mut seen = BTreeMap::new();
        let tokens = self.tokens_of(kms).unwrap_or_default();
        for token in tokens.into_iter().filter(|token| token.state().is_up()) {
            let differs = token.listed(|catalogue| {
                let keys = keys_of(path, kms, catalogue).into_iter();
                let usable = keys.filter_map(|(key, entries)| match entries[..] {
                    [entry] => Some((key, entry.public_key.as_ref().ok()?.spki_sha256())),
                    _ => None,
                });
                usable
                    .map(|(key, spki)| (*seen.entry(key.clone()).or_insert(spki) != spki, key))
                    .find_map(|(differs, key)| differs.then_some(key))
            });
            if let Some(key) = differs {
                return KmsReadiness::Different(key);
            }
        }
        KmsReadiness::Ready
    }
}
