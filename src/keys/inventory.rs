//! Which keys of a token belong to a KMS service.

use std::collections::BTreeMap;

use crate::{
    domain::{
        path::{KeyPath, ResourcePath},
        tree::Kms,
    },
    hsm::CatalogueEntry,
};

/// Lists the keys of a KMS: those that its label table names, and those on the token whose label
/// fits its template. Each comes with all private keys that have its label; the list is empty only
/// for a key of the table that is not on the token.
pub fn keys_of<'a>(
    kms_path: &ResourcePath,
    kms: &Kms,
    catalogue: &'a [CatalogueEntry],
) -> BTreeMap<KeyPath, Vec<&'a CatalogueEntry>> {
    let with_label =
        |label: &str| catalogue.iter().filter(|entry| entry.answers_to(label)).collect();
    let tabled =
        kms.labels.iter().map(|(id, label)| (KeyPath::of(kms_path, id), with_label(label)));
    let templated = catalogue.iter().filter_map(|entry| {
        let id = kms.template.key_of(kms_path, &entry.label)?;
        let key = KeyPath::of(kms_path, &id);
        (kms.label_of(&key) == entry.label).then(|| (key, with_label(&entry.label)))
    });
    tabled.chain(templated).collect()
}
