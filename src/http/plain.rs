//! Routes without a target. Most are open to any client.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::{Method, StatusCode},
    web::Payload,
};

use super::{
    dispatch::Context,
    login, metrics, openapi, operations,
    problem::Problem,
    route::{Answer, PARAMETER, matches},
    swagger,
};
use crate::{access::Client, domain::client::Permission};

/// One method on one path.
pub(super) struct PlainRoute {
    pub(super) method: Method,
    pub(super) path: &'static [&'static str],
    /// Whether the configuration offers it.
    is_offered: fn(&Context) -> bool,
    /// What a client needs, granted on any path: there is no target. `None`: nothing.
    pub(super) permission: Option<Permission>,
    handler: PlainHandler,
}

/// Answers a request whose caller and route are settled.
pub(super) type PlainHandler = fn(PlainRequest) -> Answer;

/// A request whose caller and route are settled.
pub(super) struct PlainRequest {
    pub(super) context: Arc<Context>,
    /// The last segment of the path, as it was sent.
    pub(super) last: String,
    pub(super) http: HttpRequest,
    pub(super) payload: Payload,
}

/// All routes outside `/v1`.
pub(super) static ROUTES: &[PlainRoute] = &[
    PlainRoute {
        method: Method::GET,
        path: &["healthz"],
        is_offered: always,
        permission: None,
        handler: |request| Box::pin(async move { Ok(operations::health(&request.context)) }),
    },
    PlainRoute {
        method: Method::GET,
        path: &["readyz"],
        is_offered: always,
        permission: None,
        handler: |request| {
            Box::pin(async move { Ok(operations::readiness(&request.context).await) })
        },
    },
    PlainRoute {
        method: Method::GET,
        path: &["metrics"],
        is_offered: always,
        permission: Some(Permission::OpsRead),
        handler: |request| Box::pin(async move { Ok(metrics::answer(&request.context)) }),
    },
    PlainRoute {
        method: Method::GET,
        path: &["v1", "status"],
        is_offered: always,
        permission: Some(Permission::OpsRead),
        handler: |request| Box::pin(async move { Ok(operations::status(&request.context).await) }),
    },
    PlainRoute {
        method: Method::POST,
        path: &["auth", "account", "emailpass"],
        is_offered: |context| context.compat_login,
        permission: None,
        handler: |request| Box::pin(login::answer(request)),
    },
    PlainRoute {
        method: Method::GET,
        path: &["openapi.json"],
        is_offered: always,
        permission: None,
        handler: |request| Box::pin(openapi::answer(request)),
    },
    PlainRoute {
        method: Method::GET,
        path: &["swagger"],
        is_offered: always,
        permission: None,
        handler: |request| Box::pin(swagger::page(request)),
    },
    PlainRoute {
        method: Method::GET,
        path: &["swagger", PARAMETER],
        is_offered: always,
        permission: None,
        handler: |request| Box::pin(swagger::asset(request)),
    },
];

fn always(_context: &Context) -> bool {
    true
}

/// The handler of a path and method.
///
/// # Errors
/// 404 when there is no such path, 403 when the client has not what it needs, 405 when it has other
/// methods.
pub(super) fn find(
    context: &Context,
    client: &Client,
    path: &[&str],
    method: &Method,
) -> Result<PlainHandler, Problem> {
    let routes: Vec<_> = ROUTES
        .iter()
        .filter(|route| matches(route.path, path) && (route.is_offered)(context))
        .collect();
    if routes.is_empty() {
        return Err(Problem::not_found("not found"));
    }
    let needed = routes.iter().find_map(|route| route.permission);
    if let Some(permission) = needed.filter(|permission| !client.has(*permission)) {
        let message = format!("client '{}' has no {permission}", client.name());
        return Err(Problem::new(StatusCode::FORBIDDEN, message));
    }
    match routes.iter().find(|route| route.method == *method) {
        Some(route) => Ok(route.handler),
        None => {
            let methods: Vec<_> = routes.iter().map(|route| route.method.as_str()).collect();
            Err(Problem::method_not_allowed(methods.join(", ")))
        }
    }
}
