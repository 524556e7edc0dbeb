//! `GET /openapi.json`: the API as OpenAPI 3.1.
//!
//! The document is `openapi.yaml`, written by hand; `build.rs` turns it into JSON. Two kinds of tests keep it
//! true: `tests` compares it with the route table, the readers of request bodies, and the limits and words of
//! the code; `tests/it/openapi.rs` validates what the daemon accepts and answers against its schemas, which
//! must name every member.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::Method, web::Bytes};
use serde_json::Value;

pub(super) use self::shape::complaint;
use super::{plain::PlainRequest, problem::Problem, route::PARAMETER};

mod shape;
#[cfg(test)]
mod tests;

/// The document as `build.rs` has written it.
static JSON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json"));

#[expect(clippy::expect_used, reason = "a constant, which serde_json itself has written")]
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(JSON).expect("the document is JSON"));

/// Answers with the document.
pub(super) async fn answer(_request: PlainRequest) -> Result<HttpResponse, Problem> {
    let body = Bytes::from_static(JSON);
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}

/// The operation of a method on a path of the route table, where parameters have no names.
fn operation(method: &Method, path: &[&str]) -> Option<&'static Value> {
    let is_same = |(wanted, documented): (&&str, &str)| match *wanted {
        PARAMETER => documented.starts_with('{'),
        _ => *wanted == documented,
    };
    let fits = |documented: &str| {
        let documented = documented.split('/').skip(1);
        documented.clone().count() == path.len() && path.iter().zip(documented).all(is_same)
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let (_, item) = paths.iter().find(|(documented, _)| fits(documented))?;
    item.get(method.as_str().to_ascii_lowercase())
}

/// What a `$ref` refers to.
fn referred(reference: &str) -> Option<&'static Value> {
    DOCUMENT.pointer(reference.strip_prefix('#')?)
}
