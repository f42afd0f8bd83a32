//! Checks `mode` of a route's cache and `[route.cache.write_back]` against other tables.

use super::Context;
use crate::config::document::Section;
use crate::config::keys::cache::Mode;
use crate::config::plan::{CacheMode, RouteCache, WriteBack};
use crate::config::units;

/// How a route handles writes; `None`: it does not cache. Problems are reported in either case.
pub(super) fn mode(
    section: &Section<'_>,
    mode: Option<Mode>,
    write_back: WriteBack,
    context: &Context<'_>,
) -> Option<CacheMode> {
    let write_back = bounded(&section.section("write_back"), write_back, context);
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
            if !context.has_state_dir {
                let hint = "name a directory: state_dir = \"/var/lib/forebay\" in [server]";
                section.report.add(section.at("mode"), "write-back has nowhere to keep its journal", hint);
            }
            Some(CacheMode::Back(write_back))
        }
    }
}

/// Checks sizes against those of the cache. A default that is too large is lowered, so that a small `memory_max` needs
/// no other keys.
fn bounded(section: &Section<'_>, write_back: WriteBack, context: &Context<'_>) -> WriteBack {
    let half = context.cache.memory_max / 2;
    let at_most = |key, size: u64, bounds: &[(&str, u64)]| {
        for (bound, most) in bounds.iter().filter(|(_, most)| size > *most && section.has(key)) {
            let hint = format!("at most {}", units::size_text(*most));
            section.report.add(section.at(key), format!("{key} is more than {bound}"), hint);
        }
        bounds.iter().fold(size, |size, (_, most)| size.min(*most))
    };
    let pending = [("half of the cache's memory_max", half)];
    let pending_bytes_max = at_most("pending_bytes_max", write_back.pending_bytes_max, &pending);
    let body =
        [("pending_bytes_max", pending_bytes_max), ("the cache's object_bytes_max", context.cache.object_bytes_max)];
    let body_bytes_max = at_most("body_bytes_max", write_back.body_bytes_max, &body);
    WriteBack { pending_bytes_max, body_bytes_max, ..write_back }
}

/// Reports the route with which the `pending_bytes_max` of all routes so far exceed half of the cache's memory: pending
/// writes can't be evicted.
pub(super) fn check_sum(route: &Section<'_>, cache: &RouteCache, context: &Context<'_>, sum: &mut u64) {
    let CacheMode::Back(write_back) = &cache.mode else { return };
    let (before, half) = (*sum, context.cache.memory_max / 2);
    *sum = before.saturating_add(write_back.pending_bytes_max);
    if before <= half && *sum > half {
        let hint = format!("at most {} for all routes, or raise the cache's memory_max", units::size_text(half));
        let cause = "the pending_bytes_max of all routes up to this are more than half of memory_max";
        route.report.add(route.at("cache"), cause, hint);
    }
}
