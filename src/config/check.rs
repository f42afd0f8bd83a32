//! Builds the Plan from the document, and reports every problem.
//!
//! `keys` reads each table on its own. The rules that concern several tables, and references by name, are here. A check
//! that has reported a problem returns a placeholder, so that the checks go on; the Plan is used only if there is no
//! error.

use toml::de::DeTable;

use super::document::Section;
use super::grammar::{is_host_name, is_token, name};
use super::keys::Top;
use super::keys::acme::CommonTls;
use super::plan::{Cache, MergeSlashes, Plan};
use super::problem::Report;
use super::settings::Settings;
use super::value::Table as _;

mod acme;
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

/// Checks a whole document. The Plan must not be used if an error was reported.
pub(super) fn plan<'a>(report: &'a Report<'a>, document: &'a DeTable<'a>) -> Plan {
    let top = Section::open(report, Top::SECTION, document, 0..0);
    let Top { tls: CommonTls { acme }, server, log, cache, admin, invalidate } = Top::of(&top);
    let listeners = listener::all(&top);
    if let Some(admin) = &admin {
        admin::check(&top.section("admin"), admin, &listeners);
    }
    let upstream_sections = top.sections("upstream");
    let mut upstreams = upstream::all(&upstream_sections);
    let context = Context {
        cache: &cache,
        has_state_dir: server.state_dir.is_some(),
        merges_slashes: server.merge_slashes != MergeSlashes::Off,
    };
    let route_sections = top.sections("route");
    let (mut routes, table) = route::all(&route_sections, &context, &mut upstreams);
    acme::check(&top, acme.as_ref(), server.state_dir.is_some());
    let challenge_peer = acme::peer(&top, acme.as_ref(), &mut upstreams, &mut routes);
    let settings = Settings::default();
    let mut plan = Plan {
        listeners,
        acme,
        challenge_peer,
        server,
        log,
        cache,
        admin,
        invalidate,
        upstreams,
        routes,
        table,
        settings,
    };
    // A route or upstream with an error is not in the Plan, and would look like a missing one.
    if report.count() == 0 {
        plan.settings = Settings::of(&top);
        warnings::of_plan(&top, &route_sections, &upstream_sections, &plan);
    }
    plan
}

/// The settings of other tables that the checks of a route need.
struct Context<'a> {
    /// The cache that all caching routes share.
    cache: &'a Cache,
    /// Whether `server.state_dir` is set.
    has_state_dir: bool,
    /// Whether runs of slashes are merged before routes match.
    merges_slashes: bool,
}
