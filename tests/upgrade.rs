//! Upgrades that are accepted, refused or unexpected, tunnels, and Server-Sent Events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Client, Forebay, Gate, Origin, Script, answer, eventually, forward, ok, raw, script};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn before(script: Script) -> (Origin, Forebay) {
    let origin = Origin::start(script);
    let forebay = Forebay::start(forward([&origin]));
    (origin, forebay)
}

/// A client whose upgrade has been accepted.
fn tunnelled(forebay: &Forebay) -> Client {
    let mut client = forebay.client();
    let response = client.send(ASK).read_response();
    assert_eq!(response.is_status(101).field("upgrade"), Some("websocket"));
    assert!(response.head.names("connection", "upgrade") && response.head.has("sec-websocket-accept"));
    client
}

#[test]
fn an_accepted_upgrade_is_a_tunnel_both_ways() {
    let (origin, forebay) = before(raw(SWITCH).tunnel());
    let mut client = tunnelled(&forebay);
    for message in ["ping", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        assert_eq!(client.send(message).read_until(message), message);
    }
    let seen = origin.last();
    assert!(seen.head.names("connection", "upgrade") && seen.head.fields("upgrade") == ["websocket"]);
    assert_eq!(origin.seen(), 1);
}

#[test]
fn bytes_that_the_backend_sends_right_after_101_are_not_lost() {
    let (_origin, forebay) = before(raw(format!("{SWITCH}hello")).tunnel());
    assert_eq!(tunnelled(&forebay).read_until("hello"), "hello");
}

#[test]
fn bytes_sent_before_101_are_held_until_it_comes() {
    let gate = Gate::new();
    let (origin, forebay) = before(script().wait(&gate).send(SWITCH).tunnel());
    let mut client = forebay.client();
    client.send(format!("{ASK}early"));
    eventually("the backend has the request", || origin.held() == 1);
    gate.open();
    client.read_response().is_status(101);
    assert_eq!(client.read_until("early"), "early");
}

#[test]
fn a_tunnel_ends_when_the_client_leaves() {
    let (origin, forebay) = before(raw(SWITCH).tunnel());
    drop(tunnelled(&forebay));
    eventually("the backend's side is closed", || origin.open() == 0);
    forebay.is_idle();
}

#[test]
fn a_tunnel_ends_when_the_backend_leaves() {
    let (_origin, forebay) = before(raw(format!("{SWITCH}bye")).close());
    let mut client = tunnelled(&forebay);
    assert_eq!(client.read_until_closed(), b"bye");
    drop(client);
    forebay.is_idle();
}

#[test]
fn what_follows_a_refused_upgrade_is_http() {
    let (origin, forebay) = before(answer(403, &[], "no"));
    origin.at("/next", ok("next"));
    let mut client = forebay.client();
    client.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: h\r\n\r\n"));
    client.read_response().is(403, "no");
    client.read_response().is(200, "next");
    assert_eq!(origin.count("GET /next"), 1);
}

#[test]
fn an_ignored_upgrade_is_an_ordinary_answer() {
    let (_origin, forebay) = before(ok("plain"));
    let mut client = forebay.client();
    client.send(ASK).read_response().is(200, "plain");
    client.send(ASK).read_response().is(200, "plain");
}

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_gateway() {
    let (origin, forebay) = before(raw(SWITCH).tunnel());
    forebay.get("/").is_status(502);
    eventually("the backend's connection is closed", || origin.open() == 0);
}

#[test]
fn a_101_to_another_protocol_than_asked_for_is_a_bad_gateway() {
    let (_origin, forebay) = before(raw(SWITCH.replace("websocket", "other")).tunnel());
    forebay.ask(ASK).is_status(502);
}

#[test]
fn only_listed_protocols_are_passed_on_and_never_h2c() {
    let (origin, forebay) = before(ok("plain"));
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade\r\nUpgrade: spdy/3\r\n",
        "Upgrade: websocket\r\n",
    ] {
        forebay.get_with("/", fields).is(200, "plain");
        let head = origin.last().head;
        assert!(!head.has("upgrade") && !head.has("http2-settings"), "{}", head.text());
    }
    forebay.get_with("/", "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n").is(200, "plain");
    assert_eq!(origin.last().head.fields("upgrade"), ["websocket"]);
}

#[test]
fn events_arrive_while_the_stream_is_open() {
    let gate = Gate::new();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = format!("{head}b\r\ndata: one\n\n\r\n");
    let (_origin, forebay) = before(script().send(first).wait(&gate).send("b\r\ndata: two\n\n\r\n0\r\n\r\n"));
    let mut client = forebay.client();
    let begun = client.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n").read_until("data: one\n\n");
    assert!(!begun.contains("two"));
    gate.open();
    client.read_until("data: two\n\n");
}

/// The log line of a tunnel, after its end.
fn logged(tunnel_keys: &str, script: Script, go: impl FnOnce(Forebay, Client) -> Option<Forebay>) -> String {
    let origin = Origin::start(script);
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = format!("access_to = \"file:{}\"", file.path().display());
    let config = forward([&origin]).upstream(tunnel_keys).server("shutdown_timeout = \"100ms\"").log(&log);
    let forebay = Forebay::start(config);
    let client = tunnelled(&forebay);
    forebay.eventually("the tunnel is a request under way", |gauges| gauges.in_flight == 1);
    let _still_running = go(forebay, client);
    let mut line = String::new();
    eventually("it is logged", || {
        line = std::fs::read_to_string(file.path()).unwrap();
        line.ends_with('\n')
    });
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("\"status\":101,") && line.contains("\"tunnel_time\":"), "{line}");
    line
}

#[test]
fn a_tunnel_is_logged_when_it_ends_with_what_passed_and_why() {
    let line = logged("", raw(SWITCH).tunnel(), |forebay, mut client| {
        assert_eq!(client.send("hello").read_until("hello"), "hello");
        Some(forebay)
    });
    let told = "\"tunnel_bytes_in\":5,\"tunnel_bytes_out\":5,\"tunnel_end\":\"client-closed\"";
    assert!(line.contains(told) && line.contains("\"body_bytes_sent\":5,"), "{line}");
    let line = logged("", raw(format!("{SWITCH}bye")).close(), |forebay, mut client| {
        assert_eq!(client.read_until_closed(), b"bye");
        Some(forebay)
    });
    let told = "\"tunnel_bytes_in\":0,\"tunnel_bytes_out\":3,\"tunnel_end\":\"backend-closed\"";
    assert!(line.contains(told), "{line}");
    let idle = "[upstream.timeouts]\ntunnel_idle = \"1s\"";
    let line = logged(idle, raw(SWITCH).tunnel(), |forebay, mut client| {
        assert!(client.read_until_closed().is_empty());
        Some(forebay)
    });
    assert!(line.contains("\"tunnel_end\":\"idle\""), "{line}");
    let line = logged("", raw(SWITCH).tunnel(), |forebay, client| {
        forebay.drain();
        forebay.wait();
        drop(client);
        None
    });
    assert!(line.contains("\"tunnel_end\":\"drain\""), "{line}");
}

#[test]
fn an_upgrade_whose_client_is_gone_before_the_101_is_logged_as_any_other() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).send(SWITCH).tunnel());
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = format!("access_to = \"file:{}\"\naccess_format = '$status $tunnel_end'", file.path().display());
    let forebay = Forebay::start(forward([&origin]).log(&log));
    let mut client = forebay.client();
    client.send(ASK);
    eventually("the backend has the request", || origin.held() == 1);
    drop(client);
    eventually("it is logged", || std::fs::read_to_string(file.path()).unwrap() == "499 -\n");
    gate.open();
}
