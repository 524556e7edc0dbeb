//! Assertions about answers.

use serde_json::{Value, json};

use crate::client::Answer;

/// Asserts status, `field` and a part of the message.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, field: Option<&str>, message: &str) {
    let shown = || format!("{}: {}", answer.status, answer.json);
    assert_eq!(answer.status, status, "{}", shown());
    assert_eq!(answer.json["field"].as_str(), field, "{}", shown());
    let said = answer.json["message"].as_str().unwrap_or_default();
    assert!(said.contains(message), "'{message}' in {}", shown());
    assert_eq!(answer.json["code"], status.to_string(), "{}", shown());
    assert_eq!(answer.json["exception"], true, "{}", shown());
    assert_eq!(answer.json["requestId"].as_str(), answer.header("x-request-id"), "{}", shown());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", shown());
    // Existing clients recognise a duplicate by these two words alone.
    assert_eq!(said.contains("already exists"), message.contains("already exists"), "{}", shown());
}

/// Asserts that an answer is exactly the refusal of a duplicate.
#[track_caller]
pub fn duplicate(answer: &Answer, target: &str, kind: &str, field: Option<&str>) {
    let mut wanted = json!({
        "type": "DuplicateTarget",
        "status": 409,
        "message": format!("target already exists: {target}"),
        "target": target,
        "target_entry_type": kind,
        "exception": true,
        "id": "ConflictException",
        "code": "409",
        "requestId": answer.header("x-request-id"),
    });
    if let Some(field) = field {
        wanted["field"] = field.into();
    }
    assert_eq!(answer.json, wanted);
    assert_eq!(answer.status, 409);
}

/// The members of an object, sorted.
pub fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
