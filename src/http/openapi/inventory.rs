//! The inventory of issued certificates.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{
    operation::{Documented, Example, Operation, Tag},
    refusal::Conflict,
    schema::{Named, Schema},
    shared::{CERTIFICATE_PEM_OUT, ELEMENT, INSTANT, KEY_PATH, PATH, TIMESTAMP},
};
use crate::{
    domain::tree::ServiceKind,
    http::{
        api::inventory::{LIMIT_DEFAULT, LIMIT_MAX, PROFILES},
        route::Api,
    },
    service::inventory::CertificateStatus,
};

pub(super) static TAG: Tag = Tag {
    name: "Inventory and revocation",
    description: "Every certificate issued here, kept for ever, with or without a store.",
};

const X509: Option<Api> = Some(Api::Of(ServiceKind::X509));
const SERIAL: &str = "5a91c07be2214f0d88e3a6b1290c47d3";

pub(super) static OPERATIONS: &[Documented] = &[
    Documented { method: Method::GET, api: X509, tail: &["certificates"], operation: list },
    Documented {
        method: Method::GET,
        api: X509,
        tail: &["certificates", "{serialHex}"],
        operation: get,
    },
    Documented {
        method: Method::POST,
        api: X509,
        tail: &["certificates", "{serialHex}", "revoke"],
        operation: revoke,
    },
];

pub(super) static SCHEMAS: &[&Named] = &[&PAGE, &ITEM, &REVOCATION_REQUEST, &REVOKED, &REVOCATION];

const TARGET: &str = "The x509-service that issued.";
const EXAMPLE_TARGET: &str = "test.tenant1.x509-service-1";

fn list() -> Operation {
    let hex = Schema::string().pattern("^(?:[0-9A-Fa-f]{2})+$").example("1c0a5d4e3b2f6071");
    let path = KEY_PATH.get();
    Operation::on(&TAG, "listCertificates", "List issued certificates", TARGET, EXAMPLE_TARGET)
        .addition()
        .describe("Newest first. All filters must hold. Another parameter, or one twice, is 400.")
        .query("profile", "Certificates of this profile.", profiles())
        .query("status", "Certificates in this state now.", statuses())
        .query("issuerKeyId", "Subject key id of the issuer, hex.", hex)
        .query(
            "subjectCommonName",
            "The subject's common name, exactly.",
            Schema::string().example("Acme Document Signer 07"),
        )
        .query("keyIdPath", "Path of the issuer's or the subject's key.", path)
        .query("storedCertificateId", "Id in the stores, one element.", ELEMENT.get())
        .query(
            "issuedBy",
            "Name of the client that asked.",
            Schema::string().example("registrar-1"),
        )
        .query("issuedAfter", "Issued at this time or later.", TIMESTAMP.get())
        .query("issuedBefore", "Issued at this time or earlier.", TIMESTAMP.get())
        .query("notAfterFrom", "Ending at this time or later.", TIMESTAMP.get())
        .query("notAfterTo", "Ending at this time or earlier.", TIMESTAMP.get())
        .query(
            "limit",
            "Items of a page.",
            Schema::integer(1, Some(LIMIT_MAX as u64)).default(LIMIT_DEFAULT).example(50),
        )
        .query(
            "cursor",
            "`nextCursor` of the page before; opaque.",
            Schema::string().example("AAAAAAAAEmY"),
        )
        .answers(200, "A page.", PAGE.get(), &[Example::new("last", json!({ "items": [item()] }))])
}

fn get() -> Operation {
    let mut one = item();
    one["certificatePEM"] = super::shared::PEM_EXAMPLE.into();
    Operation::on(&TAG, "readCertificate", "Read one certificate", TARGET, EXAMPLE_TARGET)
        .addition()
        .segment("serialHex", "Serial, hex digits of either case.", serial_in())
        .answers(
            200,
            "The certificate, with `certificatePEM`.",
            ITEM.get(),
            &[Example::new("one", one)],
        )
}

fn revoke() -> Operation {
    let request = json!({
        "reason": "keyCompromise",
        "invalidityDate": "2026-09-01T00:00:00Z",
        "comment": "ticket 8812",
    });
    Operation::on(&TAG, "revokeCertificate", "Revoke a certificate", TARGET, EXAMPLE_TARGET)
        .addition()
        .describe(
            "The same reason again gives the first result. Another reason is 409, but \
             certificateHold may become another one, or end with removeFromCRL. Hold is for \
             generic certificates only.",
        )
        .idempotent()
        .segment("serialHex", "Serial, hex digits of either case.", serial_in())
        .takes(&REVOCATION_REQUEST, &[Example::new("compromised", request)])
        .answers(200, "It is revoked.", REVOKED.get(), &[Example::new("revoked", revoked())])
        .answer_header(200, "Idempotent-Replayed")
        .conflicts(Conflict::Other)
}

fn profiles() -> Schema {
    Schema::words(PROFILES.iter().map(|profile| profile.name())).example("document-signer")
}

fn statuses() -> Schema {
    Schema::words(CertificateStatus::ALL.iter().map(|status| status.name())).example("valid")
}

fn serial_in() -> Schema {
    Schema::string().pattern("^(?:[0-9A-Fa-f]{2})+$").length(2, 64).example(SERIAL)
}

fn hex(example: &str) -> Schema {
    Schema::string().pattern("^(?:[0-9a-f]{2})+$").example(example)
}

static PAGE: Named = Named {
    name: "CertificatePage",
    schema: || {
        Schema::object()
            .required(
                "items",
                "Certificates, newest first.",
                Schema::array(ITEM.get()).example(json!([item()])),
            )
            .optional(
                "nextCursor",
                "Where the next page starts; absent on the last one.",
                Schema::string().example("AAAAAAAAEmY"),
            )
            .describe("A page of the inventory.")
            .example(json!({ "items": [item()] }))
    },
};

static ITEM: Named = Named {
    name: "IssuedCertificate",
    schema: || {
        let text = |example: &str| Schema::string().example(example);
        Schema::object()
            .required("serial", "Serial.", hex(SERIAL))
            .required("profile", "Profile it was issued under.", profiles())
            .required("status", "State now.", statuses())
            .required("subject", "Subject, in the order of its encoding.", text("C=NL,CN=Acme DS"))
            .required("issuer", "Issuer, in the order of its encoding.", text("C=NL,CN=Acme IACA"))
            .required("notBefore", "Start of validity.", INSTANT.get())
            .required("notAfter", "End of validity.", INSTANT.get())
            .required("subjectKeyId", "Subject key id.", hex("1c0a5d4e3b2f6071"))
            .required("issuerKeyId", "Subject key id of the issuer.", hex("9b1deb4d3b7d4bad"))
            .optional("issuerKeyIdPath", "Key that signed, unless it was a JWK.", KEY_PATH.get())
            .optional("subjectKeyIdPath", "Certified key, when it is in a KMS.", KEY_PATH.get())
            .optional(
                "storedCertificateIds",
                "Copies in stores; absent without.",
                Schema::array(PATH.get()).example(json!(["acme.dmv.certs.ds-07"])),
            )
            .required("sha256", "SHA-256 over the DER.", hex("c4d0a4b79b5f0e0d"))
            .required("issuedAt", "Time of the request.", INSTANT.get())
            .required("issuedBy", "Client that asked.", text("registrar-1"))
            .required("requestId", "X-Request-Id of the request.", text("0b7f3a52-6d0e-4f0c"))
            .required(
                "auditIndex",
                "Index of its entry in the audit log.",
                Schema::integer(0, None).example(4711),
            )
            .required("devKey", "Whether a private JWK signed.", Schema::boolean().example(false))
            .optional("certificatePEM", "The certificate; only of one.", CERTIFICATE_PEM_OUT.get())
            .optional("revocation", "Only when it is revoked.", REVOCATION.get())
            .describe("A certificate issued here.")
            .example(item())
    },
};

fn item() -> Value {
    json!({
        "serial": SERIAL,
        "profile": "document-signer",
        "status": "valid",
        "subject": "C=NL,CN=Acme Document Signer 07,ST=Utrecht,L=Amersfoort",
        "issuer": "C=NL,CN=Acme Licence Root 2026,ST=Utrecht,O=Acme Vehicle Authority",
        "notBefore": "2026-06-15T09:30:00Z",
        "notAfter": "2027-09-15T09:29:59Z",
        "subjectKeyId": "1c0a5d4e3b2f60718293a4b5c6d7e8f901234567",
        "issuerKeyId": "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d00112233",
        "issuerKeyIdPath": "acme.dmv.kms.iaca-2026",
        "storedCertificateIds": ["acme.dmv.certs.ds-07"],
        "sha256": "c4d0a4b79b5f0e0d3a1f2c3b4a5968778695a4b3c2d1e0f00112233445566778",
        "issuedAt": "2026-06-15T09:30:00Z",
        "issuedBy": "registrar-1",
        "requestId": "0b7f3a52-6d0e-4f0c-9a55-2f4f3cf0a1d7",
        "auditIndex": 4711,
        "devKey": false,
    })
}

/// RFC 5280, 5.3.1.
const REASONS: [&str; 10] = [
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "removeFromCRL",
    "privilegeWithdrawn",
    "aACompromise",
];

static REVOCATION_REQUEST: Named = Named {
    name: "RevocationRequest",
    schema: || {
        Schema::object()
            .required("reason", "Why.", Schema::words(REASONS).example("keyCompromise"))
            .optional(
                "invalidityDate",
                "Since when the key may not be trusted; not in the future.",
                TIMESTAMP.get(),
            )
            .optional(
                "comment",
                "For the audit log only.",
                Schema::text().length(0, 500).example("ticket 8812"),
            )
            .strict()
            .describe("A revocation.")
    },
};

static REVOKED: Named = Named {
    name: "RevokedCertificate",
    schema: || {
        let crl = Schema::object()
            .required("number", "CRL number.", Schema::integer(0, None).example(38))
            .required(
                "pending",
                "Whether the CRL that names the certificate is still to be made.",
                Schema::boolean().example(false),
            )
            .example(json!({ "number": 38, "pending": false }));
        Schema::object()
            .required("serial", "Serial.", hex(SERIAL))
            .required("status", "State now.", statuses())
            .required("revocation", "The revocation.", REVOCATION.get())
            .optional("crl", "The CRL of the issuer.", crl)
            .describe("The answer to a revocation.")
            .example(revoked())
    },
};

static REVOCATION: Named = Named {
    name: "Revocation",
    schema: || {
        Schema::object()
            .required("reason", "Why.", Schema::words(REASONS).example("superseded"))
            .required("revokedAt", "When it was revoked.", INSTANT.get())
            .optional("invalidityDate", "As given.", INSTANT.get())
            .required("revokedBy", "By which client.", Schema::string().example("registrar-2"))
            .describe("Who revoked a certificate, when and why.")
            .example(revoked()["revocation"].clone())
    },
};

fn revoked() -> Value {
    json!({
        "serial": SERIAL,
        "status": "revoked",
        "revocation": {
            "reason": "keyCompromise",
            "revokedAt": "2026-09-02T14:00:00Z",
            "invalidityDate": "2026-09-01T00:00:00Z",
            "revokedBy": "registrar-2",
        },
        "crl": { "number": 38, "pending": false },
    })
}
