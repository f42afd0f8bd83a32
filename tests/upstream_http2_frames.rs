//! HTTP/2 towards backends, frame by frame: resets, `GOAWAY`, bodies that break off, interim responses, silence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod h2_backend;

use h2_backend::{
    Backend, CANCEL, DATA, END_STREAM, HEADERS, INTERNAL_ERROR, NO_ERROR, PING, REFUSED_STREAM, RST_STREAM, RawBackend,
};
use testbed::{Config, Forebay, routes};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\n\r\nbody";

fn config(url: &str, keys: &str) -> Config {
    routes(&format!(
        "[[upstream]]\nname = \"app\"\nbackends = [\"{url}\"]\nprotocol = \"h2\"\n{keys}\n[[route]]\nupstream = \"app\"\n"
    ))
}

fn front(url: &str, keys: &str) -> Forebay {
    Forebay::start(config(url, keys))
}

#[test]
fn a_request_that_finds_no_stream_in_time_is_answered_503_and_no_failure_counts() {
    let backend = RawBackend::new();
    let keys = "[upstream.http2]\nconnections_max = 1\n[upstream.timeouts]\nconnect = \"200ms\"\n\
                [upstream.ejection]\nconsecutive_failures = 1";
    let forebay = front(&backend.url(), keys);
    let mut first = forebay.client();
    first.send(GET);
    let mut peer = backend.greet(&[(3, 1)]);
    let stream = peer.until(HEADERS).stream;
    forebay.get("/").is_status(503);
    peer.head(stream, END_STREAM, "200", &[]);
    first.read_response().is_status(200);
    first.send(GET);
    let stream = peer.until(HEADERS).stream;
    peer.head(stream, END_STREAM, "204", &[]);
    first.read_response().is_status(204);
}

#[test]
fn a_refused_stream_and_one_above_the_last_of_a_goaway_are_repeated_whatever_the_method() {
    let backend = RawBackend::new();
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    client.send(POST);
    let mut peer = backend.greet(&[]);
    let stream = peer.until(HEADERS).stream;
    peer.reset(stream, REFUSED_STREAM);
    let stream = peer.until(HEADERS).stream;
    peer.until(DATA);
    peer.go_away(stream - 2, NO_ERROR);
    let mut next = backend.greet(&[]);
    let stream = next.until(HEADERS).stream;
    assert_eq!(next.until(DATA).payload, b"body");
    next.head(stream, END_STREAM, "201", &[]);
    client.read_response().is_status(201);
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_stream_below_the_last_of_a_goaway_ends_as_if_nothing_had_happened() {
    let backend = RawBackend::new();
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    client.send(GET);
    let mut peer = backend.greet(&[]);
    let stream = peer.until(HEADERS).stream;
    peer.go_away(stream, NO_ERROR);
    let mut other = forebay.client();
    other.send(GET);
    let mut next = backend.greet(&[]);
    let other_stream = next.until(HEADERS).stream;
    next.head(other_stream, END_STREAM, "204", &[]);
    other.read_response().is_status(204);
    peer.head(stream, 0, "200", &[]).send(DATA, END_STREAM, stream, b"late");
    client.read_response().is(200, "late");
}

#[test]
fn a_post_that_a_backend_may_have_seen_is_not_repeated() {
    let backend = RawBackend::new();
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    client.send(POST);
    let mut peer = backend.greet(&[]);
    let stream = peer.until(HEADERS).stream;
    peer.reset(stream, INTERNAL_ERROR);
    client.read_response().is_status(502);
}

#[test]
fn a_response_that_is_reset_or_not_as_long_as_it_says_never_looks_whole() {
    let backend = RawBackend::new();
    let forebay = front(&backend.url(), "[upstream.retry]\nattempts = 0");
    let mut peer = None;
    for (fields, reason) in [
        (&[][..], Some(NO_ERROR)),
        (&[], Some(CANCEL)),
        (&[], Some(INTERNAL_ERROR)),
        (&[("content-length", "10")], Some(NO_ERROR)),
        (&[("content-length", "10")], None),
        (&[("content-length", "3")], None),
    ] {
        let mut client = forebay.client();
        client.send(GET);
        let peer = peer.get_or_insert_with(|| backend.greet(&[]));
        let stream = peer.until(HEADERS).stream;
        peer.head(stream, 0, "200", fields);
        match reason {
            Some(reason) => peer.send(DATA, 0, stream, b"piece").reset(stream, reason),
            None => peer.send(DATA, END_STREAM, stream, b"piece"),
        };
        let text = String::from_utf8(client.read_until_closed()).unwrap();
        let is_chunked = fields.is_empty();
        assert!(!is_chunked || !text.ends_with("0\r\n\r\n"), "{reason:?}: {text}");
        assert!(is_chunked || !text.ends_with("\r\n\r\npie") || text.contains("502"), "{text}");
    }
}

#[test]
fn an_early_answer_is_whole_and_the_rest_of_the_request_is_given_up() {
    let backend = RawBackend::new();
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nbegin");
    let mut peer = backend.greet(&[]);
    let stream = peer.until(HEADERS).stream;
    peer.until(DATA);
    peer.head(stream, 0, "413", &[]).send(DATA, END_STREAM, stream, b"too long").reset(stream, NO_ERROR);
    client.read_response().is(413, "too long");
}

#[test]
fn interim_responses_pass_and_100_continue_lets_the_body_flow() {
    let backend = RawBackend::new();
    let forebay = front(&backend.url(), "");
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let mut peer = backend.greet(&[]);
    let stream = peer.until(HEADERS).stream;
    peer.head(stream, 0, "103", &[("link", "</a.css>")]).head(stream, 0, "100", &[]);
    let text = client.read_until("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    assert!(text.contains("103"), "{text}");
    client.send("body");
    assert_eq!(peer.until(DATA).payload, b"body");
    peer.head(stream, END_STREAM, "200", &[]);
    client.read_until("HTTP/1.1 200 OK\r\n");
}

#[test]
fn http_2_switches_no_protocol() {
    let backend = Backend::ok("plain");
    let forebay = front(&backend.url(), "");
    let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let response = forebay.ask(head);
    assert!(response.is_status(501).text().contains("can't switch protocols"), "{}", response.text());
    assert!(backend.seen().is_empty());
    let raw = RawBackend::new();
    let forebay = front(&raw.url(), "[upstream.retry]\nattempts = 0");
    let mut client = forebay.client();
    client.send(GET);
    let mut peer = raw.greet(&[]);
    let stream = peer.until(HEADERS).stream;
    peer.head(stream, 0, "101", &[]);
    client.read_response().is_status(502);
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let backend = RawBackend::new();
    let forebay = front(&backend.url(), "");
    let (mut one, mut two) = (forebay.client(), forebay.client());
    one.send(GET);
    let mut peer = backend.greet(&[]);
    let first = peer.until(HEADERS).stream;
    two.send(GET);
    let second = peer.until(HEADERS).stream;
    drop(one);
    let reset = peer.until(RST_STREAM);
    assert_eq!((reset.stream, reset.payload), (first, CANCEL.to_be_bytes().to_vec()));
    peer.head(second, 0, "200", &[]).send(DATA, END_STREAM, second, b"still here");
    two.read_response().is(200, "still here");
}

#[test]
fn a_backend_that_has_gone_silent_is_asked_and_its_connection_given_up() {
    let backend = RawBackend::new();
    let keys = "[upstream.timeouts]\nresponse_head = \"100ms\"\n[upstream.http2]\nping_timeout = \"100ms\"\n\
                [upstream.retry]\nattempts = 0\n[upstream.ejection]\nconsecutive_failures = 0";
    let forebay = front(&backend.url(), keys);
    let mut client = forebay.client();
    client.send(GET);
    let mut peer = backend.greet(&[]);
    client.read_response().is_status(504);
    let asked = peer.until(PING);
    assert_eq!(asked.flags, 0);
    while peer.frame().is_some() {}
    client.send(GET);
    let mut next = backend.greet(&[]);
    let stream = next.until(HEADERS).stream;
    next.head(stream, END_STREAM, "204", &[]);
    client.read_response().is_status(204);
}

#[test]
fn a_backend_that_answers_a_ping_keeps_its_connection() {
    let backend = RawBackend::new();
    let keys = "[upstream.timeouts]\nresponse_head = \"100ms\"\n[upstream.http2]\nping_interval = \"50ms\"\n\
                [upstream.retry]\nattempts = 0\n[upstream.ejection]\nconsecutive_failures = 0";
    let forebay = front(&backend.url(), keys);
    let mut client = forebay.client();
    client.send(GET);
    let mut peer = backend.greet(&[]);
    for _ in 0..2 {
        let asked = peer.until(PING);
        peer.send(PING, 1, 0, &asked.payload);
    }
    client.read_response().is_status(504);
    client.send(GET);
    let stream = loop {
        match peer.frame().unwrap() {
            frame if frame.kind == PING => drop(peer.send(PING, 1, 0, &frame.payload)),
            frame if frame.kind == HEADERS => break frame.stream,
            _ => {}
        }
    };
    peer.head(stream, END_STREAM, "204", &[]);
    client.read_response().is_status(204);
}

#[test]
fn connection_errors_eject_a_backend() {
    let broken = RawBackend::new();
    let good = Backend::ok("good");
    let keys = format!(
        "[[upstream]]\nname = \"app\"\nbackends = [\"{}\", \"{}\"]\nprotocol = \"h2\"\n\
         [upstream.ejection]\nconsecutive_failures = 1\nbase_time = \"10m\"\nmax_time = \"1h\"\n\
         [[route]]\nupstream = \"app\"\n",
        broken.url(),
        good.url()
    );
    let forebay = Forebay::start(routes(&keys));
    let server = std::thread::spawn(move || {
        let mut peer = broken.greet(&[]);
        peer.until(HEADERS);
        peer.send(DATA, 0, 0, b"on no stream");
        broken
    });
    for _ in 0..6 {
        forebay.get("/").is(200, "good");
    }
    let _broken = server.join().unwrap();
    assert_eq!(good.seen().len(), 6);
}
