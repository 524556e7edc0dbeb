//! The route table.
//!
//! Routes are matched here and not by the framework, since the contract fixes the order of the
//! answers: the target's syntax (400) before the grant (403), the grant before anything is said
//! about what exists (404, 405).

use actix_web::http::Method;

use crate::domain::{
    client::Permission,
    path::{PathElement, ResourcePath},
    tree::{Resolved, ResourceTree, ServiceKind},
};

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    IssueIaca,
    IssueDocumentSigner,
    IssueGeneric,
    MakeCsr,
    ReadStore,
    ListStoreIds,
}

pub(super) struct Route {
    method: Method,
    service: ServiceKind,
    tail: &'static [&'static str],
    pub(super) permission: Permission,
    pub(super) operation: Operation,
}

/// `/v1/{target}/{api}/{tail}`.
static ROUTES: [Route; 6] = [
    Route {
        method: Method::POST,
        service: ServiceKind::X509,
        tail: &["iso", "iacas"],
        permission: Permission::IssueIaca,
        operation: Operation::IssueIaca,
    },
    Route {
        method: Method::POST,
        service: ServiceKind::X509,
        tail: &["iso", "document-signers"],
        permission: Permission::IssueDocumentSigner,
        operation: Operation::IssueDocumentSigner,
    },
    Route {
        method: Method::POST,
        service: ServiceKind::X509,
        tail: &["certificate"],
        permission: Permission::IssueGeneric,
        operation: Operation::IssueGeneric,
    },
    Route {
        method: Method::POST,
        service: ServiceKind::X509,
        tail: &["csrs"],
        permission: Permission::IssueCsr,
        operation: Operation::MakeCsr,
    },
    Route {
        method: Method::GET,
        service: ServiceKind::X509Store,
        tail: &["certificates"],
        permission: Permission::StoreRead,
        operation: Operation::ReadStore,
    },
    Route {
        method: Method::GET,
        service: ServiceKind::X509Store,
        tail: &["certificates", "ids"],
        permission: Permission::StoreRead,
        operation: Operation::ListStoreIds,
    },
];

/// The routes that share a path.
pub(super) struct Routes(Vec<&'static Route>);

impl Routes {
    /// Those of a path; `None` when there are none.
    pub(super) fn of(api: &str, tail: &[&str]) -> Option<Self> {
        let routes: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.service.api() == api && route.tail == tail)
            .collect();
        (!routes.is_empty()).then_some(Self(routes))
    }

    /// The one for the method.
    pub(super) fn with(&self, method: &Method) -> Option<&'static Route> {
        self.0.iter().copied().find(|route| route.method == *method)
    }

    /// The permissions that open the path, for a method that it does not have.
    pub(super) fn permissions(&self) -> impl Iterator<Item = Permission> {
        self.0.iter().map(|route| route.permission)
    }

    /// The value of `Allow`.
    pub(super) fn allow(&self) -> String {
        let methods: Vec<_> = self.0.iter().map(|route| route.method.as_str()).collect();
        methods.join(", ")
    }

    fn service(&self) -> Option<ServiceKind> {
        self.0.first().map(|route| route.service)
    }

    /// What the target is for these routes.
    ///
    /// # Errors
    /// The words of the 404.
    pub(super) fn resolve(
        &self,
        tree: &ResourceTree,
        target: &ResourcePath,
    ) -> Result<Target, String> {
        let missing = || format!("{target} does not exist");
        let wanted = self.service().ok_or_else(missing)?;
        let (path, service, id) = match tree.resolve(target).ok_or_else(missing)? {
            Resolved::Service { path, service } => (path, service, None),
            Resolved::Child { path, service, id } => (path, service, Some(id)),
            Resolved::Branch => {
                return Err(format!("{target} is not {}", wanted.with_article()));
            }
        };
        if service.kind() != wanted {
            let is = service.kind().with_article();
            return Err(format!("{path} is {is}, not {}", wanted.with_article()));
        }
        let has_children = self.0.iter().any(|route| route.operation == Operation::ReadStore);
        if id.is_some() && !has_children {
            return Err(missing());
        }
        Ok(Target { service: path.clone(), id })
    }
}

/// A target that its route can work with.
#[derive(Debug)]
pub(super) struct Target {
    /// The service.
    pub(super) service: ResourcePath,
    /// The element below it, where the route takes one.
    pub(super) id: Option<PathElement>,
}
