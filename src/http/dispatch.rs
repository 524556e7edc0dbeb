//! From a request to its answer, in the order of checks that the contract fixes.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
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
    once,
    plain::{self, PlainRequest},
    problem::Problem,
    public::{self, PublicRoute},
    query,
    rate::Rates,
    refusals::Refusals,
    room::Room,
    route::{Request, Routes},
    secret,
    tally::{self, Caller, Outcome, Tally, Told},
    tls::{Peer, Tls},
};
use crate::{
    access::{Access, Client},
    domain::{client::Permission, excerpt::excerpt, path::ResourcePath, time::Timestamp},
    service::{Call, Services, error::Error, journal, status::Front},
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
    /// What is told of requests.
    pub(super) tally: Arc<Tally>,
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

impl Context {
    /// What the listeners contribute to the status.
    pub(super) fn front(&self) -> Front {
        Front {
            compat_login: self.compat_login,
            expired_crl: self.tls.expired_crl(),
            crl_next_update: self.tls.crl_next_update(),
            in_flight: self.in_flight.taken_places(),
            in_flight_max: self.limits.in_flight_max,
            is_full: self.in_flight.is_full(),
            answers: self.requests.by_class(),
        }
    }
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
        let mut seen = Seen::of(&request);
        let answered = answer(context, &request, payload, &request_id, &mut seen)
            .await
            .map_err(|problem| secret::conceal(&request, problem));
        let told = told(context, &request, &seen, &answered);
        let answer = match answered {
            Ok(answer) => answer,
            Err(problem) => {
                if told.entry {
                    record_refusal(context, &request, &request_id, &seen, &problem).await;
                }
                problem.into_response(&request_id)
            }
        };
        context.requests.count(request.method(), request.path(), answer.status());
        if told.line {
            tally::line(&seen.client, &request, &answer, started.elapsed());
        }
        answer
    }
    .instrument(span)
    .await;
    name_request(&mut answer, &request_id);
    if PublicRoute::of(&request).is_some() {
        public::open_to_browsers(&mut answer);
    }
    if answer.status() == StatusCode::UNAUTHORIZED {
        // Who the client is was settled with the connection.
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    answer
}

/// Says in the answer which request it is for.
pub(super) fn name_request(answer: &mut HttpResponse, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        answer.headers_mut().insert(X_REQUEST_ID, value);
    }
}

/// Counts a request, and says how it is told.
fn told(
    context: &Context,
    request: &HttpRequest,
    seen: &Seen,
    answered: &Result<HttpResponse, Problem>,
) -> Told {
    let (status, outcome) = match answered {
        Err(problem) => {
            let status = problem.status();
            let is_refusal =
                status.is_client_error() || status == StatusCode::INTERNAL_SERVER_ERROR;
            let is_recorded = seen.would_change && is_refusal;
            (status, Outcome::Refused { is_recorded })
        }
        Ok(answer) if !answer.status().is_success() && !answer.status().is_redirection() => {
            (answer.status(), Outcome::Refused { is_recorded: false })
        }
        Ok(answer) => {
            let has_changed = seen.would_change
                && seen.target.is_some()
                && !request.method().is_safe()
                && !answer.headers().contains_key(once::REPLAYED);
            let outcome = if has_changed { Outcome::Changed } else { Outcome::Read };
            (answer.status(), outcome)
        }
    };
    let entries_max = context.limits.client_refusals_audited_per_minute;
    context.tally.count(seen.caller.clone(), &seen.client, status, outcome, entries_max)
}

pub(super) const X_REQUEST_ID: actix_web::http::header::HeaderName =
    actix_web::http::header::HeaderName::from_static("x-request-id");
pub(super) const X_REQUEST_ID_CHARACTERS_MAX: usize = 64;

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

/// What is known of a request by the time that it is answered.
struct Seen {
    /// Whether it would change something: any POST, and what the path has beside GET.
    would_change: bool,
    caller: Caller,
    /// What the caller is called.
    client: Arc<str>,
    target: Option<ResourcePath>,
}

impl Seen {
    fn of(request: &HttpRequest) -> Self {
        let would_change = match *request.method() {
            Method::POST => true,
            ref safe if safe.is_safe() => false,
            ref method => match segments(request).as_slice() {
                ["v1", _, api, tail @ ..] => {
                    Routes::of(api, tail).is_some_and(|routes| routes.have(method))
                }
                _ => false,
            },
        };
        Self { would_change, caller: Caller::OtherStrangers, client: "".into(), target: None }
    }
}

/// More segments than any path has that leads somewhere.
pub(super) const SEGMENTS_MAX: usize = 16;

/// The segments of a path. One of more than [`SEGMENTS_MAX`] is cut, and leads nowhere all the same.
pub(super) fn segments(request: &HttpRequest) -> Vec<&str> {
    request.uri().path().split('/').skip(1).take(SEGMENTS_MAX).collect()
}

async fn answer(
    context: &Arc<Context>,
    request: &HttpRequest,
    payload: Payload,
    request_id: &str,
    seen: &mut Seen,
) -> Result<HttpResponse, Problem> {
    // Identity: 401. A certificate that is no client's is refused at a rate: 429.
    let client = identify(context, request, seen)?;

    // The rate, before anything that may be refused: 429.
    context.rates.count(client.name())?;

    // The target's syntax: 400.
    query::check(request)?;

    // What needs no grant.
    if let Some((route, target)) = PublicRoute::of(request) {
        return route.answer(context, target, request, Some(&client)).await;
    }

    let segments = segments(request);
    let (target, api, tail) = match segments.as_slice() {
        ["v1", target, api, tail @ ..] => (*target, *api, tail),
        path => {
            let handler = plain::find(context, &client, path, request.method())?;
            return handler(PlainRequest {
                context: Arc::clone(context),
                last: path.last().map_or_else(String::new, |segment| (*segment).to_owned()),
                http: request.clone(),
                payload,
            })
            .await;
        }
    };
    let target = parse_target(target)?;
    seen.target = Some(target.clone());
    let routes = Routes::of(api, tail).ok_or_else(|| Problem::not_found("not found"))?;

    // The grant, before anything is said about what exists: 403.
    check_grant(&client, &target, &routes.permissions(request.method()))?;

    // Target and route: 404, 405.
    let tree = context.services.tree();
    let (service, child, routes) = routes.resolve(&tree, &target).map_err(Problem::not_found)?;
    let route = routes.with(request.method()).map_err(Problem::method_not_allowed)?;

    // Room: 503.
    let _place = context.in_flight.enter(client.name())?;

    // Size, media type, and everything else in its order: 413, 415, 400, 403, 404, 409, 503.
    let services = &context.services;
    if !request.method().is_safe() && services.ledger_is_stalled() {
        return Err(ledger_stalls("the ledger does not answer and nothing was done"));
    }
    let handled = (route.handler)(Request {
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
    });
    // What was begun goes on to its end, and so does the request's Idempotency-Key.
    tokio::select! {
        biased;
        answer = handled => answer,
        () = services.ledger_stalls() => {
            Err(ledger_stalls("the ledger does not answer, and what becomes of the request is not known"))
        }
    }
}

fn ledger_stalls(what: &str) -> Problem {
    let retry_after_seconds = LEDGER_RETRY_SECONDS;
    let message = format!("{what}; try again in {retry_after_seconds} s");
    Error::Unavailable { message, retry_after_seconds }.into()
}

const LEDGER_RETRY_SECONDS: u64 = 5;

fn identify(
    context: &Context,
    request: &HttpRequest,
    seen: &mut Seen,
) -> Result<Arc<Client>, Problem> {
    let peer = request.extensions().get::<Arc<Peer>>().cloned();
    let subject = excerpt(peer.as_ref().map_or("", |peer| peer.subject()));
    let identified = match peer.as_ref().map(|peer| peer.identity(&context.tls)) {
        None => Err("is not a known client".to_owned()),
        Some(Ok(identity)) => {
            context.access.identify(&identity).ok_or_else(|| "is not a known client".to_owned())
        }
        Some(Err(error)) => Err(format!("is not accepted any more: {error}")),
    };
    match identified {
        Ok(client) => {
            seen.caller = Caller::Client(Arc::clone(client.name()));
            seen.client = Arc::clone(client.name());
            Ok(client)
        }
        Err(why) => {
            let certificate =
                peer.as_ref().map(|peer| peer.certificate_sha256()).unwrap_or_default();
            seen.caller = Caller::Stranger(certificate);
            seen.client = format!("unknown certificate {subject}").into();
            context.rates.count_stranger(certificate)?;
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

/// Runs a use case to its end, whatever the connection does meanwhile.
pub(super) async fn uninterrupted<T, E>(
    context: &Context,
    task: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: From<Error> + Into<Problem> + Send + 'static,
{
    context
        .tasks
        .spawn_on(task.in_current_span(), &context.runtime)
        .await
        .unwrap_or_else(|error| {
            Err(Error::Internal(format!("a use case ended early: {error}")).into())
        })
        .map_err(Into::into)
}

/// Refusals of what would change something are part of the audit log. Without it the caller is
/// refused all the same, and the next summary counts the refusal.
async fn record_refusal(
    context: &Context,
    request: &HttpRequest,
    request_id: &str,
    seen: &Seen,
    problem: &Problem,
) {
    let refusal = journal::Refusal {
        request_id,
        client: &seen.client,
        target: seen.target.as_ref().map(ResourcePath::as_str),
        operation: request.uri().path(),
        status: problem.status().as_u16(),
        message: problem.message(),
    };
    let recorded = journal::refused(&context.services, refusal, Timestamp::now()).await;
    if let Err(error) = recorded {
        tracing::error!(error, "a refusal is missing in the audit log");
        context.tally.is_unrecorded(seen.caller.clone(), &seen.client, problem.status());
    }
}
