//! `x509-store-api`: reading certificate stores.

use actix_web::{HttpResponse, http::Method};

use crate::{
    domain::{client::Permission, tree::ServiceKind},
    http::{
        problem::{JsonBody, Problem},
        route::{Api, Request, Route, TargetKind},
        wire,
    },
    service::stores,
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        api: Api::Of(ServiceKind::X509Store),
        target: TargetKind::ServiceOrChild,
        tail: &["certificates"],
        permission: Permission::StoreRead,
        handler: |request| Box::pin(read(request)),
    },
    Route {
        method: Method::GET,
        api: Api::Of(ServiceKind::X509Store),
        target: TargetKind::Service,
        tail: &["certificates", "ids"],
        permission: Permission::StoreRead,
        handler: |request| Box::pin(ids(request)),
    },
];

/// All entries of a store, or one.
async fn read(request: Request) -> Result<HttpResponse, Problem> {
    let (services, store) = (&request.context.services, &request.call.target);
    Ok(match request.child {
        Some(id) => {
            let entry = stores::get(services, store, &id).await?;
            HttpResponse::Ok().json_body(&wire::store::Entry::from(entry))
        }
        None => {
            let entries = stores::list(services, store).await?;
            let entries: Vec<_> = entries.into_iter().map(wire::store::Entry::from).collect();
            HttpResponse::Ok().json_body(&entries)
        }
    })
}

async fn ids(request: Request) -> Result<HttpResponse, Problem> {
    let ids = stores::ids(&request.context.services, &request.call.target).await?;
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json_body(&ids))
}
