//! Validation: of stale responses with the backend, and conditional requests of clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Forebay, Origin, Response, Script, advance, answer, forward, validated};

const MONDAY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const TUESDAY: &str = "Tue, 02 Jan 2024 00:00:00 GMT";
const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");

/// A 200 that is fresh for a minute and has this entity tag.
fn tagged(tag: &str, body: &str) -> Script {
    answer(200, &[MINUTE, ("ETag", tag)], body)
}

/// A 304 that is fresh for a minute again and has this entity tag.
fn unchanged(tag: &str) -> Script {
    answer(304, &[MINUTE, ("ETag", tag)], "")
}

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

/// Moves the clock forward, so that a response with a lifetime of one minute is stale.
fn a_minute_passes() {
    advance(Duration::from_secs(61));
}

/// A cache that holds this response, which is stale.
fn holding_stale(origin: &Origin) -> Forebay {
    let forebay = caching(origin);
    forebay.get("/").is_status(200);
    a_minute_passes();
    forebay
}

fn head(forebay: &Forebay, fields: &str) -> Response {
    forebay.ask(format!("HEAD / HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"))
}

#[test]
fn what_is_stale_is_asked_about_by_tag_and_date() {
    let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "\"a\""), ("Last-Modified", MONDAY)], "one"));
    let forebay = holding_stale(&origin);
    origin.now(unchanged("\"a\""));
    let response = forebay.get("/");
    response.is(200, "one");
    response.says("forebay; fwd=stale; fwd-status=304");
    let asked = origin.last().head;
    assert_eq!((asked.field("if-none-match"), asked.field("if-modified-since")), (Some("\"a\""), Some(MONDAY)));
}

#[test]
fn what_has_no_validator_is_asked_for_whole() {
    let origin = Origin::start(answer(200, &[MINUTE], "one"));
    let forebay = holding_stale(&origin);
    origin.now(answer(200, &[MINUTE], "two"));
    forebay.get("/").is(200, "two");
    let asked = origin.last().head;
    assert!(!asked.has("if-none-match") && !asked.has("if-modified-since"), "{}", asked.text());
}

#[test]
fn a_date_alone_is_enough_to_ask_with() {
    let origin = Origin::start(answer(200, &[MINUTE, ("Last-Modified", MONDAY)], "one"));
    let forebay = holding_stale(&origin);
    origin.now(answer(304, &[MINUTE, ("Last-Modified", MONDAY)], ""));
    forebay.get("/").is(200, "one");
    let asked = origin.last().head;
    assert_eq!((asked.field("if-none-match"), asked.field("if-modified-since")), (None, Some(MONDAY)));
}

#[test]
fn what_was_confirmed_is_fresh_again() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(unchanged("\"a\""));
    assert_eq!(forebay.get("/").field("age"), Some("0"));
    advance(Duration::from_secs(50));
    let response = forebay.get("/");
    response.is(200, "one");
    response.is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_304_replaces_the_fields_it_has_and_keeps_the_others() {
    let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "\"a\""), ("X-Old", "1"), ("X-Both", "1")], "one"));
    let forebay = holding_stale(&origin);
    let fields = [("Cache-Control", "max-age=600"), ("ETag", "\"a\""), ("X-Both", "2"), ("X-New", "2")];
    origin.now(answer(304, &fields, ""));
    forebay.get("/").is(200, "one");
    advance(Duration::from_secs(500));
    let response = forebay.get("/");
    response.is(200, "one");
    assert_eq!(origin.seen(), 2);
    assert_eq!(response.head.fields("x-both"), ["2"]);
    assert_eq!((response.field("x-old"), response.field("x-new")), (Some("1"), Some("2")));
    assert_eq!(response.head.fields("cache-control"), ["max-age=600"]);
}

#[test]
fn a_304_changes_nothing_that_counts_the_stored_bytes() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    let fields = [MINUTE, ("ETag", "\"a\""), ("Content-Length", "99"), ("Content-Range", "bytes 0-2/9")];
    origin.now(answer(304, &fields, ""));
    for _ in 0..2 {
        let response = forebay.get("/");
        response.is(200, "one");
        assert_eq!(response.head.fields("content-length"), ["3"]);
        assert!(!response.head.has("content-range"), "{}", response.head.text());
    }
}

#[test]
fn a_304_without_a_validator_confirms_the_only_response() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(answer(304, &[], ""));
    forebay.get("/").is(200, "one");
    forebay.get("/").is(200, "one");
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_weak_tag_is_asked_with_and_confirmed() {
    let origin = Origin::start(tagged("W/\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(unchanged("W/\"a\""));
    forebay.get("/").is(200, "one");
    assert_eq!(origin.last().head.field("if-none-match"), Some("W/\"a\""));
}

#[test]
fn a_304_for_an_unknown_tag_asks_again_without_conditions() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.once(unchanged("\"other\""));
    origin.now(tagged("\"b\"", "two"));
    forebay.get("/").is(200, "two");
    let asked = origin.last().head;
    assert!(!asked.has("if-none-match") && !asked.has("if-modified-since"), "{}", asked.text());
    assert_eq!(origin.seen(), 3);
    forebay.get("/").is(200, "two");
    assert_eq!(origin.seen(), 3);
}

#[test]
fn an_origin_that_always_says_304_is_not_asked_for_ever() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(unchanged("\"other\""));
    let response = forebay.get("/");
    assert!(matches!(response.status, 304 | 502), "in\n{}", response.head.text());
    assert!(origin.seen() <= 4, "{}", origin.seen());
}

#[test]
fn the_tags_of_all_variants_are_asked_with() {
    let origin = Origin::start(answer(404, &[], ""));
    let vary = ("Vary", "Accept-Language");
    let forebay = caching(&origin);
    for (language, tag) in [("en", "\"en\""), ("de", "\"de\"")] {
        origin.now(answer(200, &[MINUTE, vary, ("ETag", tag)], language));
        forebay.get_with("/", &format!("Accept-Language: {language}\r\n")).is(200, language);
    }
    a_minute_passes();
    origin.now(answer(304, &[MINUTE, vary, ("ETag", "\"en\"")], ""));
    forebay.get_with("/", "Accept-Language: en\r\n").is(200, "en");
    let asked = origin.last().head;
    assert!(asked.names("if-none-match", "\"en\"") && asked.names("if-none-match", "\"de\""), "{}", asked.text());
}

#[test]
fn a_304_chooses_among_the_variants() {
    let origin = Origin::start(answer(404, &[], ""));
    let vary = ("Vary", "Accept-Language");
    let forebay = caching(&origin);
    for (language, tag) in [("en", "\"en\""), ("de", "\"de\"")] {
        origin.now(answer(200, &[MINUTE, vary, ("ETag", tag)], language));
        forebay.get_with("/", &format!("Accept-Language: {language}\r\n")).is(200, language);
    }
    a_minute_passes();
    origin.now(answer(304, &[MINUTE, vary, ("ETag", "\"de\"")], ""));
    forebay.get_with("/", "Accept-Language: en\r\n").is(200, "de");
}

#[test]
fn a_new_answer_replaces_what_was_stored() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(tagged("\"b\"", "two"));
    let response = forebay.get("/");
    response.is(200, "two");
    response.says("forebay; fwd=stale; stored");
    let response = forebay.get("/");
    assert_eq!(response.is(200, "two").field("etag"), Some("\"b\""));
    assert_eq!(origin.seen(), 2);
}

#[test]
fn not_found_gone_and_moved_replace_what_was_stored() {
    for status in [404, 410, 301] {
        let origin = Origin::start(tagged("\"a\"", "one"));
        let forebay = holding_stale(&origin);
        origin.now(answer(status, &[MINUTE], "away"));
        forebay.get("/").is(status, "away");
        let response = forebay.get("/");
        response.is(status, "away").is_hit();
        assert_eq!(origin.seen(), 2);
    }
}

#[test]
fn an_answer_that_must_not_be_stored_reaches_the_client_and_nothing_stale_comes_after() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(answer(200, &[("Cache-Control", "no-store")], "two"));
    forebay.get("/").is(200, "two");
    forebay.get("/").is(200, "two");
    assert_eq!(origin.seen(), 3);
}

#[test]
fn an_error_reaches_the_client_and_loses_nothing() {
    for status in [500, 501, 503] {
        let origin = Origin::start(tagged("\"a\"", "one"));
        let forebay = holding_stale(&origin);
        origin.now(answer(status, &[], "broken"));
        forebay.get("/").is(status, "broken");
        origin.now(unchanged("\"a\""));
        forebay.get("/").is(200, "one");
    }
}

#[test]
fn no_cache_is_asked_about_before_each_use() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "no-cache, max-age=60"), ("ETag", "\"a\"")], "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    origin.now(answer(304, &[("ETag", "\"a\"")], ""));
    for turn in 2..5 {
        forebay.get("/").is(200, "one");
        assert_eq!(origin.seen(), turn);
        assert_eq!(origin.last().head.field("if-none-match"), Some("\"a\""));
    }
}

#[test]
fn what_must_be_revalidated_is_a_hit_while_fresh_and_never_served_stale() {
    for directives in ["max-age=60, must-revalidate", "max-age=60, proxy-revalidate", "s-maxage=60"] {
        let origin = Origin::start(answer(200, &[("Cache-Control", directives), ("ETag", "\"a\"")], "one"));
        let forebay = Forebay::start(forward([&origin]).cached("stale_while_revalidate = \"10m\""));
        forebay.get("/").is(200, "one");
        forebay.get("/").is(200, "one");
        assert_eq!(origin.seen(), 1, "{directives}");
        a_minute_passes();
        origin.now(tagged("\"b\"", "two"));
        forebay.get_with("/", "Cache-Control: max-stale\r\n").is(200, "two");
    }
}

#[test]
fn a_client_that_wants_it_fresh_has_it_confirmed() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    origin.now(unchanged("\"a\""));
    let response = forebay.get_with("/", "Cache-Control: no-cache\r\n");
    response.is(200, "one").says_first("forebay; fwd=request");
    assert_eq!(origin.last().head.field("if-none-match"), Some("\"a\""));
}

#[test]
fn a_client_that_has_what_is_stored_is_told_so() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    for tags in ["\"a\"", "W/\"a\"", "\"x\", \"a\", \"y\"", "\"x,\", W/\"a\"", "*"] {
        forebay.get_with("/", &format!("If-None-Match: {tags}\r\n")).is(304, "");
    }
    forebay.get_with("/", "If-None-Match: \"x\"\r\nIf-None-Match: \"a\"\r\n").is(304, "");
    for tags in ["\"x\"", "a", "\"A\""] {
        forebay.get_with("/", &format!("If-None-Match: {tags}\r\n")).is(200, "one");
    }
    head(&forebay, "If-None-Match: \"a\"\r\n").is_status(304);
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_client_that_has_it_since_then_is_told_so() {
    let origin = Origin::start(answer(200, &[MINUTE, ("Last-Modified", MONDAY)], "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    let since = |date: &str| forebay.get_with("/", &format!("If-Modified-Since: {date}\r\n"));
    since(MONDAY).is(304, "");
    since(TUESDAY).is(304, "");
    since("Monday, 01-Jan-24 00:00:00 GMT").is(304, "");
    since("Sun, 31 Dec 2023 23:59:59 GMT").is(200, "one");
    since("yesterday").is(200, "one");
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_tag_counts_more_than_a_date() {
    let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "\"a\""), ("Last-Modified", MONDAY)], "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    forebay.get_with("/", &format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {TUESDAY}\r\n")).is(200, "one");
    let fields = "If-None-Match: \"a\"\r\nIf-Modified-Since: Sun, 31 Dec 2023 23:59:59 GMT\r\n";
    forebay.get_with("/", fields).is(304, "");
}

#[test]
fn a_304_has_the_fields_that_caches_need_and_none_of_the_content() {
    let fields = [
        MINUTE,
        ("ETag", "\"a\""),
        ("Vary", "Accept-Language"),
        ("Expires", TUESDAY),
        ("Content-Location", "/one"),
        ("Content-Type", "text/plain"),
        ("Content-Language", "en"),
    ];
    let origin = Origin::start(answer(200, &fields, "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    let response = forebay.get_with("/", "If-None-Match: \"a\"\r\n");
    response.is(304, "");
    for name in ["cache-control", "content-location", "date", "etag", "expires", "vary", "age", "cache-status"] {
        assert_eq!(response.head.fields(name).len(), 1, "{name} in\n{}", response.head.text());
    }
    for name in ["content-type", "content-language", "transfer-encoding"] {
        assert!(!response.head.has(name), "{name} in\n{}", response.head.text());
    }
    response.is_hit();
}

#[test]
fn conditions_don_t_apply_to_a_stored_error() {
    let origin = Origin::start(answer(404, &[MINUTE, ("ETag", "\"a\"")], "nothing"));
    let forebay = caching(&origin);
    forebay.get("/").is(404, "nothing");
    forebay.get_with("/", "If-None-Match: \"a\"\r\n").is(404, "nothing");
    forebay.get_with("/", "If-None-Match: *\r\n").is(404, "nothing");
    assert_eq!(origin.seen(), 1);
}

#[test]
fn after_a_304_the_connection_goes_on() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    let mut client = forebay.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: shop.test\r\nIf-None-Match: \"a\"\r\n\r\n").read_response().is(304, "");
        client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is(200, "one");
    }
}

#[test]
fn on_a_miss_the_whole_is_fetched_and_the_client_told_that_it_has_it() {
    for fields in ["If-None-Match: \"x\", \"a\"\r\n".to_owned(), format!("If-Modified-Since: {TUESDAY}\r\n")] {
        let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "\"a\""), ("Last-Modified", MONDAY)], "one"));
        let forebay = caching(&origin);
        let response = forebay.get_with("/", &fields);
        response.is(304, "");
        assert_eq!((response.field("etag"), response.head.has("content-type")), (Some("\"a\""), false));
        let asked = origin.last().head;
        assert!(!asked.has("if-none-match") && !asked.has("if-modified-since"), "{}", asked.text());
        forebay.get("/").is(200, "one").is_hit();
    }
}

#[test]
fn on_a_miss_a_client_that_has_another_gets_the_whole() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = caching(&origin);
    let response = forebay.get_with("/", "If-None-Match: \"x\"\r\n");
    response.is(200, "one").is_stored();
}

#[test]
fn on_a_miss_an_error_is_no_304() {
    let origin = Origin::start(answer(404, &[("ETag", "\"a\"")], "nothing"));
    let forebay = caching(&origin);
    forebay.get_with("/", "If-None-Match: *\r\n").is(404, "nothing");
}

#[test]
fn while_it_is_confirmed_a_client_that_has_it_is_told_so() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(unchanged("\"a\""));
    forebay.get_with("/", "If-None-Match: \"a\"\r\n").is(304, "");
    a_minute_passes();
    forebay.get_with("/", "If-None-Match: \"x\"\r\n").is(200, "one");
    assert_eq!(origin.last().head.fields("if-none-match"), ["\"a\""]);
    assert_eq!(origin.seen(), 3);
}

#[test]
fn while_it_is_replaced_a_client_is_judged_by_what_comes() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(tagged("\"b\"", "two"));
    forebay.get_with("/", "If-None-Match: \"b\"\r\n").is(304, "");
    assert_eq!(origin.last().head.fields("if-none-match"), ["\"a\""]);
    forebay.get("/").is(200, "two");
    a_minute_passes();
    origin.now(tagged("\"c\"", "three"));
    forebay.get_with("/", "If-None-Match: \"b\"\r\n").is(200, "three");
}

#[test]
fn what_only_the_origin_can_judge_goes_to_it() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "one");
    origin.now(answer(412, &[], "changed"));
    for (name, value) in [("If-Match", "\"x\""), ("If-Unmodified-Since", MONDAY)] {
        let response = forebay.get_with("/", &format!("{name}: {value}\r\n"));
        response.is(412, "changed").says("forebay; fwd=bypass; detail=precondition");
        assert_eq!(origin.last().head.field(name), Some(value));
    }
    forebay.get("/").is(200, "one").is_hit();
}

#[test]
fn a_head_of_what_is_stale_makes_it_fresh_again() {
    let origin = Origin::start(validated("\"a\"", "one", &[MINUTE]));
    let forebay = holding_stale(&origin);
    let response = head(&forebay, "");
    response.is(200, "");
    assert_eq!(response.field("content-length"), Some("3"));
    forebay.get("/").is(200, "one").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_head_that_agrees_freshens_what_is_stored() {
    let origin = Origin::start(tagged("\"a\"", "one"));
    let forebay = holding_stale(&origin);
    origin.now(answer(200, &[MINUTE, ("ETag", "\"a\""), ("X-New", "2")], "one"));
    head(&forebay, "").is(200, "");
    let response = forebay.get("/");
    assert_eq!(response.is(200, "one").field("x-new"), Some("2"));
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_head_that_differs_makes_what_is_stored_stale() {
    for (tag, body) in [("\"b\"", "two"), ("\"a\"", "longer")] {
        let origin = Origin::start(tagged("\"a\"", "one"));
        let forebay = caching(&origin);
        forebay.get("/").is(200, "one");
        origin.now(tagged(tag, body));
        head(&forebay, "Cache-Control: no-cache\r\n").is(200, "");
        forebay.get("/").is(200, body);
    }
}
