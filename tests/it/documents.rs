//! The documents name files and functions that exist.

use std::{collections::BTreeSet, fs, path::Path};

const DOCUMENTS: [&str; 10] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "benches/README.md",
    "src/architecture.md",
    "src/hsm/modules.md",
    "systemd/README.md",
    "systemd/recovery.md",
    "tests/README.md",
];
/// A path in a document begins with one of these, or is a link.
const TOP: [&str; 7] = ["src/", "tests/", "benches/", "config/", "softhsm/", "systemd/", ".ci/"];
#[test]
fn documents_name_files_and_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = BTreeSet::new();
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let directory = Path::new(document).parent().unwrap();
        for named in paths(&text) {
            seen += 1;
            let (path, function) = named.split_once("::").unwrap_or((named, ""));
            let file = match path.strip_prefix("](") {
                Some(link) => root.join(directory).join(link.split('#').next().unwrap()),
                None => root.join(path),
            };
            let has = |text: String| text.contains(&format!("fn {function}"));
            if !file.exists() || !function.is_empty() && !fs::read_to_string(&file).is_ok_and(has) {
                missing.insert(format!("{document}: {named}"));
            }
        }
    }
    assert!(seen > 80, "the reader of this test finds too little: {seen}");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Paths in code marks, with a function after `::`, and targets of relative links, with `](` before them.
/// Names in capitals are for the reader to fill in.
fn paths(text: &str) -> Vec<&str> {
    let marked = text.split('`').skip(1).step_by(2);
    let marked = marked.map(|code| code.trim_start_matches("./")).filter(|code| {
        let is_path = TOP.iter().any(|top| code.starts_with(top));
        is_path && !code.contains([' ', '*']) && !code.contains("NAME")
    });
    let links =
        text.match_indices("](").map(|(at, _)| &text[at..=at + text[at..].find(')').unwrap()]);
    let links = links.map(|link| link.trim_end_matches(')')).filter(|link| !link.contains("://"));
    marked.chain(links.filter(|link| !link.starts_with("](#"))).collect()
}
