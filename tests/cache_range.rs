//! Range requests for stored responses, and for responses that are being fetched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Client, Forebay, Gate, Origin, Response, Script, advance, answer, eventually, forward, raw, script};

const MONDAY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");

/// Ten bytes, each its own position.
fn digits() -> Script {
    let fields = [MINUTE, ("ETag", "\"a\""), ("Last-Modified", MONDAY), ("Content-Type", "text/plain")];
    answer(200, &fields, "0123456789")
}

/// The part `2-4` of them, as an origin gives it.
fn part() -> Script {
    answer(206, &[MINUTE, ("ETag", "\"a\""), ("Content-Range", "bytes 2-4/10")], "234")
}

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

/// A cache that holds the ten bytes.
fn holding(origin: &Origin) -> Forebay {
    let forebay = caching(origin);
    forebay.get("/").is(200, "0123456789");
    forebay
}

fn range(forebay: &Forebay, range: &str) -> Response {
    forebay.get_with("/", &format!("Range: {range}\r\n"))
}

/// A client that has sent a GET with these fields and waits.
fn asking(forebay: &Forebay, fields: &str) -> Client {
    let mut client = forebay.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"));
    client
}

#[test]
fn a_part_of_what_is_stored_is_served_from_it() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    for (asked, part, place) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=9-9", "9", "bytes 9-9/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=0-", "0123456789", "bytes 0-9/10"),
        ("bytes=4-5, 99-", "45", "bytes 4-5/10"),
    ] {
        let response = range(&forebay, asked);
        response.is(206, part);
        assert_eq!(response.head.fields("content-range"), [place], "{asked}");
        assert_eq!(response.head.fields("content-length"), [part.len().to_string()], "{asked}");
    }
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_part_has_the_fields_of_the_whole() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    let response = range(&forebay, "bytes=2-4");
    response.is(206, "234");
    assert_eq!((response.field("etag"), response.field("last-modified")), (Some("\"a\""), Some(MONDAY)));
    assert_eq!((response.field("content-type"), response.field("cache-control")), (Some("text/plain"), Some(MINUTE.1)));
    assert!(response.head.has("date") && response.head.has("age"), "{}", response.head.text());
    response.is_hit();
}

#[test]
fn several_parts_are_served_byte_for_byte() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    let response = range(&forebay, "bytes=8-9, 0-1, 4-4");
    response.is_status(206);
    assert!(!response.head.has("content-range"), "{}", response.head.text());
    let kind = response.field("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap_or_else(|| panic!("{kind}"));
    let part = |place: &str, bytes: &str| {
        format!("\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {place}/10\r\n\r\n{bytes}")
    };
    let expected = part("8-9", "89") + &part("0-1", "01") + &part("4-4", "4") + &format!("\r\n--{boundary}--\r\n");
    assert_eq!(response.text(), expected);
    assert_eq!(response.field("content-length"), Some(expected.len().to_string().as_str()));
}

#[test]
fn no_two_multipart_answers_have_the_same_boundary() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    let kind = || range(&forebay, "bytes=0-1, 8-9").field("content-type").unwrap().to_owned();
    assert_ne!(kind(), kind());
}

#[test]
fn overlapping_and_adjacent_parts_become_one() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    for asked in ["bytes=0-2,2-4", "bytes=0-2,3-4", "bytes=3-4,0-2", "bytes=0-4,1-2,-10", "bytes=0-4,0-4"] {
        let response = range(&forebay, asked);
        let whole = asked.contains("-10");
        response.is(206, if whole { "0123456789" } else { "01234" });
        assert_eq!(response.field("content-range"), Some(if whole { "bytes 0-9/10" } else { "bytes 0-4/10" }));
    }
}

#[test]
fn too_many_parts_get_the_whole() {
    let body = "x".repeat(1000);
    let origin = Origin::start(answer(200, &[MINUTE], &body));
    let forebay = caching(&origin);
    forebay.get("/").is(200, &body);
    let list = |count: usize| (0..count).map(|place| format!("{0}-{0}", place * 10)).collect::<Vec<_>>().join(",");
    range(&forebay, &format!("bytes={}", list(9))).is(200, &body);
    range(&forebay, &format!("bytes={}", "0-,".repeat(1000))).is(200, &body);
    range(&forebay, &format!("bytes={}", list(8))).is_status(206);
}

#[test]
fn what_is_no_range_of_bytes_gets_the_whole() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    for asked in ["bytes", "bytes=", "bytes=a-b", "bytes=4-2", "lines=0-1", "bytes=1", "bytes=0-1,x"] {
        let response = range(&forebay, asked);
        response.is(200, "0123456789");
        assert!(!response.head.has("content-range"), "{asked}");
    }
    forebay.get_with("/", "Range: bytes=0-1\r\nRange: bytes=3-4\r\n").is(200, "0123456789");
}

#[test]
fn what_lies_beyond_the_end_is_refused_with_the_length() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    for asked in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=18446744073709551616-"] {
        let response = range(&forebay, asked);
        response.is_status(416);
        assert_eq!(response.field("content-range"), Some("bytes */10"), "{asked}");
        assert!(!response.text().contains("0123456789"));
    }
    assert_eq!(origin.seen(), 1);
}

#[test]
fn of_nothing_there_is_no_part() {
    let origin = Origin::start(answer(200, &[MINUTE], ""));
    let forebay = caching(&origin);
    forebay.get("/").is(200, "");
    let response = range(&forebay, "bytes=0-");
    assert_eq!(response.is_status(416).field("content-range"), Some("bytes */0"));
}

#[test]
fn after_a_refused_range_the_connection_goes_on() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    let mut client = asking(&forebay, "Range: bytes=99-\r\n");
    client.read_response().is_status(416);
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is(200, "0123456789");
}

#[test]
fn a_part_is_given_only_of_what_the_client_knows() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    let if_range = |value: &str| forebay.get_with("/", &format!("Range: bytes=2-4\r\nIf-Range: {value}\r\n"));
    if_range("\"a\"").is(206, "234");
    if_range(MONDAY).is(206, "234");
    for other in ["\"b\"", "W/\"a\"", "Tue, 02 Jan 2024 00:00:00 GMT", "Sun, 31 Dec 2023 00:00:00 GMT", "nonsense"] {
        if_range(other).is(200, "0123456789");
    }
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_weak_tag_never_allows_a_part() {
    let origin = Origin::start(answer(200, &[MINUTE, ("ETag", "W/\"a\"")], "0123456789"));
    let forebay = holding(&origin);
    forebay.get_with("/", "Range: bytes=2-4\r\nIf-Range: W/\"a\"\r\n").is(200, "0123456789");
}

#[test]
fn a_range_beyond_the_end_of_something_else_gets_the_whole() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    forebay.get_with("/", "Range: bytes=99-\r\nIf-Range: \"b\"\r\n").is(200, "0123456789");
}

#[test]
fn who_has_it_already_gets_no_part() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    forebay.get_with("/", "Range: bytes=2-4\r\nIf-None-Match: \"a\"\r\n").is(304, "");
    forebay.get_with("/", "Range: bytes=2-4\r\nIf-None-Match: \"b\"\r\n").is(206, "234");
}

#[test]
fn head_knows_no_parts() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    let response = forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\nRange: bytes=2-4\r\n\r\n");
    response.is(200, "");
    assert_eq!((response.field("content-length"), response.head.has("content-range")), (Some("10"), false));
}

#[test]
fn an_error_has_no_parts() {
    let origin = Origin::start(answer(404, &[MINUTE], "0123456789"));
    let forebay = caching(&origin);
    forebay.get("/").is(404, "0123456789");
    range(&forebay, "bytes=2-4").is(404, "0123456789");
    assert_eq!(origin.seen(), 1);
}

#[test]
fn what_came_in_chunks_has_parts_too() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = Origin::start(raw(format!("{head}4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n")));
    let forebay = holding(&origin);
    let response = range(&forebay, "bytes=2-6");
    assert_eq!(response.is(206, "23456").field("content-range"), Some("bytes 2-6/10"));
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_part_that_is_not_stored_is_asked_for_and_not_kept() {
    let origin = Origin::start(part());
    let forebay = caching(&origin);
    let response = forebay.get_with("/", "Range: bytes=2-4\r\nIf-Range: \"a\"\r\n");
    assert_eq!(response.is(206, "234").field("content-range"), Some("bytes 2-4/10"));
    response.says("forebay; fwd=uri-miss; detail=partial");
    let asked = origin.last().head;
    assert_eq!((asked.field("range"), asked.field("if-range")), (Some("bytes=2-4"), Some("\"a\"")));
    origin.now(digits());
    let response = forebay.get("/");
    response.is(200, "0123456789").is_stored();
}

#[test]
fn a_refusal_of_a_range_is_not_kept() {
    let origin = Origin::start(answer(416, &[MINUTE, ("Content-Range", "bytes */10")], "too far"));
    let forebay = caching(&origin);
    range(&forebay, "bytes=99-").is(416, "too far");
    origin.now(digits());
    forebay.get("/").is(200, "0123456789");
}

#[test]
fn the_whole_that_comes_for_a_part_is_kept() {
    let origin = Origin::start(digits());
    let forebay = caching(&origin);
    let response = range(&forebay, "bytes=2-4");
    assert!(matches!((response.status, response.text().as_str()), (200, "0123456789") | (206, "234")));
    forebay.get("/").is(200, "0123456789");
    range(&forebay, "bytes=5-6").is(206, "56");
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_part_that_nobody_asked_for_is_not_kept() {
    let origin = Origin::start(part());
    let forebay = caching(&origin);
    let _odd = forebay.get("/");
    origin.now(digits());
    forebay.get("/").is(200, "0123456789");
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_part_of_what_is_stale_is_served_when_the_whole_was_confirmed() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    advance(Duration::from_secs(61));
    origin.now(answer(304, &[MINUTE, ("ETag", "\"a\"")], ""));
    let response = range(&forebay, "bytes=2-4");
    assert_eq!(response.is(206, "234").field("content-range"), Some("bytes 2-4/10"));
    let asked = origin.last().head;
    assert_eq!((asked.field("if-none-match"), asked.has("range")), (Some("\"a\""), false));
}

#[test]
fn a_part_of_a_new_version_never_joins_one_of_the_old() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    advance(Duration::from_secs(61));
    origin.now(answer(200, &[MINUTE, ("ETag", "\"b\"")], "abcdefghij"));
    forebay.get_with("/", "Range: bytes=2-4\r\nIf-Range: \"a\"\r\n").is(200, "abcdefghij");
    range(&forebay, "bytes=2-4").is(206, "cde");
}

#[test]
fn a_part_of_what_another_is_fetching_is_right() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(digits()));
    let forebay = caching(&origin);
    let mut whole = asking(&forebay, "");
    eventually("the whole is asked for", || origin.held() == 1);
    let mut part = asking(&forebay, "Range: bytes=2-4\r\n");
    forebay.eventually("both wait", |gauges| gauges.in_flight == 2);
    gate.open();
    whole.read_response().is(200, "0123456789");
    let response = part.read_response();
    if response.status == 206 {
        assert_eq!(response.is(206, "234").field("content-range"), Some("bytes 2-4/10"));
    } else {
        response.is(200, "0123456789");
    }
}

#[test]
fn who_wants_the_whole_never_gets_the_part_of_another() {
    let gate = Gate::new();
    let origin = Origin::start(digits());
    origin.once(script().wait(&gate).then(part()));
    let forebay = caching(&origin);
    let mut part = asking(&forebay, "Range: bytes=2-4\r\n");
    eventually("the part is asked for", || origin.held() == 1);
    let mut whole = asking(&forebay, "");
    forebay.eventually("both are there", |gauges| gauges.in_flight == 2 || origin.seen() == 2);
    gate.open();
    part.read_response().is(206, "234");
    whole.read_response().is(200, "0123456789");
    forebay.get("/").is(200, "0123456789");
}

#[test]
fn a_part_that_continues_what_the_client_has_describes_it_no_more() {
    let origin = Origin::start(digits());
    let forebay = holding(&origin);
    let bare = range(&forebay, "bytes=2-4");
    assert_eq!((bare.is(206, "234").field("content-type"), bare.head.has("last-modified")), (Some("text/plain"), true));
    let more = forebay.get_with("/", "Range: bytes=2-4\r\nIf-Range: \"a\"\r\n");
    assert_eq!((more.is(206, "234").field("etag"), more.field("content-length")), (Some("\"a\""), Some("3")));
    assert!(!more.head.has("content-type") && !more.head.has("last-modified"), "{}", more.head.text());
}

#[test]
fn a_part_that_is_all_there_is_stored_as_the_whole() {
    let whole = ("Content-Range", "bytes 0-9/10");
    let fields = [MINUTE, ("ETag", "\"a\""), ("Content-Type", "text/plain"), whole];
    let origin = Origin::start(answer(206, &fields, "0123456789"));
    let forebay = caching(&origin);
    let response = range(&forebay, "bytes=0-");
    assert_eq!(response.is(206, "0123456789").is_stored().head.fields("content-range"), ["bytes 0-9/10"]);
    let response = forebay.get("/");
    response.is(200, "0123456789").is_hit();
    assert!(!response.head.has("content-range"), "{}", response.head.text());
    range(&forebay, "bytes=2-4").is(206, "234").is_hit();
    advance(Duration::from_secs(61));
    origin.now(answer(304, &[MINUTE, ("ETag", "\"a\"")], ""));
    forebay.get("/").is(200, "0123456789").says("forebay; fwd=stale; fwd-status=304");
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_part_that_may_lack_fields_is_not_the_whole() {
    let fields = [MINUTE, ("ETag", "\"a\""), ("Content-Range", "bytes 0-9/10")];
    let origin = Origin::start(answer(206, &fields, "0123456789"));
    caching(&origin).get_with("/", "Range: bytes=0-\r\nIf-Range: \"a\"\r\n").is_refused("partial");
}
