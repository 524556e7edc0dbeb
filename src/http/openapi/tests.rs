#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

mod code;
mod readers;
mod routes;

/// The file by itself: references lead to a component, operation ids are unique, and every member has a
/// description and an example.
mod document {
    use super::*;

    #[test]
    fn every_component_is_used_and_every_reference_leads_somewhere() {
        let mut used = BTreeSet::new();
        walk(&DOCUMENT, "", &mut |place, value| {
            if let Some(reference) = value["$ref"].as_str() {
                assert!(referred(reference).is_some(), "{place}: {reference}");
                used.insert(reference);
            }
        });
        for kind in ["parameters", "headers", "responses", "schemas"] {
            for name in DOCUMENT["components"][kind].as_object().unwrap().keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(used.contains(&*reference), "{reference} is not used");
            }
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_a_known_tag() {
        let tags = DOCUMENT["tags"].as_array().unwrap();
        let tags: Vec<_> = tags.iter().map(|tag| &tag["name"]).collect();
        let mut ids = BTreeSet::new();
        for (path, _, operation) in operations() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id} twice");
            assert!(tags.contains(&&operation["tags"][0]), "{id}");
            let mut in_path = BTreeSet::new();
            for parameter in operation["parameters"].as_array().unwrap() {
                let parameter = resolved(parameter);
                if parameter["in"] == "path" {
                    in_path.insert(format!("{{{}}}", parameter["name"].as_str().unwrap()));
                }
            }
            let named = path.split('/').filter(|part| part.starts_with('{'));
            assert_eq!(in_path, named.map(str::to_owned).collect(), "{id}");
        }
    }

    #[test]
    fn every_member_and_parameter_has_a_description_and_an_example() {
        walk(&DOCUMENT, "", &mut |place, value| {
            if value["type"] == "object" {
                let example = &value["examples"][0];
                for (name, member) in value["properties"].as_object().into_iter().flatten() {
                    assert!(has(member, "description"), "{place}: {name}: description");
                    let has_example = example.get(name).is_some() || has_example(member);
                    assert!(has_example, "{place}: {name}: example");
                }
            }
            if value["in"].is_string() && value.get("schema").is_some() {
                assert!(value.get("description").is_some(), "{place}: description");
                assert!(has_example(&value["schema"]), "{place}: example");
            }
        });
    }

    /// Whether a schema, or the one that it refers to, has a keyword.
    fn has(schema: &'static Value, keyword: &str) -> bool {
        let reference = schema["$ref"].as_str();
        schema.get(keyword).is_some()
            || reference.is_some_and(|name| has(referred(name).unwrap(), keyword))
    }

    /// Objects and unions need no example of their own, because their members and variants have one.
    fn has_example(schema: &'static Value) -> bool {
        ["examples", "const", "default", "properties", "discriminator"]
            .iter()
            .any(|keyword| has(schema, keyword))
            || schema.get("items").is_some_and(has_example)
    }

    #[test]
    fn every_example_passes_its_own_schema() {
        let mut checked = 0;
        walk(&DOCUMENT, "", &mut |place, value| {
            // Of a media type: named examples beside a schema. Of a schema: a list.
            if let (Some(named), Some(schema)) =
                (value["examples"].as_object(), value.get("schema"))
            {
                for (name, example) in named {
                    assert_valid(schema, &example["value"], &format!("{place}/{name}"));
                    checked += 1;
                }
            }
            for example in value["examples"].as_array().into_iter().flatten() {
                assert_valid(value, example, place);
                checked += 1;
            }
        });
        assert!(checked > 100, "only {checked} examples found");
    }

    fn assert_valid(schema: &Value, example: &Value, place: &str) {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": DOCUMENT["components"],
            "allOf": [schema],
        });
        let options = jsonschema::options().should_validate_formats(true);
        if let Err(error) = options.build(&schema).unwrap().validate(example) {
            panic!("{place}: {error}\n{example:#}");
        }
    }
}

/// The operations of the file: path, method, operation.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    DOCUMENT["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn resolved(value: &'static Value) -> &'static Value {
    value["$ref"].as_str().map_or(value, |reference| referred(reference).unwrap())
}

fn walk(value: &'static Value, place: &str, visit: &mut impl FnMut(&str, &'static Value)) {
    visit(place, value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                // Examples hold no schemas.
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
