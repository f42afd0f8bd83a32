//! Load balancing over the wire: shares, stickiness and limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::{HashMap, HashSet};

use testbed::{Client, Config, Forebay, Gate, Origin, eventually, forward, ok, script};

/// The backend that answered each of `count` requests, sent one after the other on one connection.
#[track_caller]
fn answered(forebay: &Forebay, count: usize) -> Vec<String> {
    let mut client = forebay.client();
    let mut ask = || client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response();
    (0..count).map(|_| ask().is_status(200).text()).collect()
}

/// How many of `count` requests each backend answered.
#[track_caller]
fn shares(forebay: &Forebay, count: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    answered(forebay, count).into_iter().for_each(|who| *shares.entry(who).or_default() += 1);
    shares
}

/// Forwards to these origins, each with the weight at its place.
fn weighing(origins: &[Origin], weights: &[u32], balance: &str) -> Config {
    let config = forward([]).upstream(&format!("balance = \"{balance}\""));
    origins
        .iter()
        .zip(weights)
        .fold(config, |config, (origin, weight)| config.backend(origin.with(&format!("weight = {weight}"))))
}

/// Asserts that each key always reaches the same backend, and that not all keys reach the same one.
#[track_caller]
fn is_sticky(keys: &str, ask: impl Fn(&Forebay, usize) -> String) {
    let origins = Origin::row(4);
    let forebay = Forebay::start(forward(&origins).upstream(keys));
    let first: Vec<_> = (0..24).map(|key| ask(&forebay, key)).collect();
    assert!(first.iter().collect::<HashSet<_>>().len() > 1, "{first:?}");
    for _ in 0..3 {
        let again: Vec<_> = (0..24).map(|key| ask(&forebay, key)).collect();
        assert_eq!(first, again);
    }
}

/// Asserts that while a backend holds one request, the next ones go to the other backend.
#[track_caller]
fn avoids_the_busy_one(balance: &str) {
    let gate = Gate::new();
    let origins = Origin::row(2);
    origins.iter().for_each(|origin| origin.at("/held", script().wait(&gate).then(ok("held"))));
    let forebay = Forebay::start(forward(&origins).upstream(&format!("balance = \"{balance}\"")));
    let mut client = forebay.client();
    client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("one backend is busy", || origins.iter().any(|origin| origin.held() == 1));
    let free = if origins[0].held() == 0 { "0" } else { "1" };
    assert_eq!(shares(&forebay, 12), HashMap::from([(free.to_owned(), 12)]));
    gate.open();
    client.read_response().is(200, "held");
}

#[test]
fn round_robin_shares_equally_and_in_turn() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(forward(&origins));
    let who = answered(&forebay, 31);
    for three in who.windows(3) {
        assert_eq!(three.iter().collect::<HashSet<_>>().len(), 3, "{who:?}");
    }
}

#[test]
fn round_robin_over_two_workers_stays_equal() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(forward(&origins).server("workers = 2"));
    (0..60).for_each(|_| drop(forebay.get("/")));
    // Each worker has its own counter: each may be off by one.
    assert!(origins.iter().all(|origin| (18..=22).contains(&origin.seen())));
}

#[test]
fn weights_of_3_2_1_are_exact_over_any_six() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(weighing(&origins, &[3, 2, 1], "weighted"));
    let who = answered(&forebay, 36);
    for six in who.windows(6) {
        let count = |name| six.iter().filter(|who| *who == name).count();
        assert_eq!((count("0"), count("1"), count("2")), (3, 2, 1), "{who:?}");
    }
}

#[test]
fn a_heavy_backend_gets_no_burst() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(weighing(&origins, &[5, 1, 1], "weighted"));
    let who = answered(&forebay, 28);
    assert!(who.windows(5).all(|five| five.iter().any(|name| name != "0")), "{who:?}");
}

#[test]
fn random_reaches_everyone_in_proportion() {
    let origins = Origin::row(2);
    let forebay = Forebay::start(weighing(&origins, &[3, 1], "random"));
    let shares = shares(&forebay, 400);
    // 300 expected, with a standard deviation of 8.7: six of them are not exceeded by chance.
    assert!((245..=355).contains(&shares["0"]), "{shares:?}");
}

#[test]
fn least_connections_avoids_the_busy_one() {
    avoids_the_busy_one("least-connections");
}

#[test]
fn two_choices_avoid_the_busy_one() {
    avoids_the_busy_one("two-choices");
}

#[test]
fn least_connections_shares_equally_while_all_are_idle() {
    let origins = Origin::row(3);
    let forebay = Forebay::start(forward(&origins).upstream("balance = \"least-connections\""));
    assert!(shares(&forebay, 30).values().all(|share| (9..=11).contains(share)));
}

#[test]
fn peak_ewma_prefers_the_quick_one() {
    let origins = Origin::row(2);
    let slow = script().drip("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0", std::time::Duration::from_millis(1));
    origins[0].now(slow);
    let forebay = Forebay::start(forward(&origins).upstream("balance = \"peak-ewma\""));
    let shares = shares(&forebay, 60);
    assert!(shares["1"] > 45, "{shares:?}");
}

#[test]
fn ip_hash_keeps_a_client_at_its_backend() {
    is_sticky("balance = \"ip-hash\"", |forebay, key| {
        let mut client = Client::from([127, 0, 1, u8::try_from(key).unwrap() + 1], forebay.address());
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response().text()
    });
}

#[test]
fn a_hash_of_the_client_s_address_keeps_it_at_its_backend() {
    is_sticky("balance = \"hash\"\nhash_key = \"client-ip\"", |forebay, key| {
        let mut client = Client::from([127, 0, 2, u8::try_from(key).unwrap() + 1], forebay.address());
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response().text()
    });
}

#[test]
fn a_hash_of_a_header_is_sticky() {
    is_sticky("balance = \"hash\"\nhash_key = \"header:x-user\"", |forebay, key| {
        forebay.get_with("/", &format!("X-User: user-{key}\r\n")).text()
    });
}

#[test]
fn a_hash_of_a_cookie_is_sticky() {
    is_sticky("balance = \"hash\"\nhash_key = \"cookie:session\"", |forebay, key| {
        forebay.get_with("/", &format!("Cookie: a=b; session=s{key}; c=d\r\n")).text()
    });
}

#[test]
fn a_hash_of_a_query_parameter_is_sticky() {
    is_sticky("balance = \"hash\"\nhash_key = \"query:id\"", |forebay, key| {
        forebay.get(&format!("/?x=1&id=k{key}")).text()
    });
}

#[test]
fn a_hash_of_the_path_is_sticky() {
    is_sticky("balance = \"hash\"\nhash_key = \"path\"", |forebay, key| {
        forebay.get(&format!("/thing/{key}?x={key}")).text()
    });
}

#[test]
fn a_backend_that_goes_moves_only_its_own_clients_and_gets_them_back() {
    let origins = Origin::row(3);
    let keys = "balance = \"hash\"\nhash_key = \"header:x-user\"\n[upstream.health]\nkind = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1";
    let forebay = Forebay::start(forward(&origins).upstream(keys));
    let ask =
        || -> Vec<_> { (0..24).map(|key| forebay.get_with("/", &format!("X-User: u{key}\r\n")).text()).collect() };
    let first = ask();
    origins[1].go_down();
    eventually("the clients of the others stay", || {
        let now = ask();
        first.iter().zip(&now).all(|(before, after)| if before == "1" { after != "1" } else { before == after })
    });
    origins[1].come_back();
    eventually("everyone is back", || ask() == first);
}

#[test]
fn a_hot_key_spreads_over_twenty_backends_and_comes_back_to_its_own() {
    let gate = Gate::new();
    let origins = Origin::row(20);
    origins.iter().for_each(|origin| origin.at("/held", script().wait(&gate).then(ok("held"))));
    let keys = "balance = \"hash\"\nhash_key = \"header:x-user\"";
    let forebay = Forebay::start(forward(&origins).upstream(keys).server("workers = 2"));
    let home = forebay.get_with("/", "X-User: hot\r\n").text();
    let mut clients = Vec::new();
    // A fair share is 1/20: with up to 16 in flight, 1.25 times that is one for each backend.
    for count in 1..=16 {
        let mut client = forebay.client();
        client.send("GET /held HTTP/1.1\r\nHost: h\r\nX-User: hot\r\n\r\n");
        clients.push(client);
        eventually("it is held", || origins.iter().map(Origin::held).sum::<usize>() == count);
    }
    assert!(origins.iter().all(|origin| origin.held() <= 1));
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "held");
    }
    forebay.eventually("nothing is in flight", |gauges| gauges.in_flight == 0);
    assert!((0..8).all(|_| forebay.get_with("/", "X-User: hot\r\n").text() == home));
}

#[test]
fn no_more_requests_than_allowed_are_in_flight_over_all_workers() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let config =
        forward([]).backend(origin.with("max_in_flight = 2")).upstream("queue = { length = 100, wait_max = \"5s\" }");
    let forebay = Forebay::start(config.server("workers = 2"));
    let mut clients: Vec<_> = (0..8).map(|_| forebay.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    forebay.eventually("six wait", |gauges| gauges.queued == 6);
    eventually("two are with the backend", || origin.held() == 2);
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "done");
    }
    assert_eq!((origin.held_most(), origin.seen()), (2, 8));
}

#[test]
fn a_full_backend_leaves_its_requests_to_the_other() {
    let gate = Gate::new();
    let (full, free) = (Origin::start(script().wait(&gate).then(ok("full"))), Origin::start(ok("free")));
    let forebay = Forebay::start(forward([&free]).backend(full.with("max_in_flight = 1")));
    let mut held = Vec::new();
    while full.held() == 0 {
        let before = free.seen();
        held.push(forebay.client());
        held.last_mut().unwrap().send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("one of them has it", || full.held() == 1 || free.seen() > before);
    }
    assert!(answered(&forebay, 8).iter().all(|who| who == "free"));
    assert_eq!(full.held_most(), 1);
    gate.open();
}
