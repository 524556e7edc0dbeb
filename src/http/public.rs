//! Routes that need no grant. They are on the API listener, and alone on the distribution listener,
//! where nobody shows a certificate.
//!
//! Nobody learns from an answer which organisations, tenants and services there are: every 404 has one
//! text, and what can be refused for another reason is refused before anything is looked for.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
};
use tracing::Instrument;

use super::{
    api,
    dispatch::{Context, name_request, parse_target, request_id, segments},
    problem::Problem,
    query,
    route::{Answer, Place, resolve_target},
};
use crate::{
    access::Client,
    domain::{
        client::Permission,
        path::{PathElement, ResourcePath},
        tree::ServiceKind,
    },
};

/// `GET /v1/{target}/{api}/{tail}`, and HEAD.
pub(super) struct PublicRoute {
    /// The type of service that the target must be, or belong to.
    pub(super) kind: ServiceKind,
    pub(super) target: PublicTarget,
    pub(super) tail: &'static [&'static str],
    /// A client that has it on the target is told what is missing there.
    pub(super) told: Permission,
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

/// A request whose route is settled. Whether its target is there is not known yet.
pub(super) struct PublicRequest {
    pub(super) context: Arc<Context>,
    pub(super) http: HttpRequest,
    route: &'static PublicRoute,
    target: ResourcePath,
}

/// What a public request is about.
pub(super) struct PublicPlace {
    pub(super) service: ResourcePath,
    /// With [`PublicTarget::Version`] only.
    pub(super) version: Option<PathElement>,
}

impl PublicRequest {
    /// The target, if it is there. Whatever else may be wrong with the request comes before.
    ///
    /// # Errors
    /// 404.
    pub(super) fn place(&self) -> Result<PublicPlace, Problem> {
        let tree = self.context.services.tree();
        let (service, place) =
            resolve_target(&tree, &self.target, self.route.kind).map_err(Problem::not_found)?;
        let version = match (self.route.target, place) {
            (PublicTarget::Service, Place::Service) => None,
            (PublicTarget::Version, Place::Version(id)) => Some(id),
            _ => return Err(Problem::not_found(format!("{} does not exist", self.target))),
        };
        Ok(PublicPlace { service, version })
    }
}

/// The only handler of the distribution listener. Its answers are counted, not told one by one.
pub(super) async fn dispatch(context: &Arc<Context>, request: HttpRequest) -> HttpResponse {
    let request_id = request_id(&request);
    let span = tracing::info_span!("request", id = %request_id);
    let answered = async {
        query::check(&request)?;
        match PublicRoute::of(&request) {
            Some((route, target)) => route.answer(context, target, &request, None).await,
            None => Err(not_found()),
        }
    }
    .instrument(span)
    .await;
    let mut answer = answered.unwrap_or_else(Problem::into_text);
    context.requests.count(request.method(), request.path(), answer.status());
    context.tally.count_public(answer.status());
    name_request(&mut answer, &request_id);
    open_to_browsers(&mut answer);
    answer
}

/// The one text of every 404.
fn not_found() -> Problem {
    Problem::not_found("not found")
}

/// Pages of any origin may read it (the Fetch standard, CORS protocol): it is public.
pub(super) fn open_to_browsers(answer: &mut HttpResponse) {
    let anybody = header::HeaderValue::from_static("*");
    answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
}

impl PublicRoute {
    /// The route of a request and its target as sent, if the path is a public one.
    pub(super) fn of(request: &HttpRequest) -> Option<(&'static Self, &str)> {
        let segments = segments(request);
        let ["v1", target, api, tail @ ..] = segments.as_slice() else { return None };
        let mut routes = api::public_routes();
        let route = routes.find(|route| route.kind.api() == *api && route.tail == tail)?;
        Some((route, target))
    }

    /// Answers, or says why not: the target's syntax (400), method (405), what the handler wants
    /// (400), target (404).
    pub(super) async fn answer(
        &'static self,
        context: &Arc<Context>,
        target: &str,
        request: &HttpRequest,
        client: Option<&Client>,
    ) -> Result<HttpResponse, Problem> {
        let target = parse_target(target)?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::method_not_allowed("GET, HEAD".to_owned()));
        }
        let is_told = client.is_some_and(|client| client.may(self.told, &target));
        let request = PublicRequest {
            context: Arc::clone(context),
            http: request.clone(),
            route: self,
            target,
        };
        let answered = (self.handler)(request).await;
        answered.map_err(|problem| match problem.status() {
            StatusCode::NOT_FOUND if !is_told => not_found(),
            _ => problem,
        })
    }
}
