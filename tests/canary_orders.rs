//! Canaries: orders of operators, restarts, reloads and webhooks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{
    Api, BodyEnd, Config, Forebay, Gate, Origin, Process, Sides, StateDir, advance, answer, eventually, hang, ok,
    script,
};

const STEPS: &str = "steps = [10, 50, 100]";

/// The new side as a canary with these keys.
fn canary(sides: &Sides, keys: &str) -> Config {
    sides.split(5.0).canary("new", keys)
}

/// A proxy whose canary has steps of 10, 50 and 100 %.
fn start(sides: &Sides) -> Forebay {
    Forebay::start(canary(sides, STEPS))
}

/// Asserts the phase and the share, in percent, of the canary.
#[track_caller]
fn is(canary: &Value, phase: &str, weight: f64) {
    assert_eq!((canary["phase"].as_str(), canary["weight"].as_f64()), (Some(phase), Some(weight)), "{canary:#}");
}

/// Asserts that all of these orders are refused and change nothing.
#[track_caller]
fn refuses(api: Api, orders: &[&str]) {
    let before = api.canary("all");
    for order in orders {
        let refused = api.try_direct("all", order);
        assert_eq!(refused.status, 409, "{order}: {}", refused.text());
        assert!(refused.field("content-type").is_some_and(|kind| kind.contains("json")));
    }
    let after = api.canary("all");
    for key in ["phase", "step", "weight", "history"] {
        assert_eq!(before[key], after[key]);
    }
}

/// Sends enough requests and lets the hold pass.
#[track_caller]
fn lets_it_hold(forebay: &Forebay) {
    forebay.feed_until("both sides have answered enough", |canary| {
        ["canary", "stable"].iter().all(|side| canary[side]["requests"].as_u64() >= Some(20))
    });
    advance(Duration::from_secs(61));
}

#[test]
fn a_paused_canary_stays_and_goes_on_when_resumed() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, "steps = [50, 100]"));
    let api = forebay.api();
    is(&api.direct("all", "pause"), "paused", 50.0);
    advance(Duration::from_hours(1));
    // More requests than a verdict needs, and time for the canary to look.
    let begun = sides.new.seen();
    eventually("many requests are answered", || {
        let _answers = forebay.tally(100);
        sides.new.seen() > begun + 200
    });
    is(&api.canary("all"), "paused", 50.0);
    assert!(api.canary("all")["held_ms"].as_u64() < Some(60_000), "held time stands still");
    is(&api.direct("all", "resume"), "stepping", 50.0);
    lets_it_hold(&forebay);
    let canary = forebay.feed_until("it goes on", |canary| canary["step"] == 2);
    let events: Vec<&str> =
        canary["history"].as_array().unwrap().iter().map(|change| change["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["promoted", "resumed", "paused", "started"]);
}

#[test]
fn a_promotion_goes_one_step_and_a_full_one_to_the_last() {
    let sides = Sides::start();
    let forebay = start(&sides);
    is(&forebay.api().direct("all", "promote"), "stepping", 50.0);
    assert_eq!(forebay.api().canary("all")["step"], 2);
    let full = forebay.api().post("/api/v1/canary/all/restart", &json!({}));
    assert_eq!(full["step"], 1);
    let full = forebay.api().post("/api/v1/canary/all/promote", &json!({"full": true, "by": "alice"}));
    assert_eq!((full["weight"].as_f64(), full["step"].as_u64()), (Some(100.0), Some(3)));
    assert!(full["history"][0]["reason"].as_str().unwrap().contains("alice"), "{full:#}");
    forebay.is_all("new");
}

#[test]
fn a_promotion_from_the_last_step_ends_it() {
    let sides = Sides::start();
    let forebay = start(&sides);
    forebay.api().post("/api/v1/canary/all/promote", &json!({"full": true}));
    is(&forebay.api().direct("all", "promote"), "done", 100.0);
    forebay.is_all("new");
}

#[test]
fn an_aborted_canary_has_no_share_and_can_only_be_restarted() {
    let sides = Sides::start();
    let forebay = start(&sides);
    forebay.api().direct("all", "promote");
    let aborted = forebay.api().direct("all", "abort");
    is(&aborted, "aborted", 0.0);
    assert_eq!(aborted["history"][0]["event"], "aborted");
    forebay.is_all("old");
    refuses(forebay.api(), &["pause", "resume", "promote", "abort"]);
    let restarted = forebay.api().direct("all", "restart");
    is(&restarted, "stepping", 10.0);
    assert_eq!((restarted["step"].as_u64(), &restarted["history"][0]["event"]), (Some(1), &json!("restarted")));
}

#[test]
fn what_makes_no_sense_now_is_refused() {
    let sides = Sides::start();
    let forebay = start(&sides);
    refuses(forebay.api(), &["resume"]);
    forebay.api().direct("all", "pause");
    refuses(forebay.api(), &["pause"]);
}

#[test]
fn a_canary_that_is_done_can_only_be_aborted_or_restarted() {
    let sides = Sides::start();
    let forebay = Forebay::start(canary(&sides, "steps = [50]"));
    lets_it_hold(&forebay);
    is(&forebay.feed_until("it is done", |canary| canary["phase"] == "done"), "done", 50.0);
    refuses(forebay.api(), &["pause", "resume", "promote"]);
    is(&forebay.api().direct("all", "abort"), "aborted", 0.0);
    is(&forebay.api().direct("all", "restart"), "stepping", 50.0);
}

#[test]
fn a_canary_that_was_rolled_back_can_be_restarted() {
    let sides = Sides::start();
    sides.new.now(answer(500, &[], "broken"));
    let forebay = Forebay::start(canary(&sides, "steps = [50, 100]"));
    forebay.feed_until("it is rolled back", |canary| canary["phase"] == "rolled-back");
    refuses(forebay.api(), &["pause", "resume", "promote"]);
    sides.new.now(ok("new"));
    is(&forebay.api().direct("all", "restart"), "stepping", 50.0);
}

#[test]
fn where_there_is_no_canary_nothing_is_directed() {
    let sides = Sides::start();
    let plain = "[[route]]\nname = \"plain\"\npath = \"/plain\"\nupstream = \"old\"";
    let forebay = Forebay::start(canary(&sides, STEPS).more(plain));
    for route in ["plain", "nowhere"] {
        forebay.api().try_direct(route, "pause").is_status(404);
        forebay.api().ask("GET", &format!("/api/v1/canary/{route}"), "").is_status(404);
    }
    forebay.api().try_direct("all", "explode").is_status(404);
    let unread = forebay.api().ask("POST", "/api/v1/canary/all/pause", "{\"by\":7}");
    assert!(matches!(unread.status, 400 | 422), "{}", unread.text());
    is(&forebay.api().canary("all"), "stepping", 10.0);
}

#[test]
fn weights_set_by_hand_pause_it() {
    let sides = Sides::start();
    let forebay = start(&sides);
    forebay.api().set_weights("all", &[("new", 100.0)]);
    let canary = forebay.api().canary_until("all", "it is paused", |canary| canary["phase"] == "paused");
    assert_eq!(canary["history"][0]["event"], "paused");
    assert!(canary["history"][0]["reason"].as_str().unwrap().contains("alice"), "{canary:#}");
    advance(Duration::from_hours(1));
    forebay.is_all("new");
    assert_eq!(forebay.api().split("all")["overridden"]["by"], "alice");
    is(&forebay.api().direct("all", "restart"), "stepping", 10.0);
    assert_eq!(forebay.api().weight("all", "new"), 10.0);
}

#[test]
fn weights_reset_by_hand_pause_it() {
    let sides = Sides::start();
    let forebay = start(&sides);
    forebay.api().direct("all", "promote");
    forebay.api().reset_weights("all");
    forebay.api().canary_until("all", "it is paused", |canary| canary["phase"] == "paused");
    assert_eq!(forebay.api().weight("all", "new"), 5.0);
}

#[test]
fn weights_that_pause_it_are_kept_over_a_restart_and_so_is_the_pause() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || canary(&sides, STEPS).server(&state.key());
    let forebay = Forebay::start(config());
    forebay.api().set_weights("all", &[("new", 100.0)]);
    drop(forebay);
    let forebay = Forebay::start(config());
    forebay.is_all("new");
    assert_eq!(forebay.api().canary("all")["phase"], "paused");
    assert_eq!(forebay.api().weight("all", "new"), 100.0);
}

#[test]
fn progress_survives_a_restart() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || canary(&sides, STEPS).server(&state.key());
    let forebay = Forebay::start(config());
    forebay.api().direct("all", "promote");
    forebay.api().direct("all", "promote");
    let before = forebay.api().canary("all");
    assert_eq!((before["step"].as_u64(), &before["kept"]), (Some(3), &json!(true)));
    drop(forebay);
    let forebay = Forebay::start(config());
    // From the first request on.
    forebay.is_all("new");
    let after = forebay.api().canary("all");
    is(&after, "stepping", 100.0);
    assert_eq!((after["step"].as_u64(), &after["history"]), (Some(3), &before["history"]));
    forebay.api().direct("all", "pause");
    drop(forebay);
    is(&Forebay::start(config()).api().canary("all"), "paused", 100.0);
}

#[test]
fn an_aborted_canary_stays_so_after_a_restart() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || canary(&sides, STEPS).server(&state.key());
    let forebay = Forebay::start(config());
    forebay.api().direct("all", "abort");
    drop(forebay);
    let forebay = Forebay::start(config());
    forebay.is_all("old");
    is(&forebay.api().canary("all"), "aborted", 0.0);
}

#[test]
fn progress_survives_a_kill() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let start = || Process::start(env!("CARGO_BIN_EXE_forebay"), canary(&sides, STEPS).server(&state.key()));
    let process = start();
    process.api().direct("all", "promote");
    process.kill();
    let process = start();
    is(&process.api().canary("all"), "stepping", 50.0);
    process.caller().get("/", "").is_status(200);
}

#[test]
fn without_a_state_dir_a_restart_begins_anew() {
    let sides = Sides::start();
    let forebay = start(&sides);
    forebay.api().direct("all", "promote");
    assert_eq!(forebay.api().canary("all")["kept"], false);
    drop(forebay);
    is(&start(&sides).api().canary_until("all", "it starts", |canary| canary["weight"] == 10.0), "stepping", 10.0);
}

#[test]
fn progress_survives_a_reload_unless_the_files_weights_change() {
    let sides = Sides::start();
    let forebay = start(&sides);
    forebay.api().direct("all", "promote");
    forebay.reload(canary(&sides, STEPS).route("set_response_headers = { x-plan = \"two\" }"));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("two"));
    is(&forebay.api().canary("all"), "stepping", 50.0);
    forebay.reload(sides.split(6.0).canary("new", STEPS));
    let anew = forebay.api().canary_until("all", "it begins anew", |canary| canary["step"] == 1);
    is(&anew, "stepping", 10.0);
}

#[test]
fn a_reload_brings_a_canary_and_takes_it_away() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(5.0));
    assert_eq!(forebay.api().get("/api/v1/canary"), json!({"canaries": []}));
    forebay.reload(canary(&sides, STEPS));
    let started = || forebay.api().ask("GET", "/api/v1/canary/all", "").text().contains("\"stepping\"");
    eventually("it has started", started);
    forebay.api().canary_until("all", "it has its share", |canary| canary["weight"] == 10.0);
    assert_eq!(forebay.api().weight("all", "new"), 10.0);
    forebay.reload(sides.split(5.0));
    eventually("it is gone", || forebay.api().ask("GET", "/api/v1/canary/all", "").status == 404);
    forebay.get("/").is_status(200);
}

/// The changes that a webhook has received, in order.
fn told(hook: &Origin) -> Vec<Value> {
    let whole = hook.requests().into_iter().filter(|request| request.body_end == BodyEnd::Complete);
    whole.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

/// A proxy whose canary sends its changes to this webhook.
fn telling(sides: &Sides, hook: &Origin) -> Forebay {
    Forebay::start(canary(sides, &format!("{STEPS}\nwebhook = \"{}/hook?key=1\"", hook.url())))
}

/// Asserts that the canary follows orders, and that clients get their responses.
#[track_caller]
fn goes_on(forebay: &Forebay) {
    is(&forebay.api().direct("all", "promote"), "stepping", 50.0);
    is(&forebay.api().direct("all", "pause"), "paused", 50.0);
    is(&forebay.api().direct("all", "resume"), "stepping", 50.0);
    let tally = forebay.tally(100);
    assert!(tally.keys().all(|said| said == "new" || said == "old"), "{tally:?}");
    is(&forebay.api().direct("all", "promote"), "stepping", 100.0);
    forebay.is_all("new");
}

#[test]
fn a_webhook_is_told_of_every_change_in_order() {
    let (sides, hook) = (Sides::start(), Origin::start(answer(204, &[], "")));
    let forebay = telling(&sides, &hook);
    eventually("the start is told", || told(&hook).len() == 1);
    forebay.api().post("/api/v1/canary/all/promote", &json!({"by": "alice"}));
    forebay.api().direct("all", "pause");
    forebay.api().direct("all", "abort");
    eventually("all is told", || told(&hook).len() == 4);
    let wanted = [("started", 10.0), ("promoted", 50.0), ("paused", 50.0), ("aborted", 0.0)];
    for (change, (event, weight)) in told(&hook).iter().zip(wanted) {
        assert_eq!((&change["route"], &change["event"]), (&json!("all"), &json!(event)), "{change:#}");
        assert_eq!(change["weight"].as_f64(), Some(weight), "{change:#}");
        assert!(change["at_ms"].as_u64() > Some(1_700_000_000_000) && change["reason"].is_string(), "{change:#}");
    }
    assert!(told(&hook)[1]["reason"].as_str().unwrap().contains("alice"));
    let request = &hook.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/hook?key=1"));
    assert_eq!(request.head.field("content-type"), Some("application/json"));
    assert_eq!(request.head.field("host"), Some(hook.address().to_string().as_str()));
}

#[test]
fn a_webhook_that_fails_is_told_again() {
    let (sides, hook) = (Sides::start(), Origin::start(ok("")));
    hook.once(answer(503, &[], "later"));
    let _forebay = telling(&sides, &hook);
    eventually("it is told again", || {
        let told = told(&hook);
        told.len() == 2 && told[0] == told[1]
    });
}

#[test]
fn a_webhook_that_is_down_harms_nothing() {
    let (sides, hook) = (Sides::start(), Origin::refusing(ok("")));
    goes_on(&telling(&sides, &hook));
}

#[test]
fn a_webhook_that_always_fails_harms_nothing() {
    let (sides, hook) = (Sides::start(), Origin::start(answer(500, &[], "no")));
    goes_on(&telling(&sides, &hook));
}

#[test]
fn a_webhook_that_hangs_harms_nothing() {
    let (sides, hook) = (Sides::start(), Origin::start(hang()));
    let forebay = telling(&sides, &hook);
    eventually("it hangs", || hook.held() == 1);
    goes_on(&forebay);
    drop(forebay);
    eventually("a proxy that ends lets go of it", || hook.open() == 0);
}

#[test]
fn a_webhook_that_answers_late_is_told_the_rest_afterwards() {
    let (sides, gate) = (Sides::start(), Gate::new());
    let hook = Origin::start(ok(""));
    hook.once(script().wait(&gate).then(ok("")));
    let forebay = telling(&sides, &hook);
    eventually("it is being told", || hook.held() == 1);
    goes_on(&forebay);
    gate.open();
    eventually("all is told", || told(&hook).len() == 5);
    let told = told(&hook);
    let events: Vec<&str> = told.iter().map(|change| change["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "promoted", "paused", "resumed", "promoted"]);
}

#[test]
fn a_drain_does_not_wait_for_a_webhook() {
    let (sides, hook) = (Sides::start(), Origin::start(hang()));
    let forebay = telling(&sides, &hook);
    eventually("it hangs", || hook.held() == 1);
    let begun = std::time::Instant::now();
    forebay.drain();
    forebay.wait();
    assert!(begun.elapsed() < testbed::DEADLINE);
}

#[test]
fn a_reload_brings_another_webhook() {
    let (sides, one, two) = (Sides::start(), Origin::start(ok("")), Origin::start(ok("")));
    let forebay = telling(&sides, &one);
    eventually("the start is told", || told(&one).len() == 1);
    let keys = format!("{STEPS}\nwebhook = \"{}/other\"", two.url());
    forebay.reload(canary(&sides, &keys).route("set_response_headers = { x-plan = \"two\" }"));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("two"));
    forebay.api().direct("all", "promote");
    eventually("the other is told", || told(&two).len() == 1);
    assert_eq!((told(&two)[0]["event"].as_str(), two.last().target.as_str()), (Some("promoted"), "/other"));
    assert_eq!(one.seen(), 1);
}

#[test]
fn a_failure_is_told() {
    let (sides, hook) = (Sides::start(), Origin::start(ok("")));
    let keys = format!("steps = [50, 100]\nwebhook = \"{}/hook\"", hook.url());
    let forebay = Forebay::start(canary(&sides, &keys));
    sides.new.now(answer(500, &[], "broken"));
    forebay.feed_until("it is rolled back", |canary| canary["phase"] == "rolled-back");
    eventually("it is told", || told(&hook).last().is_some_and(|change| change["event"] == "rolled-back"));
    let last = told(&hook).pop().unwrap();
    assert!(last["weight"].as_f64() == Some(0.0) && !last["reason"].as_str().unwrap().is_empty(), "{last:#}");
}
