//! The testbed tested on itself: a client against an origin, no proxy between.

use std::time::Duration;

use testbed::{
    BodyEnd, Client, Ending, Gate, Origin, answer, chunked, close, echo, eventually, hang, ok, raw, reset, script,
};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_connection_is_kept_and_its_requests_are_counted() {
    let origin = Origin::start(ok("one"));
    origin.at("/b", answer(404, &[("x-a", "1")], "none"));
    let mut client = Client::to(origin.address());
    assert_eq!(client.send(GET).read_response().is(200, "one").ending, Ending::Kept);
    let second = client.send("GET /b?q HTTP/1.1\r\nHost: h\r\n\r\n").read_response();
    assert_eq!(second.is(404, "none").field("X-A"), Some("1"));
    assert_eq!((origin.count("GET /a"), origin.count("GET /b?q"), origin.accepted(), origin.open()), (1, 1, 1, 1));
}

#[test]
fn a_script_for_once_is_played_once() {
    let origin = Origin::start(ok("later"));
    origin.once(ok("first"));
    let mut client = Client::to(origin.address());
    client.send(GET).read_response().is(200, "first");
    client.send(GET).read_response().is(200, "later");
}

#[test]
fn a_request_is_echoed_as_it_came() {
    let origin = Origin::start(echo());
    let request = "PUT /x HTTP/1.1\r\nhOsT: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nA: b\r\n\r\n";
    Client::to(origin.address()).send(request).read_response().is(200, request);
    let seen = origin.last();
    assert_eq!((seen.body.as_slice(), seen.body_end), (b"ab".as_slice(), BodyEnd::Complete));
    assert_eq!(seen.trailers, [("a".to_owned(), "b".to_owned())]);
}

#[test]
fn chunks_and_trailers_are_read() {
    let origin = Origin::start(chunked(&["ab", "c"], &[("X-Sum", "3")]));
    let response = Client::to(origin.address()).send(GET).read_response();
    assert_eq!(response.is(200, "abc").trailers, [("x-sum".to_owned(), "3".to_owned())]);
}

#[test]
fn a_truncated_a_closed_and_a_reset_answer_differ() {
    let origin = Origin::start(raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").close());
    let cut = Client::to(origin.address()).send(GET).read_response();
    assert_eq!((cut.ending, cut.text().as_str()), (Ending::CutShort, "ab"));
    origin.now(raw("HTTP/1.1 200 OK\r\n\r\nab").close());
    assert_eq!(Client::to(origin.address()).send(GET).read_response().is(200, "ab").ending, Ending::Closed);
    origin.now(raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab").reset());
    assert_eq!(Client::to(origin.address()).send(GET).read_response().is(200, "ab").ending, Ending::Reset);
    origin.now(close());
    assert!(Client::to(origin.address()).send(GET).read_until_closed().is_empty());
    origin.now(reset());
    assert!(Client::to(origin.address()).send(GET).read_until_closed().is_empty());
}

#[test]
fn interim_responses_are_kept_apart_and_a_head_request_has_no_body() {
    let origin = Origin::start(script().send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").then(ok("one")));
    let response = Client::to(origin.address()).send(GET).read_response();
    assert_eq!(response.is(200, "one").interim[0].field("link"), Some("</a>"));
    let mut client = Client::to(origin.address());
    client.send(GET.replace("GET", "HEAD")).read_response_to("HEAD").is(200, "");
    client.send(GET).read_response().is(200, "one");
}

#[test]
fn a_gate_holds_an_answer_until_it_opens() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("late")));
    let mut client = Client::to(origin.address());
    client.send(GET);
    eventually("the request is held", || origin.held() == 1);
    gate.open();
    client.read_response().is(200, "late");
    assert_eq!((origin.held(), origin.held_most(), origin.abandoned()), (0, 1, 0));
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let origin = Origin::start(hang());
    let mut client = Client::to(origin.address());
    client.send(GET);
    eventually("the request hangs", || origin.held() == 1);
    client.reset();
    eventually("the request was given up", || origin.abandoned() == 1 && origin.open() == 0);
}

#[test]
fn a_body_that_breaks_is_told_from_a_whole_one() {
    let origin = Origin::start(ok(""));
    Client::to(origin.address()).send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc").half_close();
    eventually("the body broke", || origin.requests().iter().any(|seen| seen.body_end == BodyEnd::Broken));
}

#[test]
fn an_origin_goes_down_with_a_reset_and_comes_back_on_its_port() {
    let origin = Origin::start(ok("up"));
    let mut client = Client::to(origin.address());
    client.send(GET).read_response().is(200, "up");
    origin.go_down();
    assert!(std::net::TcpStream::connect(origin.address()).is_err());
    assert!(client.is_closed());
    origin.come_back();
    Client::to(origin.address()).send(GET).read_response().is(200, "up");
}

#[test]
fn a_tunnel_echoes_what_follows_the_answer() {
    let origin = Origin::start(raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n").tunnel());
    let mut client = Client::to(origin.address());
    client.send(GET).read_response().is(101, "");
    assert_eq!(client.send("ping").read_until("ping"), "ping");
    client.half_close();
    assert!(client.read_until_closed().is_empty());
}

#[test]
fn a_dripped_answer_comes_whole() {
    let origin =
        Origin::start(script().drip("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", Duration::from_millis(1)));
    Client::from([127, 0, 0, 9], origin.address()).send(GET).read_response().is(200, "ab");
}
