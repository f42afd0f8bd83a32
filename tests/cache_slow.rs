//! Coalesced fetches of a slow backend: more than one fetch, but few, and no client fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{
    Client, Config, Forebay, Gate, Origin, Script, answer, crowd, date, eventually, forward, leader_and_followers,
    script,
};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");

/// A 200 that is fresh for a minute.
fn kept(body: &str) -> Script {
    answer(200, &[MINUTE], body)
}

/// A cache whose requests wait for so long before they fetch too.
fn caching(origin: &Origin, wait_max: &str) -> Config {
    let purge = "purge_from = [\"127.0.0.1\"]";
    forward([origin]).cached("").cache(&format!("coalesce_wait_max = \"{wait_max}\"\n{purge}"))
}

#[track_caller]
fn all_get(clients: &mut [Client], body: &str) {
    for client in clients {
        client.read_response().is(200, body);
    }
}

#[test]
fn a_thousand_who_wait_for_a_slow_backend_make_four_fetches_and_all_are_answered() {
    for workers in ["workers = 1", "workers = 4"] {
        let gate = Gate::new();
        let origin = Origin::start(script().wait(&gate).then(kept("one")));
        let forebay = Forebay::start(caching(&origin, "100ms").server(workers));
        let mut clients = crowd(&forebay, 1_000);
        eventually("four of them fetch", || origin.held() == 4);
        forebay.eventually("all others wait", |gauges| gauges.following == 996);
        gate.open();
        all_get(&mut clients, "one");
        assert_eq!((origin.seen(), origin.held_most()), (4, 4), "{workers}");
        forebay.get("/").is(200, "one").is_hit();
        drop(clients);
        forebay.is_idle();
    }
}

#[test]
fn the_head_that_comes_first_is_for_all_who_wait() {
    let gate = Gate::new();
    let origin = Origin::start(kept("quick"));
    origin.once(script().wait(&gate).then(kept("slow")));
    let forebay = Forebay::start(caching(&origin, "100ms"));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 5);
    all_get(&mut followers, "quick");
    assert_eq!((origin.seen(), origin.held()), (2, 1));
    gate.open();
    leader.read_response().is(200, "slow").is_stored();
    forebay.get("/").is(200, "slow").is_hit();
}

#[test]
fn what_comes_late_and_is_older_is_not_stored_over_what_is_newer() {
    let dated = |body: &str, seconds: i64| answer(200, &[MINUTE, ("Date", &date(seconds))], body);
    let gate = Gate::new();
    let origin = Origin::start(dated("new", 0));
    origin.once(script().wait(&gate).then(dated("old", -5)));
    let forebay = Forebay::start(caching(&origin, "100ms"));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 2);
    all_get(&mut followers, "new");
    gate.open();
    leader.read_response().is(200, "old");
    forebay.get("/").is(200, "new").is_hit();
}

#[test]
fn when_the_second_who_fetches_leaves_another_takes_its_place() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("one")));
    let forebay = Forebay::start(caching(&origin, "300ms"));
    let leader = crowd(&forebay, 1);
    eventually("the backend is asked", || origin.held() == 1);
    // One after the other, so that they wait in this order.
    let mut clients: Vec<Client> = (0..9).flat_map(|_| crowd(&forebay, 1)).chain(leader).collect();
    for gone in 1..=5 {
        eventually("two of them fetch", || origin.held() >= 2);
        clients.remove(0).reset();
        eventually("a fetch is given up", || origin.abandoned() >= gone);
    }
    gate.open();
    all_get(&mut clients, "one");
    assert!(origin.held_most() <= 4, "{}", origin.held_most());
    drop(clients);
    forebay.is_idle();
}

#[test]
fn a_fetch_that_fails_beside_another_is_for_its_own_client() {
    for (failing, status) in [(script().reset(), 502), (answer(500, &[], "broken"), 500)] {
        let gate = Gate::new();
        let origin = Origin::start(failing);
        origin.once(script().wait(&gate).then(kept("one")));
        let forebay = Forebay::start(caching(&origin, "500ms").upstream("[upstream.retry]\nattempts = 0"));
        let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 60);
        eventually("two more have tried", || origin.seen() >= 3);
        gate.open();
        leader.read_response().is(200, "one");
        let statuses: Vec<u16> = followers.iter_mut().map(|client| client.read_response().status).collect();
        let failed = statuses.iter().filter(|given| **given == status).count();
        assert_eq!(failed, origin.seen() - 1);
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 60 - failed);
    }
}

#[test]
fn after_an_invalidation_nobody_joins_the_fetches_from_before() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("old")));
    let forebay = Forebay::start(caching(&origin, "100ms"));
    let mut before = crowd(&forebay, 6);
    eventually("two of them fetch", || origin.held() >= 2);
    forebay.ask("PURGE / HTTP/1.1\r\nHost: shop.test\r\n\r\n").is_status(200);
    origin.now(kept("new"));
    forebay.get("/").is(200, "new").is_stored();
    gate.open();
    for client in &mut before {
        let response = client.read_response();
        assert!(response.status == 200 && ["old", "new"].contains(&response.text().as_str()), "{}", response.text());
    }
    forebay.get("/").is(200, "new").is_hit();
}

#[test]
fn what_was_purged_while_a_request_waited_is_not_confirmed() {
    let stale = |body: &str| answer(200, &[("Cache-Control", "max-age=0"), ("Last-Modified", &date(-60))], body);
    let gate = Gate::new();
    let origin = Origin::start(stale("old"));
    let forebay = Forebay::start(caching(&origin, "1h"));
    forebay.get("/").is(200, "old").is_stored();
    origin.once(script().wait(&gate).then(answer(500, &[], "broken")));
    origin.now(stale("new"));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 1);
    assert!(origin.last().head.has("if-modified-since"));
    forebay.ask("PURGE / HTTP/1.1\r\nHost: shop.test\r\n\r\n").is(200, "{\"purged\":1}\n");
    gate.open();
    leader.read_response().is_status(500);
    all_get(&mut followers, "new");
    assert!(!origin.last().head.has("if-modified-since"), "{}", origin.last().head.text());
}

#[test]
fn a_request_waits_no_longer_than_its_own_time_limit() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(kept("one")));
    let limit = "[upstream.timeouts]\nrequest = \"500ms\"";
    let forebay = Forebay::start(caching(&origin, "1h").upstream(limit));
    let (mut leader, mut followers) = leader_and_followers(&forebay, &origin, 3);
    for client in &mut followers {
        client.read_response().is_status(504);
    }
    gate.open();
    leader.read_response().is(200, "one");
    assert_eq!(origin.seen(), 1);
    drop((leader, followers));
    forebay.is_idle();
}
