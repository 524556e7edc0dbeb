//! `/healthz`, `/readyz` and `/v1/status`, rendered from [`Status`], and the operations listener, which serves
//! health, readiness and metrics without TLS.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
};
use serde::Serialize;

use super::{
    dispatch::{Context, name_request, request_id},
    metrics,
    problem::{JsonBody, Problem},
    query,
    wire::status::StatusBody,
};
use crate::service::status::{Health, Status};

/// The only handler of the operations listener.
pub(super) async fn dispatch(context: &Context, request: &HttpRequest) -> HttpResponse {
    let request_id = request_id(request);
    let answered = answer(context, request).await;
    let mut answer = answered.unwrap_or_else(|problem| problem.into_response(&request_id));
    name_request(&mut answer, &request_id);
    answer
}

async fn answer(context: &Context, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    query::check(request)?;
    let path = request.path();
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return Err(Problem::not_found("not found"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed("GET, HEAD".to_owned()));
    }
    Ok(match path {
        "/healthz" => health(context),
        "/readyz" => readiness(context).await,
        _ => metrics::answer(context),
    })
}

/// `GET /healthz`: 200 while the process works. Uses neither HSM nor ledger.
pub(super) fn health(context: &Context) -> HttpResponse {
    let status = context.services.status(context.front());
    HttpResponse::Ok().json_body(&HealthBody {
        status: "ok",
        version: Status::VERSION,
        dev: status.dev,
        warnings: status.warnings(),
    })
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    version: &'static str,
    dev: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

const RETRY_AFTER_SECONDS: u64 = 5;

/// `GET /readyz`: 200 if a signature would succeed now, as far as can be known.
pub(super) async fn readiness(context: &Context) -> HttpResponse {
    let status = context.services.probed_status(context.front()).await;
    let (code, word) = match status.health() {
        Health::Ready | Health::Degraded => (StatusCode::OK, Health::Ready.word()),
        Health::NotReady => (StatusCode::SERVICE_UNAVAILABLE, Health::NotReady.word()),
    };
    let mut response = HttpResponse::build(code);
    if !status.is_ready() {
        response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
    }
    response.json_body(&ReadinessBody { status: word, checks: status.checks() })
}

#[derive(Serialize)]
struct ReadinessBody {
    status: &'static str,
    checks: BTreeMap<String, String>,
}

/// `GET /v1/status`.
pub(super) async fn status(context: &Context) -> HttpResponse {
    let status = context.services.probed_status(context.front()).await;
    HttpResponse::Ok().json_body(&StatusBody::new(&status))
}
