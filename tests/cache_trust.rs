//! Cache poisoning: what a hostile client or backend can't do to other clients of a caching route.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Client, Config, Forebay, Gate, Origin, Script, advance, answer, eventually, forward, ok, raw, script};

const HOUR: (&str, &str) = ("Cache-Control", "max-age=3600");
const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

fn caching(origin: &Origin) -> Config {
    forward([origin]).upstream("[upstream.retry]\nattempts = 0").cached("")
}

fn asking(forebay: &Forebay, request: &str) -> Client {
    let mut client = forebay.client();
    client.send(request);
    client
}

#[test]
fn who_asks_for_itself_takes_nothing_from_others() {
    let private = answer(200, &[("Cache-Control", "private")], "yours");
    for (directives, answered) in
        [("no-cache, no-store", ok("yours")), ("no-cache", private), ("max-age=0", ok("yours"))]
    {
        let origin = Origin::start(answer(200, &[HOUR], "ours"));
        let forebay = Forebay::start(caching(&origin));
        forebay.get("/").is(200, "ours").is_stored();
        advance(Duration::from_secs(1));
        origin.once(answered);
        forebay.get_with("/", &format!("Cookie: me\r\nCache-Control: {directives}\r\n")).is(200, "yours");
        forebay.get("/").is(200, "ours").is_hit();
    }
}

#[test]
fn tags_are_not_told_to_who_asks_for_the_head() {
    let origin = Origin::start(answer(200, &[HOUR, ("Surrogate-Key", "x")], "a"));
    let forebay = Forebay::start(caching(&origin));
    let request = "HEAD / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    let missed = asking(&forebay, request).read_response_to("HEAD");
    assert_eq!((missed.status, missed.field("surrogate-key")), (200, None));
}

#[test]
fn a_head_that_confirms_what_is_stored_leaves_it_its_tags() {
    let etag = ("ETag", "\"a\"");
    let origin = Origin::start(answer(200, &[HOUR, etag, ("Surrogate-Key", "x")], "a"));
    let forebay = Forebay::start(caching(&origin).cache("purge_from = [\"127.0.0.1\"]"));
    forebay.get("/").is_stored();
    origin.now(answer(200, &[HOUR, etag], "a"));
    let head = "HEAD / HTTP/1.1\r\nHost: shop.test\r\nCache-Control: no-cache\r\n\r\n";
    assert_eq!(asking(&forebay, head).read_response_to("HEAD").status, 200);
    let purge = "PURGE / HTTP/1.1\r\nHost: shop.test\r\nforebay-purge: tag\r\nforebay-purge-tag: x\r\nforebay-purge-wait: true\r\n\r\n";
    asking(&forebay, purge).read_response().is(200, "{\"epoch\":1,\"purged\":1}\n");
}

#[test]
fn who_takes_over_has_all_the_time_that_a_backend_may_take() {
    let gate = Gate::new();
    let slow = script().drip("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none", Duration::from_millis(1));
    let origin = Origin::start(slow);
    let keys = "[upstream.timeouts]\nresponse_head = \"300ms\"\n[upstream.retry]\nattempts = 0";
    let forebay = Forebay::start(forward([&origin]).upstream(keys).cached("").cache("coalesce_wait_max = \"2m\""));
    origin.at("/warm", script().wait(&gate).then(ok("warm")));
    let warm = "GET /warm HTTP/1.1\r\nHost: shop.test\r\nCache-Control: no-store\r\n\r\n";
    let mut clients: Vec<Client> = (0..2).map(|_| asking(&forebay, warm)).collect();
    eventually("two connections are open", || origin.held() == 2);
    gate.open();
    clients.iter_mut().for_each(|client| drop(client.read_response()));
    origin.once(script().wait(&Gate::new()));
    let mut leader = asking(&forebay, GET);
    eventually("the backend is asked", || origin.held() == 1);
    let mut follower = asking(&forebay, GET);
    forebay.eventually("both are inside", |gauges| gauges.in_flight == 2);
    assert_eq!(leader.read_response().status, 504);
    follower.read_response().is(200, "one");
}

#[test]
fn a_length_beyond_all_measure_is_no_more_than_too_large() {
    let huge: Script =
        raw("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 18446744073709551600\r\n\r\nabc");
    let origin = Origin::start(huge);
    let forebay = Forebay::start(caching(&origin));
    let mut client = asking(&forebay, GET);
    assert!(client.read_until("abc").contains("detail=too-large"));
}

#[test]
fn a_body_that_comes_byte_by_byte_is_not_kept_at_many_times_its_length() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = Origin::start(raw(format!("{head}{}0\r\n\r\n", "1\r\nx\r\n".repeat(20_000))));
    let forebay = Forebay::start(caching(&origin).cache("memory_max = \"1MiB\"\nobject_bytes_max = \"64KiB\""));
    forebay.get("/").is(200, &"x".repeat(20_000));
    forebay.get("/").is(200, &"x".repeat(20_000));
    assert_eq!(origin.seen(), 2);
}

#[test]
fn what_was_stored_by_other_rules_is_not_served_after_a_reload() {
    let origin = Origin::start(answer(200, &[HOUR], "to Ann"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get_with("/", "Cookie: user=ann\r\n").is_stored();
    origin.now(answer(200, &[HOUR], "to whoever it is"));
    forebay.reload(caching(&origin).cached("key = { cookies = [\"user\"] }"));
    eventually("the new rules hold", || forebay.get("/").text() == "to whoever it is");
}
