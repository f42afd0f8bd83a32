//! Writes that are acknowledged before their backend has them: seen at once, sent later, never lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Forebay, Origin, Response, StateDir, answer, eventually, forward, ok, reset};

/// The directory whose content survives restarts.
struct State(StateDir);

impl State {
    fn new() -> Self {
        Self(StateDir::new())
    }

    fn forebay(&self, origin: &Origin, keys: &str) -> Forebay {
        let config = forward([origin])
            .server(&self.0.key())
            .cached("mode = \"write-back\"\nttl = \"60s\"")
            .more(&format!("[route.cache.write_back]\n{keys}"));
        Forebay::start(config)
    }
}

const LATER: &str = "flush_interval = \"1h\"";
const SOON: &str = "flush_interval = \"10ms\"\nretry = { base = \"10ms\", max = \"50ms\", attempts = 50 }";

fn send(forebay: &Forebay, method: &str, target: &str, fields: &str, body: &str) -> Response {
    let length = body.len();
    forebay
        .ask(format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
}

fn put(forebay: &Forebay, target: &str, body: &str) -> Response {
    send(forebay, "PUT", target, "Content-Type: text/plain\r\n", body)
}

#[test]
fn a_write_is_acknowledged_and_read_back_before_its_backend_has_it() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    forebay.get("/a").is(200, "old");
    let receipt = put(&forebay, "/a", "new");
    receipt.is(202, "");
    assert!(receipt.field("forebay-write").unwrap().starts_with("queued; seq="), "{}", receipt.head.text());
    let read = forebay.get("/a");
    read.is(200, "new");
    assert_eq!(read.field("content-type"), Some("text/plain"));
    assert_eq!(read.field("etag"), receipt.field("etag"));
    assert!(read.field("forebay-write").unwrap().starts_with("pending; seq="));
    assert_eq!(origin.count("PUT /a"), 0);
}

#[test]
fn it_reaches_the_backend_with_a_key_that_tells_it_from_others() {
    let (state, origin) = (State::new(), Origin::start(ok("fine")));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "new").is(202, "");
    eventually("it has arrived", || origin.count_whole("PUT /a") == 1);
    let seen = origin.last();
    assert_eq!(seen.body, b"new");
    assert!(seen.head.field("idempotency-key").unwrap().starts_with("\"fb-"));
    assert!(seen.head.field("forebay-write").unwrap().starts_with("flush; seq="));
    eventually("it is pending no more", || forebay.get("/a").field("forebay-write").is_none());
}

#[test]
fn of_several_writes_only_the_last_is_sent() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, "flush_interval = \"300ms\"");
    for body in ["one", "two", "three"] {
        put(&forebay, "/a", body).is(202, "");
    }
    forebay.get("/a").is(200, "three");
    eventually("it has arrived", || origin.count_whole("PUT /a") == 1);
    assert_eq!(origin.last().body, b"three");
}

#[test]
fn what_was_deleted_is_gone_at_once() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    send(&forebay, "DELETE", "/a", "", "").is(202, "");
    forebay.get("/a").is_status(404);
}

#[test]
fn writes_are_taken_while_the_backend_is_down_and_arrive_when_it_is_back() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, SOON);
    origin.go_down();
    for number in 0..20 {
        put(&forebay, &format!("/{number}"), &format!("body {number}")).is(202, "");
    }
    forebay.get("/7").is(200, "body 7");
    origin.come_back();
    for number in 0..20 {
        eventually("it has arrived", || origin.count(&format!("PUT /{number}")) >= 1);
    }
}

#[test]
fn what_was_acknowledged_survives_a_restart() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "one").is(202, "");
    put(&forebay, "/a", "two").is(202, "");
    send(&forebay, "DELETE", "/b", "", "").is(202, "");
    drop(forebay);
    let forebay = state.forebay(&origin, LATER);
    eventually("it has arrived", || origin.count_whole("PUT /a") == 1 && origin.count("DELETE /b") == 1);
    for target in ["/a", "/b"] {
        eventually("it is done with", || forebay.get(target).field("forebay-write").is_none());
    }
    assert!(origin.requests().iter().any(|seen| seen.method == "PUT" && seen.body == b"two"));
    drop(forebay);
    let seen = origin.seen();
    let forebay = state.forebay(&origin, SOON);
    forebay.get("/c").is(200, "old");
    assert_eq!(origin.seen(), seen + 1, "nothing is sent again");
}

#[test]
fn what_fails_is_sent_again() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    origin.once(answer(503, &[], ""));
    origin.once(reset());
    origin.once(answer(500, &[], ""));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "new").is(202, "");
    eventually("it has arrived", || origin.count_whole("PUT /a") == 4);
    let keys: Vec<String> =
        origin.requests().iter().map(|seen| seen.head.field("idempotency-key").unwrap().to_owned()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn what_is_refused_is_not_sent_again_and_reads_are_the_backend_s() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    origin.once(answer(422, &[], "no"));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "new").is(202, "");
    eventually("reads are the backend's again", || forebay.get("/a").text() == "old");
    assert_eq!(origin.count("PUT /a"), 1);
}

#[test]
fn a_write_that_wants_to_go_through_goes_behind_what_is_queued() {
    let (state, origin) = (State::new(), Origin::start(ok("done")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "one").is(202, "");
    let through = send(&forebay, "PUT", "/a", "forebay-write: through\r\n", "two");
    through.is(200, "done");
    assert_eq!(through.field("forebay-write"), Some("through"));
    let bodies: Vec<Vec<u8>> = origin.requests().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn conditions_are_judged_against_what_is_queued() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    let tag = put(&forebay, "/a", "one").field("etag").unwrap().to_owned();
    send(&forebay, "PUT", "/a", "If-Match: \"other\"\r\n", "two").is_status(412);
    send(&forebay, "PUT", "/a", &format!("If-Match: {tag}\r\n"), "three").is(202, "");
    forebay.get("/a").is(200, "three");
    forebay.get_with("/a", &format!("If-None-Match: {tag}\r\n")).is(200, "three");
    let now = forebay.get("/a").field("etag").unwrap().to_owned();
    forebay.get_with("/a", &format!("If-None-Match: {now}\r\n")).is_status(304);
    forebay.get_with("/a", "Range: bytes=1-2\r\n").is(206, "hr");
}

/// The field about the client's certificate from a trusted proxy in front.
const CERTIFICATE: &str = "X-Client-Cert-Subject: CN=alice\r\nClient-Cert: :MA==:\r\n";

fn trusting(state: &State, origin: &Origin, keys: &str) -> Forebay {
    let config = forward([origin]).server(&state.0.key()).server("trusted_proxies = [\"127.0.0.1\"]");
    let config = config.cached("mode = \"write-back\"\nttl = \"60s\"");
    Forebay::start(config.more(&format!("[route.cache.write_back]\n{LATER}\n{keys}")))
}

#[test]
fn a_write_that_its_clients_certificate_counts_for_goes_through_with_it() {
    let (state, origin) = (State::new(), Origin::start(ok("done")));
    let forebay = trusting(&state, &origin, "");
    let through = send(&forebay, "PUT", "/a", CERTIFICATE, "mine");
    through.is(200, "done");
    assert_eq!(through.field("forebay-write"), Some("through"));
    assert_eq!(origin.last().head.fields("x-client-cert-subject"), ["CN=alice"]);
}

#[test]
fn what_was_queued_with_a_certificate_is_read_by_those_alone_who_show_it() {
    let (state, origin) = (State::new(), Origin::start(ok("of the backend")));
    let forebay = trusting(&state, &origin, "keep_headers = [\"client-cert\", \"x-client-cert-subject\"]");
    send(&forebay, "PUT", "/a", CERTIFICATE, "mine").is(202, "");
    let read = |fields: &str| forebay.ask(format!("GET /a HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"));
    read(CERTIFICATE).is(200, "mine");
    read("").is(200, "of the backend");
    read("X-Client-Cert-Subject: CN=bob\r\nClient-Cert: :MB==:\r\n").is(200, "of the backend");
}

#[test]
fn a_post_goes_through_unless_the_route_queues_it() {
    let (state, origin) = (State::new(), Origin::start(ok("made")));
    let forebay = state.forebay(&origin, LATER);
    forebay.post("/a", "x").is(200, "made");
    drop(forebay);
    let state = State::new();
    let forebay = state.forebay(&origin, &format!("{LATER}\nqueue = [\"POST\"]"));
    forebay.post("/a", "x").is(202, "");
    let read = forebay.get("/a");
    read.is(200, "made");
    assert!(read.field("forebay-write").unwrap().starts_with("pending"));
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let _first = state.forebay(&origin, LATER);
    let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| state.forebay(&origin, LATER)));
    assert!(second.is_err());
}

#[test]
fn content_longer_than_is_kept_goes_through_whole() {
    let (state, origin) = (State::new(), Origin::start(ok("done")));
    let forebay = state.forebay(&origin, &format!("{LATER}\nbody_bytes_max = \"64KiB\""));
    let content: String = (0..60_000).map(|number| format!("{number:05} ")).collect();
    let known = put(&forebay, "/known", &content);
    known.is(200, "done");
    assert_eq!(known.field("forebay-write"), Some("through"));
    assert_eq!(origin.last().body, content.as_bytes());
    let head = "PUT /unknown HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let pieces = content
        .as_bytes()
        .chunks(7_001)
        .map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
    let unknown = forebay.ask(format!("{head}{}0\r\n\r\n", pieces.collect::<String>()));
    unknown.is(200, "done");
    assert_eq!(unknown.field("forebay-write"), Some("through"));
    assert_eq!(origin.last().body, content.as_bytes());
}

#[test]
fn content_of_unknown_length_is_kept_if_it_is_short_enough() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, SOON);
    origin.go_down();
    let head = "PUT /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    forebay.ask(format!("{head}3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")).is(202, "");
    forebay.get("/a").is(200, "onetwo");
    origin.come_back();
    eventually("it has arrived", || origin.count_whole("PUT /a") >= 1);
    assert_eq!(origin.last().body, b"onetwo");
    assert_eq!(origin.last().head.field("content-length"), Some("6"));
}

#[test]
fn a_client_that_leaves_within_its_content_has_written_nothing() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, SOON);
    let mut client = forebay.client();
    client.send("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 100\r\n\r\nhalf");
    forebay.eventually("it is under way", |gauges| gauges.in_flight == 1);
    client.reset();
    forebay.is_idle();
    forebay.get("/a").is(200, "old");
    assert_eq!(origin.count("PUT /a"), 0);
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, LATER);
    let mut client = forebay.client();
    client.send("PUT /a HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 100"));
    client.send("new").read_response().is(202, "");
    forebay.get("/a").is(200, "new");
}

#[test]
fn who_asks_for_the_head_of_what_is_pending_gets_it_without_content() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "new").is(202, "");
    send(&forebay, "DELETE", "/b", "", "").is(202, "");
    for (target, status, length) in [("/a", 200, "3"), ("/b", 404, "0")] {
        let mut client = forebay.client();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
        let head = client.read_response_to("HEAD");
        head.is(status, "");
        assert_eq!(head.field("content-length"), Some(length));
    }
    assert_eq!(origin.seen(), 0);
}

#[test]
fn credentials_are_kept_only_where_the_route_says_so_and_only_they_read_what_was_written() {
    let (state, origin) = (State::new(), Origin::start(ok("of the backend")));
    let forebay = state.forebay(&origin, LATER);
    let field = "Authorization: Bearer one\r\n";
    let through = send(&forebay, "PUT", "/a", field, "mine");
    assert_eq!(through.field("forebay-write"), Some("through"));
    drop(forebay);
    let state = State::new();
    let forebay = state.forebay(&origin, &format!("{LATER}\nkeep_headers = [\"authorization\"]"));
    send(&forebay, "PUT", "/a", field, "mine").is(202, "");
    forebay.get_with("/a", field).is(200, "mine");
    forebay.get_with("/a", "Authorization: Bearer two\r\n").is(200, "of the backend");
    forebay.get("/a").is(200, "of the backend");
}

#[test]
fn a_drain_sends_what_is_pending_at_once() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, LATER);
    for number in 0..20 {
        put(&forebay, &format!("/{number}"), "new").is(202, "");
    }
    forebay.drain();
    forebay.wait();
    assert!((0..20).all(|number| origin.count(&format!("PUT /{number}")) == 1));
    let seen = origin.seen();
    let forebay = state.forebay(&origin, SOON);
    forebay.get("/0").is(200, "");
    assert_eq!(origin.seen(), seen + 1, "nothing is sent again");
}

#[test]
fn a_drain_does_not_wait_for_a_backend_that_stays_away() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    origin.go_down();
    let config = forward([&origin])
        .server(&format!("state_dir = \"{}\"\nshutdown_timeout = \"200ms\"", state.0.path().display()))
        .cached("mode = \"write-back\"\nttl = \"60s\"");
    let forebay = Forebay::start(config);
    put(&forebay, "/a", "new").is(202, "");
    forebay.drain();
    forebay.wait();
    origin.come_back();
    let _again = state.forebay(&origin, SOON);
    eventually("it has arrived", || origin.count_whole("PUT /a") == 1);
}

#[test]
fn what_was_queued_stays_in_order_when_the_route_keeps_no_writes_any_more() {
    let (state, origin) = (State::new(), Origin::start(ok("done")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "one").is(202, "");
    forebay.reload(forward([&origin]).server(&state.0.key()).cached("mode = \"cache-aside\"\nttl = \"60s\""));
    forebay.get("/a").is(200, "one");
    put(&forebay, "/a", "two").is(200, "done");
    let bodies: Vec<Vec<u8>> = origin.requests().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()]);
    forebay.get("/a").is(200, "done");
}

#[test]
fn a_write_that_would_switch_protocols_goes_behind_what_is_queued() {
    let (state, origin) = (State::new(), Origin::start(ok("done")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "one").is(202, "");
    let switching = send(&forebay, "PUT", "/a", "Connection: upgrade\r\nUpgrade: websocket\r\n", "two");
    assert_eq!((switching.status, switching.field("forebay-write")), (200, Some("through")));
    let bodies: Vec<Vec<u8>> = origin.requests().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()]);
}
