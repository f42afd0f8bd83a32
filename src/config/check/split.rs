//! Checks `split` and the keys that belong to it.

use std::sync::Arc;

use http::HeaderName;
use policy::route::split::{BadShares, Share, Shares};
use toml::Spanned;

use super::{canary, sticky, upstream};
use crate::config::document::Section;
use crate::config::grammar::{field_name, is_reserved};
use crate::config::plan::{Side, Split, Upstream};

/// The keys of a route that have an effect only with a split.
const SPLIT_KEYS: [&str; 5] = ["sticky", "sticky_cookie", "override_header", "side_header", "canary"];

/// Request fields that can't be `override_header`, because they have another meaning: forebay removes that field before
/// it forwards the request.
const NOT_OVERRIDE_HEADER: [&str; 14] = [
    "authorization",
    "cookie",
    "expect",
    "forebay-mirror",
    "forwarded",
    "if-match",
    "if-none-match",
    "proxy-authorization",
    "range",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Response fields that can't be `side_header`, because it would replace their value.
const NOT_SIDE_HEADER: [&str; 14] = [
    "age",
    "cache-control",
    "cache-status",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "set-cookie",
    "vary",
    "via",
    "www-authenticate",
];

/// The split of a route. `None`: the route has none, or it is malformed, which is reported.
pub(super) fn of_route(route: &Section<'_>, name: &Arc<str>, upstreams: &[Upstream]) -> Option<Split> {
    let is_split = route.has("split");
    for key in SPLIT_KEYS.into_iter().filter(|key| !is_split && route.has(key)) {
        route.report.add(route.at(key), format!("{key} has no effect"), "it is for routes with split");
    }
    let before = route.report.count();
    let (sides, weights) = sides(route, upstreams);
    // A malformed side is missing here, and must not make the list look too short.
    let weights = weights.filter(|weights| weights.len() > 1 || route.report.count() == before);
    // All keys are checked, also without a valid split.
    let sticky = sticky::of_route(route);
    let override_header = field(route, "override_header", &NOT_OVERRIDE_HEADER);
    let side_header = field(route, "side_header", &NOT_SIDE_HEADER);
    let canary = canary::of_route(route, name, &sides);
    let shares_cache = route.section("cache").flag("share_sides");
    let shares = is_split.then(|| shares(route, &sides, weights)).flatten()?;
    Some(Split { sides, shares, sticky, override_header, side_header, shares_cache, canary })
}

/// Reads the sides and their weights. The weights are `None` if one is missing or wrong, which is reported. A side
/// whose upstream is not defined stays in the list, so that a canary that names it is not a second problem.
fn sides(route: &Section<'_>, upstreams: &[Upstream]) -> (Vec<Side>, Option<Vec<Share>>) {
    let mut sides: Vec<Side> = Vec::new();
    let mut weights = Some(Vec::new());
    for section in route.sections("split") {
        let weight = section.share("weight").map(Spanned::into_inner);
        weights = weights.zip(weight).map(|(mut weights, weight)| {
            weights.push(weight);
            weights
        });
        let index = upstream::named(&section, "upstream", upstreams).unwrap_or_default();
        let Some(text) = section.text("upstream") else { continue };
        if sides.iter().any(|side| *side.name == *text.value) {
            section.report.add(text.span.clone(), format!("side {text} is named twice"), "give it one weight");
        }
        sides.push(Side { upstream: index, name: Arc::from(text.value) });
    }
    (sides, weights)
}

fn shares(route: &Section<'_>, sides: &[Side], weights: Option<Vec<Share>>) -> Option<Shares> {
    let weights = weights?;
    if weights.len() < 2 {
        let (count, hint) = match sides.first() {
            Some(_) => ("one side", "add the other, or forward all with upstream = \"…\""),
            None => ("no sides", "name at least two: { upstream = \"users-v2\", weight = 20 }"),
        };
        route.report.add(route.at("split"), format!("split has {count}"), hint);
        return None;
    }
    match Shares::new(weights) {
        Ok(shares) => Some(shares),
        Err(BadShares::Sum { percent }) => {
            let cause = format!("split adds up to {percent} percent");
            route.report.add(route.at("split"), cause, "weights are percent and sum to 100");
            None
        }
        Err(BadShares::Empty | BadShares::NoSide) => None,
    }
}

/// Reads the name of a field that is used only for the split.
fn field(route: &Section<'_>, key: &str, taken: &[&str]) -> Option<HeaderName> {
    let text = route.text(key)?;
    let field = field_name(route, &text.value, text.span.clone())?;
    if is_reserved(&field) || taken.contains(&field.as_str()) {
        let hint = "it means something else already; take one of your own: \"x-forebay-…\"";
        route.report.add(text.span.clone(), format!("{key} can't be {text}"), hint);
    }
    Some(field)
}
