//! `[route.canary]`: what moves the weights of a split by itself, and goes by what.

use std::sync::Arc;

use policy::canary::rules::{OnFailure, Rollback, Rules};
use policy::route::split::Share;
use toml::Spanned;

use super::{mirror, webhook};
use crate::config::document::Section;
use crate::config::plan::{Canary, Side};
use crate::config::problem::nearest;

/// The most steps.
const STEPS_MAX: usize = 100;

/// The canary of a split with these sides; what is wrong is reported.
pub(super) fn of_route(route: &Section<'_>, name: &Arc<str>, sides: &[Side]) -> Option<Canary> {
    let section = route.has("canary").then(|| route.section("canary"))?;
    section.missing("upstream", "say which side is tried: upstream = \"users-v2\"");
    let side = side(route, &section, sides);
    let on_failure = [("rollback", OnFailure::Rollback), ("pause", OnFailure::Pause)];
    let rollback = [("now", Rollback::Now), ("steps", Rollback::Steps)];
    let rules = Rules {
        steps: steps(&section),
        hold: section.duration("hold"),
        requests_min: section.number("requests_min"),
        error_rate_max_increase: section.decimal("error_rate_max_increase").map_or(0.0, Spanned::into_inner),
        confidence: section.decimal("confidence").map_or(0.0, Spanned::into_inner),
        p95_max_ratio: ratio(&section, "p95_max_ratio"),
        mismatch_rate_max: mismatch_rate(route, &section),
        error_ratio_ceiling: ratio(&section, "error_ratio_ceiling"),
        on_failure: section.choice("on_failure", &on_failure).unwrap_or(OnFailure::Rollback),
        rollback: section.choice("rollback", &rollback).unwrap_or(Rollback::Now),
        rollback_interval: section.duration("rollback_interval"),
    };
    let webhook = webhook::of_canary(&section, name).map(Arc::new);
    Some(Canary { side: side?, rules, webhook })
}

/// The side that is tried, an index.
fn side(route: &Section<'_>, section: &Section<'_>, sides: &[Side]) -> Option<usize> {
    let text = section.text("upstream")?;
    let index = sides.iter().position(|side| *side.name == *text.value);
    // Without a split the whole table has no effect, which is told already.
    if index.is_none() && route.has("split") {
        let nearest = nearest(&text.value, sides.iter().map(|side| side.name.as_ref()));
        let hint = nearest
            .filter(|name| section.report.shows(name))
            .map_or_else(|| "name one that the split has".to_owned(), |name| format!("did you mean \"{name}\"?"));
        section.report.add(text.span.clone(), format!("{text} is no side of the split"), hint);
    }
    index
}

fn steps(section: &Section<'_>) -> Vec<Share> {
    if section.is_empty_list("steps") {
        let hint = "name at least one: steps = [1, 5, 25, 50, 100]";
        section.report.add(section.at("steps"), "steps is empty", hint);
    }
    let steps = section.shares("steps");
    if steps.len() > STEPS_MAX {
        let cause = format!("there are {} steps", steps.len());
        section.report.add(section.at("steps"), cause, format!("at most {STEPS_MAX}"));
    }
    for (before, step) in steps.iter().zip(steps.iter().skip(1)) {
        if step.get_ref() <= before.get_ref() {
            let cause = format!("step {} does not rise over {}", step.get_ref(), before.get_ref());
            section.report.add(step.span(), cause, "steps ascend: [1, 5, 25, 50, 100]");
        }
    }
    steps.into_iter().map(Spanned::into_inner).collect()
}

/// So many times what the others have; 0 turns it off. Less than once would fail a side that is as good.
fn ratio(section: &Section<'_>, name: &str) -> Option<f64> {
    let ratio = section.decimal(name).filter(|ratio| *ratio.get_ref() > 0.0)?;
    if *ratio.get_ref() < 1.0 {
        let hint = "at least 1, or 0 to turn it off";
        section.report.add(ratio.span(), format!("{name} would fail a side that is as good as the others"), hint);
    }
    Some(ratio.into_inner())
}

/// How many compared answers may differ; only a mirror to the same upstream that compares can tell.
fn mismatch_rate(route: &Section<'_>, section: &Section<'_>) -> Option<f64> {
    let rate = section.decimal("mismatch_rate_max")?;
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
    Some(rate.into_inner())
}
