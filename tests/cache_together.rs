//! Coalesced fetches: one request to the backend, whose body streams to all waiting clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{
    Client, Config, Forebay, Gate, Origin, Script, advance, answer, asking, crowd, eventually, forward,
    leader_and_followers, ok, raw, script, validated,
};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const SIX_BYTES: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\n";

/// A 200 that is fresh for a minute.
fn kept(body: &str) -> Script {
    answer(200, &[MINUTE], body)
}

/// A response that can be stored. The origin sends half of it before the gate opens.
fn half_now(gate: &Gate) -> Script {
    script().send(format!("{SIX_BYTES}abc")).wait(gate).send("def")
}

fn caching(origin: &Origin) -> Config {
    forward([origin]).cached("")
}

#[test]
fn fifty_who_miss_at_once_make_one_request() {
    for workers in ["workers = 1", "workers = 2"] {
        let gate = Gate::new();
        let origin = Origin::start(script().wait(&gate).then(kept("one")));
        let forebay = Forebay::start(caching(&origin).server(workers));
        let mut clients = crowd(&forebay, 50);
        forebay.eventually("all but one wait for it", |gauges| gauges.following == 49);
        gate.open();
        let mut collapsed = 0;
        for client in &mut clients {
            let response = client.read_response();
            response.is(200, "one").says_first("forebay; fwd=uri-miss");
            collapsed += usize::from(response.cache_status().contains("; collapsed"));
        }
        assert_eq!((origin.seen(), collapsed), (1, 49), "{workers}");
        forebay.get("/").is(200, "one").is_hit();
        drop(clients);
        forebay.is_idle();
    }
}

#[test]
fn twenty_who_find_it_stale_ask_once() {
    let gate = Gate::new();
    let origin = Origin::start(validated("\"a\"", "one", &[MINUTE]));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/").is(200, "one");
    advance(Duration::from_secs(61));
    origin.now(script().wait(&gate).then(validated("\"a\"", "one", &[MINUTE])));
    let mut clients = crowd(&forebay, 20);
    forebay.eventually("all but one wait for it", |gauges| gauges.following == 19);
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "one").says_first("forebay; fwd=stale");
    }
    assert_eq!(origin.seen(), 2);
}

#[test]
fn twenty_who_find_it_stale_all_get_the_new_one() {
    let gate = Gate::new();
    let origin = Origin::start(validated("\"a\"", "one", &[MINUTE]));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/").is(200, "one");
    advance(Duration::from_secs(61));
    origin.now(script().wait(&gate).then(kept("two")));
    let mut clients = crowd(&forebay, 20);
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "two");
    }
    assert_eq!(origin.seen(), 2);
}

#[test]
fn who_asks_for_something_else_waits_for_nobody() {
    let gate = Gate::new();
    let origin = Origin::start(kept("other"));
    origin.at("/", script().wait(&gate).then(kept("one")));
    let forebay = Forebay::start(caching(&origin));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 3);
    forebay.get("/other").is(200, "other");
    gate.open();
    leader.read_response().is(200, "one");
    followers.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "one"));
}

#[test]
fn the_first_byte_reaches_all_before_the_last_is_sent() {
    let gate = Gate::new();
    let origin = Origin::start(half_now(&gate));
    let forebay = Forebay::start(caching(&origin));
    let mut clients = crowd(&forebay, 4);
    for client in &mut clients {
        client.read_until("\r\n\r\nabc");
    }
    let mut late = asking(&forebay, GET);
    late.read_until("\r\n\r\nabc");
    gate.open();
    for client in clients.iter_mut().chain([&mut late]) {
        assert_eq!(client.read_until("def"), "def");
    }
    assert_eq!(origin.seen(), 1);
    forebay.get("/").is(200, "abcdef").is_hit();
}

#[test]
fn chunks_are_shared_as_they_come() {
    let gate = Gate::new();
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = Origin::start(raw(format!("{head}3\r\nabc\r\n")).wait(&gate).send("3\r\ndef\r\n0\r\n\r\n"));
    let forebay = Forebay::start(caching(&origin));
    let mut leader = asking(&forebay, GET);
    leader.read_until("abc");
    let mut follower = asking(&forebay, GET);
    follower.read_until("abc");
    let mut old = asking(&forebay, "GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n");
    let begun = old.read_until("abc");
    assert!(!begun.to_lowercase().contains("transfer-encoding"), "{begun}");
    gate.open();
    leader.read_until("def\r\n0\r\n\r\n");
    follower.read_until("def\r\n0\r\n\r\n");
    assert_eq!(old.read_until_closed(), b"def");
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_slow_reader_slows_nobody() {
    let gate = Gate::new();
    let body = "0123456789abcdef".repeat(256 * 1024);
    let origin = Origin::start(script().wait(&gate).then(kept(&body)));
    let forebay = Forebay::start(caching(&origin));
    let (mut slow, mut quick) = leader_and_followers(&forebay, &origin, 1);
    gate.open();
    for client in &mut quick {
        assert!(client.read_response().body == body.as_bytes(), "the quick one's body differs");
    }
    assert!(slow.read_response().body == body.as_bytes(), "the slow one's body differs");
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_reader_that_never_reads_keeps_nothing_from_being_stored() {
    let gate = Gate::new();
    let body = "0123456789abcdef".repeat(256 * 1024);
    let origin = Origin::start(script().wait(&gate).then(kept(&body)));
    let forebay = Forebay::start(caching(&origin));
    let (stuck, mut quick) = leader_and_followers(&forebay, &origin, 1);
    gate.open();
    assert!(quick[0].read_response().body == body.as_bytes(), "the quick one's body differs");
    eventually("it is stored", || forebay.get("/").cache_status().starts_with("forebay; hit"));
    stuck.reset();
    drop(quick);
    forebay.is_idle();
}

#[test]
fn what_outgrows_the_store_reaches_all_and_is_not_stored() {
    let gate = Gate::new();
    let piece = "x".repeat(100_000);
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begun = format!("{head}{:x}\r\n{piece}\r\n", piece.len());
    let origin = Origin::start(script().wait(&gate).send(begun).send("3\r\nend\r\n0\r\n\r\n"));
    let forebay = Forebay::start(caching(&origin).cache("object_bytes_max = \"64KiB\""));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 3);
    gate.open();
    for client in followers.iter_mut().chain([&mut leader]) {
        client.read_response().is(200, &format!("{piece}end"));
    }
    origin.now(ok("new"));
    forebay.get("/").is(200, "new");
}

#[test]
fn who_does_not_match_vary_gets_its_own() {
    let gate = Gate::new();
    let vary = ("Vary", "Accept-Language");
    let origin = Origin::start(answer(200, &[MINUTE, vary], "Hallo"));
    origin.once(script().wait(&gate).then(answer(200, &[MINUTE, vary], "Hello")));
    let forebay = Forebay::start(caching(&origin));
    let in_language = |language: &str| {
        asking(&forebay, &format!("GET / HTTP/1.1\r\nHost: shop.test\r\nAccept-Language: {language}\r\n\r\n"))
    };
    let mut english = vec![in_language("en")];
    eventually("the backend is asked", || origin.held() == 1);
    let mut german: Vec<Client> = (0..3).map(|_| in_language("de")).collect();
    english.extend((0..3).map(|_| in_language("en")));
    forebay.eventually("all are inside", |gauges| gauges.in_flight == 7);
    gate.open();
    english.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "Hello"));
    german.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "Hallo"));
    assert!((2..=4).contains(&origin.seen()), "{}", origin.seen());
    forebay.get_with("/", "Accept-Language: en\r\n").is(200, "Hello").is_hit();
    forebay.get_with("/", "Accept-Language: de\r\n").is(200, "Hallo").is_hit();
}

#[test]
fn who_wants_the_body_never_follows_who_wants_the_head() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("one")));
    let forebay = Forebay::start(caching(&origin));
    let mut head = asking(&forebay, "HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    eventually("the head is asked for", || origin.held() == 1);
    let mut body = asking(&forebay, GET);
    forebay.eventually("both are inside", |gauges| gauges.in_flight == 2);
    gate.open();
    let response = head.read_response_to("HEAD");
    assert_eq!((response.status, response.field("content-length")), (200, Some("3")));
    body.read_response().is(200, "one");
    assert_eq!(origin.requests()[0].method, "HEAD");
}

#[test]
fn who_wants_the_head_of_what_is_coming_gets_no_body() {
    let gate = Gate::new();
    let origin = Origin::start(half_now(&gate));
    let forebay = Forebay::start(caching(&origin));
    let mut body = asking(&forebay, GET);
    body.read_until("abc");
    let mut head = asking(&forebay, "HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    eventually("it is inside or answered", || origin.seen() == 2 || forebay.gauges().in_flight <= 2);
    gate.open();
    body.read_until("def");
    assert_eq!(head.read_response_to("HEAD").status, 200);
    head.send(GET).read_response().is(200, "abcdef");
}

#[test]
fn writes_are_never_joined() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("done")));
    let forebay = Forebay::start(caching(&origin));
    let post = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\n\r\nx";
    let mut clients: Vec<Client> = (0..3).map(|_| asking(&forebay, post)).collect();
    eventually("all are at the backend", || origin.held() == 3);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "done"));
}

#[test]
fn a_reload_disturbs_no_fetch_and_keeps_what_is_stored() {
    let gate = Gate::new();
    let origin = Origin::start(half_now(&gate));
    let planned = |plan: &str| caching(&origin).route(&format!("set_response_headers = {{ x-plan = \"{plan}\" }}"));
    let forebay = Forebay::start(planned("old"));
    let mut leader = asking(&forebay, GET);
    leader.read_until("abc");
    let mut follower = asking(&forebay, GET);
    follower.read_until("abc");
    forebay.reload(planned("new"));
    gate.open();
    leader.read_until("def");
    follower.read_until("def");
    forebay.get("/").is(200, "abcdef").is_hit();
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("new"));
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_drain_lets_all_finish_who_read_along() {
    let gate = Gate::new();
    let origin = Origin::start(half_now(&gate));
    let forebay = Forebay::start(caching(&origin).server("workers = 2"));
    let mut clients = crowd(&forebay, 4);
    for client in &mut clients {
        client.read_until("abc");
    }
    forebay.drain();
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_until_closed(), b"def");
    }
    forebay.wait();
}

#[test]
fn a_drain_lets_all_finish_who_wait() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("one")));
    let forebay = Forebay::start(caching(&origin));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 3);
    forebay.drain();
    gate.open();
    for client in followers.iter_mut().chain([&mut leader]) {
        client.read_response().is(200, "one");
    }
    forebay.wait();
}
