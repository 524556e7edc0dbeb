//! `GET /openapi.json`: the API as OpenAPI 3.1.
//!
//! The document is `openapi.yaml`, written by hand; `build.rs` turns it into JSON. Two kinds of tests keep it
//! true: `tests` compares it with the route table, the readers of request bodies, and the limits and words of
//! the code; `tests/it/openapi.rs` validates what the daemon accepts and answers against its schemas, which
//! must name every member.

use std::sync::LazyLock;

use actix_web::http::Method;
use serde_json::Value;

pub(super) use self::shape::complaint;

mod shape;
#[cfg(test)]
mod tests;

/// The document as `build.rs` has written it.
pub(super) static JSON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json"));

#[expect(clippy::expect_used, reason = "a constant, which serde_json itself has written")]
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(JSON).expect("the document is JSON"));

/// The operation of a method on a path of the route table, where parameters have no names.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let fits = |documented: &str| {
        let (documented, wanted) = (documented.split('/'), path.split('/'));
        documented.clone().count() == wanted.clone().count()
            && wanted.zip(documented).all(|(wanted, documented)| match wanted {
                "{}" => documented.starts_with('{'),
                _ => wanted == documented,
            })
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let (_, item) = paths.iter().find(|(documented, _)| fits(documented))?;
    item.get(method.as_str().to_ascii_lowercase())
}

/// What a `$ref` refers to.
fn referred(reference: &str) -> Option<&'static Value> {
    DOCUMENT.pointer(reference.strip_prefix('#')?)
}
