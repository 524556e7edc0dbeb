//! From a request to its answer, in the order of checks that the contract fixes: the one dispatcher of all
//! listeners.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        ConnectionType, Method, StatusCode,
        header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue},
    },
    web::Payload,
};
use percent_encoding::percent_decode_str;
use tracing::Instrument;

use super::{
    api::ROUTER,
    context::Context,
    headers,
    problem::Problem,
    query,
    route::{Access, Handler, Place, Request, Route, Target, Wanted},
    router::Matched,
    secret,
    tally::{self, Caller, Outcome, Told},
    tls::Peer,
};
use crate::{
    access::Client,
    domain::{excerpt::excerpt, path::ResourcePath, time::Timestamp, tree::ResourceTree},
    service::{Call, error::Error, journal},
};

/// Which listener a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    /// All routes, for clients with a certificate.
    Api,
    /// Public routes, for anyone.
    Distribution,
    /// Health and metrics, for anyone who reaches it.
    Operations,
}

impl Listener {
    /// Whether a route is there.
    fn serves(self, context: &Context, route: &Route) -> bool {
        match self {
            Self::Api => route.access != Access::CompatLogin || context.compat_login,
            Self::Distribution => route.access == Access::Public,
            Self::Operations => matches!(route.access, Access::Monitoring(_)),
        }
    }

    /// The methods of a route: without TLS, there is HEAD beside every GET.
    fn methods(self, route: &Route) -> impl Iterator<Item = Method> {
        let mut methods: Vec<_> = route.methods().collect();
        if self == Self::Operations && methods == [Method::GET] {
            methods.push(Method::HEAD);
        }
        methods.into_iter()
    }
}

/// Answers a request.
pub(super) async fn dispatch(
    context: &Arc<Context>,
    listener: Listener,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let started = Instant::now();
    let request_id = headers::request_id(&request);
    let span = tracing::info_span!("request", id = %request_id);
    let matched = ROUTER.find(request.uri().path());
    let name = matched.name(request.method());
    let is_public = matched.routes().any(|route| route.access == Access::Public);
    let mut answer = async {
        let mut seen = Seen::of(&request, &matched);
        let asked = Asked { context, listener, http: &request, request_id: &request_id };
        let answered = asked
            .answer(&matched, payload, &mut seen)
            .await
            .map_err(|problem| secret::conceal(&request, problem));
        match listener {
            Listener::Api => {
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
                context.requests.count(name, answer.status());
                if told.line {
                    tally::line(&seen.client, &request, &answer, started.elapsed());
                }
                answer
            }
            // Its answers are counted, and have no lines of their own in the log.
            Listener::Distribution => {
                let answer = answered.unwrap_or_else(Problem::into_text);
                context.requests.count(name, answer.status());
                context.tally.count_public(answer.status());
                answer
            }
            Listener::Operations => {
                answered.unwrap_or_else(|problem| problem.into_response(&request_id))
            }
        }
    }
    .instrument(span)
    .await;
    headers::set_request_id(&mut answer, &request_id);
    if listener == Listener::Distribution || listener == Listener::Api && is_public {
        // Scripts of any web page may read it (the Fetch standard, CORS protocol): it is public.
        let any = HeaderValue::from_static("*");
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
    }
    if answer.status() == StatusCode::UNAUTHORIZED {
        // The client is identified once for each connection: with this one it stays unknown.
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    answer
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
                && !answer.headers().contains_key(headers::REPLAYED);
            let outcome = if has_changed { Outcome::Changed } else { Outcome::Read };
            (answer.status(), outcome)
        }
    };
    let entries_max = context.limits.client_refusals_audited_per_minute;
    context.tally.count(seen.caller.clone(), &seen.client, status, outcome, entries_max)
}

/// What is known of a request by the time that it is answered.
struct Seen {
    /// Whether a refusal is audited: every POST, and any other method of the path that may change something.
    would_change: bool,
    caller: Caller,
    /// The caller's name in log and audit.
    client: Arc<str>,
    target: Option<ResourcePath>,
}

impl Seen {
    fn of(request: &HttpRequest, matched: &Matched<'_>) -> Self {
        let would_change = match request.method() {
            &Method::POST => true,
            method if method.is_safe() => false,
            method => matched.routes().any(|route| route.method == *method),
        };
        Self { would_change, caller: Caller::OtherStrangers, client: "".into(), target: None }
    }
}

/// A request on its way through the checks.
struct Asked<'a> {
    context: &'a Arc<Context>,
    listener: Listener,
    http: &'a HttpRequest,
    request_id: &'a str,
}

impl Asked<'_> {
    async fn answer(
        self,
        matched: &Matched<'_>,
        payload: Payload,
        seen: &mut Seen,
    ) -> Result<HttpResponse, Problem> {
        let Self { context, listener, http, .. } = self;
        let mut client = None;
        if listener == Listener::Api {
            // Identity: 401. A certificate that is no client's is refused at a rate: 429.
            let known = identify(context, http, seen)?;
            // The rate, before anything that may be refused: 429.
            context.rates.count(known.name())?;
            client = Some(known);
        }

        // The target's syntax: 400. Over the API that comes even before the path is known to be none.
        query::check(http)?;
        let routes: Vec<_> =
            matched.routes().filter(|route| listener.serves(context, route)).collect();
        let is_unknown = routes.is_empty();
        let target = match matched.target {
            Some(_) if is_unknown && listener != Listener::Api => None,
            target => target.map(parse_target).transpose()?,
        };
        if !routes.iter().any(|route| route.access == Access::Public) {
            seen.target.clone_from(&target);
        }
        if is_unknown {
            return Err(not_found());
        }

        // The grant, before anything is said about what exists: 403.
        if let Some(client) = &client {
            check_grant(client, target.as_ref(), &routes, http.method())?;
        }

        // Target and route: 404, 405.
        let tree = context.services.tree();
        let (routes, place) = match &target {
            Some(target) => find_target(&tree, target, routes)?,
            None => (routes, None),
        };
        let route = self.with_method(&routes)?;

        let parameter = matched.parameter.unwrap_or_default().to_owned();
        match (&route.handler, client, target, place) {
            (Handler::Target(_, handler), Some(client), _, Some(place)) => {
                let call = Call {
                    client: Arc::clone(client.name()),
                    grants: client.grants().clone(),
                    request_id: self.request_id.to_owned(),
                    target: place.service,
                    tree,
                    keyed: None,
                };
                let request = self.request(route, call, parameter, payload);
                self.on_target(*handler, Request { child: place.element, ..request }).await
            }
            (Handler::Public(wanted, permission, handler), client, Some(path), _) => {
                let is_told = client.is_some_and(|client| client.may(*permission, &path));
                let wanted = Wanted { target: *wanted, path };
                let request = self.request(route, wanted, parameter, payload);
                handler(request).await.map_err(|problem| match problem.status() {
                    StatusCode::NOT_FOUND if !is_told => not_found(),
                    _ => problem,
                })
            }
            (Handler::Plain(handler), ..) => {
                handler(self.request(route, (), parameter, payload)).await
            }
            // A row that asks for a target that its path or its listener does not have.
            (Handler::Target(..) | Handler::Public(..), ..) => Err(not_found()),
        }
    }

    /// Asks the handler of a target, while there is room and the ledger answers.
    async fn on_target(
        &self,
        handler: fn(Request) -> super::route::Answer,
        request: Request,
    ) -> Result<HttpResponse, Problem> {
        // Room: 503.
        let _place = self.context.in_flight.enter(&request.call.client)?;

        // Size, media type, and everything else in its order: 413, 415, 400, 403, 404, 409, 503.
        let services = &self.context.services;
        if !self.http.method().is_safe() && services.ledger_is_stalled() {
            return Err(ledger_stalls("the ledger does not answer and nothing was done"));
        }
        // When the ledger stalls the caller is answered, but the work goes on to its end, and so does
        // the request's Idempotency-Key.
        tokio::select! {
            biased;
            answer = handler(request) => answer,
            () = services.ledger_stalls() => {
                Err(ledger_stalls(
                    "the ledger does not answer, and what becomes of the request is not known",
                ))
            }
        }
    }

    /// The route for the method: 405.
    fn with_method(&self, routes: &[&'static Route]) -> Result<&'static Route, Problem> {
        let methods = || {
            let each = routes.iter().map(|route| (*route, self.listener.methods(route)));
            each.flat_map(|(route, methods)| methods.map(move |method| (route, method)))
        };
        match methods().find(|(_, method)| method == self.http.method()) {
            Some((route, _)) => Ok(route),
            None => {
                let methods: Vec<_> = methods().map(|(_, method)| method.to_string()).collect();
                Err(Problem::method_not_allowed(methods.join(", ")))
            }
        }
    }

    fn request<T>(
        &self,
        route: &'static Route,
        call: T,
        parameter: String,
        payload: Payload,
    ) -> Request<T> {
        Request {
            context: Arc::clone(self.context),
            route,
            call,
            child: None,
            parameter,
            http: self.http.clone(),
            payload: Some(payload),
        }
    }
}

/// The one text of every 404 that must not tell what exists.
fn not_found() -> Problem {
    Problem::not_found("not found")
}

/// The routes that take what the target names, and where it is. Handlers of public routes look for their
/// target themselves.
fn find_target(
    tree: &ResourceTree,
    path: &ResourcePath,
    routes: Vec<&'static Route>,
) -> Result<(Vec<&'static Route>, Option<Place>), Problem> {
    let wanted = |route: &Route| match route.handler {
        Handler::Target(target, _) => Some(target),
        Handler::Plain(_) | Handler::Public(..) => None,
    };
    let mut place = None;
    let mut fitting = Vec::new();
    let mut missing = None;
    for route in routes {
        match wanted(route).map(|target: Target| target.find(tree, path)) {
            None => fitting.push(route),
            Some(Ok(found)) => {
                place = Some(found);
                fitting.push(route);
            }
            Some(Err(error)) => missing = missing.or(Some(error)),
        }
    }
    match missing {
        Some(error) if fitting.is_empty() => Err(Problem::not_found(error)),
        _ => Ok((fitting, place)),
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
fn parse_target(segment: &str) -> Result<ResourcePath, Problem> {
    let bad = |what: String| Problem::new(StatusCode::BAD_REQUEST, format!("target: {what}"));
    let decoded =
        percent_decode_str(segment).decode_utf8().map_err(|_| bad("not UTF-8".to_owned()))?;
    ResourcePath::parse(&decoded).map_err(|error| bad(error.to_string()))
}

/// Refuses a client without any permission that opens the path for the method, or for a method that the path
/// does not have, any of its permissions.
fn check_grant(
    client: &Client,
    target: Option<&ResourcePath>,
    routes: &[&'static Route],
    method: &Method,
) -> Result<(), Problem> {
    let has_method = routes.iter().any(|route| route.method == *method);
    let mut names = Vec::new();
    for route in routes.iter().filter(|route| !has_method || route.method == *method) {
        let Some(permission) = route.access.permission() else { return Ok(()) };
        let is_granted = match target {
            Some(target) => client.may(permission, target),
            None => client.has(permission),
        };
        if is_granted {
            return Ok(());
        }
        names.push(permission.name());
    }
    names.dedup();
    let place = target.map_or_else(String::new, |target| format!(" on {target}"));
    let message = format!("client '{}' has no {}{place}", client.name(), names.join(" or "));
    Err(Problem::new(StatusCode::FORBIDDEN, message))
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
