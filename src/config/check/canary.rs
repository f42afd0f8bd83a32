//! Checks `[route.canary]`.

use std::sync::Arc;

use policy::canary::rules::Rules;

use super::{mirror, webhook};
use crate::config::document::Section;
use crate::config::plan::{Canary, Side};
use crate::config::problem::nearest;
use crate::config::value::Table as _;

/// The canary of a split with these sides. Problems are reported.
pub(super) fn of_route(route: &Section<'_>, name: &Arc<str>, sides: &[Side]) -> Option<Canary> {
    let section = route.has("canary").then(|| route.section("canary"))?;
    let side = side(route, &section, sides);
    let rules = Rules::of(&section);
    check_mismatch_rate(route, &section);
    let webhook = webhook::of_canary(&section, name).map(Arc::new);
    Some(Canary { side: side?, rules, webhook })
}

/// The index of the canary's side.
fn side(route: &Section<'_>, section: &Section<'_>, sides: &[Side]) -> Option<usize> {
    let text = section.text("upstream")?;
    let index = sides.iter().position(|side| *side.name == *text.value);
    // Without a split the whole table has no effect, which `split` reports.
    if index.is_none() && route.has("split") {
        let nearest = nearest(&text.value, sides.iter().map(|side| side.name.as_ref()));
        let hint = nearest
            .filter(|name| section.report.shows(name))
            .map_or_else(|| "name one that the split has".to_owned(), |name| format!("did you mean \"{name}\"?"));
        section.report.add(text.span.clone(), format!("{text} is no side of the split"), hint);
    }
    index
}

/// Reports `mismatch_rate_max` on a route without a mirror that compares the same upstream.
fn check_mismatch_rate(route: &Section<'_>, section: &Section<'_>) {
    let Some(rate) = section.decimal("mismatch_rate_max") else { return };
    let tried = section.text("upstream").map(|text| text.value);
    match mirror::compared(route) {
        None => {
            let hint = "only a mirror can tell: add [route.mirror] with compare = {}";
            section.report.add(rate.span(), "mismatch_rate_max has no effect", hint);
        }
        Some(compared) if compared.is_some() && tried.is_some() && compared != tried => {
            let hint = "mirror to the upstream that the canary tries";
            section.report.add(rate.span(), "mismatch_rate_max is of another upstream than the canary", hint);
        }
        Some(_) => (),
    }
}
