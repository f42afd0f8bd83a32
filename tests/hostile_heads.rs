//! Hostile and malformed request heads get the same response at any position in a connection, and however their bytes
//! are split. None is forwarded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Client, Forebay, Origin, forward, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Heads with their statuses; some are followed by a body.
fn refused() -> Vec<(u16, String)> {
    let mut cases = Vec::new();
    let mut add = |status: u16, request: &str| cases.push((status, request.to_owned()));
    // Host (RFC 9112 §3.2).
    add(400, "GET / HTTP/1.1\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n");
    for host in ["a@b/x", "a b", "", "h:x", "[::1"] {
        add(400, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    add(400, "GET http://user@h/ HTTP/1.1\r\nHost: h\r\n\r\n");
    // Lines.
    add(400, "GET / HTTP/1.1\nHost: h\n\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc: d\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n");
    add(400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n");
    add(400, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n");
    add(400, "G(T / HTTP/1.1\r\nHost: h\r\n\r\n");
    // Framing (RFC 9112 §6).
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n0\r\n\r\n");
    add(400, &post("Content-Length: 5\r\nTransfer-Encoding: chunked"));
    add(400, &post("Transfer-Encoding: chunked\r\nContent-Length: 5"));
    for length in ["4, 5", "+4", "", "4, 4", "-1", "0x4", "4 4", "99999999999999999999"] {
        add(400, &post(&format!("Content-Length: {length}")));
    }
    add(400, &post("Content-Length: 4\r\nContent-Length: 5"));
    add(400, &post("Content-Length: 4\r\nContent-Length: 4"));
    add(400, &post("Content-Length: 4\r\ncontent-length: 04"));
    add(501, &post("Transfer-Encoding: gzip, chunked"));
    add(501, &post("Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked"));
    add(400, &post("Transfer-Encoding: chunked, chunked"));
    add(400, &post("Transfer-Encoding: identity"));
    add(400, &post("Transfer-Encoding:\x0bchunked"));
    add(400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    // Targets.
    for target in ["/a\\b", "/a%00b", "/a%zz", "/\u{e9}", "/a#b", "/a?b#c", "/..", "/%2e%2e/a", "foo", "*"] {
        add(400, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    add(414, &format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(17 * 1024)));
    // Fields that are not allowed, or malformed.
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nConnection: host\r\n\r\n");
    add(400, "GET / HTTP/1.1\r\nHost: h\r\nConnection: x-forwarded-for, content-length\r\n\r\n");
    add(417, "GET / HTTP/1.1\r\nHost: h\r\nExpect: 200-maybe\r\n\r\n");
    add(405, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n");
    add(405, "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n");
    // Size.
    let lines: String = (0..101).map(|place| format!("X-{place}: 1\r\n")).collect();
    add(431, &format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n"));
    add(431, &format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(40 * 1024)));
    // Versions.
    add(505, "GET / HTTP/1.2\r\nHost: h\r\n\r\n");
    add(400, "GET /\r\n\r\n");
    add(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    cases
}

/// A client that reads until the end of the connection.
#[track_caller]
fn is_refused(client: &mut Client, status: u16, request: &str) {
    let method = if request.starts_with("HEAD") { "HEAD" } else { "GET" };
    let shown: String = request.chars().take(200).collect();
    assert_eq!(client.read_response_to(method).status, status, "for {shown:?}");
}

#[test]
fn what_is_no_request_is_refused_in_the_first_position() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    for (status, request) in refused() {
        is_refused(forebay.client().send(&request), status, &request);
        assert_eq!(origin.seen(), 0, "for {request:?}");
    }
    forebay.is_idle();
}

#[test]
fn what_is_no_request_is_refused_behind_others_too() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    let post = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (status, request) in refused() {
        let before = origin.seen();
        let mut client = forebay.client();
        client.send(format!("{GET}{post}{GET}{request}"));
        for _ in 0..3 {
            client.read_response().is(200, "fine");
        }
        is_refused(&mut client, status, &request);
        assert_eq!(origin.seen(), before + 3, "for {request:?}");
    }
    forebay.is_idle();
}

#[test]
fn nothing_behind_what_leaves_doubt_about_its_end_is_a_request() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 4, 4",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\n x",
    ] {
        let mut client = forebay.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n0\r\n\r\n{smuggled}{smuggled}"));
        let all = String::from_utf8_lossy(&client.read_until_closed()).into_owned();
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {all}");
    }
    assert_eq!(origin.seen(), 0);
}

#[test]
fn however_its_bytes_are_cut_a_head_is_the_same() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    let cases = [
        (200, "\r\nGET /a?b HTTP/1.1\r\nHost: h\r\nX-Long:  value \r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n"),
        (505, "GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
    ];
    for (status, request) in cases {
        for cut in 1..request.len() {
            let (first, second) = request.split_at(cut);
            let mut client = forebay.client();
            client.send(first).try_send(second);
            assert_eq!(client.read_response().status, status, "{first:?} {second:?}");
        }
        let mut client = forebay.client();
        for byte in request.bytes() {
            client.try_send([byte]);
        }
        assert_eq!(client.read_response().status, status, "{request:?} byte by byte");
    }
}

#[test]
fn a_body_that_breaks_its_framing_is_no_request_and_neither_is_what_follows() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for body in [
        "zz\r\nab\r\n0\r\n\r\n",
        "2;a\nb\r\nab\r\n0\r\n\r\n",
        "2;a=\0\r\nab\r\n0\r\n\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "2\nab\n0\n\n",
        "-2\r\nab\r\n0\r\n\r\n",
        "0x2\r\nab\r\n0\r\n\r\n",
        "11111111111111112\r\nab\r\n0\r\n\r\n",
        "2\r\nab\r\n0\r\nX : y\r\n\r\n",
        "2\r\nab\r\n0\r\n X: y\r\n\r\n",
    ] {
        let mut client = forebay.client();
        client.send(format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}{smuggled}"));
        assert_eq!(client.read_response().status, 400, "for {body:?}");
        client.read_until_closed();
        assert_eq!(origin.count("GET /smuggled"), 0, "for {body:?}");
    }
    forebay.is_idle();
}
