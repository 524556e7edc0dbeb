//! The declared resource tree.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::{
    config::raw::{RawBranch, RawService},
    domain::{
        client::KeyPurpose,
        path::{KeyPath, PathElement, ResourcePath},
        tree::{
            Kms, LabelTemplate, Misplaced, Node, Origin, ResourceTree, Service, ServiceKind,
            SharedLabel, Unattachable, Vical,
        },
    },
};

impl Check<'_> {
    pub(super) fn tree(
        &mut self,
        organisations: Vec<RawBranch>,
        tenants: Vec<RawBranch>,
        services: Vec<RawService>,
        tokens: &BTreeSet<String>,
        same_tokens: &BTreeMap<String, String>,
    ) -> ResourceTree {
        let mut tree = ResourceTree::default();
        tree.add_same_tokens(same_tokens);
        for organisation in organisations {
            self.insert(&mut tree, "organisations", &organisation.path, Node::Organisation);
        }
        // Parents come first, in whatever order the file has them.
        let mut tenants = tenants;
        tenants.sort_by_key(|tenant| tenant.path.matches('.').count());
        for RawBranch { path, name } in tenants {
            if let Some(name) = &name {
                self.shown_name(&format!("tenants '{path}'"), name);
            }
            let last = path.rsplit('.').next().unwrap_or_default().to_owned();
            self.insert(&mut tree, "tenants", &path, Node::Tenant(name.unwrap_or(last)));
        }
        for raw in services {
            let path = raw.path.clone();
            if let Some(service) = self.service(raw, tokens) {
                self.insert(&mut tree, "services", &path, Node::Service(service));
            }
        }
        self.dependencies(&tree);
        self.problems.extend(shared_keys(&tree));
        tree
    }

    fn insert(&mut self, tree: &mut ResourceTree, list: &str, path: &str, node: Node) {
        match ResourcePath::parse(path) {
            Ok(path) => {
                let problem = match tree.insert(path.clone(), Origin::Config, node) {
                    Ok(()) => return,
                    Err(Misplaced::Taken(path)) => format!("{list}: {path} is declared twice"),
                    Err(Misplaced::NoParent(parent)) => {
                        format!("{list}: {path}: {parent} is not declared")
                    }
                    Err(Misplaced::UnderService(service)) => {
                        format!("{list}: {path}: {service} is a service, not a tenant")
                    }
                    Err(error @ (Misplaced::Level(_) | Misplaced::Reserved)) => {
                        format!("{list}: {error}")
                    }
                };
                self.problem(problem);
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
                || raw.tokens.is_some()
                || raw.label_template.is_some()
                || raw.labels.is_some()
                || raw.policies.is_some()
                || raw.shared_labels.is_some())
        {
            self.problem(format!("{place}: token, tokens, labels and policies are for a kms"));
        }
        if matches!(kind, ServiceKind::Kms | ServiceKind::X509Store) && raw.dependencies.is_some() {
            self.problem(format!("{place}: {} has no dependencies", kind.with_article()));
        }
        if kind != ServiceKind::Vical
            && (raw.signing_key.is_some() || raw.signer_certificate.is_some())
        {
            self.problem(format!(
                "{place}: signing_key and signer_certificate are for a vical-service"
            ));
        }
        match kind {
            ServiceKind::Kms => Some(Service::Kms(self.kms(&place, raw, tokens))),
            ServiceKind::X509 => {
                let dependencies = self.paths(&place, raw.dependencies);
                Some(Service::X509 { dependencies })
            }
            ServiceKind::X509Store => Some(Service::X509Store),
            ServiceKind::Vical => self.vical(&place, raw).map(Service::Vical),
        }
    }

    fn vical(&mut self, place: &str, raw: RawService) -> Option<Vical> {
        let (Some(key), Some(certificate)) = (raw.signing_key, raw.signer_certificate) else {
            self.problem(format!("{place}: signing_key and signer_certificate are required"));
            return None;
        };
        let signing_key = KeyPath::parse(&key)
            .map_err(|error| self.problem(format!("{place}: signing_key '{key}': {error}")))
            .ok();
        let signer_certificate = self.path(place, &certificate);
        let signer_certificate_chain = self.paths(place, raw.signer_certificate_chain);
        if signer_certificate_chain.len() > Vical::CHAIN_MAX {
            let max = Vical::CHAIN_MAX;
            self.problem(format!("{place}: signer_certificate_chain: at most {max} certificates"));
        }
        let dependencies = self.paths(place, raw.dependencies);
        let organisation = raw.path.split('.').next().unwrap_or_default();
        let kms = signing_key.iter().map(KeyPath::kms);
        let stored = signer_certificate.iter().chain(&signer_certificate_chain).cloned();
        for path in kms.chain(stored).filter(|path| path.organisation() != organisation) {
            self.problem(format!("{place}: {path} belongs to another organisation"));
        }
        Some(Vical {
            signing_key: signing_key?,
            signer_certificate: signer_certificate?,
            signer_certificate_chain,
            dependencies,
        })
    }

    fn paths(&mut self, place: &str, texts: Option<Vec<String>>) -> Vec<ResourcePath> {
        let texts = texts.unwrap_or_default();
        texts.iter().filter_map(|text| self.path(place, text)).collect()
    }

    fn kms(&mut self, place: &str, raw: RawService, tokens: &BTreeSet<String>) -> Kms {
        let tokens = self.tokens_of(place, raw.token, raw.tokens, tokens);
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
        let shared_labels = raw.shared_labels.unwrap_or(false);
        Kms { tokens, labels, template, policies, shared_labels }
    }

    /// The tokens that a KMS names; without names, the only configured token.
    fn tokens_of(
        &mut self,
        place: &str,
        token: Option<String>,
        tokens: Option<Vec<String>>,
        configured: &BTreeSet<String>,
    ) -> Vec<String> {
        let named = match (token, tokens) {
            (Some(_), Some(_)) => {
                self.problem(format!("{place}: token and tokens exclude each other"));
                return Vec::new();
            }
            (Some(token), None) => vec![token],
            (None, Some(tokens)) if tokens.is_empty() => {
                self.problem(format!("{place}: tokens names no token"));
                return tokens;
            }
            (None, Some(tokens)) => tokens,
            (None, None) if configured.len() == 1 => configured.iter().cloned().collect(),
            (None, None) => {
                self.problem(format!("{place}: token is required when several are configured"));
                Vec::new()
            }
        };
        for (index, token) in named.iter().enumerate() {
            if !configured.contains(token) {
                self.problem(format!("{place}: token '{token}' is not configured"));
            }
            if named[..index].contains(token) {
                self.problem(format!("{place}: token '{token}' is named twice"));
            }
        }
        named
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
            let dependencies = service.dependencies().unwrap_or_default();
            for (index, dependency) in dependencies.iter().enumerate() {
                if dependencies[..index].contains(dependency) {
                    self.problem(format!("services '{path}': {dependency} is attached twice"));
                }
                match tree.check_dependency(path, service.kind(), dependency) {
                    Ok(()) => {}
                    Err(Unattachable::Unknown(dependency)) => self.problem(format!(
                        "services '{path}': dependency {dependency} is not declared"
                    )),
                    Err(
                        error @ (Unattachable::NoService(_)
                        | Unattachable::Type(..)
                        | Unattachable::Organisation(_)),
                    ) => self.problem(format!("services '{path}': {error}")),
                }
            }
        }
    }
}

/// Reports declared KMS services that lead to each other's keys, and paths or tokens of one service that lead to
/// the same key.
fn shared_keys(tree: &ResourceTree) -> Vec<String> {
    let pairs = tree.shared_labels().into_iter().filter(|shared| shared.is_declared);
    let mut problems: Vec<_> = pairs.map(|shared| shared_by_two(&shared)).collect();
    for (path, kms) in tree.services().filter_map(|(path, _)| Some((path, tree.kms(path)?))) {
        if kms.shared_labels {
            continue;
        }
        if let Some((one, other, label)) = kms.aliases(path) {
            problems.push(format!(
                "services '{path}': keys {one} and {other} have the label '{label}' and different \
                 policies: what one forbids, the other would sign; give both the same policy, or set \
                 shared_labels = true"
            ));
        }
        if let Some((one, other)) = tree.tokens_twice(kms) {
            problems.push(format!(
                "services '{path}': tokens '{one}' and '{other}' are one token, and no second one \
                 stands in for it; name one of them, or set shared_labels = true"
            ));
        }
    }
    problems
}

/// In words for the operator.
pub fn shared_by_two(SharedLabel { one, other, token, label, .. }: &SharedLabel) -> String {
    format!(
        "services '{one}' and '{other}': keys of both can have the label '{label}' on token {token}, so \
         that each would sign with keys of the other; put {{org}}, {{tenant}} and {{kms}} into \
         label_template, or set shared_labels = true on both when they are meant to share keys"
    )
}
