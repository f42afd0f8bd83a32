//! Backends that compress or negotiate, and whose 304 has fewer or other fields than their 200 (against RFC 9110
//! §15.4.5): no client gets a coding that it does not accept, and stored responses are freshened only where that is
//! sound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Forebay, Origin, Response, Script, advance, answer, date, forward};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
const ACCEPT_ENCODING: (&str, &str) = ("Vary", "Accept-Encoding");
const BOTH: (&str, &str) = ("Vary", "Origin, Accept-Encoding");
const ORIGIN: (&str, &str) = ("Vary", "Origin");
const WEAK: (&str, &str) = ("ETag", "W/\"a\"");
const STRONG: (&str, &str) = ("ETag", "\"a\"");

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

/// A 200 with these fields, fresh for a minute.
fn page(fields: &[(&str, &str)], body: &str) -> Script {
    answer(200, &[&[MINUTE], fields].concat(), body)
}

/// A 304 with these fields, fresh for a minute.
fn unchanged(fields: &[(&str, &str)]) -> Script {
    answer(304, &[&[MINUTE], fields].concat(), "")
}

fn gzip(forebay: &Forebay) -> Response {
    forebay.get_with("/", "Accept-Encoding: gzip\r\n")
}

fn plain(forebay: &Forebay) -> Response {
    forebay.get("/")
}

/// A cache whose client with gzip has fetched this, fresh no more.
fn holding_stale(origin: &Origin, fields: &[(&str, &str)]) -> Forebay {
    origin.now(page(&[&[GZIP], fields].concat(), "gzip bytes"));
    let forebay = caching(origin);
    gzip(&forebay).is(200, "gzip bytes").is_stored();
    advance(Duration::from_secs(61));
    forebay
}

fn origin() -> Origin {
    Origin::start(answer(500, &[], ""))
}

#[test]
fn a_304_with_a_shorter_vary_gives_no_client_what_it_cannot_read() {
    for (tag, said) in [(WEAK, ORIGIN), (STRONG, ORIGIN), (WEAK, ("Vary", "")), (STRONG, ("Vary", "X-Other, Origin"))] {
        let origin = origin();
        let forebay = holding_stale(&origin, &[BOTH, tag]);
        origin.now(unchanged(&[said, tag]));
        gzip(&forebay).is(200, "gzip bytes").says("forebay; fwd=stale; fwd-status=304");
        origin.now(page(&[BOTH, tag], "plain bytes"));
        plain(&forebay).is(200, "plain bytes").says("forebay; fwd=vary-miss; stored");
        let hit = gzip(&forebay);
        hit.is(200, "gzip bytes").is_hit();
        assert!(hit.head.names("vary", "origin") && hit.head.names("vary", "accept-encoding"), "{}", hit.head.text());
        plain(&forebay).is(200, "plain bytes").is_hit();
    }
}

#[test]
fn a_head_with_a_shorter_vary_gives_no_client_what_it_cannot_read() {
    let origin = origin();
    let forebay = holding_stale(&origin, &[BOTH, WEAK]);
    origin.now(answer(200, &[MINUTE, ORIGIN, WEAK], "gzip bytes"));
    forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\n\r\n").is_status(200);
    origin.now(page(&[BOTH, WEAK], "plain bytes"));
    plain(&forebay).is(200, "plain bytes").says("forebay; fwd=vary-miss; stored");
    gzip(&forebay).is(200, "gzip bytes").is_hit();
}

#[test]
fn where_a_304_varies_on_more_a_weak_tag_is_not_enough() {
    let origin = origin();
    let forebay = holding_stale(&origin, &[ORIGIN, WEAK]);
    // The `Accept-Encoding` of the first client is not known, and the weak tag is the same for all codings.
    origin.once(unchanged(&[BOTH, WEAK]));
    origin.now(page(&[BOTH, WEAK], "plain bytes"));
    plain(&forebay).is(200, "plain bytes").says("forebay; fwd=stale; stored");
    assert!(!origin.last().head.has("if-none-match"));
    assert_eq!(origin.seen(), 3);
    plain(&forebay).is(200, "plain bytes").is_hit();
    origin.now(page(&[BOTH, WEAK, GZIP], "new gzip bytes"));
    gzip(&forebay).is(200, "new gzip bytes").says("forebay; fwd=vary-miss; stored");
}

#[test]
fn where_a_304_varies_on_more_a_strong_tag_says_what_the_client_would_get() {
    let origin = origin();
    let forebay = holding_stale(&origin, &[ORIGIN, STRONG]);
    origin.now(unchanged(&[BOTH, STRONG]));
    gzip(&forebay).is(200, "gzip bytes").says("forebay; fwd=stale; fwd-status=304");
    gzip(&forebay).is(200, "gzip bytes").is_hit();
    origin.now(page(&[BOTH, ("ETag", "\"b\"")], "plain bytes"));
    plain(&forebay).is(200, "plain bytes").says("forebay; fwd=vary-miss; stored");
}

#[test]
fn what_a_304_says_to_vary_on_anything_is_served_once_and_kept_no_more() {
    let origin = origin();
    let forebay = holding_stale(&origin, &[ACCEPT_ENCODING, STRONG]);
    origin.now(unchanged(&[("Vary", "*"), STRONG]));
    gzip(&forebay).is(200, "gzip bytes");
    origin.now(page(&[ACCEPT_ENCODING], "new"));
    gzip(&forebay).is(200, "new").is_stored();
}

#[test]
fn a_variant_with_a_weak_tag_is_not_given_to_a_client_that_it_does_not_fit() {
    let origin = origin();
    let forebay = holding_stale(&origin, &[ACCEPT_ENCODING, WEAK]);
    origin.now(page(&[ACCEPT_ENCODING, ("ETag", "W/\"b\"")], "plain bytes"));
    plain(&forebay).is(200, "plain bytes");
    advance(Duration::from_secs(61));
    // The content is again the same as when the gzip variant was stored.
    origin.once(unchanged(&[ACCEPT_ENCODING, WEAK]));
    origin.now(page(&[ACCEPT_ENCODING, WEAK], "old plain bytes"));
    plain(&forebay).is(200, "old plain bytes");
    assert_eq!(origin.requests()[2].head.field("if-none-match"), Some("W/\"b\""));
}

#[test]
fn a_304_changes_the_type_unless_it_describes_something_else() {
    let (html, css) = (("Content-Type", "text/html"), ("Content-Type", "text/css"));
    for (fields, expected) in [
        (vec![css], "text/css"),
        (vec![css, ACCEPT_ENCODING, GZIP], "text/css"),
        (vec![css, ("Content-Encoding", "br")], "text/html"),
        (vec![css, ("Vary", "Origin")], "text/html"),
    ] {
        let origin = origin();
        let forebay = holding_stale(&origin, &[ACCEPT_ENCODING, STRONG, html]);
        origin.now(unchanged(&[&[STRONG], &fields[..]].concat()));
        for _ in 0..2 {
            let response = gzip(&forebay);
            let fields = (response.field("content-type"), response.field("content-encoding"));
            assert_eq!(fields, (Some(expected), Some("gzip")));
        }
        assert_eq!(origin.seen(), 2);
    }
}

#[test]
fn what_was_not_coded_is_not_called_so_after_a_304() {
    let origin = Origin::start(page(&[STRONG], "plain bytes"));
    let forebay = caching(&origin);
    plain(&forebay).is(200, "plain bytes").is_stored();
    advance(Duration::from_secs(61));
    origin.now(unchanged(&[STRONG, GZIP, ("Content-Length", "7")]));
    for _ in 0..2 {
        let response = plain(&forebay);
        response.is(200, "plain bytes");
        assert!(!response.head.has("content-encoding"), "{}", response.head.text());
    }
}

/// Like nginx with `gzip on`: it weakens the entity tag of compressed responses, and generates the 304 without
/// compression.
#[test]
fn what_nginx_has_compressed_is_confirmed_by_its_date() {
    let (origin, modified, made) = (origin(), date(-3600), date(0));
    let modified = ("Last-Modified", &*modified);
    let forebay = holding_stale(&origin, &[ACCEPT_ENCODING, WEAK, modified, ("Date", &made)]);
    for turn in 2..5 {
        origin.now(unchanged(&[STRONG, modified, ("Date", &date(0)), ("X-Turn", &turn.to_string())]));
        let confirmed = gzip(&forebay);
        confirmed.is(200, "gzip bytes").says("forebay; fwd=stale; fwd-status=304");
        let hit = gzip(&forebay);
        assert_eq!(hit.is(200, "gzip bytes").is_hit().field("etag"), Some("W/\"a\""));
        assert_eq!(hit.field("x-turn"), Some(&*turn.to_string()));
        assert_eq!(origin.last().head.field("if-none-match"), Some("W/\"a\""));
        assert_eq!(origin.seen(), turn);
        advance(Duration::from_secs(61));
    }
}

#[test]
fn a_weakened_tag_refreshes_what_is_stored_and_nothing_more() {
    for has_date in [false, true] {
        let (origin, made) = (origin(), date(0));
        // Modified in the second in which it was sent, so that the date is weak.
        let modified: Vec<(&str, &str)> = has_date.then_some(("Last-Modified", &*made)).into_iter().collect();
        let stored = [&[ACCEPT_ENCODING, WEAK, ("X-Old", "1"), ("Date", &*made)], &modified[..]].concat();
        let forebay = holding_stale(&origin, &stored);
        origin.now(unchanged(&[&[STRONG, ("X-Old", "2"), ("Content-Type", "text/css")], &modified[..]].concat()));
        for _ in 0..2 {
            let response = gzip(&forebay);
            let fields = (response.field("etag"), response.field("x-old"), response.head.has("content-type"));
            assert_eq!(fields, (Some("W/\"a\""), Some("1"), false));
        }
        gzip(&forebay).is(200, "gzip bytes").is_hit();
        assert_eq!(origin.seen(), 2);
    }
}

#[test]
fn what_was_refreshed_by_a_weakened_tag_is_put_together_with_nothing() {
    let (origin, made) = (origin(), date(0));
    let modified = ("Last-Modified", &*made);
    let forebay = holding_stale(&origin, &[ACCEPT_ENCODING, WEAK, modified, ("Date", &made)]);
    origin.now(unchanged(&[STRONG, modified, ("Date", &date(0))]));
    gzip(&forebay).is(200, "gzip bytes");
    for validator in ["\"a\"", "W/\"a\"", &made] {
        let fields = format!("Accept-Encoding: gzip\r\nRange: bytes=0-3\r\nIf-Range: {validator}\r\n");
        forebay.get_with("/", &fields).is(200, "gzip bytes");
    }
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_weakened_tag_that_two_stored_responses_have_refreshes_neither() {
    let origin = origin();
    let forebay = holding_stale(&origin, &[ORIGIN, WEAK]);
    // A second variant that matches the same request by other fields.
    origin.now(page(&[("Vary", "X-A"), WEAK, GZIP], "other bytes"));
    forebay.get_with("/", "Accept-Encoding: gzip\r\nOrigin: a\r\n").is(200, "other bytes");
    advance(Duration::from_secs(61));
    origin.once(unchanged(&[STRONG]));
    origin.now(page(&[BOTH, WEAK, GZIP], "new bytes"));
    gzip(&forebay).is(200, "new bytes").says("forebay; fwd=stale; stored");
    assert!(!origin.last().head.has("if-none-match"));
}

#[test]
fn another_tag_with_the_same_date_confirms_nothing() {
    let (origin, modified, made) = (origin(), date(-3600), date(0));
    let modified = ("Last-Modified", &*modified);
    let forebay = holding_stale(&origin, &[ACCEPT_ENCODING, WEAK, modified, ("Date", &made)]);
    origin.once(unchanged(&[("ETag", "\"b\""), modified]));
    origin.now(page(&[ACCEPT_ENCODING, ("ETag", "W/\"b\""), modified, GZIP], "new bytes"));
    gzip(&forebay).is(200, "new bytes").says("forebay; fwd=stale; stored");
}
