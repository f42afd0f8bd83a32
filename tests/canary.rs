//! Verdicts of canaries: promotion while the new side is as good as the old one, and rollback if it is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use serde_json::Value;
use testbed::{
    Config, Forebay, Origin, Script, Sides, advance, answer, eventually, hang, ok, raw, reset, script, split,
};

/// No ejection, so that the canary sees every failure.
const PATIENT: &str = "[upstream.ejection]\nconsecutive_failures = 0";
/// Nothing ends a canary before its hold is over.
const UNHURRIED: &str = "error_ratio_ceiling = 0";

/// The new side as a canary with these keys, at 50 % first and then at 100 %.
fn canary(sides: &Sides, keys: &str) -> Config {
    sides.split(10.0).canary("new", keys)
}

fn count(canary: &Value, side: &str, what: &str) -> u64 {
    canary[side][what].as_u64().unwrap()
}

/// Sends requests until both sides have answered as many as a verdict needs.
#[track_caller]
fn fed(forebay: &Forebay) -> Value {
    forebay.feed_until("both sides have answered enough", |canary| {
        ["canary", "stable"].iter().all(|side| count(canary, side, "requests") >= 20)
    })
}

/// Asserts that the canary is promoted to its second step after the hold of the first.
#[track_caller]
fn is_promoted(forebay: &Forebay) -> Value {
    let fed = fed(forebay);
    assert_eq!((&fed["phase"], fed["step"].as_u64()), (&Value::from("stepping"), Some(1)), "{fed:#}");
    advance(Duration::from_secs(61));
    forebay.feed_until("it is promoted", |canary| canary["step"] == 2)
}

/// Asserts that the canary is rolled back because of the new side, without waiting for its hold.
#[track_caller]
fn is_rolled_back_at_once(config: Config) {
    let forebay = Forebay::start(config);
    let canary = forebay.feed_until("it is rolled back", |canary| canary["phase"] == "rolled-back");
    assert_eq!((canary["weight"].as_f64(), &canary["history"][0]["event"]), (Some(0.0), &Value::from("rolled-back")));
    assert!(!canary["reason"].as_str().unwrap().is_empty(), "{canary:#}");
    assert!(count(&canary, "stable", "errors") == 0, "{canary:#}");
    forebay.is_all("old");
}

/// The same, when the new side does this.
#[track_caller]
fn is_rolled_back_at_once_for(script: Script) {
    let sides = Sides::start();
    sides.new.now(script);
    is_rolled_back_at_once(canary(&sides, "").upstream(PATIENT));
}

#[test]
fn it_starts_at_its_first_step() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, ""));
    let canary = forebay.api().canary_until("all", "it has started", |canary| canary["weight"] == 50.0);
    assert_eq!((&canary["upstream"], &canary["phase"]), (&Value::from("new"), &Value::from("stepping")));
    assert_eq!((canary["step"].as_u64(), canary["hold_ms"].as_u64()), (Some(1), Some(60_000)));
    assert_eq!((canary["requests_min"].as_u64(), &canary["kept"]), (Some(20), &Value::from(false)));
    let steps: Vec<f64> = canary["steps"].as_array().unwrap().iter().map(|step| step.as_f64().unwrap()).collect();
    assert_eq!(steps, [50.0, 100.0]);
    assert_eq!(canary["history"][0]["event"], "started");
    let split = forebay.api().split("all");
    assert_eq!((&split["overridden"]["by"], split["sides"][0]["file_weight"].as_f64()), (&"canary".into(), Some(10.0)));
    assert_eq!(forebay.api().weight("all", "old"), 50.0);
    assert_eq!(forebay.api().get("/api/v1/canary")["canaries"].as_array().unwrap().len(), 1);
}

#[test]
fn the_first_request_is_drawn_by_the_first_step() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(10.0).canary("new", "steps = [100]"));
    forebay.is_all("new");
}

#[test]
fn it_goes_on_when_it_has_held_and_answered_well_and_ends_with_all() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, ""));
    let promoted = is_promoted(&forebay);
    assert_eq!((promoted["weight"].as_f64(), &promoted["history"][0]["event"]), (Some(100.0), &"promoted".into()));
    forebay.is_all("new");
    forebay.feed_until("the last step has its requests", |canary| count(canary, "canary", "requests") >= 20);
    assert_eq!(forebay.api().canary("all")["phase"], "stepping");
    advance(Duration::from_secs(61));
    let done = forebay.feed_until("it is done", |canary| canary["phase"] == "done");
    assert_eq!((done["weight"].as_f64(), &done["history"][0]["event"]), (Some(100.0), &"done".into()));
    forebay.is_all("new");
}

#[test]
fn what_all_workers_have_seen_counts() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, "").server("workers = 2"));
    let answered = |canary: &Value| count(canary, "canary", "requests") + count(canary, "stable", "requests");
    let mut callers: Vec<_> = (0..8).map(|_| forebay.caller()).collect();
    callers.iter_mut().for_each(|caller| drop(caller.tally(10, "")));
    forebay.api().canary_until("all", "all are counted", |canary| answered(canary) == 80);
    advance(Duration::from_secs(61));
    forebay.feed_until("it is promoted", |canary| canary["step"] == 2);
}

#[test]
fn it_waits_for_enough_requests_however_long_that_takes() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, ""));
    let _few = forebay.tally(10);
    for hours in 1..=24 {
        advance(Duration::from_hours(1));
        let held = |canary: &Value| canary["held_ms"].as_u64() >= Some(hours * 3_600_000);
        let canary = forebay.api().canary_until("all", "time has passed", held);
        assert_eq!((&canary["phase"], canary["step"].as_u64()), (&"stepping".into(), Some(1)), "{canary:#}");
    }
    let reason = forebay.api().canary("all")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("20"), "it tells what it waits for: {reason}");
    forebay.feed_until("it goes on", |canary| canary["step"] == 2);
}

#[test]
fn answers_of_500_take_it_back() {
    is_rolled_back_at_once_for(answer(500, &[], "broken"));
}

#[test]
fn answers_of_503_take_it_back() {
    is_rolled_back_at_once_for(answer(503, &[], "busy"));
}

#[test]
fn broken_bodies_take_it_back() {
    is_rolled_back_at_once_for(raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").close());
}

#[test]
fn resets_take_it_back() {
    is_rolled_back_at_once_for(reset());
}

#[test]
fn what_is_no_http_takes_it_back() {
    is_rolled_back_at_once_for(raw("garbage\r\n\r\n").close());
}

#[test]
fn heads_that_do_not_come_take_it_back() {
    let sides = Sides::start();
    sides.new.now(hang());
    let timeouts = "[upstream.timeouts]\nresponse_head = \"250ms\"\n[upstream.retry]\nattempts = 0\n";
    is_rolled_back_at_once(canary(&sides, "").upstream(&format!("{timeouts}{PATIENT}")));
}

#[test]
fn requests_that_another_side_takes_over_take_it_back() {
    let sides = Sides::start();
    sides.new.go_down();
    let checked = "[upstream.health]\nkind = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1";
    is_rolled_back_at_once(canary(&sides, "").upstream(checked));
}

#[test]
fn failures_beside_many_good_answers_take_it_back() {
    let sides = Sides::start();
    sides.new.at("/sometimes", answer(500, &[], "broken"));
    let forebay = Forebay::start(canary(&sides, UNHURRIED).upstream(PATIENT));
    let mut caller = forebay.caller();
    let rolled_back = |canary: &Value| canary["phase"] == "rolled-back";
    advance(Duration::from_secs(61));
    forebay.api().canary_while("all", "it is rolled back", rolled_back, || {
        drop(caller.tally(20, ""));
        (0..8).for_each(|_| drop(caller.get("/sometimes", "")));
    });
    forebay.is_all("old");
}

#[test]
fn as_many_failures_on_both_sides_do_not_take_it_back() {
    let sides = Sides::start();
    [&sides.new, &sides.old].iter().for_each(|side| side.at("/always", answer(500, &[], "broken")));
    let forebay = Forebay::start(canary(&sides, "error_rate_max_increase = 30").upstream(PATIENT));
    let mut caller = forebay.caller();
    let enough = |canary: &Value| ["canary", "stable"].iter().all(|side| count(canary, side, "requests") >= 200);
    let canary = forebay.api().canary_while("all", "both have answered enough", enough, || {
        drop(caller.tally(9, ""));
        drop(caller.get("/always", ""));
    });
    assert_eq!(canary["phase"], "stepping", "{canary:#}");
    assert!(count(&canary, "canary", "errors") > 0 && count(&canary, "stable", "errors") > 0);
    advance(Duration::from_secs(61));
    forebay.feed_until("it goes on", |canary| canary["step"] == 2);
}

#[test]
fn a_slow_side_is_taken_back() {
    let sides = Sides::start();
    let slow = script().drip("HTTP", Duration::from_millis(25));
    sides.new.now(slow.send("/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"));
    let forebay = Forebay::start(canary(&sides, &format!("{UNHURRIED}\np95_max_ratio = 1.5")));
    let fed = fed(&forebay);
    assert!(fed["canary"]["p95_ms"].as_f64().unwrap() >= 75.0, "{fed:#}");
    advance(Duration::from_secs(61));
    let canary = forebay.feed_until("it is rolled back", |canary| canary["phase"] == "rolled-back");
    assert_eq!(count(&canary, "canary", "errors"), 0, "{canary:#}");
    forebay.is_all("old");
}

#[test]
fn a_slow_side_goes_on_when_nobody_minds() {
    let sides = Sides::start();
    let slow = script().drip("HTTP", Duration::from_millis(5));
    sides.new.now(slow.send("/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"));
    is_promoted(&Forebay::start(canary(&sides, "p95_max_ratio = 0")));
}

#[test]
fn answers_that_differ_take_it_back() {
    let sides = Sides::start();
    let mirror = "[route.mirror]\nupstream = \"new\"\ncompare = { other_body = true }\n";
    let config = canary(&sides, &format!("{UNHURRIED}\nmismatch_rate_max = 0.1"));
    let forebay = Forebay::start(config.more(mirror));
    forebay.feed_until("both sides have answered and enough is compared", |canary| {
        canary["compared"].as_u64() >= Some(20)
            && ["canary", "stable"].iter().all(|side| count(canary, side, "requests") >= 20)
    });
    advance(Duration::from_secs(61));
    let canary = forebay.feed_until("it is rolled back", |canary| canary["phase"] == "rolled-back");
    assert!(canary["mismatched"].as_u64() > Some(0), "{canary:#}");
}

#[test]
fn what_clients_do_wrong_does_not_take_it_back() {
    let sides = Sides::start();
    sides.new.now(answer(404, &[], "none"));
    is_promoted(&Forebay::start(canary(&sides, "")));
}

#[test]
fn a_failure_that_a_second_try_mends_is_none() {
    let sides = Sides::start();
    let busy = Origin::start(answer(503, &[], "busy"));
    let config = Config::default().side("new", [&busy, &sides.new], 10.0).side("old", [&sides.old], 90.0);
    let retry = "[upstream.retry]\nbudget_percent = 100\nbudget_floor = 1000\n";
    let forebay = Forebay::start(config.canary("new", "").upstream(&format!("{retry}{PATIENT}")));
    let canary = is_promoted(&forebay);
    assert!(busy.seen() >= 10);
    assert_eq!(count(&canary, "canary", "errors"), 0, "{canary:#}");
}

#[test]
fn clients_that_leave_are_no_evidence() {
    let sides = Sides::start();
    [&sides.new, &sides.old].iter().for_each(|side| side.at("/held", hang()));
    let forebay = Forebay::start(canary(&sides, "").upstream(PATIENT));
    for turn in 1..=30 {
        let client = testbed::asking(&forebay, "GET /held HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        eventually("a side has it", || sides.new.seen() + sides.old.seen() == turn);
        client.reset();
    }
    for _ in 0..30 {
        let mut client = forebay.client();
        client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 9\r\n\r\nabc");
        forebay.eventually("it has begun", |gauges| gauges.in_flight > 0);
        client.reset();
    }
    forebay.is_idle();
    let canary = forebay.api().canary("all");
    assert_eq!((&canary["phase"], canary["weight"].as_f64()), (&"stepping".into(), Some(50.0)), "{canary:#}");
    for side in ["canary", "stable"] {
        assert_eq!((count(&canary, side, "requests"), count(&canary, side, "errors")), (0, 0), "{canary:#}");
    }
}

#[test]
fn what_is_served_from_the_cache_is_no_evidence() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, "").cached("ttl = \"60s\""));
    eventually("both sides are stored", || forebay.tally(20).len() == 2);
    let _hits = forebay.tally(200);
    forebay.is_idle();
    assert_eq!((sides.new.seen(), sides.old.seen()), (1, 1));
    forebay.api().canary_until("all", "what the sides have answered is counted, and nothing else", |canary| {
        (count(canary, "canary", "requests"), count(canary, "stable", "requests")) == (1, 1)
    });
}

#[test]
fn each_step_is_judged_by_its_own_requests() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, "steps = [50, 60, 100]"));
    let before = fed(&forebay);
    forebay.is_idle();
    advance(Duration::from_secs(61));
    forebay.api().canary_until("all", "it is promoted", |canary| canary["step"] == 2);
    let after = forebay.api().canary("all");
    assert!(count(&before, "canary", "requests") >= 20);
    assert_eq!((count(&after, "canary", "requests"), count(&after, "stable", "requests")), (0, 0), "{after:#}");
    assert!(after["held_ms"].as_u64() < Some(60_000));
}

#[test]
fn a_side_that_turns_bad_at_a_later_step_is_taken_back() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, "").upstream(PATIENT));
    is_promoted(&forebay);
    sides.new.now(answer(500, &[], "broken"));
    let canary = forebay.feed_until("it is rolled back", |canary| canary["phase"] == "rolled-back");
    assert_eq!(canary["weight"].as_f64(), Some(0.0));
    forebay.is_all("old");
}

#[test]
fn it_pauses_in_place_of_going_back_when_the_file_says_so() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, "on_failure = \"pause\"").upstream(PATIENT));
    sides.new.now(answer(500, &[], "broken"));
    let canary = forebay.feed_until("it is paused", |canary| canary["phase"] == "paused");
    assert_eq!((canary["weight"].as_f64(), canary["step"].as_u64()), (Some(50.0), Some(1)));
    assert!(!canary["reason"].as_str().unwrap().is_empty());
    sides.new.now(ok("new"));
    forebay.api().direct("all", "resume");
    is_promoted(&forebay);
}

#[test]
fn it_goes_back_step_by_step_when_the_file_says_so() {
    let sides = Sides::start();
    let keys = "steps = [10, 30, 50, 100]\nrollback = \"steps\"\nrollback_interval = \"10s\"";
    let forebay = Forebay::start(canary(&sides, keys).upstream(PATIENT));
    forebay.api().direct("all", "promote");
    forebay.api().direct("all", "promote");
    sides.new.now(answer(500, &[], "broken"));
    let canary = forebay.feed_until("it goes back", |canary| canary["phase"] == "rolling-back");
    let mut weights = vec![canary["weight"].as_f64().unwrap()];
    while weights.last() != Some(&0.0) {
        advance(Duration::from_secs(10));
        let last = weights.last().copied();
        let next = forebay.api().canary_until("all", "a step down", |canary| canary["weight"].as_f64() != last);
        weights.push(next["weight"].as_f64().unwrap());
    }
    let down = [50.0, 30.0, 10.0, 0.0];
    assert!(weights == down || weights == down[1..], "{weights:?}");
    forebay.api().canary_until("all", "it is over", |canary| canary["phase"] == "rolled-back");
    forebay.is_all("old");
}

#[test]
fn the_other_sides_share_the_rest_in_proportion() {
    let sides = Sides::start();
    let third = Origin::start(ok("third"));
    let config = split(&[("new", &sides.new, 10.0), ("old", &sides.old, 60.0), ("third", &third, 30.0)]);
    let forebay = Forebay::start(config.canary("new", "steps = [40, 100]"));
    let api = forebay.api();
    api.canary_until("all", "it has started", |canary| canary["weight"] == 40.0);
    assert_eq!((api.weight("all", "old"), api.weight("all", "third")), (40.0, 20.0));
    api.direct("all", "abort");
    assert_eq!(api.weight("all", "new"), 0.0);
    let (old, third) = (api.weight("all", "old"), api.weight("all", "third"));
    assert!((old - 66.667).abs() < 0.002 && (third - 33.333).abs() < 0.002, "{old} {third}");
}
