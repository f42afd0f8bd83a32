//! Limits of dead letters in age and number: the oldest are dropped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Config, Forebay, Origin, Process, StateDir, answer, eventually, forward};

const KEYS: &str = "[route.cache.write_back]\nflush_interval = \"10ms\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

fn config(state: &StateDir, origin: &Origin, keep: &str) -> Config {
    let server = format!("{}\ndead_letters = {{ {keep} }}", state.key());
    forward([origin]).server(&server).cached("mode = \"write-back\"\nttl = \"60s\"").more(KEYS)
}

fn refusing() -> Origin {
    Origin::start(answer(422, &[], ""))
}

fn put(forebay: &Forebay, target: &str, content: &str) {
    let length = content.len();
    let request = format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\n{content}");
    forebay.ask(request).is(202, "");
}

fn admin(forebay: &Forebay, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    forebay.admin().send(request).read_response().text()
}

/// The targets of the dead letters, by number.
fn dead(forebay: &Forebay) -> Vec<String> {
    let page: serde_json::Value = serde_json::from_str(&admin(forebay, "/api/v1/journal?state=dead")).unwrap();
    let entries = page["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["target"].as_str().unwrap().to_owned()).collect()
}

/// Dead letters of these targets, one after the other.
fn die(forebay: &Forebay, targets: &[&str]) {
    for target in targets {
        put(forebay, target, "content of no account");
        eventually("it is dead", || dead(forebay).iter().any(|dead| dead == target));
    }
}

fn dropped(forebay: &Forebay) -> Option<String> {
    let metrics = admin(forebay, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("forebay_journal_dead_dropped_total "));
    line.map(str::to_owned)
}

#[test]
fn beyond_count_max_the_oldest_dead_letters_are_dropped_and_stay_so_after_a_restart() {
    let (state, origin) = (StateDir::new(), refusing());
    let forebay = Forebay::start(config(&state, &origin, "count_max = 2"));
    die(&forebay, &["/1", "/2", "/3", "/4"]);
    eventually("two are left", || dead(&forebay) == ["/3", "/4"]);
    eventually("two are counted", || dropped(&forebay).as_deref() == Some("2"));
    assert_eq!(forebay.admin().send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response().status, 200);
    drop(forebay);
    let forebay = Forebay::start(config(&state, &origin, ""));
    assert_eq!(dead(&forebay), ["/3", "/4"]);
    assert_eq!(dropped(&forebay).as_deref(), Some("0"));
}

#[test]
fn beyond_bytes_max_the_oldest_dead_letters_are_dropped() {
    let (state, origin) = (StateDir::new(), refusing());
    let forebay = Forebay::start(config(&state, &origin, "bytes_max = \"64KiB\""));
    die(&forebay, &["/1", "/2"]);
    put(&forebay, "/long", &"x".repeat(64_500));
    eventually("the long one drives the others out", || dead(&forebay) == ["/long"]);
}

#[test]
fn a_dead_letter_is_dropped_when_its_time_has_passed() {
    let (state, origin) = (StateDir::new(), refusing());
    let forebay = Forebay::start(config(&state, &origin, "keep = \"1d\""));
    die(&forebay, &["/1"]);
    forebay.reload(config(&state, &origin, "keep = \"1ms\""));
    eventually("it is gone", || dead(&forebay).is_empty());
}

#[test]
fn what_a_reload_bounds_is_dropped_at_once_and_after_a_start_what_that_bounds() {
    let (state, origin) = (StateDir::new(), refusing());
    let forebay = Forebay::start(config(&state, &origin, ""));
    die(&forebay, &["/1", "/2", "/3"]);
    forebay.reload(config(&state, &origin, "count_max = 2"));
    eventually("the oldest is gone", || dead(&forebay) == ["/2", "/3"]);
    drop(forebay);
    let forebay = Forebay::start(config(&state, &origin, "count_max = 1"));
    eventually("one is left", || dead(&forebay) == ["/3"]);
}

#[test]
fn that_dead_letters_are_dropped_is_told_once_for_each_group() {
    let (state, origin) = (StateDir::new(), refusing());
    let config = config(&state, &origin, "count_max = 1").to_string();
    let process =
        Process::start(env!("CARGO_BIN_EXE_forebay"), config.replace("level = \"error\"", "level = \"info\""));
    for number in 1..=20 {
        let request = format!("PUT /{number} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew");
        process.client().send(request).read_response().is(202, "");
    }
    process.told(&["WARN", "dead letter", "was dropped: there are more than dead_letters.count_max"]);
    let group = process.told_within(Duration::from_secs(60), &["WARN", "more dead letters were dropped"]);
    assert!(group.contains("18 more dead letters were dropped"), "{group}");
}
