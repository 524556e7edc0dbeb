//! From a request to its answer, in the order of checks that the contract fixes.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{ConnectionType, Method, StatusCode, header::HeaderValue},
    web::Payload,
};
use percent_encoding::percent_decode_str;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Limits,
    metrics::Requests,
    once, operations,
    plain::{self, PlainRequest},
    problem::Problem,
    public::PublicRoute,
    rate::Rates,
    refusals::Refusals,
    room::Room,
    route::{Request, Routes},
    tls::{Peer, Tls},
};
use crate::{
    access::{Access, Client},
    domain::{client::Permission, path::ResourcePath, time::Timestamp},
    service::{Call, Services, error::Error, journal},
};

/// What every request needs.
pub(super) struct Context {
    pub(super) services: Arc<Services>,
    pub(super) access: Access,
    pub(super) limits: Limits,
    /// Judges the certificates of clients.
    pub(super) tls: Arc<Tls>,
    /// Connections that came to nothing.
    pub(super) refusals: Arc<Refusals>,
    /// Requests of each client.
    pub(super) rates: Arc<Rates>,
    /// Requests of all of them, by what became of them.
    pub(super) requests: Arc<Requests>,
    /// Whether the login that grants nothing is there.
    pub(super) compat_login: bool,
    /// Requests that are worked on.
    pub(super) in_flight: Arc<Room>,
    /// Where issuing runs: a client that hangs up cannot cut it in half.
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
}

/// The only handler of the API listener.
pub(super) async fn dispatch(
    context: &Arc<Context>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let started = Instant::now();
    let request_id = request_id(&request);
    let span = tracing::info_span!("request", id = %request_id);
    let mut answer = async {
        let would_change = request.method() == Method::POST;
        let mut refusal = Refused { would_change, client: "".into(), target: None };
        let answer = match answer(context, &request, payload, &request_id, &mut refusal).await {
            Ok(answer) => answer,
            Err(problem) => {
                record_refusal(context, &request, &request_id, &refusal, &problem).await;
                problem.into_response(&request_id)
            }
        };
        context.requests.count(request.method(), request.path(), answer.status());
        let said = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        tracing::info!(
            client = &*refusal.client,
            method = %request.method(),
            path = request.path(),
            status = answer.status().as_u16(),
            serial = said(once::SERIAL),
            audit_index = said(once::AUDIT_INDEX).and_then(|index| index.parse::<u64>().ok()),
            replayed = said(once::REPLAYED).map(|_| true),
            milliseconds = started.elapsed().as_millis(),
            "answered"
        );
        answer
    }
    .instrument(span)
    .await;
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        answer.headers_mut().insert(X_REQUEST_ID, value);
    }
    if answer.status() == StatusCode::UNAUTHORIZED {
        // Who the client is was settled with the connection.
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    answer
}

pub(super) const X_REQUEST_ID: actix_web::http::header::HeaderName =
    actix_web::http::header::HeaderName::from_static("x-request-id");
const X_REQUEST_ID_CHARACTERS_MAX: usize = 64;

/// The caller's request id, when it is one; otherwise a new one.
pub(super) fn request_id(request: &HttpRequest) -> String {
    request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=X_REQUEST_ID_CHARACTERS_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// What is known of a request by the time that it is refused.
struct Refused {
    /// Whether it would have changed something: any POST, and what the path has beside GET.
    would_change: bool,
    client: Arc<str>,
    target: Option<ResourcePath>,
}

async fn answer(
    context: &Arc<Context>,
    request: &HttpRequest,
    payload: Payload,
    request_id: &str,
    refusal: &mut Refused,
) -> Result<HttpResponse, Problem> {
    // Identity: 401.
    let client = identify(context, request, refusal)?;

    // What needs no grant.
    if let Some((route, target)) = PublicRoute::of(request) {
        context.rates.count(client.name())?;
        return route.answer(context, target, request).await;
    }

    // The target's syntax: 400.
    let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let (target, api, tail) = match segments.as_slice() {
        ["v1", target, api, tail @ ..] => (*target, *api, tail),
        path => {
            let handler = plain::find(context, &client, path, request.method())?;
            return handler(PlainRequest {
                context: Arc::clone(context),
                client,
                last: path.last().map_or_else(String::new, |segment| (*segment).to_owned()),
                http: request.clone(),
                payload,
            })
            .await;
        }
    };
    let target = parse_target(target)?;
    refusal.target = Some(target.clone());
    let routes = Routes::of(api, tail).ok_or_else(|| Problem::not_found("not found"))?;
    refusal.would_change |= !request.method().is_safe() && routes.have(request.method());

    // The grant, before anything is said about what exists: 403.
    check_grant(&client, &target, &routes.permissions(request.method()))?;

    // Target and route: 404, 405.
    let tree = context.services.tree.snapshot();
    let (service, child, routes) = routes.resolve(&tree, &target).map_err(Problem::not_found)?;
    let route = routes.with(request.method()).map_err(Problem::method_not_allowed)?;

    // The rate: 429. With a body, its size and media type come before.
    if matches!(*request.method(), Method::GET | Method::DELETE) {
        context.rates.count(client.name())?;
    }

    // Room: 503.
    let _place = context.in_flight.enter(client.name())?;

    // Size, media type, and everything else in its order: 413, 415, 400, 403, 404, 409, 503.
    (route.handler)(Request {
        context: Arc::clone(context),
        route,
        call: Call {
            client: Arc::clone(client.name()),
            grants: client.grants().clone(),
            request_id: request_id.to_owned(),
            target: service,
            tree,
            keyed: None,
        },
        child,
        http: request.clone(),
        payload: Some(payload),
    })
    .await
}

fn identify(
    context: &Context,
    request: &HttpRequest,
    refusal: &mut Refused,
) -> Result<Arc<Client>, Problem> {
    let peer = request.conn_data::<Arc<Peer>>();
    let subject = peer.map_or("", |peer| peer.subject());
    let identified = match peer.map(|peer| peer.identity(&context.tls)) {
        None => Err("is not a known client".to_owned()),
        Some(Ok(identity)) => {
            context.access.identify(identity).ok_or_else(|| "is not a known client".to_owned())
        }
        Some(Err(error)) => Err(format!("is not accepted any more: {error}")),
    };
    match identified {
        Ok(client) => {
            refusal.client = Arc::clone(client.name());
            Ok(client)
        }
        Err(why) => {
            refusal.client = format!("unknown certificate {subject}").into();
            let message = format!("client certificate '{subject}' {why}");
            Err(Problem::new(StatusCode::UNAUTHORIZED, message))
        }
    }
}

/// A target is decoded once, and then judged by what it says.
pub(super) fn parse_target(segment: &str) -> Result<ResourcePath, Problem> {
    let bad = |what: String| Problem::new(StatusCode::BAD_REQUEST, format!("target: {what}"));
    let decoded =
        percent_decode_str(segment).decode_utf8().map_err(|_| bad("not UTF-8".to_owned()))?;
    ResourcePath::parse(&decoded).map_err(|error| bad(error.to_string()))
}

fn check_grant(
    client: &Client,
    target: &ResourcePath,
    permissions: &[Permission],
) -> Result<(), Problem> {
    if permissions.iter().any(|permission| client.may(*permission, target)) {
        return Ok(());
    }
    let mut names: Vec<_> = permissions.iter().map(|permission| permission.name()).collect();
    names.dedup();
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format!("client '{}' has no {} on {target}", client.name(), names.join(" or ")),
    ))
}

pub(super) async fn readiness(context: &Context) -> HttpResponse {
    operations::readiness(&context.services, context.in_flight.is_full()).await
}

/// Runs a use case to its end, whatever the connection does meanwhile.
pub(super) async fn uninterrupted<T: Send + 'static>(
    context: &Context,
    task: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Problem> {
    context
        .tasks
        .spawn_on(task.in_current_span(), &context.runtime)
        .await
        .unwrap_or_else(|error| Err(Error::Internal(format!("a use case ended early: {error}"))))
        .map_err(Problem::from)
}

/// Refusals of what would change something are part of the audit log. Without it the caller is
/// refused all the same.
async fn record_refusal(
    context: &Context,
    request: &HttpRequest,
    request_id: &str,
    refused: &Refused,
    problem: &Problem,
) {
    let is_refusal =
        problem.status().is_client_error() || problem.status() == StatusCode::INTERNAL_SERVER_ERROR;
    if !refused.would_change || !is_refusal {
        return;
    }
    let refusal = journal::Refusal {
        request_id,
        client: &refused.client,
        target: refused.target.as_ref().map(ResourcePath::as_str),
        operation: request.uri().path(),
        status: problem.status().as_u16(),
        message: problem.message(),
    };
    if let Err(error) = journal::refused(&context.services.ledger, refusal, Timestamp::now()).await
    {
        tracing::error!(%error, "a refusal is missing in the audit log");
    }
}
