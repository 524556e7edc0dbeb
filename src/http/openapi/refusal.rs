//! Refusals in the document, and the headers of answers.

use serde_json::{Map, Value, json};

use super::schema::{Named, Schema};
use crate::{
    http::problem::{EXCEPTIONS, exception},
    service::error::DuplicateKind,
};

pub(super) static SCHEMAS: &[&Named] = &[&PROBLEM, &DUPLICATE];

const REQUEST_ID: &str = "0b7f3a52-6d0e-4f0c-9a55-2f4f3cf0a1d7";

/// The reference to the answer of a status.
pub(super) fn reference(status: u16) -> Value {
    json!({ "$ref": format!("#/components/responses/{}", name(status)) })
}

/// What a 409 may be.
#[derive(Clone, Copy)]
pub(super) enum Conflict {
    /// Anything but a taken target.
    Other,
    /// A taken target.
    Duplicate,
    /// Either.
    Any,
}

impl Conflict {
    const ALL: [Self; 3] = [Self::Other, Self::Duplicate, Self::Any];

    fn name(self) -> &'static str {
        match self {
            Self::Other => "Conflict",
            Self::Duplicate => "DuplicateTarget",
            Self::Any => "ConflictOrDuplicateTarget",
        }
    }

    pub(super) fn reference(self) -> Value {
        json!({ "$ref": format!("#/components/responses/{}", self.name()) })
    }

    fn answer(self) -> Value {
        let schema = match self {
            Self::Other => PROBLEM.get(),
            Self::Duplicate => DUPLICATE.get(),
            Self::Any => Schema::either([DUPLICATE.get(), PROBLEM.get()]),
        };
        let duplicate = json!({ "summary": "taken", "value": duplicate_example() });
        let other = json!({ "summary": "other", "value": problem_example(409) });
        let (description, examples) = match self {
            Self::Other => ("Something is in the way.", json!({ "other": other })),
            Self::Duplicate => {
                ("The target, or another that it needs, is taken.", json!({ "taken": duplicate }))
            }
            Self::Any => (
                "A target is taken, or something else is in the way.",
                json!({ "taken": duplicate, "other": other }),
            ),
        };
        let mut answer = answer(description, schema, examples);
        if !matches!(self, Self::Duplicate) {
            answer["headers"]["Retry-After"] = header_reference("Retry-After");
        }
        answer
    }
}

/// `components.responses`: one for each status.
pub(super) fn responses() -> Map<String, Value> {
    let plain = EXCEPTIONS.iter().filter(|(status, _)| *status != 409).map(|(status, _)| {
        let examples = json!({ "problem": { "value": problem_example(*status) } });
        let mut answer = answer(meaning(*status), PROBLEM.get(), examples);
        match status {
            405 => answer["headers"]["Allow"] = header_reference("Allow"),
            415 => answer["headers"]["Accept-Encoding"] = header_reference("Accept-Encoding"),
            429 | 503 => answer["headers"]["Retry-After"] = header_reference("Retry-After"),
            _ => {}
        }
        (name(*status), answer)
    });
    let conflicts = Conflict::ALL.map(|one| (one.name().to_owned(), one.answer()));
    plain.chain(conflicts).collect()
}

fn answer(description: &str, schema: Schema, examples: Value) -> Value {
    json!({
        "description": description,
        "headers": { "X-Request-Id": header_reference("X-Request-Id") },
        "content": {
            "application/json": { "schema": Value::from(schema), "examples": examples },
        },
    })
}

fn header_reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// `components.headers`.
pub(super) fn headers() -> Map<String, Value> {
    let header = |name: &str, required: bool, description: &str, schema: Schema| {
        let value = json!({
            "description": description, "required": required, "schema": Value::from(schema),
        });
        (name.to_owned(), value)
    };
    let seconds = Schema::integer(1, None).example(5);
    [
        header(
            "X-Request-Id",
            true,
            "The caller's request id when it is one, otherwise a new UUID.",
            Schema::string().pattern("^[A-Za-z0-9._-]{1,64}$").example(REQUEST_ID),
        ),
        header("Retry-After", false, "Whole seconds after which to try again.", seconds),
        header(
            "Allow",
            true,
            "The methods that the path has.",
            Schema::string().example("GET, POST"),
        ),
        header(
            "Accept-Encoding",
            false,
            "`identity` when the body had a content coding.",
            Schema::constant("identity"),
        ),
        header(
            "Idempotent-Replayed",
            false,
            "`true` when this answer was given before, to the same Idempotency-Key.",
            Schema::constant("true").addition(),
        ),
        header(
            "Chancery-Serial",
            true,
            "Serial of the certificate, lower-case hex.",
            Schema::string()
                .pattern("^[0-9a-f]{2,40}$")
                .example("5a91c07be2214f0d88e3a6b1290c47d3")
                .addition(),
        ),
        header(
            "Chancery-Audit-Index",
            true,
            "Index of the entry in the audit log.",
            Schema::integer(0, None).example(4711).addition(),
        ),
        header(
            "ETag",
            true,
            "SHA-256 of the artifact.",
            Schema::string().example("\"5f0c8a0f2d6f0c3f7a9b8e6d5c4b3a29\""),
        ),
        header(
            "Cache-Control",
            true,
            "How long the answer may be kept.",
            Schema::string().example("public, max-age=300"),
        ),
    ]
    .into_iter()
    .collect()
}

/// Every refusal but a taken target.
static PROBLEM: Named = Named {
    name: "Problem",
    schema: || {
        Schema::object()
            .required("exception", "Always true.", Schema::constant(true))
            .required(
                "id",
                "The kind of refusal; one for each status.",
                Schema::words(EXCEPTIONS.iter().map(|(_, id)| *id)).example("BadRequestException"),
            )
            .required("status", "The reason phrase.", Schema::string().example("Bad Request"))
            .required(
                "code",
                "The status, as a string.",
                Schema::words(codes().iter().map(String::as_str)).example("400"),
            )
            .required(
                "message",
                "What is wrong, for people. Only where something exists already does it say so \
                 with the words `already exists`.",
                Schema::string().example(
                    "certificateData.country: 'us' is not an upper-case ISO 3166-1 alpha-2 code",
                ),
            )
            .required("requestId", "The value of X-Request-Id.", request_id())
            .optional("field", "JSON pointer to the member of the body that is to blame.", field())
            .describe("A refusal.")
            .example(problem_example(400))
    },
};

/// A taken target.
static DUPLICATE: Named = Named {
    name: "DuplicateTarget",
    schema: || {
        let kinds = DuplicateKind::ALL.map(DuplicateKind::name);
        Schema::object()
            .required("type", "Tells this shape from others.", Schema::constant("DuplicateTarget"))
            .required("status", "The status, as a number in this shape.", Schema::constant(409))
            .required(
                "message",
                "Says which target is taken.",
                Schema::string()
                    .pattern("already exists")
                    .example("target already exists: acme.dmv.certs.iaca-2026"),
            )
            .required(
                "target",
                "The path that is taken.",
                Schema::string().example("acme.dmv.certs.iaca-2026"),
            )
            .required(
                "target_entry_type",
                "What stands there.",
                Schema::words(kinds).example("x509-certificate"),
            )
            .optional("duplicate_info", "More for people.", Schema::string().example("declared"))
            .required("exception", "Always true.", Schema::constant(true))
            .required("id", "The kind of refusal.", Schema::constant("ConflictException"))
            .required("code", "The status, as a string.", Schema::constant("409"))
            .required("requestId", "The value of X-Request-Id.", request_id())
            .optional("field", "JSON pointer to the member of the body that is to blame.", field())
            .describe(
                "A target is taken: tenant, service, key, stored certificate or VICAL version.",
            )
            .example(duplicate_example())
    },
};

fn request_id() -> Schema {
    Schema::string().pattern("^[A-Za-z0-9._-]{1,64}$").example(REQUEST_ID).addition()
}

fn field() -> Schema {
    Schema::string().format("json-pointer").example("/certificateData/country").addition()
}

fn codes() -> Vec<String> {
    EXCEPTIONS.iter().map(|(status, _)| status.to_string()).collect()
}

fn duplicate_example() -> Value {
    json!({
        "type": "DuplicateTarget",
        "status": 409,
        "message": "target already exists: acme.dmv.certs.iaca-2026",
        "target": "acme.dmv.certs.iaca-2026",
        "target_entry_type": "x509-certificate",
        "exception": true,
        "id": "ConflictException",
        "code": "409",
        "requestId": REQUEST_ID,
        "field": "/storedCertificateId",
    })
}

fn problem_example(status: u16) -> Value {
    let (message, field) = match status {
        400 => (
            "certificateData.country: 'us' is not an upper-case ISO 3166-1 alpha-2 code",
            Some("/certificateData/country"),
        ),
        401 => ("client certificate 'CN=stray' is not a known client", None),
        403 => ("client 'registrar-1' has no issue:iaca on acme.dmv.x509", None),
        404 => ("acme.dmv.x510 does not exist", None),
        405 => ("use POST", None),
        409 => ("a request with this Idempotency-Key is still running", None),
        413 => ("body is larger than 65536 bytes", None),
        415 => ("send application/json", None),
        429 => ("too many requests; try again in 12 s", None),
        503 => ("signing is unavailable; try again in 5 s", None),
        _ => ("internal error; the log knows more under this request id", None),
    };
    let mut example = json!({
        "exception": true,
        "id": exception(status),
        "status": reason(status),
        "code": status.to_string(),
        "message": message,
        "requestId": REQUEST_ID,
    });
    if let Some(field) = field {
        example["field"] = field.into();
    }
    example
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request breaks a rule.",
        401 => "The client certificate belongs to no configured client.",
        403 => "The client, the key's policy or the mode of the daemon does not allow it.",
        404 => "Something named does not exist.",
        405 => "The path has other methods.",
        413 => "The body is larger than 64 KiB.",
        415 => "The body has another media type, or a content coding.",
        429 => "The client sends too many requests.",
        503 => "A fault outside the request; it may succeed later.",
        _ => "A fault of the daemon, or a key that two objects of the token answer to.",
    }
}

fn name(status: u16) -> String {
    exception(status).trim_end_matches("Exception").to_owned()
}

fn reason(status: u16) -> &'static str {
    actix_web::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}
