//! Certificates and certification requests.

use actix_web::http::Method;
use serde_json::Value;

use super::{
    operation::{Documented, Example, Operation, Tag},
    refusal::Conflict,
    schema::Named,
};
use crate::{domain::tree::ServiceKind, http::route::Api};

mod answers;
mod examples;
mod requests;

pub(super) static TAG: Tag = Tag {
    name: "Issuance",
    description: "Certificates after ISO/IEC 18013-5 and RFC 5280. Every refusal with a status \
        below 500 is decided before the HSM signs. With attached stores each certificate is stored \
        in all of them under one id, or not issued at all.",
};

const X509: Option<Api> = Some(Api::Of(ServiceKind::X509));

pub(super) static OPERATIONS: &[Documented] = &[
    Documented { method: Method::POST, api: X509, tail: &["iso", "iacas"], operation: iaca },
    Documented {
        method: Method::POST,
        api: X509,
        tail: &["iso", "document-signers"],
        operation: document_signer,
    },
    Documented { method: Method::POST, api: X509, tail: &["certificate"], operation: generic },
    Documented { method: Method::POST, api: X509, tail: &["csrs"], operation: csr },
    Documented { method: Method::POST, api: X509, tail: &["iso", "iaca-links"], operation: link },
];

/// All schemas of requests and answers.
pub(super) fn schemas() -> impl Iterator<Item = &'static Named> {
    requests::SCHEMAS.iter().chain(answers::SCHEMAS).copied()
}

const TARGET: &str = "The x509-service that issues.";
const EXAMPLE_TARGET: &str = "test.tenant1.x509-service-1";

fn iaca() -> Operation {
    let operation = Operation::on(&TAG, "issueIaca", "Issue an IACA", TARGET, EXAMPLE_TARGET)
        .describe("A self-signed root that issues document signers, ISO/IEC 18013-5 Table B.1.")
        .takes(&requests::IACA, &[Example::new("documented", examples::iaca_request())]);
    issued(operation, &answers::IACA, examples::iaca_answer())
}

fn document_signer() -> Operation {
    let operation = Operation::on(
        &TAG,
        "issueDocumentSigner",
        "Issue a document signer",
        TARGET,
        EXAMPLE_TARGET,
    )
    .describe(
        "ISO/IEC 18013-5 Table B.3. A described IACA must be registered for its key; the first \
         description of an IACA that is not becomes its registration.",
    )
    .takes(
        &requests::DOCUMENT_SIGNER,
        &[
            Example::new("documented", examples::document_signer_request()),
            Example::new("supplied", examples::document_signer_supplied()),
        ],
    );
    issued(operation, &answers::DOCUMENT_SIGNER, examples::document_signer_answer())
}

fn generic() -> Operation {
    let operation = Operation::on(
        &TAG,
        "issueCertificate",
        "Issue a generic certificate",
        TARGET,
        EXAMPLE_TARGET,
    )
    .describe(
        "RFC 5280, self-signed or signed by a CA. The certificate of the CA is looked up by its \
         key unless it is given: issued here or held in an attached store, valid now, not revoked, \
         the newest. Without one: 400.",
    )
    .takes(
        &requests::GENERIC,
        &[
            Example::new("self-signed", examples::leaf_request()),
            Example::new("ca-signed", examples::intermediate_request()),
            Example::new("gateway", examples::gateway_request()),
        ],
    );
    issued(operation, &answers::GENERIC, examples::leaf_answer())
}

fn link() -> Operation {
    let operation =
        Operation::on(&TAG, "issueIacaLink", "Issue an IACA link", TARGET, EXAMPLE_TARGET)
            .addition()
            .describe(
                "Binds a new IACA to the one that it follows: subject and key of the new one, \
                 issued by the old one.",
            )
            .takes(&requests::LINK, &[Example::new("next", examples::link_request())]);
    issued(operation, &answers::LINK, examples::link_answer())
}

fn csr() -> Operation {
    Operation::on(&TAG, "makeCsr", "Make a certification request", TARGET, EXAMPLE_TARGET)
        .describe("PKCS#10, signed by its own key. Nothing is stored.")
        .idempotent()
        .takes(
            &requests::CSR,
            &[
                Example::new("generic", examples::csr_generic()),
                Example::new("document-signer", examples::csr_document_signer()),
            ],
        )
        .answers(
            200,
            "The request.",
            answers::CSR.get(),
            &[Example::new("generic", examples::csr_answer())],
        )
        .answer_header(200, "Chancery-Audit-Index")
        .answer_header(200, "Idempotent-Replayed")
        .conflicts(Conflict::Other)
}

/// What all issuances share.
fn issued(operation: Operation, answer: &Named, example: Value) -> Operation {
    operation
        .idempotent()
        .answers(200, "The certificate.", answer.get(), &[Example::new("documented", example)])
        .answer_header(200, "Chancery-Serial")
        .answer_header(200, "Chancery-Audit-Index")
        .answer_header(200, "Idempotent-Replayed")
        .conflicts(Conflict::Any)
}
