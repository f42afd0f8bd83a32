//! Drain with pending writes: those that can be sent are sent, and the drain does not wait for the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fmt::Write as _;

use testbed::{Forebay, Gate, Origin, StateDir, answer, eventually, hang, ok, reset, routes, script};

const LATER: &str = "flush_interval = \"1h\"";
const SOON: &str = "flush_interval = \"10ms\"\nretry = { base = \"10ms\", max = \"50ms\", attempts = 50 }";

/// A proxy that would drain for ten minutes, with a route and an upstream for each of these origins: `/0`, `/1`.
fn start(state: &StateDir, origins: &[&Origin], write_back: &str) -> Forebay {
    let mut text = String::new();
    for (number, origin) in origins.iter().enumerate() {
        let backend = origin.url();
        write!(
            text,
            "[[upstream]]\nname = \"{number}\"\nbackends = [\"{backend}\"]\n[upstream.retry]\nattempts = 0\n\
             [[route]]\npath = \"/{number}\"\nupstream = \"{number}\"\n[route.cache]\nmode = \"write-back\"\nttl = \"60s\"\n\
             [route.cache.write_back]\n{write_back}\n"
        )
        .unwrap();
    }
    Forebay::start(routes(&text).server(&format!("{}\nshutdown_timeout = \"10m\"", state.key())))
}

fn put(forebay: &Forebay, target: &str) {
    forebay.ask(format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew")).is(202, "");
}

fn ends(forebay: Forebay) {
    forebay.drain();
    eventually("nothing is waited for", || forebay.is_drained());
    forebay.wait();
}

#[test]
fn with_the_backend_dead_the_process_ends_at_once_and_the_journal_has_it() {
    for (write_back, is_tried_before) in [(LATER, false), (SOON, true)] {
        let (state, origin) = (StateDir::new(), Origin::start(ok("")));
        origin.go_down();
        let forebay = start(&state, &[&origin], write_back);
        for number in 0..200 {
            put(&forebay, &format!("/0/{number}"));
        }
        if is_tried_before {
            eventually("it fails", || forebay.gauges().pending_writes == 200);
        }
        ends(forebay);
        origin.come_back();
        let _next = start(&state, &[&origin], SOON);
        eventually("all has arrived", || (0..200).all(|number| origin.count(&format!("PUT /0/{number}")) == 1));
    }
}

#[test]
fn what_can_be_sent_is_sent_though_another_backend_is_dead() {
    let (state, origins) = (StateDir::new(), Origin::row(2));
    let forebay = start(&state, &[&origins[0], &origins[1]], LATER);
    origins[0].go_down();
    for number in 0..50 {
        put(&forebay, &format!("/0/{number}"));
        put(&forebay, &format!("/1/{number}"));
    }
    ends(forebay);
    assert!((0..50).all(|number| origins[1].count(&format!("PUT /1/{number}")) == 1));
    origins[0].come_back();
    let _next = start(&state, &[&origins[0], &origins[1]], SOON);
    eventually("the rest has arrived", || (0..50).all(|number| origins[0].count(&format!("PUT /0/{number}")) == 1));
}

#[test]
fn a_backend_that_dies_during_the_drain_is_not_waited_for() {
    let (state, origin, gate) = (StateDir::new(), Origin::start(ok("")), Gate::new());
    origin.once(script().wait(&gate).then(ok("")));
    let forebay = start(&state, &[&origin], &format!("{LATER}\nconcurrency = 1"));
    for number in 0..50 {
        put(&forebay, &format!("/0/{number}"));
    }
    forebay.drain();
    eventually("the first is on its way", || origin.seen() == 1);
    assert!(!forebay.is_drained());
    origin.go_down();
    gate.open();
    eventually("nothing is waited for", || forebay.is_drained());
    drop(forebay);
    origin.come_back();
    let _next = start(&state, &[&origin], SOON);
    eventually("all has arrived", || (0..50).all(|number| origin.count(&format!("PUT /0/{number}")) >= 1));
}

#[test]
fn an_attempt_on_its_way_to_a_backend_that_has_not_answered_the_one_before_is_not_waited_for() {
    let (state, origin) = (StateDir::new(), Origin::start(hang()));
    origin.once(reset());
    let forebay = start(&state, &[&origin], &format!("{SOON}\ntimeout = \"10m\""));
    put(&forebay, "/0/1");
    eventually("the second attempt is on its way", || origin.count("PUT /0/1") == 2);
    ends(forebay);
    origin.now(ok(""));
    let next = start(&state, &[&origin], SOON);
    eventually("it is flushed", || next.gauges().pending_writes == 0);
}

#[test]
fn what_fails_during_the_drain_is_tried_once_and_left() {
    let (state, origin) = (StateDir::new(), Origin::start(answer(503, &[], "")));
    let forebay = start(&state, &[&origin], LATER);
    for number in 0..20 {
        put(&forebay, &format!("/0/{number}"));
    }
    ends(forebay);
    assert!((0..20).all(|number| origin.count(&format!("PUT /0/{number}")) <= 2));
    origin.now(ok(""));
    let next = start(&state, &[&origin], SOON);
    eventually("all is flushed", || next.gauges().pending_writes == 0);
}
