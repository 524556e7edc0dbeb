//! `x509-service-api`: certificates and certification requests.

use std::sync::Arc;

use actix_web::{HttpResponse, http::Method};
use serde::Serialize;

use crate::{
    domain::{
        client::Permission,
        request::{Issuance, IssuanceRequest},
        time::Timestamp,
        tree::ServiceKind,
    },
    http::{
        dispatch::uninterrupted,
        json::Node,
        problem::{JsonBody, Problem},
        route::{Api, Request, Route, TargetKind},
        wire,
    },
    service::{
        csr,
        error::{Error, Invalid},
        issue::{self, Issued},
    },
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        api: Api::Of(ServiceKind::X509),
        target: TargetKind::Service,
        tail: &["iso", "iacas"],
        permission: Permission::IssueIaca,
        handler: |request| Box::pin(issue(request, wire::iaca::request)),
    },
    Route {
        method: Method::POST,
        api: Api::Of(ServiceKind::X509),
        target: TargetKind::Service,
        tail: &["iso", "document-signers"],
        permission: Permission::IssueDocumentSigner,
        handler: |request| Box::pin(issue(request, wire::document_signer::request)),
    },
    Route {
        method: Method::POST,
        api: Api::Of(ServiceKind::X509),
        target: TargetKind::Service,
        tail: &["certificate"],
        permission: Permission::IssueGeneric,
        handler: |request| Box::pin(issue(request, wire::generic::request)),
    },
    Route {
        method: Method::POST,
        api: Api::Of(ServiceKind::X509),
        target: TargetKind::Service,
        tail: &["csrs"],
        permission: Permission::IssueCsr,
        handler: |request| Box::pin(make_csr(request)),
    },
];

async fn issue(
    mut request: Request,
    read: fn(Node<'_>) -> Result<IssuanceRequest, Invalid>,
) -> Result<HttpResponse, Problem> {
    let body = request.json().await?;
    let asked = Arc::new(read(Node::body(&body)).map_err(Error::from)?);
    let task = {
        let (services, asked) = (Arc::clone(&request.context.services), Arc::clone(&asked));
        let call = request.call;
        async move { issue::issue(&services, &call, &asked, Timestamp::now()).await }
    };
    let issued = uninterrupted(&request.context, task).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(("chancery-serial", issued.serial.to_string()));
    response.insert_header(("chancery-audit-index", issued.audit_index.to_string()));
    Ok(match &asked.issuance {
        Issuance::Iaca(iaca) => {
            let data = wire::iaca::Data::effective(&iaca.data, issued.validity);
            response.json_body(&IssuanceAnswer::new(issued, data))
        }
        Issuance::DocumentSigner(ds) => {
            let data = wire::document_signer::Data::effective(&ds.data, issued.validity);
            response.json_body(&IssuanceAnswer::new(issued, data))
        }
        Issuance::Generic(generic) => {
            let data = wire::generic::Data::effective(
                &generic.data,
                issued.validity,
                &issued.issuer,
                issued.path_length,
                &issued.subject_key,
            );
            response.json_body(&IssuanceAnswer::new(issued, data))
        }
    })
}

/// The answer of every issuance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuanceAnswer<D> {
    #[serde(rename = "certificatePEM")]
    certificate_pem: String,
    /// Absent, not empty, without stores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stored_certificate_ids: Vec<String>,
    certificate_data: D,
}

impl<D> IssuanceAnswer<D> {
    fn new(issued: Issued, certificate_data: D) -> Self {
        Self {
            certificate_pem: issued.certificate_pem,
            stored_certificate_ids: issued
                .stored_certificate_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
            certificate_data,
        }
    }
}

async fn make_csr(mut request: Request) -> Result<HttpResponse, Problem> {
    let body = request.json().await?;
    let asked = Arc::new(wire::csr::request(Node::body(&body)).map_err(Error::from)?);
    let task = {
        let (services, asked) = (Arc::clone(&request.context.services), Arc::clone(&asked));
        let call = request.call;
        async move { csr::make(&services, &call, &asked, Timestamp::now()).await }
    };
    let made = uninterrupted(&request.context, task).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(("chancery-audit-index", made.audit_index.to_string()));
    let answer = wire::csr::Answer::new(made.csr_pem, &asked.subject, &made.public_key);
    Ok(response.json_body(&answer))
}
