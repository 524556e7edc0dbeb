//! Names of one generation of the API stand in `http`: below it no JSON pointer and no member name.

use std::{collections::BTreeSet, fs, path::Path};

/// What http builds on.
const BELOW: [&str; 7] = ["access", "audit", "domain", "keys", "ledger", "service", "vical"];

/// Names that X.509 and VICAL have too.
const COMMON: [&str; 5] =
    ["keyUsage", "nextUpdate", "notAfter", "notBefore", "stateOrProvinceName"];

/// The details of audit entries have a format of their own, which stays as it is.
const IN_AUDIT_DETAILS: [&str; 2] = ["keyType", "storedCertificateId"];

#[test]
fn no_name_of_one_api_generation_stands_below_http() {
    let source = super::directory();
    let map = fs::read_to_string(source.join("http/wire/member.rs")).unwrap();
    let names = names_of(&map);
    assert!(names.len() > 20, "the reader of this test finds too few names: {names:?}");
    let mut found = Vec::new();
    for layer in BELOW.into_iter().chain(["x509"]) {
        let mut look = |file: &Path| {
            let is_test = file.components().any(|part| part.as_os_str() == "tests")
                || file.ends_with("tests.rs")
                || file.ends_with("fixtures.rs");
            if !is_test {
                let text = fs::read_to_string(file).unwrap();
                found.extend(wrong(&text, &names).into_iter().map(|word| (file.to_owned(), word)));
            }
        };
        look(&source.join(format!("{layer}.rs")).canonicalize().unwrap());
        if source.join(layer).is_dir() {
            super::visit(&source.join(layer), &mut look);
        }
    }
    assert_eq!(found, []);
}

/// The names that the map holds: the steps of its pointers that are more than one English word, and the
/// types of descriptors.
fn names_of(map: &str) -> BTreeSet<String> {
    let literals = literals(map);
    let steps = literals.iter().filter(|literal| literal.starts_with('/'));
    let steps = steps.flat_map(|pointer| pointer.split('/'));
    let steps = steps.filter(|step| step.contains(|c: char| c.is_ascii_uppercase()));
    let types = literals.iter().map(String::as_str).filter(|it| it.ends_with("-descriptor"));
    let names = steps.chain(types).filter(|name| !COMMON.contains(name) && !name.contains('{'));
    names.map(str::to_owned).collect()
}

/// Literals that are a pointer, or that hold a name.
fn wrong(text: &str, names: &BTreeSet<String>) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut literals = literals(code);
    literals.retain(|literal| {
        let mut words = literal.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let is_pointer = literal.strip_prefix('/').is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_lowercase()) && !rest.contains('/')
        });
        is_pointer
            || !IN_AUDIT_DETAILS.contains(&literal.as_str())
                && words.any(|word| names.contains(word))
    });
    literals
}

/// The string literals of a source text, its comments left out.
fn literals(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n").replace("'\"'", "").replace("\\\"", "");
    code.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn a_pointer_and_a_name_in_words_are_found() {
    let names = names_of(
        "\"/iacaSigner/iacaKeyDesc\" \"/certificateData/notAfter\" \"/{name}\" \"x-descriptor\"",
    );
    assert_eq!(
        names.iter().collect::<Vec<_>>(),
        ["certificateData", "iacaKeyDesc", "iacaSigner", "x-descriptor"]
    );
    for code in ["at(\"/newMember\")", "\"give iacaSigner.iacaKeyDesc\"", "\"use a x-descriptor\""]
    {
        assert_eq!(wrong(code, &names).len(), 1, "{code}");
    }
    for code in ["// \"/iacaSigner\"", "\"notAfter must be later\"", "\"/etc/chancery\""] {
        assert_eq!(wrong(code, &names), Vec::<String>::new(), "{code}");
    }
}
