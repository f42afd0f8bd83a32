//! Client connections: keep-alive, time-outs, limits and misbehaving clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use testbed::{Ending, Forebay, Gate, Origin, eventually, forward, ok, raw, routes, script};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const RESPOND: &str = "[[route]]\npath = \"/\"\nrespond = { status = 200, body = \"here\" }\n";

#[test]
fn the_beginning_of_a_head_that_came_with_the_request_before_is_not_lost() {
    let origin = Origin::start(ok("first"));
    let forebay = Forebay::start(forward([&origin]).server("header_timeout = \"200ms\""));
    let requests = [
        GET,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ];
    let mut clients = requests.map(|request| {
        let mut client = forebay.client();
        client.send(format!("{request}GET /second HTTP/1.1\r\nHo")).read_response().is(200, "first");
        client
    });
    for client in &mut clients {
        let late = client.read_response();
        assert_eq!((late.status, late.ending), (408, Ending::Closed));
    }
    drop(clients);
    forebay.is_idle();
}

/// Sends these bytes in the background, and counts those that are sent.
fn send_behind(mut stream: TcpStream, bytes: Vec<u8>) -> Arc<AtomicUsize> {
    let gone = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&gone);
    std::thread::spawn(move || {
        for piece in bytes.chunks(4096) {
            if stream.write_all(piece).is_err() {
                return;
            }
            count.fetch_add(piece.len(), Relaxed);
        }
    });
    gone
}

#[test]
fn a_body_that_no_backend_takes_is_never_read_as_the_next_request() {
    let (blocked, end) = (Gate::new(), Gate::new());
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
    let origin = Origin::start(script().before_body().wait(&blocked).send(early).wait(&end));
    let forebay = Forebay::start(forward([&origin]).server("body_bytes_max = \"1GiB\""));
    let mut client = TcpStream::connect(forebay.address()).unwrap();
    client.set_read_timeout(Some(testbed::DEADLINE)).unwrap();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1 << 20);
    let request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let gone = send_behind(client.try_clone().unwrap(), request.into_bytes());
    let (mut before, mut still) = (0, Instant::now());
    eventually("no more is taken", || {
        let now = gone.load(Relaxed);
        if now != std::mem::replace(&mut before, now) {
            still = Instant::now();
        }
        now > 0 && still.elapsed() > Duration::from_millis(200)
    });
    blocked.open();
    let mut answers = Vec::new();
    let _reset = client.read_to_end(&mut answers);
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert_eq!(origin.seen(), 1);
    forebay.eventually("the backend's connection is given up", |gauges| gauges.backend_connections == 0);
    end.open();
}

#[test]
fn a_client_that_says_nothing_has_as_long_as_for_a_head() {
    let forebay = Forebay::start(routes(RESPOND).server("header_timeout = \"200ms\"\nidle_timeout = \"1h\""));
    assert!(forebay.client().read_until_closed().is_empty());
    forebay.is_idle();
}

#[test]
fn empty_lines_between_requests_are_no_beginning_of_one() {
    let forebay = Forebay::start(routes(RESPOND).server("header_timeout = \"3s\"\nidle_timeout = \"1500ms\""));
    let mut client = forebay.client();
    client.send(format!("{GET}\r\n")).read_response().is(200, "here");
    assert!(client.read_until_closed().is_empty(), "an idle connection is told nothing");
    let (mut client, connected) = (forebay.client(), Instant::now());
    eventually("the connection is parked", || connected.elapsed() > Duration::from_millis(1100));
    client.send("\r\n");
    eventually("the empty line is read", || connected.elapsed() > Duration::from_millis(1200));
    client.send(GET).read_response().is(200, "here");
}

#[test]
fn an_answer_cut_short_never_looks_whole_to_an_http_1_0_client() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let origin = Origin::start(raw(bytes).close());
        let forebay = Forebay::start(forward([&origin]));
        let response = forebay.ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
        assert!(response.ending == Ending::CutShort || response.status == 502, "{bytes:?}: {response:?}");
    }
}

#[test]
fn a_client_that_begins_with_http_2_is_told_that_it_is_not_spoken() {
    let forebay = Forebay::start(routes(RESPOND));
    let response = forebay.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!((response.status, response.ending), (505, Ending::Closed));
}
