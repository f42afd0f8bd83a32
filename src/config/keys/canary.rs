//! Declares `[route.canary]`.

use std::time::Duration;

use policy::canary::rules::{OnFailure, Rollback, Rules};
use policy::route::split::Share;
use toml::Spanned;

use super::{DAY, MILLISECOND, table, words};
use crate::config::document::Section;

/// 30 days: the longest step of a canary.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// The most steps.
const STEPS_MAX: usize = 100;

table! {
    /// Moves the weights of a split automatically. The canary starts with the process at its first step, and the other
    /// sides share the rest in proportion. A step lasts at least `hold`, and until the canary and the others together
    /// have had `requests_min` requests each; the next step follows if no limit is exceeded. The canary is judged by
    /// the responses of backends in this step, not by those from the cache. A request has failed when it ends with a
    /// status of 500 or above, without a response, with a broken one, or on another side because this one had no usable
    /// backend. With the defaults a canary fails when it is 99 % sure that at least 0.5 percentage points more of its
    /// requests fail, when its 95th percentile of time to the response's head is more than 1.5 times the others', or,
    /// before `requests_min`, when it has 20 times the others' error rate. Weights set by hand pause it. Progress
    /// survives a reload, and with `state_dir` a restart; the canary starts anew when the weights of the file change.
    impl Rules "[route.canary]";

    /// The side of the canary: one of the split's upstreams.
    upstream as Text = required("say which side is tried: upstream = \"users-v2\"");
    /// Its weight at each step in percent, ascending. It stays at the last.
    steps: Vec<Share> as Percents(0.001, 100.0) = "1 5 25 50 100" => steps;
    /// The shortest time of a step.
    hold: Duration as Duration(MILLISECOND, MONTH) = "5m";
    /// How many requests the canary, and the others together, must have had in a step before a verdict. With too little
    /// traffic the canary waits.
    requests_min: u64 as Count(1, 1_000_000_000) = "500";
    /// How many percentage points higher than the others' its error rate may be.
    error_rate_max_increase: f64 as Decimal(0.0, 100.0) = "0.5";
    /// How certain forebay must be that the canary is worse, in percent. More certainty needs more requests.
    confidence: f64 as Decimal(50.0, 99.99) = "99";
    /// How many times the others' its 95th percentile of time to the response's head may be; 0 turns this limit off.
    p95_max_ratio: Option<f64> as Decimal(0.0, 1_000.0) = "1.5" => ratio;
    /// How many percent of the responses that the mirror compares may differ. The mirror must go to the same upstream.
    /// Left out: no such limit.
    mismatch_rate_max: Option<f64> as Decimal(0.0, 100.0);
    /// An error rate of this many times the others' fails the canary at once, also before it has `requests_min`; 0
    /// turns this off.
    error_ratio_ceiling: Option<f64> as Decimal(0.0, 1_000_000.0) = "20" => ratio;
    /// What happens when the canary fails: `rollback` takes its share away, `pause` leaves it and waits for a person.
    on_failure: OnFailure = "rollback";
    /// How a rollback goes: `now`, to 0 at once; `steps`, down the steps that it came up.
    rollback: Rollback = "now";
    /// How long each step down lasts, with `rollback = "steps"`.
    rollback_interval: Duration as Duration(MILLISECOND, DAY) = "10s";
    /// An `http://` URL to which forebay sends every change as a POST of JSON, with a few attempts if it does not
    /// respond. Left out: none.
    webhook as Text;
}

words! {
    impl OnFailure {
        "rollback" => Self::Rollback,
        "pause" => Self::Pause,
    }
}

words! {
    impl Rollback {
        "now" => Self::Now,
        "steps" => Self::Steps,
    }
}

fn steps(section: &Section<'_>, key: &str) -> Vec<Share> {
    if section.is_empty_list(key) {
        let hint = "name at least one: steps = [1, 5, 25, 50, 100]";
        section.report.add(section.at(key), "steps is empty", hint);
    }
    let steps = section.shares(key);
    if steps.len() > STEPS_MAX {
        let cause = format!("there are {} steps", steps.len());
        section.report.add(section.at(key), cause, format!("at most {STEPS_MAX}"));
    }
    for (before, step) in steps.iter().zip(steps.iter().skip(1)) {
        if step.get_ref() <= before.get_ref() {
            let cause = format!("step {} does not rise over {}", step.get_ref(), before.get_ref());
            section.report.add(step.span(), cause, "steps ascend: [1, 5, 25, 50, 100]");
        }
    }
    steps.into_iter().map(Spanned::into_inner).collect()
}

/// Reads a factor of the others' value; 0 turns the limit off. A factor below 1 is reported, because it would fail a
/// side that is as good as the others.
fn ratio(section: &Section<'_>, key: &str) -> Option<f64> {
    let ratio = section.decimal(key).filter(|ratio| *ratio.get_ref() > 0.0)?;
    if *ratio.get_ref() < 1.0 {
        let hint = "at least 1, or 0 to turn it off";
        section.report.add(ratio.span(), format!("{key} would fail a side that is as good as the others"), hint);
    }
    Some(ratio.into_inner())
}
