//! Robustness: clients and backends that are slow, broken or send invalid messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{
    BodyEnd, Ending, Forebay, Gate, Origin, Script, answer, chunked, eventually, forward, hang, ok, raw, routes, script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn before(script: Script) -> (Origin, Forebay) {
    let origin = Origin::start(script);
    let forebay = Forebay::start(forward([&origin]));
    (origin, forebay)
}

/// A backend that answers with these bytes is a bad gateway, and its connection is not used again.
#[track_caller]
fn is_bad_gateway(bytes: &[u8]) {
    let (origin, forebay) = before(raw(bytes));
    let response = forebay.get("/");
    assert_eq!(response.status, 502, "for {:?}", String::from_utf8_lossy(bytes));
    eventually("the backend's connection is closed", || origin.open() == 0);
}

/// After this first answer the backend's connection is closed, and the next request gets its own answer.
#[track_caller]
fn is_not_reused_after(bytes: &str) {
    let (origin, forebay) = before(ok("next"));
    origin.once(raw(bytes));
    let mut client = forebay.client();
    let first = client.send(GET).read_response();
    assert!(first.status < 500, "{}", first.head.text());
    eventually("the backend's connection is closed", || origin.open() == 0);
    forebay.get("/").is(200, "next");
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn a_request_body_that_breaks_never_looks_complete() {
    for request in [
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ] {
        for leaves_by_reset in [false, true] {
            let (origin, forebay) = before(ok(""));
            let mut client = forebay.client();
            client.send(request);
            eventually("the backend has the head", || origin.seen() == 1);
            if leaves_by_reset {
                client.reset()
            } else {
                drop(client)
            }
            eventually("the backend's connection is closed", || origin.open() == 0);
            assert_eq!(origin.last().body_end, BodyEnd::Broken, "for {request:?}");
            forebay.is_idle();
        }
    }
}

#[test]
fn a_truncated_answer_never_ends_cleanly() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ] {
        for end in [Script::close, Script::reset] {
            let (_origin, forebay) = before(end(raw(bytes)));
            let response = forebay.get("/");
            assert!(response.ending == Ending::CutShort || response.status == 502, "for {bytes:?}");
        }
    }
}

#[test]
fn a_stalled_answer_is_cut_visibly() {
    let origin = Origin::start(raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang());
    let forebay = Forebay::start(forward([&origin]).upstream("[upstream.timeouts]\nbody_idle = \"100ms\""));
    assert_eq!(forebay.get("/").ending, Ending::CutShort);
    eventually("the backend's request is given up", || origin.abandoned() == 1);
}

#[test]
fn an_answer_that_does_not_begin_is_a_gateway_timeout() {
    let origin = Origin::start(hang());
    let keys = "[upstream.timeouts]\nresponse_head = \"100ms\"\n[upstream.retry]\nattempts = 0";
    let forebay = Forebay::start(forward([&origin]).upstream(keys));
    forebay.get("/").is_status(504);
    eventually("the backend's request is given up", || origin.abandoned() == 1);
}

#[test]
fn a_status_line_must_be_one() {
    for line in
        ["HTTP/1.1 2OO OK", "HTTP/1.1 99 Low", "HTTP/1.1 1000 High", "garbage", "HTTP/1.1 200 a\0b", "HTTP/1.1  200 OK"]
    {
        is_bad_gateway(format!("{line}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    }
}

#[test]
fn a_body_without_a_head_is_a_bad_gateway() {
    let (_origin, forebay) = before(raw("<html>old</html>\n").close());
    forebay.get("/").is_status(502);
}

#[test]
fn broken_fields_of_a_backend_are_a_bad_gateway() {
    for line in ["X: a\rb", "X: a\0b", "X : a", "X\r\n y: a", ": a"] {
        is_bad_gateway(format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    }
}

#[test]
fn two_different_lengths_are_a_bad_gateway() {
    is_bad_gateway(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc");
    is_bad_gateway(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc");
    is_bad_gateway(b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab");
}

#[test]
fn endless_and_oversized_heads_are_a_bad_gateway() {
    let many: String = (0..2000).map(|place| format!("X-{place}: 1\r\n")).collect();
    is_bad_gateway(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n").as_bytes());
    is_bad_gateway(format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(2 * 1024 * 1024)).as_bytes());
}

#[test]
fn a_storm_of_interim_responses_is_a_bad_gateway() {
    let (_origin, forebay) = before(raw("HTTP/1.1 102 Processing\r\n\r\n".repeat(5000)).hang());
    forebay.get("/").is_status(502);
}

#[test]
fn transfer_encoding_wins_over_a_length_and_the_connection_ends() {
    let (origin, forebay) = before(ok("next"));
    origin.once(raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    let response = forebay.get("/");
    assert!(response.status == 502 || response.text() == "abc");
    assert!(!(response.head.has("content-length") && response.head.has("transfer-encoding")));
    eventually("the backend's connection is closed", || origin.open() == 0);
}

#[test]
fn more_bytes_than_promised_are_never_the_next_answer() {
    is_not_reused_after(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
}

#[test]
fn a_204_or_304_with_a_body_ends_its_connection() {
    is_not_reused_after("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    is_not_reused_after(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
}

#[test]
fn bytes_on_an_idle_connection_end_it() {
    let gate = Gate::new();
    let (origin, forebay) = before(ok("next"));
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    origin.once(ok("first").wait(&gate).send(evil));
    forebay.get("/").is(200, "first");
    gate.open();
    eventually("the backend's connection is closed", || origin.open() == 0);
    forebay.get("/").is(200, "next");
}

#[test]
fn a_body_left_unread_is_never_the_next_request() {
    let origin = Origin::start(ok("backend"));
    let respond = "[[route]]\npath = \"=/fixed\"\nrespond = { status = 200, body = \"fixed\" }";
    let forebay = Forebay::start(forward([&origin]).more(respond));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut client = forebay.client();
    client
        .send(format!("POST /fixed HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{smuggled}{GET}", smuggled.len()));
    client.read_response().is(200, "fixed");
    client.half_close().read_until_closed();
    assert_eq!(origin.count("GET /smuggled"), 0);
}

#[test]
fn a_large_body_left_unread_ends_the_connection() {
    let forebay = Forebay::start(routes("[[route]]\npath = \"/\"\nrespond = { body = \"fixed\" }"));
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\nabc");
    client.read_response().is(200, "fixed");
    client.try_send("a".repeat(8_000_000)).read_until_closed();
}

#[test]
fn an_interim_response_on_an_idle_connection_reaches_nobody() {
    let (origin, forebay) = before(ok("next"));
    origin.once(raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 103 Early Hints\r\n\r\n"));
    forebay.get("/").is(200, "a");
    assert!(forebay.get("/").is(200, "next").interim.is_empty());
}

#[test]
fn an_http_1_0_client_never_gets_chunks_or_interim_responses() {
    let (_origin, forebay) =
        before(script().send("HTTP/1.1 103 Early Hints\r\n\r\n").then(chunked(&["abc"], &[("X-Sum", "1")])));
    let response = forebay.ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!((response.is(200, "abc").body_wire.as_slice(), response.interim.len()), (b"abc".as_slice(), 0));
}

#[test]
fn an_http_1_0_backend_is_understood() {
    let (origin, forebay) = before(raw("HTTP/1.0 200 OK\r\n\r\nabc").close());
    let response = forebay.get("/");
    assert!(response.is(200, "abc").head.start_line().starts_with("HTTP/1.1"));
    eventually("the backend's connection is closed", || origin.open() == 0);
}

#[test]
fn a_slow_head_is_given_up() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).server("header_timeout = \"200ms\""));
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n");
    let answer = String::from_utf8_lossy(&client.read_until_closed()).into_owned();
    assert!(answer.is_empty() || answer.contains(" 408 "), "{answer}");
    assert_eq!(origin.seen(), 0);
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_silent_connection_is_closed() {
    let origin = Origin::start(ok("one"));
    let forebay = Forebay::start(forward([&origin]).server("idle_timeout = \"200ms\"\nheader_timeout = \"200ms\""));
    assert!(forebay.client().read_until_closed().len() < 512);
    let mut client = forebay.client();
    client.send(GET).read_response().is(200, "one");
    assert!(client.read_until_closed().is_empty(), "an idle connection is closed without a word");
}

#[test]
fn a_slow_body_is_given_up_on_both_sides() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).server("body_timeout = \"200ms\""));
    let response = forebay.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(response.is_status(408).ending, Ending::Closed);
    eventually("the backend's connection is closed", || origin.open() == 0);
    assert!(origin.requests().iter().all(|seen| seen.body_end == BodyEnd::Broken));
    forebay.is_idle();
}

#[test]
fn a_body_that_only_trickles_is_given_up() {
    let origin = Origin::start(ok(""));
    let keys = "body_timeout = \"200ms\"\nbody_rate_min = \"1MiB\"";
    let forebay = Forebay::start(forward([&origin]).server(keys));
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    eventually("the backend has the head", || origin.seen() == 1);
    eventually("the trickle is given up", || {
        client.try_send("a");
        forebay.gauges().in_flight == 0 && origin.open() == 0
    });
    assert_eq!(origin.last().body_end, BodyEnd::Broken);
}

#[test]
fn a_connection_too_many_waits_for_its_turn() {
    let origin = Origin::start(ok("one"));
    let forebay = Forebay::start(forward([&origin]).server("connections_max = 1"));
    let mut first = forebay.client();
    first.send(GET).read_response().is(200, "one");
    let mut second = forebay.client();
    second.send(GET);
    first.send(GET).read_response().is(200, "one");
    assert_eq!((forebay.gauges().connections, origin.seen()), (1, 2));
    drop(first);
    second.read_response().is(200, "one");
}

#[test]
fn a_reader_that_takes_nothing_is_given_up() {
    let body = "a".repeat(32 * 1024 * 1024);
    let origin = Origin::start(ok(&body));
    let forebay = Forebay::start(forward([&origin]).server("write_timeout = \"200ms\""));
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || origin.seen() == 1);
    forebay.is_idle();
}

#[test]
fn a_backend_that_answers_and_closes_is_not_an_error() {
    let (_origin, forebay) = before(answer(200, &[("Connection", "close")], "bye").close());
    for _ in 0..3 {
        assert_eq!(forebay.get("/").is(200, "bye").ending, Ending::Kept);
    }
}

#[test]
fn nothing_is_left_over_after_trouble() {
    let (origin, forebay) = before(ok("fine"));
    for script in [
        testbed::reset(),
        testbed::close(),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na").close(),
        raw("x").close(),
    ] {
        origin.now(script);
        drop(forebay.ask(GET));
    }
    origin.now(ok("fine"));
    forebay.get("/").is(200, "fine");
    forebay.is_idle();
    forebay.eventually("at most one backend connection is kept", |gauges| gauges.backend_connections <= 1);
}
