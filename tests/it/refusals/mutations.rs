//! The documented requests, changed in every place and every way: nothing slips through, nothing
//! breaks the daemon.

use serde_json::{Value, json};

use super::{
    bench::Bench,
    request::{Ask, document_signer, iaca, intermediate, leaf, root},
};

/// A documented request and which of its members may be absent.
struct Document {
    name: &'static str,
    ask: Ask,
    optional: &'static [&'static str],
    /// Members whose absence is blamed on another place.
    blamed: &'static [(&'static str, &'static str)],
}

fn documents() -> Vec<Document> {
    vec![
        Document {
            name: "IACA",
            ask: iaca(),
            optional: &[
                "/storedCertificateId",
                "/vicalEntryComplementaryMetadata",
                "/vicalEntryComplementaryMetadata/certificateProfile",
            ],
            blamed: &[(
                "/certificateData/issuerAlternativeNameConf/uri",
                "/certificateData/issuerAlternativeNameConf",
            )],
        },
        Document {
            name: "document signer",
            ask: document_signer(),
            optional: &["/storedCertificateId"],
            blamed: &[(
                "/iacaSigner/certificateData/issuerAlternativeNameConf/uri",
                "/iacaSigner/certificateData/issuerAlternativeNameConf",
            )],
        },
        Document {
            name: "leaf",
            ask: leaf(),
            optional: &[
                "/storedCertificateId",
                "/certificateData/subjectName/country",
                "/certificateData/subjectName/organizationName",
                "/certificateData/isCertificateAuthority",
                "/certificateData/keyUsage",
            ],
            blamed: &[],
        },
        Document {
            name: "intermediate",
            ask: intermediate(),
            optional: &[
                "/storedCertificateId",
                "/certificateData/subjectName/country",
                "/certificateData/pathLengthConstraint",
            ],
            blamed: &[(
                "/certificateData/isCertificateAuthority",
                "/certificateData/pathLengthConstraint",
            )],
        },
    ]
}

/// The pointers of all members and items, and whether each is a member.
fn places(value: &Value, pointer: &str, found: &mut Vec<(String, bool)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let place = format!("{pointer}/{name}");
                found.push((place.clone(), true));
                places(member, &place, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let place = format!("{pointer}/{index}");
                found.push((place.clone(), false));
                places(item, &place, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Values of every type but the right one.
fn wrong_types(value: &Value) -> Vec<Value> {
    [json!(7), json!("x"), json!(true), json!([]), json!({}), json!([[]]), json!(-0.5)]
        .into_iter()
        .filter(|other| std::mem::discriminant(other) != std::mem::discriminant(value))
        .collect()
}

/// The text of a value, in which the member at a pointer stands twice.
fn with_twice(value: &Value, pointer: &str, twice: &str) -> String {
    match value {
        Value::Object(members) => {
            let mut parts = Vec::new();
            for (name, member) in members {
                let place = format!("{pointer}/{name}");
                let part = format!("\"{name}\":{}", with_twice(member, &place, twice));
                if place == twice {
                    parts.push(part.clone());
                }
                parts.push(part);
            }
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(index, item)| with_twice(item, &format!("{pointer}/{index}"), twice))
                .collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[test]
fn every_member_is_required_or_optional_as_documented() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    bench.accepted(&document_signer().set("/storedCertificateId", "pins"));
    for document in documents() {
        let mut found = Vec::new();
        places(document.ask.json(), "", &mut found);
        let members: Vec<_> = found.into_iter().filter(|(_, is_member)| *is_member).collect();
        assert!(members.len() > 8, "{}", document.name);
        for (index, (place, _)) in members.iter().enumerate() {
            for null in [false, true] {
                let id = format!("m-{}-{index}-{null}", document.name.replace(' ', "-"));
                let ask = document.ask.clone().set("/storedCertificateId", id);
                let ask = if null { ask.set(place, Value::Null) } else { ask.without(place) };
                let name = format!("{}: {place} null: {null}", document.name);
                if document.optional.contains(&place.as_str()) {
                    let answer = bench.send(&ask);
                    if answer.status != 200 {
                        bench.complain(format!("{name}: {}", answer.json));
                    }
                } else {
                    let blamed = document.blamed.iter().find(|(member, _)| member == place);
                    let field = blamed.map_or(place.as_str(), |(_, field)| field);
                    bench.judge([ask.blames(&name, 400, field, "")]);
                }
            }
        }
    }
    bench.verdict();
}

#[test]
fn a_wrong_type_is_refused_in_every_place() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let mut rows = Vec::new();
    for document in documents() {
        let mut found = Vec::new();
        places(document.ask.json(), "", &mut found);
        for (place, _) in found {
            let value = document.ask.json().pointer(&place).unwrap();
            for wrong in wrong_types(value) {
                let name = format!("{}: {place} = {wrong}", document.name);
                let ask = document.ask.clone().set(&place, wrong);
                rows.push(ask.blames(&name, 400, &place, "must be "));
            }
        }
    }
    assert!(rows.len() > 200, "{}", rows.len());
    bench.judge(rows);
    bench.verdict();
}

#[test]
fn an_unknown_or_repeated_member_is_refused_in_every_object() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let mut rows = Vec::new();
    for document in documents() {
        let json = document.ask.json();
        let mut found = vec![(String::new(), false)];
        places(json, "", &mut found);
        for (place, is_member) in found {
            if json.pointer(&place).unwrap().is_object() {
                let field = format!("{place}/surplus");
                let name = format!("{}: {field}", document.name);
                let ask = document.ask.clone().set(&field, "x");
                rows.push(ask.blames(&name, 400, &field, "unknown member 'surplus'"));
            }
            if is_member {
                let name = format!("{}: {place} twice", document.name);
                let ask = document.ask.clone().raw(with_twice(json, "", &place));
                rows.push(ask.blames(&name, 400, &place, "occurs twice"));
            }
        }
    }
    assert!(rows.len() > 60, "{}", rows.len());
    bench.judge(rows);
    bench.verdict();
}
