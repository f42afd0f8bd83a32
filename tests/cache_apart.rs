//! Coalesced fetches that can't be shared: the client leaves, the fetch fails or breaks off, the response is private.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{
    Client, Config, Ending, Forebay, Gate, Origin, Script, advance, answer, asking, crowd, eventually, forward,
    leader_and_followers, raw, script,
};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const SIX_BYTES: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\n";

/// A 200 that is fresh for a minute.
fn kept(body: &str) -> Script {
    answer(200, &[MINUTE], body)
}

/// A `private` 200.
fn unkept(body: &str) -> Script {
    answer(200, &[("Cache-Control", "no-store")], body)
}

/// A response that can be stored. The origin sends half of it before the gate opens.
fn half_now(gate: &Gate) -> Script {
    script().send(format!("{SIX_BYTES}abc")).wait(gate).send("def")
}

fn caching(origin: &Origin) -> Config {
    forward([origin]).cached("")
}

#[test]
fn when_the_leader_leaves_before_the_head_all_others_are_answered() {
    for workers in ["workers = 1", "workers = 2"] {
        let gate = Gate::new();
        let origin = Origin::start(script().wait(&gate).then(kept("one")));
        let forebay = Forebay::start(caching(&origin).server(workers));
        let (leader, mut followers) = leader_and_followers(&forebay, &origin, 5);
        leader.reset();
        forebay.eventually("the leader is gone", |gauges| gauges.in_flight == 5);
        gate.open();
        for client in &mut followers {
            client.read_response().is(200, "one");
        }
        assert!(origin.seen() <= 2, "{}", origin.seen());
        forebay.get("/").is(200, "one").is_hit();
    }
}

#[test]
fn when_all_leave_before_the_head_the_fetch_is_given_up() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("one")));
    let forebay = Forebay::start(caching(&origin));
    let (leader, followers) = leader_and_followers(&forebay, &origin, 2);
    followers.into_iter().for_each(Client::reset);
    forebay.eventually("the followers are gone", |gauges| gauges.in_flight == 1);
    leader.reset();
    eventually("the backend is left alone", || origin.abandoned() == 1);
    forebay.is_idle();
    forebay.eventually("no connection is left", |gauges| gauges.backend_connections == 0);
    gate.open();
    forebay.get("/").is(200, "one");
}

#[test]
fn when_the_leader_leaves_amid_the_body_the_others_get_it_whole() {
    let gate = Gate::new();
    let origin = Origin::start(half_now(&gate));
    let forebay = Forebay::start(caching(&origin));
    let mut leader = asking(&forebay, GET);
    leader.read_until("abc");
    let mut follower = asking(&forebay, GET);
    follower.read_until("abc");
    leader.reset();
    forebay.eventually("the leader is gone", |gauges| gauges.connections == 1);
    gate.open();
    follower.read_until("def");
    forebay.get("/").is(200, "abcdef").is_hit();
    assert_eq!((origin.seen(), origin.abandoned()), (1, 0));
}

#[test]
fn what_its_only_client_left_amid_the_body_is_stored_all_the_same() {
    let gate = Gate::new();
    let origin = Origin::start(half_now(&gate));
    let forebay = Forebay::start(caching(&origin));
    let mut client = asking(&forebay, GET);
    client.read_until("abc");
    client.reset();
    forebay.eventually("the client is gone", |gauges| gauges.connections == 0);
    gate.open();
    forebay.get("/").is(200, "abcdef");
    assert_eq!((origin.seen(), origin.abandoned()), (1, 0));
    forebay.is_idle();
}

#[test]
fn what_is_not_for_sharing_releases_all_at_once() {
    let (first, rest) = (Gate::new(), Gate::new());
    let origin = Origin::start(script().wait(&rest).then(unkept("own")));
    origin.once(script().wait(&first).then(unkept("own")));
    let forebay = Forebay::start(caching(&origin));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 4);
    first.open();
    leader.read_response().is(200, "own").is_refused("no-store");
    eventually("all others ask side by side", || origin.held() == 4);
    rest.open();
    for client in &mut followers {
        client.read_response().is(200, "own");
    }
    assert_eq!(origin.seen(), 5);
}

#[test]
fn after_what_is_not_for_sharing_nobody_waits_until_something_is() {
    let gate = Gate::new();
    let origin = Origin::start(unkept("own"));
    let forebay = Forebay::start(caching(&origin));
    forebay.get("/").is_refused("no-store");
    forebay.get("/").is(200, "own").is_refused("hit-for-miss");
    origin.now(script().wait(&gate).then(unkept("own")));
    let mut clients = crowd(&forebay, 3);
    eventually("they ask side by side", || origin.held() == 3);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "own"));
    origin.now(kept("one"));
    forebay.get("/").is(200, "one");
    forebay.get("/").is(200, "one").is_hit();
}

#[test]
fn what_was_not_for_sharing_is_forgotten_in_time() {
    let gate = Gate::new();
    let origin = Origin::start(unkept("own"));
    let forebay = Forebay::start(caching(&origin).cache("hit_for_miss = \"1m\""));
    forebay.get("/").is_refused("no-store");
    advance(Duration::from_secs(61));
    origin.now(script().wait(&gate).then(kept("one")));
    let mut clients = crowd(&forebay, 3);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "one"));
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_leader_that_fails_fails_alone() {
    for failing in [script().reset(), script().close(), raw("HTTP/1.1 2OO Fine\r\n\r\n").close()] {
        let gate = Gate::new();
        let origin = Origin::start(kept("one"));
        origin.once(script().wait(&gate).then(failing));
        let forebay = Forebay::start(caching(&origin));
        let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 5);
        gate.open();
        for client in &mut followers {
            client.read_response().is(200, "one");
        }
        assert!(matches!(leader.read_response().status, 200 | 502));
        assert!(origin.seen() <= 3, "{}", origin.seen());
    }
}

#[test]
fn when_every_leader_fails_all_are_told_and_the_backend_is_not_flooded() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).reset());
    let forebay = Forebay::start(caching(&origin));
    let mut clients = crowd(&forebay, 30);
    gate.open();
    for client in &mut clients {
        assert!(matches!(client.read_response().status, 502..=504));
    }
    assert!(origin.seen() <= 15, "{}", origin.seen());
    drop(clients);
    forebay.is_idle();
}

#[test]
fn an_error_of_the_backend_is_stored_for_nobody() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(answer(500, &[], "broken")));
    let forebay = Forebay::start(caching(&origin));
    let mut clients = crowd(&forebay, 5);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response().status, 500));
    origin.now(kept("one"));
    forebay.get("/").is(200, "one");
}

#[test]
fn no_more_than_may_wait_do() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("one")));
    let forebay = Forebay::start(caching(&origin).cache("coalesce_waiting_max = 2"));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 2);
    forebay.get("/").is_status(503);
    gate.open();
    leader.read_response().is(200, "one");
    followers.iter_mut().for_each(|client| assert_eq!(client.read_response().text(), "one"));
}

#[test]
fn what_breaks_off_ends_visibly_broken_for_all_and_is_not_stored() {
    let chunked = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n";
    for begun in [SIX_BYTES, chunked] {
        let gate = Gate::new();
        let origin = Origin::start(kept("one"));
        origin.once(script().send(format!("{begun}abc")).wait(&gate).close());
        let forebay = Forebay::start(caching(&origin));
        let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 3);
        gate.open();
        for client in followers.iter_mut().chain([&mut leader]) {
            assert_eq!(client.read_response().ending, Ending::CutShort);
        }
        forebay.get("/").is(200, "one").is_stored();
        forebay.eventually("only the last fetch's connection is left", |gauges| gauges.backend_connections <= 1);
    }
}

#[test]
fn what_stalls_amid_the_body_ends_visibly_broken_for_all() {
    let gate = Gate::new();
    let origin = Origin::start(kept("one"));
    origin.once(half_now(&gate));
    let forebay = Forebay::start(caching(&origin).upstream("[upstream.timeouts]\nbody_idle = \"1s\""));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 3);
    for client in followers.iter_mut().chain([&mut leader]) {
        assert_eq!(client.read_response().ending, Ending::CutShort);
    }
    eventually("the backend is left alone", || origin.abandoned() == 1);
    forebay.get("/").is(200, "one");
}

#[test]
fn after_a_storm_of_clients_that_come_and_go_all_is_quiet() {
    let origin = Origin::start(kept("one"));
    let forebay = Forebay::start(caching(&origin).server("workers = 2"));
    std::thread::scope(|scope| {
        for place in 0..8 {
            let (forebay, origin) = (&forebay, &origin);
            scope.spawn(move || {
                for turn in 0..40 {
                    if (place + turn) % 5 == 0 {
                        origin.once(raw(format!("{SIX_BYTES}abc")).close());
                    }
                    let mut client =
                        asking(forebay, &format!("GET /{} HTTP/1.1\r\nHost: shop.test\r\n\r\n", turn % 20));
                    if (place + turn) % 3 == 0 {
                        client.reset();
                    } else {
                        client.read_response();
                    }
                }
            });
        }
    });
    forebay.is_idle();
    assert_eq!(origin.held(), 0);
    eventually("no connection to the backend is in use", || origin.open() == forebay.gauges().backend_connections);
    for turn in 0..20 {
        eventually("it is answered whole", || forebay.get(&format!("/{turn}")).text() == "one");
    }
}
