//! `[route.mirror]`: where copies of requests go, and what is compared.

use std::sync::Arc;

use http::Method;
use policy::compare::rules::{Pointer, Rules};
use policy::route::split::Share;

use super::{cache, condition, upstream};
use crate::config::document::Section;
use crate::config::plan::{Action, Compare, Mirror, Upstream};

/// The most places that are left out of comparing.
const IGNORED_MAX: usize = 100;

/// The mirror of a route; what is wrong is reported.
pub(super) fn of_route(route: &Section<'_>, action: Option<&Action>, upstreams: &[Upstream]) -> Option<Arc<Mirror>> {
    let section = route.has("mirror").then(|| route.section("mirror"))?;
    section.missing("upstream", "say where the copies go: upstream = \"users-v2\"");
    let target = upstream::named(&section, "upstream", upstreams);
    if let (Some(Action::Forward(own)), Some(target)) = (action, target)
        && *own == target
    {
        let hint = "name another: this one gets every request already";
        section.report.add(section.at("upstream"), "the mirror is the route's own upstream", hint);
    }
    let mirror = Mirror {
        upstream: target.unwrap_or_default(),
        share: share(&section),
        methods: methods(&section),
        body_bytes_max: usize::try_from(section.size("body_bytes_max")).unwrap_or(usize::MAX),
        in_flight_max: section.number("in_flight_max"),
        timeout: section.duration("timeout"),
        compare: section.has("compare").then(|| compare(&section.section("compare"), target, upstreams)),
    };
    target.map(|_| Arc::new(mirror))
}

/// What a route's mirror compares: the name of its upstream, `Some(None)` when that is left out. `None`: it compares
/// nothing.
pub(super) fn compared(route: &Section<'_>) -> Option<Option<String>> {
    let section = route.section("mirror");
    (route.has("mirror") && section.has("compare")).then(|| section.text("upstream").map(|text| text.value))
}

fn share(section: &Section<'_>) -> Share {
    let share = section.share("percent");
    if let Some(share) = share.as_ref().filter(|share| *share.get_ref() == Share::NONE) {
        section.report.add(share.span(), "percent is 0: nothing would be copied", "leave the whole table out");
    }
    share.map_or(Share::WHOLE, toml::Spanned::into_inner)
}

fn methods(section: &Section<'_>) -> Vec<Method> {
    if section.is_empty_list("methods") {
        let hint = "name some: methods = [\"GET\", \"HEAD\"]";
        section.report.add(section.at("methods"), "methods is empty: nothing would be copied", hint);
    }
    let mut methods = Vec::new();
    for text in section.texts("methods") {
        let Some(method) = condition::method(section, &text) else { continue };
        if method == Method::CONNECT || method == Method::TRACE {
            section.report.add(text.span.clone(), format!("{text} can't be copied"), "it reaches no backend");
        }
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

/// What is compared; `target`: the mirror's upstream.
fn compare(section: &Section<'_>, target: Option<usize>, upstreams: &[Upstream]) -> Compare {
    let rules = Rules {
        status: section.flag("status"),
        headers: cache::field_names(section, "headers"),
        json_body: section.flag("json_body"),
        other_body: section.flag("other_body"),
        ignore: ignore(section),
    };
    if !(rules.status || rules.json_body || rules.other_body) && rules.headers.is_empty() {
        let hint = "leave compare out, or one of status, headers, json_body, other_body on";
        section.report.add(section.span.clone(), "compare compares nothing", hint);
    }
    if section.has("ignore") && !rules.json_body {
        let hint = "it is for json_body = true";
        section.report.add(section.at("ignore"), "ignore has no effect", hint);
    }
    let noise_from = upstream::named(section, "noise_from", upstreams);
    if noise_from.is_some() && noise_from == target {
        let hint = "name the one that answers clients: what it answers twice tells what differs anyway";
        section.report.add(section.at("noise_from"), "noise_from is the mirror's own upstream", hint);
    }
    Compare {
        rules,
        noise_from,
        samples_max: section.number("samples_max"),
        sample_values: section.flag("sample_values"),
    }
}

fn ignore(section: &Section<'_>) -> Vec<Pointer> {
    let texts = section.texts("ignore");
    if texts.len() > IGNORED_MAX {
        let cause = format!("there are {} places to ignore", texts.len());
        section.report.add(section.at("ignore"), cause, format!("at most {IGNORED_MAX}"));
    }
    let mut pointers = Vec::new();
    for text in texts {
        let pointer = Pointer::parse(&text.value);
        if pointer.is_none() {
            let hint = "write \"/items/*/seen\": * is any one member or element, ~1 a slash, ~0 a tilde";
            section.report.add(text.span.clone(), format!("{text} is no JSON pointer"), hint);
        }
        pointers.extend(pointer);
    }
    pointers
}
