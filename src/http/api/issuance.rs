//! `x509-service-api`: certificates and certification requests.

use actix_web::{HttpResponse, http::Method};
use serde::Serialize;

use crate::{
    domain::{
        client::Permission,
        key::PublicKey,
        path::ResourcePath,
        request::{CsrRequest, Issuance, IssuanceRequest},
        time::Timestamp,
        tree::ServiceKind,
    },
    http::{
        idempotent::idempotent,
        invalid::Invalid,
        json::Node,
        problem::Problem,
        route::{Access, Handler, Request, Route, Target},
        wire,
    },
    service::{
        csr,
        issue::{self, Issued},
    },
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/{target}/x509-service-api/iso/iacas",
        access: Access::Granted(Permission::IssueIaca),
        handler: Handler::Target(Target::Service(ServiceKind::X509), |request| {
            Box::pin(issue(request, wire::iaca::request))
        }),
    },
    Route {
        method: Method::POST,
        path: "/v1/{target}/x509-service-api/iso/document-signers",
        access: Access::Granted(Permission::IssueDocumentSigner),
        handler: Handler::Target(Target::Service(ServiceKind::X509), |request| {
            Box::pin(issue(request, wire::document_signer::request))
        }),
    },
    Route {
        method: Method::POST,
        path: "/v1/{target}/x509-service-api/certificate",
        access: Access::Granted(Permission::IssueGeneric),
        handler: Handler::Target(Target::Service(ServiceKind::X509), |request| {
            Box::pin(issue(request, wire::generic::request))
        }),
    },
    Route {
        method: Method::POST,
        path: "/v1/{target}/x509-service-api/csrs",
        access: Access::Granted(Permission::IssueCsr),
        handler: Handler::Target(Target::Service(ServiceKind::X509), |request| {
            Box::pin(make_csr(request))
        }),
    },
];

async fn issue(
    mut request: Request,
    read: fn(Node<'_>) -> Result<IssuanceRequest, Invalid>,
) -> Result<HttpResponse, Problem> {
    let body = request.parse_body(read).await?;
    idempotent(request, body, move |services, call, parsed| async move {
        issue::issue(&services, &call, &parsed, render, Timestamp::now()).await
    })
    .await
}

async fn make_csr(mut request: Request) -> Result<HttpResponse, Problem> {
    let body = request.parse_body(wire::csr::request).await?;
    idempotent(request, body, move |services, call, parsed| async move {
        csr::make(&services, &call, &parsed, render_csr, Timestamp::now()).await
    })
    .await
}

fn render(asked: &IssuanceRequest, issued: &Issued<'_>) -> serde_json::Result<Vec<u8>> {
    let validity = issued.certificate.validity();
    match &asked.issuance {
        Issuance::Iaca(iaca) => {
            let data = wire::iaca::Data::effective(&iaca.data, validity);
            answer(issued, data)
        }
        Issuance::DocumentSigner(ds) => {
            let data = wire::document_signer::Data::effective(&ds.data, validity);
            answer(issued, data)
        }
        Issuance::Generic(generic) => {
            let issuer = issued.certificate.issuer().attributes();
            let data = wire::generic::Data::effective(
                &generic.data,
                validity,
                &issuer,
                issued.path_length,
                issued.certificate.subject_key(),
            );
            answer(issued, data)
        }
    }
}

fn render_csr(asked: &CsrRequest, csr_pem: String, key: &PublicKey) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&wire::csr::Answer::new(csr_pem, &asked.subject, key))
}

/// The answer of every issuance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuanceAnswer<'a, D> {
    #[serde(rename = "certificatePEM")]
    certificate_pem: String,
    /// Absent, not empty, without stores.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stored_certificate_ids: &'a [ResourcePath],
    certificate_data: D,
}

/// As many octets as most answers have.
const ANSWER_OCTETS_EXPECTED: usize = 2_048;

fn answer(issued: &Issued<'_>, certificate_data: impl Serialize) -> serde_json::Result<Vec<u8>> {
    let answer = IssuanceAnswer {
        certificate_pem: issued.certificate.pem(),
        stored_certificate_ids: issued.stored_certificate_ids,
        certificate_data,
    };
    let mut octets = Vec::with_capacity(ANSWER_OCTETS_EXPECTED);
    serde_json::to_writer(&mut octets, &answer)?;
    Ok(octets)
}
