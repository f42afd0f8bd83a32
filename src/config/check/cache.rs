//! `[cache]` and `[route.cache]`: what is shared, and how each route caches.

use std::time::Duration;

use http::{HeaderName, StatusCode};
use policy::cache::freshness::TtlRules;
use policy::cache::key::{self, Pattern};
use policy::cache::lookup::StaleRules;
use policy::cache::storable::Exceptions;

use super::{Ground, header, is_token, networks, write_back};
use crate::config::document::{Section, Text};
use crate::config::plan::{Cache, CacheMode, RouteCache};
use crate::config::units;

/// The keys that give a route a time of its own.
const TIMES: [&str; 3] = ["ttl", "ttl_force", "ttl_status"];

/// What all caching routes share.
pub(super) fn shared(section: &Section<'_>) -> Cache {
    let memory_max = section.size("memory_max");
    Cache {
        memory_max,
        object_bytes_max: within_quarter(section, "object_bytes_max", memory_max),
        purge_from: networks(section, "purge_from"),
        wait_max: section.duration("wait_max"),
        waiting_max: section.number("waiting_max"),
        pass_for: section.duration("pass_for"),
        lead_bytes_max: within_quarter(section, "lead_bytes_max", memory_max),
    }
}

/// A size of which four must fit into the memory, or one would push out nearly all others. The default gives way, so
/// that a small `memory_max` can stand alone.
fn within_quarter(section: &Section<'_>, name: &str, memory_max: u64) -> u64 {
    let (size, quarter) = (section.size(name), memory_max / 4);
    if size > quarter && section.has(name) {
        let hint = format!("at most {}, or raise memory_max", units::size_text(quarter));
        section.report.add(section.at(name), format!("{name} is more than a quarter of memory_max"), hint);
    }
    size.min(quarter)
}

/// How a route caches; `None`: it does not. What is wrong is reported in either case.
pub(super) fn of_route(route: &Section<'_>, ground: &Ground<'_>) -> Option<RouteCache> {
    let section = route.has("cache").then(|| route.section("cache"))?;
    // Everything is looked at, also when the mode says that none of it counts.
    let mode = write_back::mode(&section, ground);
    check_sides(route, &section, mode.as_ref());
    let cache = RouteCache {
        mode: CacheMode::Aside,
        ttl: ttl(&section),
        stale: StaleRules {
            while_revalidate: given(&section, "stale_while_revalidate"),
            if_error: given(&section, "stale_if_error"),
        },
        exceptions: exceptions(&section),
        key: key_rules(&section.section("key")),
        tags_headers: field_names(&section, "tags_header"),
    };
    mode.map(|mode| RouteCache { mode, ..cache })
}

/// What a cache can't do, or can do only, with the sides of a split.
fn check_sides(route: &Section<'_>, section: &Section<'_>, mode: Option<&CacheMode>) {
    let is_split = route.has("split");
    if !is_split && section.has("share_sides") {
        section.report.add(section.at("share_sides"), "share_sides has no effect", "it is for routes with split");
    }
    if is_split && matches!(mode, Some(CacheMode::Back(_))) {
        let hint = "a write would be read back on one side only; use write-through or cache-aside";
        section.report.add(section.at("mode"), "a route with split can't queue writes", hint);
    }
}

fn ttl(section: &Section<'_>) -> TtlRules {
    TtlRules {
        forced: given(section, "ttl_force"),
        by_status: by_status(section),
        fallback: given(section, "ttl"),
        heuristic_max: section.duration("heuristic_max"),
    }
}

/// A duration that stays out when it is left out.
fn given(section: &Section<'_>, name: &str) -> Option<Duration> {
    section.has(name).then(|| section.duration(name))
}

fn by_status(section: &Section<'_>) -> Vec<(StatusCode, Duration)> {
    let mut times = Vec::new();
    for (written, time) in section.durations("ttl_status") {
        let status =
            written.get_ref().parse::<StatusCode>().ok().filter(|status| (200..600).contains(&status.as_u16()));
        match status {
            Some(StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) => {
                let hint = "leave it out: it brings a part of a response, or confirms a stored one";
                section.report.add(written.span(), format!("{} is not stored by itself", written.get_ref()), hint);
            }
            Some(status) => times.push((status, time)),
            None => {
                let hint = "write it as { 404 = \"10s\" }, within 200 and 599";
                section.report.add(written.span(), format!("{:?} is no final status", written.get_ref()), hint);
            }
        }
    }
    times
}

/// `store_private` holds where a time of the route counts, so without one it would be a promise that is not kept.
fn exceptions(section: &Section<'_>) -> Exceptions {
    let private = section.flag("store_private");
    if private && !TIMES.into_iter().any(|time| section.has(time)) {
        let hint = "it holds where a time of the route counts: add ttl, ttl_status or ttl_force";
        section.report.add(section.at("store_private"), "store_private has no effect", hint);
    }
    Exceptions { set_cookie: section.flag("store_set_cookie"), private }
}

fn key_rules(section: &Section<'_>) -> key::Rules {
    let query = section.section("query");
    key::Rules {
        sort_query: query.flag("sort"),
        drop_query: dropped(&query),
        headers: field_names(section, "headers"),
        cookies: cookies(section),
    }
}

fn dropped(query: &Section<'_>) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for text in query.texts("drop") {
        let pattern = Pattern::parse(&text.value);
        if pattern.is_none() {
            let hint = "write \"gclid\", or with one * for any text: \"utm_*\"";
            query.report.add(text.span.clone(), format!("{text} names no parameter"), hint);
        }
        patterns.extend(pattern);
    }
    patterns
}

fn cookies(section: &Section<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for text in section.texts("cookies") {
        if !is_token(&text.value) {
            let hint = "letters, digits and - _ without blanks";
            section.report.add(text.span.clone(), "this is no name of a cookie", hint);
        }
        names.push(text.value);
    }
    names
}

pub(super) fn field_names(section: &Section<'_>, name: &str) -> Vec<HeaderName> {
    let field = |text: &Text| header::field_name(section, &text.value, text.span.clone());
    section.texts(name).iter().filter_map(field).collect()
}
