//! From a request to its answer, in the order of checks that the contract fixes.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header::HeaderValue},
    web::{Bytes, Payload},
};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Limits, body,
    json::{self, Node},
    operations,
    problem::{JsonBody, Problem},
    route::{Operation, Routes, Target},
    wire,
};
use crate::{
    access::{Access, Client},
    domain::{
        client::ClientIdentity,
        path::ResourcePath,
        request::{Issuance, IssuanceRequest},
        time::Timestamp,
    },
    service::{
        Call, Services, csr,
        error::Error,
        issue::{self, Issued},
        journal, stores,
    },
};

/// What every request needs.
pub(super) struct Context {
    pub(super) services: Arc<Services>,
    pub(super) access: Access,
    pub(super) limits: Limits,
    /// Requests that are worked on.
    pub(super) in_flight: tokio::sync::Semaphore,
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
        let mut refusal = Refused { client: String::new(), target: None };
        let answer = match answer(context, &request, payload, &request_id, &mut refusal).await {
            Ok(answer) => answer,
            Err(problem) => {
                record_refusal(context, &request, &request_id, &refusal, &problem).await;
                problem.into_response(&request_id)
            }
        };
        tracing::info!(
            client = refusal.client,
            method = %request.method(),
            path = request.path(),
            status = answer.status().as_u16(),
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
    answer
}

const X_REQUEST_ID: actix_web::http::header::HeaderName =
    actix_web::http::header::HeaderName::from_static("x-request-id");
const X_REQUEST_ID_CHARACTERS_MAX: usize = 64;
/// Seconds after which a full daemon may have room again.
const BUSY_RETRY_SECONDS: u64 = 1;

/// The caller's request id, when it is one; otherwise a new one.
fn request_id(request: &HttpRequest) -> String {
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
    client: String,
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

    // The target's syntax: 400.
    let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let (target, api, tail) = match segments.as_slice() {
        ["healthz"] if request.method() == Method::GET => {
            return Ok(operations::health(&context.services));
        }
        ["readyz"] if request.method() == Method::GET => {
            return Ok(readiness(context).await);
        }
        ["healthz" | "readyz"] => return Err(Problem::method_not_allowed("GET".to_owned())),
        ["v1", target, api, tail @ ..] => (*target, *api, tail),
        _ => return Err(Problem::not_found("not found")),
    };
    let target = parse_target(target)?;
    refusal.target = Some(target.clone());
    let routes = Routes::of(api, tail).ok_or_else(|| Problem::not_found("not found"))?;
    let route = routes.with(request.method());

    // The grant, before anything is said about what exists: 403.
    check_grant(&client, &target, &routes, route.map(|route| route.permission))?;

    // Target and route: 404, 405.
    let resolved = routes.resolve(&context.services.tree, &target).map_err(Problem::not_found)?;
    let route = route.ok_or_else(|| Problem::method_not_allowed(routes.allow()))?;

    // Room: 503.
    let _permit = context.in_flight.try_acquire().map_err(|_| Problem::busy(BUSY_RETRY_SECONDS))?;
    let call = Call {
        client: client.name().to_owned(),
        request_id: request_id.to_owned(),
        service: resolved.service.clone(),
    };
    // Size, media type, and everything else in its order: 413, 415, 400, 403, 404, 409, 503.
    match route.operation {
        Operation::ReadStore => read_store(context, resolved).await,
        Operation::ListStoreIds => list_store_ids(context, resolved).await,
        Operation::MakeCsr => {
            let body = body::read_json(request, payload, context.limits.request_body).await?;
            make_csr(context, call, &body).await
        }
        Operation::IssueIaca => {
            let body = body::read_json(request, payload, context.limits.request_body).await?;
            issue(context, call, &body, wire::iaca::request).await
        }
        Operation::IssueDocumentSigner => {
            let body = body::read_json(request, payload, context.limits.request_body).await?;
            issue(context, call, &body, wire::document_signer::request).await
        }
        Operation::IssueGeneric => {
            let body = body::read_json(request, payload, context.limits.request_body).await?;
            issue(context, call, &body, wire::generic::request).await
        }
    }
}

fn identify(
    context: &Context,
    request: &HttpRequest,
    refusal: &mut Refused,
) -> Result<Arc<Client>, Problem> {
    let identity = request.conn_data::<Arc<ClientIdentity>>();
    let subject = identity.map_or("", |identity| identity.subject.as_str());
    refusal.client = format!("unknown certificate {subject}");
    let client =
        identity.and_then(|identity| context.access.identify(identity)).ok_or_else(|| {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                format!("client certificate '{subject}' is not a known client"),
            )
        })?;
    client.name().clone_into(&mut refusal.client);
    Ok(client)
}

/// A target is decoded once, and then judged by what it says.
fn parse_target(segment: &str) -> Result<ResourcePath, Problem> {
    let bad = |what: String| Problem::new(StatusCode::BAD_REQUEST, format!("target: {what}"));
    let decoded =
        percent_decode_str(segment).decode_utf8().map_err(|_| bad("not UTF-8".to_owned()))?;
    ResourcePath::parse(&decoded).map_err(|error| bad(error.to_string()))
}

fn check_grant(
    client: &Client,
    target: &ResourcePath,
    routes: &Routes,
    wanted: Option<crate::domain::client::Permission>,
) -> Result<(), Problem> {
    let granted = match wanted {
        Some(permission) => client.may(permission, target),
        None => routes.permissions().any(|permission| client.may(permission, target)),
    };
    if granted {
        return Ok(());
    }
    let words: Vec<_> = match wanted {
        Some(permission) => vec![permission.name()],
        None => routes.permissions().map(|permission| permission.name()).collect(),
    };
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format!("client '{}' has no {} on {target}", client.name(), words.join(" or ")),
    ))
}

pub(super) async fn readiness(context: &Context) -> HttpResponse {
    operations::readiness(&context.services, context.in_flight.available_permits() == 0).await
}

async fn issue(
    context: &Arc<Context>,
    call: Call,
    body: &Bytes,
    read: fn(Node<'_>) -> Result<IssuanceRequest, crate::service::error::Invalid>,
) -> Result<HttpResponse, Problem> {
    let value = json::parse(body).map_err(Error::from)?;
    let request = Arc::new(read(Node::body(&value)).map_err(Error::from)?);
    let task = {
        let (services, request) = (Arc::clone(&context.services), Arc::clone(&request));
        async move { issue::issue(&services, &call, &request, Timestamp::now()).await }
    };
    let issued = uninterrupted(context, task).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(("chancery-serial", issued.serial.to_string()));
    response.insert_header(("chancery-audit-index", issued.audit_index.to_string()));
    Ok(match &request.issuance {
        Issuance::Iaca(iaca) => {
            let data = wire::iaca::Data::effective(&iaca.data, issued.validity);
            response.json_body(&IssuanceAnswer::new(issued, data))
        }
        Issuance::DocumentSigner(ds) => {
            let data = wire::document_signer::Data::effective(&ds.data, issued.validity);
            response.json_body(&IssuanceAnswer::new(issued, data))
        }
        Issuance::Generic(generic) => {
            let data = wire::generic::Data::effective(
                &generic.data,
                issued.validity,
                &issued.issuer,
                issued.path_length,
                &issued.subject_key,
            );
            response.json_body(&IssuanceAnswer::new(issued, data))
        }
    })
}

/// The answer of every issuance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuanceAnswer<D> {
    #[serde(rename = "certificatePEM")]
    certificate_pem: String,
    /// Absent, not empty, without stores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stored_certificate_ids: Vec<String>,
    certificate_data: D,
}

impl<D> IssuanceAnswer<D> {
    fn new(issued: Issued, certificate_data: D) -> Self {
        Self {
            certificate_pem: issued.certificate_pem,
            stored_certificate_ids: issued
                .stored_certificate_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
            certificate_data,
        }
    }
}

async fn make_csr(
    context: &Arc<Context>,
    call: Call,
    body: &Bytes,
) -> Result<HttpResponse, Problem> {
    let value = json::parse(body).map_err(Error::from)?;
    let request = Arc::new(wire::csr::request(Node::body(&value)).map_err(Error::from)?);
    let task = {
        let (services, request) = (Arc::clone(&context.services), Arc::clone(&request));
        async move { csr::make(&services, &call, &request, Timestamp::now()).await }
    };
    let made = uninterrupted(context, task).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(("chancery-audit-index", made.audit_index.to_string()));
    Ok(response.json_body(&wire::csr::Answer::new(
        made.csr_pem,
        &request.subject,
        &made.public_key,
    )))
}

/// Runs a use case to its end, whatever the connection does meanwhile.
async fn uninterrupted<T: Send + 'static>(
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

async fn read_store(context: &Context, target: Target) -> Result<HttpResponse, Problem> {
    Ok(match target.id {
        Some(id) => {
            let entry = stores::get(&context.services, &target.service, &id).await?;
            HttpResponse::Ok().json_body(&wire::store::Entry::from(entry))
        }
        None => {
            let entries = stores::list(&context.services, &target.service).await?;
            let entries: Vec<_> = entries.into_iter().map(wire::store::Entry::from).collect();
            HttpResponse::Ok().json_body(&entries)
        }
    })
}

async fn list_store_ids(context: &Context, target: Target) -> Result<HttpResponse, Problem> {
    let ids = stores::ids(&context.services, &target.service).await?;
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json_body(&ids))
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
    if request.method() != Method::POST || !is_refusal {
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
