//! `/healthz`, `/readyz`, `/metrics` and `/v1/status`, rendered from [`Status`].

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    http::{Method, StatusCode, header},
};
use serde::Serialize;

use crate::{
    domain::client::Permission,
    http::{
        context::Context,
        metrics,
        problem::JsonBody,
        route::{Access, Handler, Route},
        wire::status::StatusBody,
    },
    service::status::{Health, Status},
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/healthz",
        access: Access::Monitoring(None),
        handler: Handler::Plain(|request| Box::pin(async move { Ok(health(&request.context)) })),
    },
    Route {
        method: Method::GET,
        path: "/readyz",
        access: Access::Monitoring(None),
        handler: Handler::Plain(|request| {
            Box::pin(async move { Ok(readiness(&request.context).await) })
        }),
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        access: Access::Monitoring(Some(Permission::OpsRead)),
        handler: Handler::Plain(|request| {
            Box::pin(async move { Ok(metrics::answer(&request.context)) })
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/status",
        access: Access::Granted(Permission::OpsRead),
        handler: Handler::Plain(|request| {
            Box::pin(async move { Ok(status(&request.context).await) })
        }),
    },
];

/// `GET /healthz`: 200 while the process works. Uses neither HSM nor ledger.
fn health(context: &Context) -> HttpResponse {
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
async fn readiness(context: &Context) -> HttpResponse {
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
async fn status(context: &Context) -> HttpResponse {
    let status = context.services.probed_status(context.front()).await;
    HttpResponse::Ok().json_body(&StatusBody::new(&status))
}
