#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::collections::BTreeSet;

use super::*;

/// Described, but in no route table yet. A line goes when its route comes.
const AWAITED: &[&str] = &[
    "POST /v1/{target}/x509-service-api/certificates/{serialHex}/revoke",
    "POST /v1/{target}/x509-service-api/iso/iaca-links",
];

fn name_of(documented: &Documented) -> String {
    format!("{} {}", documented.method, path_of(documented))
}

#[test]
fn every_route_is_described() {
    let undescribed: Vec<_> = served()
        .filter(|served| served.documentation().is_none())
        .map(|served| format!("{} {:?} {}", served.method, served.api, served.tail.join("/")))
        .collect();
    assert!(undescribed.is_empty(), "describe in http::openapi: {undescribed:#?}");
}

#[test]
fn every_description_has_its_route_or_awaits_it() {
    let served: BTreeSet<_> =
        served().filter_map(|served| served.documentation()).map(name_of).collect();
    let described: BTreeSet<_> = documented().map(name_of).collect();
    let awaited: BTreeSet<_> = AWAITED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(described.difference(&served).cloned().collect::<BTreeSet<_>>(), awaited);
    assert_eq!(documented().count(), described.len(), "one description for each");
}

/// The document as it will be when all that is described is served.
fn whole() -> Value {
    let mut paths = json!({});
    for documented in documented() {
        let operation = (documented.operation)().into_value("none");
        paths[path_of(documented)][documented.method.as_str().to_ascii_lowercase()] = operation;
    }
    let mut document = document();
    document["components"]["schemas"] = schemas([&paths, &document["components"]]).into();
    document["paths"] = paths;
    document
}

#[test]
fn every_schema_is_used_and_every_reference_leads_somewhere() {
    let whole = whole();
    let used: BTreeSet<_> =
        whole["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
    let named: Vec<_> = all_schemas().map(|named| named.name).collect();
    assert_eq!(named.len(), named.iter().collect::<BTreeSet<_>>().len(), "a name twice");
    assert_eq!(used, named.into_iter().collect());
    walk(&whole, "", &mut |place, value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(whole.pointer(pointer).is_some(), "{place}: {reference}");
        }
    });
}

#[test]
fn every_operation_has_a_name_of_its_own_and_a_known_tag() {
    let tags: Vec<_> = tags().map(|tag| tag.name).collect();
    let mut ids = BTreeSet::new();
    for documented in documented() {
        let operation = (documented.operation)().into_value("none");
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "{id} twice");
        assert!(tags.contains(&operation["tags"][0].as_str().unwrap()), "{id}");
        let path = path_of(documented);
        for parameter in operation["parameters"].as_array().unwrap() {
            if parameter["in"] == "path" {
                let name = parameter["name"].as_str().unwrap();
                assert!(path.contains(&format!("{{{name}}}")), "{id}: {name}");
            }
        }
    }
}

#[test]
fn every_member_and_parameter_has_a_description_and_an_example() {
    let whole = whole();
    let has_example = |schema: &Value| {
        let mut schema = schema;
        loop {
            if ["examples", "const", "default"].iter().any(|word| schema.get(word).is_some()) {
                return true;
            }
            match schema.get("$ref").and_then(Value::as_str) {
                Some(reference) => schema = whole.pointer(&reference[1..]).unwrap(),
                None => return false,
            }
        }
    };
    walk(&whole, "", &mut |place, value| {
        if value.get("type").is_some_and(|name| name == "object") {
            for (name, member) in value["properties"].as_object().into_iter().flatten() {
                assert!(member.get("description").is_some(), "{place}: {name}: description");
                assert!(has_example(member), "{place}: {name}: example");
            }
        }
        if value.get("in").is_some_and(Value::is_string) && value.get("schema").is_some() {
            assert!(value.get("description").is_some(), "{place}: description");
            assert!(has_example(&value["schema"]), "{place}: example");
        }
    });
}

#[test]
fn every_example_passes_its_own_schema() {
    let whole = whole();
    let mut checked = 0;
    walk(&whole, "", &mut |place, value| {
        // Of a media type: named examples beside a schema. Of a schema: a list.
        let named = value
            .get("examples")
            .and_then(Value::as_object)
            .filter(|_| value.get("schema").is_some());
        for (name, example) in named.into_iter().flatten() {
            assert_valid(&whole, &value["schema"], &example["value"], &format!("{place}/{name}"));
            checked += 1;
        }
        for example in value.get("examples").and_then(Value::as_array).into_iter().flatten() {
            assert_valid(&whole, value, example, place);
            checked += 1;
        }
    });
    assert!(checked > 200, "the reader of this test finds too little: {checked}");
}

fn assert_valid(whole: &Value, schema: &Value, example: &Value, place: &str) {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": whole["components"],
        "allOf": [schema],
    });
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    if let Err(error) = validator.validate(example) {
        panic!("{place}: {error}\n{example:#}");
    }
}

fn walk(value: &Value, place: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(place, value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                // What an example holds is no schema.
                if !["examples", "example"].contains(&name.as_str()) {
                    walk(member, &format!("{place}/{name}"), visit);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{place}/{index}"), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
