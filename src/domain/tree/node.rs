//! The nodes of the resource tree: organisations, tenants, services.

use std::collections::BTreeMap;

use crate::domain::{
    client::KeyPurpose,
    label::LabelTemplate,
    path::{KeyPath, PathElement, ResourcePath},
};

/// A node and its origin.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Declared resources are read-only over the API.
    pub origin: Origin,
    /// What it is.
    pub node: Node,
}

/// Who created a resource.
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

/// A node of the tree.
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

    /// Its dependencies in order of attachment; `None` for types that have none.
    pub fn dependencies(&self) -> Option<&[ResourcePath]> {
        match self {
            Self::X509 { dependencies } => Some(dependencies),
            Self::Vical(vical) => Some(&vical.dependencies),
            Self::Kms(_) | Self::X509Store => None,
        }
    }

    pub(super) fn dependencies_mut(&mut self) -> Option<&mut Vec<ResourcePath>> {
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
    /// Labels of existing keys that the KMS adopts. They take precedence over the template.
    pub labels: BTreeMap<PathElement, String>,
    /// The template of all other labels.
    pub template: LabelTemplate,
    /// The purposes that a key is narrowed to; a key without an entry may sign for all.
    pub policies: BTreeMap<PathElement, Vec<KeyPurpose>>,
    /// Whether the operator allows it to share labels with other KMS services that allow it too.
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

    /// Whether the configuration gives the key's label, by table or template (an adopted key). Such
    /// keys are managed on the token.
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
