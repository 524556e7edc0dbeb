//! `x509-service-api`: the inventory of issued certificates.

use actix_web::{
    HttpResponse,
    http::{Method, StatusCode},
};
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::{
    domain::{
        client::{KeyPurpose, Permission},
        path::{KeyPath, PathElement},
        time::Timestamp,
        tree::ServiceKind,
    },
    http::{
        problem::{JsonBody, Problem},
        query::Query,
        route::{Access, Handler, Request, Route, Target},
        wire::inventory::{Item, List, cursor},
    },
    service::inventory::{self, CertificateFilter, CertificateStatus},
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/{target}/x509-service-api/certificates",
        access: Access::Granted(Permission::InventoryRead),
        handler: Handler::Target(Target::Service(ServiceKind::X509), |request| {
            Box::pin(list(request))
        }),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/x509-service-api/certificates/{}",
        access: Access::Granted(Permission::InventoryRead),
        handler: Handler::Target(Target::Service(ServiceKind::X509), |request| {
            Box::pin(get(request))
        }),
    },
];

/// Items of a page, unless the caller says how many.
pub(in crate::http) const LIMIT_DEFAULT: usize = 50;
/// Most items of a page.
pub(in crate::http) const LIMIT_MAX: usize = 500;
/// Profiles that certificates are issued under.
pub(in crate::http) const PROFILES: [KeyPurpose; 4] =
    [KeyPurpose::Iaca, KeyPurpose::IacaLink, KeyPurpose::DocumentSigner, KeyPurpose::Generic];

async fn list(request: Request) -> Result<HttpResponse, Problem> {
    let now = Timestamp::now();
    let (filter, limit) = read_query(&mut Query::of(&request.http)?, now)?;
    let services = &request.context.services;
    let page = inventory::list(services, &request.call.target, filter, limit).await?;
    Ok(HttpResponse::Ok().json_body(&List::new(page, now)))
}

fn read_query(query: &mut Query, now: Timestamp) -> Result<(CertificateFilter, usize), Problem> {
    let time = |text: &str| Timestamp::parse(text).map_err(|error| error.to_string());
    let filter = CertificateFilter {
        profile: query.take("profile", |text| {
            PROFILES
                .into_iter()
                .find(|profile| profile.name() == text)
                .ok_or_else(|| "one of iaca, iaca-link, document-signer, generic".to_owned())
        })?,
        status: query.take("status", |text| {
            CertificateStatus::ALL
                .into_iter()
                .find(|status| status.name() == text)
                .map(|status| (status, now))
                .ok_or_else(|| "one of valid, not-yet-valid, expired, revoked".to_owned())
        })?,
        issuer_key_id: query.take("issuerKeyId", hex)?,
        subject_cn: query.take("subjectCommonName", |text| Ok(text.to_owned()))?,
        key_path: query
            .take("keyIdPath", |text| KeyPath::parse(text).map_err(|error| error.to_string()))?,
        stored_id: query.take("storedCertificateId", |text| {
            PathElement::parse(text).map_err(|error| error.to_string())
        })?,
        client: query.take("issuedBy", |text| Ok(text.to_owned()))?,
        issued_from: query.take("issuedAfter", time)?,
        issued_to: query.take("issuedBefore", time)?,
        not_after_from: query.take("notAfterFrom", time)?,
        not_after_to: query.take("notAfterTo", time)?,
        before_index: query
            .take("cursor", |text| cursor::decode(text).ok_or_else(|| "not valid".to_owned()))?,
    };
    let limit = query.take("limit", |text| {
        text.parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| format!("a number from 1 to {LIMIT_MAX}"))
    })?;
    query.finish()?;
    Ok((filter, limit.unwrap_or(LIMIT_DEFAULT)))
}

async fn get(request: Request) -> Result<HttpResponse, Problem> {
    let serial = serial(&request.parameter)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("serialHex: {error}")))?;
    let services = &request.context.services;
    let (certificate, pem) = inventory::get(services, &request.call.target, serial).await?;
    let item = Item::new(certificate, Some(pem), Timestamp::now());
    Ok(HttpResponse::Ok().json_body(&item))
}

/// The octets of a serial number in hex digits: a number, whatever zeros stand before it. Those that are
/// issued here have an even number of digits without them.
fn serial(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(NO_HEX.to_owned());
    }
    let digits = text.trim_start_matches('0');
    match digits.len() % 2 {
        _ if digits.is_empty() => Ok(Vec::new()),
        0 => hex(digits),
        _ => hex(&format!("0{digits}")),
    }
}

const NO_HEX: &str = "hex digits without separators";

/// Hex digits of either case, no separators.
fn hex(text: &str) -> Result<Vec<u8>, String> {
    match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        Ok(octets) if !octets.is_empty() => Ok(octets),
        _ => Err(NO_HEX.to_owned()),
    }
}
