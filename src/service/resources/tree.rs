//! The current resource tree: the declared resources merged with those in the ledger.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::Definition;
use crate::{
    domain::{
        path::ResourcePath,
        tree::{Node, Origin, ResourceTree, Service},
    },
    ledger::{Ledger, StoredResource},
};

/// The shared tree (copy on write): readers take a snapshot, writers replace the whole tree, one at
/// a time.
pub struct Tree {
    current: RwLock<Arc<ResourceTree>>,
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Configured names that turned out to be the same token, once the tokens had started.
    same_tokens: RwLock<BTreeMap<String, String>>,
}

impl Tree {
    /// Merges the stored resources into the declared tree.
    ///
    /// # Errors
    /// A message for the operator when a stored resource no longer fits the declared ones, or its
    /// token is gone. The daemon does not start then, because it would issue certificates without
    /// storing them where it should.
    pub fn new(
        declared: ResourceTree,
        stored: Vec<StoredResource>,
        tokens: &[&str],
    ) -> Result<Self, String> {
        let tree = merged(declared, stored, tokens)?;
        Ok(Self {
            current: RwLock::new(Arc::new(tree)),
            changing: tokio::sync::Mutex::new(()),
            same_tokens: RwLock::default(),
        })
    }

    /// Prepares the tree for a new configuration. The returned guard locks the tree against changes
    /// until it is taken up or dropped.
    ///
    /// # Errors
    /// As for [`Self::new`], or that the ledger cannot be read.
    pub async fn redeclare(
        &self,
        declared: ResourceTree,
        ledger: &Ledger,
        tokens: &[&str],
    ) -> Result<Redeclared<'_>, String> {
        let alone = self.changing.lock().await;
        let stored = ledger.resources().await.map_err(|error| format!("ledger: {error}"))?;
        let mut next = merged(declared, stored, tokens)?;
        next.add_same_tokens(&self.same_tokens.read().unwrap_or_else(PoisonError::into_inner));
        Ok(Redeclared { tree: self, next, _alone: alone })
    }

    /// Records which configured names are the same token, once the tokens have started. Trees of
    /// later configurations get it too.
    pub async fn learn_same_tokens(&self, names: BTreeMap<String, String>) {
        let _alone = self.changing.lock().await;
        let mut tree = ResourceTree::clone(&self.snapshot());
        tree.add_same_tokens(&names);
        self.replace(tree);
        *self.same_tokens.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// The tree as it is now.
    pub fn snapshot(&self) -> Arc<ResourceTree> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, tree: ResourceTree) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tree);
    }
}

/// A prepared tree, and the lock on changes.
pub struct Redeclared<'a> {
    tree: &'a Tree,
    next: ResourceTree,
    _alone: tokio::sync::MutexGuard<'a, ()>,
}

impl Redeclared<'_> {
    /// The tree itself.
    pub fn tree(&self) -> &ResourceTree {
        &self.next
    }

    /// Makes it the current tree.
    pub fn take_up(self) {
        self.tree.replace(self.next);
    }
}

fn merged(
    mut declared: ResourceTree,
    stored: Vec<StoredResource>,
    tokens: &[&str],
) -> Result<ResourceTree, String> {
    // Sorted by depth, because a parent must be inserted before its children.
    let mut stored = stored;
    stored.sort_by_key(|resource| resource.path.elements().count());
    let misfit = |path: &ResourcePath, error: &dyn std::fmt::Display| {
        format!("{path} in the ledger does not fit the configuration: {error}")
    };
    let mut attached = Vec::new();
    for StoredResource { path, definition } in stored {
        let node = serde_json::from_str::<Definition>(&definition)
            .map_err(|error| format!("{path} in the ledger: {error}"))?
            .into_node()
            .map_err(|error| format!("{path} in the ledger: {error}"))?;
        if let Node::Service(Service::Kms(kms)) = &node
            && let Some(gone) = kms.tokens.iter().find(|name| !tokens.contains(&name.as_str()))
        {
            let error = format!("token '{gone}' is not configured");
            return Err(misfit(&path, &error));
        }
        if let Node::Service(service) = &node {
            let dependencies = service.dependencies().unwrap_or_default().to_vec();
            attached.push((path.clone(), service.kind(), dependencies));
        }
        declared.insert(path.clone(), Origin::Api, node).map_err(|error| misfit(&path, &error))?;
    }
    for (path, kind, dependencies) in attached {
        for dependency in dependencies {
            declared
                .check_dependency(&path, kind, &dependency)
                .map_err(|error| misfit(&path, &error))?;
        }
    }
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(path: &str, definition: &str) -> StoredResource {
        StoredResource {
            path: ResourcePath::parse(path).unwrap(),
            definition: definition.to_owned(),
        }
    }

    fn put_together(stored: Vec<StoredResource>) -> Result<ResourceTree, String> {
        let mut declared = ResourceTree::default();
        let acme = ResourcePath::parse("acme").unwrap();
        declared.insert(acme, Origin::Config, Node::Organisation).unwrap();
        merged(declared, stored, &["main"])
    }

    const TENANT: &str = r#"{"type":"tenant","name":"DMV"}"#;
    const KMS: &str = r#"{"type":"kms","token":"main"}"#;
    const X509: &str = r#"{"type":"x509-service","dependencies":["acme.dmv.kms"]}"#;

    #[test]
    fn stored_resources_go_into_the_tree_whatever_their_order() {
        let tree = put_together(vec![
            stored("acme.dmv.x509", X509),
            stored("acme.dmv.kms", KMS),
            stored("acme.dmv", TENANT),
        ]);
        let tree = tree.unwrap();
        assert_eq!(tree.services().count(), 2);
        let kms = tree.get(&ResourcePath::parse("acme.dmv.kms").unwrap()).unwrap();
        assert_eq!(kms.origin, Origin::Api);
    }

    #[test]
    fn a_stored_resource_that_fits_no_more_is_an_error_for_the_operator() {
        for (resources, expected) in [
            (vec![stored("acme.dmv.kms", KMS)], "acme.dmv does not exist"),
            (vec![stored("acme", TENANT)], "organisations, and nothing else, have one element"),
            (
                vec![stored("acme.kms", r#"{"type":"kms","token":"gone"}"#)],
                "token 'gone' is not configured",
            ),
            (vec![stored("acme.x509", X509)], "acme.dmv.kms does not exist"),
            (vec![stored("acme.x", r#"{"type":"safe"}"#)], "acme.x in the ledger"),
        ] {
            let error = put_together(resources).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
