//! `vical-service-api`: publishing, and the list of versions. What everyone may fetch is in
//! [`super::vical_public`].

use actix_web::{HttpResponse, http::Method};

use crate::{
    domain::{client::Permission, time::Timestamp, tree::ServiceKind},
    http::{
        idempotent::idempotent,
        problem::{JsonBody, Problem},
        route::{Access, Handler, Request, Route, Target},
        wire::vical::{self as wire, Publication},
    },
    service::vical::{self, Published},
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/{target}/vical-service-api/publish",
        access: Access::Granted(Permission::VicalPublish),
        handler: Handler::Target(Target::Service(ServiceKind::Vical), |request| {
            Box::pin(publish(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/vical-service-api/versions/ids",
        access: Access::Granted(Permission::VicalRead),
        handler: Handler::Target(Target::Service(ServiceKind::Vical), |request| {
            Box::pin(ids(request))
        }),
    },
];

async fn publish(mut request: Request) -> Result<HttpResponse, Problem> {
    let body = request.parse_body(wire::request).await?;
    idempotent(request, body, move |services, call, parsed| async move {
        vical::publish(&services, &call, &parsed, render, Timestamp::now()).await
    })
    .await
}

fn render(published: &Published) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Publication::from(published))
}

async fn ids(request: Request) -> Result<HttpResponse, Problem> {
    let ids = vical::ids(&request.context.services, &request.call.target).await?;
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json_body(&ids))
}
