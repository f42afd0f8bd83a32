//! Invalidation by writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Client, Forebay, Gate, Origin, Response, Script, answer, eventually, forward, script};

const HOUR: (&str, &str) = ("Cache-Control", "max-age=3600");

/// A 200 that is fresh for an hour.
fn kept(body: &str) -> Script {
    answer(200, &[HOUR], body)
}

fn caching(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached(""))
}

/// Sends a request without a body, with these field lines besides `Host`.
fn send(forebay: &Forebay, method: &str, target: &str, fields: &str) -> Response {
    forebay.ask(format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"))
}

/// `GET` for another host.
fn elsewhere(forebay: &Forebay, target: &str) -> Response {
    forebay.ask(format!("GET {target} HTTP/1.1\r\nHost: other.test\r\n\r\n"))
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
