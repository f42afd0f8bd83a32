//! Forwarded messages: bodies in both directions, interim responses, `Expect`, pipelines, and clients that disconnect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{
    BodyEnd, Ending, Forebay, Gate, Origin, Response, answer, chunked, eventually, forward, hang, ok, raw, script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn before(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]))
}

/// What a client receives when a backend sends these bytes.
#[track_caller]
fn answered(bytes: &str, request: &str) -> Response {
    let origin = Origin::start(raw(bytes));
    before(&origin).ask(request)
}

#[test]
fn a_request_body_with_a_length_arrives_whole() {
    let origin = Origin::start(ok(""));
    before(&origin).post("/", "hello").is(200, "");
    let seen = origin.last();
    assert_eq!((seen.body.as_slice(), seen.body_end), (b"hello".as_slice(), BodyEnd::Complete));
    assert_eq!(seen.head.fields("content-length"), ["5"]);
}

#[test]
fn a_chunked_request_body_arrives_whole() {
    let origin = Origin::start(ok(""));
    before(&origin)
        .ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .is(200, "");
    let seen = origin.last();
    assert_eq!((seen.body.as_slice(), seen.body_end), (b"abcde".as_slice(), BodyEnd::Complete));
}

#[test]
fn an_empty_request_body_stays_empty() {
    let origin = Origin::start(ok(""));
    let forebay = before(&origin);
    forebay.post("/", "").is(200, "");
    assert_eq!((origin.last().head.field("content-length"), origin.last().body.len()), (Some("0"), 0));
    forebay.get("/").is(200, "");
    assert!(!origin.last().head.has("content-length") && !origin.last().head.has("transfer-encoding"));
}

#[test]
fn a_large_body_passes_both_ways() {
    let origin = Origin::start(testbed::echo());
    let body = "0123456789abcdef".repeat(64 * 1024);
    let response = before(&origin).post("/", &body);
    assert_eq!(response.status, 200);
    assert!(response.text().ends_with(&body));
}

#[test]
fn a_body_over_the_limit_is_too_large() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).server("body_bytes_max = \"1KiB\""));
    forebay.post("/", &"a".repeat(1025)).is_status(413);
    assert_eq!(origin.seen(), 0);
    forebay.post("/", &"a".repeat(1024)).is(200, "");
    let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
    let long = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    forebay.ask(long).is_status(413);
    assert!(origin.requests().iter().skip(1).all(|seen| seen.body_end != BodyEnd::Complete));
}

#[test]
fn a_response_with_a_length_keeps_it_and_the_connection() {
    let response = answered("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", GET);
    assert_eq!((response.is(200, "abc").field("content-length"), response.ending), (Some("3"), Ending::Kept));
}

#[test]
fn a_chunked_response_arrives_whole() {
    let response =
        answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", GET);
    assert_eq!(response.is(200, "abcd").ending, Ending::Kept);
}

#[test]
fn a_response_that_ends_with_its_connection_arrives_whole() {
    let origin = Origin::start(raw("HTTP/1.1 200 OK\r\n\r\nabc").close());
    before(&origin).get("/").is(200, "abc");
}

#[test]
fn trailers_of_a_response_reach_a_client_that_takes_them() {
    let origin = Origin::start(chunked(&["abc"], &[("X-Sum", "7"), ("Set-Cookie", "evil=1")]));
    let response = before(&origin).get_with("/", "TE: trailers\r\n");
    assert_eq!(response.is(200, "abc").trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[test]
fn the_answer_to_head_has_a_length_and_no_body() {
    let origin = Origin::start(ok("hello"));
    let forebay = before(&origin);
    let mut client = forebay.client();
    let response = client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").read_response_to("HEAD");
    assert_eq!(response.is_status(200).field("content-length"), Some("5"));
}

#[test]
fn a_connection_goes_on_after_head_204_and_304() {
    let origin = Origin::start(ok("hello"));
    origin.at("/204", answer(204, &[], ""));
    origin.at("/304", answer(304, &[("ETag", "\"a\"")], ""));
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").read_response_to("HEAD").is(200, "");
    client.send("GET /204 HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(204, "");
    client.send("GET /304 HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(304, "");
    client.send(GET).read_response().is(200, "hello");
    assert_eq!(origin.accepted(), 1, "the backend's connection is used again");
}

#[test]
fn an_http_1_0_client_gets_a_body_that_ends_with_the_connection() {
    let origin = Origin::start(chunked(&["abc", "d"], &[]));
    let response = before(&origin).ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(response.is(200, "abcd").field("transfer-encoding"), None);
    assert_eq!(response.ending, Ending::Closed);
    assert!(origin.last().head.start_line().ends_with("HTTP/1.1"));
}

#[test]
fn an_http_1_0_client_may_keep_its_connection() {
    let origin = Origin::start(ok("abc"));
    let forebay = before(&origin);
    let mut client = forebay.client();
    for _ in 0..2 {
        let response = client.send("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n").read_response();
        assert_eq!(response.is(200, "abc").ending, Ending::Kept);
    }
}

#[test]
fn connection_close_of_a_client_is_obeyed_and_stays_its_own() {
    let origin = Origin::start(ok("abc"));
    let forebay = before(&origin);
    for _ in 0..2 {
        assert_eq!(forebay.get_with("/", "Connection: close\r\n").is(200, "abc").ending, Ending::Closed);
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn one_expectation_gets_one_continue_and_then_the_answer() {
    let origin = Origin::start(ok("done"));
    origin.now(script().before_body().send("HTTP/1.1 100 Continue\r\n\r\n").read_body().then(ok("done")));
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.read_head().start_line().contains(" 100 "));
    let response = client.send("abc").read_response();
    assert_eq!((response.is(200, "done").interim.len(), origin.last().body), (0, b"abc".to_vec()));
}

#[test]
fn an_early_final_answer_comes_before_the_expected_body() {
    let origin = Origin::start(script().before_body().then(answer(403, &[], "no")).close());
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read_response();
    assert_eq!(response.is(403, "no").interim.len(), 0);
}

#[test]
fn an_expectation_that_the_backend_never_answers_harms_nothing() {
    let origin = Origin::start(ok("done"));
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
    client.read_response().is(200, "done");
    assert_eq!(origin.last().body, b"abc");
}

#[test]
fn a_continue_that_nobody_asked_for_is_swallowed() {
    let response = answered("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", GET);
    assert_eq!(response.is(200, "a").interim.len(), 0);
}

const HINTS: &str = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";

#[test]
fn interim_responses_reach_the_client_in_order() {
    let response = answered(HINTS, GET);
    let lines: Vec<_> = response.is(200, "a").interim.iter().filter_map(|head| head.start_line().get(9..12)).collect();
    assert_eq!(lines, ["102", "103"]);
    assert_eq!(response.interim[1].field("link"), Some("</a.css>"));
}

#[test]
fn an_early_hint_comes_before_the_answer_is_ready() {
    let gate = Gate::new();
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let origin = Origin::start(script().send(hint).wait(&gate).then(ok("late")));
    let forebay = before(&origin);
    let mut client = forebay.client();
    assert!(client.send(GET).read_head().start_line().contains(" 103 "));
    gate.open();
    client.read_response().is(200, "late");
}

#[test]
fn no_interim_response_reaches_an_http_1_0_client() {
    let response = answered(HINTS, "GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(response.is(200, "a").interim.len(), 0);
}

#[test]
fn interim_responses_of_pipelined_requests_stay_with_their_own() {
    let origin = Origin::start(ok("plain"));
    origin.at("/hinted", raw(HINTS));
    let forebay = before(&origin);
    let mut client = forebay.client();
    let hinted = "GET /hinted HTTP/1.1\r\nHost: h\r\n\r\n";
    client.send([GET, hinted, GET].concat());
    assert_eq!(client.read_response().is(200, "plain").interim.len(), 0);
    assert_eq!(client.read_response().is(200, "a").interim.len(), 2);
    assert_eq!(client.read_response().is(200, "plain").interim.len(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(ok(""));
    let places: Vec<String> = (0..8).map(|place| format!("/{place}")).collect();
    places.iter().for_each(|path| origin.at(path, ok(path)));
    let requests: String = places.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send(requests);
    for path in &places {
        client.read_response().is(200, path);
    }
}

#[test]
fn a_pipelined_request_after_a_body_is_not_taken_for_a_part_of_it() {
    let origin = Origin::start(ok("done"));
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc{GET}"));
    client.read_response().is(200, "done");
    client.read_response().is(200, "done");
    assert_eq!((origin.requests()[0].body.clone(), origin.count("GET /")), (b"abc".to_vec(), 1));
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let origin = Origin::start(script().before_body().then(answer(413, &[], "enough")).close());
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n").try_send("a".repeat(1000));
    assert_eq!(client.read_response().is_status(413).text(), "enough");
}

#[test]
fn the_head_of_an_answer_comes_before_its_body_is_ready() {
    let gate = Gate::new();
    let origin = Origin::start(script().send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").wait(&gate).send("b"));
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send(GET).read_until("\r\n\r\na");
    gate.open();
    assert_eq!(client.read_some(), b"b");
}

#[test]
fn messages_that_come_byte_by_byte_are_the_same() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    let origin = Origin::start(script().drip(answer, std::time::Duration::ZERO));
    let forebay = before(&origin);
    let mut client = forebay.client();
    let request = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    for byte in request.bytes() {
        client.send([byte]);
    }
    client.read_response().is(200, "abcd");
    assert_eq!((origin.last().body.as_slice(), origin.last().body_end), (b"abcd".as_slice(), BodyEnd::Complete));
}

#[test]
fn many_clients_at_once_each_get_their_own_answer() {
    let origin = Origin::start(testbed::echo());
    let forebay = Forebay::start(forward([&origin]).server("workers = 2"));
    std::thread::scope(|scope| {
        for client in 0..16 {
            let forebay = &forebay;
            scope.spawn(move || {
                let mut connection = forebay.client();
                for turn in 0..20 {
                    let mark = format!("/client-{client}/turn-{turn} ");
                    let body = "x".repeat(turn * 500);
                    let length = body.len();
                    connection.send(format!("PUT {mark}HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"));
                    let response = connection.read_response();
                    assert!(response.text().contains(&mark) && response.text().ends_with(&body));
                }
            });
        }
    });
    assert_eq!(origin.seen(), 320);
    forebay.is_idle();
}

#[test]
fn a_request_body_flows_while_it_is_being_sent() {
    let origin = Origin::start(ok("done"));
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n").send("a".repeat(100_000));
    eventually("the backend has the head before the body is whole", || origin.seen() == 1);
    client.send("a".repeat(100_000)).read_response().is(200, "done");
    assert_eq!(origin.last().body.len(), 200_000);
}

#[test]
fn a_client_that_leaves_takes_its_backend_request_along() {
    let origin = Origin::start(hang());
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    client.reset();
    eventually("the backend's request is given up", || origin.abandoned() == 1 && origin.open() == 0);
    forebay.is_idle();
    forebay.eventually("no backend connection is left", |gauges| gauges.backend_connections == 0);
}

#[test]
fn a_client_that_closes_its_half_counts_as_gone() {
    let origin = Origin::start(hang());
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    client.half_close();
    eventually("the backend's request is given up", || origin.abandoned() == 1);
    forebay.is_idle();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_ends_it_at_the_backend() {
    let origin = Origin::start(raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang());
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send(GET).read_until("abc");
    client.reset();
    eventually("the backend's answer is given up", || origin.abandoned() == 1 && origin.open() == 0);
    forebay.is_idle();
}

#[test]
fn the_gauges_say_what_runs() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("")));
    let forebay = before(&origin);
    let mut client = forebay.client();
    client.send(GET);
    forebay.eventually("one of each", |now| (now.connections, now.in_flight, now.backend_connections) == (1, 1, 1));
    gate.open();
    client.read_response().is(200, "");
    forebay.eventually("the connections are kept", |now| {
        (now.connections, now.in_flight, now.backend_connections) == (1, 0, 1)
    });
}
