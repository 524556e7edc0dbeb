//! Routes that need no grant. They are on the API listener, and alone on the distribution listener,
//! where nobody shows a certificate.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header::HeaderValue},
};
use tracing::Instrument;

use super::{
    api,
    dispatch::{Context, X_REQUEST_ID, parse_target, request_id},
    problem::Problem,
    route::{Answer, Place, resolve_target},
};
use crate::domain::{
    path::{PathElement, ResourcePath},
    tree::ServiceKind,
};

/// `GET /v1/{target}/{api}/{tail}`, and HEAD.
pub(super) struct PublicRoute {
    /// The type of service that the target must be, or belong to.
    pub(super) kind: ServiceKind,
    pub(super) target: PublicTarget,
    pub(super) tail: &'static [&'static str],
    pub(super) handler: fn(PublicRequest) -> Answer,
}

/// What the target of a public route names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicTarget {
    /// The service.
    Service,
    /// A published version of the service.
    Version,
}

/// A request whose target and route are settled.
pub(super) struct PublicRequest {
    pub(super) context: Arc<Context>,
    pub(super) service: ResourcePath,
    /// With [`PublicTarget::Version`] only.
    pub(super) version: Option<PathElement>,
    pub(super) http: HttpRequest,
}

/// The only handler of the distribution listener.
pub(super) async fn dispatch(context: &Arc<Context>, request: HttpRequest) -> HttpResponse {
    let started = Instant::now();
    let request_id = request_id(&request);
    let span = tracing::info_span!("request", id = %request_id);
    let mut answer = async {
        let answered = match PublicRoute::of(&request) {
            Some((route, target)) => route.answer(context, target, &request).await,
            None => Err(Problem::not_found("not found")),
        };
        let answer = answered.unwrap_or_else(|problem| problem.into_response(&request_id));
        context.requests.count(request.method(), request.path(), answer.status());
        // What is asked for and not there is counted: who tries names all day fills no log.
        if !answer.status().is_client_error() {
            tracing::info!(
                method = %request.method(),
                path = request.path(),
                status = answer.status().as_u16(),
                milliseconds = started.elapsed().as_millis(),
                "answered to the public"
            );
        }
        answer
    }
    .instrument(span)
    .await;
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        answer.headers_mut().insert(X_REQUEST_ID, value);
    }
    answer
}

impl PublicRoute {
    /// The route of a request and its target as sent, if the path is a public one.
    pub(super) fn of(request: &HttpRequest) -> Option<(&'static Self, &str)> {
        let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
        let ["v1", target, api, tail @ ..] = segments.as_slice() else { return None };
        let mut routes = api::public_routes();
        let route = routes.find(|route| route.kind.api() == *api && route.tail == tail)?;
        Some((route, target))
    }

    /// Answers, or says why not: the target's syntax (400), target (404), method (405).
    pub(super) async fn answer(
        &self,
        context: &Arc<Context>,
        target: &str,
        request: &HttpRequest,
    ) -> Result<HttpResponse, Problem> {
        let target = parse_target(target)?;
        let tree = context.services.tree.snapshot();
        let (service, place) =
            resolve_target(&tree, &target, self.kind).map_err(Problem::not_found)?;
        let version = match (self.target, place) {
            (PublicTarget::Service, Place::Service) => None,
            (PublicTarget::Version, Place::Version(id)) => Some(id),
            _ => return Err(Problem::not_found(format!("{target} does not exist"))),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::method_not_allowed("GET, HEAD".to_owned()));
        }
        (self.handler)(PublicRequest {
            context: Arc::clone(context),
            service,
            version,
            http: request.clone(),
        })
        .await
    }
}
