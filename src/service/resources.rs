//! Use cases of the resource tree: create tenants and services, attach and detach dependencies.
//!
//! Resources that the configuration declares are read-only. All others are stored in the ledger
//! first, and put into the tree after that.

mod definition;
mod tree;
mod uses;

use std::collections::HashSet;

pub(super) use definition::Definition;
use serde_json::json;
pub use tree::{Redeclared, Tree};
pub(super) use uses::store_of;

use super::{
    Call, Services,
    error::{DuplicateKind, Error, Invalid},
    key_errors,
};
use crate::{
    audit::EntryKind,
    domain::{
        client::Permission,
        member::{Member, Message},
        path::{KeyPath, ResourcePath},
        time::Timestamp,
        tree::{
            Kms, Misplaced, Node, Origin, Resource, ResourceTree, Service, ServiceKind,
            Unattachable, Vical,
        },
    },
    ledger::{CreateError, StoredResource},
};

/// Creates a tenant at the target of the call.
///
/// # Errors
/// [`Error`]: no parent (404), a parent that is no organisation or tenant (400), taken (409).
pub async fn create_tenant(
    services: &Services,
    call: &Call,
    name: Option<String>,
    now: Timestamp,
) -> Result<Resource, Error> {
    let name = name.unwrap_or_else(|| call.target.last().as_str().to_owned());
    let _alone = services.tree.changing.lock().await;
    let tree = services.tree.snapshot();
    check_place(&tree, &call.target)?;
    let node = Node::Tenant(name);
    create(services, call, &tree, node, EntryKind::TenantCreated, now).await
}

/// A service that a client asks for.
pub struct NewService {
    /// Its type and what that needs.
    pub kind: NewServiceKind,
    /// What is attached to it from the start, in this order.
    pub dependencies: Vec<ResourcePath>,
}

/// What each type of service needs.
pub enum NewServiceKind {
    /// A KMS; the token may be left out when there is only one.
    Kms {
        /// The name of a configured token.
        token: Option<String>,
    },
    /// An x509 service.
    X509,
    /// A store.
    X509Store,
    /// A VICAL service.
    Vical {
        /// The key that signs.
        signing_key: KeyPath,
        /// The stored certificate of that key.
        signer_certificate: ResourcePath,
        /// The stored certificates above it.
        signer_certificate_chain: Vec<ResourcePath>,
    },
}

impl NewServiceKind {
    fn service_kind(&self) -> ServiceKind {
        match self {
            Self::Kms { .. } => ServiceKind::Kms,
            Self::X509 => ServiceKind::X509,
            Self::X509Store => ServiceKind::X509Store,
            Self::Vical { .. } => ServiceKind::Vical,
        }
    }
}

/// Creates a service at the target of the call, with its dependencies, or nothing.
///
/// # Errors
/// [`Error`]: no grant on something that the service will use (403, before anything else is said);
/// as for tenants; a type that is switched off (403); a dependency that does not exist (404) or does
/// not fit (400).
pub async fn create_service(
    services: &Services,
    call: &Call,
    new: NewService,
    now: Timestamp,
) -> Result<Resource, Error> {
    uses::check_grants(call, &new)?;
    let _alone = services.tree.changing.lock().await;
    let tree = services.tree.snapshot();
    let kind = new.kind.service_kind();
    if !services.features.0.contains(&kind) {
        return Err(Error::Forbidden {
            message: format!("services of type {} are switched off", kind.name()).into(),
            field: Some(Member::ServiceType),
        });
    }
    // Checked before the members, so that a repeated request is told that the service exists,
    // whatever else it says.
    check_place(&tree, &call.target)?;
    let service = service_of(services, &tree, &call.target, new)?;
    if let Service::Kms(kms) = &service {
        refuse_shared_labels(call, &tree, kms)?;
    }
    let dependencies = service.dependencies().unwrap_or_default();
    let mut seen = HashSet::new();
    for (index, dependency) in dependencies.iter().enumerate() {
        let member = Member::DependencyAt(index);
        if !seen.insert(dependency) {
            return Err(Invalid::at(member, format!("{dependency} is named twice")).into());
        }
        tree.check_dependency(&call.target, kind, dependency)
            .map_err(|error| unattachable(&error, Some(member)))?;
    }
    create(services, call, &tree, Node::Service(service), EntryKind::ServiceCreated, now).await
}

/// Attaches a dependency to the service of the call; the answer is the list after it.
///
/// # Errors
/// [`Error`]: no grant on the dependency (403, before anything else is said), attached already (409),
/// a declared service (403), unknown (404), unfit (400).
pub async fn attach(
    services: &Services,
    call: &Call,
    dependency: &ResourcePath,
    member: Option<Member>,
    now: Timestamp,
) -> Result<Vec<ResourcePath>, Error> {
    call.needs(Permission::ResourceWrite, dependency, member)?;
    let _alone = services.tree.changing.lock().await;
    let tree = services.tree.snapshot();
    let (service, mut dependencies) = service_with_dependencies(&tree, &call.target)?;
    if dependencies.contains(dependency) {
        return Err(Error::Conflict {
            message: format!("dependency already exists: {dependency}"),
            retry_after_seconds: None,
        });
    }
    refuse_declared(&tree, &call.target)?;
    tree.check_dependency(&call.target, service, dependency)
        .map_err(|error| unattachable(&error, member))?;
    dependencies.push(dependency.clone());
    change(services, call, &tree, dependencies, EntryKind::DependencyAdded, dependency, now).await
}

/// Detaches a dependency from the service of the call; the answer is the list after it.
///
/// # Errors
/// [`Error`]: a declared service (403), not attached (404).
pub async fn detach(
    services: &Services,
    call: &Call,
    dependency: &ResourcePath,
    now: Timestamp,
) -> Result<Vec<ResourcePath>, Error> {
    let _alone = services.tree.changing.lock().await;
    let tree = services.tree.snapshot();
    let (_, mut dependencies) = service_with_dependencies(&tree, &call.target)?;
    refuse_declared(&tree, &call.target)?;
    let Some(position) = dependencies.iter().position(|attached| attached == dependency) else {
        return Err(Error::NotFound {
            message: format!("{dependency} is not attached to {}", call.target),
            field: Some(Member::Dependency),
        });
    };
    dependencies.remove(position);
    change(services, call, &tree, dependencies, EntryKind::DependencyRemoved, dependency, now).await
}

fn check_place(tree: &ResourceTree, path: &ResourcePath) -> Result<(), Error> {
    tree.check_place_below(path).map_err(|error| match error {
        Misplaced::Taken(target) => {
            let kind = match tree.node(&target) {
                Some(Node::Service(_)) => DuplicateKind::Service,
                Some(Node::Organisation | Node::Tenant(_)) | None => DuplicateKind::Tenant,
            };
            Error::Duplicate { target, kind, field: None }
        }
        Misplaced::NoParent(_) => Error::NotFound { message: error.to_string(), field: None },
        Misplaced::UnderService(_) | Misplaced::Level(_) | Misplaced::Reserved => {
            Invalid::body(error.to_string()).into()
        }
    })
}

fn service_of(
    services: &Services,
    tree: &ResourceTree,
    target: &ResourcePath,
    new: NewService,
) -> Result<Service, Error> {
    let NewService { kind, dependencies } = new;
    Ok(match kind {
        NewServiceKind::Kms { token } => {
            Service::Kms(Kms { tokens: vec![token_name(services, token)?], ..Kms::default() })
        }
        NewServiceKind::X509 => Service::X509 { dependencies },
        NewServiceKind::X509Store => Service::X509Store,
        NewServiceKind::Vical { signing_key, signer_certificate, signer_certificate_chain } => {
            must_be_own(tree, target, &signing_key.kms(), ServiceKind::Kms, Member::VicalKey)?;
            let signer = (Member::VicalSigner, &signer_certificate);
            let chain = signer_certificate_chain
                .iter()
                .enumerate()
                .map(|(index, id)| (Member::VicalChain(index), id));
            for (member, certificate) in std::iter::once(signer).chain(chain) {
                let store = uses::store_of(certificate);
                must_be_own(tree, target, &store, ServiceKind::X509Store, member)?;
            }
            Service::Vical(Vical {
                signing_key,
                signer_certificate,
                signer_certificate_chain,
                dependencies,
            })
        }
    })
}

/// Refuses a KMS whose keys could have the labels of another KMS's keys. Keys of a KMS that is
/// created over the API are labelled with their full paths, and a configured template or label
/// table may produce the same labels.
fn refuse_shared_labels(call: &Call, tree: &ResourceTree, kms: &Kms) -> Result<(), Error> {
    let Some(shared) = tree.sharing(&call.target, kms) else { return Ok(()) };
    tracing::warn!(
        kms = %call.target, label = shared.label, "not created: its keys would be those of another KMS"
    );
    Err(Error::Forbidden {
        message: format!(
            "keys of {} could have the labels of another KMS's keys on their token; an operator has to \
             declare it",
            call.target
        )
        .into(),
        field: None,
    })
}

fn token_name(services: &Services, given: Option<String>) -> Result<String, Error> {
    let mut names = services.keyring.tokens().map(|token| token.name());
    match given {
        Some(name) if names.any(|token| token == name) => Ok(name),
        Some(name) => {
            let message =
                Message::name(Member::Token).text(format!(": '{name}' is not configured"));
            Err(Invalid::at(Member::Token, message).into())
        }
        None => match (names.next(), names.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            _ => {
                let message = Message::name(Member::Token)
                    .text(" is required: more than one token is configured");
                Err(Invalid::at(Member::Token, message).into())
            }
        },
    }
}

/// Refuses a key or certificate of another organisation for a VICAL service. It need not be
/// attached to the service.
fn must_be_own(
    tree: &ResourceTree,
    target: &ResourcePath,
    path: &ResourcePath,
    kind: ServiceKind,
    member: Member,
) -> Result<(), Error> {
    match tree.service(path) {
        Some(service) if service.kind() == kind => {
            if path.organisation() == target.organisation() {
                return Ok(());
            }
            let error = Unattachable::Organisation(path.clone());
            Err(Invalid::at(member, error.to_string()).into())
        }
        _ => Err(Error::NotFound {
            message: format!("{path} does not exist as {}", kind.with_article()),
            field: Some(member),
        }),
    }
}

fn unattachable(error: &Unattachable, member: Option<Member>) -> Error {
    match error {
        Unattachable::Unknown(_) => Error::NotFound { message: error.to_string(), field: member },
        Unattachable::NoService(_) | Unattachable::Type(..) | Unattachable::Organisation(_) => {
            Error::Invalid(Invalid { member, message: error.to_string().into() })
        }
    }
}

fn refuse_declared(tree: &ResourceTree, path: &ResourcePath) -> Result<(), Error> {
    match tree.get(path).map(|resource| resource.origin) {
        Some(Origin::Config) => Err(Error::Forbidden {
            message: format!("{path} is declared in the configuration and read-only").into(),
            field: None,
        }),
        Some(Origin::Api) | None => Ok(()),
    }
}

fn service_with_dependencies(
    tree: &ResourceTree,
    path: &ResourcePath,
) -> Result<(ServiceKind, Vec<ResourcePath>), Error> {
    match tree.service(path).map(|service| (service.kind(), service.dependencies())) {
        Some((kind, Some(dependencies))) => Ok((kind, dependencies.to_vec())),
        _ => Err(Error::NotFound { message: format!("{path} has no dependencies"), field: None }),
    }
}

async fn create(
    services: &Services,
    call: &Call,
    tree: &ResourceTree,
    node: Node,
    kind: EntryKind,
    now: Timestamp,
) -> Result<Resource, Error> {
    let stored = stored(&call.target, &node)?;
    let detail = json!({ "definition": Definition::of(&node) });
    let record = call.entry(kind, detail, now);
    services.ledger.create_resource(stored, record).await.map_err(|error| match error {
        CreateError::Taken => Error::Internal(format!("{} is in the ledger only", call.target)),
        CreateError::Ledger(error) => key_errors::ledger(error),
    })?;
    let resource = Resource { origin: Origin::Api, node: node.clone() };
    let mut tree = tree.clone();
    tree.insert(call.target.clone(), Origin::Api, node)
        .map_err(|error| Error::Internal(format!("the tree changed meanwhile: {error}")))?;
    services.tree.replace(tree);
    Ok(resource)
}

async fn change(
    services: &Services,
    call: &Call,
    tree: &ResourceTree,
    dependencies: Vec<ResourcePath>,
    kind: EntryKind,
    dependency: &ResourcePath,
    now: Timestamp,
) -> Result<Vec<ResourcePath>, Error> {
    let mut tree = tree.clone();
    tree.set_dependencies(&call.target, dependencies.clone());
    let node = tree
        .node(&call.target)
        .ok_or_else(|| Error::Internal(format!("{} left the tree", call.target)))?;
    let stored = stored(&call.target, node)?;
    let detail = json!({ "dependency": dependency.as_str() });
    let record = call.entry(kind, detail, now);
    services.ledger.change_resource(stored, record).await.map_err(key_errors::ledger)?;
    services.tree.replace(tree);
    Ok(dependencies)
}

fn stored(path: &ResourcePath, node: &Node) -> Result<StoredResource, Error> {
    let definition = serde_json::to_string(&Definition::of(node))
        .map_err(|error| Error::Internal(format!("{path}: {error}")))?;
    Ok(StoredResource { path: path.clone(), definition })
}
