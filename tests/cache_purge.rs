//! `PURGE`: what is removed or stale after it, and its response.
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

/// A cache that accepts `PURGE` from this machine.
fn purging(origin: &Origin) -> Forebay {
    Forebay::start(forward([origin]).cached("").cache("purge_from = [\"127.0.0.1\"]"))
}

/// `GET` for another host.
fn elsewhere(forebay: &Forebay, target: &str) -> Response {
    forebay.ask(format!("GET {target} HTTP/1.1\r\nHost: other.test\r\n\r\n"))
}

fn purge(forebay: &Forebay, target: &str, fields: &str) -> Response {
    forebay.ask(format!("PURGE {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"))
}

/// Asserts the number of purged responses.
#[track_caller]
fn purged(response: &Response, count: usize) {
    assert_eq!((response.status, response.text().trim()), (200, &*format!("{{\"purged\":{count}}}")));
}

/// A purge that waits for the sweep.
const WAIT: &str = "forebay-purge-wait: true\r\n";

/// Asserts the number of responses that a purge with bans has invalidated, after the sweep.
#[track_caller]
fn swept(response: &Response, count: usize) {
    let text = response.text();
    assert_eq!(
        (response.status, text.trim().split_once(',').map(|(_, rest)| rest)),
        (200, Some(&*format!("\"purged\":{count}}}"))),
        "{text}"
    );
    assert!(text.starts_with("{\"epoch\":"), "{text}");
}

/// The epoch that a purge was answered with, and nothing else.
#[track_caller]
fn epoch(response: &Response) -> u64 {
    let text = response.text();
    let epoch = text.trim().strip_prefix("{\"epoch\":").and_then(|rest| rest.strip_suffix('}'));
    assert_eq!(response.status, 200, "{text}");
    epoch.and_then(|epoch| epoch.parse().ok()).unwrap_or_else(|| panic!("no epoch: {text}"))
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
    swept(&purge(&forebay, "/a/", &format!("forebay-purge: prefix\r\n{WAIT}")), 3);
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
    swept(&purge(&forebay, "/", &format!("forebay-purge: tag\r\nforebay-purge-tag: y\r\n{WAIT}")), 2);
    assert_eq!(held(), [false, false, true, true]);
    swept(&purge(&forebay, "/", &format!("forebay-purge: tag\r\nforebay-purge-tag: x, w\r\n{WAIT}")), 2);
    assert_eq!(held(), [false, true, false, true]);
    swept(&purge(&forebay, "/", &format!("forebay-purge: tag\r\nforebay-purge-tag: unknown\r\n{WAIT}")), 0);
    assert_eq!(held(), [true; 4]);
}

#[test]
fn an_entry_with_two_of_the_tags_is_purged_once() {
    let origin = Origin::start(answer(200, &[HOUR, ("Surrogate-Key", "x y")], "a"));
    let forebay = purging(&origin);
    store(&forebay, &["/a"]);
    swept(&purge(&forebay, "/", &format!("forebay-purge: tag\r\nforebay-purge-tag: x, y, x\r\n{WAIT}")), 1);
}

#[test]
fn a_tag_that_an_entry_has_no_more_purges_it_no_more() {
    let origin = Origin::start(answer(200, &[HOUR, ("Surrogate-Key", "x")], "a"));
    let forebay = purging(&origin);
    store(&forebay, &["/a"]);
    purged(&purge(&forebay, "/a", ""), 1);
    origin.now(answer(200, &[HOUR, ("Surrogate-Key", "y")], "a"));
    store(&forebay, &["/a"]);
    swept(&purge(&forebay, "/", &format!("forebay-purge: tag\r\nforebay-purge-tag: x\r\n{WAIT}")), 0);
    assert!(holds(&forebay, "/a"));
}

#[test]
fn everything_is_purged_at_once() {
    let origin = Origin::start(kept("one"));
    let forebay = purging(&origin);
    store(&forebay, &["/a", "/b"]);
    elsewhere(&forebay, "/a").is_status(200);
    swept(&purge(&forebay, "/", &format!("forebay-purge: all\r\n{WAIT}")), 3);
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
fn a_purge_of_more_than_a_url_answers_its_epoch_and_holds_before_anything_is_swept() {
    let origin = Origin::start(answer(200, &[HOUR, ("Surrogate-Key", "x")], "one"));
    let config = forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]").server("workers = 4");
    let forebay = Forebay::start(config);
    let kinds =
        ["forebay-purge: prefix\r\n", "forebay-purge: tag\r\nforebay-purge-tag: x\r\n", "forebay-purge: all\r\n"];
    let mut last = 0;
    for (round, kind) in kinds.iter().cycle().take(12).enumerate() {
        let body = format!("body {round}");
        origin.now(answer(200, &[HOUR, ("Surrogate-Key", "x")], &body));
        let next = epoch(&purge(&forebay, "/", kind));
        assert!(next > last, "{next} after {last}");
        last = next;
        // Each request comes on a separate connection, so that all workers get some.
        for _ in 0..8 {
            forebay.get("/a").is(200, &body);
        }
    }
    assert_eq!(origin.count("GET /a"), 12);
}

#[test]
fn a_soft_purge_of_a_prefix_makes_stale_what_was_there_and_nothing_that_comes_later() {
    let origin = Origin::start(validated("\"a\"", "one", &[HOUR]));
    let config = forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]").server("workers = 2");
    let forebay = Forebay::start(config);
    store(&forebay, &["/a", "/b"]);
    epoch(&purge(&forebay, "/a", "forebay-purge: prefix\r\nforebay-purge-mode: soft\r\n"));
    forebay.get("/a").is(200, "one").says("forebay; fwd=stale; fwd-status=304");
    assert!(holds(&forebay, "/a") && holds(&forebay, "/b"));
    swept(&purge(&forebay, "/none", &format!("forebay-purge: prefix\r\n{WAIT}")), 0);
    assert!(holds(&forebay, "/a") && holds(&forebay, "/b"));
}

#[test]
fn a_hard_purge_stays_hard_when_a_soft_one_follows() {
    for (first, second) in [("hard", "soft"), ("soft", "hard")] {
        let origin = Origin::start(validated("\"a\"", "one", &[HOUR]));
        let forebay = purging(&origin);
        store(&forebay, &["/a"]);
        for mode in [first, second] {
            epoch(&purge(&forebay, "/", &format!("forebay-purge: all\r\nforebay-purge-mode: {mode}\r\n")));
        }
        forebay.get("/a").is(200, "one").says_first("forebay; fwd=uri-miss");
    }
}

#[test]
fn two_purges_at_once_are_both_counted_and_a_client_that_leaves_spoils_neither() {
    let origin = Origin::start(kept("one"));
    let config = forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]").server("workers = 2");
    let forebay = Forebay::start(config);
    store(&forebay, &["/a/1", "/a/2", "/b/1", "/c/1"]);
    let order = |path: &str| format!("PURGE {path} HTTP/1.1\r\nHost: shop.test\r\nforebay-purge: prefix\r\n{WAIT}\r\n");
    let mut clients: Vec<Client> = ["/a/", "/b/", "/c/"]
        .iter()
        .map(|path| {
            let mut client = forebay.client();
            client.send(order(path));
            client
        })
        .collect();
    drop(clients.pop());
    for (client, count) in clients.iter_mut().zip([2, 1]) {
        swept(&client.read_response(), count);
    }
    eventually("what the third has purged is gone", || !holds(&forebay, "/c/1"));
}

#[test]
fn a_purge_holds_across_a_reload() {
    let origin = Origin::start(kept("one"));
    let config = || forward([&origin]).cached("").cache("purge_from = [\"127.0.0.1\"]").server("workers = 2");
    let forebay = Forebay::start(config());
    store(&forebay, &["/a", "/b"]);
    let first = epoch(&purge(&forebay, "/a", "forebay-purge: prefix\r\n"));
    forebay.reload(config());
    assert!(!holds(&forebay, "/a") && holds(&forebay, "/b"));
    assert!(epoch(&purge(&forebay, "/b", "forebay-purge: prefix\r\n")) > first);
    assert!(!holds(&forebay, "/b"));
    // Another number of shards is another store; purges work there, too.
    forebay.reload(config().cache("object_bytes_max = \"64MiB\""));
    store(&forebay, &["/a"]);
    swept(&purge(&forebay, "/", &format!("forebay-purge: all\r\n{WAIT}")), 1);
}

#[test]
fn an_unknown_kind_of_purge_purges_nothing() {
    let origin = Origin::start(kept("one"));
    let forebay = purging(&origin);
    store(&forebay, &["/a"]);
    let unknown = ["forebay-purge: everything", "forebay-purge: tag", "forebay-purge-mode: gentle"];
    let no_wait = "forebay-purge: all\r\nforebay-purge-wait: perhaps";
    for fields in unknown.iter().chain(&[no_wait]).map(|fields| format!("{fields}\r\n")) {
        purge(&forebay, "/a", &fields).is_status(400);
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
    let fields = format!("forebay-purge: tag\r\nforebay-purge-tag: x\r\nforebay-purge-mode: soft\r\n{WAIT}");
    swept(&purge(&forebay, "/", &fields), 1);
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
