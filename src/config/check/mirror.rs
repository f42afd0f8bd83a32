//! Checks `[route.mirror]`.

use std::sync::Arc;

use policy::compare::rules::Rules;

use super::upstream;
use crate::config::document::Section;
use crate::config::keys::mirror::MirrorKeys;
use crate::config::plan::{Action, Compare, Mirror, Upstream};
use crate::config::value::Table as _;

/// The mirror of a route. Problems are reported.
pub(super) fn of_route(route: &Section<'_>, action: Option<&Action>, upstreams: &[Upstream]) -> Option<Arc<Mirror>> {
    let section = route.has("mirror").then(|| route.section("mirror"))?;
    let target = upstream::named(&section, "upstream", upstreams);
    if let (Some(Action::Forward(own)), Some(target)) = (action, target)
        && *own == target
    {
        let hint = "name another: this one gets every request already";
        section.report.add(section.at("upstream"), "the mirror is the route's own upstream", hint);
    }
    let MirrorKeys { percent: share, methods, body_bytes_max, in_flight_max, timeout } = MirrorKeys::of(&section);
    let compare = section.has("compare").then(|| compare(&section.section("compare"), target, upstreams));
    Some(Arc::new(Mirror { upstream: target?, share, methods, body_bytes_max, in_flight_max, timeout, compare }))
}

/// The name of the upstream whose responses a route's mirror compares. `None`: it compares nothing; `Some(None)`: the
/// mirror has no upstream, which is reported elsewhere.
pub(super) fn compared(route: &Section<'_>) -> Option<Option<String>> {
    let section = route.section("mirror");
    (route.has("mirror") && section.has("compare")).then(|| section.text("upstream").map(|text| text.value))
}

/// How the mirror compares. `target`: the mirror's upstream.
fn compare(section: &Section<'_>, target: Option<usize>, upstreams: &[Upstream]) -> Compare {
    let noise_from = upstream::named(section, "noise_from", upstreams);
    if noise_from.is_some() && noise_from == target {
        let hint = "name the one that answers clients: what it answers twice tells what differs anyway";
        section.report.add(section.at("noise_from"), "noise_from is the mirror's own upstream", hint);
    }
    Compare {
        rules: Rules::of(section),
        noise_from,
        samples_max: section.number("samples_max"),
        sample_values: section.flag("sample_values"),
    }
}
