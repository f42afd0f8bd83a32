//! Fields named by `private` and `no-cache` are sent to the requesting client and not stored (RFC 9111 §5.2.2.4,
//! §5.2.2.7).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Forebay, Gate, Origin, advance, answer, forward, script};

const COOKIE: (&str, &str) = ("Set-Cookie", "id=1");
const OTHER: (&str, &str) = ("X-Other", "1");

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

#[test]
fn only_the_one_who_asked_gets_the_fields_that_are_named() {
    for (name, value) in [
        ("Cache-Control", "max-age=60, private=\"set-cookie\""),
        ("Cache-Control", "max-age=60, no-cache=\"Set-Cookie, x-absent\""),
        ("Cache-Control", "max-age=60, private=Set-Cookie"),
        ("CDN-Cache-Control", "max-age=60, private=\"set-cookie\""),
    ] {
        let origin = Origin::start(answer(200, &[(name, value), COOKIE, ("Set-Cookie", "b=2"), OTHER], "one"));
        let forebay = caching(&origin);
        let first = forebay.get("/");
        first.is(200, "one").is_stored();
        assert_eq!(first.head.fields("set-cookie"), ["id=1", "b=2"], "{value}");
        let second = forebay.get("/");
        second.is(200, "one").is_hit();
        assert!(!second.head.has("set-cookie"), "{}", second.head.text());
        assert_eq!(second.field("x-other"), Some("1"));
    }
}

#[test]
fn who_reads_along_does_not_get_them() {
    let gate = Gate::new();
    let fields = [("Cache-Control", "max-age=60, private=\"set-cookie\""), COOKIE];
    let origin = Origin::start(script().wait(&gate).then(answer(200, &fields, "one")));
    let forebay = caching(&origin);
    let mut clients: Vec<_> = (0..5).map(|_| forebay.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    }
    forebay.eventually("all wait", |gauges| gauges.in_flight == 5);
    gate.open();
    let responses: Vec<_> = clients.iter_mut().map(testbed::Client::read_response).collect();
    assert_eq!(responses.iter().filter(|response| response.is(200, "one").head.has("set-cookie")).count(), 1);
    assert_eq!(origin.seen(), 1);
}

#[test]
fn what_a_304_has_of_them_is_for_the_one_who_asked() {
    let named = ("Cache-Control", "max-age=60, no-cache=\"set-cookie\"");
    let tag = ("ETag", "\"a\"");
    let origin = Origin::start(answer(200, &[named, tag, COOKIE], "one"));
    let forebay = caching(&origin);
    assert_eq!(forebay.get("/").field("set-cookie"), Some("id=1"));
    advance(Duration::from_secs(61));
    origin.now(answer(304, &[named, tag, ("Set-Cookie", "id=2")], ""));
    assert_eq!(forebay.get("/").is(200, "one").field("set-cookie"), Some("id=2"));
    let hit = forebay.get("/");
    hit.is(200, "one").is_hit();
    assert!(!hit.head.has("set-cookie"), "{}", hit.head.text());
}

#[test]
fn a_part_of_what_has_such_fields_ends_where_it_should() {
    let named = ("Cache-Control", "max-age=60, private=\"content-length, content-type, set-cookie\"");
    let origin = Origin::start(answer(200, &[named, COOKIE, ("Content-Type", "text/plain")], "0123456789"));
    let forebay = caching(&origin);
    let part = forebay.get_with("/", "Range: bytes=2-4\r\n");
    part.is(206, "234");
    assert_eq!(part.field("set-cookie"), Some("id=1"));
    forebay.get("/").is(200, "0123456789").is_hit();
}
