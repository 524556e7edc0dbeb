//! The limits and words of the file against those of the code.

use super::*;
use crate::{
    domain::{
        key::KeyType,
        name::{AttributeKind, Country},
        path::{PathElement, ResourcePath},
        request::KeyUsage,
        tree::{Origin, ServiceKind, Vical},
    },
    http::{
        api::inventory::{LIMIT_DEFAULT, LIMIT_MAX, PROFILES},
        body::BODY_BYTES_MAX,
        json::STRING_CHARACTERS_MAX,
        problem::EXCEPTIONS,
        wire::kms::PIN_SOURCES,
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
    let path = ["v1", "{target}", "x509-service-api", "certificates"];
    let operation = operation(&Method::GET, &path).unwrap();
    let mut parameters = operation["parameters"].as_array().unwrap().iter();
    let limit = parameters.find(|parameter| parameter["name"] == "limit").unwrap();
    assert_eq!(limit["schema"]["maximum"], LIMIT_MAX);
    assert_eq!(limit["schema"]["default"], LIMIT_DEFAULT);
}
