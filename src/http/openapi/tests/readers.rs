//! The file against the readers of request bodies: each example is read, and each object in it has the
//! members that its reader asks for.

use std::collections::BTreeMap;

use super::*;
use crate::{
    domain::path::ResourcePath,
    http::{
        api::login,
        invalid::Invalid,
        json::{self, Node, asked},
        wire,
    },
};

/// Reads a body as the handler of an operation does.
type Reader = fn(Node<'_>) -> Result<(), Invalid>;

/// The reader of each operation that takes a JSON body.
const READERS: &[(&str, Reader)] = &[
    ("createTenant", |body| wire::resource::new_tenant(body).map(drop)),
    ("createService", |body| {
        let target = ResourcePath::parse("test.tenant1.new").unwrap();
        wire::resource::new_service(body, &target).map(drop)
    }),
    ("attachX509Dependency", |body| wire::resource::dependency(body).map(drop)),
    ("attachVicalDependency", |body| wire::resource::dependency(body).map(drop)),
    ("detachX509Dependency", |body| wire::resource::named_dependency(body).map(drop)),
    ("detachVicalDependency", |body| wire::resource::named_dependency(body).map(drop)),
    ("generateKey", |body| wire::kms::generation(body).map(drop)),
    ("importKey", |body| wire::kms::private_jwk(body).map(drop)),
    ("issueIaca", |body| wire::iaca::request(body).map(drop)),
    ("issueDocumentSigner", |body| wire::document_signer::request(body).map(drop)),
    ("issueCertificate", |body| wire::generic::request(body).map(drop)),
    ("makeCsr", |body| wire::csr::request(body).map(drop)),
    ("addStoreEntry", |body| wire::store::content(body).map(drop)),
    ("replaceStoreEntry", |body| wire::store::content(body).map(drop)),
    ("publishVical", |body| wire::vical::request(body).map(drop)),
    ("login", login::read),
];

#[test]
fn each_object_of_a_request_has_the_members_that_its_reader_asks_for() {
    let mut compared = BTreeSet::new();
    for (_, _, operation) in operations() {
        let content = &operation["requestBody"]["content"]["application/json"];
        let Some(examples) = content["examples"].as_object() else { continue };
        let id = operation["operationId"].as_str().unwrap();
        let (_, read) = READERS
            .iter()
            .find(|(of, _)| *of == id)
            .unwrap_or_else(|| panic!("write the reader of {id} into READERS"));
        for (name, example) in examples {
            let example = &example["value"];
            let text = example.to_string();
            let body = json::parse(text.as_bytes()).unwrap();
            let (answer, asked) = asked::during(|| read(Node::body(&body)));
            answer.unwrap_or_else(|invalid| panic!("{id}, {name}: {}", invalid.message));
            for (pointer, members) in by_object(asked) {
                let schema = schema_at(&content["schema"], example, &pointer);
                let documented: BTreeSet<_> =
                    schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
                let place = format!("{id}, {name}: {pointer}");
                if schema == referred("#/components/schemas/Jwk").unwrap() {
                    // Its members are read without asking for each.
                    assert!(members.is_subset(&documented), "{place}: {members:?}");
                } else if schema == referred("#/components/schemas/BaseContent").unwrap() {
                    // The reader asks for the members of the other variant, to refuse them.
                    assert!(members.is_superset(&documented), "{place}: {members:?}");
                } else {
                    assert_eq!(members, documented, "{place}");
                }
                compared.insert(std::ptr::from_ref(schema));
            }
        }
    }
    // An object that no example has would not be compared.
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        let is_of_requests = schema["additionalProperties"] == false;
        if is_of_requests && !compared.contains(&std::ptr::from_ref(schema)) {
            panic!("no example of a request has a {name}");
        }
    }
}

/// The members that were asked for, by the pointer of their object.
fn by_object(asked: Vec<(String, &'static str)>) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut objects = BTreeMap::<_, BTreeSet<_>>::new();
    for (pointer, member) in asked {
        objects.entry(pointer).or_default().insert(member);
    }
    objects
}

/// The schema of the object at a pointer of a body.
fn schema_at(schema: &'static Value, body: &Value, pointer: &str) -> &'static Value {
    let schema = variant(schema, body);
    let Some(rest) = pointer.strip_prefix('/') else { return schema };
    let (step, rest) = rest.split_once('/').map_or((rest, ""), |(step, rest)| (step, rest));
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    match body {
        Value::Array(items) => {
            let index: usize = step.parse().unwrap();
            schema_at(&schema["items"], &items[index], &rest)
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            schema_at(&schema["properties"][step], &body[step], &rest)
        }
    }
}

/// Follows references and unions to the schema that is meant for a body.
fn variant(schema: &'static Value, body: &Value) -> &'static Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return variant(referred(reference).unwrap(), body);
    }
    if let Some(reference) =
        body["type"].as_str().and_then(|tag| schema["discriminator"]["mapping"][tag].as_str())
    {
        return variant(referred(reference).unwrap(), body);
    }
    let mut variants = schema["oneOf"].as_array().into_iter().flatten();
    let object = variants.find(|schema| resolved(schema)["type"] == "object");
    match object {
        Some(object) if schema.get("discriminator").is_none() => variant(object, body),
        _ => schema,
    }
}
