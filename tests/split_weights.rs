//! Weights of splits at run time: in force at once, validated, overridden by a change of the file, and persistent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testbed::{Config, Forebay, Origin, Process, Sides, StateDir, eventually, forward, ok, split};

/// The weight of each side in force, in file order.
fn weights(split: &Value) -> Vec<f64> {
    split["sides"].as_array().unwrap().iter().map(|side| side["weight"].as_f64().unwrap()).collect()
}

/// 50 %, 30 % and 20 %.
fn three(origins: &[Origin]) -> Config {
    split(&[("a", &origins[0], 50.0), ("b", &origins[1], 30.0), ("c", &origins[2], 20.0)])
}

/// The response to an order with this body, for this route.
fn refused(forebay: &Forebay, route: &str, body: &str, status: u16) {
    let response = forebay.api().ask("POST", &format!("/api/v1/split/{route}"), body);
    assert_eq!(response.status, status, "{body}: {}", response.text());
}

/// The state file of the weights.
fn file(state: &StateDir) -> PathBuf {
    state.path().join("rollout.json")
}

#[test]
fn a_split_is_told_as_the_file_says_it() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(20.0).route("sticky = \"client-ip\""));
    let split = forebay.api().split("all");
    assert_eq!((&split["route"], &split["sticky"]), (&json!("all"), &json!("client-ip")));
    assert_eq!(split.get("overridden"), None);
    let told = |side: &Value| (side["upstream"].clone(), side["weight"].as_f64(), side["file_weight"].as_f64());
    let sides: Vec<_> = split["sides"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(sides, [(json!("new"), Some(20.0), Some(20.0)), (json!("old"), Some(80.0), Some(80.0))]);
    assert_eq!(forebay.api().get("/api/v1/split")["splits"].as_array().unwrap().len(), 1);
}

#[test]
fn new_weights_are_those_of_the_next_request() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(50.0));
    for percent in [100.0, 0.0, 100.0, 0.0] {
        let split = forebay.api().set_weights("all", &[("new", percent)]);
        assert_eq!(weights(&split), [percent, 100.0 - percent]);
        forebay.is_all(if percent > 0.0 { "new" } else { "old" });
    }
}

#[test]
fn new_weights_hold_on_kept_connections_and_in_all_workers() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0).server("workers = 2"));
    let mut callers: Vec<_> = (0..8).map(|_| forebay.caller()).collect();
    for caller in &mut callers {
        caller.get("/", "").is(200, "old");
    }
    forebay.api().set_weights("all", &[("new", 100.0)]);
    for caller in &mut callers {
        caller.get("/", "").is(200, "new");
    }
}

#[test]
fn sides_that_are_not_named_share_the_rest_in_proportion() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(three(&origins));
    assert_eq!(weights(&forebay.api().set_weights("all", &[("a", 60.0)])), [60.0, 24.0, 16.0]);
    assert_eq!(weights(&forebay.api().set_weights("all", &[("a", 10.0), ("b", 20.0)])), [10.0, 20.0, 70.0]);
    assert_eq!(weights(&forebay.api().set_weights("all", &[("a", 0.0), ("b", 99.9), ("c", 0.1)])), [0.0, 99.9, 0.1]);
}

#[test]
fn weights_that_are_none_are_refused_and_change_nothing() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(three(&origins));
    for weights in [
        json!({"a": 50, "b": 30, "c": 21}),
        json!({"a": 50, "b": 51}),
        json!({"a": 101}),
        json!({"a": -1}),
        json!({"a": 0.0001}),
        json!({"a": 1e300}),
        json!({"d": 10}),
        json!({"A": 10}),
        json!({"": 10}),
    ] {
        refused(&forebay, "all", &json!({ "weights": weights }).to_string(), 422);
    }
    let split = forebay.api().split("all");
    assert_eq!((weights(&split), split.get("overridden")), (vec![50.0, 30.0, 20.0], None));
}

#[test]
fn an_order_that_can_t_be_read_is_refused() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(50.0));
    for body in ["{", "[]", "{\"weights\":{\"new\":\"35\"}}", "{\"wieghts\":{\"new\":35}}", "{\"weights\":[35]}"] {
        let response = forebay.api().ask("POST", "/api/v1/split/all", body);
        assert!(matches!(response.status, 400 | 422), "{body}: {}", response.status);
    }
    assert_eq!(forebay.api().weight("all", "new"), 50.0);
}

#[test]
fn a_route_that_has_no_split_has_no_weights() {
    let sides = Sides::start();
    let plain = "[[route]]\nname = \"plain\"\npath = \"/plain\"\nupstream = \"old\"";
    let forebay = Forebay::start(sides.split(50.0).more(plain));
    for route in ["plain", "nowhere"] {
        refused(&forebay, route, "{\"weights\":{\"new\":35}}", 404);
        refused(&forebay, &format!("{route}/reset"), "", 404);
        forebay.api().ask("GET", &format!("/api/v1/split/{route}"), "").is_status(404);
    }
    let without = Forebay::start(forward([&sides.old]).more("[admin]\nlisten = \"127.0.0.1:0\""));
    assert_eq!(without.api().get("/api/v1/split"), json!({"splits": []}));
}

#[test]
fn only_the_split_that_was_named_changes() {
    let sides = Sides::start();
    let sides_of_it = "[{ upstream = \"new\", weight = 0 }, { upstream = \"old\", weight = 100 }]";
    let more = format!("[[route]]\npath = \"/api/users\"\nsplit = {sides_of_it}");
    let forebay = Forebay::start(sides.split(0.0).more(&more));
    // A route without a name is called by its path.
    forebay.api().set_weights("/api/users", &[("new", 100.0)]);
    forebay.get("/api/users").is(200, "new");
    forebay.is_all("old");
    assert_eq!(forebay.api().weight("all", "new"), 0.0);
}

#[test]
fn who_changed_the_weights_is_told_and_that_they_are_not_kept_without_a_state_dir() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(20.0));
    forebay.api().set_weights("all", &[("new", 35.0)]);
    let split = forebay.api().split("all");
    let changed = &split["overridden"];
    assert_eq!((&changed["by"], &changed["kept"]), (&json!("alice"), &json!(false)));
    assert!(changed["at_ms"].as_u64().unwrap() > 1_700_000_000_000, "{changed}");
    assert_eq!(split["sides"][0]["file_weight"].as_f64(), Some(20.0));
    forebay.api().post("/api/v1/split/all", &json!({"weights": {"new": 40}}));
    assert_eq!(forebay.api().split("all")["overridden"]["by"], "api");
}

#[test]
fn weights_survive_a_restart() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || sides.split(0.0).server(&state.key());
    let forebay = Forebay::start(config());
    forebay.api().set_weights("all", &[("new", 100.0)]);
    let before = forebay.api().split("all");
    assert_eq!(before["overridden"]["kept"], true);
    drop(forebay);
    assert!(file(&state).exists());
    let forebay = Forebay::start(config());
    forebay.is_all("new");
    assert_eq!(forebay.api().split("all")["overridden"], before["overridden"]);
}

#[test]
fn weights_that_were_acknowledged_survive_a_kill() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let start = || Process::start(env!("CARGO_BIN_EXE_forebay"), sides.split(0.0).server(&state.key()));
    let process = start();
    for percent in [10.0, 20.0, 35.0] {
        process.api().set_weights("all", &[("new", percent)]);
    }
    process.kill();
    assert_eq!(start().api().weight("all", "new"), 35.0);
}

#[test]
fn what_could_not_be_written_is_not_called_kept() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(0.0).server(&state.key()));
    // A folder that is not empty can't be replaced by a file.
    let _there = fs::remove_file(file(&state));
    fs::create_dir(file(&state)).unwrap();
    fs::write(file(&state).join("full"), "").unwrap();
    let split = forebay.api().set_weights("all", &[("new", 100.0)]);
    assert_eq!(split["overridden"]["kept"], false);
    forebay.is_all("new");
}

#[test]
fn without_a_state_dir_a_restart_forgets() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0));
    forebay.api().set_weights("all", &[("new", 100.0)]);
    drop(forebay);
    Forebay::start(sides.split(0.0)).is_all("old");
}

#[test]
fn a_restart_with_other_weights_in_the_file_takes_those_of_the_file() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(0.0).server(&state.key()));
    forebay.api().set_weights("all", &[("new", 100.0)]);
    drop(forebay);
    let forebay = Forebay::start(sides.split(5.0).server(&state.key()));
    let split = forebay.api().split("all");
    assert_eq!((weights(&split), split.get("overridden")), (vec![5.0, 95.0], None));
}

#[test]
fn a_reset_gives_the_files_weights_again() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || sides.split(0.0).server(&state.key());
    let forebay = Forebay::start(config());
    forebay.api().set_weights("all", &[("new", 100.0)]);
    forebay.is_all("new");
    let split = forebay.api().reset_weights("all");
    assert_eq!((weights(&split), split.get("overridden")), (vec![0.0, 100.0], None));
    forebay.is_all("old");
    forebay.api().reset_weights("all");
    drop(forebay);
    Forebay::start(config()).is_all("old");
}

#[test]
fn a_reload_keeps_weights_while_the_file_says_the_same_of_them() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0));
    forebay.api().set_weights("all", &[("new", 100.0)]);
    let before = forebay.api().split("all");
    forebay.reload(sides.split(0.0).route("set_response_headers = { x-plan = \"two\" }"));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("two"));
    forebay.is_all("new");
    assert_eq!(forebay.api().split("all")["overridden"], before["overridden"]);
    forebay.reload(sides.split(5.0));
    eventually("the file's weights are used", || weights(&forebay.api().split("all")) == [5.0, 95.0]);
    assert_eq!(forebay.api().split("all").get("overridden"), None);
    forebay.reload(sides.split(0.0));
    eventually("what was changed is invalidated", || weights(&forebay.api().split("all")) == [0.0, 100.0]);
    forebay.is_all("old");
}

#[test]
fn the_order_in_which_the_file_names_the_sides_is_no_change() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(20.0).server(&state.key()));
    forebay.api().set_weights("all", &[("new", 100.0)]);
    let turned = || split(&[("old", &sides.old, 80.0), ("new", &sides.new, 20.0)]).server(&state.key());
    forebay.reload(turned());
    let first = || forebay.api().split("all")["sides"][0]["upstream"].clone();
    eventually("the new plan is used", || first() == "old");
    forebay.is_all("new");
    drop(forebay);
    Forebay::start(turned()).is_all("new");
}

#[test]
fn a_reload_that_brings_a_side_takes_the_files_weights() {
    let sides = Sides::start();
    let third = Origin::start(ok("third"));
    let forebay = Forebay::start(sides.split(0.0));
    forebay.api().set_weights("all", &[("new", 50.0)]);
    forebay.reload(split(&[("new", &sides.new, 0.0), ("old", &sides.old, 0.0), ("third", &third, 100.0)]));
    eventually("the new plan is used", || forebay.api().split("all")["sides"].as_array().unwrap().len() == 3);
    forebay.is_all("third");
    forebay.reload(sides.split(0.0));
    eventually("the old plan is used", || forebay.api().split("all")["sides"].as_array().unwrap().len() == 2);
    forebay.is_all("old");
}

#[test]
fn no_request_fails_while_weights_change() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0));
    let (address, stop) = (forebay.address(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut caller = testbed::Caller::new(address);
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                caller.get("/", "").is_status(200);
            }
        });
        for turn in 0..50 {
            forebay.api().set_weights("all", &[("new", f64::from(turn))]);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        asking.join().expect("every request is answered");
    });
}

/// Asserts that the proxy moves a state file with this content aside, starts with the weights of the configuration, and
/// saves new ones.
#[track_caller]
fn is_set_aside(garbage: &[u8]) {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || sides.split(0.0).server(&state.key());
    fs::write(file(&state), garbage).unwrap();
    let forebay = Forebay::start(config());
    forebay.is_all("old");
    let others = fs::read_dir(state.path()).unwrap().map(|found| found.unwrap().path());
    let mut others = others.filter(|path| path.is_file() && *path != file(&state));
    assert!(others.any(|path| fs::read(path).unwrap() == garbage), "what was there is kept for people");
    forebay.api().set_weights("all", &[("new", 100.0)]);
    drop(forebay);
    Forebay::start(config()).is_all("new");
}

#[test]
fn a_state_file_that_can_t_be_read_is_set_aside() {
    for garbage in ["garbage", "{", "7", "null", "\"{}\"", "{}{}", "\u{0}\u{1}\u{ff}"] {
        is_set_aside(garbage.as_bytes());
    }
    is_set_aside(&[0xff; 70_000]);
    is_set_aside("[".repeat(100_000).as_bytes());
}

#[test]
fn a_state_file_cut_short_anywhere_stops_no_start() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || sides.split(0.0).server(&state.key());
    let forebay = Forebay::start(config());
    forebay.api().set_weights("all", &[("new", 100.0)]);
    drop(forebay);
    let whole = fs::read(file(&state)).unwrap();
    for length in (0..whole.len() - 2).step_by(whole.len() / 12 + 1) {
        fs::write(file(&state), &whole[..length]).unwrap();
        Forebay::start(config()).is_all("old");
    }
}

/// This JSON with one value anywhere in it, or one whole part of it, replaced by this one: each way of doing so.
fn with_one_replaced(json: &Value, by: &Value) -> Vec<Value> {
    let mut all = vec![by.clone()];
    match json {
        Value::Object(members) => {
            for (name, member) in members {
                all.extend(with_one_replaced(member, by).into_iter().map(|member| {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), member);
                    Value::Object(changed)
                }));
            }
        }
        Value::Array(elements) => {
            for (place, element) in elements.iter().enumerate() {
                all.extend(with_one_replaced(element, by).into_iter().map(|element| {
                    let mut changed = elements.clone();
                    changed[place] = element;
                    Value::Array(changed)
                }));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all
}

#[test]
fn a_state_file_whose_values_make_no_sense_stops_no_start() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let more = "[[route]]\nname = \"second\"\npath = \"/second\"\n\
                split = [{ upstream = \"new\", weight = 0 }, { upstream = \"old\", weight = 100 }]";
    let config = || sides.split(0.0).server(&state.key()).canary("new", "steps = [10, 50]").more(more);
    let forebay = Forebay::start(config());
    forebay.api().set_weights("second", &[("new", 40.0)]);
    forebay.api().direct("all", "promote");
    drop(forebay);
    let kept: Value = serde_json::from_slice(&fs::read(file(&state)).unwrap()).unwrap();
    for by in [json!(null), json!(-1), json!(1e300), json!(u64::MAX), json!("x\u{0}\n"), json!([]), json!([[7], {}])] {
        for changed in with_one_replaced(&kept, &by) {
            fs::write(file(&state), changed.to_string()).unwrap();
            let forebay = Forebay::start(config());
            forebay.get("/").is_status(200);
            forebay.get("/second").is_status(200);
            for route in ["all", "second"] {
                let sum: f64 = weights(&forebay.api().split(route)).iter().sum();
                assert!((sum - 100.0).abs() < 1e-9, "{sum} of {changed:#}");
            }
            let weight = forebay.api().canary("all")["weight"].as_f64().unwrap();
            assert!((0.0..=50.0).contains(&weight), "{weight} of {changed:#}");
        }
    }
}

#[test]
fn a_state_file_that_is_set_aside_is_told_of() {
    let (sides, state) = (Sides::start(), StateDir::new());
    fs::write(file(&state), "garbage").unwrap();
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), sides.split(0.0).server(&state.key()));
    process.told(&["WARN", "rollout.json"]);
    process.caller().get("/", "").is(200, "old");
}

#[test]
fn kept_weights_of_a_split_that_is_gone_harm_nothing() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let forebay = Forebay::start(sides.split(0.0).server(&state.key()));
    forebay.api().set_weights("all", &[("new", 100.0)]);
    drop(forebay);
    let plain = forward([&sides.old]).route("name = \"all\"").server(&state.key());
    Forebay::start(plain).get("/").is(200, "old");
    Forebay::start(sides.split(0.0).route("name = \"other\"").server(&state.key())).is_all("old");
}
