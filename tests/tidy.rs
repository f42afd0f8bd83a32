//! The style rules of the project, checked by a test.
//!
//! Checks the text of every file, and that no folder names a folder above it. rustfmt, clippy and rustc check the rest.
//! Each violation is reported with its place, the rule, and the remedy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/circles.rs"]
mod circles;

/// Product lines in one file; tests beneath `#[cfg(test)]` don't count.
const FILE_LINES_MAX: usize = 500;

/// The rooms of `src/`, each with the rooms that it may name. `ARCHITECTURE.md` says why.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["admin", "config", "demo", "telemetry", "supervisor"]),
    ("demo", &[]),
    ("acme", &["config", "state_file", "telemetry", "tls"]),
    (
        "admin_service",
        &[
            "acme",
            "admin",
            "config",
            "downstream",
            "events",
            "proxy",
            "telemetry",
            "rollout",
            "cache",
            "write_queue",
            "upstream",
        ],
    ),
    ("admin", &["config", "telemetry", "socket_file"]),
    (
        "supervisor",
        &[
            "acme",
            "admin",
            "config",
            "downstream",
            "proxy",
            "admin_service",
            "telemetry",
            "rollout",
            "socket_file",
            "tls",
            "upstream",
            "shared_state",
            "write_queue",
        ],
    ),
    (
        "shared_state",
        &["acme", "config", "exchange", "proxy", "telemetry", "rollout", "cache", "upstream", "write_queue"],
    ),
    (
        "downstream",
        &["acme", "config", "exchange", "proxy", "telemetry", "socket_file", "splice", "tls", "shared_state"],
    ),
    (
        "proxy",
        &["acme", "config", "exchange", "telemetry", "rollout", "cache", "upstream", "shared_state", "write_queue"],
    ),
    ("events", &[]),
    ("write_queue", &["config", "exchange", "telemetry", "cache"]),
    ("rollout", &["config", "exchange", "state_file", "telemetry", "upstream"]),
    ("cache", &["config", "exchange", "telemetry"]),
    ("upstream", &["config", "exchange", "telemetry", "splice", "tls"]),
    ("exchange", &["config", "telemetry", "splice"]),
    ("socket_file", &[]),
    ("state_file", &[]),
    ("splice", &[]),
    ("tls", &[]),
    ("telemetry", &["config"]),
    ("config", &[]),
];

/// The leaves that may name no more of `config` than the plan.
const PLAN_ONLY: &[&str] = &["exchange", "telemetry"];

/// The crates without IO.
const PURE: &[&str] = &["http1", "message", "policy"];

/// What may stand nowhere in product code, and what to do instead.
const WORDS: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "do it, or leave it to the tracker"),
    (concat!("FIX", "ME"), "fix it, or leave it to the tracker"),
    (concat!("todo", "!"), "write it"),
    (concat!("unimplemented", "!"), "write it"),
    (concat!("print", "ln!("), "it panics where the reader has gone: `cli::output`"),
    (concat!("eprint", "!("), "it panics where the reader has gone: `cli::output`"),
    (concat!("allow(", "clippy::"), "mend what the lint shows"),
    (concat!("allow(", "dead_code"), "remove what nobody uses"),
    (concat!("allow(", "unused"), "remove what nobody uses"),
];

/// Calls that read the clock or randomness: allowed in one folder, so that everything else is deterministic.
const CLOCK_AND_DICE: &[(&str, &str)] = &[
    (concat!("Instant", "::now"), "src/telemetry/clock.rs"),
    (concat!("SystemTime", "::now"), "src/telemetry/clock.rs"),
    (concat!(".", "elapsed()"), "src/telemetry/clock.rs"),
    (concat!("fastrand", "::"), "src/telemetry/random.rs"),
];

/// Texts that refer to one machine.
const MACHINES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!(".cargo/", "registry"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npm", "js"),
    concat!("proxy.golang", ".org"),
];

/// Text files that people read; the lock file names its registry by nature.
const TEXT: &[&str] = &["rs", "md", "toml", "", "yml", "yaml", "sh", "json", "html"];

#[derive(Default)]
struct Violations(String);

impl Violations {
    fn add(&mut self, place: &str, rule: &str, remedy: &str) {
        writeln!(self.0, "{place}: {rule}\n    remedy: {remedy}").unwrap();
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "\n\n{}", self.0);
    }
}

/// One file of the project.
struct Source {
    /// Relative to the project, with `/`.
    name: String,
    text: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (String, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (format!("{}:{}", self.name, index + 1), line))
    }

    /// The lines before the file's own tests.
    fn product(&self) -> impl Iterator<Item = (String, &str)> {
        self.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }

    /// The product's lines without comments.
    fn code(&self) -> impl Iterator<Item = (String, &str)> {
        self.product().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The same as one text, each comment an empty line, so that lines keep their numbers.
    fn code_with_gaps(&self) -> String {
        let lines = self.product().map(|(_, line)| if line.trim_start().starts_with("//") { "" } else { line });
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    fn is_product(&self) -> bool {
        let is_pure = PURE.iter().any(|name| self.name.starts_with(&format!("crates/{name}/src/")));
        (is_pure || self.name.starts_with("src/"))
            && !self.name.ends_with("/tests.rs")
            && !self.name.contains("/tests/")
    }

    fn is_demo(&self) -> bool {
        self.name.starts_with("src/demo/")
    }

    /// The room it stands in: `src/proxy/routing.rs` and `src/proxy.rs` are both in `proxy`.
    fn room(&self) -> Option<&str> {
        let (room, _) = self.name.strip_prefix("src/")?.split_once(['/', '.'])?;
        Some(room)
    }
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&project(), &mut found);
    found.retain(|path| wanted(path.extension().and_then(|e| e.to_str()).unwrap_or_default()));
    found.sort();
    let named = found.into_iter().filter_map(|path| {
        let name = path.strip_prefix(project()).unwrap().to_str().unwrap().replace('\\', "/");
        Some(Source { name, text: fs::read_to_string(&path).ok()? })
    });
    named.collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        let skipped = name.starts_with("target") || name == ".git" || name == "proptest-regressions";
        match path.is_dir() {
            true if !skipped => walk(&path, found),
            true => {}
            false if name != ".git" => found.push(path),
            false => {}
        }
    }
}

fn rust() -> Vec<Source> {
    sources(|extension| extension == "rs")
}

fn product() -> Vec<Source> {
    rust().into_iter().filter(Source::is_product).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(project().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The line and the names of `crate::a`, `crate::{a, b::c}` and `forebay::a` of one piece of code without comments.
fn rooms_named(code: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for start in ["crate::", "forebay::"] {
        for (at, _) in code.match_indices(start) {
            let (before, found) = code.split_at(at);
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = found.strip_prefix(start).unwrap_or(found);
            let line = before.matches('\n').count() + 1;
            match rest.strip_prefix('{') {
                Some(list) => named.extend(first_level(list).into_iter().map(|name| (line, name))),
                None => named.push((line, path_of(rest))),
            }
        }
    }
    named
}

/// The paths between the braces of a `use` list, down to the first inner brace.
fn first_level(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut item = String::new();
    let mut items = Vec::new();
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    items.push(item);
    items.iter().map(|item| path_of(item.trim())).filter(|path| !path.is_empty()).collect()
}

fn path_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect()
}

#[test]
fn every_file_opens_with_what_it_answers() {
    let mut violations = Violations::default();
    for source in rust() {
        if !source.text.starts_with("//!") {
            violations.add(&source.name, "does not open with `//!`", "say first what the file answers, and what not");
        }
    }
    violations.none();
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    let mut violations = Violations::default();
    for source in rust() {
        let lines = source.product().count();
        if lines > FILE_LINES_MAX {
            let rule = format!("{lines} lines before its tests, {FILE_LINES_MAX} are allowed");
            violations.add(&source.name, &rule, "find the second subject in it and give it a file of its own");
        }
    }
    violations.none();
}

#[test]
fn nothing_is_left_for_later_and_no_lint_is_silenced() {
    let mut violations = Violations::default();
    for source in product() {
        for (place, line) in source.product() {
            for (word, remedy) in WORDS.iter().filter(|(word, _)| line.contains(word)) {
                violations.add(&place, &format!("holds `{word}`"), remedy);
            }
        }
    }
    violations.none();
}

#[test]
fn a_room_names_only_rooms_that_lie_downhill() {
    let mut violations = Violations::default();
    for source in product() {
        let Some(room) = source.room().filter(|room| *room != "lib") else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            let remedy = "give it its arrows in ROOMS (tests/tidy.rs) and its line in ARCHITECTURE.md";
            violations.add(&source.name, &format!("room `{room}` is unknown"), remedy);
            continue;
        };
        let code = source.code_with_gaps();
        for (line, path) in rooms_named(&code) {
            let (other, rest) = path.split_once("::").unwrap_or((&path, ""));
            if other == room || !ROOMS.iter().any(|(name, _)| *name == other) {
                continue;
            }
            let place = format!("{}:{line}", source.name);
            if !allowed.contains(&other) {
                let remedy = format!("`{room}` may name {allowed:?}: move the code, or pass in what it needs");
                violations.add(&place, &format!("`{room}` names `{other}`, which lies uphill or beside"), &remedy);
            } else if PLAN_ONLY.contains(&room) && other == "config" && !rest.starts_with("plan") {
                violations.add(&place, &format!("`{room}` names `config::{rest}`"), "a leaf reads `config::plan` only");
            }
        }
    }
    violations.none();
}

#[test]
fn the_files_of_a_folder_import_each_other_in_no_circle() {
    let mut violations = Violations::default();
    let sources = product();
    let crates = PURE.iter().map(|name| format!("crates/{name}/src/")).chain(["src/".to_owned()]);
    for folder in crates {
        let of = |source: &Source| Some((circles::module(&source.name, &folder)?, source.code_with_gaps()));
        let modules: BTreeMap<String, String> = sources.iter().filter_map(of).collect();
        for circle in circles::find(&modules) {
            let remedy = "move what two of them share into a file below both, or what needs the higher one up into it";
            violations.add(&folder, &format!("{} import each other in a circle", circle.join(", ")), remedy);
        }
    }
    violations.none();
}

#[test]
fn only_one_file_reads_the_clock_and_one_throws_dice() {
    let mut violations = Violations::default();
    for source in product().iter().filter(|source| !source.is_demo()) {
        for (place, line) in source.code() {
            for (word, home) in CLOCK_AND_DICE.iter().filter(|(word, home)| line.contains(word) && source.name != *home)
            {
                let remedy = format!("take the moment or the number as an argument; only {home} asks for it");
                violations.add(&place, &format!("calls `{word}`"), &remedy);
            }
        }
    }
    violations.none();
}

#[test]
fn pure_crates_can_do_no_io() {
    let mut violations = Violations::default();
    let remedy = "do the IO in src/, and pass in what the crate needs";
    let io = ["std::fs", "std::net::Tcp", "std::net::Udp", "std::thread", "std::process", "std::env"];
    for pure in PURE {
        let manifest = format!("crates/{pure}/Cargo.toml");
        let text = read(&manifest);
        let dependencies = text.split("[dev-dependencies]").next().unwrap();
        for name in ["tokio", "hyper", "hyper-util", "socket2", "mio", "rustix", "fastrand", "rand"] {
            if dependencies.lines().any(|line| line.split(['=', '.', ' ']).next() == Some(name)) {
                violations.add(&manifest, &format!("depends on `{name}`"), remedy);
            }
        }
        let folder = format!("crates/{pure}/");
        for source in product().iter().filter(|source| source.name.starts_with(&folder)) {
            for (place, line) in source.code() {
                for word in io.iter().filter(|word| line.contains(**word)) {
                    violations.add(&place, &format!("names `{word}`"), remedy);
                }
            }
        }
    }
    violations.none();
}

#[test]
fn the_map_of_the_house_shows_every_room() {
    let mut violations = Violations::default();
    let map = read("ARCHITECTURE.md");
    let shown: BTreeSet<&str> = map.split(|c: char| !(c.is_alphanumeric() || "_.-".contains(c))).collect();
    for folder in ["src", "crates/policy/src"] {
        for entry in fs::read_dir(project().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !shown.contains(name.as_str()) && !shown.contains(name.trim_end_matches(".rs")) {
                let place = format!("{folder}/{name}");
                violations.add(&place, "is not in ARCHITECTURE.md", "say there in one line what it is for");
            }
        }
    }
    for (room, _) in ROOMS {
        if !shown.contains(room) && !shown.contains(format!("{room}.rs").as_str()) {
            violations.add("ARCHITECTURE.md", &format!("does not name the room `{room}`"), "say what it is for");
        }
    }
    violations.none();
}

#[test]
fn the_map_of_the_house_shows_no_file_that_is_gone() {
    let mut violations = Violations::default();
    let map = read("ARCHITECTURE.md");
    for name in map.split('`').skip(1).step_by(2) {
        let is_file = name.split_once('/').is_some_and(|(room, file)| {
            ROOMS.iter().any(|(known, _)| *known == room) && file.chars().all(|c| c.is_alphanumeric() || c == '_')
        });
        if is_file && !project().join(format!("src/{name}.rs")).exists() {
            violations.add("ARCHITECTURE.md", &format!("names `{name}`, which is not there"), "say where it went");
        }
    }
    violations.none();
}

#[test]
fn no_text_is_tied_to_a_machine() {
    let mut violations = Violations::default();
    for source in sources(|extension| TEXT.contains(&extension)) {
        for (place, line) in source.lines() {
            for word in MACHINES.iter().filter(|word| line.contains(**word)) {
                violations.add(&place, &format!("holds `{word}`"), "use a path of the project, or none");
            }
        }
    }
    violations.none();
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut violations = Violations::default();
    for source in sources(|extension| extension == "md") {
        let folder = project().join(&source.name).parent().unwrap().to_path_buf();
        for (place, line) in source.lines() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
                let file = target.split('#').next().unwrap();
                if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                    violations.add(&place, &format!("links to `{target}`, which is not there"), "mend the link");
                }
            }
        }
    }
    violations.none();
}

#[test]
fn rooms_are_found_in_every_way_of_naming_them() {
    let code = "use crate::proxy;\nuse crate::{config::plan::{Plan, Route}, telemetry};\nlet x = crate::server::start();\n\
                use policy_crate::nothing;\npub(crate) fn f() {}\n";
    let expected = [(1, "proxy"), (2, "config::plan::"), (2, "telemetry"), (3, "server::start")];
    let named = rooms_named(code);
    let named: Vec<(usize, &str)> = named.iter().map(|(line, path)| (*line, path.as_str())).collect();
    assert_eq!(named.len(), expected.len(), "{named:?}");
    assert!(expected.iter().all(|one| named.contains(one)), "{named:?}");
}
