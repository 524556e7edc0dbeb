//! The arrows between the modules point one way.

use std::{collections::BTreeMap, fs, path::Path};

/// What each top-level module may name of the others. `domain` is open to all.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("domain", &[] as &[_]),
        ("metrics", &[]),
        ("x509", &[]),
        ("vical", &[]),
        ("audit", &[]),
        ("ledger", &["audit", "metrics"]),
        ("hsm", &[]),
        ("keys", &["hsm", "metrics"]),
        ("access", &[]),
        ("service", &["x509", "vical", "audit", "ledger", "keys", "hsm"]),
        // Names, and what `/readyz` says of the tokens.
        ("http", &["service", "access", "x509", "hsm", "metrics"]),
        // The slices that the modules declare for themselves.
        ("config", &["access", "hsm", "http", "service"]),
        ("systemd", &[]),
        ("app", &["config", "access", "hsm", "http", "keys", "ledger", "service", "systemd"]),
        ("cli", &["app", "config", "hsm", "http", "keys", "systemd"]),
        ("main", &["cli"]),
    ])
}

#[test]
fn no_module_knows_what_stands_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed = allowed();
    let mut wrong = Vec::new();
    let mut seen = 0;
    visit(&source, &mut |file| {
        let relative = file.strip_prefix(&source).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            return;
        }
        let allowed = allowed.get(module).unwrap_or_else(|| panic!("{module} has no place"));
        for named in named_modules(&fs::read_to_string(file).unwrap()) {
            seen += 1;
            if named != module && named != "domain" && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{} names crate::{named}", relative.display()));
            }
        }
    });
    assert!(seen > 100, "the reader of this test finds too little: {seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The linter forbids it to all but those who ask; this one file may.
#[test]
fn what_the_compiler_does_not_check_is_in_one_file() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut with_it = Vec::new();
    visit(&source, &mut |file| {
        let text = fs::read_to_string(file).unwrap();
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word == "unsafe" || word == "unsafe_code") {
            with_it.push(file.strip_prefix(&source).unwrap().to_owned());
        }
    });
    assert_eq!(with_it, [Path::new("hsm/worker/raw.rs")]);
}

/// The first segments of all `crate::` paths, grouped imports included.
fn named_modules(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    for (position, _) in text.match_indices("crate::") {
        let rest = &text[position + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => names.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (index, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_alphabetic() => {
                            names.push(word(&group[index..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn visit(directory: &Path, file: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, file);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            file(&path);
        }
    }
}
