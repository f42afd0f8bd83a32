//! Which responses are stored: by status, directives, `Authorization`, fields, and complete bodies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Ending, Forebay, Origin, Response, Script, answer, chunked, forward, ok, raw, validated};

const FRESH: (&str, &str) = ("Cache-Control", "max-age=60");
const MODIFIED: (&str, &str) = ("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT");
const COOKIE: (&str, &str) = ("Set-Cookie", "id=1");

/// A caching route with these keys, in front of an origin that expects exactly one request.
fn caching(origin: &Origin, keys: &str) -> Config {
    forward([origin]).upstream("[upstream.retry]\nattempts = 0").cached(keys)
}

/// The answers to two equal requests with these field lines, and how many the origin saw.
#[track_caller]
fn twice(keys: &str, asked: &str, script: Script) -> (Response, Response, usize) {
    let origin = Origin::start(script);
    let forebay = Forebay::start(caching(&origin, keys));
    let (first, second) = (forebay.get_with("/", asked), forebay.get_with("/", asked));
    (first, second, origin.seen())
}

#[track_caller]
fn stores(keys: &str, asked: &str, script: Script) {
    let (first, second, seen) = twice(keys, asked, script);
    first.is_stored();
    second.is_hit().is(first.status, &first.text());
    assert_eq!(seen, 1);
}

#[track_caller]
fn refuses(keys: &str, asked: &str, script: Script, reason: &str) {
    let (first, second, seen) = twice(keys, asked, script);
    first.is_refused(reason);
    second.is(first.status, &first.text());
    assert_eq!(seen, 2, "the second request was answered by {:?}", second.cache_status());
}

/// The body that a test gives an answer with this status.
fn body_of(status: u16) -> &'static str {
    if matches!(status, 204 | 205) { "" } else { "one" }
}

#[test]
fn any_final_status_is_stored_for_the_time_that_the_origin_names() {
    for status in [200, 201, 202, 203, 204, 205, 299, 300, 301, 302, 303, 307, 308] {
        stores("", "", answer(status, &[FRESH], body_of(status)));
    }
    for status in [400, 401, 403, 404, 405, 406, 409, 410, 414, 418, 421, 422, 451, 499] {
        stores("", "", answer(status, &[FRESH], body_of(status)));
    }
    for status in [500, 501, 502, 503, 504, 599] {
        stores("", "", answer(status, &[FRESH], body_of(status)));
    }
}

#[test]
fn an_answer_about_the_one_who_asked_is_not_stored() {
    for status in [428, 429, 431, 511] {
        refuses("ttl = \"60s\"", "", answer(status, &[FRESH], "one"), "status");
    }
    stores("ttl_status = { 429 = \"5s\" }", "", answer(429, &[], "one"));
}

#[test]
fn some_statuses_are_stored_by_a_guess() {
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501] {
        stores("", "", answer(status, &[MODIFIED], body_of(status)));
    }
}

#[test]
fn no_other_status_is_stored_by_a_guess_or_by_the_route_s_time() {
    for status in [201, 202, 302, 303, 307, 400, 401, 403, 409, 413, 500, 502, 503, 504] {
        refuses("", "", answer(status, &[MODIFIED], "one"), "no-freshness");
        refuses("ttl = \"60s\"", "", answer(status, &[], "one"), "no-freshness");
    }
    refuses("ttl = \"60s\"", "", answer(414, &[], "one"), "no-freshness");
}

#[test]
fn public_lets_any_status_be_guessed() {
    stores("", "", answer(302, &[MODIFIED, ("Cache-Control", "public")], "one"));
}

#[test]
fn an_answer_that_says_nothing_of_freshness_is_not_stored() {
    refuses("", "", ok("one"), "no-freshness");
    stores("ttl = \"60s\"", "", ok("one"));
}

#[test]
fn an_answer_that_can_only_be_validated_is_stored_for_that() {
    let (first, second, seen) = twice("", "", validated("\"1\"", "one", &[]));
    first.is(200, "one").is_stored();
    second.is(200, "one").says_first("forebay; fwd=stale; fwd-status=304");
    assert_eq!(seen, 2);
}

#[test]
fn a_part_is_not_served_as_the_whole() {
    let (_, second, seen) = twice("", "", answer(206, &[FRESH, ("Content-Range", "bytes 0-2/6")], "one"));
    second.is(206, "one");
    assert_eq!(seen, 2);
    for range in ["bytes 0-2/*", "bytes 4-6/6", "lines 0-2/6"] {
        refuses("", "", answer(206, &[FRESH, ("Content-Range", range)], "one"), "partial");
    }
    refuses("", "", answer(206, &[FRESH], "one"), "partial");
}

#[test]
fn no_store_is_obeyed_however_it_is_written() {
    for value in ["no-store", "No-Store", "max-age=60, no-store", "no-store, public, max-age=60", "no-store=\"x\""] {
        refuses("", "", answer(200, &[("Cache-Control", value)], "one"), "no-store");
    }
    refuses("", "", answer(200, &[FRESH, ("Cache-Control", "no-store")], "one"), "no-store");
    stores("", "", answer(200, &[("Cache-Control", "x=\"no-store, private\", max-age=60")], "one"));
}

#[test]
fn what_is_private_is_not_stored() {
    for value in ["private, max-age=60", "PRIVATE, s-maxage=60", "private=\"\", max-age=60", "public, private"] {
        refuses("", "", answer(200, &[("Cache-Control", value)], "one"), "private");
    }
}

#[test]
fn the_route_s_time_does_not_store_what_the_origin_forbids() {
    for keys in ["ttl = \"60s\"", "ttl_force = \"60s\""] {
        refuses(keys, "", answer(200, &[("Cache-Control", "no-store")], "one"), "no-store");
        refuses(keys, "", answer(200, &[("Cache-Control", "private")], "one"), "private");
    }
}

#[test]
fn the_route_may_say_in_so_many_words_that_private_answers_are_stored() {
    let keys = "ttl_force = \"60s\"\nstore_private = true";
    stores(keys, "", answer(200, &[("Cache-Control", "private")], "one"));
    stores(keys, "", answer(200, &[("Cache-Control", "no-store")], "one"));
}

#[test]
fn must_understand_stores_known_statuses_in_spite_of_no_store_and_unknown_ones_never() {
    let both = ("Cache-Control", "must-understand, no-store, max-age=60");
    stores("", "", answer(200, &[both], "one"));
    stores("", "", answer(404, &[both], "one"));
    refuses("", "", answer(299, &[both], "one"), "must-understand");
    refuses("", "", answer(299, &[("Cache-Control", "must-understand, max-age=60")], "one"), "must-understand");
    stores("", "", answer(299, &[FRESH], "one"));
}

#[test]
fn an_answer_to_authorization_is_stored_only_if_it_says_that_others_may_have_it() {
    const ASKED: &str = "Authorization: Basic YTpi\r\n";
    for value in ["max-age=60", "max-age=60, proxy-revalidate", "max-age=60, immutable"] {
        refuses("", ASKED, answer(200, &[("Cache-Control", value)], "one"), "authorization");
    }
    refuses("ttl = \"60s\"", ASKED, ok("one"), "authorization");
    refuses("ttl_force = \"60s\"", ASKED, ok("one"), "authorization");
    for value in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"] {
        stores("", ASKED, answer(200, &[("Cache-Control", value)], "one"));
    }
}

#[test]
fn an_answer_to_one_identity_is_not_given_to_another() {
    let origin = Origin::start(answer(200, &[FRESH], "of a"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get_with("/", "Authorization: Basic a\r\n").is(200, "of a");
    origin.now(answer(200, &[FRESH], "of b"));
    forebay.get_with("/", "Authorization: Basic b\r\n").is(200, "of b");
}

#[test]
fn what_varies_on_anything_is_not_stored() {
    for value in ["*", "accept, *", "*, accept"] {
        refuses("", "", answer(200, &[FRESH, ("Vary", value)], "one"), "vary-star");
    }
}

#[test]
fn a_get_with_a_body_is_never_looked_up_nor_stored() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    let asked = "GET / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc";
    forebay.ask(asked).is(200, "one").says("forebay; fwd=bypass; detail=request-body");
    assert_eq!(origin.last().body, b"abc");
    forebay.get("/").is_stored();
    forebay.ask(asked).is(200, "one").says("forebay; fwd=bypass; detail=request-body");
    forebay.get("/").is_hit();
    assert_eq!(origin.seen(), 3);
}

#[test]
fn an_answer_to_post_that_names_the_target_as_its_own_is_what_get_gets() {
    let origin = Origin::start(answer(200, &[FRESH, ("Content-Location", "/a?b")], "posted"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.post("/a?b", "x").is(200, "posted").says_first("forebay; fwd=method");
    forebay.get("/a?b").is(200, "posted").is_hit();
    assert_eq!(origin.seen(), 1);
}

#[test]
fn any_other_answer_to_post_is_not_stored() {
    let plain = answer(200, &[FRESH], "posted");
    let elsewhere = answer(200, &[FRESH, ("Content-Location", "/b")], "posted");
    let of_another = answer(200, &[FRESH, ("Content-Location", "http://evil.test/a")], "posted");
    let created = answer(201, &[FRESH, ("Content-Location", "/a")], "posted");
    let guessed = answer(200, &[MODIFIED, ("Content-Location", "/a")], "posted");
    for script in [plain, elsewhere, of_another, created, guessed] {
        let origin = Origin::start(script);
        let forebay = Forebay::start(caching(&origin, ""));
        forebay.post("/a", "x").says_first("forebay; fwd=method");
        origin.now(answer(200, &[FRESH], "got"));
        forebay.get("/a").is(200, "got").is_stored();
        forebay.get("/b").is(200, "got").is_stored();
    }
}

#[test]
fn answers_to_other_methods_are_not_stored() {
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "HEAD"] {
        let origin = Origin::start(answer(200, &[FRESH], ""));
        let forebay = Forebay::start(caching(&origin, ""));
        let reason = if method == "HEAD" { "uri-miss" } else { "method" };
        let asked = format!("{method} / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n");
        let asked = if method == "HEAD" { asked.replace("Content-Length: 0\r\n", "") } else { asked };
        let first = forebay.client().send(asked).read_response_to(method);
        first.is_status(200).says_first(&format!("forebay; fwd={reason}"));
        assert!(!first.cache_status().contains("stored"), "{method}: {}", first.cache_status());
        forebay.get("/").is_stored();
    }
}

#[test]
fn a_route_that_does_not_cache_says_nothing_and_keeps_nothing() {
    for keys in [None, Some("mode = \"off\"")] {
        let origin = Origin::start(answer(200, &[FRESH], "one"));
        let config = forward([&origin]);
        let forebay = Forebay::start(if let Some(keys) = keys { config.cached(keys) } else { config });
        forebay.get("/").is(200, "one").says("");
        forebay.get("/").is(200, "one").says("");
        assert_eq!(origin.seen(), 2);
    }
}

#[test]
fn an_error_of_forebay_s_own_is_never_stored() {
    let origin = Origin::refusing(answer(200, &[FRESH], "one"));
    let forebay =
        Forebay::start(caching(&origin, "ttl_force = \"60s\"\nttl_status = { 502 = \"60s\", 503 = \"60s\" }"));
    assert!(matches!(forebay.get("/").status, 502 | 503));
    origin.come_back();
    forebay.get("/").is(200, "one").is_stored();
}

#[test]
fn fields_of_one_connection_and_between_proxies_are_not_stored() {
    let origin = Origin::start(answer(
        200,
        &[
            FRESH,
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "x"),
            ("TE", "trailers"),
            ("Upgrade", "websocket"),
            ("X-Kept", "1"),
        ],
        "one",
    ));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").is_stored();
    let hit = forebay.get("/");
    assert_eq!(hit.is_hit().field("x-kept"), Some("1"));
    let gone = ["x-hop", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authentication-info", "te"];
    assert!(gone.iter().all(|name| !hit.head.has(name)), "{}", hit.head.text());
    assert!(!hit.head.has("upgrade") && !hit.head.has("transfer-encoding"), "{}", hit.head.text());
}

#[test]
fn all_other_fields_are_stored_as_they_came_also_unknown_and_repeated_ones() {
    let fields = [
        ("Cache-Control", "public, max-age=60"),
        MODIFIED,
        COOKIE,
        ("Set-Cookie", "id=2; Path=/"),
        ("ETag", "W/\"a,b\""),
        ("Content-Type", "text/html; charset=\"utf-8\""),
        ("Content-Language", "de"),
        ("Expires", "0"),
        ("Pragma", "no-cache"),
        ("Warning", "199 - \"x\""),
        ("Link", "</a>; rel=next"),
        ("X-Unknown", "1"),
        ("X-Unknown", "2, 3"),
        ("X-Empty", ""),
    ];
    let origin = Origin::start(answer(200, &fields, "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    let (miss, hit) = (forebay.get("/"), forebay.get("/"));
    hit.is_hit();
    for (name, _) in fields {
        let given: Vec<&str> = fields.iter().filter(|(each, _)| *each == name).map(|(_, value)| *value).collect();
        assert_eq!(miss.head.fields(name), given);
        assert_eq!(hit.head.fields(name), given);
    }
    assert_eq!(hit.head.fields("via"), miss.head.fields("via"));
    assert_eq!(hit.head.fields("date"), miss.head.fields("date"));
    assert_eq!(hit.head.fields("content-length"), ["3"]);
}

#[test]
fn tags_are_not_shown_to_clients() {
    let tags = [("Surrogate-Key", "a b"), ("Cache-Tag", "a,b"), ("xkey", "a")];
    let origin = Origin::start(answer(200, &[FRESH, tags[0], tags[1], tags[2]], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    for response in [forebay.get("/"), forebay.get("/"), forebay.post("/", "")] {
        assert!(tags.iter().all(|(name, _)| !response.head.has(name)), "{}", response.head.text());
    }
}

#[test]
fn only_the_configured_tag_fields_are_hidden() {
    let origin = Origin::start(answer(200, &[FRESH, ("X-Tags", "a"), ("Cache-Tag", "b")], "one"));
    let forebay = Forebay::start(caching(&origin, "tags_header = [\"x-tags\"]"));
    for response in [forebay.get("/"), forebay.get("/")] {
        assert_eq!((response.field("x-tags"), response.field("cache-tag")), (None, Some("b")));
    }
}

#[test]
fn what_an_inner_cache_says_stands_before_our_word() {
    let origin = Origin::start(answer(200, &[FRESH, ("Cache-Status", "inner; fwd=miss")], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").says("inner; fwd=miss, forebay; fwd=uri-miss; stored");
    let hit = forebay.get("/");
    hit.is_hit();
    assert_eq!(hit.cache_status().matches("forebay").count(), 1, "{}", hit.cache_status());
}

#[test]
fn the_route_s_own_response_fields_are_on_hits_too_and_once() {
    let origin = Origin::start(answer(200, &[FRESH, ("X-Inner", "secret")], "one"));
    let keys = "set_response_headers = { x-edge = \"1\" }\nremove_response_headers = [\"x-inner\"]";
    let forebay = Forebay::start(caching(&origin, "").route(keys));
    for response in [forebay.get("/"), forebay.get("/")] {
        assert_eq!(response.head.fields("x-edge"), ["1"]);
        assert!(!response.head.has("x-inner"));
    }
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_body_is_given_back_byte_for_byte_whatever_its_length() {
    for length in [0, 1, 16_384, 300_000] {
        let body: String = "0123456789".chars().cycle().take(length).collect();
        stores("", "", answer(200, &[FRESH], &body));
    }
}

#[test]
fn a_chunked_answer_is_served_with_its_length() {
    let origin = Origin::start(chunked(&["ab", "c", "def"], &[("X-Sum", "6")]));
    let forebay = Forebay::start(caching(&origin, "ttl = \"60s\""));
    forebay.get("/").is(200, "abcdef").is_stored();
    let hit = forebay.get("/");
    hit.is(200, "abcdef").is_hit();
    assert_eq!((hit.head.fields("content-length"), hit.field("transfer-encoding")), (vec!["6"], None));
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole_and_stored() {
    let origin = Origin::start(raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nabc").close());
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").is(200, "abc");
    let hit = forebay.get("/");
    hit.is(200, "abc").is_hit();
    assert_eq!(hit.head.fields("content-length"), ["3"]);
}

/// Requests a response that breaks off, then a complete one, and asserts that nothing of the first is served.
#[track_caller]
fn leaves_nothing(broken: Script) {
    let origin = Origin::start(answer(200, &[FRESH], "whole"));
    origin.once(broken);
    let forebay = Forebay::start(caching(&origin, ""));
    let first = forebay.get("/");
    assert!(
        first.status == 502 || first.ending == Ending::CutShort,
        "it looks whole:\n{}{}",
        first.head.text(),
        first.text()
    );
    forebay.get("/").is(200, "whole").is_stored();
    forebay.get("/").is(200, "whole").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_body_that_is_cut_short_is_not_stored() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    leaves_nothing(raw(format!("{head}Content-Length: 10\r\n\r\nabc")).close());
    leaves_nothing(raw(format!("{head}Content-Length: 10\r\n\r\nabc")).reset());
    leaves_nothing(raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")).close());
    leaves_nothing(raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")).close());
}

#[test]
fn a_body_whose_chunks_are_broken_is_not_stored() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for chunk in ["xyz\r\nabc\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n", "-1\r\n\r\n", "fffffffffffffffff\r\nabc"] {
        leaves_nothing(raw(format!("{head}{chunk}")).close());
    }
}

#[test]
fn what_comes_after_the_promised_length_is_nobody_s_answer() {
    let origin = Origin::start(answer(200, &[FRESH], "right"));
    origin.once(raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").is(200, "abc");
    for path in ["/b", "/c", "/b", "/c"] {
        forebay.get(path).is(200, "right");
    }
    assert_ne!(forebay.get("/").text(), "evil");
}

#[test]
fn a_body_over_the_limit_is_delivered_and_not_stored() {
    let (long, short) = ("x".repeat(5000), "x".repeat(4096));
    let origin = Origin::start(answer(200, &[FRESH], &long));
    let forebay = Forebay::start(caching(&origin, "").cache("object_bytes_max = \"4KiB\""));
    forebay.get("/").is(200, &long).is_refused("too-large");
    forebay.get("/").is(200, &long);
    assert_eq!(origin.seen(), 2);
    origin.now(answer(200, &[FRESH], &short));
    forebay.get("/other").is_stored();
    forebay.get("/other").is(200, &short).is_hit();
}

#[test]
fn a_chunked_body_that_turns_out_too_long_is_delivered_and_not_stored() {
    let piece = "x".repeat(1000);
    let pieces = [piece.as_str(); 5];
    let origin = Origin::start(chunked(&pieces, &[]));
    let forebay = Forebay::start(caching(&origin, "ttl = \"60s\"").cache("object_bytes_max = \"4KiB\""));
    for seen in 1..=3 {
        let response = forebay.get("/");
        response.is(200, &piece.repeat(5));
        assert_eq!((response.ending, origin.seen()), (Ending::Kept, seen));
    }
}

#[test]
fn what_was_used_least_recently_makes_room() {
    let origin = Origin::start(answer(200, &[FRESH], &"x".repeat(100_000)));
    let limits = "memory_max = \"1MiB\"\nobject_bytes_max = \"256KiB\"";
    let forebay = Forebay::start(caching(&origin, "").cache(limits));
    forebay.get("/hot").is_stored();
    for place in 0..40 {
        forebay.get(&format!("/{place}")).is_stored();
        forebay.get("/hot").is_hit();
    }
    forebay.get("/39").is_hit();
    forebay.get("/0").is_stored();
}
