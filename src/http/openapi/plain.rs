//! What needs no target: health, the login of the compatible API, this document.

use actix_web::http::Method;
use serde_json::json;

use super::{
    operation::{Content, Documented, Example, Operation, Tag},
    schema::{Named, Schema},
};

pub(super) static OPERATIONS_TAG: Tag =
    Tag { name: "Operations", description: "Whether the daemon works." };
pub(super) static COMPATIBILITY_TAG: Tag = Tag {
    name: "Compatibility",
    description: "What older clients cannot start without. The client certificate alone decides.",
};
pub(super) static DOCUMENT_TAG: Tag =
    Tag { name: "Document", description: "This document, and a page to read it with." };

pub(super) static OPERATIONS: &[Documented] = &[
    Documented { method: Method::GET, api: None, tail: &["healthz"], operation: health },
    Documented { method: Method::GET, api: None, tail: &["readyz"], operation: readiness },
    Documented { method: Method::GET, api: None, tail: &["metrics"], operation: metrics },
    Documented {
        method: Method::POST,
        api: None,
        tail: &["auth", "account", "emailpass"],
        operation: login,
    },
    Documented { method: Method::GET, api: None, tail: &["openapi.json"], operation: document },
    Documented { method: Method::GET, api: None, tail: &["swagger"], operation: page },
    Documented { method: Method::GET, api: None, tail: &["swagger", "{asset}"], operation: asset },
];

pub(super) static SCHEMAS: &[&Named] = &[&HEALTH, &READINESS, &LOGIN, &TOKEN];

fn health() -> Operation {
    Operation::plain(&OPERATIONS_TAG, "health", "Whether the process works")
        .describe("Touches neither HSM nor database.")
        .addition()
        .answers(200, "It works.", HEALTH.get(), &[Example::new("dev", health_example())])
}

fn readiness() -> Operation {
    let away = json!({
        "status": "not-ready",
        "checks": { "database": "ok", "audit": "ok", "queue": "ok", "token:chancery-1": "away" },
    });
    Operation::plain(&OPERATIONS_TAG, "readiness", "Whether a signature would succeed now")
        .addition()
        .answers(200, "It would.", READINESS.get(), &[Example::new("ready", readiness_example())])
        .answers(503, "It would not.", READINESS.get(), &[Example::new("away", away)])
        .answer_header(503, "Retry-After")
}

fn metrics() -> Operation {
    let text = "# HELP chancery_ready Whether a signature would succeed now.\n\
        # TYPE chancery_ready gauge\nchancery_ready 1\n";
    Operation::plain(&OPERATIONS_TAG, "metrics", "What Prometheus scrapes")
        .describe(
            "Text in the exposition format 0.0.4. Touches neither HSM nor database. The permission \
             counts on whatever path it is granted: the figures are those of the whole appliance.",
        )
        .addition()
        .answers_any(
            200,
            "The figures.",
            &[Content::of("text/plain", Schema::string(), &[Example::new("ready", text.into())])],
        )
        .refuses(&[403, 500])
}

fn login() -> Operation {
    let body = json!({ "email": "registrar@acme.example", "password": "ignored" });
    Operation::plain(&COMPATIBILITY_TAG, "login", "Log in, for clients that cannot do without")
        .describe(
            "Off unless the configuration has `compat.login`; then 404. Looks at neither value. \
             The token grants nothing.",
        )
        .takes(&LOGIN, &[Example::new("any", body)])
        .answers(200, "A token.", TOKEN.get(), &[Example::new("token", token_example())])
        .refuses(&[404, 500])
}

fn document() -> Operation {
    let schema = Schema::object()
        .required("openapi", "Version of the format.", Schema::constant("3.1.0"))
        .required("info", "About the API.", Schema::object().open().example(json!({})))
        .required("paths", "The operations.", Schema::object().open().example(json!({})))
        .open();
    Operation::plain(&DOCUMENT_TAG, "readDocument", "This document").addition().answers(
        200,
        "OpenAPI 3.1.",
        schema,
        &[],
    )
}

fn page() -> Operation {
    Operation::plain(&DOCUMENT_TAG, "readPage", "Swagger UI")
        .describe("All of it comes from the daemon.")
        .addition()
        .answers_any(200, "The page.", &[Content::of("text/html", Schema::string(), &[])])
}

fn asset() -> Operation {
    let octets = || Schema::string().format("binary");
    Operation::plain(&DOCUMENT_TAG, "readPageAsset", "A part of Swagger UI")
        .addition()
        .segment("asset", "File name.", Schema::string().example("swagger-ui.css"))
        .answers_any(
            200,
            "The part.",
            &[
                Content::of("text/css", octets(), &[]),
                Content::of("text/javascript", octets(), &[]),
                Content::of("image/png", octets(), &[]),
            ],
        )
        .refuses(&[404])
}

static HEALTH: Named = Named {
    name: "Health",
    schema: || {
        Schema::object()
            .required("status", "Always ok.", Schema::constant("ok"))
            .required(
                "version",
                "Version of the daemon.",
                Schema::string().example(env!("CARGO_PKG_VERSION")),
            )
            .required(
                "dev",
                "Whether private JWKs may sign (--dev).",
                Schema::boolean().example(true),
            )
            .optional(
                "warnings",
                "What no appliance in service should be set to; absent when nothing is.",
                Schema::array(Schema::string()).example(health_example()["warnings"].clone()),
            )
            .describe("The process.")
            .example(health_example())
    },
};

fn health_example() -> serde_json::Value {
    json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "dev": true,
        "warnings": [
            "--dev: private JWKs are accepted as signing keys",
            "token hsm is SoftHSM: keys are files, there is no certified boundary",
        ],
    })
}

static READINESS: Named = Named {
    name: "Readiness",
    schema: || {
        let words = Schema::map(Schema::string().describe("`ok`, or what is wrong."));
        Schema::object()
            .required(
                "status",
                "All checks taken together.",
                Schema::words(["ready", "not-ready"]).example("ready"),
            )
            .required(
                "checks",
                "`database`, `audit`, `queue`, `token:` with the name of each token, and `kms:` with the \
                 path of each KMS that has several. While one of its tokens is ready, the others \
                 need not be.",
                words.example(readiness_example()["checks"].clone()),
            )
            .describe("What a signature needs.")
            .example(readiness_example())
    },
};

fn readiness_example() -> serde_json::Value {
    json!({
        "status": "ready",
        "checks": { "database": "ok", "audit": "ok", "queue": "ok", "token:chancery-1": "ok" },
    })
}

static LOGIN: Named = Named {
    name: "Login",
    schema: || {
        Schema::object()
            .required("email", "Not looked at.", Schema::string().example("a@acme.example"))
            .required("password", "Not looked at.", Schema::string().example("ignored"))
            .open()
            .describe("Other members are ignored.")
    },
};

static TOKEN: Named = Named {
    name: "Token",
    schema: || {
        Schema::object()
            .required(
                "token",
                "Opaque; grants nothing.",
                Schema::string()
                    .pattern("^chl_[A-Za-z0-9_-]+$")
                    .example("chl_6Jt0b0aVw0n2cYk1m3yQ4g"),
            )
            .describe("The answer to a login.")
            .example(token_example())
    },
};

fn token_example() -> serde_json::Value {
    json!({ "token": "chl_6Jt0b0aVw0n2cYk1m3yQ4g" })
}
