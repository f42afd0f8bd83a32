//! Requests on caching routes: `Cache-Control` of the request, methods, framing, and requests that bypass the cache.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Client, Config, Ending, Forebay, Origin, Response, advance, answer, chunked, forward, ok};

const FRESH: (&str, &str) = ("Cache-Control", "max-age=100");

fn pass(seconds: u64) {
    advance(Duration::from_secs(seconds));
}

fn caching(origin: &Origin) -> Config {
    forward([origin]).upstream("[upstream.retry]\nattempts = 0").cached("")
}

/// A response that is fresh for 100 s and was stored this many seconds ago. The origin has a newer one.
struct Stored {
    origin: Origin,
    forebay: Forebay,
}

impl Stored {
    fn with(seconds_ago: u64, directives: &str) -> Self {
        let origin = Origin::start(answer(200, &[("Cache-Control", directives)], "old"));
        let forebay = Forebay::start(caching(&origin));
        forebay.get("/").is(200, "old").is_stored();
        origin.now(answer(200, &[FRESH], "new"));
        pass(seconds_ago);
        Self { origin, forebay }
    }

    fn since(seconds_ago: u64) -> Self {
        Self::with(seconds_ago, "max-age=100")
    }

    #[track_caller]
    fn asked(&self, directives: &str) -> Response {
        self.forebay.get_with("/", &format!("Cache-Control: {directives}\r\n"))
    }

    /// Asserts that the stored response satisfies these directives.
    #[track_caller]
    fn hits(&self, directives: &str) {
        self.asked(directives).is(200, "old").is_hit();
        assert_eq!(self.origin.seen(), 1);
    }

    /// Asserts that these directives cause a fetch, for this reason (empty: any), and that its response is stored.
    #[track_caller]
    fn renews(self, directives: &str, why: &str) {
        self.asked(directives).is(200, "new").says_first(&format!("forebay; fwd={why}"));
        self.forebay.get("/").is(200, "new").is_hit();
        assert_eq!(self.origin.seen(), 2);
    }
}

#[test]
fn a_hit_is_the_same_whether_or_not_the_request_takes_the_whole_course() {
    let fields = [FRESH, ("Age", "7"), ("ETag", "\"a\""), ("X-Twice", "1"), ("X-Twice", "2")];
    let origin = Origin::start(answer(200, &fields, "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/a.css?b").is(200, "one").is_stored();
    let lines = |response: &Response| {
        // A second may pass in between.
        let lasting = |line: &str| match line.split_once(": ") {
            Some((name @ ("Age" | "Cache-Status"), _)) => name.to_owned(),
            Some(_) | None => line.to_owned(),
        };
        let mut lines: Vec<String> = response.head.text().lines().map(lasting).collect();
        lines.sort();
        lines
    };
    let plain = forebay.get_with("/a.css?b", "Connection: keep-alive\r\nX-Forwarded-Proto: https\r\n");
    // A request that came through another proxy.
    let looked_at = forebay.get_with("/a.css?b", "Via: 1.1 other\r\n");
    assert_eq!(lines(plain.is(200, "one").is_hit()), lines(looked_at.is(200, "one").is_hit()));
    assert_eq!(origin.seen(), 1);
}

#[test]
fn pipelined_hits_and_misses_are_answered_in_order() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/a").is(200, "one").is_stored();
    let mut client = forebay.client();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    client.send([get("/a"), get("/b"), get("/a"), get("/b"), get("/a")].concat());
    let said = || client.read_response().is(200, "one").cache_status().to_owned();
    let said: Vec<String> = std::iter::repeat_with(said).take(5).collect();
    let hits: Vec<bool> = said.iter().map(|said| said.contains("hit")).collect();
    assert_eq!(hits, [true, false, true, true, true], "{said:?}");
}

#[test]
fn max_age_takes_nothing_that_is_older() {
    let stored = Stored::since(50);
    stored.hits("max-age=60");
    stored.hits("MAX-AGE=\"60\"");
    stored.renews("max-age=40", "request");
    Stored::since(0).renews("max-age=x", "request");
    Stored::since(5).renews("max-age=0", "request");
    Stored::since(5).renews("max-age=60, max-age=1", "request");
}

#[test]
fn min_fresh_takes_nothing_that_ends_sooner() {
    let stored = Stored::since(50);
    stored.hits("min-fresh=40");
    stored.renews("min-fresh=60", "request");
    Stored::since(0).renews("min-fresh=200", "request");
    Stored::since(0).renews("min-fresh=x", "request");
}

#[test]
fn max_stale_takes_what_has_been_stale_no_longer() {
    let stored = Stored::since(120);
    for directives in ["max-stale", "max-stale=30", "max-stale=30, max-age=150"] {
        let response = stored.asked(directives);
        response.is(200, "old").says_first("forebay; hit; ttl=-");
        assert!(response.cache_status().ends_with("; detail=max-stale"), "{}", response.cache_status());
        assert!((-24..=-20).contains(&response.ttl().unwrap()) && (120..125).contains(&response.age().unwrap()));
    }
    stored.renews("max-stale=10", "stale");
    Stored::since(120).renews("max-stale=x", "stale");
    Stored::since(120).renews("max-stale=30, max-age=50", "");
    Stored::since(120).renews("max-age=1000", "stale");
}

#[test]
fn max_stale_is_void_where_the_origin_forbids_stale_answers() {
    for directives in ["max-age=100, must-revalidate", "max-age=100, proxy-revalidate", "s-maxage=100"] {
        Stored::with(120, directives).renews("max-stale", "stale");
    }
    let always = Stored::with(0, "max-age=100, no-cache");
    always.asked("max-stale").is(200, "new");
}

#[test]
fn no_cache_asks_anew_though_the_stored_answer_is_fresh() {
    Stored::since(0).renews("no-cache", "request");
    Stored::since(0).renews("No-Cache, max-age=600", "request");
    Stored::since(120).renews("no-cache, max-stale", "");
}

#[test]
fn no_cache_stores_what_it_brings_when_there_was_nothing() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get_with("/", "Cache-Control: no-cache\r\n").is_stored();
    forebay.get("/").is_hit();
}

#[test]
fn pragma_counts_where_there_is_no_cache_control() {
    let stored = Stored::since(0);
    stored.forebay.get_with("/", "Pragma: no-cache\r\nCache-Control: max-age=60\r\n").is(200, "old").is_hit();
    stored.forebay.get_with("/", "Pragma: other\r\n").is(200, "old").is_hit();
    stored.forebay.get_with("/", "Pragma: no-cache\r\n").is(200, "new").says_first("forebay; fwd=request");
}

#[test]
fn no_store_keeps_an_answer_from_being_stored_but_not_from_being_served() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get_with("/", "Cache-Control: no-store\r\n").is_refused("request-no-store");
    forebay.get("/").is(200, "one").is_stored();
    forebay.get_with("/", "Cache-Control: no-store\r\n").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn only_if_cached_never_reaches_the_backend() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    let asked = |fields: &str| forebay.get_with("/", fields);
    asked("Cache-Control: only-if-cached\r\n").is_status(504).says("forebay; detail=only-if-cached");
    asked("").is_stored();
    asked("Cache-Control: only-if-cached\r\n").is(200, "one").is_hit();
    asked("Cache-Control: only-if-cached, no-cache\r\n").is_status(504);
    asked("Cache-Control: only-if-cached\r\nIf-Match: \"a\"\r\n").is_status(504).says("forebay; detail=only-if-cached");
    let body = "GET / HTTP/1.1\r\nHost: shop.test\r\nCache-Control: only-if-cached\r\nContent-Length: 3\r\n\r\nabc";
    forebay.ask(body).is_status(504);
    pass(120);
    asked("Cache-Control: only-if-cached\r\n").is_status(504).says("forebay; detail=only-if-cached");
    asked("Cache-Control: only-if-cached, max-stale\r\n").is(200, "one").says_first("forebay; hit; ttl=-");
    assert_eq!(origin.seen(), 1);
}

#[test]
fn unknown_directives_ask_for_nothing() {
    let stored = Stored::since(50);
    for directives in ["unknown", "unknown=\"no-cache, max-age=0\"", "no-transform", "immutable", ",,", "public"] {
        stored.hits(directives);
    }
}

#[test]
fn a_head_is_answered_from_a_stored_get() {
    let origin = Origin::start(answer(200, &[FRESH, ("X-Kept", "1")], "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/").is_stored();
    let mut client = forebay.client();
    let head = client.send("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response_to("HEAD");
    assert_eq!(head.is_status(200).is_hit().head.fields("content-length"), ["3"]);
    assert_eq!(head.field("x-kept"), Some("1"));
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is(200, "one").is_hit();
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_head_tells_the_length_of_what_came_in_chunks() {
    let origin = Origin::start(chunked(&["ab", "cd"], &[]));
    let forebay = Forebay::start(caching(&origin).cached("ttl = \"60s\""));
    forebay.get("/").is_stored();
    let head = forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!(head.is_hit().head.fields("content-length"), ["4"]);
    assert!(!head.head.has("transfer-encoding"));
}

#[test]
fn a_head_that_finds_nothing_is_forwarded_as_a_head_and_not_stored() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    let head = forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    head.is_status(200).says_first("forebay; fwd=uri-miss");
    assert_eq!((head.field("content-length"), origin.count("HEAD /")), (Some("3"), 1));
    forebay.get("/").is(200, "one").is_stored();
}

#[test]
fn an_http_1_0_client_gets_a_hit_that_it_can_read() {
    let origin = Origin::start(chunked(&["ab", "cd"], &[]));
    let forebay = Forebay::start(caching(&origin).cached("ttl = \"60s\""));
    forebay.get("/").is_stored();
    let response = forebay.ask("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n");
    assert_eq!(response.is(200, "abcd").is_hit().ending, Ending::Closed);
    assert_eq!((response.field("transfer-encoding"), response.field("content-length")), (None, Some("4")));
}

#[test]
fn pipelined_hits_are_answered_in_order() {
    let origin = Origin::start(ok(""));
    let paths: Vec<String> = (0..8).map(|place| format!("/{place}")).collect();
    paths.iter().for_each(|path| origin.at(path, answer(200, &[FRESH], path)));
    let forebay = Forebay::start(caching(&origin));
    for path in &paths {
        forebay.get(path).is_stored();
    }
    let requests: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).collect();
    let mut client = forebay.client();
    client.send(requests);
    for path in &paths {
        client.read_response().is(200, path).is_hit();
    }
}

#[test]
fn the_body_of_a_get_that_could_be_a_hit_is_not_taken_for_the_next_request() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/").is_stored();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    let length = smuggled.len();
    let framed = [
        format!("Content-Length: {length}\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n"),
    ];
    for body in framed {
        for method in ["GET", "HEAD"] {
            let mut client = forebay.client();
            client.send(format!("{method} / HTTP/1.1\r\nHost: shop.test\r\n{body}"));
            let first = client.read_response_to(method);
            first.is_status(200).says("forebay; fwd=bypass; detail=request-body");
            is_answered_right_after(client, &first);
        }
    }
    assert_eq!(origin.count("GET /smuggled"), 0);
}

/// Asserts that the next request on a kept connection gets its own response.
#[track_caller]
fn is_answered_right_after(mut client: Client, first: &Response) {
    if first.ending == Ending::Kept {
        client.try_send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is(200, "one").is_hit();
    }
}

#[test]
fn the_body_of_a_purge_is_not_taken_for_the_next_request() {
    for allowed in ["purge_from = [\"127.0.0.1\"]", ""] {
        let origin = Origin::start(answer(200, &[FRESH], "one"));
        let forebay = Forebay::start(caching(&origin).cache(allowed));
        forebay.get("/").is_stored();
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n";
        let length = smuggled.len();
        let mut client = forebay.client();
        let purge = format!("PURGE /other HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\n{smuggled}");
        let first = client.send(purge).read_response();
        first.is_status(if allowed.is_empty() { 403 } else { 200 });
        is_answered_right_after(client, &first);
        assert_eq!((origin.seen(), origin.count("GET /smuggled")), (1, 0));
    }
}

#[test]
fn the_body_of_a_request_that_is_answered_without_the_backend_is_not_taken_for_the_next() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/").is_stored();
    let mut client = forebay.client();
    client.send("GET /none HTTP/1.1\r\nHost: shop.test\r\nCache-Control: only-if-cached\r\n\r\n");
    let first = client.read_response();
    is_answered_right_after(client, first.is_status(504));
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_request_to_change_protocols_is_not_looked_up() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    let ask = || forebay.get_with("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    ask().is(200, "one").says("forebay; fwd=bypass; detail=upgrade");
    forebay.get("/").is_stored();
    ask().is(200, "one").says("forebay; fwd=bypass; detail=upgrade");
    assert_eq!(origin.seen(), 3);
}

#[test]
fn an_upgrade_that_forebay_does_not_pass_on_is_an_ordinary_request() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get_with("/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n").is_stored();
    forebay.get("/").is_hit();
}

#[test]
fn a_condition_that_is_the_origin_s_to_judge_is_not_looked_up() {
    let stored = Stored::since(0);
    for condition in ["If-Match: \"a\"", "If-Match: *", "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:40 GMT"] {
        let response = stored.forebay.get_with("/", &format!("{condition}\r\n"));
        response.is(200, "new").says("forebay; fwd=bypass; detail=precondition");
        let (name, value) = condition.split_once(": ").unwrap();
        assert_eq!(stored.origin.last().head.fields(name), [value]);
    }
    assert_eq!(stored.origin.seen(), 4);
}

#[test]
fn other_methods_go_to_the_backend_and_say_so() {
    let origin = Origin::start(answer(200, &[FRESH], "one"));
    let forebay = Forebay::start(caching(&origin));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n");
        forebay.ask(request).is(200, "one").says_first("forebay; fwd=method");
        assert_eq!(origin.last().method, method);
    }
}

#[test]
fn an_expectation_does_not_hold_up_a_hit() {
    let stored = Stored::since(0);
    let response = stored.forebay.get_with("/", "Expect: 100-continue\r\n");
    response.is(200, "old").is_hit();
    assert!(response.interim.is_empty());
}

#[test]
fn hits_leave_nothing_behind() {
    let stored = Stored::since(0);
    let mut client = stored.forebay.client();
    for _ in 0..100 {
        client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is(200, "old").is_hit();
    }
    drop(client);
    stored.forebay.is_idle();
    assert_eq!(stored.origin.seen(), 1);
}
