//! What is forgotten after a write, and what by order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Client, Forebay, Gate, Origin, Response, Script, answer, echo, eventually, forward, script, validated};

const HOUR: (&str, &str) = ("Cache-Control", "max-age=3600");

/// A 200 that is fresh for an hour.
fn kept(body: &str) -> Script {
    answer(200, &[HOUR], body)
}

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

/// A cache that takes `PURGE` from this machine.
fn purging(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached("").cache("purge_from = [\"127.0.0.1\"]"))
}

/// Sends a request without a body, with these field lines besides `Host`.
fn send(forebay: &Forebay, method: &str, target: &str, fields: &str) -> Response {
    forebay.ask(format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"))
}

/// `GET` for another host.
fn elsewhere(forebay: &Forebay, target: &str) -> Response {
    forebay.ask(format!("GET {target} HTTP/1.1\r\nHost: other.test\r\n\r\n"))
}

fn purge(forebay: &Forebay, target: &str, fields: &str) -> Response {
    send(forebay, "PURGE", target, fields)
}

/// Says whether so many were purged.
#[track_caller]
fn purged(response: &Response, count: usize) {
    assert_eq!((response.status, response.text().trim()), (200, &*format!("{{\"purged\":{count}}}")));
}

/// Fetches these, so that they are stored.
fn store(forebay: &Forebay, targets: &[&str]) {
    for target in targets {
        forebay.get(target).is_status(200);
        forebay.get(target).is_hit();
    }
}

/// Whether it is served from the cache.
fn holds(forebay: &Forebay, target: &str) -> bool {
    forebay.get(target).cache_status().starts_with("forebay; hit")
}

/// A client that has sent a GET and waits.
fn asking(forebay: &Forebay, target: &str) -> Client {
    let mut client = forebay.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
    client
}

#[test]
fn a_write_forgets_what_it_writes_to() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROB"] {
        let origin = Origin::start(kept("one"));
        let forebay = caching(&origin);
        store(&forebay, &["/a", "/b", "/a?x=1"]);
        send(&forebay, method, "/a", "Content-Length: 0\r\n").is_status(200).says("forebay; fwd=method");
        assert!(!holds(&forebay, "/a"), "{method}");
        assert!(holds(&forebay, "/b") && holds(&forebay, "/a?x=1"), "{method}");
        assert!(holds(&forebay, "/a"), "{method}");
    }
}

#[test]
fn a_write_with_another_good_end_forgets_too() {
    for status in [201, 204, 202, 303, 307] {
        let origin = Origin::start(kept("one"));
        let forebay = caching(&origin);
        store(&forebay, &["/a"]);
        origin.once(answer(status, &[], ""));
        forebay.post("/a", "new").is_status(status);
        assert!(!holds(&forebay, "/a"), "{status}");
    }
}

#[test]
fn a_write_that_failed_forgets_nothing() {
    for status in [400, 404, 409, 500, 503] {
        let origin = Origin::start(kept("one"));
        let forebay = caching(&origin);
        store(&forebay, &["/a", "/b"]);
        origin.once(answer(status, &[("Location", "/b")], "no"));
        forebay.post("/a", "new").is(status, "no");
        assert!(holds(&forebay, "/a") && holds(&forebay, "/b"), "{status}");
    }
}

#[test]
fn a_write_that_nobody_took_forgets_nothing() {
    let origin = Origin::start(kept("one"));
    let forebay = caching(&origin);
    store(&forebay, &["/a"]);
    origin.go_down();
    assert!(forebay.post("/a", "new").status >= 500);
    forebay.get("/a").is(200, "one").is_hit();
}

#[test]
fn reading_forgets_nothing() {
    for method in ["HEAD", "OPTIONS", "PROPFIND", "REPORT", "SEARCH"] {
        let origin = Origin::start(kept("one"));
        let forebay = caching(&origin);
        store(&forebay, &["/a"]);
        send(&forebay, method, "/a", "").is_status(200);
        assert!(holds(&forebay, "/a"), "{method}");
    }
}

#[test]
fn a_write_forgets_what_its_answer_names() {
    let origin = Origin::start(kept("one"));
    let forebay = caching(&origin);
    store(&forebay, &["/a", "/dir/b", "/c?x=1", "/d"]);
    origin.once(answer(201, &[("Location", "dir/./b#top"), ("Content-Location", "http://SHOP.test:80/c?x=1")], ""));
    forebay.post("/a", "new").is_status(201);
    let held: Vec<bool> = ["/a", "/dir/b", "/c?x=1", "/d"].iter().map(|target| holds(&forebay, target)).collect();
    assert_eq!(held, [false, false, false, true]);
}

#[test]
fn a_write_forgets_nothing_of_another_origin() {
    let origin = Origin::start(kept("one"));
    let forebay = caching(&origin);
    for target in ["/a", "/b"] {
        elsewhere(&forebay, target).is_status(200);
    }
    for named in ["http://other.test/b", "//other.test/b", "https://shop.test/c", "http://shop.test:81/c"] {
        store(&forebay, &["/c"]);
        origin.once(answer(201, &[("Location", named), ("Content-Location", named)], ""));
        forebay.post("/a", "new").is_status(201);
        assert!(holds(&forebay, "/c"), "{named}");
    }
    elsewhere(&forebay, "/a").is_hit();
    elsewhere(&forebay, "/b").is_hit();
}

#[test]
fn a_write_forgets_all_variants() {
    let origin = Origin::start(answer(200, &[HOUR, ("Vary", "Accept-Language")], "one"));
    let forebay = caching(&origin);
    let get = |language: &str| forebay.get_with("/", &format!("Accept-Language: {language}\r\n"));
    for language in ["en", "de", "fr"] {
        get(language).is(200, "one");
        get(language).is_hit();
    }
    forebay.post("/", "new").is_status(200);
    for language in ["en", "de", "fr"] {
        assert!(!get(language).cache_status().starts_with("forebay; hit"), "{language}");
    }
}

#[test]
fn a_fetch_that_began_before_a_write_is_not_stored() {
    let gate = Gate::new();
    let origin = Origin::start(kept("new"));
    origin.once(script().wait(&gate).then(kept("old")));
    let forebay = caching(&origin);
    let mut early = asking(&forebay, "/a");
    eventually("it is asked for", || origin.held() == 1);
    forebay.post("/a", "new").is_status(200);
    gate.open();
    early.read_response().is(200, "old");
    forebay.get("/a").is(200, "new");
    forebay.get("/a").is(200, "new").is_hit();
}

#[test]
fn who_asks_after_a_write_does_not_join_a_fetch_from_before() {
    let gate = Gate::new();
    let origin = Origin::start(kept("new"));
    origin.once(script().wait(&gate).then(kept("old")));
    let forebay = caching(&origin);
    let mut early = asking(&forebay, "/a");
    eventually("it is asked for", || origin.held() == 1);
    forebay.post("/a", "new").is_status(200);
    forebay.get("/a").is(200, "new");
    gate.open();
    early.read_response().is(200, "old");
    forebay.get("/a").is(200, "new").is_hit();
}

#[test]
fn a_fetch_whose_body_came_across_a_write_is_not_stored() {
    let gate = Gate::new();
    let origin = Origin::start(kept("new"));
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 6\r\n\r\n";
    origin.once(script().send(format!("{head}old")).wait(&gate).send("est"));
    let forebay = caching(&origin);
    let mut early = asking(&forebay, "/a");
    early.read_until("old");
    forebay.post("/a", "new").is_status(200);
    forebay.get("/a").is(200, "new");
    gate.open();
    early.read_until("est");
    forebay.get("/a").is(200, "new").is_hit();
}

#[test]
fn what_is_purged_is_gone() {
    let origin = Origin::start(kept("one"));
    let forebay = purging(&origin);
    store(&forebay, &["/a", "/b"]);
    let response = purge(&forebay, "/a", "");
    purged(&response, 1);
    assert!(response.field("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    assert!(!holds(&forebay, "/a"));
    assert!(holds(&forebay, "/b"));
    assert_eq!(origin.count("PURGE /a"), 0);
}

#[test]
fn what_is_not_there_is_purged_no_times() {
    let origin = Origin::start(kept("one"));
    let forebay = purging(&origin);
    purged(&purge(&forebay, "/a", ""), 0);
    store(&forebay, &["/a"]);
    purged(&purge(&forebay, "/a", ""), 1);
    purged(&purge(&forebay, "/a", ""), 0);
}

#[test]
fn all_variants_of_a_url_are_purged_and_none_of_another() {
    let origin = Origin::start(answer(200, &[HOUR, ("Vary", "Accept-Language")], "one"));
    let forebay = purging(&origin);
    for target in ["/a", "/a?x=1", "/a/b"] {
        for language in ["en", "de"] {
            forebay.get_with(target, &format!("Accept-Language: {language}\r\n")).is(200, "one");
        }
    }
    purged(&purge(&forebay, "/a", "forebay-purge: url\r\n"), 2);
    purged(&purge(&forebay, "/a?x=1", ""), 2);
    forebay.get_with("/a/b", "Accept-Language: en\r\n").is_hit();
}

#[test]
fn only_whom_the_configuration_names_may_purge() {
    let origin = Origin::start(kept("one"));
    let forebay = Forebay::start(forward([&origin]).cached("").cache("purge_from = [\"127.0.0.8/31\"]"));
    store(&forebay, &["/a"]);
    purge(&forebay, "/a", "").is_status(403);
    purge(&forebay, "/a", "forebay-purge: all\r\n").is_status(403);
    assert!(holds(&forebay, "/a"));
    let mut client = Client::from([127, 0, 0, 9], forebay.address());
    purged(&client.send("PURGE /a HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response(), 1);
    assert!(!holds(&forebay, "/a"));
}

#[test]
fn nobody_may_purge_unless_the_configuration_says_so() {
    let origin = Origin::start(kept("one"));
    let forebay = caching(&origin);
    store(&forebay, &["/a"]);
    purge(&forebay, "/a", "").is_status(403);
    assert!(holds(&forebay, "/a"));
    assert_eq!(origin.count("PURGE /a"), 0);
}

#[test]
fn who_purges_is_not_who_the_headers_say() {
    let origin = Origin::start(kept("one"));
    let trusting = "trusted_proxies = [\"127.0.0.1\"]";
    let config = forward([&origin]).cached("").cache("purge_from = [\"10.0.0.1\"]").server(trusting);
    let forebay = Forebay::start(config);
    store(&forebay, &["/a"]);
    for fields in ["X-Forwarded-For: 10.0.0.1\r\n", "Forwarded: for=10.0.0.1\r\n", "X-Real-IP: 10.0.0.1\r\n"] {
        purge(&forebay, "/a", fields).is_status(403);
    }
    assert!(holds(&forebay, "/a"));
}

#[test]
fn a_prefix_is_purged_on_one_host() {
    let origin = Origin::start(kept("one"));
    let forebay = purging(&origin);
    store(&forebay, &["/a/1", "/a/2/3", "/a/4?x=1", "/b"]);
    elsewhere(&forebay, "/a/1").is_status(200);
    purged(&purge(&forebay, "/a/", "forebay-purge: prefix\r\n"), 3);
    let held: Vec<bool> = ["/a/1", "/a/2/3", "/a/4?x=1", "/b"].iter().map(|target| holds(&forebay, target)).collect();
    assert_eq!(held, [false, false, false, true]);
    elsewhere(&forebay, "/a/1").is_hit();
}

#[test]
fn a_tag_is_purged_wherever_it_stands() {
    let origin = Origin::start(kept("plain"));
    origin.at("/a", answer(200, &[HOUR, ("Surrogate-Key", "x y")], "a"));
    origin.at("/b", answer(200, &[HOUR, ("Cache-Tag", "y, z")], "b"));
    origin.at("/c", answer(200, &[HOUR, ("xkey", "z"), ("xkey", "w")], "c"));
    let forebay = purging(&origin);
    let targets = ["/a", "/b", "/c", "/d"];
    let held = || targets.map(|target| holds(&forebay, target));
    store(&forebay, &targets);
    purged(&purge(&forebay, "/", "forebay-purge: tag\r\nforebay-purge-tag: y\r\n"), 2);
    assert_eq!(held(), [false, false, true, true]);
    purged(&purge(&forebay, "/", "forebay-purge: tag\r\nforebay-purge-tag: x, w\r\n"), 2);
    assert_eq!(held(), [false, true, false, true]);
    purged(&purge(&forebay, "/", "forebay-purge: tag\r\nforebay-purge-tag: unknown\r\n"), 0);
    assert_eq!(held(), [true; 4]);
}

#[test]
fn an_entry_with_two_of_the_tags_is_purged_once() {
    let origin = Origin::start(answer(200, &[HOUR, ("Surrogate-Key", "x y")], "a"));
    let forebay = purging(&origin);
    store(&forebay, &["/a"]);
    purged(&purge(&forebay, "/", "forebay-purge: tag\r\nforebay-purge-tag: x, y, x\r\n"), 1);
}

#[test]
fn a_tag_that_an_entry_has_no_more_purges_it_no_more() {
    let origin = Origin::start(answer(200, &[HOUR, ("Surrogate-Key", "x")], "a"));
    let forebay = purging(&origin);
    store(&forebay, &["/a"]);
    purged(&purge(&forebay, "/a", ""), 1);
    origin.now(answer(200, &[HOUR, ("Surrogate-Key", "y")], "a"));
    store(&forebay, &["/a"]);
    purged(&purge(&forebay, "/", "forebay-purge: tag\r\nforebay-purge-tag: x\r\n"), 0);
    assert!(holds(&forebay, "/a"));
}

#[test]
fn everything_is_purged_at_once() {
    let origin = Origin::start(kept("one"));
    let forebay = purging(&origin);
    store(&forebay, &["/a", "/b"]);
    elsewhere(&forebay, "/a").is_status(200);
    purged(&purge(&forebay, "/", "forebay-purge: all\r\n"), 3);
    assert!(!holds(&forebay, "/a") && !holds(&forebay, "/b"));
}

#[test]
fn what_is_purged_on_one_worker_is_gone_on_all() {
    let origin = Origin::start(kept("one"));
    let config = forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]").server("workers = 2");
    let forebay = Forebay::start(config);
    for body in ["one", "two", "three"] {
        origin.now(kept(body));
        for _ in 0..10 {
            forebay.get("/a").is(200, body);
        }
        purged(&purge(&forebay, "/a", ""), 1);
    }
    assert_eq!(origin.seen(), 3);
}

#[test]
fn an_unknown_kind_of_purge_purges_nothing() {
    let origin = Origin::start(kept("one"));
    let forebay = purging(&origin);
    store(&forebay, &["/a"]);
    for fields in ["forebay-purge: everything\r\n", "forebay-purge: tag\r\n", "forebay-purge-mode: gentle\r\n"] {
        purge(&forebay, "/a", fields).is_status(400);
    }
    assert!(holds(&forebay, "/a"));
}

#[test]
fn what_is_purged_softly_is_asked_about() {
    let origin = Origin::start(validated("\"a\"", "one", &[HOUR]));
    let forebay = purging(&origin);
    store(&forebay, &["/a"]);
    purged(&purge(&forebay, "/a", "forebay-purge-mode: soft\r\n"), 1);
    forebay.get("/a").is(200, "one").says("forebay; fwd=stale; fwd-status=304");
    assert_eq!(origin.last().head.field("if-none-match"), Some("\"a\""));
    forebay.get("/a").is(200, "one").is_hit();
}

#[test]
fn what_is_purged_softly_may_stand_in_for_an_error() {
    let origin = Origin::start(answer(200, &[HOUR, ("Surrogate-Key", "x")], "one"));
    let config = forward([&origin]).cached("stale_if_error = \"1h\"").cache("purge_from = [\"127.0.0.1\"]");
    let forebay = Forebay::start(config);
    store(&forebay, &["/a"]);
    let fields = "forebay-purge: tag\r\nforebay-purge-tag: x\r\nforebay-purge-mode: soft\r\n";
    purged(&purge(&forebay, "/", fields), 1);
    origin.now(answer(503, &[], "busy"));
    forebay.get("/a").is(200, "one");
    purged(&purge(&forebay, "/a", ""), 1);
    forebay.get("/a").is(503, "busy");
}

#[test]
fn a_fetch_that_began_before_a_purge_is_not_stored() {
    for fields in ["", "forebay-purge: all\r\n", "forebay-purge: prefix\r\n"] {
        let gate = Gate::new();
        let origin = Origin::start(kept("new"));
        origin.once(script().wait(&gate).then(kept("old")));
        let forebay = purging(&origin);
        let mut early = asking(&forebay, "/a");
        eventually("it is asked for", || origin.held() == 1);
        purge(&forebay, "/a", fields).is_status(200);
        gate.open();
        early.read_response().is(200, "old");
        forebay.get("/a").is(200, "new");
    }
}

#[test]
fn a_tag_of_what_is_still_coming_is_purged_too() {
    let gate = Gate::new();
    let origin = Origin::start(kept("new"));
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nSurrogate-Key: x\r\nContent-Length: 6\r\n\r\n";
    origin.once(script().send(format!("{head}old")).wait(&gate).send("est"));
    let forebay = purging(&origin);
    let mut early = asking(&forebay, "/a");
    early.read_until("old");
    purge(&forebay, "/", "forebay-purge: tag\r\nforebay-purge-tag: x\r\n").is_status(200);
    gate.open();
    early.read_until("est");
    forebay.get("/a").is(200, "new");
}

#[test]
fn the_body_of_a_purge_is_no_request() {
    let origin = Origin::start(echo());
    let forebay = purging(&origin);
    let smuggled = "GET /evil HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    let mut client = forebay.client();
    let length = smuggled.len();
    client.send(format!("PURGE /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\n{smuggled}"));
    let _answered = client.read_response();
    client.try_send("GET /b HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").read_until_closed();
    assert_eq!(origin.count("GET /evil"), 0);
}
