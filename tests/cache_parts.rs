//! Stored partial responses: which requests they satisfy, and how they are combined to the complete response.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{
    Ending, Forebay, Gate, Origin, Response, Script, advance, answer, eventually, forward, leader_and_followers, raw,
    script,
};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const TAG: (&str, &str) = ("ETag", "\"a\"");

/// Ten bytes, each its own position.
fn digits() -> Script {
    answer(200, &[MINUTE, TAG, ("Content-Type", "text/plain")], "0123456789")
}

/// A part of them, as an origin gives it: `"2-4"`.
fn part(place: &str) -> Script {
    part_with(place, &[MINUTE, TAG, ("Content-Type", "text/plain")])
}

fn part_with(place: &str, fields: &[(&str, &str)]) -> Script {
    let (first, last) = place.split_once('-').unwrap();
    let bytes = "0123456789".get(first.parse().unwrap()..=last.parse().unwrap()).unwrap();
    let place = format!("bytes {place}/10");
    answer(206, &[fields, &[("Content-Range", &place)]].concat(), bytes)
}

/// Announces ten bytes and breaks off after four.
fn cut() -> Script {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n";
    raw(format!("{head}0123")).close()
}

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

/// A cache that holds this part.
fn holding(origin: &Origin, place: &str) -> Forebay {
    let forebay = caching(origin);
    origin.once(part(place));
    range(&forebay, place).is_status(206).is_stored();
    forebay
}

fn range(forebay: &Forebay, place: &str) -> Response {
    forebay.get_with("/", &format!("Range: bytes={place}\r\n"))
}

#[test]
fn a_part_answers_what_lies_inside_it() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "2-6");
    for (asked, bytes, place) in [("2-6", "23456", "2-6"), ("3-4", "34", "3-4"), ("6-6", "6", "6-6")] {
        let response = range(&forebay, asked);
        response.is(206, bytes).is_hit();
        assert_eq!(response.head.fields("content-range"), [format!("bytes {place}/10")]);
        assert_eq!(response.head.fields("content-length"), [bytes.len().to_string()]);
        assert_eq!((response.field("etag"), response.field("content-type")), (Some("\"a\""), Some("text/plain")));
        assert!(response.head.has("age"), "{}", response.head.text());
    }
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_part_at_the_end_answers_for_the_end_however_it_is_asked_for() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "5-9");
    range(&forebay, "-3").is(206, "789").is_hit();
    range(&forebay, "8-").is(206, "89").is_hit();
    range(&forebay, "8-99").is(206, "89").is_hit();
    assert_eq!(origin.seen(), 1);
}

#[test]
fn several_ranges_inside_a_part_are_served_from_it() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "2-9");
    let response = range(&forebay, "2-3,7-8");
    response.is_status(206).is_hit();
    assert!(!response.head.has("content-range") && response.field("content-type").unwrap().starts_with("multipart/"));
    assert!(
        response.text().contains("bytes 2-3/10\r\n\r\n23\r\n")
            && response.text().contains("bytes 7-8/10\r\n\r\n78\r\n")
    );
}

#[test]
fn what_lies_beyond_a_part_is_asked_for_and_joined_to_it() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "2-4");
    origin.once(part("4-7"));
    range(&forebay, "4-7").is(206, "4567").says("forebay; fwd=partial; stored");
    assert!(!origin.last().head.has("range"), "what is known to be short is asked for as a whole");
    range(&forebay, "2-7").is(206, "234567").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn parts_that_do_not_touch_are_kept_side_by_side() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "0-2");
    origin.once(part("7-9"));
    range(&forebay, "7-9").is(206, "789");
    range(&forebay, "1-2").is(206, "12").is_hit();
    range(&forebay, "7-8").is(206, "78").is_hit();
    origin.once(part("3-6"));
    range(&forebay, "3-6").is(206, "3456");
    forebay.get("/").is(200, "0123456789").is_hit();
    assert_eq!(origin.seen(), 3);
}

#[test]
fn parts_that_make_the_whole_answer_for_it() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "5-9");
    origin.once(part("0-4"));
    range(&forebay, "0-4").is(206, "01234");
    let response = forebay.get("/");
    response.is(200, "0123456789").is_hit();
    assert_eq!((response.field("content-length"), response.head.has("content-range")), (Some("10"), false));
    forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n").is(200, "").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn parts_of_different_versions_are_never_joined() {
    let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "\"b\"")], "abcdefghij"));
    let forebay = holding(&origin, "0-4");
    origin.once(part_with("5-9", &[MINUTE, ("ETag", "\"b\"")]));
    range(&forebay, "5-9").is(206, "56789");
    forebay.get("/").is(200, "abcdefghij").says("forebay; fwd=partial; stored");
    assert!(!origin.last().head.has("range"));
}

#[test]
fn parts_without_a_strong_validator_are_served_but_not_joined() {
    let origin = Origin::start(digits());
    let forebay = caching(&origin);
    let weak = [MINUTE, ("ETag", "W/\"a\"")];
    origin.once(part_with("0-4", &weak));
    range(&forebay, "0-4").is(206, "01234").is_stored();
    range(&forebay, "1-2").is(206, "12").is_hit();
    origin.once(part_with("5-9", &weak));
    range(&forebay, "5-9").is(206, "56789");
    forebay.get("/").is(200, "0123456789").says("forebay; fwd=partial; stored");
    assert!(!origin.last().head.has("if-range"));
}

#[test]
fn who_wants_the_whole_gets_what_is_there_and_the_rest_is_asked_for() {
    let origin = Origin::start(part("5-9"));
    let forebay = holding(&origin, "0-4");
    let response = forebay.get_with("/", "If-None-Match: \"other\"\r\n");
    response.is(200, "0123456789").says("forebay; fwd=partial; fwd-status=206; stored");
    assert_eq!((response.field("content-length"), response.head.has("content-range")), (Some("10"), false));
    let asked = origin.last().head;
    assert_eq!((asked.field("range"), asked.field("if-range")), (Some("bytes=5-9"), Some("\"a\"")));
    assert!(!asked.has("if-none-match"));
    forebay.get("/").is(200, "0123456789").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn who_has_the_whole_already_is_told_so_though_only_the_rest_came() {
    let origin = Origin::start(part("5-9"));
    let forebay = holding(&origin, "0-4");
    forebay.get_with("/", "If-None-Match: \"a\"\r\n").is(304, "");
    forebay.get("/").is(200, "0123456789").is_hit();
}

#[test]
fn a_new_version_that_comes_instead_of_the_rest_replaces_the_part() {
    let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "\"b\"")], "abcdefghij"));
    let forebay = holding(&origin, "0-4");
    forebay.get("/").is(200, "abcdefghij").says("forebay; fwd=partial; stored");
    range(&forebay, "0-1").is(206, "ab").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_rest_that_does_not_fit_is_not_used() {
    for odd in [
        part_with("5-9", &[MINUTE, ("ETag", "\"b\"")]),
        part("6-9"),
        answer(206, &[MINUTE, TAG, ("Content-Range", "bytes 5-9/11")], "56789"),
        answer(416, &[("Content-Range", "bytes */3")], "too far"),
    ] {
        let origin = Origin::start(digits());
        let forebay = holding(&origin, "0-4");
        origin.once(odd);
        forebay.get("/").is(200, "0123456789").says("forebay; fwd=partial; stored");
        assert!(!origin.last().head.has("range") && !origin.last().head.has("if-range"));
        assert_eq!(origin.seen(), 3);
    }
}

#[test]
fn what_may_not_be_stored_any_more_is_passed_on_whole() {
    let origin = Origin::start(part_with("5-9", &[("Cache-Control", "no-store"), TAG]));
    let forebay = holding(&origin, "0-4");
    forebay.get("/").is(200, "0123456789").says("forebay; fwd=partial; fwd-status=206; detail=no-store");
    origin.now(digits());
    forebay.get("/").is(200, "0123456789").is_stored();
}

#[test]
fn the_rest_is_asked_for_once_for_all_who_want_the_whole() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(part("5-9")));
    let forebay = holding(&origin, "0-4");
    let mut clients: Vec<_> = (0..3).map(|_| forebay.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    }
    forebay.eventually("all wait", |gauges| gauges.in_flight == 3);
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "0123456789");
    }
    assert_eq!(origin.seen(), 2);
}

#[test]
fn what_was_purged_while_a_request_waited_is_not_completed() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(answer(500, &[], "broken")));
    let forebay = Forebay::start(forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]"));
    origin.once(part("0-4"));
    range(&forebay, "0-4").is_status(206).is_stored();
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 1);
    assert!(origin.last().head.has("range"));
    forebay.ask("PURGE / HTTP/1.1\r\nHost: shop.test\r\n\r\n").is(200, "{\"purged\":1}\n");
    origin.now(digits());
    gate.open();
    leader.read_response().is_status(500);
    followers[0].read_response().is(200, "0123456789");
    assert!(!origin.last().head.has("range"), "{}", origin.last().head.text());
}

#[test]
fn a_rest_that_breaks_off_ends_visibly_broken_and_is_kept_as_far_as_it_came() {
    let origin = Origin::start(part("7-9"));
    let forebay = holding(&origin, "0-4");
    let head = "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n";
    origin.once(raw(format!("{head}Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56")).close());
    assert_eq!(forebay.get("/").ending, Ending::CutShort);
    forebay.get("/").is(200, "0123456789").says("forebay; fwd=partial; fwd-status=206; stored");
    assert_eq!(origin.last().head.field("range"), Some("bytes=7-9"));
}

#[test]
fn a_whole_that_breaks_off_is_kept_as_far_as_it_came() {
    let origin = Origin::start(part("4-9"));
    let forebay = caching(&origin);
    origin.once(cut());
    assert_eq!(forebay.get("/").ending, Ending::CutShort);
    range(&forebay, "1-2").is(206, "12").is_hit();
    forebay.get("/").is(200, "0123456789").says("forebay; fwd=partial; fwd-status=206; stored");
    assert_eq!(origin.last().head.field("range"), Some("bytes=4-9"));
}

#[test]
fn head_is_never_answered_from_a_part() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "0-4");
    let response = forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\nRange: bytes=0-1\r\n\r\n");
    response.is(200, "").says_first("forebay; fwd=partial");
    assert_eq!((response.field("content-length"), origin.last().method.as_str()), (Some("10"), "HEAD"));
}

#[test]
fn conditions_are_judged_only_where_the_part_answers() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "2-4");
    let with = |fields: &str| forebay.get_with("/", fields);
    with("Range: bytes=2-3\r\nIf-None-Match: \"a\"\r\n").is(304, "").is_hit();
    with("Range: bytes=2-3\r\nIf-Range: \"a\"\r\n").is(206, "23").is_hit();
    assert_eq!(origin.seen(), 1);
    with("Range: bytes=2-3\r\nIf-Range: \"b\"\r\n").is(200, "0123456789").says("forebay; fwd=partial; stored");
    assert_eq!(origin.seen(), 2);
}

#[test]
fn whether_the_client_has_the_whole_is_never_told_from_a_part() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "2-4");
    forebay.get_with("/", "If-None-Match: \"a\"\r\n").is(304, "").says_first("forebay; fwd=partial");
    assert_eq!(origin.seen(), 2);
    assert!(!origin.last().head.has("if-none-match"));
}

#[test]
fn only_if_cached_is_content_with_a_part_that_holds_it() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "2-4");
    let with = |fields: &str| forebay.get_with("/", &format!("Cache-Control: only-if-cached\r\n{fields}"));
    with("Range: bytes=3-4\r\n").is(206, "34").is_hit();
    with("Range: bytes=3-5\r\n").is_status(504);
    with("").is_status(504);
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_stale_part_is_fetched_anew() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin, "2-4");
    advance(Duration::from_secs(61));
    origin.once(part("2-3"));
    range(&forebay, "2-3").is(206, "23").says("forebay; fwd=stale; stored");
    assert!(!origin.last().head.has("if-none-match"));
    // The same strong tag confirms the representation of the part.
    range(&forebay, "3-4").is(206, "34").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_stale_part_is_not_served_while_it_is_fetched_anew() {
    let origin = Origin::start(digits());
    let forebay = caching(&origin);
    let fields = [("Cache-Control", "max-age=60, stale-while-revalidate=60"), TAG];
    origin.now(part_with("2-4", &fields));
    range(&forebay, "2-4").is(206, "234");
    advance(Duration::from_secs(61));
    range(&forebay, "2-4").is(206, "234").says("forebay; fwd=stale; stored");
    range(&forebay, "2-4").is(206, "234").is_hit();
}

#[test]
fn a_stale_part_is_completed_if_it_still_holds() {
    let origin = Origin::start(part("5-9"));
    let forebay = holding(&origin, "0-4");
    advance(Duration::from_secs(61));
    forebay.get("/").is(200, "0123456789").says("forebay; fwd=partial; fwd-status=206; stored");
    forebay.get("/").is(200, "0123456789").is_hit();
}

#[test]
fn the_tag_of_a_part_is_not_asked_with_for_the_whole() {
    let origin = Origin::start(digits());
    let forebay = caching(&origin);
    let varied = |tag| [MINUTE, ("ETag", tag), ("Vary", "Accept-Language")];
    origin.once(answer(200, &varied("\"de\""), "zehn"));
    forebay.get_with("/", "Accept-Language: de\r\n").is(200, "zehn");
    origin.once(part_with("2-4", &varied("\"en\"")));
    forebay.get_with("/", "Accept-Language: en\r\nRange: bytes=2-4\r\n").is(206, "234");
    advance(Duration::from_secs(61));
    origin.once(answer(304, &varied("\"de\""), ""));
    forebay.get_with("/", "Accept-Language: de\r\n").is(200, "zehn");
    assert_eq!(origin.last().head.field("if-none-match"), Some("\"de\""));
}

#[test]
fn a_part_does_not_take_the_place_of_a_whole_that_came_meanwhile() {
    let gate = Gate::new();
    let origin = Origin::start(digits());
    origin.once(script().wait(&gate).then(part("2-4")));
    let forebay = caching(&origin);
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\nRange: bytes=2-4\r\n\r\n");
    eventually("the part is asked for", || origin.held() == 1);
    forebay.get("/").is(200, "0123456789");
    gate.open();
    client.read_response().is(206, "234");
    forebay.get("/").is(200, "0123456789").is_hit();
}

#[test]
fn a_part_that_is_not_as_long_as_it_says_is_not_kept() {
    let head = "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n";
    let origin = Origin::start(digits());
    for chunks in ["2\r\n23\r\n0\r\n\r\n", "5\r\n23456\r\n0\r\n\r\n"] {
        let forebay = caching(&origin);
        origin.once(raw(format!("{head}Content-Range: bytes 2-4/10\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")));
        assert_eq!(range(&forebay, "2-4").ending, Ending::CutShort);
        range(&forebay, "2-4").is(206, "234").says("forebay; fwd=uri-miss; stored");
    }
}

#[test]
fn a_part_that_leaves_out_what_the_client_has_is_not_kept() {
    let origin = Origin::start(part_with("2-4", &[MINUTE, TAG]));
    let forebay = caching(&origin);
    let asked = "Range: bytes=2-4\r\nIf-Range: \"a\"\r\n";
    forebay.get_with("/", asked).is(206, "234").is_refused("partial");
    origin.now(part("2-4"));
    forebay.get_with("/", asked).is(206, "234").is_stored();
    forebay.get_with("/", asked).is(206, "234").is_hit();
}

#[test]
fn a_part_of_what_is_too_large_to_be_stored_is_stored() {
    let origin = Origin::start(answer(200, &[MINUTE, TAG], &"x".repeat(100_000)));
    let forebay = Forebay::start(forward([&origin]).cached("").cache("object_bytes_max = \"64KiB\""));
    let start = &"x".repeat(50_000);
    origin.once(answer(206, &[MINUTE, TAG, ("Content-Range", "bytes 0-49999/100000")], start));
    range(&forebay, "0-49999").is(206, start).is_stored();
    range(&forebay, "10-12").is(206, "xxx").is_hit();
    forebay.get("/").is_status(200).says("forebay; fwd=partial; detail=too-large");
    assert!(!origin.last().head.has("range"));
}

#[test]
fn the_whole_keeps_the_tags_of_its_part() {
    let origin = Origin::start(part("5-9"));
    let forebay = Forebay::start(forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]"));
    origin.once(part_with("0-4", &[MINUTE, TAG, ("Surrogate-Key", "one two")]));
    let response = range(&forebay, "0-4");
    assert!(!response.is(206, "01234").head.has("surrogate-key"));
    assert!(!forebay.get("/").is(200, "0123456789").head.has("surrogate-key"));
    let purge = "PURGE / HTTP/1.1\r\nHost: shop.test\r\nForebay-Purge: tag\r\nForebay-Purge-Tag: two\r\n\
                 Forebay-Purge-Wait: true\r\n\r\n";
    forebay.ask(purge).is(200, "{\"epoch\":1,\"purged\":1}\n");
    origin.now(digits());
    forebay.get("/").is(200, "0123456789").is_stored();
}

#[test]
fn a_purge_takes_parts_too() {
    let origin = Origin::start(digits());
    let forebay = Forebay::start(forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]"));
    origin.once(part("0-2"));
    range(&forebay, "0-2").is(206, "012");
    origin.once(part("7-9"));
    range(&forebay, "7-9").is(206, "789");
    forebay.ask("PURGE / HTTP/1.1\r\nHost: shop.test\r\n\r\n").is(200, "{\"purged\":2}\n");
    range(&forebay, "7-9").is(206, "789").says("forebay; fwd=uri-miss; stored");
}
