//! The resource tree: organisations, tenants, services, and what a service is attached to.

mod shared;

use std::collections::BTreeMap;

pub use shared::SharedLabel;

pub use super::label::LabelTemplate;
use super::{
    client::KeyPurpose,
    path::{KeyPath, PathElement, ResourcePath},
};

/// The tree. Siblings of any kind have distinct names, so one map by path holds them all.
#[derive(Debug, Default, Clone)]
pub struct ResourceTree {
    nodes: BTreeMap<ResourcePath, Resource>,
    /// Names of tokens that stand for the same token as another name, with that other.
    same_tokens: BTreeMap<String, String>,
}

/// What stands at a path, and who put it there.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Declared resources are read-only over the API.
    pub origin: Origin,
    /// What it is.
    pub node: Node,
}

/// Who put a resource into the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    Config,
    /// A client, over the API.
    Api,
}

impl Origin {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Api => "api",
        }
    }
}

/// What stands at a path.
#[derive(Debug, Clone)]
pub enum Node {
    /// The top.
    Organisation,
    /// Below an organisation or a tenant, with its display name.
    Tenant(String),
    /// Below an organisation or a tenant.
    Service(Service),
}

/// A service.
#[derive(Debug, Clone)]
pub enum Service {
    /// Keys on a token.
    Kms(Kms),
    /// Issues certificates with the keys of its KMS services, into its stores.
    X509 {
        /// KMS services and stores, in order of attachment.
        dependencies: Vec<ResourcePath>,
    },
    /// Keeps certificates.
    X509Store,
    /// Publishes VICALs.
    Vical(Vical),
}

/// What a VICAL service signs with, and what it lists.
#[derive(Debug, Clone)]
pub struct Vical {
    /// The key that signs; looked up at publication.
    pub signing_key: KeyPath,
    /// The stored certificate of that key.
    pub signer_certificate: ResourcePath,
    /// The stored certificates above it, the issuer of the signer first.
    pub signer_certificate_chain: Vec<ResourcePath>,
    /// Stores whose VICAL entries are listed, and KMS services, in order of attachment.
    pub dependencies: Vec<ResourcePath>,
}

impl Vical {
    /// Certificates above the signer's, at most: each publication reads and verifies them all.
    pub const CHAIN_MAX: usize = 8;
}

impl Service {
    /// Its type.
    pub fn kind(&self) -> ServiceKind {
        match self {
            Self::Kms(_) => ServiceKind::Kms,
            Self::X509 { .. } => ServiceKind::X509,
            Self::X509Store => ServiceKind::X509Store,
            Self::Vical(_) => ServiceKind::Vical,
        }
    }

    /// What is attached to it, in order of attachment; `None` when nothing can be.
    pub fn dependencies(&self) -> Option<&[ResourcePath]> {
        match self {
            Self::X509 { dependencies } => Some(dependencies),
            Self::Vical(vical) => Some(&vical.dependencies),
            Self::Kms(_) | Self::X509Store => None,
        }
    }

    fn dependencies_mut(&mut self) -> Option<&mut Vec<ResourcePath>> {
        match self {
            Self::X509 { dependencies } => Some(dependencies),
            Self::Vical(vical) => Some(&mut vical.dependencies),
            Self::Kms(_) | Self::X509Store => None,
        }
    }
}

/// The four types of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// `kms`.
    Kms,
    /// `x509-service`.
    X509,
    /// `x509-store`.
    X509Store,
    /// `vical-service`.
    Vical,
}

impl ServiceKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kms, Self::X509, Self::X509Store, Self::Vical];

    /// The name on the wire and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::X509 => "x509-service",
            Self::X509Store => "x509-store",
            Self::Vical => "vical-service",
        }
    }

    /// With its article, for messages.
    pub fn with_article(self) -> String {
        match self {
            Self::X509 | Self::X509Store => format!("an {}", self.name()),
            Self::Kms | Self::Vical => format!("a {}", self.name()),
        }
    }

    /// The path segment of its routes.
    pub fn api(self) -> &'static str {
        match self {
            Self::Kms => "kms-service-api",
            Self::X509 => "x509-service-api",
            Self::X509Store => "x509-store-api",
            Self::Vical => "vical-service-api",
        }
    }
}

/// How a KMS service finds its keys on its tokens, and what each may sign.
#[derive(Debug, Clone, Default)]
pub struct Kms {
    /// The configured tokens, at least one; several are to hold the same keys.
    pub tokens: Vec<String>,
    /// Labels of keys that were there before us; wins over the template.
    pub labels: BTreeMap<PathElement, String>,
    /// How other labels are made.
    pub template: LabelTemplate,
    /// The purposes that a key is narrowed to; a key without an entry may sign for all.
    pub policies: BTreeMap<PathElement, Vec<KeyPurpose>>,
    /// Whether the operator wants it to lead to keys of other KMS services that say the same.
    pub shared_labels: bool,
}

impl Kms {
    /// The first of its tokens.
    pub fn first_token(&self) -> &str {
        self.tokens.first().map_or("", String::as_str)
    }

    /// The `CKA_LABEL` that a key path leads to.
    pub fn label_of(&self, key: &KeyPath) -> String {
        match self.labels.get(key.id_text()) {
            Some(label) => label.clone(),
            None => self.template.label_of(key),
        }
    }

    /// Whether the key's label is told by the configuration, by table or template: such keys are
    /// managed on the token.
    pub fn adopts(&self, key: &KeyPath) -> bool {
        self.labels.contains_key(key.id_text()) || self.template != LabelTemplate::default()
    }

    /// Whether the policy lets the key sign for `purpose`.
    pub fn allows(&self, key: &KeyPath, purpose: KeyPurpose) -> bool {
        self.policies.get(key.id_text()).is_none_or(|purposes| purposes.contains(&purpose))
    }

    /// The purposes that the policy names for the key.
    pub fn listed(&self, key: &KeyPath) -> &[KeyPurpose] {
        self.policies.get(key.id_text()).map_or(&[], Vec::as_slice)
    }
}

impl ResourceTree {
    /// Puts a resource into the tree.
    ///
    /// # Errors
    /// [`Misplaced`] says what is wrong with the place.
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
    /// [`Misplaced`] says why not. That there is nothing above comes before that it is taken.
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

    /// Replaces the dependencies of a service that can have some.
    pub fn set_dependencies(&mut self, service: &ResourcePath, to: Vec<ResourcePath>) {
        if let Some(Resource { node: Node::Service(service), .. }) = self.nodes.get_mut(service)
            && let Some(dependencies) = service.dependencies_mut()
        {
            *dependencies = to;
        }
    }

    /// Walks from the organisation down; what remains after a service is its child.
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

    /// What stands at exactly this path, and who put it there.
    pub fn get(&self, path: &ResourcePath) -> Option<&Resource> {
        self.nodes.get(path)
    }

    /// What stands at exactly this path.
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

/// Why a resource cannot stand at a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// Something stands there.
    #[error("{0} exists")]
    Taken(ResourcePath),
    /// Nothing stands above it.
    #[error("{0} does not exist")]
    NoParent(ResourcePath),
    /// A service stands above it.
    #[error("{0} is a service; tenants and services stand under an organisation or a tenant")]
    UnderService(ResourcePath),
    /// An organisation below something, or anything else at the top.
    #[error("{0}: organisations, and nothing else, have one element")]
    Level(ResourcePath),
    /// The name of the audit log.
    #[error("'{RESERVED_ORGANISATION}' cannot be an organisation")]
    Reserved,
}

/// Why a service cannot be attached to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unattachable {
    /// Nothing stands there.
    #[error("{0} does not exist")]
    Unknown(ResourcePath),
    /// An organisation or a tenant.
    #[error("{0} is not a service")]
    NoService(ResourcePath),
    /// The types do not go together.
    #[error("{} cannot depend on {}", .0.with_article(), .1.with_article())]
    Type(ServiceKind, ServiceKind),
    /// Another organisation's.
    #[error("{0} belongs to another organisation")]
    Organisation(ResourcePath),
}

/// The audit log has this path for itself.
const RESERVED_ORGANISATION: &str = "audit";

/// What a target leads to.
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
    /// One element below a service; whether it exists is for the service to say.
    Child {
        /// The path of the service.
        path: &'a ResourcePath,
        /// The service.
        service: &'a Service,
        /// The element.
        id: PathElement,
    },
    /// A version of a VICAL service; whether it was published is for the service to say.
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
