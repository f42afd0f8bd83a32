//! Reload and drain: no request fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::TcpStream;

use testbed::{Config, Ending, Forebay, Gate, Origin, answer, eventually, forward, hang, ok, raw, routes, script};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A route that answers everything with this text.
fn saying(text: &str) -> Config {
    routes(&format!("[[route]]\npath = \"/\"\nrespond = {{ body = \"{text}\" }}"))
}

#[test]
fn a_reload_swaps_the_routes_and_keeps_the_listener() {
    let forebay = Forebay::start(saying("old"));
    forebay.get("/").is(200, "old");
    let address = forebay.address();
    forebay.reload(saying("new"));
    eventually("the new route answers", || forebay.get("/").text() == "new");
    assert_eq!(forebay.address(), address);
}

#[test]
fn a_kept_connection_sees_the_new_routes() {
    let forebay = Forebay::start(saying("old"));
    let mut client = forebay.client();
    client.send(GET).read_response().is(200, "old");
    forebay.reload(saying("new"));
    eventually("the new route answers", || client.send(GET).read_response().text() == "new");
}

#[test]
fn a_running_request_finishes_under_the_old_plan() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let planned = |plan: &str| forward([&origin]).route(&format!("set_response_headers = {{ x-plan = \"{plan}\" }}"));
    let forebay = Forebay::start(planned("old"));
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    forebay.reload(planned("new"));
    gate.open();
    assert_eq!(client.read_response().is(200, "done").field("x-plan"), Some("old"));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("new"));
}

#[test]
fn a_running_request_outlives_its_upstream() {
    let gate = Gate::new();
    let origin = Origin::start(script().send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").wait(&gate).send("b"));
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send(GET).read_until("\r\n\r\na");
    forebay.reload(saying("new"));
    eventually("the new route answers", || forebay.get("/").text() == "new");
    gate.open();
    assert_eq!(client.read_some(), b"b");
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]).server("workers = 2"));
    let mut kept = forebay.client();
    for turn in 0..20 {
        let keys = format!("set_response_headers = {{ x-turn = \"{turn}\" }}");
        forebay.reload(forward([&origin]).server("workers = 2").route(&keys));
        forebay.get("/").is(200, "fine");
        kept.send(GET).read_response().is(200, "fine");
    }
}

#[test]
fn backend_connections_survive_a_reload() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    forebay.get("/").is(200, "fine");
    forebay.reload(forward([&origin]).route("set_response_headers = { x-plan = \"new\" }"));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("new"));
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn an_ejection_survives_a_reload() {
    let origins = Origin::row(2);
    origins[0].now(answer(500, &[], "broken"));
    let keys = "[upstream.ejection]\nconsecutive_failures = 2\nbase_time = \"1m\"\n[upstream.retry]\nattempts = 0";
    let config = |plan: &str| {
        forward(&origins).upstream(keys).route(&format!("set_response_headers = {{ x-plan = \"{plan}\" }}"))
    };
    let forebay = Forebay::start(config("old"));
    (0..8).for_each(|_| drop(forebay.get("/")));
    assert_eq!(origins[0].seen(), 2);
    forebay.reload(config("new"));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("new"));
    for _ in 0..8 {
        forebay.get("/").is(200, "1");
    }
    assert_eq!(origins[0].seen(), 2);
}

#[test]
fn a_new_backend_gets_its_share_and_a_removed_one_nothing() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(forward(&origins[..2]));
    (0..4).for_each(|_| drop(forebay.get("/")));
    forebay.reload(forward(&origins[1..]));
    eventually("the new backend is used", || forebay.get("/").text() == "2");
    let before = origins[0].seen();
    (0..10).for_each(|_| drop(forebay.get("/")));
    assert_eq!(origins[0].seen(), before);
    eventually("the removed one's connections are closed", || origins[0].open() == 0);
}

#[test]
fn a_drain_lets_running_requests_finish_and_says_that_it_closes() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    forebay.drain();
    gate.open();
    assert_eq!(client.read_response().is(200, "done").ending, Ending::Closed);
    forebay.wait();
}

#[test]
fn a_drain_lets_a_running_body_finish() {
    let gate = Gate::new();
    let origin = Origin::start(script().send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").wait(&gate).send("b"));
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send(GET).read_until("\r\n\r\na");
    forebay.drain();
    gate.open();
    assert_eq!(client.read_until_closed(), b"b");
    forebay.wait();
}

#[test]
fn a_drain_closes_idle_connections_and_accepts_no_more() {
    let forebay = Forebay::start(saying("up"));
    let (mut used, mut fresh) = (forebay.client(), forebay.client());
    used.send(GET).read_response().is(200, "up");
    forebay.eventually("both are connected", |gauges| gauges.connections == 2);
    forebay.drain();
    assert!(used.read_until_closed().is_empty() && fresh.read_until_closed().is_empty());
    let address = forebay.address();
    eventually("new connections are refused", || TcpStream::connect(address).is_err());
    forebay.wait();
}

#[test]
fn a_drain_ends_in_time_though_a_request_does_not() {
    let origin = Origin::start(hang());
    let forebay = Forebay::start(forward([&origin]).server("shutdown_timeout = \"200ms\""));
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    forebay.drain();
    forebay.wait();
    drop(client.read_until_closed());
    eventually("the backend's request is given up", || origin.open() == 0);
}

#[test]
fn a_drain_ends_tunnels_in_time() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let origin = Origin::start(raw(switch).tunnel());
    let forebay = Forebay::start(forward([&origin]).server("shutdown_timeout = \"200ms\""));
    let mut client = forebay.client();
    client
        .send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .read_response()
        .is_status(101);
    forebay.drain();
    client.read_until_closed();
    forebay.wait();
    eventually("the backend's side is closed", || origin.open() == 0);
}

#[test]
fn a_dropped_proxy_stops_at_once() {
    let origin = Origin::start(hang());
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    let address = forebay.address();
    drop(forebay);
    client.read_until_closed();
    eventually("its port is closed", || TcpStream::connect(address).is_err());
    eventually("the backend's request is given up", || origin.open() == 0);
}
