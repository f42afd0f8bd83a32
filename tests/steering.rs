//! Weights that an operator, a canary and the file have all set: after restarts and reloads, and when the state can't
//! be saved.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Config, Forebay, Origin, Sides, StateDir, advance, answer, eventually, ok, split};

const STEPS: &str = "steps = [10, 50, 100]";

/// The same split as that of [`Sides::split`], its sides the other way round.
fn reordered(sides: &Sides, percent: f64) -> Config {
    split(&[("old", &sides.old, 100.0 - percent), ("new", &sides.new, percent)])
}

/// What the canary and the others have answered in this step.
fn counted(canary: &Value) -> [Option<u64>; 2] {
    ["canary", "stable"].map(|side| canary[side]["requests"].as_u64())
}

#[test]
fn what_was_answered_before_a_canary_came_is_none_of_its_evidence() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(50.0));
    let _answers = forebay.tally(200);
    forebay.reload(sides.split(50.0).canary("new", STEPS));
    forebay.api().canary_until("all", "it has begun", |canary| canary["weight"] == 10.0);
    assert_eq!(counted(&forebay.api().canary("all")), [Some(0), Some(0)]);
}

#[test]
fn what_a_side_answered_before_it_was_the_canary_is_none_of_its_evidence() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(50.0).canary("new", "steps = [50, 100]"));
    let _answers = forebay.tally(200);
    forebay.reload(sides.split(50.0).canary("old", STEPS));
    forebay.api().canary_until("all", "it has begun", |canary| canary["upstream"] == "old");
    assert_eq!(counted(&forebay.api().canary("all")), [Some(0), Some(0)]);
}

#[test]
fn a_canary_that_comes_with_a_restart_has_its_first_steps_share_whatever_was_set_before() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(5.0).server(&state.key()));
    forebay.api().set_weights("all", &[("new", 60.0)]);
    drop(forebay);
    let forebay = Forebay::start(sides.split(5.0).canary("new", STEPS).server(&state.key()));
    assert_eq!(forebay.api().weight("all", "new"), 10.0);
    assert_eq!(forebay.api().split("all")["overridden"]["by"], "canary");
}

#[test]
fn a_canary_that_goes_with_a_restart_leaves_its_share_behind() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(5.0).canary("new", STEPS).server(&state.key()));
    forebay.api().direct("all", "abort");
    drop(forebay);
    let forebay = Forebay::start(sides.split(5.0).server(&state.key()));
    assert_eq!(forebay.api().weight("all", "new"), 0.0);
    assert_eq!(forebay.api().split("all")["overridden"]["by"], "canary");
    forebay.api().reset_weights("all");
    assert_eq!(forebay.api().weight("all", "new"), 5.0);
}

#[test]
fn a_reload_that_only_reorders_the_sides_changes_nothing() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(5.0).canary("new", STEPS));
    forebay.api().direct("all", "promote");
    forebay.reload(reordered(&sides, 5.0).canary("new", STEPS));
    eventually("the new plan is used", || forebay.api().split("all")["sides"][0]["upstream"] == "old");
    let canary = forebay.api().canary("all");
    assert_eq!((canary["upstream"].as_str(), canary["step"].as_u64()), (Some("new"), Some(2)), "{canary:#}");
    assert_eq!(forebay.api().weight("all", "new"), 50.0);
}

#[test]
fn a_restart_that_only_reorders_the_sides_changes_nothing() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(5.0).server(&state.key()));
    forebay.api().set_weights("all", &[("new", 35.0)]);
    drop(forebay);
    let forebay = Forebay::start(reordered(&sides, 5.0).server(&state.key()));
    assert_eq!((forebay.api().weight("all", "new"), forebay.api().weight("all", "old")), (35.0, 65.0));
}

#[test]
fn kept_weights_that_do_not_fit_the_sides_are_not_used() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let kept = json!({"version": 1, "routes": {"all": {
        "file": [["new", 0.0], ["old", 100.0]],
        "overridden": {"percent": [0.0, 0.0, 100.0], "by": "nobody", "at_ms": 1},
    }}});
    fs::write(state.path().join("rollout.json"), kept.to_string()).unwrap();
    let forebay = Forebay::start(sides.split(0.0).server(&state.key()));
    forebay.is_all("old");
    assert_eq!(forebay.api().split("all").get("overridden"), None);
}

#[test]
fn weights_that_can_t_be_kept_are_told_as_not_kept() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(0.0).server(&state.key()));
    // What it would be written to first can't be written.
    let blocked = state.path().join("rollout.json.new");
    fs::create_dir(&blocked).unwrap();
    let split = forebay.api().set_weights("all", &[("new", 35.0)]);
    assert_eq!((&split["overridden"]["kept"], &split["sides"][0]["weight"]), (&json!(false), &json!(35.0)));
    fs::remove_dir(&blocked).unwrap();
    let is_kept = || forebay.api().split("all")["overridden"]["kept"] == true;
    eventually("it is kept after all", is_kept);
    drop(forebay);
    assert_eq!(Forebay::start(sides.split(0.0).server(&state.key())).api().weight("all", "new"), 35.0);
}

#[test]
fn sides_that_have_nothing_now_share_the_rest_as_the_file_says() {
    let (sides, third) = (Sides::start(), Origin::start(ok("third")));
    let forebay =
        Forebay::start(split(&[("new", &sides.new, 10.0), ("old", &sides.old, 60.0), ("third", &third, 30.0)]));
    let api = forebay.api();
    api.set_weights("all", &[("new", 100.0)]);
    api.set_weights("all", &[("new", 40.0)]);
    assert_eq!((api.weight("all", "old"), api.weight("all", "third")), (40.0, 20.0));
}

#[test]
fn an_order_that_names_no_side_is_refused_and_pauses_nothing() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(5.0).canary("new", STEPS));
    let refused = forebay.api().ask("POST", "/api/v1/split/all", "{\"weights\":{}}");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(forebay.api().canary("all")["phase"], "stepping");
}

#[test]
fn a_canary_is_told_with_the_share_that_it_has() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || sides.split(5.0).canary("new", "steps = [10]").server(&state.key());
    let forebay = Forebay::start(config());
    forebay.api().direct("all", "promote");
    forebay.api().set_weights("all", &[("new", 35.0)]);
    drop(forebay);
    let forebay = Forebay::start(config());
    assert_eq!(forebay.api().weight("all", "new"), 35.0);
    let canary = forebay.api().canary("all");
    assert_eq!((canary["phase"].as_str(), canary["weight"].as_f64()), (Some("done"), Some(35.0)));
}

#[test]
fn a_webhook_is_found_by_name() {
    let (sides, hook) = (Sides::start(), Origin::start(answer(204, &[], "")));
    let keys = format!("{STEPS}\nwebhook = \"http://localhost:{}/hook\"", hook.address().port());
    let _forebay = Forebay::start(sides.split(5.0).canary("new", &keys));
    eventually("the start is told", || hook.seen() == 1);
}

#[test]
fn a_canary_that_waits_for_requests_has_nothing_new_to_keep() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(5.0).canary("new", STEPS).server(&state.key()));
    advance(Duration::from_hours(1));
    forebay.api().canary_until("all", "the hold is long over", |canary| canary["held_ms"].as_u64() > Some(3_000_000));
    let canary = forebay.api().direct("all", "pause");
    let kept: Value = serde_json::from_slice(&fs::read(state.path().join("rollout.json")).unwrap()).unwrap();
    assert_eq!(kept["routes"]["all"]["canary"]["progress"]["held_ms"], canary["hold_ms"], "{kept:#}");
}
