//! What a route is, and how a request finds its own.
//!
//! Routes are matched here and not by the framework, since the contract fixes the order of the
//! answers: the target's syntax (400) before the grant (403), the grant before anything is said
//! about what exists (404, 405).

use std::{pin::Pin, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::Method, web::Payload};

use super::{
    api,
    body::{self, Octets},
    dispatch::Context,
    invalid::Invalid,
    json::{self, Node},
    openapi,
    problem::Problem,
};
use crate::{
    domain::{
        client::Permission,
        path::{PathElement, ResourcePath},
        tree::{Resolved, ResourceTree, ServiceKind},
    },
    service::Call,
};

/// One method on one path, `/v1/{target}/{api}/{tail}`.
pub(super) struct Route {
    pub(super) method: Method,
    /// The API, and with it the type of service that the target must be, or belong to.
    pub(super) api: Api,
    pub(super) target: TargetKind,
    pub(super) tail: &'static [&'static str],
    pub(super) permission: Permission,
    pub(super) handler: Handler,
}

/// The segment after the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// That of a type of service.
    Of(ServiceKind),
    /// The tree's own.
    Resource,
}

impl Api {
    /// The segment itself.
    pub(super) fn segment(self) -> &'static str {
        match self {
            Self::Of(kind) => kind.api(),
            Self::Resource => "resource-api",
        }
    }
}

/// What the target of a route names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetKind {
    /// The service.
    Service,
    /// The service, or one element below it.
    ServiceOrChild,
    /// One element below the service.
    Child,
    /// Any path; the handler knows what must stand there.
    Path,
}

/// Answers a request whose caller, target and route are settled.
pub(super) type Handler = fn(Request) -> Answer;

/// What a handler promises.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<HttpResponse, Problem>>>>;

/// A request whose caller, target and route are settled.
pub(super) struct Request {
    pub(super) context: Arc<Context>,
    pub(super) route: &'static Route,
    pub(super) call: Call,
    /// The element below the service, where the route takes one.
    pub(super) child: Option<PathElement>,
    pub(super) http: HttpRequest,
    /// Taken by the one who reads it.
    pub(super) payload: Option<Payload>,
}

impl Request {
    /// The element below the service, for a route that takes nothing else.
    pub(super) fn child(&mut self) -> Result<PathElement, Problem> {
        self.child.take().ok_or_else(|| Problem::not_found("not found"))
    }

    /// Reads the body: size (413), media type (415), JSON, types and rules (400).
    pub(super) async fn read<T>(
        &mut self,
        reader: impl FnOnce(Node<'_>) -> Result<T, Invalid>,
    ) -> Result<T, Problem> {
        Ok(self.ask(reader).await?.asked?)
    }

    /// Reads the body of a request that may have been answered before: size (413), media type (415),
    /// JSON and types (400). What the rules of the fields say of it is for later.
    pub(super) async fn ask<T>(
        &mut self,
        reader: impl FnOnce(Node<'_>) -> Result<T, Invalid>,
    ) -> Result<Body<T>, Problem> {
        let limits = self.context.limits;
        let octets = body::read_json(&self.http, self.payload.take(), limits.request_body).await?;
        let value = json::parse(&octets)?;
        let asked = reader(Node::body(&value));
        if let Err(invalid) = &asked
            && let Some(earlier) = openapi::complaint(self.route, &value)
        {
            // Of one place, the reader speaks better.
            let is_same = earlier.field == invalid.field;
            return Err(if is_same { invalid.clone() } else { earlier }.into());
        }
        Ok(Body { asked, octets })
    }

    /// The body as plain text where it is sent as such, white space around it ignored.
    pub(super) async fn text(&mut self) -> Result<Option<String>, Problem> {
        if !body::has_media_type(&self.http, "text/plain") {
            return Ok(None);
        }
        let limits = self.context.limits;
        let text = body::read_text(&self.http, self.payload.take(), limits.request_body).await?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// A body whose members have the right types.
pub(super) struct Body<T> {
    /// What it asks for, or the rule that it breaks.
    pub(super) asked: Result<T, Invalid>,
    /// As it came.
    pub(super) octets: Octets,
}

/// The routes that share a path.
pub(super) struct Routes(Vec<&'static Route>);

/// Stands in a tail for one segment of any content.
pub(super) const PARAMETER: &str = "{}";

impl Routes {
    /// Those of a path; `None` when there are none.
    pub(super) fn of(api: &str, tail: &[&str]) -> Option<Self> {
        let routes: Vec<_> = api::routes()
            .filter(|route| route.api.segment() == api && matches(route.tail, tail))
            .collect();
        (!routes.is_empty()).then_some(Self(routes))
    }

    /// Whether the path has the method.
    pub(super) fn have(&self, method: &Method) -> bool {
        self.0.iter().any(|route| route.method == *method)
    }

    /// The permissions that open the path for the method; for one that it does not have, all.
    pub(super) fn permissions(&self, method: &Method) -> Vec<Permission> {
        let mut permissions: Vec<_> = self
            .0
            .iter()
            .filter(|route| route.method == *method)
            .map(|route| route.permission)
            .collect();
        if permissions.is_empty() {
            permissions = self.0.iter().map(|route| route.permission).collect();
        }
        permissions
    }

    /// What the target is, and the routes that take it.
    ///
    /// # Errors
    /// The words of the 404.
    pub(super) fn resolve(
        &self,
        tree: &ResourceTree,
        target: &ResourcePath,
    ) -> Result<(ResourcePath, Option<PathElement>, Self), String> {
        let missing = || format!("{target} does not exist");
        let wanted = match self.0.first().ok_or_else(missing)?.api {
            Api::Of(kind) => kind,
            Api::Resource => return Ok((target.clone(), None, Self(self.0.clone()))),
        };
        let (path, child) = match resolve_target(tree, target, wanted)? {
            (path, Place::Service) => (path, None),
            (path, Place::Child(id)) => (path, Some(id)),
            (_, Place::Version(_)) => return Err(missing()),
        };
        let fits = |kind: TargetKind| match kind {
            TargetKind::Service => child.is_none(),
            TargetKind::Child => child.is_some(),
            TargetKind::ServiceOrChild | TargetKind::Path => true,
        };
        let routes: Vec<_> = self.0.iter().copied().filter(|route| fits(route.target)).collect();
        if routes.is_empty() {
            return Err(missing());
        }
        Ok((path, child, Self(routes)))
    }

    /// The one for the method.
    ///
    /// # Errors
    /// The value of `Allow`.
    pub(super) fn with(&self, method: &Method) -> Result<&'static Route, String> {
        self.0.iter().copied().find(|route| route.method == *method).ok_or_else(|| {
            let methods: Vec<_> = self.0.iter().map(|route| route.method.as_str()).collect();
            methods.join(", ")
        })
    }
}

/// Where a target stands with a service.
pub(super) enum Place {
    /// It is the service.
    Service,
    /// One element below it.
    Child(PathElement),
    /// A published version of it.
    Version(PathElement),
}

/// The service of type `wanted` that a target is or belongs to.
///
/// # Errors
/// The words of the 404.
pub(super) fn resolve_target(
    tree: &ResourceTree,
    target: &ResourcePath,
    wanted: ServiceKind,
) -> Result<(ResourcePath, Place), String> {
    let (path, service, place) = match tree.resolve(target) {
        Some(Resolved::Service { path, service }) => (path, service, Place::Service),
        Some(Resolved::Child { path, service, id }) => (path, service, Place::Child(id)),
        Some(Resolved::Version { path, service, id }) => (path, service, Place::Version(id)),
        Some(Resolved::Branch) => {
            return Err(format!("{target} is not {}", wanted.with_article()));
        }
        None => return Err(format!("{target} does not exist")),
    };
    if service.kind() != wanted {
        let is = service.kind().with_article();
        return Err(format!("{path} is {is}, not {}", wanted.with_article()));
    }
    Ok((path.clone(), place))
}

/// Whether a path has the form of a pattern.
pub(super) fn matches(pattern: &[&str], tail: &[&str]) -> bool {
    pattern.len() == tail.len()
        && pattern.iter().zip(tail).all(|(wanted, given)| *wanted == PARAMETER || wanted == given)
}
