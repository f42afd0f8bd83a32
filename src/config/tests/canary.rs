//! Tests of `[route.canary]`: accepted values, and problems.

use std::time::Duration;

use policy::canary::rules::{OnFailure, Rollback, Rules};
use policy::route::split::Share;

use super::rollout::{EVERY_KEY, canary_of, percent, route, splitting, trying};
use super::{fine, refused};
use crate::config::plan::{Canary, HostHeader};

#[test]
fn every_key_of_a_canary_is_read() {
    let canary = canary_of(&route(EVERY_KEY));
    let expected = Rules {
        steps: vec![percent(0.5), percent(12.5), Share::WHOLE],
        hold: Duration::from_secs(90),
        requests_min: 50,
        error_rate_max_increase: 2.0,
        confidence: 99.9,
        p95_max_ratio: Some(2.0),
        mismatch_rate_max: Some(0.1),
        error_ratio_ceiling: Some(10.5),
        on_failure: OnFailure::Pause,
        rollback: Rollback::Steps,
        rollback_interval: Duration::from_secs(1),
    };
    assert_eq!((canary.side, canary.rules), (0, expected));
    let webhook = canary.webhook.expect("it has a webhook");
    assert_eq!((&*webhook.upstream.name, webhook.target.as_str()), ("webhook of /api/users", "/hook?a=b"));
    assert_eq!(&*webhook.upstream.backends[0].name, "http://127.0.0.1:9");
    assert_eq!((webhook.upstream.backends.len(), webhook.upstream.retry.attempts), (1, 0));
    assert_eq!(webhook.upstream.host, HostHeader::Backend);
    assert_eq!(webhook.upstream.timeouts.connect, Duration::from_secs(2));
    assert_eq!(webhook.upstream.timeouts.response_head, Duration::from_secs(5));
    assert_eq!(fine(&route(EVERY_KEY)).upstreams.len(), 3);
}

#[test]
fn what_is_left_out_of_a_canary_has_its_default() {
    let expected = Rules {
        steps: [1.0, 5.0, 25.0, 50.0, 100.0].map(percent).to_vec(),
        hold: Duration::from_secs(300),
        requests_min: 500,
        error_rate_max_increase: 0.5,
        confidence: 99.0,
        p95_max_ratio: Some(1.5),
        mismatch_rate_max: None,
        error_ratio_ceiling: Some(20.0),
        on_failure: OnFailure::Rollback,
        rollback: Rollback::Now,
        rollback_interval: Duration::from_secs(10),
    };
    assert_eq!(canary_of(&trying("")), Canary { side: 0, rules: expected, webhook: None });
    let rules = canary_of(&trying("p95_max_ratio = 0\nerror_ratio_ceiling = 0.0")).rules;
    assert_eq!((rules.p95_max_ratio, rules.error_ratio_ceiling), (None, None));
}

#[test]
fn keys_of_a_canary_are_checked() {
    for (lines, words) in [
        ("steps = []", "steps is empty | name at least one"),
        ("steps = [0, 50]", "steps is out of range | from 0.001 to 100"),
        ("steps = [50, 100.5]", "steps is out of range"),
        ("steps = [1, 0.0015]", "steps is finer than a thousandth"),
        ("steps = [1, 25, 25]", "step 25 does not rise over 25 | steps ascend"),
        ("steps = [5, 0.5, 100]", "step 0.5 does not rise over 5"),
        ("steps = 50", "steps is a list of percentages, not a whole number | write steps = [1, 2.5, 100]"),
        ("steps = [\"1\"]", "steps is a list of percentages, not a string"),
        ("hold = 5", "hold has no unit"),
        ("hold = \"0s\"", "hold is out of range | from 1ms to 30d"),
        ("requests_min = 0", "requests_min is out of range | from 1"),
        ("requests_min = 0.5", "requests_min is a whole number, not a number with a fraction"),
        ("error_rate_max_increase = -0.5", "error_rate_max_increase is out of range | from 0 to 100"),
        ("confidence = 49.9", "confidence is out of range | from 50 to 99.99"),
        ("confidence = 100", "confidence is out of range | from 50 to 99.99"),
        ("confidence = \"99%\"", "confidence is a number, not a string | write confidence = 2.5"),
        ("p95_max_ratio = 0.9", "p95_max_ratio would fail a side that is as good as the others | at least 1, or 0"),
        ("p95_max_ratio = inf", "p95_max_ratio is out of range | from 0 to 1000"),
        ("error_ratio_ceiling = 0.5", "error_ratio_ceiling would fail a side that is as good"),
        ("mismatch_rate_max = 101", "mismatch_rate_max is out of range | from 0 to 100"),
        ("on_failure = \"stop\"", "on_failure can't be \"stop\" | one of rollback, pause"),
        ("rollback = \"step\"", "rollback can't be \"step\" | did you mean \"steps\"?"),
        ("rollback_interval = 0", "rollback_interval is out of range | from 1ms to 1d"),
        ("webhook = \"https://a/hook\"", "webhook \"https://a/hook\" is not http | only plain http://"),
        ("webhook = \"http://me:secret@a/hook\"", "holds a user | leave user and password out"),
        ("webhook = \"http://a/hook#x\"", "holds a fragment"),
        ("webhook = \"a/hook\"", "is no URL | write \"http://host:port/path\""),
        ("threshold = 5", "unknown key \"threshold\" in [route.canary]"),
    ] {
        refused(&trying(lines), words);
    }
    let many: Vec<_> = (1..=101).map(|step| format!("0.{step:03}")).collect();
    refused(&trying(&format!("steps = [{}]", many.join(", "))), "there are 101 steps | at most 100");
}

#[test]
fn a_canary_is_a_side_of_its_split() {
    let canary = |upstream: &str| splitting(&format!("[route.canary]\n{upstream}"));
    refused(&canary("upstream = \"third\""), "\"third\" is no side of the split | name one that the split has");
    refused(&canary("upstream = \"nwe\""), "\"nwe\" is no side of the split | did you mean \"new\"?");
    refused(&canary(""), "upstream is missing | say which side is tried");
}

#[test]
fn a_rate_of_mismatches_needs_a_mirror_that_compares() {
    let mirror = |lines: &str| trying(&format!("mismatch_rate_max = 0.1\n{lines}"));
    let alone = "mismatch_rate_max has no effect | only a mirror can tell: add [route.mirror] with compare = {}";
    refused(&mirror(""), alone);
    refused(&mirror("[route.mirror]\nupstream = \"new\""), alone);
    fine(&mirror("[route.mirror]\nupstream = \"new\"\ncompare = {}"));
    let other = "mismatch_rate_max is of another upstream than the canary | mirror to the upstream";
    refused(&mirror("[route.mirror]\nupstream = \"old\"\ncompare = {}"), other);
}
