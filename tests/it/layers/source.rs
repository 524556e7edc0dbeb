//! The modules of a crate and what they import, read from their text: enough of Rust's grammar for
//! imports and paths, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A module by its names from the root of the crate, which is empty.
pub type Module = Vec<String>;

/// All modules of a crate that are files, without their tests.
#[derive(Default)]
pub struct Source {
    files: BTreeMap<Module, File>,
}

/// What one file says.
#[derive(Default)]
struct File {
    /// Without comments, literals and tests.
    tokens: Vec<String>,
    /// Names that `use` brings in, with the path as it is written.
    imports: Vec<(String, Vec<String>)>,
    /// Other paths in the code.
    paths: Vec<Vec<String>>,
}

impl Source {
    /// Reads a directory.
    pub fn read(directory: &Path) -> Self {
        let mut files = Vec::new();
        super::visit(directory, &mut |file| {
            let name = file.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(file).unwrap()));
        });
        Self::of(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// Files by their path below `src`.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut tests = BTreeSet::new();
        let mut source = Self::default();
        for (name, text) in files {
            let mut module: Module =
                name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            module.retain(|name| name != "lib");
            let (tokens, test_modules) = without_tests(tokens(text));
            tests.extend(test_modules.into_iter().map(|name| child(&module, &name)));
            source.files.insert(module, File { tokens, ..File::default() });
        }
        source.files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        for file in source.files.values_mut() {
            (file.imports, file.paths) = imports_and_paths(&file.tokens);
        }
        source
    }

    /// The modules.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.files.keys()
    }

    /// The code of a module, word by word.
    pub fn tokens(&self, module: &Module) -> &[String] {
        &self.files[module].tokens
    }

    /// The paths of this crate that a module names, from the root.
    pub fn named(&self, module: &Module) -> BTreeSet<Vec<String>> {
        let file = &self.files[module];
        let written = file.imports.iter().map(|(_, path)| path).chain(&file.paths);
        written.filter_map(|path| self.resolve_from_root(module, path)).collect()
    }

    /// The modules that define what a module names, wherever it is exported again.
    pub fn uses(&self, module: &Module) -> BTreeSet<Module> {
        self.named(module).iter().map(|path| self.definer(path, 0)).collect()
    }

    /// The module that defines what a path in this module stands for; `None` outside the crate.
    pub fn defines(&self, module: &Module, path: &[String]) -> Option<Module> {
        self.resolve_from_root(module, path).map(|path| self.definer(&path, 0))
    }

    fn resolve_from_root(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        let mut base = module.clone();
        let mut rest = path;
        match first {
            "crate" => return Some(path[1..].to_vec()),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            name if self.files.contains_key(&child(module, name)) => {}
            name => {
                let (_, imported) = self.files[module].imports.iter().find(|(n, _)| n == name)?;
                // An external crate under its own name.
                if imported.first().is_some_and(|first| first == name) {
                    return None;
                }
                base = self.resolve_from_root(module, imported)?;
                rest = &path[1..];
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn definer(&self, path: &[String], depth: usize) -> Module {
        let mut module = Module::new();
        for (index, name) in path.iter().enumerate() {
            let inner = child(&module, name);
            if self.files.contains_key(&inner) {
                module = inner;
                continue;
            }
            let Some(file) = self.files.get(&module) else { return module };
            let exported = file.imports.iter().find(|(imported, _)| imported == name);
            if let Some((_, imported)) = exported
                && depth < 8
                && let Some(mut path_there) = self.resolve_from_root(&module, imported)
            {
                path_there.extend_from_slice(&path[index + 1..]);
                return self.definer(&path_there, depth + 1);
            }
            return module;
        }
        module
    }
}

fn child(module: &Module, name: &str) -> Module {
    let mut child = module.clone();
    child.push(name.to_owned());
    child
}

/// Words, `::`, and single characters; neither comments nor literals.
fn tokens(text: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest) {
            length
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the string, character or lifetime that the text begins with.
fn literal(text: &str) -> Option<usize> {
    let unprefixed = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') && prefix <= 1 {
            let end = format!("\"{}", "#".repeat(hashes));
            let content = hashes + 1;
            return Some(prefix + 1 + content + raw[content..].find(&end)? + end.len());
        }
        return None;
    }
    let quote = unprefixed.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut characters = unprefixed.char_indices().skip(1);
    if quote == '\'' && prefix == 0 {
        // A lifetime has no second quote after its first character.
        let mut ahead = unprefixed.chars().skip(1);
        let (one, two) = (ahead.next()?, ahead.next()?);
        if one != '\\' && two != '\'' {
            return Some(1);
        }
    }
    while let Some((index, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return Some(prefix + index + 1);
        }
    }
    None
}

/// Drops the items under `#[cfg(test)]`; the names of those that are modules in files of their own.
fn without_tests(tokens: Vec<String>) -> (Vec<String>, Vec<String>) {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().take(marker.len()).eq(marker.iter()) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += marker.len();
        let begin = at;
        let mut depth = 0;
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            at += 1;
            let ends = matches!(tokens[at - 1].as_str(), ";" | "}");
            if depth == 0 && ends {
                break;
            }
        }
        let item = &tokens[begin..at];
        if item.last().is_some_and(|token| token == ";")
            && let Some(position) = item.iter().position(|token| token == "mod")
        {
            modules.push(item[position + 1].clone());
        }
    }
    (kept, modules)
}

/// What `use` brings in, by name, and the paths in the rest of the code.
fn imports_and_paths(tokens: &[String]) -> (Vec<(String, Vec<String>)>, Vec<Vec<String>>) {
    let is_word = |token: &String| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let (mut imports, mut paths) = (Vec::new(), Vec::new());
    // Depths of braces at which modules within the file begin: their `super` is the file.
    let (mut inline, mut depth) = (Vec::new(), 0);
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1).map(String::as_str);
        match tokens[at].as_str() {
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                inline.push(depth);
                at += 1;
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|begin| *begin == depth);
            }
            // `impl Trait + use<'_>` captures, and imports nothing.
            "use" if next != Some("<") => {
                let end = tokens[at..].iter().position(|token| token == ";").unwrap() + at;
                import(&tokens[at + 1..end], &[], &mut imports);
                at = end;
            }
            _ if is_word(&tokens[at]) && next == Some("::") => {
                let mut path = vec![tokens[at].clone()];
                while tokens.get(at + 1).is_some_and(|token| token == "::")
                    && tokens.get(at + 2).is_some_and(is_word)
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                let supers = path.iter().take_while(|word| *word == "super").count();
                let inside = supers.min(inline.len());
                if inside < supers || supers == 0 {
                    paths.push(path[inside..].to_vec());
                }
            }
            _ => {}
        }
        at += 1;
    }
    (imports, paths)
}

/// Reads a tree of `use`: `a::{b, c as d, e::*}`.
fn import(tokens: &[String], prefix: &[String], imports: &mut Vec<(String, Vec<String>)>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "::" => {}
            "{" => {
                let mut depth = 0;
                let mut begin = at + 1;
                for (index, token) in tokens.iter().enumerate().skip(at) {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if (token == "," && depth == 1) || depth == 0 {
                        import(&tokens[begin..index], &path, imports);
                        begin = index + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
                return;
            }
            "as" => {
                imports.push((tokens[at + 1].clone(), path));
                return;
            }
            "*" => {}
            // `a::{self}`.
            "self" if !path.is_empty() => {}
            word => path.push(word.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = path.last().filter(|_| !tokens.is_empty()) {
        imports.push((name.clone(), path));
    }
}
