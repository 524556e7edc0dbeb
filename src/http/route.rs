//! What a route is, and how a request finds its own.
//!
//! Routes are matched here and not by the framework, since the contract fixes the order of the
//! answers: the target's syntax (400) before the grant (403), the grant before anything is said
//! about what exists (404, 405).

use std::{pin::Pin, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::Method, web::Payload};

use super::{
    api, body,
    dispatch::Context,
    json::{self, Value},
    problem::Problem,
};
use crate::{
    domain::{
        client::Permission,
        path::{PathElement, ResourcePath},
        tree::{Resolved, ResourceTree, ServiceKind},
    },
    service::{Call, error::Error},
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
    fn segment(self) -> &'static str {
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
    pub(super) call: Call,
    /// The element below the service, where the route takes one.
    pub(super) child: Option<PathElement>,
    pub(super) http: HttpRequest,
    /// Taken by the one who reads it.
    pub(super) payload: Option<Payload>,
}

impl Request {
    /// The body as JSON: size (413), media type (415), syntax (400).
    pub(super) async fn json(&mut self) -> Result<Value, Problem> {
        let limits = self.context.limits;
        let body = body::read_json(&self.http, self.payload.take(), limits.request_body).await?;
        Ok(json::parse(&body).map_err(Error::from)?)
    }

    /// The body as JSON, or plain text as a JSON string, white space around it ignored; and whether
    /// it was plain text.
    pub(super) async fn json_or_text(&mut self) -> Result<(Value, bool), Problem> {
        if body::has_media_type(&self.http, "text/plain") {
            let limits = self.context.limits;
            let text =
                body::read_text(&self.http, self.payload.take(), limits.request_body).await?;
            return Ok((Value::String(text.trim().to_owned()), true));
        }
        Ok((self.json().await?, false))
    }
}

/// The routes that share a path.
pub(super) struct Routes(Vec<&'static Route>);

impl Routes {
    /// Those of a path; `None` when there are none.
    pub(super) fn of(api: &str, tail: &[&str]) -> Option<Self> {
        let routes: Vec<_> = api::routes()
            .filter(|route| route.api.segment() == api && route.tail == tail)
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

    /// What the target is for these routes.
    ///
    /// # Errors
    /// The words of the 404.
    pub(super) fn resolve(
        &self,
        tree: &ResourceTree,
        target: &ResourcePath,
    ) -> Result<(ResourcePath, Option<PathElement>), String> {
        let missing = || format!("{target} does not exist");
        let wanted = match self.0.first().ok_or_else(missing)?.api {
            Api::Of(kind) => kind,
            Api::Resource => return Ok((target.clone(), None)),
        };
        let (path, service, child) = match tree.resolve(target).ok_or_else(missing)? {
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
        let fits = |kind: TargetKind| match kind {
            TargetKind::Service => child.is_none(),
            TargetKind::ServiceOrChild | TargetKind::Path => true,
        };
        if !self.0.iter().any(|route| fits(route.target)) {
            return Err(missing());
        }
        Ok((path.clone(), child))
    }
}
