//! From the document to the plan; every problem found on the way is reported.
//!
//! `keys` reads each table by itself; here are the rules that join tables, and what names in one table mean in another.
//! Each check returns something to go on with even when it has reported a problem; the plan is handed out only when the
//! report stayed empty.

use toml::de::DeTable;

use super::document::Section;
use super::grammar::{is_host_name, is_token, name};
use super::keys::Top;
use super::plan::{Cache, MergeSlashes, Plan};
use super::problem::Report;
use super::settings::Settings;
use super::value::Table as _;

mod admin;
mod cache;
mod canary;
mod condition;
mod header;
mod listener;
mod loops;
mod mirror;
mod route;
mod split;
mod sticky;
mod upstream;
mod warnings;
mod webhook;
mod write_back;

/// Checks a whole document. The plan is worth nothing when something was reported.
pub(super) fn plan<'a>(report: &'a Report<'a>, document: &'a DeTable<'a>) -> Plan {
    let top = Section::open(report, Top::SECTION, document, 0..0);
    let Top { server, log, cache, admin, invalidate } = Top::of(&top);
    let listeners = listener::all(&top);
    if let Some(admin) = &admin {
        admin::check(&top.section("admin"), admin, &listeners);
    }
    let upstream_sections = top.sections("upstream");
    let mut upstreams = upstream::all(&upstream_sections);
    let ground = Ground {
        cache: &cache,
        has_state_dir: server.state_dir.is_some(),
        merges_slashes: server.merge_slashes != MergeSlashes::Off,
    };
    let route_sections = top.sections("route");
    let (routes, table) = route::all(&route_sections, &ground, &mut upstreams);
    let settings = Settings::default();
    let mut plan = Plan { listeners, server, log, cache, admin, invalidate, upstreams, routes, table, settings };
    // A route or upstream that has an error is not in the plan, and would be taken for one that is missing.
    if report.count() == 0 {
        plan.settings = Settings::of(&top);
        warnings::of_plan(&top, &route_sections, &upstream_sections, &plan);
    }
    plan
}

/// What a route stands on.
struct Ground<'a> {
    /// The cache that all caching routes share.
    cache: &'a Cache,
    /// Whether something can be kept across a restart.
    has_state_dir: bool,
    /// Whether routes match paths without runs of slashes.
    merges_slashes: bool,
}
