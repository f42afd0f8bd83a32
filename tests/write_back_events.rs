//! The event log about writes that fail: begin, end and outcome.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Origin, Process, StateDir, answer, forward, ok};

fn start(state: &StateDir, origin: &Origin, write_back: &str) -> Process {
    let config = forward([origin])
        .server(&state.key())
        .upstream("[upstream.retry]\nattempts = 0")
        .cached("mode = \"write-back\"")
        .more(&format!("[route.cache.write_back]\nflush_interval = \"10ms\"\n{write_back}"));
    let config = config.to_string().replace("level = \"error\"", "level = \"info\"");
    Process::start(env!("CARGO_BIN_EXE_forebay"), config)
}

fn put(process: &Process, target: &str) {
    let request = format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew");
    process.client().send(request).read_response().is(202, "");
}

#[test]
fn that_writes_fail_is_told_once_with_the_reason_and_that_they_do_no_more() {
    let (state, origin) = (StateDir::new(), Origin::start(answer(503, &[], "")));
    let process = start(&state, &origin, "retry = { base = \"10ms\", max = \"20ms\", attempts = 100 }");
    put(&process, "/1");
    process.told(&["WARN", "don't reach their backend: the backend answered 503", "are pending"]);
    for number in 2..20 {
        put(&process, &format!("/{number}"));
    }
    origin.now(ok(""));
    let over = process.told_within(Duration::from_secs(60), &["journal: writes of route"]);
    assert!(over.contains("INFO") && over.contains("reach their backend again; 0 are pending"), "{over}");
}

#[test]
fn a_backend_that_is_away_is_told_of_with_the_reason() {
    let (state, origin) = (StateDir::new(), Origin::start(ok("")));
    let process = start(&state, &origin, "");
    origin.go_down();
    put(&process, "/1");
    process.told(&["WARN", "don't reach their backend: backend", "1 are pending"]);
}

#[test]
fn dead_letters_are_told_of_one_by_one_or_in_groups() {
    let (state, origin) = (StateDir::new(), Origin::start(answer(422, &[], "")));
    let process = start(&state, &origin, "");
    for number in 1..=20 {
        put(&process, &format!("/{number}"));
    }
    // Several are on their way at once: which is answered first is not certain.
    process.told(&["WARN", "of route", "is a dead letter: refused by the backend (status 422)"]);
    let group = process.told_within(Duration::from_secs(60), &["WARN", "dead letters"]);
    assert!(group.contains("19 more writes of route"), "{group}");
}
