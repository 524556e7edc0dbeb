//! The limits and words of the file against those of the code.

use super::*;
use crate::{
    domain::{
        alternative_name::NAMES_MAX,
        key::KeyType,
        name::{AttributeKind, Country},
        path::{PathElement, ResourcePath},
        request::KeyUsage,
        tree::{Origin, ServiceKind, Vical},
    },
    http::{
        api::inventory::{LIMIT_DEFAULT, LIMIT_MAX, PROFILES},
        body::BODY_BYTES_MAX,
        headers::X_REQUEST_ID_CHARACTERS_MAX,
        idempotent::KEY_CHARACTERS_MAX,
        json::{ITEMS_MAX, STRING_CHARACTERS_MAX},
        problem::EXCEPTIONS,
        query::PARAMETERS_MAX,
        wire::{generic::PURPOSES_MAX, kms::PIN_SOURCES},
    },
    service::{error::DuplicateKind, inventory::CertificateStatus},
};

/// A component, or a value within one.
fn schema(pointer: &str) -> &'static Value {
    let pointer = format!("/components/schemas/{pointer}");
    DOCUMENT.pointer(&pointer).unwrap_or_else(|| panic!("{pointer} is not in the file"))
}

#[track_caller]
fn assert_words<'a>(pointer: &str, words: impl IntoIterator<Item = &'a str>) {
    let words: Vec<_> = words.into_iter().collect();
    assert_eq!(schema(pointer)["enum"], json!(words), "{pointer}");
}

#[test]
fn the_version_is_that_of_the_daemon() {
    assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn words_are_those_of_the_code() {
    assert_words("Country", Country::codes());
    assert_words("KeyType", KeyType::ALL.map(KeyType::name));
    assert_words("KeyUsage", KeyUsage::ALL.map(KeyUsage::name));
    assert_words("Service/properties/type", ServiceKind::ALL.map(ServiceKind::name));
    assert_words("Origin", [Origin::Config, Origin::Api].map(Origin::name));
    assert_words("IacaPin/properties/source", PIN_SOURCES);
    let profiles = PROFILES.iter().map(|profile| profile.name());
    assert_words("Profile", profiles);
    let statuses = CertificateStatus::ALL.iter().map(|status| status.name());
    assert_words("CertificateStatus", statuses);
    assert_words("Problem/properties/id", EXCEPTIONS.iter().map(|(_, id)| *id));
    let codes: Vec<_> = EXCEPTIONS.iter().map(|(status, _)| status.to_string()).collect();
    assert_words("Problem/properties/code", codes.iter().map(String::as_str));
    let kinds = DuplicateKind::ALL.map(DuplicateKind::name);
    assert_words("DuplicateTarget/properties/target_entry_type", kinds);
}

#[test]
fn limits_are_those_of_the_code() {
    for (pointer, limit) in [
        ("ResourcePath/maxLength", ResourcePath::LENGTH_MAX),
        ("KeyPath/maxLength", ResourcePath::LENGTH_MAX),
        ("PathElement/maxLength", PathElement::LENGTH_MAX),
        ("CertificatePem/maxLength", BODY_BYTES_MAX),
        ("CertificationRequestPem/maxLength", BODY_BYTES_MAX),
        ("HttpUrl/maxLength", STRING_CHARACTERS_MAX),
        ("AbsoluteUri/maxLength", STRING_CHARACTERS_MAX),
        ("NotBlank/maxLength", STRING_CHARACTERS_MAX),
        ("NewVicalService/properties/signerCertificateChainIds/maxItems", Vical::CHAIN_MAX),
    ] {
        assert_eq!(*schema(pointer), json!(limit), "{pointer}");
    }
    for (pointer, element) in [("ResourcePath", "*"), ("KeyPath", "+")] {
        let element_pattern = format!("[A-Za-z0-9_-]{{1,{}}}", PathElement::LENGTH_MAX);
        let pattern = format!(r"^{element_pattern}(?:\.{element_pattern}){element}$");
        assert_eq!(schema(pointer)["pattern"], pattern, "{pointer}");
    }
}

#[test]
fn limits_in_words_and_patterns_are_those_of_the_code() {
    let description = DOCUMENT["info"]["description"].as_str().unwrap();
    let description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    for (limit, of) in [
        (BODY_BYTES_MAX, "octets"),
        (STRING_CHARACTERS_MAX, "characters"),
        (ITEMS_MAX, "items"),
        (PARAMETERS_MAX, "parameters"),
    ] {
        let digits = limit.to_string();
        let words = match digits.split_at_checked(digits.len().saturating_sub(3)) {
            Some((thousands, rest)) if !thousands.is_empty() => format!("{thousands},{rest} {of}"),
            _ => format!("{digits} {of}"),
        };
        assert!(description.contains(&words), "{words}");
    }
    let names = schema("SubjectAlternativeNames")["description"].as_str().unwrap();
    assert!(names.contains(&format!("at most {NAMES_MAX}")), "{names}");
    let purposes = schema("CertificateData/properties/extendedKeyUsageOids");
    assert_eq!(purposes["maxItems"], PURPOSES_MAX);
    let request_id = schema("RequestId")["pattern"].as_str().unwrap();
    assert!(request_id.contains(&format!("{{1,{X_REQUEST_ID_CHARACTERS_MAX}}}")), "{request_id}");
    let key = &DOCUMENT["components"]["parameters"]["IdempotencyKey"]["schema"]["pattern"];
    let key = key.as_str().unwrap();
    assert!(key.contains(&format!("{{1,{KEY_CHARACTERS_MAX}}}")), "{key}");
}

#[test]
fn refusals_have_the_status_and_the_id_of_the_code() {
    for (status, id) in EXCEPTIONS {
        let name = id.strip_suffix("Exception").unwrap();
        let content = &DOCUMENT["components"]["responses"][name]["content"]["application/json"];
        let examples = content["examples"].as_object().unwrap_or_else(|| panic!("{name}"));
        for example in examples.values() {
            assert_eq!(example["value"]["id"], id, "{name}");
            assert_eq!(example["value"]["code"], status.to_string(), "{name}");
        }
    }
    for (path, method, operation) in operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let Some(reference) = response["$ref"].as_str() else { continue };
            let name = reference.rsplit('/').next().unwrap();
            let of_status = EXCEPTIONS.iter().find(|(of, _)| of.to_string() == *status);
            if let Some((_, id)) = of_status {
                let is_duplicate = status == "409" && name.ends_with("DuplicateTarget");
                let is_of_status = format!("{name}Exception") == *id;
                assert!(is_duplicate || is_of_status, "{method} {path}: {status}: {name}");
            }
        }
    }
}

#[test]
fn attributes_of_names_are_as_long_as_the_code_allows() {
    for (name, kind) in [
        ("CommonName", AttributeKind::CommonName),
        ("OrganizationName", AttributeKind::Organization),
        ("OrganizationalUnitName", AttributeKind::OrganizationalUnit),
        ("StateOrProvinceName", AttributeKind::StateOrProvince),
        ("LocalityName", AttributeKind::Locality),
    ] {
        assert_eq!(schema(name)["maxLength"], kind.characters_max(), "{name}");
    }
}

#[test]
fn the_limit_of_a_page_is_that_of_the_code() {
    let path = "/v1/{target}/x509-service-api/certificates";
    let operation = operation(&Method::GET, path).unwrap();
    let mut parameters = operation["parameters"].as_array().unwrap().iter();
    let limit = parameters.find(|parameter| parameter["name"] == "limit").unwrap();
    assert_eq!(limit["schema"]["maximum"], LIMIT_MAX);
    assert_eq!(limit["schema"]["default"], LIMIT_DEFAULT);
}
