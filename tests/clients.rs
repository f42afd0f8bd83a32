//! Clients that pipeline, half-close, send more than the request, or disconnect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use testbed::{
    BodyEnd, Client, Ending, Forebay, Gate, Origin, chunked, echo, eventually, forward, hang, ok, raw, routes, script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const HERE: &str = "[[route]]\npath = \"/here\"\nrespond = { status = 200, body = \"here\" }\n";

fn here(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// An origin, and forebay before it, which answers `/here` by itself.
fn before(origin: &Origin, keys: &str) -> Forebay {
    Forebay::start(forward([origin]).server(keys).more(HERE))
}

#[test]
fn what_is_answered_here_always_reaches_a_client_that_sends_no_more() {
    let forebay = Forebay::start(routes(HERE));
    for round in 0..500 {
        let count = 1 + round % 3;
        let mut client = forebay.client();
        client.send(here("/here").repeat(count)).half_close();
        for _ in 0..count {
            client.read_response().is(200, "here");
        }
        assert!(client.read_until_closed().is_empty());
    }
    forebay.is_idle();
}

#[test]
fn a_client_that_sends_no_more_gets_what_was_asked_for_before_and_takes_the_last_along() {
    let origin = Origin::start(ok("first"));
    origin.at("/hangs", hang());
    let forebay = before(&origin, "");
    let mut client = forebay.client();
    client.send(format!("{}{GET}{}", here("/here"), here("/hangs")));
    client.read_response().is(200, "here");
    client.read_response().is(200, "first");
    eventually("the backend has the last", || origin.held() == 1);
    client.half_close();
    assert!(client.read_until_closed().is_empty());
    eventually("it is given up", || origin.abandoned() == 1);
    forebay.is_idle();
}

#[test]
fn a_client_that_sends_no_more_is_answered_where_that_is_configured() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("late")));
    let forebay = before(&origin, "half_close = \"answer\"");
    let mut client = forebay.client();
    client.send(format!("{GET}{}", here("/here"))).half_close();
    eventually("the backend has the request", || origin.held() == 1);
    gate.open();
    client.read_response().is(200, "late");
    client.read_response().is(200, "here");
    assert!(client.read_until_closed().is_empty());
    forebay.is_idle();
}

#[test]
fn a_write_whose_client_sends_no_more_is_awaited() {
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let gate = Gate::new();
        let origin = Origin::start(script().wait(&gate).then(ok("done")));
        let forebay = before(&origin, "");
        let mut client = forebay.client();
        client.send(request).half_close();
        eventually("the backend has the request", || origin.held() == 1);
        assert_eq!((forebay.gauges().in_flight, origin.abandoned()), (1, 0));
        gate.open();
        client.read_response().is(200, "done");
        assert_eq!(origin.last().body_end, BodyEnd::Complete);
        forebay.is_idle();
    }
}

#[test]
fn a_write_whose_body_is_not_whole_is_given_up_with_its_client() {
    let origin = Origin::start(ok("done"));
    let forebay = before(&origin, "");
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    eventually("the backend has the head", || origin.seen() == 1);
    client.half_close();
    client.read_until_closed();
    eventually("it is given up", || origin.open() == 0);
    assert_eq!(origin.last().body_end, BodyEnd::Broken);
    forebay.is_idle();
}

/// Request number `place` of a long pipeline: its method, and the content of its response.
fn mixed(place: usize) -> (String, &'static str, String) {
    let body = format!("{place} ").repeat(1 + place % 40);
    let length = body.len();
    match place % 6 {
        0 => (format!("GET /here?{place} HTTP/1.1\r\nHost: h\r\n\r\n"), "GET", "here".to_owned()),
        1 => (format!("PUT /{place} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"), "PUT", body),
        2 => {
            let head = format!("PUT /{place} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
            let (first, second) = body.split_at(length / 2);
            let chunk = |piece: &str| format!("{:x};place={place}\r\n{piece}\r\n", piece.len());
            (
                format!("{head}{}{}0\r\nX-Sum: 1\r\n\r\n", chunk(first), chunk(second)),
                "PUT",
                format!("PUT /{place} HTTP"),
            )
        }
        3 => (format!("HEAD /{place} HTTP/1.1\r\nHost: h\r\n\r\n"), "HEAD", String::new()),
        4 => (
            format!("\r\nPOST /{place} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
            "POST",
            format!("POST /{place} HTTP"),
        ),
        _ => (
            format!("POST /here HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"),
            "POST",
            "here".to_owned(),
        ),
    }
}

#[test]
fn a_thousand_pipelined_requests_of_all_kinds_are_answered_in_order() {
    let origin = Origin::start(echo());
    let forebay = before(&origin, "");
    let requests: String = (0..1000).map(|place| mixed(place).0).collect();
    let mut stream = TcpStream::connect(forebay.address()).unwrap();
    let mut client = Client::over(stream.try_clone().unwrap());
    let sending = std::thread::spawn(move || stream.write_all(requests.as_bytes()));
    for place in 0..1000 {
        let (_, method, expected) = mixed(place);
        let response = client.read_response_to(method);
        assert_eq!((response.status, response.ending), (200, Ending::Kept), "{place}");
        assert!(response.text().contains(&expected), "{place}: {:?}", response.text());
    }
    sending.join().unwrap().unwrap();
    drop(client);
    forebay.is_idle();
}

#[test]
fn an_early_refusal_reaches_a_client_that_sends_all_before_it_reads() {
    let origin = Origin::start(ok("backend"));
    let forebay = before(&origin, "body_bytes_max = \"1KiB\"");
    let body = vec![b'a'; 24 * 1024 * 1024];
    for round in 0..8 {
        let mut stream = TcpStream::connect(forebay.address()).unwrap();
        stream.set_read_timeout(Some(testbed::DEADLINE)).unwrap();
        let head = match round % 2 {
            0 => format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()),
            _ => format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()),
        };
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).expect("all is taken");
        stream.shutdown(Shutdown::Write).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("no reset");
        let response = String::from_utf8_lossy(&response);
        assert!(
            response.starts_with("HTTP/1.1 413 ") && response.to_ascii_lowercase().contains("connection: close"),
            "{response}"
        );
    }
    forebay.is_idle();
}

#[test]
fn a_client_that_waits_to_send_what_nobody_wants_is_told_so_and_closed() {
    let origin = Origin::start(ok("backend"));
    let forebay = before(&origin, "");
    let mut client = forebay.client();
    client.send("PUT /here HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read_response();
    assert_eq!((response.is(200, "here").interim.len(), response.ending), (0, Ending::Closed));
    // The bytes that it still sends are not a request.
    let mut client = forebay.client();
    client.send("PUT /here HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n");
    client.read_head();
    client.try_send(here("/smuggled"));
    let rest = String::from_utf8_lossy(&client.read_until_closed()).into_owned();
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
    assert_eq!(origin.seen(), 0);
}

#[test]
fn a_client_that_waits_to_send_may_be_followed_by_the_next_request() {
    let origin = Origin::start(ok("done"));
    let forebay = before(&origin, "");
    let mut client = forebay.client();
    for _ in 0..3 {
        client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
        assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 100 Continue"));
        let response = client.send("abc").read_response();
        assert_eq!((response.is(200, "done").interim.len(), response.ending), (0, Ending::Kept));
    }
    client.send(GET).read_response().is(200, "done");
    assert_eq!(origin.requests()[0].body, b"abc");
}

#[test]
fn trailers_reach_every_client_that_can_take_them() {
    let origin = Origin::start(chunked(&["abc"], &[("X-Sum", "7"), ("Content-Length", "1")]));
    let forebay = before(&origin, "");
    let response = forebay.get("/");
    assert_eq!(response.is(200, "abc").trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let old = forebay.ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!((old.is(200, "abc").trailers.len(), old.ending), (0, Ending::Closed));
}

#[test]
fn a_client_may_leave_at_any_moment() {
    let origin = Origin::start(ok("fine"));
    origin.at("/hangs", hang());
    origin.at("/half", raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang());
    origin.at("/chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").hang());
    let forebay = before(&origin, "");
    let post = "POST /hangs HTTP/1.1\r\nHost: h\r\n";
    for (sent, answered) in [
        (String::new(), ""),
        ("\r\n".to_owned(), ""),
        ("GET / HT".to_owned(), ""),
        ("GET / HTTP/1.1\r\nHost: h\r\nX".to_owned(), ""),
        (format!("{post}Content-Length: 9\r\n\r\nabc"), ""),
        (format!("{post}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"), ""),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nab"), ""),
        (here("/hangs"), ""),
        (format!("{}{GET}", here("/hangs")), ""),
        (here("/half"), "\r\n\r\nabc"),
        (here("/chunk"), "\r\n\r\n3\r\nabc"),
        (format!("{GET}GET"), "fine"),
        (here("/here"), "here"),
    ] {
        for leaves_by_reset in [false, true] {
            let mut client = forebay.client();
            client.send(&sent);
            client.read_until(answered);
            match leaves_by_reset {
                true => client.reset(),
                false => drop(client),
            }
            forebay.is_idle();
            forebay.eventually("its backend's request is over", |now| now.in_flight == 0 && now.connections == 0);
        }
    }
    eventually("nothing is left at the backend", || origin.held() == 0);
    forebay.get("/").is(200, "fine");
}

#[test]
fn a_body_is_never_read_as_a_request() {
    let origin = Origin::start(echo());
    let forebay = before(&origin, "");
    let smuggled = here("/smuggled");
    let length = smuggled.len();
    for (target, framed) in [
        ("/here", format!("Content-Length: {length}\r\n\r\n{smuggled}")),
        ("/", format!("Content-Length: {length}\r\n\r\n{smuggled}")),
        ("/here", format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n")),
        ("/", format!("Transfer-Encoding: chunked\r\n\r\n{length:x};a=\"0\"\r\n{smuggled}\r\n0\r\nX: {GET}")),
        ("/", format!("Content-Length: 0{length}\r\n\r\n{smuggled}")),
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let mut client = forebay.client();
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{framed}{}", here("/here")));
            client.half_close();
            client.read_until_closed();
            assert_eq!(origin.count("GET /smuggled"), 0, "{method} {target} {framed:?}");
        }
    }
}
