//! Splits and the cache: each side has its own stored responses, unless `share_sides` is set; an invalidation concerns
//! all sides; and no client gets the cookie of another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::BTreeSet;

use serde_json::json;
use testbed::{Client, Config, Forebay, Gate, Response, Sides, answer, eventually, ok, script};

const NEW: &str = "X-Side: new\r\n";
const OLD: &str = "X-Side: old\r\n";

/// A caching split of 50 % each, with `X-Side` as override header, whose responses name the side.
fn caching(sides: &Sides, keys: &str) -> Config {
    let route = "override_header = \"x-side\"\nside_header = \"x-answered-by\"";
    sides.split(50.0).route(route).cached(&format!("ttl = \"60s\"\n{keys}")).cache("purge_from = [\"127.0.0.1\"]")
}

/// Stores a response of each side for `/`.
fn stored(sides: &Sides) -> Forebay {
    let forebay = Forebay::start(caching(sides, ""));
    forebay.get_with("/", NEW).is(200, "new").is_stored();
    forebay.get_with("/", OLD).is(200, "old").is_stored();
    forebay.get_with("/", NEW).is(200, "new").is_hit();
    forebay.get_with("/", OLD).is(200, "old").is_hit();
    forebay
}

/// Asserts that nothing is stored for either side.
#[track_caller]
fn is_invalidated(forebay: &Forebay) {
    forebay.get_with("/", NEW).is(200, "new").is_stored();
    forebay.get_with("/", OLD).is(200, "old").is_stored();
}

fn write(forebay: &Forebay, method: &str, fields: &str) -> Response {
    forebay.ask(format!("{method} / HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: 1\r\n\r\nx"))
}

#[test]
fn what_is_stored_of_one_side_is_not_served_for_another() {
    let sides = Sides::start();
    let forebay = stored(&sides);
    for _ in 0..20 {
        let response = forebay.get("/");
        let side = response.is_hit().text();
        assert_eq!(response.field("x-answered-by").unwrap(), format!("{side}; by=weight"));
    }
    assert_eq!((sides.new.seen(), sides.old.seen()), (1, 1));
}

#[test]
fn a_stored_answer_tells_why_this_client_got_it() {
    let sides = Sides::start();
    let forebay = Forebay::start(caching(&sides, "").route("sticky = \"header:x-user\""));
    forebay.get_with("/", NEW).is_stored();
    forebay.get_with("/", OLD).is_stored();
    let told = |fields: &str| forebay.get_with("/", fields).is_hit().field("x-answered-by").unwrap().to_owned();
    assert_eq!(told(NEW), "new; by=override");
    assert!(told("X-User: 1\r\n").ends_with("; by=sticky"));
    assert!(told("").ends_with("; by=weight"));
}

#[test]
fn each_side_has_its_own_fetch_under_way() {
    let sides = Sides::start();
    let gate = Gate::new();
    sides.new.once(script().wait(&gate).then(ok("new")));
    sides.old.once(script().wait(&gate).then(ok("old")));
    let forebay = Forebay::start(caching(&sides, ""));
    let ask = |fields: &str| {
        let mut client = forebay.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"));
        client
    };
    let mut clients: Vec<(Client, &str)> = Vec::new();
    for _ in 0..5 {
        clients.push((ask(NEW), "new"));
        clients.push((ask(OLD), "old"));
    }
    eventually("both are asked", || sides.new.held() == 1 && sides.old.held() == 1);
    forebay.eventually("the others wait", |gauges| gauges.following == 8);
    gate.open();
    for (mut client, side) in clients {
        client.read_response().is(200, side);
    }
    assert_eq!((sides.new.seen(), sides.old.seen()), (1, 1));
}

#[test]
fn sides_that_share_serve_each_others_answers() {
    let sides = Sides::start();
    let forebay = Forebay::start(caching(&sides, "share_sides = true"));
    forebay.get_with("/", NEW).is(200, "new").is_stored();
    forebay.get_with("/", OLD).is(200, "new").is_hit();
    forebay.get("/").is(200, "new").is_hit();
    assert_eq!(sides.old.seen(), 0);
}

#[test]
fn a_purge_reaches_all_sides() {
    let sides = Sides::start();
    let forebay = stored(&sides);
    forebay.ask("PURGE / HTTP/1.1\r\nHost: shop.test\r\n\r\n").is_status(200);
    is_invalidated(&forebay);
    forebay.ask(format!("PURGE / HTTP/1.1\r\nHost: shop.test\r\n{NEW}\r\n")).is_status(200);
    is_invalidated(&forebay);
    for order in [json!({"url": "http://shop.test/"}), json!({"prefix": "http://shop.test/"}), json!({"all": true})] {
        forebay.api().post("/api/v1/purge", &order);
        is_invalidated(&forebay);
    }
}

#[test]
fn a_write_on_one_side_is_seen_on_all() {
    let sides = Sides::start();
    let forebay = stored(&sides);
    for method in ["PUT", "POST", "PATCH", "DELETE"] {
        for fields in [NEW, OLD] {
            write(&forebay, method, fields).is_status(200);
            is_invalidated(&forebay);
        }
    }
}

#[test]
fn a_write_through_one_side_is_seen_on_all() {
    let sides = Sides::start();
    let forebay = Forebay::start(caching(&sides, "mode = \"write-through\""));
    forebay.get_with("/", NEW).is(200, "new").is_stored();
    forebay.get_with("/", OLD).is(200, "old").is_stored();
    sides.new.now(ok("newer"));
    sides.old.now(ok("older"));
    write(&forebay, "PUT", NEW).is_status(200);
    forebay.get_with("/", OLD).is(200, "older").is_stored();
}

#[test]
fn a_location_that_a_write_names_is_forgotten_on_all_sides() {
    let sides = Sides::start();
    let forebay = stored(&sides);
    sides.new.at("/orders", answer(201, &[("Location", "/")], ""));
    forebay.ask(format!("POST /orders HTTP/1.1\r\nHost: shop.test\r\n{NEW}Content-Length: 0\r\n\r\n")).is_status(201);
    is_invalidated(&forebay);
}

#[test]
fn what_is_in_flight_on_one_side_is_not_stored_when_a_write_on_another_comes_between() {
    let sides = Sides::start();
    let gate = Gate::new();
    sides.old.once(script().wait(&gate).then(ok("old")));
    let forebay = Forebay::start(caching(&sides, ""));
    let mut client = forebay.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{OLD}\r\n"));
    eventually("it is being fetched", || sides.old.held() == 1);
    write(&forebay, "PUT", NEW).is_status(200);
    gate.open();
    client.read_response().is(200, "old");
    forebay.get_with("/", OLD).is(200, "old").is_stored();
}

/// A caching split with all weight on `new` and `sticky = "cookie"`.
fn with_cookies(sides: &Sides) -> Forebay {
    Forebay::start(sides.split(100.0).route("sticky = \"cookie\"").cached("ttl = \"60s\""))
}

#[test]
fn each_client_of_a_stored_answer_gets_a_cookie_of_its_own() {
    let sides = Sides::start();
    let forebay = with_cookies(&sides);
    let first = forebay.get("/");
    let mut cookies = BTreeSet::from([first.is_stored().cookie().expect("the first client gets a cookie")]);
    for _ in 0..10 {
        let response = forebay.get("/");
        assert_eq!(response.is_hit().head.fields("set-cookie").len(), 1);
        assert!(cookies.insert(response.cookie().unwrap()), "no two clients have the same cookie");
    }
    for cookie in cookies {
        let response = forebay.get_with("/", &format!("Cookie: {cookie}\r\n"));
        assert!(!response.is_hit().head.has("set-cookie"));
    }
    assert_eq!(sides.new.seen(), 1);
}

#[test]
fn clients_who_wait_for_one_fetch_get_cookies_of_their_own() {
    let sides = Sides::start();
    let gate = Gate::new();
    sides.new.once(script().wait(&gate).then(ok("new")));
    let forebay = with_cookies(&sides);
    let (leader, mut clients) = testbed::leader_and_followers(&forebay, &sides.new, 9);
    forebay.eventually("they wait", |gauges| gauges.following == 9);
    clients.push(leader);
    gate.open();
    let cookie = |client: &mut Client| client.read_response().is(200, "new").cookie().expect("each gets a cookie");
    let cookies: BTreeSet<String> = clients.iter_mut().map(cookie).collect();
    assert_eq!(cookies.len(), 10);
    assert_eq!(sides.new.seen(), 1);
}

#[test]
fn an_answer_that_is_fetched_for_a_client_with_a_cookie_is_stored_for_all() {
    let sides = Sides::start();
    let forebay = with_cookies(&sides);
    let cookie = forebay.get("/first").cookie().unwrap();
    let response = forebay.get_with("/", &format!("Cookie: {cookie}\r\n"));
    assert!(!response.is_stored().head.has("set-cookie"));
    assert!(forebay.get("/").is_hit().head.has("set-cookie"));
}
