//! The resource tree: organisations, tenants, services, and what a service is attached to.

mod node;
mod shared;

use std::collections::BTreeMap;

pub use node::{Kms, Node, Origin, Resource, Service, ServiceKind, Vical};
pub use shared::SharedLabel;

pub use super::label::LabelTemplate;
use super::path::{PathElement, ResourcePath};

/// The tree as one map by path. Siblings have distinct names, whatever their kind.
#[derive(Debug, Default, Clone)]
pub struct ResourceTree {
    nodes: BTreeMap<ResourcePath, Resource>,
    /// Aliases: configured names of a token that has another configured name, with that name.
    same_tokens: BTreeMap<String, String>,
}

impl ResourceTree {
    /// Puts a resource into the tree.
    ///
    /// # Errors
    /// [`Misplaced`] says why it cannot be at that path.
    pub fn insert(
        &mut self,
        path: ResourcePath,
        origin: Origin,
        node: Node,
    ) -> Result<(), Misplaced> {
        self.check_place(&path, &node)?;
        self.nodes.insert(path, Resource { origin, node });
        Ok(())
    }

    /// Whether a resource may stand there.
    ///
    /// # Errors
    /// [`Misplaced`] says why not. A missing parent is reported before a taken path.
    pub fn check_place(&self, path: &ResourcePath, node: &Node) -> Result<(), Misplaced> {
        match (path.parent(), node) {
            (None, Node::Organisation) if path.as_str() == RESERVED_ORGANISATION => {
                Err(Misplaced::Reserved)
            }
            (None, Node::Organisation) => self.check_free(path),
            (Some(_), Node::Organisation) => Err(Misplaced::Level(path.clone())),
            (_, Node::Tenant(_) | Node::Service(_)) => self.check_place_below(path),
        }
    }

    /// Whether a tenant or service may stand there.
    ///
    /// # Errors
    /// As [`Self::check_place`].
    pub fn check_place_below(&self, path: &ResourcePath) -> Result<(), Misplaced> {
        let parent = path.parent().ok_or_else(|| Misplaced::Level(path.clone()))?;
        match self.node(&parent) {
            Some(Node::Organisation | Node::Tenant(_)) => self.check_free(path),
            Some(Node::Service(_)) => Err(Misplaced::UnderService(parent)),
            None => Err(Misplaced::NoParent(parent)),
        }
    }

    fn check_free(&self, path: &ResourcePath) -> Result<(), Misplaced> {
        if self.nodes.contains_key(path) {
            return Err(Misplaced::Taken(path.clone()));
        }
        Ok(())
    }

    /// Whether `dependency` may be attached to `service`.
    ///
    /// # Errors
    /// [`Unattachable`] says why not.
    pub fn check_dependency(
        &self,
        service: &ResourcePath,
        kind: ServiceKind,
        dependency: &ResourcePath,
    ) -> Result<(), Unattachable> {
        let attached = match self.node(dependency) {
            None => return Err(Unattachable::Unknown(dependency.clone())),
            Some(Node::Organisation | Node::Tenant(_)) => {
                return Err(Unattachable::NoService(dependency.clone()));
            }
            Some(Node::Service(attached)) => attached.kind(),
        };
        let fits = matches!(kind, ServiceKind::X509 | ServiceKind::Vical)
            && matches!(attached, ServiceKind::Kms | ServiceKind::X509Store);
        if !fits {
            return Err(Unattachable::Type(kind, attached));
        }
        if dependency.organisation() != service.organisation() {
            return Err(Unattachable::Organisation(dependency.clone()));
        }
        Ok(())
    }

    /// Replaces the dependencies of a service, if its type has dependencies.
    pub fn set_dependencies(&mut self, service: &ResourcePath, to: Vec<ResourcePath>) {
        if let Some(Resource { node: Node::Service(service), .. }) = self.nodes.get_mut(service)
            && let Some(dependencies) = service.dependencies_mut()
        {
            *dependencies = to;
        }
    }

    /// Finds the longest prefix of a path that is a node. An element after a service is a child of
    /// that service.
    pub fn resolve<'a>(&'a self, path: &ResourcePath) -> Option<Resolved<'a>> {
        if let Some((path, resource)) = self.nodes.get_key_value(path) {
            return Some(match &resource.node {
                Node::Organisation | Node::Tenant(_) => Resolved::Branch,
                Node::Service(service) => Resolved::Service { path, service },
            });
        }
        let parent = path.parent_text()?;
        match self.nodes.get_key_value(parent) {
            Some((path_of_service, Resource { node: Node::Service(service), .. })) => {
                Some(Resolved::Child { path: path_of_service, service, id: path.last() })
            }
            Some(_) => None,
            None => self.resolve_version(&path.parent()?, path.last()),
        }
    }

    /// Below `versions`, the reserved child of a VICAL service.
    fn resolve_version<'a>(
        &'a self,
        parent: &ResourcePath,
        id: PathElement,
    ) -> Option<Resolved<'a>> {
        let service = parent.parent().filter(|_| parent.last() == PathElement::versions())?;
        match self.nodes.get_key_value(&service) {
            Some((path, Resource { node: Node::Service(service @ Service::Vical(_)), .. })) => {
                Some(Resolved::Version { path, service, id })
            }
            _ => None,
        }
    }

    /// The resource at exactly this path.
    pub fn get(&self, path: &ResourcePath) -> Option<&Resource> {
        self.nodes.get(path)
    }

    /// The node at exactly this path.
    pub fn node(&self, path: &ResourcePath) -> Option<&Node> {
        self.nodes.get(path).map(|resource| &resource.node)
    }

    /// The service at exactly this path.
    pub fn service(&self, path: &ResourcePath) -> Option<&Service> {
        match self.node(path) {
            Some(Node::Service(service)) => Some(service),
            _ => None,
        }
    }

    /// The KMS service at exactly this path.
    pub fn kms(&self, path: &ResourcePath) -> Option<&Kms> {
        match self.service(path) {
            Some(Service::Kms(kms)) => Some(kms),
            _ => None,
        }
    }

    /// The direct children of a path, sorted by path.
    pub fn children<'a>(
        &'a self,
        parent: &'a ResourcePath,
    ) -> impl Iterator<Item = (&'a ResourcePath, &'a Resource)> {
        self.nodes.iter().filter(move |(path, _)| path.parent_text() == Some(parent.as_str()))
    }

    /// All services, sorted by path.
    pub fn services(&self) -> impl Iterator<Item = (&ResourcePath, &Service)> {
        self.nodes.iter().filter_map(|(path, resource)| match &resource.node {
            Node::Service(service) => Some((path, service)),
            Node::Organisation | Node::Tenant(_) => None,
        })
    }
}

/// Why a resource cannot be at a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// The path is taken.
    #[error("{0} exists")]
    Taken(ResourcePath),
    /// There is no parent.
    #[error("{0} does not exist")]
    NoParent(ResourcePath),
    /// The parent is a service.
    #[error("{0} is a service; tenants and services stand under an organisation or a tenant")]
    UnderService(ResourcePath),
    /// An organisation that is not at the top, or another node at the top.
    #[error("{0}: organisations, and nothing else, have one element")]
    Level(ResourcePath),
    /// The name is reserved for the audit log.
    #[error("'{RESERVED_ORGANISATION}' cannot be an organisation")]
    Reserved,
}

/// Why a service cannot be attached to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unattachable {
    /// There is no such resource.
    #[error("{0} does not exist")]
    Unknown(ResourcePath),
    /// An organisation or a tenant.
    #[error("{0} is not a service")]
    NoService(ResourcePath),
    /// The types do not go together.
    #[error("{} cannot depend on {}", .0.with_article(), .1.with_article())]
    Type(ServiceKind, ServiceKind),
    /// It belongs to another organisation.
    #[error("{0} belongs to another organisation")]
    Organisation(ResourcePath),
}

/// The audit log has this path.
const RESERVED_ORGANISATION: &str = "audit";

/// The result of resolving a target.
#[derive(Debug)]
pub enum Resolved<'a> {
    /// An organisation or a tenant.
    Branch,
    /// A service.
    Service {
        /// Its path.
        path: &'a ResourcePath,
        /// The service.
        service: &'a Service,
    },
    /// One element below a service. The tree does not know whether it exists.
    Child {
        /// The path of the service.
        path: &'a ResourcePath,
        /// The service.
        service: &'a Service,
        /// The element.
        id: PathElement,
    },
    /// A version of a VICAL service. The tree does not know whether it was published.
    Version {
        /// The path of the service.
        path: &'a ResourcePath,
        /// The service.
        service: &'a Service,
        /// The version.
        id: PathElement,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::path::KeyPath;

    fn path(text: &str) -> ResourcePath {
        ResourcePath::parse(text).unwrap()
    }

    fn tree() -> ResourceTree {
        let mut tree = ResourceTree::default();
        let tenant = || Node::Tenant("tenant".to_owned());
        for (at, node) in [
            ("acme", Node::Organisation),
            ("acme.dmv", tenant()),
            ("acme.dmv.north", tenant()),
            ("acme.certs", Node::Service(Service::X509Store)),
            ("acme.dmv.north.certs", Node::Service(Service::X509Store)),
        ] {
            tree.insert(path(at), Origin::Config, node).unwrap();
        }
        tree
    }

    #[test]
    fn a_target_is_resolved_by_walking_not_by_counting_dots() {
        let tree = tree();
        for target in ["acme.certs", "acme.dmv.north.certs"] {
            assert!(matches!(tree.resolve(&path(target)), Some(Resolved::Service { .. })));
            let child = path(&format!("{target}.a"));
            assert!(
                matches!(tree.resolve(&child), Some(Resolved::Child { id, .. }) if id.as_str() == "a")
            );
            assert!(tree.resolve(&path(&format!("{target}.a.b"))).is_none());
        }
        assert!(matches!(tree.resolve(&path("acme.dmv")), Some(Resolved::Branch)));
        assert!(tree.resolve(&path("acme.dmv.none")).is_none());
        assert!(tree.resolve(&path("other")).is_none());
    }

    #[test]
    fn versions_stand_under_vical_services_alone() {
        let mut tree = tree();
        let vical = Vical {
            signing_key: KeyPath::parse("acme.kms.k").unwrap(),
            signer_certificate: path("acme.certs.k"),
            signer_certificate_chain: Vec::new(),
            dependencies: Vec::new(),
        };
        let node = Node::Service(Service::Vical(vical));
        tree.insert(path("acme.dmv.vical"), Origin::Config, node).unwrap();
        let version = path("acme.dmv.vical.versions.a");
        assert!(
            matches!(tree.resolve(&version), Some(Resolved::Version { id, .. }) if id.as_str() == "a")
        );
        for none in ["acme.certs.versions.a", "acme.dmv.vical.other.a", "acme.dmv.versions.a"] {
            assert!(tree.resolve(&path(none)).is_none(), "{none}");
        }
        assert!(tree.resolve(&path("acme.dmv.vical.versions.a.b")).is_none());
    }

    #[test]
    fn nothing_stands_under_a_service_or_under_nothing_or_twice() {
        let mut tree = tree();
        let tenant = || Node::Tenant("tenant".to_owned());
        for (at, node) in [
            ("acme.certs.x", tenant()),
            ("acme.none.x", tenant()),
            ("acme.dmv", tenant()),
            ("acme.dmv", Node::Service(Service::X509Store)),
            ("audit", Node::Organisation),
            ("a.b", Node::Organisation),
            ("b", tenant()),
        ] {
            assert!(tree.insert(path(at), Origin::Api, node).is_err(), "{at}");
        }
    }
}
