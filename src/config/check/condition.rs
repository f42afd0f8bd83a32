//! Checks the conditions of a route: which requests match it.

use std::collections::{BTreeSet, HashMap};

use policy::route::{HostPattern, PathPattern, RouteRule};

use super::{is_host_name, is_token, warnings};
use crate::config::document::{Section, Text};
use crate::config::grammar::{field_name, is_bracketed, method};

/// The most memory of a compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The conditions of all routes so far, to find routes that can never match.
#[derive(Default)]
pub(super) struct Seen(HashMap<(String, Rest), String>);

/// All conditions but the host, in normal form.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Rest {
    path: String,
    methods: BTreeSet<String>,
    headers: BTreeSet<(String, String)>,
    query: BTreeSet<(String, String)>,
    cookies: BTreeSet<(String, String)>,
}

impl Seen {
    /// Adds a rule. Returns the name of an earlier route, if earlier routes with the same conditions have all of its
    /// hosts, so that the new one can never match.
    pub(super) fn note(&mut self, rule: &RouteRule, label: &str) -> Option<String> {
        let rest = Rest {
            path: path_text(&rule.path),
            methods: rule.methods.iter().map(ToString::to_string).collect(),
            headers: rule.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            query: rule.query.iter().cloned().collect(),
            cookies: rule.cookies.iter().cloned().collect(),
        };
        let mut hosts: BTreeSet<String> = rule.hosts.iter().map(host_text).collect();
        if hosts.is_empty() {
            hosts.insert("*".to_owned());
        }
        let taken: Vec<_> = hosts.iter().map(|host| self.0.get(&(host.clone(), rest.clone())).cloned()).collect();
        for host in hosts {
            self.0.entry((host, rest.clone())).or_insert_with(|| label.to_owned());
        }
        taken.into_iter().collect::<Option<Vec<_>>>()?.into_iter().next()
    }
}

/// Reads the conditions of a route.
pub(super) fn rule(section: &Section<'_>) -> RouteRule {
    let headers = section.pairs("headers").into_iter().filter_map(|(written, text)| {
        field_name(section, written.get_ref(), written.span()).map(|name| (name, text.value))
    });
    let plain = |key| section.pairs(key).into_iter().map(|(name, text)| (name.into_inner().to_owned(), text.value));
    for key in ["host", "methods"].into_iter().filter(|key| section.is_empty_list(key)) {
        let hint = "leave it out to match all";
        section.report.add(section.at(key), format!("{key} is empty: nothing would match"), hint);
    }
    RouteRule {
        hosts: section.texts("host").iter().filter_map(|text| host(section, text)).collect(),
        path: path(section),
        methods: section.texts("methods").iter().filter_map(|text| method(section, text)).collect(),
        headers: headers.collect(),
        query: plain("query").collect(),
        cookies: plain("cookies").collect(),
    }
}

/// The path condition in the syntax of the file.
pub(super) fn path_text(path: &PathPattern) -> String {
    match path {
        PathPattern::Prefix(prefix) => prefix.clone(),
        PathPattern::Exact(exact) => format!("={exact}"),
        PathPattern::Regex(regex) => format!("~{regex}"),
    }
}

/// The host condition in the syntax of the file.
pub(super) fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(exact) => exact.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

/// Parses an exact host, or `*.` and a domain, to lower case.
fn host(section: &Section<'_>, text: &Text) -> Option<HostPattern> {
    let host = text.value.to_ascii_lowercase();
    let hint = match host.strip_prefix('*') {
        Some("") => "leave host out to match every host",
        Some(suffix) if suffix.strip_prefix('.').is_some_and(is_host_name) => {
            return Some(HostPattern::Suffix(suffix.to_owned()));
        }
        Some(_) => "write \"*.example.com\": a whole label at the front",
        None if is_host_name(&host) || is_bracketed(&host) => return Some(HostPattern::Exact(host)),
        None if !host.is_ascii() => "write it in ASCII: \"xn--…\"",
        None if host.contains(':') => "write it without scheme and port",
        None => "write \"shop.example.com\" or \"*.example.com\"",
    };
    section.report.add(text.span.clone(), format!("{text} is no host"), hint);
    None
}

fn path(section: &Section<'_>) -> PathPattern {
    let everything = || PathPattern::Prefix("/".to_owned());
    let Some(text) = section.text("path") else { return everything() };
    warnings::foreign_path(section, &text);
    if let Some(pattern) = text.value.strip_prefix('~') {
        return regex(section, &text, pattern).unwrap_or_else(everything);
    }
    let exact = text.value.strip_prefix('=');
    check_path(section, "path", &text, exact.unwrap_or(&text.value));
    match exact {
        Some(exact) => PathPattern::Exact(exact.to_owned()),
        None => PathPattern::Prefix(without_last_slash(&text.value)),
    }
}

fn regex(section: &Section<'_>, text: &Text, pattern: &str) -> Option<PathPattern> {
    match regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build() {
        Ok(regex) => Some(PathPattern::Regex(regex)),
        Err(error) => {
            // Only the last line has the cause: the lines before it repeat the pattern, which may contain a secret.
            let whole = error.to_string();
            let reason = whole.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            section.report.add(text.span.clone(), "path is no regular expression", reason);
            None
        }
    }
}

/// Reports a path that no request can have: it must start with `/`, without query and dot segments.
pub(super) fn check_path(section: &Section<'_>, key: &str, text: &Text, path: &str) {
    let hint = if !path.starts_with('/') {
        "paths start with a slash: \"/api\""
    } else if path.contains(['?', '#']) {
        "leave query and fragment out; query = { name = \"value\" } matches a query"
    } else if path.split('/').any(|segment| segment == "." || segment == "..") {
        "leave . and .. out: requests are matched without them"
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        "write other characters percent-encoded: %20"
    } else {
        return;
    };
    section.report.add(text.span.clone(), format!("{key} can't be {text}"), hint);
}

/// Removes a final slash: prefixes match whole segments, so that `/api/` and `/api` are the same.
pub(super) fn without_last_slash(path: &str) -> String {
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path).to_owned()
}

/// Reports cookie names that no cookie can have (RFC 6265 §4.1.1).
pub(super) fn check_cookies(section: &Section<'_>) {
    for (name, _) in section.pairs("cookies").iter().filter(|(name, _)| !is_token(name.get_ref())) {
        section.report.add(name.span(), "this is no name of a cookie", "letters, digits and - _ without blanks");
    }
}
