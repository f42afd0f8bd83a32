//! Checks `[route.cache]`.

use policy::cache::freshness::TtlRules;
use policy::cache::lookup::StaleRules;
use policy::cache::storable::Exceptions;

use super::{Context, write_back};
use crate::config::document::Section;
use crate::config::keys::cache::{Mode, RouteCacheKeys};
use crate::config::plan::RouteCache;
use crate::config::value::Value as _;

/// How a route caches; `None`: it does not. Problems are reported in either case.
pub(super) fn of_route(route: &Section<'_>, context: &Context<'_>) -> Option<RouteCache> {
    let section = route.has("cache").then(|| route.section("cache"))?;
    // All keys are checked, also with `mode = "off"`.
    let keys = RouteCacheKeys::read(route, "cache");
    check_sides(route, &section, keys.mode);
    Some(RouteCache {
        ttl: TtlRules {
            forced: keys.ttl_force,
            by_status: keys.ttl_status,
            fallback: keys.ttl,
            heuristic_max: keys.heuristic_max,
        },
        stale: StaleRules { while_revalidate: keys.stale_while_revalidate, if_error: keys.stale_if_error },
        exceptions: Exceptions { set_cookie: keys.store_set_cookie, private: keys.store_private },
        key: keys.key,
        tags_headers: keys.tags_header,
        mode: write_back::mode(&section, keys.mode, keys.write_back, context)?,
    })
}

/// Reports keys that have no effect without a split, or are not possible with one.
fn check_sides(route: &Section<'_>, section: &Section<'_>, mode: Option<Mode>) {
    let is_split = route.has("split");
    if !is_split && section.has("share_sides") {
        section.report.add(section.at("share_sides"), "share_sides has no effect", "it is for routes with split");
    }
    if is_split && mode == Some(Mode::Back) {
        let hint = "a write would be read back on one side only; use write-through or cache-aside";
        section.report.add(section.at("mode"), "a route with split can't queue writes", hint);
    }
}
