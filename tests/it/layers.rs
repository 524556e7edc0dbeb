//! The arrows between the modules point one way: between the layers, and between the modules inside a
//! layer.

mod members;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use source::{Module, Source};

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

/// Circles that are still there: the module they are in, and how many modules are in the largest. They
/// shrink.
const KNOWN_CIRCLES: [(&str, usize); 4] =
    [("hsm", 5), ("hsm::supervisor", 2), ("hsm::worker", 6), ("ledger::sqlite::sql", 3)];

/// The layers that show use cases to somebody: they ask `service`, and reach nothing through it.
const FRONTS: [&str; 3] = ["http", "app", "cli"];

#[test]
fn no_module_knows_what_stands_above_it() {
    let source = Source::read(&directory());
    let seen: usize = source.modules().map(|module| source.named(module).len()).sum();
    assert!(seen > 100, "the reader of this test finds too little: {seen}");
    assert_eq!(upward(&source), Vec::<String>::new());
}

#[test]
fn no_modules_beside_each_other_import_in_a_circle() {
    let source = Source::read(&directory());
    let mut found = circles(&source);
    found.retain(|circle| {
        let parent = circle.iter().next().and_then(|module| module.rsplit_once("::"));
        let parent = parent.map_or("", |(parent, _)| parent);
        !KNOWN_CIRCLES.iter().any(|(known, size)| *known == parent && circle.len() <= *size)
    });
    let found: Vec<_> = found.iter().flat_map(|circle| imports_in(circle, &source)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_front_reaches_through_the_services() {
    assert_eq!(reach_through(&Source::read(&directory())), Vec::<String>::new());
}

/// Whatever is signed was recorded before, because one function alone asks a key for a signature.
#[test]
fn one_file_of_the_services_signs() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut signing = Vec::new();
    for layer in ["service", "http", "app"] {
        visit(&source.join(layer), &mut |file| {
            let text: String = fs::read_to_string(file).unwrap().split_whitespace().collect();
            if text.contains(".sign(") {
                signing.push(file.strip_prefix(&source).unwrap().to_owned());
            }
        });
    }
    assert_eq!(signing, [Path::new("service/act.rs")]);
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

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Modules that name a layer that theirs may not name.
fn upward(source: &Source) -> Vec<String> {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for module in source.modules() {
        let Some(layer) = module.first() else { continue };
        let below = allowed.get(layer.as_str()).unwrap_or_else(|| panic!("{layer} has no place"));
        let named = source.named(module);
        let layers: BTreeSet<_> = named.iter().filter_map(|path| path.first()).collect();
        for named in layers {
            if named != layer && named != "domain" && !below.contains(&named.as_str()) {
                wrong.push(format!("{} names crate::{named}", module.join("::")));
            }
        }
    }
    wrong
}

/// Modules that import each other, directly or through others. A module and those inside it are one here:
/// what is inside may name what it is a part of. So the modules that are compared stand beside each other,
/// on every level.
fn circles(source: &Source) -> Vec<BTreeSet<String>> {
    let mut arrows: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for module in source.modules() {
        for used in source.uses(module) {
            let shared = module.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if shared < module.len() && shared < used.len() {
                let beside = |module: &Module| module[..=shared].to_vec();
                arrows.entry(beside(module)).or_default().insert(beside(&used));
            }
        }
    }
    let reached: BTreeMap<_, _> =
        arrows.keys().map(|module| (module, reached_from(module, &arrows))).collect();
    let reaches =
        |a: &Module, b: &Module| reached.get(a).is_some_and(|reached| reached.contains(b));
    let circle_of = |module: &Module| -> BTreeSet<String> {
        let others = arrows.keys().filter(|other| reaches(module, other) && reaches(other, module));
        others.map(|module| module.join("::")).collect()
    };
    let circles: BTreeSet<_> = arrows.keys().map(circle_of).collect();
    circles.into_iter().filter(|circle| !circle.is_empty()).collect()
}

/// Which module of a circle imports which.
fn imports_in(circle: &BTreeSet<String>, source: &Source) -> Vec<String> {
    let of = |module: &Module| {
        let name = module.join("::");
        circle.iter().find(|unit| name == **unit || name.starts_with(&format!("{unit}::")))
    };
    let mut imports = Vec::new();
    for module in source.modules().filter(|module| of(module).is_some()) {
        let used = source.uses(module).into_iter();
        let used = used.filter(|used| of(used).is_some() && of(used) != of(module));
        imports
            .extend(used.map(|used| format!("{} imports {}", module.join("::"), used.join("::"))));
    }
    imports
}

fn reached_from(module: &Module, arrows: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = vec![module];
    while let Some(module) = next.pop() {
        let targets = arrows.get(module).into_iter().flatten();
        next.extend(targets.filter(|target| reached.insert((*target).clone())));
    }
    reached
}

/// Fields of `Services` that a front names, and public methods of `Services` that hand out what a front
/// may not name: `services.ledger().append(..)` names no ledger, and uses one.
fn reach_through(source: &Source) -> Vec<String> {
    let service = vec!["service".to_owned()];
    let fields = fields_of("Services", source.tokens(&service));
    let mut wrong = Vec::new();
    for module in source.modules().filter(|module| FRONTS.contains(&layer_of(module))) {
        for words in source.tokens(module).windows(4) {
            let [value, dot, field, next] = words else { continue };
            if value == "services" && dot == "." && fields.contains(field) && next != "(" {
                wrong.push(format!("{} names services.{field}", module.join("::")));
            }
        }
    }
    let http = allowed()["http"];
    for module in source.modules().filter(|module| layer_of(module) == "service") {
        for (method, types) in public_methods_of("Services", source.tokens(module)) {
            for path in types {
                let defined = source.defines(module, &path).unwrap_or_default();
                let layer = layer_of(&defined);
                if !["", "service", "domain"].contains(&layer) && !http.contains(&layer) {
                    wrong.push(format!("Services::{method} hands out {layer}"));
                }
            }
        }
    }
    wrong
}

fn layer_of(module: &Module) -> &str {
    module.first().map_or("", String::as_str)
}

/// The names of the fields of a struct.
fn fields_of(name: &str, tokens: &[String]) -> BTreeSet<String> {
    let is_its = |words: &[String]| words[0] == "struct" && words[1] == name && words[2] == "{";
    let Some(begin) = tokens.windows(3).position(is_its) else { return BTreeSet::new() };
    let body = &tokens[begin + 3..];
    let end = body.iter().position(|word| word == "}").unwrap_or(body.len());
    let fields = body[..end].windows(2).filter(|words| words[1] == ":");
    fields.map(|words| words[0].clone()).collect()
}

/// The public methods of a type, each with the paths in what it returns.
fn public_methods_of(name: &str, tokens: &[String]) -> Vec<(String, Vec<Vec<String>>)> {
    let mut methods = Vec::new();
    let mut at = 0;
    while let Some(found) = tokens[at..].windows(3).position(|words| words == ["impl", name, "{"]) {
        at += found + 3;
        let mut depth = 1;
        while depth > 0 {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "pub" if tokens[at + 1] != "(" => {
                    let signature = &tokens[at..];
                    let end = signature.iter().position(|word| word == "{").unwrap();
                    let signature = &signature[..end];
                    let method = signature.iter().position(|word| word == "fn").unwrap() + 1;
                    let arrow = signature.windows(2).position(|words| words == ["-", ">"]);
                    let returned = arrow.map_or(&[] as &[_], |arrow| &signature[arrow + 2..]);
                    let paths = returned.split(|word| !is_of_path(word));
                    let paths = paths.map(|path| {
                        path.iter().filter(|word| *word != "::").cloned().collect::<Vec<_>>()
                    });
                    let paths = paths.filter(|path| !path.is_empty()).collect();
                    methods.push((signature[method].clone(), paths));
                }
                _ => {}
            }
            at += 1;
        }
    }
    methods
}

fn is_of_path(word: &str) -> bool {
    word == "::" || word.starts_with(|c: char| c.is_alphabetic() || c == '_')
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

mod rules {
    //! Each rule, broken once.

    use super::*;

    fn circle<const N: usize>(modules: [&str; N]) -> BTreeSet<String> {
        modules.map(str::to_owned).into()
    }

    #[test]
    fn a_layer_that_names_one_above_it_is_found_however_the_path_begins() {
        for path in
            ["use crate::http::Route;", "use super::http::Route;", "use crate::{domain, http};"]
        {
            let source = Source::of([("ledger.rs", path), ("http.rs", ""), ("domain.rs", "")]);
            assert_eq!(upward(&source), ["ledger names crate::http"], "{path}");
        }
        let inline = "fn f() { crate::http::answer() }";
        let source = Source::of([("ledger/sql.rs", inline), ("ledger.rs", ""), ("http.rs", "")]);
        assert_eq!(upward(&source), ["ledger::sql names crate::http"]);
    }

    #[test]
    fn comments_literals_and_tests_name_nothing() {
        let text = r##"
            // crate::http
            /* crate::http */
            const A: &str = "crate::http";
            const B: &str = r#"crate::"http"#;
            const C: (char, char, &'static u8) = ('"', '\\', &b'\'');
            #[cfg(test)]
            mod tests { use crate::http; }
            #[cfg(test)]
            mod examples;
        "##;
        let source = Source::of([
            ("ledger.rs", text),
            ("ledger/examples.rs", "use crate::http;"),
            ("http.rs", ""),
        ]);
        assert_eq!(upward(&source), Vec::<String>::new());
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let source = Source::of([
            ("ledger.rs", "mod backup; mod sql;"),
            ("ledger/backup.rs", "use super::sql::verify;"),
            ("ledger/sql.rs", "pub mod verify;"),
            ("ledger/sql/verify.rs", "use super::super::backup::Counts;"),
        ]);
        assert_eq!(circles(&source), [circle(["ledger::backup", "ledger::sql"])]);
    }

    #[test]
    fn a_circle_of_three_is_found_through_what_their_parent_exports_again() {
        let source = Source::of([
            ("http.rs", "mod api; mod dispatch; mod route; pub use dispatch::Context;"),
            ("http/api.rs", "use super::Context;"),
            ("http/dispatch.rs", "fn f() { crate::http::route::find() }"),
            ("http/route.rs", "use crate::http::{api::{self, ROUTES}, Other};"),
        ]);
        let all = circle(["http::api", "http::dispatch", "http::route"]);
        assert_eq!(circles(&source), [all]);
    }

    #[test]
    fn a_module_and_what_is_inside_it_are_no_circle() {
        let source = Source::of([
            ("http.rs", "mod api; use api::ROUTES; pub struct Limits;"),
            ("http/api.rs", "use super::Limits; mod keys; use keys::list;"),
            ("http/api/keys.rs", "use super::super::Limits; use crate::http::api::ROUTES;"),
        ]);
        assert_eq!(circles(&source), Vec::<BTreeSet<String>>::new());
    }

    #[test]
    fn a_front_that_names_a_field_of_the_services_reaches_through_them() {
        let service = "pub struct Services { pub ledger: Ledger, tree: Arc<Tree> }";
        let http = "async fn f(services: &Services) { services.ledger.append().await; \
                    services.tree(); services.other.x }";
        let source = Source::of([("service.rs", service), ("http.rs", http)]);
        assert_eq!(reach_through(&source), ["http names services.ledger"]);
    }

    #[test]
    fn services_that_hand_out_the_ledger_are_reached_through() {
        let service = "mod status; use crate::ledger::Ledger; \
                       impl Services { pub fn ledger(&self) -> &Ledger { &self.ledger } \
                                       pub(crate) fn inner(&self) -> &Ledger { &self.ledger } \
                                       pub fn name(&self) -> String { String::new() } }";
        let status = "use crate::keys; \
                      impl Services { pub async fn keys(&self) -> Option<Arc<keys::Keyring>> {} }";
        let source = Source::of([
            ("service.rs", service),
            ("service/status.rs", status),
            ("ledger.rs", ""),
            ("keys.rs", ""),
        ]);
        assert_eq!(
            reach_through(&source),
            ["Services::ledger hands out ledger", "Services::keys hands out keys"]
        );
    }
}
