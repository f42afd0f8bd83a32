//! Range requests on a miss: coalesced, and fetched as the whole representation if it can be stored, else as the range.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::ops::Range;

use testbed::{
    Client, Config, Forebay, Gate, Origin, Script, answer, asking, eventually, forward, ranged, raw, script,
};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const TAG: (&str, &str) = ("ETag", "\"a\"");

fn body(bytes: usize) -> String {
    (0..bytes.div_ceil(8)).map(|place| format!("{place:07x}\n")).collect()
}

fn cut(body: &str, range: Range<usize>) -> &str {
    body.get(range).unwrap()
}

/// A cache that stores nothing longer than 1 MiB.
fn caching(origin: &Origin) -> Config {
    forward([origin]).cached("").cache("object_bytes_max = \"1MiB\"")
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n")
}

/// This many clients request a range while the origin waits at a gate.
#[track_caller]
fn crowd_of(forebay: &Forebay, count: usize, range: &str) -> Vec<Client> {
    let before = forebay.gauges().in_flight;
    let clients = (0..count).map(|_| asking(forebay, &get(&format!("Range: bytes={range}\r\n")))).collect();
    forebay.eventually("all are inside", |gauges| gauges.in_flight == before + count);
    clients
}

#[track_caller]
fn all_get(clients: &mut [Client], body: &str, place: &str) {
    for client in clients {
        let response = client.read_response();
        assert!(response.status == 206 && response.body == body.as_bytes(), "{}", response.head.text());
        assert_eq!(
            response.head.fields("content-range"),
            [format!("bytes {place}/{}", place_end(response.head.text()))]
        );
    }
}

/// The part of `Content-Range` after the slash.
fn place_end(head: &str) -> String {
    head.to_ascii_lowercase()
        .split("content-range: bytes ")
        .nth(1)
        .unwrap()
        .split('\r')
        .next()
        .unwrap()
        .split('/')
        .nth(1)
        .unwrap()
        .to_owned()
}

fn waiting(gate: &Gate, script_then: Script) -> Script {
    script().wait(gate).then(script_then)
}

#[test]
fn thirty_who_ask_from_the_first_byte_make_one_fetch() {
    let (gate, body) = (Gate::new(), body(1000));
    let origin = Origin::start(waiting(&gate, ranged(&body, &[MINUTE, TAG])));
    let forebay = Forebay::start(caching(&origin).server("workers = 2"));
    let mut all = crowd_of(&forebay, 30, "0-");
    let mut begin = crowd_of(&forebay, 5, "0-15");
    let mut whole = asking(&forebay, &get(""));
    forebay.eventually("all but one wait", |gauges| gauges.following == 35);
    gate.open();
    all_get(&mut all, &body, "0-999");
    all_get(&mut begin, cut(&body, 0..16), "0-15");
    whole.read_response().is(200, &body);
    assert_eq!((origin.seen(), origin.last().head.has("range")), (1, false));
    forebay.get_with("/", "Range: bytes=8-15\r\n").is(206, cut(&body, 8..16)).is_hit();
}

#[test]
fn thirty_who_read_through_what_is_too_long_to_store_share_one_fetch() {
    let (gate, body) = (Gate::new(), body(4 << 20));
    let origin = Origin::start(ranged(&body, &[MINUTE, TAG]));
    origin.once(waiting(&gate, ranged(&body, &[MINUTE, TAG])));
    let forebay = Forebay::start(caching(&origin));
    let mut all = crowd_of(&forebay, 30, "0-");
    let mut begin = crowd_of(&forebay, 1, "0-15");
    forebay.eventually("all but one wait", |gauges| gauges.following == 30);
    gate.open();
    all_get(&mut begin, cut(&body, 0..16), "0-15");
    std::thread::scope(|scope| {
        for client in &mut all {
            scope.spawn(|| all_get(std::slice::from_mut(client), &body, "0-4194303"));
        }
    });
    let requests = origin.requests();
    assert_eq!(requests.iter().filter(|request| !request.head.has("range")).count(), 1);
    assert!(requests.iter().any(|request| request.head.field("range") == Some("bytes=0-15")));
    drop((all, begin));
    forebay.is_idle();
}

#[test]
fn how_long_it_is_is_remembered() {
    let body = body(4 << 20);
    let origin = Origin::start(ranged(&body, &[("Cache-Control", "max-age=60, no-transform"), TAG]));
    let forebay = Forebay::start(caching(&origin));
    forebay.get_with("/", "Range: bytes=0-15\r\n").is(206, cut(&body, 0..16));
    let asked = |origin: &Origin| origin.requests().iter().filter(|request| !request.head.has("range")).count();
    assert_eq!((origin.seen(), asked(&origin)), (2, 1), "the whole was asked for, and then the range");
    forebay.get_with("/", "Range: bytes=0-31\r\n").is(206, cut(&body, 0..32));
    assert_eq!((origin.seen(), asked(&origin)), (3, 1));
}

#[test]
fn those_who_ask_for_the_same_range_share_one_fetch() {
    let (gate, body) = (Gate::new(), body(1000));
    let origin = Origin::start(waiting(&gate, ranged(&body, &[MINUTE, TAG])));
    let forebay = Forebay::start(caching(&origin));
    let mut some = crowd_of(&forebay, 10, "8-15");
    let mut others = crowd_of(&forebay, 10, "-8");
    forebay.eventually("all but two wait", |gauges| gauges.following == 18);
    gate.open();
    all_get(&mut some, cut(&body, 8..16), "8-15");
    all_get(&mut others, cut(&body, 992..1000), "992-999");
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_range_is_shared_only_with_those_who_know_the_same() {
    let (gate, body) = (Gate::new(), body(1000));
    let origin = Origin::start(waiting(&gate, ranged(&body, &[MINUTE, TAG])));
    let forebay = Forebay::start(caching(&origin));
    let fields = "Range: bytes=8-15\r\nIf-Range: \"b\"\r\n";
    let mut twice = asking(&forebay, &get(&format!("{fields}If-Range: \"a\"\r\n")));
    eventually("it fetches", || origin.held() == 1);
    let mut once = asking(&forebay, &get(fields));
    eventually("each fetches", || origin.held() == 2);
    gate.open();
    for client in [&mut twice, &mut once] {
        client.read_response().is(206, cut(&body, 8..16));
    }
}

#[test]
fn a_range_of_what_is_known_to_be_short_is_fetched_as_a_whole() {
    let body = body(1000);
    let origin = Origin::start(ranged(&body, &[MINUTE, TAG]));
    let forebay = Forebay::start(caching(&origin));
    forebay.get_with("/", "Range: bytes=8-15\r\n").is(206, cut(&body, 8..16));
    forebay.get_with("/", "Range: bytes=500-507\r\n").is(206, cut(&body, 500..508));
    assert_eq!((origin.seen(), origin.last().head.has("range")), (2, false));
    forebay.get_with("/", "Range: bytes=0-\r\n").is(206, &body).is_hit();
    let response = forebay.get_with("/", "Range: bytes=1000-\r\n");
    assert_eq!(response.is_status(416).field("content-range"), Some("bytes */1000"));
}

#[test]
fn of_what_is_not_for_sharing_each_gets_what_it_asked_for() {
    let body = body(1000);
    let origin = Origin::start(ranged(&body, &[("Cache-Control", "no-store"), TAG]));
    let forebay = Forebay::start(caching(&origin));
    let response = forebay.get_with("/", "Range: bytes=0-\r\n");
    assert_eq!(response.is(206, &body).head.fields("content-range"), ["bytes 0-999/1000"]);
    assert_eq!(origin.seen(), 1);
    forebay.get_with("/", "Range: bytes=0-15\r\n").is(206, cut(&body, 0..16));
    assert_eq!(origin.last().head.field("range"), Some("bytes=0-15"));
    forebay.get_with("/other", "Range: bytes=0-15\r\n").is(206, cut(&body, 0..16));
    forebay.get_with("/other", "Range: bytes=0-15\r\nIf-Range: \"b\"\r\n").is_status(206);
    forebay.get("/other").is(200, &body);
}

#[test]
fn an_origin_that_ignores_ranges_and_lengths_is_followed() {
    let chunks =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let origin = Origin::start(raw(chunks));
    let forebay = Forebay::start(caching(&origin));
    assert!(matches!(forebay.get_with("/", "Range: bytes=0-\r\n").status, 200 | 206));
    let response = forebay.get_with("/b", "Range: bytes=0-1\r\n");
    assert!(matches!((response.status, response.text().as_str()), (200, "abc") | (206, "ab")));
    eventually("it is stored", || forebay.get_with("/b", "Range: bytes=0-1\r\n").status == 206);
}

#[test]
fn a_part_of_what_the_client_does_not_know_is_answered_with_the_whole() {
    let body = body(1000);
    let origin = Origin::start(answer(200, &[MINUTE, TAG], &body));
    let forebay = Forebay::start(caching(&origin));
    forebay.get_with("/", "Range: bytes=0-15\r\nIf-Range: \"b\"\r\n").is(200, &body);
    forebay.get_with("/b", "Range: bytes=0-15\r\nIf-Range: \"a\"\r\n").is(206, cut(&body, 0..16));
    forebay.get_with("/c", "Range: bytes=0-15\r\nIf-None-Match: \"a\"\r\n").is(304, "");
    assert_eq!(origin.seen(), 3);
}
