//! Checks `[[route]]`.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use policy::route::template::{BadTemplate, Template, WORDS};
use policy::route::{PathPattern, RouteRule, Table};

use super::condition::{self, Seen, check_path, without_last_slash};
use super::{Context, cache, header, mirror, name, split, upstream, write_back};
use crate::config::document::{Section, Text};
use crate::config::plan::{Action, Redirect, Respond, Route, Upstream};
use crate::config::problem::nearest;
use crate::config::value::Value as _;

/// The keys of which a route has exactly one.
const ACTIONS: [&str; 5] = ["upstream", "backends", "split", "redirect", "respond"];

/// The keys that have an effect only on requests that are forwarded.
const FORWARDING: [&str; 7] =
    ["strip_prefix", "add_prefix", "rewrite", "set_request_headers", "remove_request_headers", "cache", "mirror"];

/// Checks all routes. A route with `backends` gets its own upstream, which is added to `upstreams`.
pub(super) fn all(
    sections: &[Section<'_>],
    context: &Context<'_>,
    upstreams: &mut Vec<Upstream>,
) -> (Vec<Route>, Table) {
    let mut names = given_names(sections);
    let mut seen = Seen::default();
    let mut pending_bytes = 0;
    let (mut routes, mut rules) = (Vec::new(), Vec::new());
    for (index, section) in sections.iter().enumerate() {
        let before = section.report.count();
        let rule = condition::rule(section);
        condition::check_cookies(section);
        if context.merges_slashes {
            check_runs(section);
        }
        // A malformed condition is read as none, and could look like the conditions of another route.
        let sound = section.report.count() == before;
        let name = match section.text("name") {
            Some(text) => name(section, &text),
            None => default_name(&rule, index + 1, &mut names),
        };
        let label = label(section);
        if let Some(first) = sound.then(|| seen.note(&rule, &label)).flatten() {
            let cause = format!("route {label} can never match");
            section.report.add(section.span.clone(), cause, format!("route {first} before it has the same conditions"));
        }
        let action = action(section, &name, &rule.path, upstreams);
        let mirror = mirror::of_route(section, action.as_ref(), upstreams);
        if let Some(route) = route(section, name, action, &rule, context) {
            if let Some(cache) = &route.cache {
                write_back::check_sum(section, cache, context, &mut pending_bytes);
            }
            routes.push(Route { mirror, ..route });
            rules.push(rule);
        }
    }
    (routes, Table::new(rules))
}

/// The name of a route in problems: its name, or else its path, as written.
fn label(section: &Section<'_>) -> String {
    section.text("name").or_else(|| section.text("path")).map_or_else(String::new, |text| text.to_string())
}

/// All names of routes in the file. One that occurs twice is reported.
fn given_names(sections: &[Section<'_>]) -> HashSet<String> {
    let mut names = HashSet::new();
    for (section, text) in sections.iter().filter_map(|section| section.text("name").map(|text| (section, text))) {
        if !names.insert(text.value.clone()) {
            section.report.add(text.span.clone(), format!("route {text} is defined twice"), "rename one");
        }
    }
    names
}

/// The name of a route without one: its path; if that is taken, with its first host in front; if that is taken, too,
/// with its number behind.
fn default_name(rule: &RouteRule, number: usize, names: &mut HashSet<String>) -> Arc<str> {
    let path = condition::path_text(&rule.path);
    let host = rule.hosts.first().map(condition::host_text).unwrap_or_default();
    let numbered = (number..).map(|number| format!("{host}{path} ({number})"));
    let candidates = [path.clone(), format!("{host}{path}")].into_iter().chain(numbered);
    let free = candidates.into_iter().find(|candidate| !names.contains(candidate)).unwrap_or_default();
    names.insert(free.clone());
    Arc::from(free)
}

/// Reports paths with runs of slashes, which can't match because runs are merged before.
fn check_runs(section: &Section<'_>) {
    for key in ["path", "strip_prefix"] {
        let text = section.text(key).filter(|text| !text.value.starts_with('~') && text.value.contains("//"));
        if let Some(text) = text {
            let hint = "routes match with runs of slashes merged: write one, or server.merge_slashes = \"off\"";
            section.report.add(text.span.clone(), format!("{key} {text} can never match"), hint);
        }
    }
}

/// Reads the rest of a route, except its mirror. It is checked also when the action is wrong.
fn route(
    section: &Section<'_>,
    name: Arc<str>,
    action: Option<Action>,
    rule: &RouteRule,
    context: &Context<'_>,
) -> Option<Route> {
    match action {
        Some(Action::Forward(_) | Action::Split(_)) | None => (),
        Some(Action::Redirect(_) | Action::Respond(_)) => {
            for key in FORWARDING.into_iter().filter(|key| section.has(key)) {
                let hint = "it is for requests that go to an upstream";
                section.report.add(section.at(key), format!("{key} has no effect"), hint);
            }
        }
    }
    let strip_prefix = prefix(section, "strip_prefix");
    if strip_prefix.as_ref().is_some_and(|strip| never_strips(strip, &rule.path)) {
        let hint = "it must be the front of the route's path";
        section.report.add(section.at("strip_prefix"), "strip_prefix never fits", hint);
    }
    let add_prefix = prefix(section, "add_prefix");
    let rewrite = rewrite(section, &rule.path);
    let request_headers = header::edits(section, "set_request_headers", "remove_request_headers");
    let response_headers = header::edits(section, "set_response_headers", "remove_response_headers");
    let cache = cache::of_route(section, context).map(Arc::new);
    let is_conditional =
        !(rule.methods.is_empty() && rule.headers.is_empty() && rule.query.is_empty() && rule.cookies.is_empty());
    let action = action?;
    Some(Route {
        name,
        action,
        cache,
        mirror: None,
        is_conditional,
        strip_prefix,
        add_prefix,
        rewrite,
        request_headers,
        response_headers,
    })
}

fn prefix(section: &Section<'_>, key: &str) -> Option<String> {
    let text = section.text(key)?;
    check_path(section, key, &text, &text.value);
    Some(without_last_slash(&text.value)).filter(|prefix| prefix != "/")
}

/// Whether no path that matches the pattern can start with this prefix.
fn never_strips(strip: &str, path: &PathPattern) -> bool {
    let starts_with = |path: &str, front: &str| {
        front == "/" || path.strip_prefix(front).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match path {
        PathPattern::Prefix(prefix) => !starts_with(prefix, strip) && !starts_with(strip, prefix),
        PathPattern::Exact(exact) => !starts_with(exact, strip),
        PathPattern::Regex(_) => false,
    }
}

/// Reads the action of a route. `None`: the route has none or several, which is reported.
fn action(section: &Section<'_>, name: &Arc<str>, path: &PathPattern, upstreams: &mut Vec<Upstream>) -> Option<Action> {
    let split = split::of_route(section, name, upstreams).map(|split| Action::Split(Arc::new(split)));
    let mut given = ACTIONS.into_iter().filter(|key| section.has(key));
    let Some(first) = given.next() else {
        let hint = "add one of upstream, backends, split, redirect, respond";
        section.report.add(section.span.clone(), format!("route {} does nothing", label(section)), hint);
        return None;
    };
    for second in given {
        let cause = format!("a route can't have both {first} and {second}");
        section.report.add(section.at(second), cause, "leave one out");
    }
    let in_place = section.has("backends").then(|| in_place(section, name, upstreams));
    let named = upstream::named(section, "upstream", upstreams);
    let redirect = section.has("redirect").then(|| redirect(&section.section("redirect"), path)).flatten();
    let respond = Option::<Respond>::read(section, "respond");
    let forward = named.or(in_place).map(Action::Forward);
    forward.or(split).or(redirect.map(Action::Redirect)).or(respond.map(Action::Respond))
}

fn in_place(section: &Section<'_>, name: &Arc<str>, upstreams: &mut Vec<Upstream>) -> usize {
    if upstreams.iter().any(|upstream| upstream.name == *name) {
        let cause = format!("the backends of route {} have the name of an upstream", label(section));
        section.report.add(section.at("backends"), cause, "rename the route, or forward to the upstream by name");
    }
    upstreams.push(upstream::in_place(section, Arc::clone(name)));
    upstreams.len() - 1
}

fn redirect(section: &Section<'_>, path: &PathPattern) -> Option<Redirect> {
    let status = section.count::<u16>("status")?;
    let known = [301, 302, 303, 307, 308].contains(status.get_ref());
    if !known {
        section.report.add(status.span(), format!("{} is no redirect", status.get_ref()), "301, 302, 303, 307 or 308");
    }
    let text = section.text("to")?;
    let to = template(section, &text, path);
    if !["https://", "http://", "{scheme}://", "/", "{path}"].iter().any(|front| text.value.starts_with(front)) {
        let hint = "start with https://, http://, {scheme}:// or /";
        section.report.add(text.span.clone(), format!("{text} is no target of a redirect"), hint);
    }
    Some(Redirect { status: StatusCode::from_u16(status.into_inner()).ok()?, to: to? })
}

/// The path and query that backends see instead of the client's.
fn rewrite(section: &Section<'_>, path: &PathPattern) -> Option<Template> {
    let text = section.text("rewrite")?;
    for other in ["strip_prefix", "add_prefix"].into_iter().filter(|key| section.has(key)) {
        let cause = format!("a route can't have both rewrite and {other}");
        section.report.add(section.at("rewrite"), cause, "leave one out");
    }
    if !text.value.starts_with('/') && !text.value.starts_with("{path}") || text.value.contains('#') {
        let hint = "start with a slash: rewrite = \"/v2{path}{query}\"";
        section.report.add(text.span.clone(), format!("{text} is no path"), hint);
    }
    template(section, &text, path)
}

/// Parses a template: visible ASCII, with variables and groups of the route's pattern in braces.
fn template(section: &Section<'_>, text: &Text, path: &PathPattern) -> Option<Template> {
    let pattern = match path {
        PathPattern::Regex(regex) => Some(regex),
        PathPattern::Prefix(_) | PathPattern::Exact(_) => None,
    };
    let words = || WORDS.map(|word| format!("{{{word}}}")).join(", ");
    let parsed = Template::parse(&text.value, pattern);
    let (cause, hint) = match &parsed {
        Ok(_) if text.value.bytes().all(|byte| byte.is_ascii_graphic()) => return parsed.ok(),
        Ok(_) => ("other characters than visible ASCII", "write them percent-encoded: %20".to_owned()),
        Err(BadTemplate::Brace) => ("a brace without its partner", format!("in braces may stand {}", words())),
        Err(BadTemplate::Word(word)) if word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty() => (
            "a group, but path is no pattern",
            "write path = \"~^/old/(.*)$\": {1} is what its first group matches".to_owned(),
        ),
        Err(BadTemplate::Word(word)) => {
            let near = nearest(word, WORDS).map(|near| format!("did you mean {{{near}}}?"));
            ("an unknown word in braces", near.unwrap_or_else(|| format!("in braces may stand {}", words())))
        }
        Err(BadTemplate::Group(word)) => {
            let near = nearest(word, WORDS).map(|near| format!("did you mean {{{near}}}?"));
            let groups = || format!("in braces may stand {}, or a group of path by number or name", words());
            ("an unknown word in braces", near.unwrap_or_else(groups))
        }
    };
    section.report.add(text.span.clone(), format!("{text} has {cause}"), hint);
    None
}
