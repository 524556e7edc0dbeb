//! `vical-service-api`: what everyone may fetch of published VICALs.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use data_encoding::HEXLOWER;

use crate::{
    domain::{client::Permission, tree::ServiceKind},
    http::{
        problem::{JsonBody, Problem},
        public::{PublicPlace, PublicRequest, PublicRoute, PublicTarget},
        query::Query,
        wire::vical::{Format, Manifest, TrustMaterial},
    },
    service::vical,
};

pub(super) static ROUTES: &[PublicRoute] = &[
    PublicRoute {
        kind: ServiceKind::Vical,
        target: PublicTarget::Service,
        tail: &["latest"],
        told: Permission::VicalRead,
        handler: |request| Box::pin(artifact(request)),
    },
    PublicRoute {
        kind: ServiceKind::Vical,
        target: PublicTarget::Service,
        tail: &["latest", "manifest"],
        told: Permission::VicalRead,
        handler: |request| Box::pin(manifest(request)),
    },
    PublicRoute {
        kind: ServiceKind::Vical,
        target: PublicTarget::Service,
        tail: &["latest", "trust-material"],
        told: Permission::VicalRead,
        handler: |request| Box::pin(trust_material(request)),
    },
    PublicRoute {
        kind: ServiceKind::Vical,
        target: PublicTarget::Version,
        tail: &["versions"],
        told: Permission::VicalRead,
        handler: |request| Box::pin(artifact(request)),
    },
    PublicRoute {
        kind: ServiceKind::Vical,
        target: PublicTarget::Version,
        tail: &["versions", "manifest"],
        told: Permission::VicalRead,
        handler: |request| Box::pin(manifest(request)),
    },
    PublicRoute {
        kind: ServiceKind::Vical,
        target: PublicTarget::Version,
        tail: &["versions", "trust-material"],
        told: Permission::VicalRead,
        handler: |request| Box::pin(trust_material(request)),
    },
];

/// The newest may be another one soon.
const CACHE_LATEST: &str = "public, max-age=300";
/// A version never changes.
const CACHE_VERSION: &str = "max-age=31536000, immutable";

async fn artifact(request: PublicRequest) -> Result<HttpResponse, Problem> {
    let (format, content_type) = format(&request.http)?;
    let place = request.place()?;
    let found =
        vical::artifact(&request.context.services, &place.service, place.version.as_ref()).await?;
    let Some(mut response) = fresh(&request.http, &place, &found.sha256) else {
        return Ok(unchanged(&place, &found.sha256).insert_header(VARY).finish());
    };
    response.insert_header(VARY).insert_header((header::CONTENT_TYPE, content_type));
    Ok(match format {
        Format::Hex => response.body(HEXLOWER.encode(&found.octets)),
        Format::Base64 => response.body(STANDARD.encode(&found.octets)),
        Format::Cbor => response.body(found.octets),
    })
}

async fn manifest(request: PublicRequest) -> Result<HttpResponse, Problem> {
    let place = request.place()?;
    let found =
        vical::version(&request.context.services, &place.service, place.version.as_ref()).await?;
    let Some(mut response) = fresh(&request.http, &place, &found.sha256) else {
        return Ok(unchanged(&place, &found.sha256).finish());
    };
    Ok(response.json_body(&Manifest::of(&place.service, found)))
}

async fn trust_material(request: PublicRequest) -> Result<HttpResponse, Problem> {
    let place = request.place()?;
    let found =
        vical::version(&request.context.services, &place.service, place.version.as_ref()).await?;
    let Some(mut response) = fresh(&request.http, &place, &found.sha256) else {
        return Ok(unchanged(&place, &found.sha256).finish());
    };
    Ok(response.json_body(&TrustMaterial::of(&place.service, found)))
}

/// Caches must not take one form for another.
const VARY: (header::HeaderName, &str) = (header::VARY, "accept");

/// The parameter decides; without it, what the client names. Whoever names nothing gets hex.
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
        None => match accepted(request) {
            Some(binary) => (Format::Cbor, binary),
            None => (Format::Hex, "text/plain"),
        },
    })
}

const CBOR: &str = "application/cbor";

/// The first binary type that the client names, CBOR before the others.
fn accepted(request: &HttpRequest) -> Option<&'static str> {
    let mut named = Vec::new();
    for value in request.headers().get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parameters = range.split(';').map(str::trim);
            let essence = parameters.next().unwrap_or_default();
            if !parameters.any(is_refused) {
                named.push(essence);
            }
        }
    }
    let names = |wanted: &str| named.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    if names(CBOR) {
        return Some(CBOR);
    }
    named.iter().find_map(|name| {
        ["application/octet-stream", "application/cwt"]
            .into_iter()
            .find(|known| name.eq_ignore_ascii_case(known))
    })
}

/// `q=0` (RFC 9110, 12.4.2): not acceptable.
fn is_refused(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, weight)| {
        name.trim().eq_ignore_ascii_case("q")
            && weight.trim().parse::<f32>().is_ok_and(|weight| weight == 0.0)
    })
}

/// The head of an answer that the client does not have yet.
fn fresh(
    request: &HttpRequest,
    place: &PublicPlace,
    sha256: &[u8; 32],
) -> Option<HttpResponseBuilder> {
    let tag = tag(sha256);
    let has_it = request.headers().get_all(header::IF_NONE_MATCH).any(|value| {
        value.to_str().unwrap_or_default().split(',').map(str::trim).any(|given| {
            // RFC 9110, 13.1.2: weak comparison.
            given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag
        })
    });
    (!has_it).then(|| head(place, StatusCode::OK, tag))
}

/// The head of the answer to a client that has it.
fn unchanged(place: &PublicPlace, sha256: &[u8; 32]) -> HttpResponseBuilder {
    head(place, StatusCode::NOT_MODIFIED, tag(sha256))
}

fn head(place: &PublicPlace, status: StatusCode, tag: String) -> HttpResponseBuilder {
    let cache = if place.version.is_some() { CACHE_VERSION } else { CACHE_LATEST };
    let mut response = HttpResponse::build(status);
    response.insert_header((header::ETAG, tag)).insert_header((header::CACHE_CONTROL, cache));
    response
}

fn tag(sha256: &[u8; 32]) -> String {
    format!("\"{}\"", HEXLOWER.encode(sha256))
}
