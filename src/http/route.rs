//! What a route is: a row of values.

use std::{pin::Pin, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::Method, web::Payload};

use super::{context::Context, problem::Problem};
use crate::{
    domain::{
        client::Permission,
        path::{PathElement, ResourcePath},
        tree::{Resolved, ResourceTree, ServiceKind},
    },
    service::Call,
};

/// One method on one path. Method and path also name it: in the metrics, and in the OpenAPI document,
/// which has the schema of its body.
pub(super) struct Route {
    pub(super) method: Method,
    /// As in the contract: `{target}` for the target, `{}` for a parameter.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) handler: Handler,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anyone, also over the distribution listener, which asks for no certificate.
    Public,
    /// Any client.
    AnyClient,
    /// Any client, if the configuration offers the login.
    CompatLogin,
    /// A client with the permission: on the target, or anywhere if the path has no target.
    Granted(Permission),
    /// Anyone over the operations listener; over the API a client, with the permission if there is one.
    Monitoring(Option<Permission>),
}

impl Access {
    /// What a client needs over the API.
    pub(super) fn permission(self) -> Option<Permission> {
        match self {
            Self::Public | Self::AnyClient | Self::CompatLogin => None,
            Self::Granted(permission) => Some(permission),
            Self::Monitoring(permission) => permission,
        }
    }
}

/// What answers the requests of a route, and how much is settled before.
pub(super) enum Handler {
    /// The path has no target.
    Plain(fn(Request<()>) -> Answer),
    /// The target exists, and the client has a grant on it.
    Target(Target, fn(Request) -> Answer),
    /// The path has a target that is for anyone. The handler looks for it, after all other checks,
    /// because their order must not tell which targets exist. Only a client with the permission on the
    /// target is told what is missing.
    Public(Target, Permission, fn(Request<Wanted>) -> Answer),
}

/// What a handler promises.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<HttpResponse, Problem>>>>;

/// What the target of a route names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Any path; the handler knows what must stand there.
    Path,
    /// A service of the type.
    Service(ServiceKind),
    /// Such a service, or one element below it.
    ServiceOrChild(ServiceKind),
    /// One element below such a service.
    Child(ServiceKind),
    /// A published version of such a service.
    Version(ServiceKind),
}

/// A request whose caller and route are settled.
pub(super) struct Request<T = Call> {
    pub(super) context: Arc<Context>,
    pub(super) route: &'static Route,
    pub(super) call: T,
    /// The element below the service, where the route takes one.
    pub(super) child: Option<PathElement>,
    /// The parameter of the path, as it was sent.
    pub(super) parameter: String,
    pub(super) http: HttpRequest,
    /// Taken by the one who reads it.
    pub(super) payload: Option<Payload>,
}

impl Request {
    /// The element below the service, for a route that takes nothing else.
    pub(super) fn child(&mut self) -> Result<PathElement, Problem> {
        self.child.take().ok_or_else(|| Problem::not_found("not found"))
    }
}

/// A target that has not been looked for yet.
pub(super) struct Wanted {
    pub(super) target: Target,
    pub(super) path: ResourcePath,
}

/// Where a target was found.
pub(super) struct Place {
    pub(super) service: ResourcePath,
    /// The element below the service, or the version of it, if the target names one.
    pub(super) element: Option<PathElement>,
}

impl Request<Wanted> {
    /// Looks for the target.
    ///
    /// # Errors
    /// 404.
    pub(super) fn place(&self) -> Result<Place, Problem> {
        let tree = self.context.services.tree();
        let Wanted { target, path } = &self.call;
        target.find(&tree, path).map_err(Problem::not_found)
    }
}

impl Target {
    /// Looks for it in the tree.
    ///
    /// # Errors
    /// The words of the 404.
    pub(super) fn find(self, tree: &ResourceTree, path: &ResourcePath) -> Result<Place, String> {
        let missing = || format!("{path} does not exist");
        let (Self::Service(wanted)
        | Self::ServiceOrChild(wanted)
        | Self::Child(wanted)
        | Self::Version(wanted)) = self
        else {
            return Ok(Place { service: path.clone(), element: None });
        };
        let (found, service, element, fits) = match tree.resolve(path).ok_or_else(missing)? {
            Resolved::Branch => return Err(format!("{path} is not {}", wanted.with_article())),
            Resolved::Service { path, service } => {
                (path, service, None, matches!(self, Self::Service(_) | Self::ServiceOrChild(_)))
            }
            Resolved::Child { path, service, id } => {
                (path, service, Some(id), matches!(self, Self::Child(_) | Self::ServiceOrChild(_)))
            }
            Resolved::Version { path, service, id } => {
                (path, service, Some(id), matches!(self, Self::Version(_)))
            }
        };
        if service.kind() != wanted {
            let is = service.kind().with_article();
            return Err(format!("{found} is {is}, not {}", wanted.with_article()));
        }
        if !fits {
            return Err(missing());
        }
        Ok(Place { service: found.clone(), element })
    }
}

impl Route {
    /// The methods that are served everywhere: public routes have HEAD beside GET.
    pub(super) fn methods(&self) -> impl Iterator<Item = Method> {
        let head = self.access == Access::Public && self.method == Method::GET;
        std::iter::once(self.method.clone()).chain(head.then_some(Method::HEAD))
    }
}
