//! The metrics of splits, canaries and mirrors. A metric without a sample is left out.

use std::collections::BTreeMap;

use crate::admin::api::rollout::{Canary, Comparison, Mirror, PHASES, Side, Split};
use crate::telemetry::exposition::Kind::{Counter, Gauge};
use crate::telemetry::exposition::{Kind, Page, Value};

/// All splits, canaries and mirrors.
#[derive(Clone, Debug, Default)]
pub(in crate::admin) struct Rollout {
    pub(in crate::admin) splits: Vec<Split>,
    pub(in crate::admin) canaries: Vec<Canary>,
    pub(in crate::admin) mirrors: Vec<Mirror>,
}

/// A sample: its labels and its value.
type Sample<'a, const LABELS: usize> = ([(&'static str, &'a str); LABELS], Value);

impl Rollout {
    /// Writes all metrics of splits, canaries and mirrors.
    pub(super) fn write(&self, page: &mut Page) {
        self.write_splits(page);
        self.write_canaries(page);
        self.write_mirrors(page);
        self.write_comparisons(page);
    }

    fn write_splits(&self, page: &mut Page) {
        let weight = (Gauge, "forebay_split_weight_percent", "The share of a side.");
        family(page, weight, self.of_sides(|side| Some(side.weight.into())));
        let requests = (Counter, "forebay_split_requests_total", "Requests that a side was asked to answer.");
        family(page, requests, self.of_sides(|side| Some(side.traffic.requests.into())));
        let errors = (Counter, "forebay_split_errors_total", "Of them, those that failed.");
        family(page, errors, self.of_sides(|side| Some(side.traffic.errors.into())));
        let p95 = (Gauge, "forebay_split_p95_seconds", "95 % of a side's response heads were in after so long.");
        family(page, p95, self.of_sides(|side| side.traffic.p95_ms.map(|p95| (p95 / 1_000.0).into())));
    }

    fn write_canaries(&self, page: &mut Page) {
        let weight = (Gauge, "forebay_canary_weight_percent", "The share of a canary.");
        family(page, weight, self.of_canaries(|canary| canary.weight.into()));
        let step = (Gauge, "forebay_canary_step", "Which step a canary is at, counted from 1; 0: none.");
        family(page, step, self.of_canaries(|canary| (canary.step as u64).into()));
        let phases = self.canaries.iter().flat_map(|canary| {
            let is_in = |phase| u64::from(canary.phase == phase).into();
            PHASES.map(|phase| ([("route", canary.route.as_str()), ("phase", phase)], is_in(phase)))
        });
        family(page, (Gauge, "forebay_canary_phase", "1 for the phase that a canary is in, 0 for the others."), phases);
    }

    fn write_mirrors(&self, page: &mut Page) {
        let in_flight = (Gauge, "forebay_mirror_in_flight", "Copies of requests under way.");
        family(page, in_flight, self.of_mirrors(|mirror| mirror.in_flight));
        let sent = (Counter, "forebay_mirror_sent_total", "Copies of requests sent.");
        family(page, sent, self.of_mirrors(|mirror| mirror.sent));
        let failed = (Counter, "forebay_mirror_failed_total", "Of them, those that were not answered.");
        family(page, failed, self.of_mirrors(|mirror| mirror.failed));
        let timed_out = (Counter, "forebay_mirror_timed_out_total", "Of them, those that took too long.");
        family(page, timed_out, self.of_mirrors(|mirror| mirror.timed_out));
        let dropped = (Counter, "forebay_mirror_dropped_total", "Requests that were to be copied and were not.");
        family(page, dropped, self.mirrors.iter().flat_map(|mirror| by_reason(&mirror.route, &mirror.dropped)));
    }

    fn write_comparisons(&self, page: &mut Page) {
        let compared = (Counter, "forebay_mirror_compared_total", "Pairs of answers compared.");
        let count = |(route, comparison): (_, &Comparison)| ([("route", route)], comparison.compared.into());
        family(page, compared, self.comparisons().map(count));
        let mismatched = (Counter, "forebay_mirror_mismatched_total", "Pairs that differ by more than noise.");
        let count = |(route, comparison): (_, &Comparison)| ([("route", route)], comparison.mismatched.into());
        family(page, mismatched, self.comparisons().map(count));
        let skipped = (Counter, "forebay_mirror_skipped_total", "Pairs of answers that could not be compared.");
        family(page, skipped, self.comparisons().flat_map(|(route, comparison)| by_reason(route, &comparison.skipped)));
    }

    fn of_sides<'a>(&'a self, value: impl Fn(&Side) -> Option<Value>) -> impl Iterator<Item = Sample<'a, 2>> {
        let sides = self.splits.iter().flat_map(|split| split.sides.iter().map(move |side| (split, side)));
        sides.filter_map(move |(split, side)| {
            Some(([("route", split.route.as_str()), ("side", side.upstream.as_str())], value(side)?))
        })
    }

    fn of_canaries<'a>(&'a self, value: impl Fn(&Canary) -> Value) -> impl Iterator<Item = Sample<'a, 1>> {
        self.canaries.iter().map(move |canary| ([("route", canary.route.as_str())], value(canary)))
    }

    fn of_mirrors<'a>(&'a self, value: impl Fn(&Mirror) -> u64) -> impl Iterator<Item = Sample<'a, 1>> {
        self.mirrors.iter().map(move |mirror| ([("route", mirror.route.as_str())], value(mirror).into()))
    }

    /// The comparisons of the mirrors that compare, each with its route.
    fn comparisons(&self) -> impl Iterator<Item = (&str, &Comparison)> {
        self.mirrors.iter().filter_map(|mirror| Some((mirror.route.as_str(), mirror.comparison.as_ref()?)))
    }
}

fn by_reason<'a>(route: &'a str, counts: &'a BTreeMap<String, u64>) -> impl Iterator<Item = Sample<'a, 2>> {
    counts.iter().map(move |(reason, count)| ([("route", route), ("reason", reason.as_str())], (*count).into()))
}

/// Writes a metric, unless it has no sample.
fn family<'a, const LABELS: usize>(
    page: &mut Page,
    (kind, name, help): (Kind, &'static str, &str),
    samples: impl Iterator<Item = Sample<'a, LABELS>>,
) {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return;
    }
    let mut family = page.family(kind, name, help);
    for (labels, value) in samples {
        family.sample(&labels, value);
    }
}

#[cfg(test)]
impl Rollout {
    /// A split with a canary and a mirror.
    pub(super) fn example() -> Self {
        let read = |text: &str| serde_json::from_str(text).unwrap();
        let split = r#"{"route":"users","sticky":"cookie","sides":[
            {"upstream":"users-v2","weight":35.0,"file_weight":20.0,"usable":true,"requests":700,"errors":2,"p95_ms":12.5},
            {"upstream":"legacy","weight":65.0,"file_weight":80.0,"usable":true,"requests":1300,"errors":0}]}"#;
        let mirror = r#"{"route":"users","upstream":"users-v2","percent":10.0,"in_flight":1,"sent":90,"failed":3,
            "timed_out":1,"dropped":{"busy":4,"body":2},"comparison":{"compared":80,"mismatched":5,
            "skipped":{"long":6},"differences":[],"samples":[]}}"#;
        let canary = Canary {
            route: "users".to_owned(),
            upstream: "users-v2".to_owned(),
            phase: "paused".to_owned(),
            step: 3,
            steps: vec![1.0, 5.0, 35.0],
            weight: 35.0,
            held_ms: 0,
            hold_ms: 300_000,
            reason: String::new(),
            canary: crate::admin::api::rollout::Traffic::default(),
            stable: crate::admin::api::rollout::Traffic::default(),
            requests_min: 500,
            compared: 0,
            mismatched: 0,
            history: Vec::new(),
            kept: true,
        };
        Self { splits: vec![serde_json::from_str(split).unwrap()], canaries: vec![canary], mirrors: vec![read(mirror)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rollout: &Rollout) -> String {
        let mut page = Page::new();
        rollout.write(&mut page);
        page.finish()
    }

    #[test]
    fn each_number_stands_under_its_route() {
        let text = text(&Rollout::example());
        let found: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = r#"
            forebay_split_weight_percent{route="users",side="users-v2"} 35
            forebay_split_weight_percent{route="users",side="legacy"} 65
            forebay_split_requests_total{route="users",side="users-v2"} 700
            forebay_split_requests_total{route="users",side="legacy"} 1300
            forebay_split_errors_total{route="users",side="users-v2"} 2
            forebay_split_errors_total{route="users",side="legacy"} 0
            forebay_split_p95_seconds{route="users",side="users-v2"} 0.0125
            forebay_canary_weight_percent{route="users"} 35
            forebay_canary_step{route="users"} 3
            forebay_canary_phase{route="users",phase="stepping"} 0
            forebay_canary_phase{route="users",phase="paused"} 1
            forebay_canary_phase{route="users",phase="rolling-back"} 0
            forebay_canary_phase{route="users",phase="rolled-back"} 0
            forebay_canary_phase{route="users",phase="aborted"} 0
            forebay_canary_phase{route="users",phase="done"} 0
            forebay_mirror_in_flight{route="users"} 1
            forebay_mirror_sent_total{route="users"} 90
            forebay_mirror_failed_total{route="users"} 3
            forebay_mirror_timed_out_total{route="users"} 1
            forebay_mirror_dropped_total{route="users",reason="body"} 2
            forebay_mirror_dropped_total{route="users",reason="busy"} 4
            forebay_mirror_compared_total{route="users"} 80
            forebay_mirror_mismatched_total{route="users"} 5
            forebay_mirror_skipped_total{route="users",reason="long"} 6
        "#;
        assert_eq!(found, expected.trim().lines().map(str::trim).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_told_where_there_is_nothing() {
        assert_eq!(text(&Rollout::default()), "");
        let mut one = Rollout::example();
        one.mirrors.iter_mut().for_each(|mirror| mirror.comparison = None);
        one.canaries.clear();
        let text = text(&one);
        assert!(text.contains("forebay_mirror_sent_total") && text.contains("forebay_split_p95_seconds"));
        assert!(!text.contains("canary") && !text.contains("compared"), "{text}");
    }
}
