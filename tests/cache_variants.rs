//! Validation and replacement of stored variants (RFC 9111 §4.1, §4.3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Forebay, Origin, advance, answer, forward};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const VARY: (&str, &str) = ("Vary", "Accept-Language");
const MONDAY: (&str, &str) = ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT");

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

fn language(forebay: &Forebay, language: &str, more: &str) -> testbed::Response {
    forebay.get_with("/", &format!("Accept-Language: {language}\r\n{more}"))
}

/// A cache that holds an English and then a German variant with this validator, stale both.
fn holding_stale(origin: &Origin, validator: (&str, &str)) -> Forebay {
    let forebay = caching(origin);
    for one in ["en", "de"] {
        origin.now(answer(200, &[MINUTE, VARY, validator, ("X-Language", one)], one));
        language(&forebay, one, "").is(200, one);
        advance(Duration::from_secs(1));
    }
    advance(Duration::from_secs(60));
    forebay
}

#[test]
fn of_variants_with_one_tag_the_one_that_fits_is_confirmed_and_no_other() {
    for tag in ["\"a\"", "W/\"a\""] {
        let origin = Origin::start(answer(404, &[], ""));
        let forebay = holding_stale(&origin, ("ETag", tag));
        origin.now(answer(304, &[MINUTE, VARY, ("ETag", tag), ("X-New", "1")], ""));
        let response = language(&forebay, "en", "");
        assert_eq!(response.is(200, "en").field("x-language"), Some("en"));
        language(&forebay, "en", "").is(200, "en").is_hit();
        origin.now(answer(200, &[MINUTE, VARY, ("ETag", "\"b\"")], "neu"));
        language(&forebay, "de", "").is(200, "neu").says("forebay; fwd=stale; stored");
    }
}

#[test]
fn a_variant_that_has_only_a_date_is_asked_about_with_it() {
    let origin = Origin::start(answer(404, &[], ""));
    let forebay = holding_stale(&origin, MONDAY);
    origin.now(answer(304, &[MINUTE, VARY, MONDAY], ""));
    language(&forebay, "en", "").is(200, "en").says("forebay; fwd=stale; fwd-status=304");
    let asked = origin.last().head;
    assert_eq!((asked.field("if-none-match"), asked.field("if-modified-since")), (None, Some(MONDAY.1)));
}

#[test]
fn a_304_without_a_validator_says_nothing_of_several() {
    let origin = Origin::start(answer(404, &[], ""));
    let forebay = caching(&origin);
    for one in ["en", "de"] {
        origin.now(answer(200, &[MINUTE, VARY, ("ETag", &*format!("\"{one}\""))], one));
        language(&forebay, one, "").is(200, one);
    }
    advance(Duration::from_secs(61));
    origin.once(answer(304, &[MINUTE], ""));
    origin.now(answer(200, &[MINUTE, VARY], "new"));
    language(&forebay, "en", "").is(200, "new");
    assert!(!origin.last().head.has("if-none-match"));
}

#[test]
fn what_stops_varying_when_it_is_replaced_is_found() {
    let origin = Origin::start(answer(200, &[MINUTE, VARY, ("ETag", "\"a\"")], "en"));
    let forebay = caching(&origin);
    language(&forebay, "en", "").is(200, "en");
    advance(Duration::from_secs(61));
    origin.now(answer(200, &[MINUTE, ("ETag", "\"b\"")], "en"));
    language(&forebay, "en", "").is(200, "en").says_first("forebay; fwd=stale");
    language(&forebay, "en", "").is(200, "en").is_hit();
    language(&forebay, "fr", "").is(200, "en").is_hit();
}

#[test]
fn what_a_client_asks_not_to_store_renews_nothing() {
    let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "\"a\"")], "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    advance(Duration::from_secs(61));
    origin.now(answer(304, &[MINUTE, ("ETag", "\"a\""), ("X-New", "1")], ""));
    let response = forebay.get_with("/", "Cache-Control: no-store\r\n");
    assert_eq!(response.is(200, "one").field("x-new"), Some("1"));
    forebay.get("/").is(200, "one").says("forebay; fwd=stale; fwd-status=304");
    assert_eq!(origin.seen(), 3);
}

#[test]
fn a_head_hides_tags_and_loses_none() {
    let tagged = [MINUTE, ("ETag", "\"a\""), ("Surrogate-Key", "shoes")];
    let origin = Origin::start(answer(200, &tagged, "one"));
    let forebay = Forebay::start(forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1/32\"]"));
    let head = "HEAD / HTTP/1.1\r\nHost: shop.test\r\nCache-Control: no-cache\r\n\r\n";
    assert!(!forebay.ask(head).is(200, "").head.has("surrogate-key"));
    forebay.get("/").is(200, "one");
    origin.now(answer(200, &[MINUTE, ("ETag", "\"a\"")], "one"));
    forebay.ask(head).is(200, "");
    let purge = "PURGE / HTTP/1.1\r\nHost: shop.test\r\nForebay-Purge: tag\r\nForebay-Purge-Tag: shoes\r\nForebay-Purge-Wait: true\r\n\r\n";
    assert!(forebay.ask(purge).text().contains("\"purged\":1"));
}

#[test]
fn what_is_immutable_is_not_asked_about_while_it_is_fresh() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60, immutable"), ("ETag", "\"a\"")], "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    advance(Duration::from_secs(1));
    forebay.get_with("/", "Cache-Control: max-age=0\r\n").is(200, "one").is_hit();
    forebay.get_with("/", "Cache-Control: no-cache\r\n").is(200, "one").says_first("forebay; fwd=request");
    assert_eq!(origin.seen(), 2);
}
