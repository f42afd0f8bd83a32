//! The rest of a request body after an early response, while the client still sends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Ending, Forebay, Gate, Origin, answer, eventually, forward, ok, script};

const SECOND: &str = "GET /second HTTP/1.1\r\nHost: h\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
const FIXED: &str = "[[route]]\npath = \"=/fixed\"\nrespond = { status = 200, body = \"early\" }";

/// A backend that answers `/` before it reads the body, and a route that answers `/fixed` without one.
fn early() -> (Origin, Forebay) {
    let origin = Origin::start(script().before_body().then(answer(200, &[], "early")).read_body());
    origin.at("/second", ok("second"));
    let forebay = Forebay::start(forward([&origin]).server("body_bytes_max = \"1GiB\"").more(FIXED));
    (origin, forebay)
}

#[test]
fn the_rest_of_a_body_is_thrown_away_and_the_next_request_is_answered() {
    let (_origin, forebay) = early();
    let (long, length) = ("b".repeat(200_000), "Content-Length: 200003");
    let chunks = format!("30d40\r\n{long}\r\n0\r\nX-Trailer: 1\r\n\r\n");
    for (target, framing, begin, rest) in [
        ("/", "Content-Length: 6", "abc", "def"),
        ("/fixed", "Content-Length: 6", "abc", "def"),
        ("/fixed", "Content-Length: 6", "", "abcdef"),
        ("/", length, "abc", &long),
        ("/fixed", length, "abc", &long),
        ("/", "Transfer-Encoding: chunked", "3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n"),
        ("/", "Transfer-Encoding: chunked", "3\r\nab", &format!("c\r\n{chunks}")),
    ] {
        let mut client = forebay.client();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{begin}"));
        let response = client.read_response();
        assert_eq!(response.is(200, "early").field("connection"), None, "{target} {framing}");
        client.send(format!("{rest}{SECOND}{SECOND}")).read_response().is(200, "second");
        client.read_response().is(200, "second");
    }
    forebay.is_idle();
}

#[test]
fn a_body_that_came_as_a_whole_with_the_next_request_is_no_hindrance() {
    let (_origin, forebay) = early();
    for length in [3, 20_000, 250_000] {
        let body = "a".repeat(length);
        let mut client = forebay.client();
        client.send(format!("POST /fixed HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}{SECOND}"));
        client.read_response().is(200, "early");
        client.read_response().is(200, "second");
    }
}

#[test]
fn a_rest_that_is_too_long_ends_the_connection_behind_the_answer() {
    let (origin, forebay) = early();
    let smuggled = SMUGGLED.repeat(1 << 15);
    for (target, is_announced) in [("/", false), ("/fixed", true)] {
        let mut client = forebay.client();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", smuggled.len()));
        if target == "/" {
            let response = client.read_response();
            assert_eq!(response.is(200, "early").field("connection").is_some(), is_announced);
            client.try_send(&smuggled);
        } else {
            client.try_send(&smuggled);
            assert_eq!(client.read_response().is(200, "early").ending, Ending::Closed);
        }
        assert!(client.read_until_closed().is_empty(), "{target}");
    }
    assert_eq!(origin.count("GET /smuggled"), 0);
    forebay.is_idle();
}

#[test]
fn a_chunked_body_of_unknown_length_that_nobody_takes_ends_the_connection_as_is_announced() {
    let (_origin, forebay) = early();
    let mut client = forebay.client();
    client.send("POST /fixed HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(client.read_response().is(200, "early").ending, Ending::Closed);
}

#[test]
fn a_body_that_no_backend_takes_any_more_ends_the_connection_as_is_announced() {
    let nobody = Origin::refusing(ok(""));
    let forebay = Forebay::start(forward([&nobody]).server("body_bytes_max = \"1GiB\""));
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut client = forebay.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n"));
        let response = client.read_response();
        assert_eq!((response.status, response.ending), (502, Ending::Closed), "{framing}");
    }
    forebay.is_idle();
}

#[test]
fn a_rest_that_does_not_come_in_time_ends_the_connection() {
    let (_origin, forebay) = early();
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc").read_response().is(200, "early");
    assert!(client.read_until_closed().is_empty());
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_rest_that_is_malformed_is_no_request_and_neither_is_what_follows() {
    let (origin, forebay) = early();
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.read_response().is(200, "early");
    assert!(client.send(format!("zz\r\n{SMUGGLED}")).read_until_closed().is_empty());
    assert_eq!(origin.count("GET /smuggled"), 0);
}

#[test]
fn a_client_that_leaves_meanwhile_leaves_nothing_behind() {
    let (origin, forebay) = early();
    for round in 0..30 {
        let mut client = forebay.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc").read_response().is(200, "early");
        match round % 3 {
            0 => drop(client),
            1 => client.reset(),
            _ => assert!(client.send("def").half_close().read_until_closed().is_empty()),
        }
    }
    forebay.is_idle();
    eventually("no request is left at the backend", || origin.held() == 0);
}

#[test]
fn a_drain_meanwhile_lets_the_body_end_and_answers_what_has_come_behind_it() {
    let gate = Gate::new();
    for has_next in [true, false] {
        let (origin, forebay) = early();
        let mut other = forebay.client();
        origin.at("/other", script().wait(&gate).then(ok("other")));
        other.send("GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("the backend has the other request", || origin.count("GET /other") == 1);
        let mut client = forebay.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc").read_response().is(200, "early");
        forebay.drain();
        if has_next {
            let next = client.send(format!("def{SECOND}")).read_response();
            assert_eq!(next.is(200, "second").ending, Ending::Closed);
        } else {
            client.send("def");
        }
        assert!(client.read_until_closed().is_empty());
        gate.open();
        other.read_response().is(200, "other");
        forebay.wait();
    }
}

#[test]
fn a_client_that_was_not_told_to_send_its_body_is_told_that_the_connection_closes() {
    let (origin, forebay) = early();
    for target in ["/fixed", "/"] {
        let mut client = forebay.client();
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            SMUGGLED.len()
        ));
        assert_eq!(client.read_response().is(200, "early").ending, Ending::Closed, "{target}");
        client.try_send(SMUGGLED);
    }
    assert_eq!(origin.count("GET /smuggled"), 0);
}
