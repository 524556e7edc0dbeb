//! VICALs: publishing them, and the public routes that give them out.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{
    operation::{Content, Documented, Example, Operation, Tag},
    refusal::Conflict,
    schema::{Named, Schema},
    shared::{CERTIFICATE_PEM_OUT, ELEMENT, INSTANT, PATH, PEM_EXAMPLE, TIMESTAMP},
};
use crate::{domain::tree::ServiceKind, http::route::Api};

pub(super) static TAG: Tag = Tag {
    name: "VICAL",
    description: "Signed lists of IACAs, ISO/IEC 18013-5 Annex C. What is published can be read \
        without a grant; on the distribution listener without a client certificate.",
};

const VICAL: Option<Api> = Some(Api::Of(ServiceKind::Vical));

pub(super) static OPERATIONS: &[Documented] = &[
    Documented { method: Method::POST, api: VICAL, tail: &["publish"], operation: publish },
    Documented { method: Method::GET, api: VICAL, tail: &["versions", "ids"], operation: ids },
    Documented {
        method: Method::GET,
        api: VICAL,
        tail: &["latest"],
        operation: || artifact(&LATEST),
    },
    Documented {
        method: Method::GET,
        api: VICAL,
        tail: &["latest", "manifest"],
        operation: || manifest(&LATEST),
    },
    Documented {
        method: Method::GET,
        api: VICAL,
        tail: &["latest", "trust-material"],
        operation: || trust_material(&LATEST),
    },
    Documented {
        method: Method::GET,
        api: VICAL,
        tail: &["versions"],
        operation: || artifact(&VERSION),
    },
    Documented {
        method: Method::GET,
        api: VICAL,
        tail: &["versions", "manifest"],
        operation: || manifest(&VERSION),
    },
    Documented {
        method: Method::GET,
        api: VICAL,
        tail: &["versions", "trust-material"],
        operation: || trust_material(&VERSION),
    },
];

pub(super) static SCHEMAS: &[&Named] =
    &[&PUBLICATION_REQUEST, &PUBLICATION, &SKIPPED, &MANIFEST, &TRUST_MATERIAL];

const EXAMPLE_SERVICE: &str = "test.tenant1.vical";
const EXAMPLE_VERSION: &str = "test.tenant1.vical.versions.2026-06";

fn publish() -> Operation {
    let target = "The vical-service.";
    Operation::on(&TAG, "publishVical", "Sign and publish a VICAL", target, EXAMPLE_SERVICE)
        .describe(
            "Lists every vical-entry of all attached stores. The signer's certificate and those above \
             it are the ones of the service's first publication; others are published only for a \
             client with resource:write on the service, else 403.",
        )
        .idempotent()
        .takes(&PUBLICATION_REQUEST, &[Example::new("quarter", request_example())])
        .answers(
            200,
            "It is published.",
            PUBLICATION.get(),
            &[Example::new("quarter", publication_example())],
        )
        .answer_header(200, "Chancery-Audit-Index")
        .answer_header(200, "Idempotent-Replayed")
        .conflicts(Conflict::Any)
}

fn ids() -> Operation {
    let target = "The vical-service.";
    Operation::on(&TAG, "listVicalVersions", "List version paths", target, EXAMPLE_SERVICE).answers(
        200,
        "Paths of the versions, newest first.",
        Schema::array(PATH.get()),
        &[Example::new("one", json!([EXAMPLE_VERSION]))],
    )
}

/// Which publication a public route gives out.
struct Which {
    id: &'static str,
    summary: &'static str,
    target: &'static str,
    example: &'static str,
}

static LATEST: Which = Which {
    id: "LatestVical",
    summary: "latest VICAL",
    target: "The vical-service.",
    example: EXAMPLE_SERVICE,
};
static VERSION: Which = Which {
    id: "VicalVersion",
    summary: "VICAL version",
    target: "The vical-service, then `versions`, then the id of the version.",
    example: EXAMPLE_VERSION,
};

fn artifact(which: &Which) -> Operation {
    let text = Schema::string().pattern("^[0-9A-Za-z+/]+=*$").example("8443a10126");
    let octets = || Schema::string().format("binary");
    public(which, "read", "Read the")
        .query(
            "format",
            "The form; without it `Accept` decides, and hex is the default.",
            Schema::words(["hex", "base64", "cbor"]).example("cbor"),
        )
        .answers_any(
            200,
            "The artifact, COSE_Sign1: lower-case hex or base64 as text, or its octets.",
            &[
                Content::of("text/plain", text, &[]),
                Content::of("application/cbor", octets(), &[]),
                Content::of("application/octet-stream", octets(), &[]),
                Content::of("application/cwt", octets(), &[]),
            ],
        )
        .answer_header(200, "ETag")
        .answer_header(200, "Cache-Control")
}

fn manifest(which: &Which) -> Operation {
    public(which, "readManifestOf", "Read the manifest of the")
        .answers(
            200,
            "The manifest.",
            MANIFEST.get(),
            &[Example::new("quarter", manifest_example())],
        )
        .answer_header(200, "ETag")
        .answer_header(200, "Cache-Control")
}

fn trust_material(which: &Which) -> Operation {
    public(which, "readTrustMaterialOf", "Read the trust material of the")
        .answers(
            200,
            "The certificates that verify the artifact.",
            TRUST_MATERIAL.get(),
            &[Example::new("self-signed", trust_material_example())],
        )
        .answer_header(200, "ETag")
        .answer_header(200, "Cache-Control")
}

fn public(which: &Which, verb: &str, summary: &str) -> Operation {
    let id = format!("{verb}{}", which.id);
    let summary = format!("{summary} {}", which.summary);
    Operation::on(&TAG, &id, &summary, which.target, which.example)
        .describe(
            "Open to pages of any origin (`Access-Control-Allow-Origin: *`). Without a client \
             certificate, on the public listener, refusals are plain text, and the text of every 404 \
             is `not found`; so it is here for a client without vical:read on the target.",
        )
        .request_header(
            "If-None-Match",
            "The ETag of a copy at hand; 304 when it is still the same.",
            Schema::string().example("\"5f0c8a0f2d6f0c3f7a9b8e6d5c4b3a29\""),
        )
        .answers_any(304, "The copy at hand is the same.", &[])
        .answer_header(304, "ETag")
        .answer_header(304, "Cache-Control")
}

static PUBLICATION_REQUEST: Named = Named {
    name: "PublicationRequest",
    schema: || {
        Schema::object()
            .required(
                "vicalProvider",
                "Who publishes.",
                Schema::not_blank().example("Acme Trust List Office"),
            )
            .optional("versionId", "Id of the version; a UUID by default.", ELEMENT.get())
            .optional("issuanceDate", "Date of the list; now by default.", TIMESTAMP.get())
            .optional("nextUpdate", "Later than `issuanceDate`.", TIMESTAMP.get())
            .strict()
            .describe("A VICAL to publish.")
            .example(request_example())
    },
};

fn request_example() -> Value {
    json!({
        "vicalProvider": "Acme Trust List Office",
        "versionId": "2026-06",
        "nextUpdate": "2026-09-15T00:00:00Z",
    })
}

/// What a publication and its manifest both say.
fn published() -> Schema {
    Schema::object()
        .required("versionIdPath", "Path of the version.", PATH.get().example(EXAMPLE_VERSION))
        .required("version", "Of the structure.", Schema::string().example("1.0"))
        .required("entryCount", "IACAs in the list.", Schema::integer(0, None).example(3))
        .required("vicalProvider", "As given.", Schema::string().example("Acme Trust List Office"))
        .required("date", "Date of the list.", INSTANT.get())
        .required(
            "vicalIssueId",
            "Grows by one with each publication of the service, from 1.",
            Schema::integer(1, None).example(12),
        )
        .optional("nextUpdate", "Only when given.", INSTANT.get())
}

static PUBLICATION: Named = Named {
    name: "Publication",
    schema: || {
        published()
            .optional(
                "skipped",
                "Entries that were left out; absent when none was.",
                Schema::array(SKIPPED.get())
                    .addition()
                    .example(publication_example()["skipped"].clone()),
            )
            .describe("A published VICAL.")
            .example(publication_example())
    },
};

static SKIPPED: Named = Named {
    name: "SkippedEntry",
    schema: || {
        Schema::object()
            .required(
                "storedCertificateId",
                "Path of the entry.",
                PATH.get().example("acme.dmv.certs.iaca-2005"),
            )
            .required("reason", "Why.", Schema::string().example("expired"))
            .describe("An entry that was left out.")
            .example(publication_example()["skipped"][0].clone())
    },
};

fn publication_example() -> Value {
    json!({
        "versionIdPath": EXAMPLE_VERSION,
        "version": "1.0",
        "entryCount": 3,
        "vicalProvider": "Acme Trust List Office",
        "date": "2026-06-15T09:40:00Z",
        "vicalIssueId": 12,
        "nextUpdate": "2026-09-15T00:00:00Z",
        "skipped": [
            { "storedCertificateId": "acme.dmv.certs.iaca-2005", "reason": "expired" },
        ],
    })
}

static MANIFEST: Named = Named {
    name: "VicalManifest",
    schema: || {
        published()
            .required(
                "sizeBytes",
                "Octets of the artifact.",
                Schema::integer(1, None).example(2914),
            )
            .required(
                "sha256",
                "SHA-256 of the artifact, hex.",
                Schema::string().pattern("^[0-9a-f]{64}$").example(SHA256_EXAMPLE),
            )
            .required(
                "signatureAlgorithm",
                "COSE algorithm.",
                Schema::words(["ES256", "ES384", "ES512"]).example("ES256"),
            )
            .required(
                "formats",
                "Values of `format`.",
                Schema::array(Schema::string()).example(json!(["hex", "base64", "cbor"])),
            )
            .describe("What a VICAL says of itself.")
            .example(manifest_example())
    },
};

const SHA256_EXAMPLE: &str = "5f0c8a0f2d6f0c3f7a9b8e6d5c4b3a29180716f5e4d3c2b1a0918273645546aa";

fn manifest_example() -> Value {
    json!({
        "versionIdPath": EXAMPLE_VERSION,
        "version": "1.0",
        "vicalProvider": "Acme Trust List Office",
        "vicalIssueId": 12,
        "date": "2026-06-15T09:40:00Z",
        "nextUpdate": "2026-09-15T00:00:00Z",
        "entryCount": 3,
        "sizeBytes": 2914,
        "sha256": SHA256_EXAMPLE,
        "signatureAlgorithm": "ES256",
        "formats": ["hex", "base64", "cbor"],
    })
}

static TRUST_MATERIAL: Named = Named {
    name: "TrustMaterial",
    schema: || {
        Schema::object()
            .required("versionIdPath", "Path of the version.", PATH.get().example(EXAMPLE_VERSION))
            .required("signerCertificatePem", "The signer.", CERTIFICATE_PEM_OUT.get())
            .required(
                "signerCertificateChainPem",
                "Its chain, issuer of the signer first; empty when it is self-signed.",
                Schema::array(CERTIFICATE_PEM_OUT.get()).example(json!([])),
            )
            .describe("The certificates that verify a VICAL.")
            .example(trust_material_example())
    },
};

fn trust_material_example() -> Value {
    json!({
        "versionIdPath": EXAMPLE_VERSION,
        "signerCertificatePem": PEM_EXAMPLE,
        "signerCertificateChainPem": [],
    })
}
