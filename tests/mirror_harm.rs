//! A broken mirror target does not affect clients, their backends, or the drain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{
    Client, Config, Forebay, Gate, Origin, Script, answer, close, eventually, forward, hang, ok, raw, reset, routes,
    script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\n";
/// The time-out of a copy: so long that a client that waited for one would fail the test.
const QUICK: &str = "timeout = \"200ms\"";
const LONG: &str = "timeout = \"60s\"";
/// Compares, so that the bodies of copies are read.
const COMPARED: &str = "compare = { status = true, headers = [\"content-type\"], json_body = true, other_body = true }";

/// An origin that serves, another that plays this for copies, and forebay before both.
fn mirroring(shadow: Script, keys: &str) -> (Origin, Origin, Forebay) {
    let (main, shadow) = (Origin::start(ok("main")), Origin::start(shadow));
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, keys));
    (main, shadow, forebay)
}

/// Sends this many requests on one connection, and asserts the response of each.
#[track_caller]
fn is_served(forebay: &Forebay, count: usize) {
    let mut client = forebay.client();
    let begun = Instant::now();
    for _ in 0..count {
        client.send(GET).read_response().is(200, "main");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{count} requests took {:?}", begun.elapsed());
}

/// Waits until this many copies were sent and none is in flight.
#[track_caller]
fn settled(forebay: &Forebay, sent: usize) -> Value {
    forebay.mirror_until("all", |mirror| mirror["sent"] == sent && mirror["in_flight"] == 0)
}

/// Asserts that only the connections of clients and their backends are open.
#[track_caller]
fn leaves_nothing(forebay: &Forebay, main: &Origin, shadow: &Origin) {
    eventually("the target's connections are closed", || shadow.open() == 0);
    forebay.eventually("only the backend's connections are left", |gauges| gauges.backend_connections == main.open());
    forebay.is_idle();
}

/// Asserts that clients see no effect of a target with this script, and that no copy is sent twice. Returns the counts.
#[track_caller]
fn is_harmless(target: Script) -> Value {
    let mut last = Value::Null;
    for keys in ["", COMPARED] {
        let (main, shadow, forebay) = mirroring(target.clone(), &format!("{QUICK}\n{keys}"));
        is_served(&forebay, 20);
        last = settled(&forebay, 20);
        assert!(shadow.seen() <= 20, "{} requests", shadow.seen());
        assert_eq!(main.seen(), 20);
        assert_eq!(last["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>(), 0);
        leaves_nothing(&forebay, &main, &shadow);
        is_served(&forebay, 1);
    }
    last
}

/// Asserts the number of copies without a response.
#[track_caller]
fn failed(mirror: &Value, count: usize) {
    assert!(mirror["failed"] == count && mirror["timed_out"] == 0, "{mirror:#}");
}

/// Asserts the number of copies that timed out.
#[track_caller]
fn timed_out(mirror: &Value, count: usize) {
    assert!(mirror["timed_out"] == count && mirror["failed"] == 0, "{mirror:#}");
}

#[test]
fn a_target_that_refuses_connections_is_harmless() {
    let (main, shadow) = (Origin::start(ok("main")), Origin::refusing(ok("")));
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, QUICK));
    is_served(&forebay, 20);
    failed(&settled(&forebay, 20), 20);
    leaves_nothing(&forebay, &main, &shadow);
    shadow.come_back();
    is_served(&forebay, 1);
    shadow.after(1);
}

#[test]
fn a_target_that_resets_is_harmless() {
    failed(&is_harmless(reset()), 20);
}

#[test]
fn a_target_that_closes_is_harmless() {
    failed(&is_harmless(close()), 20);
}

#[test]
fn a_target_that_hangs_is_harmless() {
    timed_out(&is_harmless(hang()), 20);
}

#[test]
fn a_target_that_hangs_before_it_has_read_the_body_is_harmless() {
    let gate = Gate::new();
    let target = script().before_body().wait(&gate).read_body();
    let (main, shadow, forebay) = mirroring(target, &format!("{QUICK}\nmethods = [\"POST\"]"));
    let body = "a".repeat(1024 * 1024);
    for _ in 0..5 {
        forebay.post("/", &body).is(200, "main");
    }
    assert!(main.requests().iter().all(|request| request.body == body.as_bytes()));
    timed_out(&settled(&forebay, 5), 5);
    gate.open();
    eventually("the target's connections are closed", || shadow.open() == 0);
    forebay.eventually("only the backend's connections are left", |gauges| gauges.backend_connections == main.open());
}

#[test]
fn a_target_that_says_half_a_head_is_harmless() {
    timed_out(&is_harmless(raw("HTTP/1.1 200 OK\r\nContent-Le").hang()), 20);
}

#[test]
fn a_target_whose_head_trickles_is_harmless() {
    let head = format!("{HEAD}X-Long: {}\r\n", "a".repeat(1000));
    timed_out(&is_harmless(script().drip(head, Duration::from_millis(10))), 20);
}

#[test]
fn a_target_whose_body_trickles_is_harmless() {
    let slow = script().send(format!("{HEAD}Content-Length: 1000\r\n\r\n"));
    is_harmless(slow.drip("a".repeat(1000), Duration::from_millis(10)));
}

#[test]
fn a_target_whose_body_breaks_off_is_harmless() {
    is_harmless(raw(format!("{HEAD}Content-Length: 9\r\n\r\nabc")).close());
}

#[test]
fn a_target_whose_body_never_ends_is_harmless() {
    let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
    is_harmless(script().send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n")).flood(chunk));
    is_harmless(script().send(format!("{HEAD}\r\n")).flood("a".repeat(0x4000)));
}

#[test]
fn a_target_whose_head_never_ends_is_harmless() {
    is_harmless(script().send(HEAD).flood("X-More: and more\r\n".repeat(500)));
}

#[test]
fn a_target_that_never_stops_saying_to_go_on_is_harmless() {
    is_harmless(script().flood("HTTP/1.1 100 Continue\r\n\r\n".repeat(500)));
}

#[test]
fn a_target_that_talks_garbage_is_harmless() {
    for garbage in [
        b"garbage\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x00\xff\x00\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        is_harmless(raw(garbage).close());
    }
}

#[test]
fn a_target_that_says_more_than_it_was_asked_is_harmless() {
    let twice = format!("{HEAD}Content-Length: 1\r\n\r\na").repeat(2);
    is_harmless(raw(twice).close());
}

#[test]
fn an_answer_of_500_is_an_answer() {
    let (main, shadow, forebay) = mirroring(answer(500, &[], "broken"), "");
    is_served(&forebay, 20);
    let mirror = settled(&forebay, 20);
    assert!(mirror["failed"] == 0 && mirror["timed_out"] == 0, "{mirror:#}");
    assert_eq!((main.seen(), shadow.seen()), (20, 20));
}

#[test]
fn an_answer_that_a_client_s_request_would_be_repeated_for_is_not_asked_for_again() {
    let (_main, shadow, forebay) = mirroring(answer(503, &[("Retry-After", "0")], "busy"), "");
    is_served(&forebay, 20);
    settled(&forebay, 20);
    assert_eq!(shadow.seen(), 20);
}

/// Two sides, `old` and `new`, of which a client names one; what goes to `old` is copied to `new`.
fn sides(old: &Origin, new: &Origin) -> Forebay {
    let upstream = |name, origin: &Origin| {
        let keys =
            "[upstream.ejection]\nconsecutive_failures = 2\nbase_time = \"1m\"\n[upstream.retry]\nattempts = 0\n";
        format!("[[upstream]]\nname = \"{name}\"\nbackends = [\"{}\"]\n{keys}", origin.url())
    };
    let route = "[[route]]\nname = \"all\"\npath = \"/\"\noverride_header = \"x-side\"\nsplit = [ { upstream = \"new\", weight = 50 }, { upstream = \"old\", weight = 50 } ]\n[route.mirror]\nupstream = \"new\"\ntimeout = \"200ms\"\n";
    Forebay::start(routes(&(upstream("old", old) + &upstream("new", new) + route)).admin())
}

#[test]
fn copies_that_fail_cost_a_backend_none_of_its_clients() {
    let (old, new) = (Origin::start(ok("old")), Origin::start(ok("new")));
    let forebay = sides(&old, &new);
    for failing in [answer(500, &[], "broken"), reset(), close(), hang(), raw("garbage\r\n\r\n").close()] {
        new.at("/copied", failing);
        let before = forebay.mirror("all")["sent"].as_u64().unwrap() as usize;
        for _ in 0..5 {
            forebay.get_with("/copied", "X-Side: old\r\n").is(200, "old");
            forebay.get_with("/own", "X-Side: new\r\n").is(200, "new");
        }
        settled(&forebay, before + 5);
        forebay.get_with("/own", "X-Side: new\r\n").is(200, "new");
    }
}

#[test]
fn copies_that_are_refused_cost_a_backend_none_of_its_clients() {
    let (old, new) = (Origin::start(ok("old")), Origin::refusing(ok("new")));
    let forebay = sides(&old, &new);
    for _ in 0..5 {
        forebay.get_with("/", "X-Side: old\r\n").is(200, "old");
    }
    failed(&settled(&forebay, 5), 5);
    new.come_back();
    forebay.get_with("/", "X-Side: new\r\n").is(200, "new");
}

/// A route `/own` to these backends, and another whose requests are copied to them.
fn shared(main: &Origin, backends: &str, keys: &str) -> Config {
    let upstreams = format!(
        "[[upstream]]\nname = \"main\"\nbackends = [\"{}\"]\n[[upstream]]\nname = \"both\"\nbackends = {backends}\nbalance = \"least-connections\"\n",
        main.url()
    );
    let own = "[[route]]\nname = \"own\"\npath = \"/own\"\nupstream = \"both\"\n";
    let copied =
        "[[route]]\nname = \"all\"\npath = \"/copied\"\nupstream = \"main\"\n[route.mirror]\nupstream = \"both\"\n";
    routes(&format!("{upstreams}{own}{copied}{keys}\n")).admin()
}

#[test]
fn copies_do_not_weigh_where_the_least_connections_count() {
    let (main, both) = (Origin::start(ok("main")), Origin::row(2));
    both.iter().for_each(|origin| origin.at("/copied", hang()));
    let backends = format!("[\"{}\", \"{}\"]", both[0].url(), both[1].url());
    let forebay = Forebay::start(shared(&main, &backends, LONG));
    forebay.get("/copied").is(200, "main");
    eventually("the copy hangs", || both[0].held() + both[1].held() == 1);
    forebay.is_idle();
    let answers: Vec<String> = (0..10).map(|_| forebay.get("/own").text()).collect();
    let first = answers.iter().filter(|answer| *answer == "0").count();
    assert_eq!(first, 5, "{answers:?}");
}

#[test]
fn copies_take_no_place_of_a_client_s_at_a_backend() {
    let (main, backend) = (Origin::start(ok("main")), Origin::start(ok("own")));
    backend.at("/copied", hang());
    let backends = format!("[{}]", backend.with("max_in_flight = 1"));
    let forebay = Forebay::start(shared(&main, &backends, LONG));
    for _ in 0..3 {
        forebay.get("/copied").is(200, "main");
    }
    eventually("a copy hangs", || backend.held() > 0);
    forebay.get("/own").is(200, "own");
}

/// Clients on connections of their own, so that all workers have some.
fn clients(forebay: &Forebay, count: usize) -> Vec<Client> {
    (0..count).map(|_| forebay.client()).collect()
}

#[test]
fn no_more_copies_are_under_way_than_may_be_and_the_rest_is_counted() {
    for workers in [1, 2] {
        let (main, shadow) = (Origin::start(ok("main")), Origin::start(hang()));
        let config = forward([&main]).server(&format!("workers = {workers}"));
        let forebay = Forebay::start(config.mirrored(&shadow, &format!("{LONG}\nin_flight_max = 4")));
        for client in &mut clients(&forebay, 20) {
            client.send(GET).read_response().is(200, "main");
        }
        let mirror = forebay.mirror_until("all", |mirror| mirror["dropped"]["busy"] == 16);
        assert!(mirror["in_flight"] == 4 && mirror["timed_out"] == 0, "{mirror:#}");
        eventually("the copies hang", || shadow.held() == 4);
        assert_eq!((shadow.held_most(), shadow.seen()), (4, 4), "{workers}");
    }
}

#[test]
fn copies_that_have_timed_out_make_room_for_others() {
    let (main, shadow, forebay) = mirroring(hang(), "timeout = \"300ms\"\nin_flight_max = 4");
    is_served(&forebay, 10);
    timed_out(&forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0), 4);
    leaves_nothing(&forebay, &main, &shadow);
    shadow.now(ok("fine"));
    is_served(&forebay, 1);
    let mirror = settled(&forebay, 5);
    assert!(mirror["dropped"]["busy"] == 6 && mirror["timed_out"] == 4, "{mirror:#}");
}

#[test]
fn a_drain_does_not_wait_for_copies() {
    let (_main, shadow, forebay) = mirroring(hang(), LONG);
    is_served(&forebay, 5);
    eventually("the copies hang", || shadow.held() == 5);
    let begun = Instant::now();
    forebay.drain();
    forebay.wait();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    eventually("the copies are given up", || shadow.open() == 0);
}

#[test]
fn a_dropped_proxy_gives_its_copies_up_at_once() {
    let (_main, shadow, forebay) = mirroring(hang(), LONG);
    is_served(&forebay, 5);
    eventually("the copies hang", || shadow.held() == 5);
    let begun = Instant::now();
    drop(forebay);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    eventually("the copies are given up", || shadow.open() == 0);
}

#[test]
fn a_client_is_served_while_the_drain_finds_copies_hanging() {
    let (main, shadow, forebay) = mirroring(hang(), LONG);
    is_served(&forebay, 5);
    eventually("the copies hang", || shadow.held() == 5);
    let gate = Gate::new();
    main.now(script().wait(&gate).then(ok("done")));
    let mut client = forebay.client();
    client.send(GET);
    eventually("the backend has the request", || main.held() == 1);
    forebay.drain();
    gate.open();
    client.read_response().is(200, "done");
    forebay.wait();
}

#[test]
fn copies_outlive_a_reload() {
    let gate = Gate::new();
    let (main, shadow, forebay) = mirroring(script().wait(&gate).then(ok("late")), LONG);
    is_served(&forebay, 3);
    eventually("the copies wait", || shadow.held() == 3);
    forebay.reload(forward([&main]).route("set_response_headers = { x-plan = \"new\" }").mirrored(&shadow, LONG));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("new"));
    gate.open();
    eventually("new requests are copied", || shadow.seen() > 3);
    let mirror = forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0);
    failed(&mirror, 0);
    assert_eq!((shadow.abandoned(), shadow.held()), (0, 0));
}

#[test]
fn a_reload_brings_a_mirror() {
    let (main, shadow) = (Origin::start(ok("main")), Origin::start(ok("shadow")));
    let forebay = Forebay::start(forward([&main]).admin());
    is_served(&forebay, 3);
    forebay.mirror_api("GET", "/all").is_status(404);
    forebay.reload(forward([&main]).mirrored(&shadow, ""));
    eventually("requests are copied", || {
        is_served(&forebay, 1);
        shadow.seen() > 0
    });
    assert_eq!(forebay.mirror("all")["upstream"], "shadow");
}

#[test]
fn a_reload_takes_a_mirror_away_with_all_that_is_under_way() {
    let (main, shadow, forebay) = mirroring(hang(), QUICK);
    is_served(&forebay, 3);
    let plain = forward([&main]).route("set_response_headers = { x-plan = \"new\" }").admin();
    forebay.reload(plain);
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("new"));
    eventually("there is no mirror", || forebay.mirror_api("GET", "/all").status == 404);
    leaves_nothing(&forebay, &main, &shadow);
    let before = shadow.seen();
    is_served(&forebay, 10);
    assert_eq!((shadow.seen(), shadow.open()), (before, 0));
}

#[test]
fn a_reload_sends_copies_elsewhere() {
    let (main, shadow, forebay) = mirroring(ok("shadow"), "");
    is_served(&forebay, 3);
    settled(&forebay, 3);
    let other = Origin::start(ok("other"));
    forebay.reload(forward([&main]).mirrored(&other, ""));
    eventually("copies go to the other", || {
        is_served(&forebay, 1);
        other.seen() > 0
    });
    forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0);
    let before = shadow.seen();
    is_served(&forebay, 10);
    eventually("the other gets all", || other.seen() >= 11);
    assert_eq!(shadow.seen(), before);
    eventually("the connections to the old target are closed", || shadow.open() == 0);
}

#[test]
fn a_reload_changes_what_is_copied() {
    let (main, shadow, forebay) = mirroring(ok("shadow"), "");
    is_served(&forebay, 1);
    shadow.after(1);
    forebay.reload(forward([&main]).mirrored(&shadow, "methods = [\"POST\"]"));
    eventually("posts are copied", || {
        forebay.post("/", "body").is(200, "main");
        shadow.count("POST /") > 0
    });
    let before = shadow.count("GET /");
    is_served(&forebay, 5);
    forebay.post("/end", "body").is(200, "main");
    eventually("the last copy has come", || shadow.count("POST /end") == 1);
    assert_eq!(shadow.count("GET /"), before);
}

#[test]
fn no_request_fails_while_mirrors_come_and_go() {
    let (main, shadow) = (Origin::start(ok("main")), Origin::start(hang()));
    let plain = || forward([&main]).server("workers = 2");
    let forebay = Forebay::start(plain().admin());
    let mut kept = forebay.client();
    for turn in 0..20 {
        forebay.reload(if turn % 2 == 0 { plain().mirrored(&shadow, QUICK) } else { plain().admin() });
        forebay.get("/").is(200, "main");
        kept.send(GET).read_response().is(200, "main");
    }
    drop(kept);
    leaves_nothing(&forebay, &main, &shadow);
}
