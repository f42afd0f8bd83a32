//! Splits, canaries and mirrors as text for a terminal.
//!
//! Control characters in values are replaced, because values may come from clients. `layout` formats the tables.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::admin::api::rollout::{Canary, Comparison, Mirror, Side, Split, Traffic};
use crate::cli::admin_client::printable;
use crate::cli::layout::{Column, moment, named, span, table};

/// A table of splits with a line for each side, and its canary.
pub(super) fn list(splits: &[Split], canaries: &[Canary]) -> String {
    let columns = [
        Column("ROUTE", false),
        Column("SIDE", false),
        Column("WEIGHT", true),
        Column("FILE", true),
        Column("SET BY", false),
        Column("CANARY", false),
        Column("BACKENDS", false),
    ];
    let rows = splits.iter().flat_map(|split| split.sides.iter().map(move |side| (split, side)));
    let rows = rows.map(|(split, side)| {
        let canary = canaries.iter().find(|canary| canary.route == split.route && canary.upstream == side.upstream);
        [
            split.route.clone(),
            side.upstream.clone(),
            percent(side.weight),
            percent(side.file_weight),
            split.overridden.as_ref().map_or("file", |overridden| &overridden.by).to_owned(),
            canary.map_or_else(|| "-".to_owned(), phase),
            backends(side).to_owned(),
        ]
    });
    table(&columns, rows.collect())
}

/// The weights of a split, in one line.
pub(super) fn weights(split: &Split) -> String {
    let sides: Vec<String> =
        split.sides.iter().map(|side| format!("{} {}", side.upstream, percent(side.weight))).collect();
    let by = split.overridden.as_ref().map_or_else(
        || "as in the file".to_owned(),
        |set| format!("set by {}{}", set.by, if set.kept { "" } else { "; until the next start" }),
    );
    printable(&format!("{}: {} ({by})", split.route, sides.join(", "))) + "\n"
}

/// One split and its canary, in full.
pub(super) fn show(split: &Split, canary: Option<&Canary>, now: Duration) -> String {
    let mut lines = vec![("route", split.route.clone()), ("sticky", split.sticky.clone())];
    let weights = match &split.overridden {
        None => "as the file has them".to_owned(),
        Some(set) => {
            let kept = if set.kept { "" } else { "; until the next start" };
            format!("set by {} at {}{kept}", set.by, moment(set.at_ms))
        }
    };
    lines.push(("weights", weights));
    let mut text = named(&lines);
    text.push('\n');
    text.push_str(&sides(&split.sides));
    if let Some(canary) = canary {
        text.push('\n');
        text.push_str(&canary_details(canary, now));
    }
    text
}

fn sides(sides: &[Side]) -> String {
    let columns = [
        Column("SIDE", false),
        Column("WEIGHT", true),
        Column("FILE", true),
        Column("REQUESTS", true),
        Column("FAILED", true),
        Column("P95", true),
        Column("BACKENDS", false),
    ];
    let row = |side: &Side| {
        let [requests, failed, p95] = traffic(&side.traffic);
        let (weight, file) = (percent(side.weight), percent(side.file_weight));
        [side.upstream.clone(), weight, file, requests, failed, p95, backends(side).to_owned()]
    };
    table(&columns, sides.iter().map(row).collect())
}

/// A canary in full: its progress, the traffic of its step, what it waits for, and its history.
fn canary_details(canary: &Canary, now: Duration) -> String {
    let steps: Vec<String> = canary.steps.iter().map(f64::to_string).collect();
    let held = format!("{} of {}", span(canary.held_ms), span(canary.hold_ms));
    let mut lines = vec![
        ("canary", canary.upstream.clone()),
        ("phase", phase(canary)),
        ("share", format!("{} (steps: {} %)", percent(canary.weight), steps.join(", "))),
        ("reason", canary.reason.clone()),
        ("step held", held),
        ("verdict", format!("from {} requests a side", canary.requests_min)),
    ];
    if canary.compared > 0 {
        lines.push(("compared", compared(canary.compared, canary.mismatched)));
    }
    if !canary.kept {
        lines.push(("kept", "until the next start".to_owned()));
    }
    let columns = [Column("THIS STEP", false), Column("REQUESTS", true), Column("FAILED", true), Column("P95", true)];
    let row = |name: &str, counted: &Traffic| {
        let [requests, failed, p95] = traffic(counted);
        [name.to_owned(), requests, failed, p95]
    };
    let rows = vec![row("canary", &canary.canary), row("others", &canary.stable)];
    let mut text = named(&lines);
    text.push('\n');
    text.push_str(&table(&columns, rows));
    if !canary.history.is_empty() {
        text.push('\n');
        text.push_str(&history(canary, now));
    }
    text
}

fn history(canary: &Canary, now: Duration) -> String {
    let columns = [
        Column("WHEN", false),
        Column("AGO", true),
        Column("EVENT", false),
        Column("WEIGHT", true),
        Column("WHY", false),
    ];
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let rows = canary.history.iter().map(|change| {
        let ago = span(now_ms.saturating_sub(change.at_ms));
        [moment(change.at_ms), ago, change.event.clone(), percent(change.weight), change.reason.clone()]
    });
    table(&columns, rows.collect())
}

/// The state of a canary after an order, in one line.
pub(super) fn order_result(canary: &Canary) -> String {
    let (route, upstream) = (&canary.route, &canary.upstream);
    let line = format!("{route}: {upstream} {} at {}", phase(canary), percent(canary.weight));
    let why = if canary.reason.is_empty() { String::new() } else { format!(": {}", canary.reason) };
    printable(&(line + &why)) + "\n"
}

/// A table of mirrors with a line for each.
pub(super) fn mirrors(mirrors: &[Mirror]) -> String {
    let columns = [
        Column("ROUTE", false),
        Column("TO", false),
        Column("COPIED", true),
        Column("SENT", true),
        Column("FAILED", true),
        Column("TIMED OUT", true),
        Column("DROPPED", true),
        Column("COMPARED", true),
        Column("DIFFER", true),
    ];
    let rows = mirrors.iter().map(|mirror| {
        let differ = |comparison: &Comparison| rate(comparison.mismatched, comparison.compared);
        let comparison = mirror.comparison.as_ref();
        [
            mirror.route.clone(),
            mirror.upstream.clone(),
            percent(mirror.percent),
            mirror.sent.to_string(),
            mirror.failed.to_string(),
            mirror.timed_out.to_string(),
            mirror.dropped.values().fold(0_u64, |sum, count| sum.saturating_add(*count)).to_string(),
            comparison.map_or_else(|| "-".to_owned(), |comparison| comparison.compared.to_string()),
            comparison.map_or_else(|| "-".to_owned(), differ),
        ]
    });
    table(&columns, rows.collect())
}

/// One mirror in full: its counts, where responses differ, and samples.
pub(super) fn mirror(mirror: &Mirror) -> String {
    let mut lines = vec![
        ("route", mirror.route.clone()),
        ("to", mirror.upstream.clone()),
        ("copied", format!("{} of requests", percent(mirror.percent))),
        ("sent", format!("{}, of which {} failed, {} timed out", mirror.sent, mirror.failed, mirror.timed_out)),
        ("under way", mirror.in_flight.to_string()),
        ("dropped", counts(&mirror.dropped)),
    ];
    let Some(comparison) = &mirror.comparison else { return named(&lines) };
    lines.push(("compared", compared(comparison.compared, comparison.mismatched)));
    lines.push(("skipped", counts(&comparison.skipped)));
    let mut text = named(&lines);
    if !comparison.differences.is_empty() {
        text.push('\n');
        text.push_str(&differences(comparison));
    }
    if !comparison.samples.is_empty() {
        text.push('\n');
        text.push_str(&samples(comparison));
    }
    text
}

fn differences(comparison: &Comparison) -> String {
    let columns = [Column("DIFFERENCE", false), Column("AT", false), Column("PAIRS", true), Column("NOISE", true)];
    let rows = comparison.differences.iter().map(|difference| {
        let noise = if difference.noise == 0 { "-".to_owned() } else { difference.noise.to_string() };
        [difference.kind.clone(), path_or_dash(&difference.path), difference.count.to_string(), noise]
    });
    table(&columns, rows.collect())
}

/// A line for each sample, and below it one for each difference: the client's value and the mirror's.
fn samples(comparison: &Comparison) -> String {
    let mut text = "SAMPLES: what the client got / what the copy got\n".to_owned();
    for sample in &comparison.samples {
        let (when, method, target) = (moment(sample.at_ms), &sample.method, &sample.target);
        let head = format!("{when}  {method} {target}  {} / {}  id {}", sample.status, sample.mirror_status, sample.id);
        text.push_str(&printable(&head));
        text.push('\n');
        for found in &sample.differences {
            let line = format!("    {}  {}  {} / {}", found.kind, path_or_dash(&found.path), found.ours, found.theirs);
            text.push_str(&printable(&line));
            text.push('\n');
        }
    }
    text
}

fn path_or_dash(path: &str) -> String {
    if path.is_empty() { "-".to_owned() } else { path.to_owned() }
}

fn phase(canary: &Canary) -> String {
    match canary.step {
        0 => canary.phase.clone(),
        step => format!("{}, step {step} of {}", canary.phase, canary.steps.len()),
    }
}

const fn backends(side: &Side) -> &'static str {
    if side.usable { "usable" } else { "none usable" }
}

/// The number of requests, the rate of failures, and the 95th percentile of latency.
fn traffic(traffic: &Traffic) -> [String; 3] {
    let p95 = traffic.p95_ms.map_or_else(|| "-".to_owned(), |p95| format!("{} ms", rounded(p95)));
    [traffic.requests.to_string(), rate(traffic.errors, traffic.requests), p95]
}

fn compared(all: u64, mismatched: u64) -> String {
    format!("{all} pairs of answers, {mismatched} differ ({})", rate(mismatched, all))
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let some = counts.iter().filter(|(_, count)| **count > 0).map(|(reason, count)| format!("{count} {reason}"));
    let some: Vec<String> = some.collect();
    if some.is_empty() { "none".to_owned() } else { some.join(", ") }
}

/// `part` of `whole` in percent; `-` if `whole` is 0.
fn rate(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { percent(rounded(part as f64 * 100.0 / whole as f64)) }
}

fn percent(percent: f64) -> String {
    format!("{percent} %")
}

/// Rounds to two decimals.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// 2026-11-21 19:30:00 UTC.
    const NOW: Duration = Duration::from_secs(1_795_289_400);

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn split() -> Split {
        read(json!({
            "route": "users", "sticky": "cookie",
            "sides": [
                {"upstream": "users-v2", "weight": 35.5, "file_weight": 20.0, "usable": true,
                 "requests": 1200, "errors": 3, "p95_ms": 12.345},
                {"upstream": "legacy", "weight": 64.5, "file_weight": 80.0, "usable": false, "requests": 0, "errors": 0}
            ],
            "overridden": {"by": "alice\u{1b}[2J", "at_ms": 1_795_289_280_000_u64, "kept": false}
        }))
    }

    fn canary() -> Canary {
        read(json!({
            "route": "users", "upstream": "users-v2", "phase": "paused", "step": 3, "steps": [1.0, 5.0, 35.5, 100.0],
            "weight": 35.5, "held_ms": 192_000, "hold_ms": 300_000, "reason": "weights were set by alice",
            "canary": {"requests": 312, "errors": 1, "p95_ms": 20.0}, "stable": {"requests": 600, "errors": 0},
            "requests_min": 500, "compared": 200, "mismatched": 1,
            "history": [
                {"at_ms": 1_795_289_280_000_u64, "event": "paused", "weight": 35.5, "reason": "weights were set by alice"},
                {"at_ms": 1_795_285_800_000_u64, "event": "promoted", "weight": 5.0, "reason": "step 1 held"}
            ],
            "kept": false
        }))
    }

    fn copies() -> Mirror {
        read(json!({
            "route": "users", "upstream": "users-v2", "percent": 10.0, "in_flight": 2, "sent": 1000, "failed": 3,
            "timed_out": 1, "dropped": {"busy": 4, "body": 0, "late": 1},
            "comparison": {
                "compared": 900, "mismatched": 12, "skipped": {},
                "differences": [
                    {"kind": "value", "path": "/items/*/price", "count": 9, "noise": 0},
                    {"kind": "status", "path": "", "count": 3, "noise": 2}
                ],
                "samples": [{
                    "at_ms": 1_795_289_280_000_u64, "method": "GET", "target": "/users/7?page", "id": "a1", "status": 200,
                    "mirror_status": 500,
                    "differences": [{"kind": "value", "path": "/items/0/price", "ours": "number", "theirs": "text, 3"}]
                }]
            }
        }))
    }

    #[test]
    fn a_list_has_a_line_for_each_side() {
        let expected = "\
ROUTE  SIDE      WEIGHT  FILE  SET BY     CANARY               BACKENDS
users  users-v2  35.5 %  20 %  alice\u{fffd}[2J  paused, step 3 of 4  usable
users  legacy    64.5 %  80 %  alice\u{fffd}[2J  -                    none usable
";
        assert_eq!(list(&[split()], &[canary()]), expected);
        assert_eq!(list(&[], &[]), "nothing\n");
    }

    #[test]
    fn a_split_is_shown_with_its_canary() {
        let expected = "\
route    users
sticky   cookie
weights  set by alice\u{fffd}[2J at 2026-11-21 19:28:00 UTC; until the next start

SIDE      WEIGHT  FILE  REQUESTS  FAILED       P95  BACKENDS
users-v2  35.5 %  20 %      1200  0.25 %  12.35 ms  usable
legacy    64.5 %  80 %         0       -         -  none usable

canary     users-v2
phase      paused, step 3 of 4
share      35.5 % (steps: 1, 5, 35.5, 100 %)
reason     weights were set by alice
step held  3 min 12 s of 5 min
verdict    from 500 requests a side
compared   200 pairs of answers, 1 differ (0.5 %)
kept       until the next start

THIS STEP  REQUESTS  FAILED    P95
canary          312  0.32 %  20 ms
others          600     0 %      -

WHEN                       AGO  EVENT     WEIGHT  WHY
2026-11-21 19:28:00 UTC  2 min  paused    35.5 %  weights were set by alice
2026-11-21 18:30:00 UTC    1 h  promoted     5 %  step 1 held
";
        assert_eq!(show(&split(), Some(&canary()), NOW), expected);
    }

    #[test]
    fn a_split_without_a_canary_is_shown_alone() {
        let split = Split { overridden: None, ..split() };
        let expected = "\
route    users
sticky   cookie
weights  as the file has them

SIDE      WEIGHT  FILE  REQUESTS  FAILED       P95  BACKENDS
users-v2  35.5 %  20 %      1200  0.25 %  12.35 ms  usable
legacy    64.5 %  80 %         0       -         -  none usable
";
        assert_eq!(show(&split, None, NOW), expected);
    }

    #[test]
    fn an_order_is_answered_in_one_line() {
        assert_eq!(
            weights(&split()),
            "users: users-v2 35.5 %, legacy 64.5 % (set by alice\u{fffd}[2J; until the next start)\n"
        );
        let back = Split { overridden: None, ..split() };
        assert_eq!(weights(&back), "users: users-v2 35.5 %, legacy 64.5 % (as in the file)\n");
        assert_eq!(
            order_result(&canary()),
            "users: users-v2 paused, step 3 of 4 at 35.5 %: weights were set by alice\n"
        );
    }

    #[test]
    fn mirrors_are_listed_with_what_differs() {
        let silent = Mirror { comparison: None, ..copies() };
        let expected = "\
ROUTE  TO        COPIED  SENT  FAILED  TIMED OUT  DROPPED  COMPARED  DIFFER
users  users-v2    10 %  1000       3          1        5       900  1.33 %
users  users-v2    10 %  1000       3          1        5         -       -
";
        assert_eq!(mirrors(&[copies(), silent]), expected);
        assert_eq!(mirrors(&[]), "nothing\n");
    }

    #[test]
    fn a_mirror_is_shown_with_its_samples() {
        let expected = "\
route      users
to         users-v2
copied     10 % of requests
sent       1000, of which 3 failed, 1 timed out
under way  2
dropped    4 busy, 1 late
compared   900 pairs of answers, 12 differ (1.33 %)
skipped    none

DIFFERENCE  AT              PAIRS  NOISE
value       /items/*/price      9      -
status      -                   3      2

SAMPLES: what the client got / what the copy got
2026-11-21 19:28:00 UTC  GET /users/7?page  200 / 500  id a1
    value  /items/0/price  number / text, 3
";
        assert_eq!(mirror(&copies()), expected);
    }
}
