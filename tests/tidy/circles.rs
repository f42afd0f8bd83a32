//! Finds files of one folder that import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

/// The path of the module that a file of a crate holds: `upstream::transport::pool`. `None`: the file is of another crate,
/// or is its root.
pub(crate) fn module(file: &str, crate_folder: &str) -> Option<String> {
    let path = file.strip_prefix(crate_folder)?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    (!["lib", "main"].contains(&path)).then(|| path.replace('/', "::"))
}

/// Modules that import each other in a circle, under one module of the crate's root. `modules`: the path of each, and its
/// code. A module that names one below itself does not count: it declares it.
pub(crate) fn find(modules: &BTreeMap<String, String>) -> Vec<Vec<&str>> {
    let imports: BTreeMap<&str, BTreeSet<&str>> =
        modules.iter().map(|(module, code)| (&**module, imports(module, code, modules))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|from| (*from, reached(from, &imports))).collect();
    let leads = |from: &str, to: &str| reached.get(from).is_some_and(|reached| reached.contains(to));
    let circle = |from: &&str| -> Vec<&str> {
        imports.keys().copied().filter(|other| leads(from, other) && leads(other, from)).collect()
    };
    let circles: BTreeSet<Vec<&str>> = imports.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
    circles.into_iter().collect()
}

/// All that is imported by a module, by what it imports, and so on.
fn reached<'m>(from: &str, imports: &BTreeMap<&'m str, BTreeSet<&'m str>>) -> BTreeSet<&'m str> {
    let mut reached = BTreeSet::new();
    let of = |module: &str| imports.get(module).into_iter().flatten().copied();
    let mut next: Vec<&str> = of(from).collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(of(module));
        }
    }
    reached
}

/// The modules under the same module of the crate's root that a module imports, those below itself left out.
fn imports<'m>(module: &str, code: &str, modules: &'m BTreeMap<String, String>) -> BTreeSet<&'m str> {
    let root = |path: &str| path.split("::").next().map(str::to_owned);
    let is_below = |path: &str| path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let found = paths(code).into_iter().filter_map(|path| target(module, &path, modules));
    found.filter(|path| root(path) == root(module) && !is_below(path)).collect()
}

/// The module that a path leads to: the longest beginning of it that is one.
fn target<'m>(module: &str, path: &str, modules: &'m BTreeMap<String, String>) -> Option<&'m str> {
    let mut full: Vec<&str> = module.split("::").collect();
    let mut steps = path.split("::").filter(|step| !step.is_empty()).peekable();
    if steps.next_if_eq(&"crate").is_some() {
        full.clear();
    }
    steps.next_if_eq(&"self");
    while steps.next_if_eq(&"super").is_some() {
        full.pop();
    }
    full.extend(steps);
    while !full.is_empty() {
        if let Some((found, _)) = modules.get_key_value(&full.join("::")) {
            return Some(found);
        }
        full.pop();
    }
    None
}

/// All paths in code that begin with `crate`, `self` or `super`, one for each item of a list in braces.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for start in ["crate::", "self::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let (before, path) = code.split_at(at);
            if !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                expand("", path, &mut paths);
            }
        }
    }
    paths
}

/// Adds the path at the beginning of a text, behind what stands before it. Returns the text behind it.
fn expand<'t>(prefix: &str, text: &'t str, paths: &mut Vec<String>) -> &'t str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let path = format!("{prefix}{path}");
    let Some(list) = rest.strip_prefix('{').filter(|_| path.ends_with("::")) else {
        paths.push(path);
        return rest;
    };
    rest = list;
    loop {
        if let Some(behind) = rest.trim_start().strip_prefix('}') {
            return behind;
        }
        // Behind an item there may be another name for it.
        rest = expand(&path, rest, paths).trim_start_matches(|c: char| c != ',' && c != '}');
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return rest,
            None => {}
        }
    }
}

#[test]
fn circles_are_found_and_nothing_else() {
    let files = [
        ("a", "pub mod b;\npub use self::b::B;"),
        ("a::b", "use super::{\n    c::{self, C},\n    d::D as E,\n};"),
        ("a::c", "use crate::a::d;\nuse crate::e::F;"),
        ("a::d", "fn f() { super::b::g(); }"),
        ("a::f", "use super::b;\nuse super::nothing;"),
        ("a::f::g", "use super::super::h;"),
        ("a::h", "use crate::{e, a::f::g::I};"),
        ("e", "use crate::a;"),
    ];
    let modules = files.map(|(module, code)| (module.to_owned(), code.to_owned())).into();
    assert_eq!(find(&modules), [vec!["a::b", "a::c", "a::d"], vec!["a::f::g", "a::h"]]);
}

#[test]
fn a_file_holds_the_module_of_its_path() {
    assert_eq!(module("src/a/b.rs", "src/").as_deref(), Some("a::b"));
    assert_eq!(module("src/a/mod.rs", "src/").as_deref(), Some("a"));
    assert_eq!(module("src/lib.rs", "src/"), None);
    assert_eq!(module("crates/x/src/a.rs", "src/"), None);
}
