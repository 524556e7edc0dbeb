//! `x509-store-api`: certificate stores.

use std::sync::Arc;

use actix_web::{HttpResponse, http::Method};

use crate::{
    domain::{client::Permission, time::Timestamp, tree::ServiceKind},
    http::{
        context::uninterrupted,
        problem::{JsonBody, Problem},
        route::{Access, Handler, Request, Route, Target},
        wire,
    },
    service::stores,
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/{target}/x509-store-api/certificates",
        access: Access::Granted(Permission::StoreRead),
        handler: Handler::Target(Target::ServiceOrChild(ServiceKind::X509Store), |request| {
            Box::pin(read(request))
        }),
    },
    Route {
        method: Method::POST,
        path: "/v1/{target}/x509-store-api/certificates",
        access: Access::Granted(Permission::StoreWrite),
        handler: Handler::Target(Target::ServiceOrChild(ServiceKind::X509Store), |request| {
            Box::pin(add(request))
        }),
    },
    Route {
        method: Method::PUT,
        path: "/v1/{target}/x509-store-api/certificates",
        access: Access::Granted(Permission::StoreWrite),
        handler: Handler::Target(Target::Child(ServiceKind::X509Store), |request| {
            Box::pin(replace(request))
        }),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/{target}/x509-store-api/certificates",
        access: Access::Granted(Permission::StoreWrite),
        handler: Handler::Target(Target::Child(ServiceKind::X509Store), |request| {
            Box::pin(delete(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/x509-store-api/certificates/ids",
        access: Access::Granted(Permission::StoreRead),
        handler: Handler::Target(Target::Service(ServiceKind::X509Store), |request| {
            Box::pin(ids(request))
        }),
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

async fn add(mut request: Request) -> Result<HttpResponse, Problem> {
    let content = request.read(wire::store::content).await?;
    let (services, call) = (Arc::clone(&request.context.services), request.call);
    let child = request.child;
    let entry = uninterrupted(&request.context, async move {
        stores::add(&services, &call, child, content, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Created().json_body(&wire::store::Entry::from(entry)))
}

async fn replace(mut request: Request) -> Result<HttpResponse, Problem> {
    let content = request.read(wire::store::content).await?;
    let id = request.child()?;
    let (services, call) = (Arc::clone(&request.context.services), request.call);
    let entry = uninterrupted(&request.context, async move {
        stores::replace(&services, &call, id, content, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Ok().json_body(&wire::store::Entry::from(entry)))
}

async fn delete(mut request: Request) -> Result<HttpResponse, Problem> {
    let id = request.child()?;
    let (services, call) = (Arc::clone(&request.context.services), request.call);
    let deleted = uninterrupted(&request.context, async move {
        stores::delete(&services, &call, id, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Ok().json_body(&wire::store::Deleted::new(deleted.as_str())))
}
