//! Stale responses: `stale-while-revalidate` and `stale-if-error` (RFC 5861), and when they do not apply.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{
    Client, Config, Forebay, Gate, Origin, Script, advance, answer, eventually, forward, hang, ok, raw, reset, script,
    validated,
};

const WHILE: &str = "max-age=60, stale-while-revalidate=60";
const IF_ERROR: &str = "max-age=60, stale-if-error=60";

/// A 200 with this `Cache-Control`.
fn kept(directives: &str, body: &str) -> Script {
    answer(200, &[("Cache-Control", directives)], body)
}

/// A cache that holds "one" with these directives, stale since one second.
fn holding_stale(origin: &Origin, config: Config) -> Forebay {
    let forebay = Forebay::start(config);
    forebay.get("/").is(200, "one");
    advance(Duration::from_secs(61));
    assert_eq!(origin.seen(), 1);
    forebay
}

/// The same on a route without own settings for stale responses.
fn left_to_the_origin(origin: &Origin) -> Forebay {
    holding_stale(origin, forward([origin]).cached(""))
}

/// A client that has sent a GET and waits.
fn asking(forebay: &Forebay) -> Client {
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    client
}

#[test]
fn a_stale_hit_is_served_at_once_and_refreshed_behind() {
    let gate = Gate::new();
    let origin = Origin::start(kept(WHILE, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(script().wait(&gate).then(kept(WHILE, "two")));
    let response = forebay.get("/");
    response.is(200, "one").says_first("forebay; hit; ttl=-");
    assert!(response.cache_status().ends_with("; detail=stale-while-revalidate"), "{}", response.cache_status());
    assert!(response.age().is_some_and(|age| age >= 61), "{}", response.head.text());
    eventually("it is refreshed", || origin.seen() == 2);
    gate.open();
    eventually("the new one is served", || forebay.get("/").text() == "two");
    forebay.get("/").is(200, "two").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn twenty_stale_hits_bring_one_refresh() {
    for workers in ["workers = 1", "workers = 2"] {
        let gate = Gate::new();
        let origin = Origin::start(kept(WHILE, "one"));
        let forebay = holding_stale(&origin, forward([&origin]).cached("").server(workers));
        origin.now(script().wait(&gate).then(kept(WHILE, "two")));
        let mut clients: Vec<Client> = (0..20).map(|_| asking(&forebay)).collect();
        for client in &mut clients {
            client.read_response().is(200, "one");
        }
        eventually("it is refreshed", || origin.held() == 1);
        forebay.get("/").is(200, "one");
        gate.open();
        eventually("the new one is served", || forebay.get("/").text() == "two");
        assert_eq!(origin.seen(), 2, "{workers}");
    }
}

#[test]
fn a_refresh_asks_with_the_tag_and_makes_it_fresh() {
    let origin = Origin::start(validated("\"a\"", "one", &[("Cache-Control", WHILE)]));
    let forebay = left_to_the_origin(&origin);
    forebay.get("/").is(200, "one");
    eventually("it is fresh again", || forebay.get("/").ttl().is_some_and(|ttl| ttl > 0));
    assert_eq!(origin.last().head.field("if-none-match"), Some("\"a\""));
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_refresh_is_never_asked_with_the_clients_own_conditions() {
    let origin = Origin::start(kept(WHILE, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(kept(WHILE, "two"));
    forebay.get_with("/", "If-None-Match: \"x\"\r\nRange: bytes=0-0\r\n").is(206, "o");
    eventually("it is refreshed", || origin.seen() == 2);
    let asked = origin.last().head;
    assert!(!asked.has("if-none-match") && !asked.has("range"), "{}", asked.text());
    eventually("the whole is stored", || forebay.get("/").text() == "two");
}

#[test]
fn a_refresh_goes_on_when_its_client_has_left() {
    let gate = Gate::new();
    let origin = Origin::start(kept(WHILE, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(script().wait(&gate).then(kept(WHILE, "two")));
    let mut client = asking(&forebay);
    client.read_response().is(200, "one");
    eventually("it is refreshed", || origin.held() == 1);
    client.reset();
    forebay.eventually("the client is gone", |gauges| gauges.connections == 0);
    gate.open();
    eventually("the new one is served", || forebay.get("/").text() == "two");
    assert_eq!((origin.seen(), origin.abandoned()), (2, 0));
}

#[test]
fn a_refresh_that_fails_keeps_the_old_one() {
    let cut = raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ntwo").close();
    for failing in [answer(500, &[], "broken"), answer(503, &[], "busy"), reset(), cut] {
        let origin = Origin::start(kept(WHILE, "one"));
        let forebay = left_to_the_origin(&origin);
        origin.now(failing);
        forebay.get("/").is(200, "one");
        eventually("it was tried", || origin.seen() >= 2);
        forebay.get("/").is(200, "one");
        origin.now(kept(WHILE, "two"));
        eventually("the new one is served", || forebay.get("/").text() == "two");
    }
}

#[test]
fn a_refresh_of_an_origin_that_is_down_keeps_the_old_one() {
    let origin = Origin::start(kept(WHILE, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.go_down();
    for _ in 0..5 {
        forebay.get("/").is(200, "one");
    }
    origin.now(kept(WHILE, "two"));
    origin.come_back();
    eventually("the new one is served", || forebay.get("/").text() == "two");
}

#[test]
fn a_refresh_that_finds_nothing_any_more_replaces_it() {
    let origin = Origin::start(kept(WHILE, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(answer(404, &[("Cache-Control", "max-age=60")], "nothing"));
    forebay.get("/").is(200, "one");
    eventually("it is not found", || forebay.get("/").status == 404);
    forebay.get("/").is(404, "nothing").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn after_its_time_a_stale_answer_is_not_served_first() {
    let origin = Origin::start(kept(WHILE, "one"));
    let forebay = left_to_the_origin(&origin);
    advance(Duration::from_secs(60));
    origin.now(kept(WHILE, "two"));
    forebay.get("/").is(200, "two").says("forebay; fwd=stale; stored");
}

#[test]
fn a_client_that_wants_it_fresh_waits_for_it() {
    for wish in ["no-cache", "max-age=100", "max-stale=0"] {
        let origin = Origin::start(kept(WHILE, "one"));
        let forebay = left_to_the_origin(&origin);
        origin.now(kept(WHILE, "two"));
        forebay.get_with("/", &format!("Cache-Control: {wish}\r\n")).is(200, "two");
    }
}

#[test]
fn a_route_may_serve_stale_where_the_origin_says_nothing() {
    let origin = Origin::start(kept("max-age=60", "one"));
    let forebay = holding_stale(&origin, forward([&origin]).cached("stale_while_revalidate = \"1m\""));
    origin.now(kept("max-age=60", "two"));
    forebay.get("/").is(200, "one");
    eventually("the new one is served", || forebay.get("/").text() == "two");
}

#[test]
fn the_origins_window_counts_more_than_the_routes() {
    let origin = Origin::start(kept("max-age=60, stale-while-revalidate=0, stale-if-error=0", "one"));
    let keys = "stale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";
    let forebay = holding_stale(&origin, forward([&origin]).cached(keys));
    origin.now(answer(503, &[], "busy"));
    forebay.get("/").is(503, "busy");
    origin.now(kept("max-age=60", "two"));
    forebay.get("/").is(200, "two");
}

#[test]
fn a_stale_answer_stands_in_for_an_error() {
    for status in [500, 502, 503, 504] {
        let origin = Origin::start(kept(IF_ERROR, "one"));
        let forebay = left_to_the_origin(&origin);
        origin.now(answer(status, &[], "broken"));
        let response = forebay.get("/");
        response.is(200, "one").says(&format!("forebay; fwd=stale; fwd-status={status}; detail=stale-if-error"));
        assert!(response.age().is_some_and(|age| age >= 61), "{}", response.head.text());
        origin.now(kept(IF_ERROR, "two"));
        forebay.get("/").is(200, "two");
    }
}

#[test]
fn a_stale_answer_stands_in_for_none() {
    let timeout = "[upstream.timeouts]\nresponse_head = \"100ms\"";
    let garbage = raw("HTTP/1.1 2OO Fine\r\n\r\n").close();
    for failing in [reset(), hang(), garbage] {
        let origin = Origin::start(kept(IF_ERROR, "one"));
        let forebay = holding_stale(&origin, forward([&origin]).upstream(timeout).cached(""));
        origin.now(failing);
        forebay.get("/").is(200, "one").says("forebay; fwd=stale; detail=stale-if-error");
        origin.now(kept(IF_ERROR, "two"));
        forebay.get("/").is(200, "two");
    }
}

#[test]
fn a_stale_answer_stands_in_while_the_origin_is_down() {
    let origin = Origin::start(kept(IF_ERROR, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.go_down();
    for _ in 0..5 {
        forebay.get("/").is(200, "one").says("forebay; fwd=stale; detail=stale-if-error");
    }
    forebay.get_with("/", "Range: bytes=1-\r\n").is(206, "ne");
    origin.now(kept(IF_ERROR, "two"));
    origin.come_back();
    forebay.get("/").is(200, "two");
}

#[test]
fn a_client_that_has_the_stale_one_is_told_so_while_the_origin_is_down() {
    let origin = Origin::start(validated("\"a\"", "one", &[("Cache-Control", IF_ERROR)]));
    let forebay = left_to_the_origin(&origin);
    origin.go_down();
    forebay.get_with("/", "If-None-Match: \"a\"\r\n").is(304, "");
    forebay.get_with("/", "If-None-Match: \"b\"\r\n").is(200, "one");
}

#[test]
fn while_no_backend_answers_a_stale_answer_needs_no_leave() {
    let timeout = "[upstream.timeouts]\nresponse_head = \"100ms\"";
    for failing in [reset(), hang()] {
        let origin = Origin::start(kept("max-age=60", "one"));
        let forebay = holding_stale(&origin, forward([&origin]).upstream(timeout).cached(""));
        origin.now(failing);
        forebay.get("/").is(200, "one").says("forebay; fwd=stale; detail=stale-if-error");
        origin.now(answer(503, &[], "busy"));
        forebay.get("/").is(503, "busy");
        origin.go_down();
        forebay.get("/").is(200, "one").says("forebay; fwd=stale; detail=stale-if-error");
        let response = forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        response.is(200, "").says("forebay; fwd=stale; detail=stale-if-error");
    }
}

#[test]
fn while_no_backend_answers_a_stale_answer_may_still_be_refused() {
    for directives in ["must-revalidate, max-age=60", "proxy-revalidate, max-age=60", "s-maxage=60"] {
        let origin = Origin::start(kept(directives, "one"));
        let forebay = left_to_the_origin(&origin);
        origin.go_down();
        assert!(matches!(forebay.get("/").status, 502..=504), "{directives}");
    }
    let origin = Origin::start(kept("max-age=60", "one"));
    let forebay = holding_stale(&origin, forward([&origin]).cached("stale_if_error = \"0s\""));
    origin.go_down();
    assert!(matches!(forebay.get("/").status, 502..=504));
    let forebay = left_to_the_origin(&{
        origin.come_back();
        Origin::start(kept("max-age=60", "one"))
    });
    assert!(matches!(forebay.get_with("/", "Cache-Control: no-cache\r\n").status, 502..=504));
}

#[test]
fn what_the_client_did_wrong_is_no_error_of_the_origin() {
    for status in [400, 403, 404, 501] {
        let origin = Origin::start(kept(IF_ERROR, "one"));
        let forebay = left_to_the_origin(&origin);
        origin.now(answer(status, &[("Cache-Control", "no-store")], "no"));
        forebay.get("/").is(status, "no");
    }
}

#[test]
fn after_its_time_an_error_is_an_error() {
    let origin = Origin::start(kept(IF_ERROR, "one"));
    let forebay = left_to_the_origin(&origin);
    advance(Duration::from_secs(60));
    origin.now(answer(503, &[], "busy"));
    forebay.get("/").is(503, "busy");
    origin.go_down();
    assert!(forebay.get("/").status >= 500);
}

#[test]
fn what_must_be_revalidated_never_stands_in() {
    for directives in ["max-age=60, must-revalidate", "max-age=60, proxy-revalidate", "s-maxage=60", "no-cache"] {
        let origin = Origin::start(validated(
            "\"a\"",
            "one",
            &[("Cache-Control", &*format!("{directives}, stale-if-error=600"))],
        ));
        let forebay = holding_stale(&origin, forward([&origin]).cached("stale_if_error = \"1h\""));
        origin.now(answer(503, &[], "busy"));
        forebay.get_with("/", "Cache-Control: max-stale, stale-if-error=600\r\n").is(503, "busy");
        origin.go_down();
        assert!(matches!(forebay.get("/").status, 502..=504), "{directives}");
    }
}

#[test]
fn a_client_that_wants_no_cache_gets_the_error() {
    let origin = Origin::start(kept(IF_ERROR, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(answer(503, &[], "busy"));
    forebay.get_with("/", "Cache-Control: no-cache\r\n").is(503, "busy");
    forebay.get("/").is(200, "one");
}

#[test]
fn a_route_may_hide_errors_where_the_origin_says_nothing() {
    let origin = Origin::start(kept("max-age=60", "one"));
    let forebay = holding_stale(&origin, forward([&origin]).cached("stale_if_error = \"1m\""));
    origin.now(answer(500, &[], "broken"));
    forebay.get("/").is(200, "one");
    advance(Duration::from_secs(60));
    forebay.get("/").is(500, "broken");
}

#[test]
fn a_client_may_take_a_stale_answer_instead_of_an_error() {
    let origin = Origin::start(kept("max-age=60", "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(answer(503, &[], "busy"));
    forebay.get_with("/", "Cache-Control: stale-if-error=600\r\n").is(200, "one");
    forebay.get("/").is(503, "busy");
}

#[test]
fn a_client_may_take_a_stale_answer_at_any_time() {
    let origin = Origin::start(kept("max-age=60", "one"));
    let forebay = left_to_the_origin(&origin);
    for wish in ["max-stale", "max-stale=600"] {
        let response = forebay.get_with("/", &format!("Cache-Control: {wish}\r\n"));
        response.is(200, "one").says_first("forebay; hit; ttl=-");
        assert!(response.cache_status().ends_with("; detail=max-stale"), "{}", response.cache_status());
    }
    assert_eq!(origin.seen(), 1);
    advance(Duration::from_secs(60));
    origin.now(ok("two"));
    forebay.get_with("/", "Cache-Control: max-stale=10\r\n").is(200, "two");
}

#[test]
fn an_error_is_not_stored_over_a_stale_answer_that_stood_in() {
    let origin = Origin::start(kept(IF_ERROR, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(answer(503, &[("Cache-Control", "max-age=600")], "busy"));
    forebay.get("/").is(200, "one");
    forebay.get("/").is(200, "one");
    origin.now(kept(IF_ERROR, "two"));
    forebay.get("/").is(200, "two");
}

#[test]
fn many_who_find_the_origin_down_are_all_served_and_it_is_not_flooded() {
    let gate = Gate::new();
    let origin = Origin::start(kept(IF_ERROR, "one"));
    let forebay = left_to_the_origin(&origin);
    origin.now(script().wait(&gate).then(answer(503, &[], "busy")));
    let mut clients: Vec<Client> = (0..20).map(|_| asking(&forebay)).collect();
    forebay.eventually("all wait", |gauges| gauges.in_flight == 20);
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "one");
    }
    assert!(origin.seen() <= 10, "{}", origin.seen());
}
