//! `mode` of a route's cache, and `[route.cache.write_back]`: what becomes of writes.

use std::num::{NonZeroU32, NonZeroUsize};

use http::{HeaderName, Method};

use super::{Ground, cache, header};
use crate::config::document::Section;
use crate::config::plan::{CacheMode, Durability, OnDiskError, RouteCache, WriteBack, WriteRetry};
use crate::config::units;

/// Request fields that are judged or written when a write is taken or sent, so that keeping them would mislead: the
/// conditions and ranges of RFC 9110 §13 and §14, `Expect`, and forebay's own.
const NOT_KEPT: [&str; 9] = [
    "expect",
    "forebay-write",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// The words of `mode`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Aside,
    Through,
    Back,
}

/// What becomes of writes; `None`: the route does not cache. What is wrong is reported in either case.
pub(super) fn mode(section: &Section<'_>, ground: &Ground<'_>) -> Option<CacheMode> {
    let words = [
        ("cache-aside", Mode::Aside),
        ("write-through", Mode::Through),
        ("write-back", Mode::Back),
        ("off", Mode::Off),
    ];
    let mode = section.choice("mode", &words);
    let write_back = write_back(&section.section("write_back"), ground);
    if section.has("write_back") && matches!(mode, Some(Mode::Aside | Mode::Through)) {
        let hint = "it is for mode = \"write-back\"";
        section.report.add(section.at("write_back"), "write_back has no effect", hint);
    }
    match mode {
        Some(Mode::Off) => None,
        Some(Mode::Aside) | None => Some(CacheMode::Aside),
        Some(Mode::Through) => {
            if !["ttl", "ttl_force"].into_iter().any(|time| section.has(time)) {
                let hint = "say for how long: add ttl = \"1m\"";
                section.report.add(section.at("mode"), "write-through has no time to store for", hint);
            }
            Some(CacheMode::Through)
        }
        Some(Mode::Back) => {
            if !ground.has_state_dir {
                let hint = "name a directory: state_dir = \"/var/lib/forebay\" in [server]";
                section.report.add(section.at("mode"), "write-back has nowhere to keep its journal", hint);
            }
            Some(CacheMode::Back(write_back))
        }
    }
}

fn write_back(section: &Section<'_>, ground: &Ground<'_>) -> WriteBack {
    let half = ground.cache.memory_max / 2;
    let pending_bytes_max = at_most(section, "pending_bytes_max", &[("half of the cache's memory_max", half)]);
    let bounds =
        [("pending_bytes_max", pending_bytes_max), ("the cache's object_bytes_max", ground.cache.object_bytes_max)];
    let durability = [("fsync", Durability::Fsync), ("batch-5ms", Durability::Batch), ("os", Durability::Os)];
    let on_disk_error = [("refuse", OnDiskError::Refuse), ("through", OnDiskError::Through)];
    WriteBack {
        flush_interval: section.duration("flush_interval"),
        pending_bytes_max,
        body_bytes_max: at_most(section, "body_bytes_max", &bounds),
        durability: section.choice("durability", &durability).unwrap_or(Durability::Fsync),
        ack_timeout: section.duration("ack_timeout"),
        retry: retry(&section.section("retry")),
        queue: queue(section),
        keep_headers: keep_headers(section),
        on_disk_error: section.choice("on_disk_error", &on_disk_error).unwrap_or(OnDiskError::Refuse),
        concurrency: NonZeroUsize::new(section.number("concurrency")).unwrap_or(NonZeroUsize::MIN),
        rate_max: NonZeroU32::new(section.number("rate_max")),
        timeout: section.duration("timeout"),
    }
}

/// A size that must fit into others. The default gives way, so that small bounds can stand alone.
fn at_most(section: &Section<'_>, name: &str, bounds: &[(&str, u64)]) -> u64 {
    let size = section.size(name);
    for (bound, most) in bounds.iter().filter(|(_, most)| size > *most && section.has(name)) {
        let hint = format!("at most {}", units::size_text(*most));
        section.report.add(section.at(name), format!("{name} is more than {bound}"), hint);
    }
    bounds.iter().fold(size, |size, (_, most)| size.min(*most))
}

fn retry(section: &Section<'_>) -> WriteRetry {
    let (base, max) = (section.duration("base"), section.duration("max"));
    if base > max {
        let hint = format!("base is {}, max {}", units::duration_text(base), units::duration_text(max));
        let at = if section.has("base") { "base" } else { "max" };
        section.report.add(section.at(at), "the first wait is longer than the longest", hint);
    }
    WriteRetry { base, max, attempts: section.number("attempts") }
}

fn queue(section: &Section<'_>) -> Vec<Method> {
    let mut methods = Vec::new();
    for text in section.texts("queue") {
        let method = match text.value.as_str() {
            "POST" => Some(Method::POST),
            "PATCH" => Some(Method::PATCH),
            _ => None,
        };
        if method.is_none() {
            let hint = "POST or PATCH; PUT and DELETE are kept in any case";
            section.report.add(text.span.clone(), format!("{text} can't be queued"), hint);
        }
        methods.extend(method.filter(|method| !methods.contains(method)));
    }
    methods
}

fn keep_headers(section: &Section<'_>) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = Vec::new();
    for name in cache::field_names(section, "keep_headers") {
        if NOT_KEPT.contains(&name.as_str()) || header::is_reserved(&name) {
            let hint = "leave it out: it is acted on when the write comes, or written anew when it is sent";
            section.report.add(section.at("keep_headers"), format!("{name} can't be kept"), hint);
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Reports the route with which the writes that may wait, all routes together, are more than the memory bears: what
/// waits can't make room.
pub(super) fn check_sum(route: &Section<'_>, cache: &RouteCache, ground: &Ground<'_>, sum: &mut u64) {
    let CacheMode::Back(write_back) = &cache.mode else { return };
    let (before, half) = (*sum, ground.cache.memory_max / 2);
    *sum = before.saturating_add(write_back.pending_bytes_max);
    if before <= half && *sum > half {
        let hint = format!("at most {} for all routes, or raise the cache's memory_max", units::size_text(half));
        let cause = "the pending_bytes_max of all routes up to this are more than half of memory_max";
        route.report.add(route.at("cache"), cause, hint);
    }
}
