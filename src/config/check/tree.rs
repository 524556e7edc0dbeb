//! The declared resource tree.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::{
    config::raw::{RawBranch, RawService},
    domain::{
        client::KeyPurpose,
        path::{PathElement, ResourcePath},
        tree::{Kms, LabelTemplate, Node, ResourceTree, Service, ServiceKind},
    },
};

impl Check<'_> {
    pub(super) fn tree(
        &mut self,
        organisations: Vec<RawBranch>,
        tenants: Vec<RawBranch>,
        services: Vec<RawService>,
        tokens: &BTreeSet<String>,
    ) -> ResourceTree {
        let mut tree = ResourceTree::default();
        for organisation in organisations {
            self.insert(&mut tree, "organisations", &organisation.path, Node::Organisation);
        }
        // Parents first, whatever the order of the file.
        let mut tenants = tenants;
        tenants.sort_by_key(|tenant| tenant.path.matches('.').count());
        for tenant in tenants {
            self.insert(&mut tree, "tenants", &tenant.path, Node::Tenant);
        }
        for raw in services {
            let path = raw.path.clone();
            if let Some(service) = self.service(raw, tokens) {
                self.insert(&mut tree, "services", &path, Node::Service(service));
            }
        }
        self.dependencies(&tree);
        tree
    }

    fn insert(&mut self, tree: &mut ResourceTree, list: &str, path: &str, node: Node) {
        match ResourcePath::parse(path) {
            Ok(path) => {
                if let Err(error) = tree.insert(path, node) {
                    self.problem(format!("{list}: {error}"));
                }
            }
            Err(error) => self.problem(format!("{list}: path '{path}': {error}")),
        }
    }

    fn service(&mut self, raw: RawService, tokens: &BTreeSet<String>) -> Option<Service> {
        let place = format!("services '{}'", raw.path);
        let Some(kind) = ServiceKind::ALL.into_iter().find(|kind| kind.name() == raw.r#type) else {
            self.problem(format!("{place}: type '{}' is not offered", raw.r#type));
            return None;
        };
        if kind != ServiceKind::Kms
            && (raw.token.is_some()
                || raw.label_template.is_some()
                || raw.labels.is_some()
                || raw.policies.is_some())
        {
            self.problem(format!("{place}: token, labels and policies are for a kms"));
        }
        if kind != ServiceKind::X509 && raw.dependencies.is_some() {
            self.problem(format!("{place}: dependencies are for an x509-service"));
        }
        Some(match kind {
            ServiceKind::Kms => Service::Kms(self.kms(&place, raw, tokens)),
            ServiceKind::X509 => Service::X509 {
                dependencies: raw
                    .dependencies
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|path| self.path(&place, path))
                    .collect(),
            },
            ServiceKind::X509Store => Service::X509Store,
            ServiceKind::Vical => Service::Vical,
        })
    }

    fn kms(&mut self, place: &str, raw: RawService, tokens: &BTreeSet<String>) -> Kms {
        let token = match raw.token {
            Some(token) => token,
            None if tokens.len() == 1 => tokens.first().cloned().unwrap_or_default(),
            None => {
                self.problem(format!("{place}: token is required when several are configured"));
                String::new()
            }
        };
        if !token.is_empty() && !tokens.contains(&token) {
            self.problem(format!("{place}: token '{token}' is not configured"));
        }
        let template = match raw.label_template.as_deref().map(LabelTemplate::parse) {
            None => LabelTemplate::default(),
            Some(Ok(template)) => template,
            Some(Err(error)) => {
                self.problem(format!("{place}: {error}"));
                LabelTemplate::default()
            }
        };
        let mut labels = BTreeMap::new();
        for (key, label) in raw.labels.unwrap_or_default() {
            if let Some(key) = self.element(place, &key) {
                labels.insert(key, label);
            }
        }
        let mut policies = BTreeMap::new();
        for (key, purposes) in raw.policies.unwrap_or_default() {
            let purposes = purposes.iter().filter_map(|purpose| self.purpose(place, purpose));
            let purposes: Vec<_> = purposes.collect();
            if let Some(key) = self.element(place, &key) {
                policies.insert(key, purposes);
            }
        }
        Kms { token, labels, template, policies }
    }

    fn purpose(&mut self, place: &str, name: &str) -> Option<KeyPurpose> {
        let purpose = KeyPurpose::ALL.into_iter().find(|purpose| purpose.name() == name);
        if purpose.is_none() {
            self.problem(format!("{place}: policy '{name}' is not a profile"));
        }
        purpose
    }

    fn element(&mut self, place: &str, text: &str) -> Option<PathElement> {
        PathElement::parse(text)
            .map_err(|error| self.problem(format!("{place}: key '{text}': {error}")))
            .ok()
    }

    pub(super) fn path(&mut self, place: &str, text: &str) -> Option<ResourcePath> {
        ResourcePath::parse(text)
            .map_err(|error| self.problem(format!("{place}: path '{text}': {error}")))
            .ok()
    }

    fn dependencies(&mut self, tree: &ResourceTree) {
        for (path, service) in tree.services() {
            let Service::X509 { dependencies } = service else { continue };
            for (index, dependency) in dependencies.iter().enumerate() {
                if dependencies[..index].contains(dependency) {
                    self.problem(format!("services '{path}': {dependency} is attached twice"));
                }
                if dependency.organisation() != path.organisation() {
                    self.problem(format!(
                        "services '{path}': {dependency} belongs to another organisation"
                    ));
                }
                match tree.service(dependency).map(Service::kind) {
                    Some(ServiceKind::Kms | ServiceKind::X509Store) => {}
                    Some(kind @ (ServiceKind::X509 | ServiceKind::Vical)) => self.problem(format!(
                        "services '{path}': an x509-service cannot depend on {}",
                        kind.with_article()
                    )),
                    None => self.problem(format!(
                        "services '{path}': dependency {dependency} is not declared"
                    )),
                }
            }
        }
    }
}
