//! Finds KMS services that share labels, and so keys, on one token.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Kms, Origin, ResourceTree};
use crate::domain::{
    label::{LabelPattern, LabelTemplate},
    path::ResourcePath,
};

/// Two KMS services that can produce the same label on one token, so that each could sign with the
/// other's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLabel {
    /// One of them.
    pub one: ResourcePath,
    /// The other.
    pub other: ResourcePath,
    /// The token, by the name that the first of the two uses.
    pub token: String,
    /// A label that both can lead to.
    pub label: String,
    /// Whether the configuration declares both.
    pub is_declared: bool,
}

impl ResourceTree {
    /// Adds aliases of tokens to those that are known.
    pub fn add_same_tokens(&mut self, names: &BTreeMap<String, String>) {
        self.same_tokens.extend(names.iter().map(|(name, of)| (name.clone(), of.clone())));
    }

    /// All pairs of KMS services that can share a label, unless the operator allows it on both
    /// sides.
    pub fn shared_labels(&self) -> Vec<SharedLabel> {
        let all: Vec<_> = self.all_kms().collect();
        let (plain, special): (Vec<_>, Vec<_>) = all.iter().partition(|(_, kms)| is_plain(kms));
        let mut found = Vec::new();
        for (index, (path, kms)) in special.iter().enumerate() {
            for (other_path, other) in special[index + 1..].iter().chain(&plain) {
                let is_meant = kms.shared_labels && other.shared_labels;
                let shared = self.shared((path, kms), (other_path, other));
                found.extend(shared.filter(|_| !is_meant));
            }
        }
        found
    }

    /// A KMS that could share a label with a new one at `path`.
    pub fn sharing(&self, path: &ResourcePath, kms: &Kms) -> Option<SharedLabel> {
        self.all_kms().find_map(|other| self.shared((path, kms), other))
    }

    /// Two configured tokens of one KMS that are the same token, so that it has no replica.
    pub fn tokens_twice<'a>(&self, kms: &'a Kms) -> Option<(&'a str, &'a str)> {
        kms.tokens.iter().enumerate().find_map(|(index, name)| {
            let is_same = |other: &&String| self.token(other) == self.token(name);
            let other = kms.tokens[..index].iter().find(is_same)?;
            Some((other.as_str(), name.as_str()))
        })
    }

    fn all_kms(&self) -> impl Iterator<Item = (&ResourcePath, &Kms)> {
        self.services().filter_map(|(path, _)| Some((path, self.kms(path)?)))
    }

    /// Resolves aliases of a token to one name.
    fn token<'a>(&'a self, name: &'a str) -> &'a str {
        self.same_tokens.get(name).map_or(name, String::as_str)
    }

    fn shared(
        &self,
        (path, kms): (&ResourcePath, &Kms),
        (other_path, other): (&ResourcePath, &Kms),
    ) -> Option<SharedLabel> {
        // Labels that are full paths differ between KMS services.
        if path == other_path || (is_plain(kms) && is_plain(other)) {
            return None;
        }
        let is_others =
            |name: &&String| other.tokens.iter().any(|on| self.token(on) == self.token(name));
        let token = kms.tokens.iter().find(is_others)?.clone();
        let label = common_label((path, kms), (other_path, other))?;
        let is_declared = [path, other_path]
            .iter()
            .all(|path| self.get(path).is_some_and(|found| found.origin == Origin::Config));
        Some(SharedLabel {
            one: path.clone(),
            other: other_path.clone(),
            token,
            label,
            is_declared,
        })
    }
}

/// Whether its labels are the full paths of its keys.
fn is_plain(kms: &Kms) -> bool {
    kms.labels.is_empty() && kms.template == LabelTemplate::default()
}

/// Finds a label that both can produce. The template's label of a key in the table counts too,
/// because the table may change.
fn common_label(
    (path, kms): (&ResourcePath, &Kms),
    (other_path, other): (&ResourcePath, &Kms),
) -> Option<String> {
    let (made, other_made) = (kms.template.pattern(path), other.template.pattern(other_path));
    if let Some(label) = made.common(&other_made) {
        return Some(label);
    }
    let tabled: HashSet<&String> = kms.labels.values().collect();
    let is_made =
        |by: &LabelPattern, label: &str| by.common(&LabelPattern::exactly(label)).is_some();
    let of_other =
        other.labels.values().find(|label| tabled.contains(label) || is_made(&made, label));
    of_other.or_else(|| kms.labels.values().find(|label| is_made(&other_made, label))).cloned()
}

impl Kms {
    /// Two keys of one KMS with the same label and different policies. The stricter policy has no
    /// effect then, because the same object signs under the other id. Returns both ids and the
    /// label.
    pub fn aliases(&self, path: &ResourcePath) -> Option<(String, String, String)> {
        let mut seen = HashMap::new();
        for (id, label) in &self.labels {
            let made =
                self.template.key_of(path, label).filter(|made| !self.labels.contains_key(made));
            let others = [seen.insert(label, id).cloned(), made];
            for other in others.into_iter().flatten().filter(|other| other != id) {
                if self.policies.get(id) != self.policies.get(&other) {
                    return Some((other.to_string(), id.to_string(), label.clone()));
                }
            }
        }
        None
    }
}
