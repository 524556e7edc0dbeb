//! `vical-service-api`: what everyone may fetch of published VICALs.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{CONTENT_TYPE, HeaderValue, VARY},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::{
    domain::{client::Permission, path::ResourcePath, tree::ServiceKind},
    http::{
        caching,
        problem::{JsonBody, Problem},
        query::Query,
        route::{Access, Handler, Place, Request, Route, Target, Wanted},
        wire::vical::{Format, Manifest, TrustMaterial},
    },
    service::vical::{self, VicalVersion},
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/{target}/vical-service-api/latest",
        access: Access::Public,
        handler: Handler::Public(LATEST, Permission::VicalRead, |request| {
            Box::pin(artifact(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/vical-service-api/latest/manifest",
        access: Access::Public,
        handler: Handler::Public(LATEST, Permission::VicalRead, |request| {
            Box::pin(manifest(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/vical-service-api/latest/trust-material",
        access: Access::Public,
        handler: Handler::Public(LATEST, Permission::VicalRead, |request| {
            Box::pin(trust_material(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/vical-service-api/versions",
        access: Access::Public,
        handler: Handler::Public(VERSION, Permission::VicalRead, |request| {
            Box::pin(artifact(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/vical-service-api/versions/manifest",
        access: Access::Public,
        handler: Handler::Public(VERSION, Permission::VicalRead, |request| {
            Box::pin(manifest(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/vical-service-api/versions/trust-material",
        access: Access::Public,
        handler: Handler::Public(VERSION, Permission::VicalRead, |request| {
            Box::pin(trust_material(request))
        }),
    },
];

const LATEST: Target = Target::Service(ServiceKind::Vical);
const VERSION: Target = Target::Version(ServiceKind::Vical);

/// For how long caches may answer: the newest version may be another one soon, a version never changes.
fn cache_control(place: &Place) -> &'static str {
    match place.element {
        None => "public, max-age=300",
        Some(_) => "max-age=31536000, immutable",
    }
}

async fn artifact(request: Request<Wanted>) -> Result<HttpResponse, Problem> {
    let (format, content_type) = format(&request.http)?;
    let place = request.place()?;
    let services = &request.context.services;
    let found = vical::artifact(services, &place.service, place.element.as_ref()).await?;
    let (sha256, octets) = (found.sha256, found.octets);
    let mut answer = caching::answer(&request.http, &sha256, cache_control(&place), |response| {
        response.insert_header((CONTENT_TYPE, content_type));
        match format {
            Format::Hex => response.body(HEXLOWER.encode(&octets)),
            Format::Base64 => response.body(STANDARD.encode(&octets)),
            Format::Cbor => response.body(octets),
        }
    });
    // Otherwise caches would take one form for another.
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(answer)
}

async fn manifest(request: Request<Wanted>) -> Result<HttpResponse, Problem> {
    version(request, Manifest::of).await
}

async fn trust_material(request: Request<Wanted>) -> Result<HttpResponse, Problem> {
    version(request, TrustMaterial::of).await
}

async fn version<T: Serialize>(
    request: Request<Wanted>,
    render: fn(&ResourcePath, VicalVersion) -> T,
) -> Result<HttpResponse, Problem> {
    let place = request.place()?;
    let services = &request.context.services;
    let found = vical::version(services, &place.service, place.element.as_ref()).await?;
    let sha256 = found.sha256;
    Ok(caching::answer(&request.http, &sha256, cache_control(&place), |response| {
        response.json_body(&render(&place.service, found))
    }))
}

/// The query parameter decides; without it, the media types that the client accepts. The default is hex.
fn format(request: &HttpRequest) -> Result<(Format, &'static str), Problem> {
    let given = Query::of(request)?.take("format", |text| {
        Format::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| "must be hex, base64 or cbor".to_owned())
    })?;
    Ok(match given {
        Some(Format::Cbor) => (Format::Cbor, CBOR),
        Some(format @ (Format::Hex | Format::Base64)) => (format, "text/plain"),
        None => match binary(&caching::accepted(request)) {
            Some(binary) => (Format::Cbor, binary),
            None => (Format::Hex, "text/plain"),
        },
    })
}

const CBOR: &str = "application/cbor";

/// The first binary type that the client accepts, CBOR before the others.
fn binary(accepted: &[String]) -> Option<&'static str> {
    let known = [CBOR, "application/octet-stream", "application/cwt"];
    let mut accepted =
        accepted.iter().filter_map(|name| known.into_iter().find(|known| known == name));
    let first = accepted.next()?;
    Some(if accepted.any(|name| name == CBOR) { CBOR } else { first })
}
