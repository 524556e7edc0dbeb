//! Whether a body has the members and JSON types that the document gives it.
//!
//! The readers of `http::wire` go through a body once and stop at the first complaint, be it of a
//! type or of a rule. Unknown members and wrong types come before all rules, wherever they stand, so
//! a body that a reader has refused is looked through again here.

use serde_json::Value as Schema;

use super::{all_schemas, described};
use crate::http::{
    invalid::Invalid,
    json::{Node, Value},
    route::Route,
};

/// The first unknown member or wrong type in the body of a route.
pub(in crate::http) fn complaint(route: &'static Route, body: &Value<'_>) -> Option<Invalid> {
    let operation = (described(route)?.operation)().into_value(route.permission.name());
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    check(schema, &Node::body(body)).err()
}

fn check(schema: &Schema, node: &Node<'_>) -> Result<(), Invalid> {
    if let Some(reference) = schema["$ref"].as_str() {
        return named(reference).map_or(Ok(()), |schema| check(&schema, node));
    }
    if let Some(variants) = schema["discriminator"]["mapping"].as_object() {
        let members = node.as_members()?;
        let tag = members.iter().find(|(name, _)| **name == *"type").map(|(_, value)| value);
        let Some(Value::String(tag)) = tag else { return Ok(()) };
        let reference = variants.get(&**tag).and_then(Schema::as_str);
        return reference.and_then(named).map_or(Ok(()), |schema| check(&schema, node));
    }
    match schema["type"].as_str() {
        Some("object") => check_members(schema, node),
        Some("array") => {
            node.array("values", |item| check(&schema["items"], &item)).map(|_items| ())
        }
        Some("string") => node.long_text().map(|_text| ()),
        Some("boolean") => node.boolean().map(|_value| ()),
        Some("integer") => node.whole_number().map(|_number| ()),
        // A value of several forms; its reader knows them.
        Some(_) | None => Ok(()),
    }
}

fn check_members(schema: &Schema, node: &Node<'_>) -> Result<(), Invalid> {
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

fn named(reference: &str) -> Option<Schema> {
    let name = reference.strip_prefix("#/components/schemas/")?;
    let named = all_schemas().find(|named| named.name == name)?;
    Some((named.schema)().into())
}
