//! `kms-service-api`: the keys of a KMS service.

use std::sync::Arc;

use actix_web::{HttpResponse, http::Method};

use crate::{
    domain::{client::Permission, time::Timestamp, tree::ServiceKind},
    http::{
        context::uninterrupted,
        problem::{JsonBody, Problem},
        query::Query,
        route::{Access, Handler, Request, Route, Target},
        wire::{
            kms::{self, Key, KeyPem, Pin},
            store::Deleted,
        },
    },
    service::{
        iaca_pins,
        keys::{self, Guard},
    },
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/{target}/kms-service-api/keys/generate",
        access: Access::Granted(Permission::KmsGenerate),
        handler: Handler::Target(Target::Child(ServiceKind::Kms), |request| {
            Box::pin(generate(request))
        }),
    },
    Route {
        method: Method::POST,
        path: "/v1/{target}/kms-service-api/keys/import/jwk",
        access: Access::Granted(Permission::KmsImport),
        handler: Handler::Target(Target::Child(ServiceKind::Kms), |request| {
            Box::pin(import(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/kms-service-api/keys",
        access: Access::Granted(Permission::KmsRead),
        handler: Handler::Target(Target::ServiceOrChild(ServiceKind::Kms), |request| {
            Box::pin(read(request))
        }),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/{target}/kms-service-api/keys",
        access: Access::Granted(Permission::KmsDelete),
        handler: Handler::Target(Target::Child(ServiceKind::Kms), |request| {
            Box::pin(delete(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/kms-service-api/iaca-pins",
        access: Access::Granted(Permission::KmsRead),
        handler: Handler::Target(Target::Child(ServiceKind::Kms), |request| {
            Box::pin(read_pins(request))
        }),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/{target}/kms-service-api/iaca-pins",
        access: Access::Granted(Permission::KmsDelete),
        handler: Handler::Target(Target::Child(ServiceKind::Kms), |request| {
            Box::pin(drop_pins(request))
        }),
    },
];

async fn generate(mut request: Request) -> Result<HttpResponse, Problem> {
    let key_type = request.read(kms::generation).await?;
    let id = request.child()?;
    let (services, call) = (Arc::clone(&request.context.services), request.call);
    let key = uninterrupted(&request.context, async move {
        keys::generate(&services, &call, &id, key_type, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Created().json_body(&Key::of(&key, None)))
}

/// Where import is off, nobody reads what was sent.
async fn import(mut request: Request) -> Result<HttpResponse, Problem> {
    let allowed = request.context.services.import_allowed()?;
    let (jwk, kid) = request.read(kms::private_jwk).await?;
    let id = request.child()?;
    let (services, call) = (Arc::clone(&request.context.services), request.call);
    let key = uninterrupted(&request.context, async move {
        keys::import(&services, &call, &id, &jwk, allowed, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Created().json_body(&Key::of(&key, kid)))
}

/// All keys of a KMS, or one.
async fn read(request: Request) -> Result<HttpResponse, Problem> {
    let (services, call) = (&request.context.services, &request.call);
    let mut query = Query::of(&request.http)?;
    let Some(id) = &request.child else {
        query.finish()?;
        let keys = keys::list(services, call).await?;
        let keys: Vec<_> = keys.iter().map(|key| Key::of(key, None)).collect();
        return Ok(HttpResponse::Ok().json_body(&keys));
    };
    let pem = query.take("format", |text| match text {
        "pem" => Ok(()),
        _ => Err("must be pem".to_owned()),
    })?;
    query.finish()?;
    let key = keys::get(services, call, id).await?;
    Ok(match pem {
        Some(()) => HttpResponse::Ok().json_body(&KeyPem::from(&key)),
        None => HttpResponse::Ok().json_body(&Key::of(&key, None)),
    })
}

async fn delete(mut request: Request) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request.http)?;
    let mut is_set = |name| {
        query.take(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    };
    let (force, unused) = (is_set("force")?, is_set("unused")?);
    query.finish()?;
    let guard = match (force, unused) {
        (Some(true), _) => Guard::None,
        (_, Some(true)) => Guard::Certificates,
        (_, _) => Guard::CaCertificates,
    };
    let id = request.child()?;
    let (services, call) = (Arc::clone(&request.context.services), request.call);
    let deleted = uninterrupted(&request.context, async move {
        keys::delete(&services, &call, &id, guard, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Ok().json_body(&Deleted::new(deleted.as_str())))
}

async fn read_pins(mut request: Request) -> Result<HttpResponse, Problem> {
    Query::of(&request.http)?.finish()?;
    let id = request.child()?;
    let pins = iaca_pins::list(&request.context.services, &request.call, &id).await?;
    Ok(HttpResponse::Ok().json_body(&pins.iter().map(Pin::of).collect::<Vec<_>>()))
}

async fn drop_pins(mut request: Request) -> Result<HttpResponse, Problem> {
    Query::of(&request.http)?.finish()?;
    let id = request.child()?;
    let (services, call) = (Arc::clone(&request.context.services), request.call);
    let dropped = uninterrupted(&request.context, async move {
        iaca_pins::drop_all(&services, &call, &id, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Ok().json_body(&Deleted::new(dropped.as_str())))
}
