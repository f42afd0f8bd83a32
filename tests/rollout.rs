//! Resources of splits, canaries and mirrors over failures, reloads and orders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Origin, Sides, answer, eventually, forward, hang, ok};

/// One failure ejects a backend for 100 ms; there are no active checks.
const STRICT: &str = "retry = { attempts = 0 }\n\
                      ejection = { consecutive_failures = 1, base_time = \"100ms\", percent_max = 100 }";

#[test]
fn a_side_whose_backends_were_all_ejected_gets_its_trial_and_comes_back() {
    let (one, other) = (Origin::start(answer(500, &[], "broken")), Origin::start(answer(500, &[], "broken")));
    let old = Origin::start(ok("old"));
    let config = Config::default().side("new", [&one, &other], 99.0).side("old", [&old], 1.0);
    let forebay = Forebay::start(config.upstream(STRICT));
    eventually("the old side stands in", || forebay.get("/").text() == "old");
    [&one, &other].iter().for_each(|origin| origin.now(ok("new")));
    eventually("the new side is back", || forebay.tally(20).get("new") >= Some(&15));
}

/// A canary at 50 %, with a mirror that compares.
fn compared(sides: &Sides, keys: &str) -> Config {
    let mirror = format!("[route.mirror]\nupstream = \"new\"\ncompare = {{ status = true }}\n{keys}");
    sides.split(10.0).canary("new", "").more(&mirror)
}

/// Sends requests until a canary has so many pairs; says how many it has.
#[track_caller]
fn pairs(forebay: &Forebay, min: u64) -> u64 {
    forebay.feed_until("pairs were compared", |canary| canary["compared"].as_u64() >= Some(min));
    forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0);
    forebay.api().canary("all")["compared"].as_u64().unwrap()
}

#[test]
fn a_canary_keeps_what_was_compared_when_the_findings_are_forgotten() {
    let sides = Sides::start();
    let forebay = Forebay::start(compared(&sides, ""));
    let before = pairs(&forebay, 10);
    forebay.reset_mirror("all");
    assert_eq!(forebay.api().canary("all")["compared"], before);
    assert!(pairs(&forebay, before + 1) > before);
}

#[test]
fn a_canary_keeps_what_was_compared_when_a_reload_changes_the_mirror() {
    let sides = Sides::start();
    let forebay = Forebay::start(compared(&sides, ""));
    let before = pairs(&forebay, 10);
    forebay.reload(compared(&sides, "in_flight_max = 63"));
    forebay.mirror_until("all", |mirror| mirror["sent"] == 0);
    assert_eq!(forebay.api().canary("all")["compared"], before);
    assert!(pairs(&forebay, before + 1) > before);
}

/// A mirror whose target keeps a connection that nothing is sent on.
fn idle(keys: &str) -> (Origin, Origin, Forebay) {
    let (main, shadow) = (Origin::start(ok("main")), Origin::start(ok("shadow")));
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, "").more(keys));
    forebay.get("/").is(200, "main");
    forebay.mirror_until("all", |mirror| mirror["sent"] == 1 && mirror["in_flight"] == 0);
    (main, shadow, forebay)
}

#[test]
fn a_mirror_that_is_gone_leaves_no_connection() {
    let (main, shadow, forebay) = idle("");
    assert_eq!(shadow.open(), 1);
    forebay.reload(forward([&main]).admin());
    eventually("its connection is closed", || shadow.open() == 0);
}

#[test]
fn a_mirror_s_connections_are_idle_no_longer_than_its_upstream_says() {
    let (_main, shadow, _forebay) = idle("[upstream.timeouts]\npool_idle = \"100ms\"");
    eventually("its connection is closed", || shadow.open() == 0);
}

#[test]
fn an_answer_that_brings_a_cookie_is_not_for_caches_that_others_share() {
    let sides = Sides::start();
    let public = answer(200, &[("Cache-Control", "public, max-age=60")], "shared");
    [&sides.new, &sides.old].iter().for_each(|side| side.now(public.clone()));
    let forebay = Forebay::start(sides.split(50.0).route("sticky = \"cookie\"").cached(""));
    for _ in 0..10 {
        let first = forebay.get("/");
        assert_eq!(first.head.fields("cache-control"), ["public, max-age=60", "private"]);
        let cookie = first.head.fields("set-cookie")[0].split(';').next().unwrap().to_owned();
        let again = forebay.get_with("/", &format!("Cookie: {cookie}\r\n"));
        assert_eq!(again.head.fields("cache-control"), ["public, max-age=60"]);
    }
}

#[test]
fn clients_that_leave_take_no_seat_of_a_mirror_with_them() {
    let (main, shadow) = (Origin::start(hang()), Origin::start(ok("shadow")));
    let keys = "in_flight_max = 2\nmethods = [\"GET\", \"POST\"]\ncompare = { status = true }";
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, keys));
    for turn in 1..=6 {
        let client = testbed::asking(&forebay, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        eventually("the backend has it", || main.seen() == turn);
        client.reset();
        forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0);
    }
    for _ in 0..6 {
        let mut client = forebay.client();
        client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 9\r\n\r\nabc");
        forebay.eventually("it has begun", |gauges| gauges.in_flight > 0);
        client.reset();
        forebay.is_idle();
    }
    main.now(ok("main"));
    forebay.get("/").is(200, "main");
    let mirror = forebay.mirror_until("all", |mirror| mirror["sent"] == 1 && mirror["in_flight"] == 0);
    assert_eq!(mirror["dropped"]["busy"], 0, "{mirror:#}");
}

#[test]
fn no_request_fails_while_splits_sides_and_mirrors_come_and_go() {
    let sides = Sides::start();
    let split = || sides.split(50.0).server("workers = 2").route("sticky = \"cookie\"\nside_header = \"x-side\"");
    let plans = [
        split(),
        split().more("[route.mirror]\nupstream = \"new\"\ncompare = { other_body = true, noise_from = \"old\" }"),
        split().cached("ttl = \"1s\"\nshare_sides = true"),
        sides.split(20.0).server("workers = 2").canary("new", ""),
        split().more("[route.mirror]\nupstream = \"old\""),
    ];
    let forebay = Forebay::start(split());
    let mut kept = forebay.client();
    for turn in 0..30 {
        forebay.reload(plans[turn % plans.len()].clone());
        forebay.get("/").is_status(200);
        kept.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is_status(200);
    }
    drop(kept);
    forebay.is_idle();
}
