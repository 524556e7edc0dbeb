//! Tenants, services and dependencies.

use serde::Serialize;

use crate::{
    domain::{
        path::{KeyPath, ResourcePath},
        tree::{Node as TreeNode, Resource, Service, ServiceKind, Vical},
    },
    http::{
        invalid::Invalid,
        json::{Node, Object},
    },
    service::resources::{NewService, NewServiceKind},
};

/// Reads `tenants/create`: the display name and the members that nobody knows.
pub fn new_tenant(body: Node<'_>) -> Result<(Option<String>, Vec<String>), Invalid> {
    let mut object = body.object()?;
    let name = object.optional("name", |node| match node.text()? {
        text if text.trim().is_empty() => Err(node.invalid("must not be blank")),
        text => Ok(text.to_owned()),
    })?;
    Ok((name, object.ignored()))
}

/// Reads `services/create`, and the members that nobody knows.
pub fn new_service(
    body: Node<'_>,
    target: &ResourcePath,
) -> Result<(NewService, Vec<String>), Invalid> {
    let mut object = body.object()?;
    object.optional("_id", |node| match node.text()? {
        id if id == target.as_str() => Ok(()),
        _ => Err(Invalid::at(node.pointer(), format!("_id must equal the target {target}"))),
    })?;
    let kind = object.required("type", |node| {
        let text = node.text()?;
        let shown: String = text.chars().take(64).collect();
        ServiceKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| node.invalid(format!("'{shown}' is not offered")))
    })?;
    let mut dependencies = Vec::new();
    if matches!(kind, ServiceKind::X509 | ServiceKind::Vical) {
        let given = object.optional("dependencies", |node| node.array("paths", path))?;
        dependencies = given.unwrap_or_default();
    }
    let kind = match kind {
        ServiceKind::Kms => NewServiceKind::Kms {
            token: object.optional("token", |node| node.text().map(str::to_owned))?,
        },
        ServiceKind::X509 => NewServiceKind::X509,
        ServiceKind::X509Store => NewServiceKind::X509Store,
        ServiceKind::Vical => vical(&mut object)?,
    };
    Ok((NewService { kind, dependencies }, object.ignored()))
}

fn vical(object: &mut Object<'_>) -> Result<NewServiceKind, Invalid> {
    Ok(NewServiceKind::Vical {
        signing_key: object.required("signingKeyId", |node| {
            KeyPath::parse(node.text()?).map_err(|error| node.invalid(error))
        })?,
        signer_certificate: object.required("signerCertificateId", path)?,
        signer_certificate_chain: object
            .optional("signerCertificateChainIds", chain)?
            .unwrap_or_default(),
    })
}

fn chain(node: Node<'_>) -> Result<Vec<ResourcePath>, Invalid> {
    let paths = node.array("paths", path)?;
    if paths.len() > Vical::CHAIN_MAX {
        return Err(node.invalid(format!("at most {} certificates", Vical::CHAIN_MAX)));
    }
    Ok(paths)
}

/// Reads a dependency: an object, or the path alone.
pub fn dependency(body: Node<'_>) -> Result<ResourcePath, Invalid> {
    if body.is_string() {
        return path(body);
    }
    named_dependency(body)
}

/// Reads a dependency: an object alone.
pub fn named_dependency(body: Node<'_>) -> Result<ResourcePath, Invalid> {
    let mut object = body.object()?;
    let dependency = object.required("dependency", path)?;
    object.finish()?;
    Ok(dependency)
}

fn path(node: Node<'_>) -> Result<ResourcePath, Invalid> {
    ResourcePath::parse(node.text()?).map_err(|error| node.invalid(error))
}

/// A tenant in an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    origin: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored_members: Vec<String>,
}

impl Tenant {
    /// `None` when the resource is no tenant.
    pub fn of(path: &ResourcePath, resource: &Resource, ignored: Vec<String>) -> Option<Self> {
        let TreeNode::Tenant(name) = &resource.node else { return None };
        Some(Self {
            id: path.to_string(),
            name: name.clone(),
            origin: resource.origin.name(),
            ignored_members: ignored,
        })
    }
}

/// A service in an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAnswer {
    #[serde(rename = "_id")]
    id: String,
    r#type: &'static str,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer_certificate_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signer_certificate_chain_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored_members: Vec<String>,
}

impl ServiceAnswer {
    /// `None` when the resource is no service.
    pub fn of(path: &ResourcePath, resource: &Resource, ignored: Vec<String>) -> Option<Self> {
        let TreeNode::Service(service) = &resource.node else { return None };
        let (token, vical) = match service {
            Service::Kms(kms) => (Some(kms.first_token().to_owned()), None),
            Service::Vical(vical) => (None, Some(vical)),
            Service::X509 { .. } | Service::X509Store => (None, None),
        };
        Some(Self {
            id: path.to_string(),
            r#type: service.kind().name(),
            origin: resource.origin.name(),
            token,
            signing_key_id: vical.map(|vical| vical.signing_key.to_string()),
            signer_certificate_id: vical.map(|vical| vical.signer_certificate.to_string()),
            signer_certificate_chain_ids: vical
                .map(|vical| texts(&vical.signer_certificate_chain))
                .unwrap_or_default(),
            dependencies: service.dependencies().map(texts).unwrap_or_default(),
            ignored_members: ignored,
        })
    }
}

/// What is attached to a service.
#[derive(Serialize)]
pub struct Dependencies {
    #[serde(rename = "_id")]
    id: String,
    dependencies: Vec<String>,
}

impl Dependencies {
    /// In order of attachment.
    pub fn of(service: &ResourcePath, dependencies: &[ResourcePath]) -> Self {
        Self { id: service.to_string(), dependencies: texts(dependencies) }
    }
}

fn texts(paths: &[ResourcePath]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}
