//! `GET /openapi.json`: the API as OpenAPI 3.1, made from the route table.
//!
//! The route table decides which operations there are and which permission each one needs; this
//! module says what an operation takes and answers. A route that it does not describe fails a test,
//! and so does a description without a route. What has a limit or a list in the code (lengths, key
//! usages, countries, permissions, refusals) is taken from there.
//!
//! The schemas are built by hand (`schema`), not derived with utoipa, on purpose:
//! * Requests are read by functions and have no structs (`http::json` says why). A struct that
//!   nobody reads into, only to derive a schema from it, would be no closer to the reader than a
//!   schema is.
//! * Answers are structs, but what matters in them is in no type: words from `domain`, forms of
//!   strings, members that depend on others. Every member would be an attribute.
//! * Unions by discriminator, exactly one of several spellings, and `const` are what this API is
//!   made of, and what derived schemas have no words for.
//!
//! What keeps the schemas true instead: `tests/it/openapi.rs` validates what the daemon accepts and
//! answers against them, with no member allowed that they do not name.

use std::sync::LazyLock;

use actix_web::{HttpResponse, web::Bytes};
use serde_json::{Map, Value, json};

pub(super) use self::shape::complaint;
use self::{
    operation::{Documented, Tag},
    schema::{Named, Schema},
};
use super::{
    api,
    plain::PlainRequest,
    problem::Problem,
    route::{Api, PARAMETER, Route},
};
use crate::domain::client::Permission;

mod inventory;
mod issuance;
mod keys;
mod operation;
mod plain;
mod refusal;
mod resources;
mod schema;
mod shape;
mod shared;
mod stores;
#[cfg(test)]
mod tests;
mod vical;

/// Answers with the document.
pub(super) async fn answer(_request: PlainRequest) -> Result<HttpResponse, Problem> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from_owner(document().to_string()));
    Ok(HttpResponse::Ok().content_type("application/json").body(DOCUMENT.clone()))
}

/// The whole document.
fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for served in served() {
        let Some(documented) = served.documentation() else { continue };
        let operation = (documented.operation)().into_value(served.permission);
        let path = paths.entry(path_of(documented)).or_insert_with(|| json!({}));
        path[served.method.to_ascii_lowercase()] = operation;
    }
    let paths = Value::Object(paths);
    let mut components = json!({
        "parameters": parameters(),
        "headers": refusal::headers(),
        "responses": refusal::responses(),
        "securitySchemes": {
            "mutualTLS": {
                "type": "mutualTLS",
                "description": "The client certificate says who calls; nothing else does.",
            },
        },
    });
    components["schemas"] = schemas([&paths, &components]).into();
    let tags: Vec<_> =
        tags().map(|tag| json!({ "name": tag.name, "description": tag.description })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Chancery",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An on-prem signing appliance",
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "This appliance" }],
        "security": [{ "mutualTLS": [] }],
        "tags": tags,
        "paths": paths,
        "components": components,
    })
}

const DESCRIPTION: &str = "\
Certificates for ISO/IEC 18013-5 and beside it; every signature is made in an HSM.\n\n\
* The caller is the TLS client certificate. Each client has grants: a permission (`x-permission` of \
an operation) on a path and everything under it. A missing grant is 403, before anything is said \
about what exists. `Authorization` is ignored.\n\
* Bodies are JSON, at most 64 KiB. In a request `null` for a member that may be absent means \
absent. A member twice in one object is 400. Strings have no control characters, and at most 2,048 \
characters unless they say otherwise.\n\
* Answers leave out members without a value. Take answers with members that are not named here.\n\
* The first rule that a request breaks is reported. A known path with another method is 405 with \
`Allow`. Every answer has an `X-Request-Id`.\n\
* Each client has a rate, and each request counts, also a refused one; beyond it 429 with \
`Retry-After`. A query has at most 32 parameters, an array of a body at most 1,024 items unless it \
says otherwise. Bodies have no content coding.\n\
* `x-addition: true` marks what the compatible API does not have.";

fn parameters() -> Value {
    json!({
        "RequestId": {
            "in": "header",
            "name": "X-Request-Id",
            "description": "Taken when it fits, otherwise a UUID is made.",
            "required": false,
            "schema": Value::from(
                Schema::string()
                    .pattern("^[A-Za-z0-9._-]{1,64}$")
                    .example("0b7f3a52-6d0e-4f0c-9a55-2f4f3cf0a1d7"),
            ),
        },
        "IdempotencyKey": {
            "in": "header",
            "name": "Idempotency-Key",
            "description": "The same key with the same body gives the first successful answer \
                again, octet for octet, and signs nothing. With another body, or while the first \
                request is still running: 409. Of one client, method and path; errors are not kept.",
            "required": false,
            "schema": Value::from(
                Schema::string()
                    .pattern("^[A-Za-z0-9._:-]{1,128}$")
                    .example("order-4711")
                    .addition(),
            ),
            "x-addition": true,
        },
    })
}

fn tags() -> impl Iterator<Item = &'static Tag> {
    [
        &resources::TAG,
        &keys::TAG,
        &issuance::TAG,
        &inventory::TAG,
        &stores::TAG,
        &vical::TAG,
        &plain::OPERATIONS_TAG,
        &plain::COMPATIBILITY_TAG,
        &plain::DOCUMENT_TAG,
    ]
    .into_iter()
}

/// Everything that is described, served or not.
fn documented() -> impl Iterator<Item = &'static Documented> {
    [
        resources::OPERATIONS,
        keys::OPERATIONS,
        issuance::OPERATIONS,
        inventory::OPERATIONS,
        stores::OPERATIONS,
        vical::OPERATIONS,
        plain::OPERATIONS,
    ]
    .into_iter()
    .flatten()
}

/// A route, with or without a target.
struct Served {
    method: &'static str,
    api: Option<Api>,
    tail: &'static [&'static str],
    permission: &'static str,
}

fn served() -> impl Iterator<Item = Served> {
    let plain = super::plain::ROUTES.iter().map(|route| Served {
        method: route.method.as_str(),
        api: None,
        tail: route.path,
        permission: route.permission.map_or("any client", Permission::name),
    });
    let targeted = api::routes().map(Served::of);
    let public = api::public_routes().map(|route| Served {
        method: "GET",
        api: Some(Api::Of(route.kind)),
        tail: route.tail,
        permission: "none",
    });
    targeted.chain(public).chain(plain)
}

/// What is said of a route with a target.
fn described(route: &'static Route) -> Option<&'static Documented> {
    Served::of(route).documentation()
}

impl Served {
    fn of(route: &'static Route) -> Self {
        Self {
            method: route.method.as_str(),
            api: Some(route.api),
            tail: route.tail,
            permission: route.permission.name(),
        }
    }

    fn documentation(&self) -> Option<&'static Documented> {
        let same = |(served, documented): (&&str, &&str)| match *served {
            PARAMETER => documented.starts_with('{'),
            _ => served == documented,
        };
        documented().find(|documented| {
            documented.method == self.method
                && documented.api == self.api
                && documented.tail.len() == self.tail.len()
                && self.tail.iter().zip(documented.tail).all(same)
        })
    }
}

fn path_of(documented: &Documented) -> String {
    let tail = documented.tail.join("/");
    match documented.api {
        Some(api) => format!("/v1/{{target}}/{}/{tail}", api.segment()),
        None => format!("/{tail}"),
    }
}

/// The schemas that these values refer to, and those that they refer to in turn.
fn schemas<'a>(values: impl IntoIterator<Item = &'a Value>) -> Map<String, Value> {
    let mut wanted = Vec::new();
    for value in values {
        referred(value, &mut wanted);
    }
    let mut schemas = Map::new();
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        if let Some(named) = all_schemas().find(|named| named.name == name) {
            let schema = Value::from((named.schema)());
            referred(&schema, &mut wanted);
            schemas.insert(name, schema);
        }
    }
    schemas
}

fn all_schemas() -> impl Iterator<Item = &'static Named> {
    [
        shared::SCHEMAS,
        refusal::SCHEMAS,
        resources::SCHEMAS,
        keys::SCHEMAS,
        inventory::SCHEMAS,
        stores::SCHEMAS,
        vical::SCHEMAS,
        plain::SCHEMAS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .chain(issuance::schemas())
}

fn referred(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(name) = members
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix("#/components/schemas/"))
            {
                names.push(name.to_owned());
            }
            members.values().for_each(|member| referred(member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| referred(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
