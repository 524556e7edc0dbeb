//! The shape check: whether a body has the members and JSON types of its schema in the document.
//!
//! The readers of `http::wire` stop at the first complaint, be it about a type or about a rule. The contract
//! wants unknown members and wrong types reported before all rules, wherever they stand, so a body that
//! a reader has refused is compared with its schema here.

use actix_web::http::Method;
use serde_json::Value as Schema;

use super::{operation, referred};
use crate::http::{
    invalid::Invalid,
    json::{Node, Value},
};

/// The first unknown member or wrong type in the body of a route, which its method and path name.
pub(in crate::http) fn complaint(method: &Method, path: &str, body: &Value<'_>) -> Option<Invalid> {
    let content = &operation(method, path)?["requestBody"]["content"];
    check(&content["application/json"]["schema"], &Node::body(body)).err()
}

fn check(schema: &'static Schema, node: &Node<'_>) -> Result<(), Invalid> {
    if let Some(reference) = schema["$ref"].as_str() {
        return referred(reference).map_or(Ok(()), |schema| check(schema, node));
    }
    if let Some(variants) = schema["discriminator"]["mapping"].as_object() {
        let members = node.as_members()?;
        let tag = members.iter().find(|(name, _)| **name == *"type").map(|(_, value)| value);
        let Some(Value::String(tag)) = tag else { return Ok(()) };
        let reference = variants.get(&**tag).and_then(Schema::as_str);
        return reference.and_then(referred).map_or(Ok(()), |schema| check(schema, node));
    }
    match schema["type"].as_str() {
        Some("object") => check_members(schema, node),
        Some("array") => {
            node.array("values", |item| check(&schema["items"], &item)).map(|_items| ())
        }
        Some("string") => node.long_text().map(|_text| ()),
        Some("boolean") => node.boolean().map(|_value| ()),
        Some("integer") => node.whole_number().map(|_number| ()),
        // A value that may have several types: its reader checks it.
        Some(_) | None => Ok(()),
    }
}

fn check_members(schema: &'static Schema, node: &Node<'_>) -> Result<(), Invalid> {
    let is_strict = schema["additionalProperties"] == Schema::Bool(false);
    for (name, member) in node.members()? {
        match schema["properties"].get(name) {
            Some(schema) if !member.is_null() => check(schema, &member)?,
            None if is_strict => return Err(node.unknown(name)),
            Some(_) | None => {}
        }
    }
    Ok(())
}
