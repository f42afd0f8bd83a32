//! Which backends are used: active checks, ejection, backups, and the queue.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{
    Client, Config, Ending, Forebay, Gate, Origin, Script, answer, close, eventually, forward, hang, ok, raw, reset,
    script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Sends four requests: each of two backends answers two of them, or one backend answers all.
fn four(forebay: &Forebay) -> String {
    (0..4).map(|_| forebay.get("/").text()).collect()
}

/// Waits until this backend alone is used.
#[track_caller]
fn only(forebay: &Forebay, name: &str) {
    eventually(&format!("only {name} is used"), || four(forebay) == name.repeat(4));
}

/// Waits until both backends are used.
#[track_caller]
fn both(forebay: &Forebay) {
    eventually("both are used", || ["0101", "1010"].contains(&four(forebay).as_str()));
}

/// Two origins that pass checks of `/healthz`, and forebay, which checks them as these keys say.
fn checked(keys: &str) -> (Vec<Origin>, Forebay) {
    let origins = Origin::row(2);
    let health = format!("[upstream.health]\ninterval = \"50ms\"\ntimeout = \"500ms\"\n{keys}");
    let forebay = Forebay::start(forward(&origins).upstream(&health));
    (origins, forebay)
}

/// The first origin does this to checks of `/healthz` and is not used until it passes them again.
#[track_caller]
fn a_check_fails_on(keys: &str, failing: Script, passing: Script) {
    let (origins, forebay) = checked(&format!("path = \"/healthz\"\n{keys}"));
    origins.iter().for_each(|origin| origin.at("/healthz", passing.clone()));
    both(&forebay);
    origins[0].at("/healthz", failing);
    only(&forebay, "1");
    origins[0].at("/healthz", passing);
    both(&forebay);
}

/// Forwards to both, ejecting for a minute after three failures, with no retries that would hide them.
fn ejecting(origins: &[Origin], keys: &str) -> Config {
    let ejection =
        "[upstream.ejection]\nconsecutive_failures = 3\nbase_time = \"1m\"\n[upstream.retry]\nattempts = 0\n";
    forward(origins).upstream(&format!("{ejection}{keys}"))
}

/// The first of two origins, playing this script, is ejected after three failures.
#[track_caller]
fn is_ejected_for(script: Script, keys: &str) {
    let origins = Origin::row(2);
    origins[0].now(script);
    let forebay = Forebay::start(ejecting(&origins, keys));
    let failures = (0..20).map(|_| forebay.get("/")).filter(|got| got.status != 200 || got.ending == Ending::CutShort);
    assert_eq!(failures.count(), 3);
    assert_eq!((origins[0].seen(), origins[1].seen()), (3, 17));
}

/// A client that has sent a request.
fn waiting(forebay: &Forebay) -> Client {
    let mut client = forebay.client();
    client.send(GET);
    client
}

#[test]
fn a_backend_that_fails_its_checks_is_not_used_until_it_passes() {
    a_check_fails_on("", answer(500, &[], ""), ok("fine"));
}

#[test]
fn a_check_that_is_not_answered_in_time_has_failed() {
    a_check_fails_on("fall = 1", hang(), ok("fine"));
}

#[test]
fn a_check_that_is_cut_short_has_failed() {
    a_check_fails_on("fall = 1", close(), ok("fine"));
}

#[test]
fn only_the_statuses_asked_for_pass() {
    a_check_fails_on("status = [\"204\", \"300-302\"]", ok("fine"), answer(301, &[], ""));
}

#[test]
fn a_body_without_the_text_asked_for_fails() {
    a_check_fails_on("body = \"ready\"", ok("starting"), ok("all ready now"));
}

#[test]
fn checks_ask_what_they_are_told_to() {
    let (origins, _forebay) = checked("method = \"HEAD\"\npath = \"/up?x=1\"\nhost = \"check.test\"");
    eventually("a check came", || origins[0].count("HEAD /up?x=1") > 0);
    assert_eq!(origins[0].last().head.fields("host"), ["check.test"]);
}

#[test]
fn fewer_failed_checks_than_fall_change_nothing() {
    let (origins, forebay) = checked("path = \"/healthz\"\nfall = 3");
    let checks = || origins[0].count("GET /healthz");
    eventually("the first checks passed", || checks() >= 2);
    origins[0].once(answer(500, &[], ""));
    origins[0].once(answer(500, &[], ""));
    let before = checks();
    eventually("two checks failed", || checks() >= before + 3);
    let who = four(&forebay);
    assert!(["0101", "1010"].contains(&who.as_str()), "{who}");
}

#[test]
fn a_tcp_check_needs_no_more_than_a_connection() {
    let (origins, forebay) = checked("kind = \"tcp\"\nfall = 1\nrise = 1");
    both(&forebay);
    origins[0].go_down();
    only(&forebay, "1");
    origins[0].come_back();
    both(&forebay);
}

#[test]
fn a_backend_that_goes_down_costs_no_client_an_answer() {
    let (origins, forebay) = checked("kind = \"tcp\"");
    both(&forebay);
    origins[0].go_down();
    for _ in 0..40 {
        forebay.get("/").is(200, "1");
    }
}

#[test]
fn answers_of_500_eject() {
    is_ejected_for(answer(500, &[], "broken"), "");
}

#[test]
fn bodies_cut_short_eject() {
    is_ejected_for(raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").close(), "");
}

#[test]
fn stalled_bodies_eject() {
    let keys = "[upstream.timeouts]\nbody_idle = \"100ms\"";
    is_ejected_for(raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang(), keys);
}

#[test]
fn stalled_heads_eject() {
    is_ejected_for(hang(), "[upstream.timeouts]\nresponse_head = \"100ms\"");
}

#[test]
fn resets_eject() {
    is_ejected_for(reset(), "");
}

#[test]
fn one_refused_connection_takes_a_backend_out() {
    let origins = vec![Origin::refusing(ok("0")), Origin::start(ok("1"))];
    let forebay = Forebay::start(ejecting(&origins, ""));
    let failures = (0..20).filter(|_| forebay.get("/").status != 200).count();
    assert_eq!((failures, origins[1].seen()), (1, 19));
}

#[test]
fn a_check_that_passes_does_not_end_an_ejection() {
    let origins = Origin::row(2);
    origins[0].now(answer(500, &[], "broken"));
    origins[0].at("/healthz", ok("fine"));
    let forebay = Forebay::start(ejecting(&origins, "[upstream.health]\npath = \"/healthz\"\ninterval = \"50ms\""));
    only(&forebay, "1");
    let checks = origins[0].count("GET /healthz");
    eventually("more checks passed", || origins[0].count("GET /healthz") > checks + 3);
    assert_eq!(four(&forebay), "1111");
}

#[test]
fn answers_of_400_eject_nobody() {
    let origins = Origin::row(2);
    origins[0].now(answer(404, &[], "0"));
    let forebay = Forebay::start(ejecting(&origins, ""));
    assert_eq!((0..20).filter(|_| forebay.get("/").status == 404).count(), 10);
}

#[test]
fn a_client_that_leaves_is_no_failure_of_the_backend() {
    let origins = Origin::row(2);
    origins.iter().for_each(|origin| origin.at("/held", hang()));
    let forebay = Forebay::start(ejecting(&origins, ""));
    for turn in 1..=10 {
        let mut client = forebay.client();
        client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("a backend has it", || origins.iter().any(|origin| origin.held() == 1));
        client.reset();
        eventually("it is given up", || origins.iter().map(Origin::abandoned).sum::<usize>() == turn);
    }
    both(&forebay);
}

#[test]
fn a_lone_backend_is_never_ejected() {
    let origin = Origin::start(answer(500, &[], "broken"));
    let forebay = Forebay::start(ejecting(std::slice::from_ref(&origin), ""));
    for _ in 0..20 {
        forebay.get("/").is(500, "broken");
    }
    assert_eq!(origin.seen(), 20);
}

#[test]
fn no_more_than_the_allowed_share_is_ejected() {
    let origins = Origin::row(4);
    origins.iter().for_each(|origin| origin.now(answer(500, &[], "broken")));
    let forebay = Forebay::start(ejecting(&origins, ""));
    (0..60).for_each(|_| drop(forebay.get("/")));
    assert_eq!(origins.iter().filter(|origin| origin.seen() == 3).count(), 2, "half of four may be ejected");
}

#[test]
fn an_ejected_backend_is_tried_again_and_comes_back() {
    let origins = Origin::row(2);
    (0..3).for_each(|_| origins[0].once(answer(500, &[], "broken")));
    let keys = "[upstream.ejection]\nconsecutive_failures = 3\nbase_time = \"100ms\"\n[upstream.retry]\nattempts = 0";
    let forebay = Forebay::start(forward(&origins).upstream(keys));
    eventually("it was ejected for three failures", || {
        drop(forebay.get("/"));
        origins[0].seen() == 3
    });
    both(&forebay);
}

#[test]
fn a_backup_is_used_only_when_it_is_needed() {
    let (main, backup) = (Origin::start(ok("main")), Origin::start(ok("backup")));
    let keys = "[upstream.health]\nkind = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1";
    let forebay = Forebay::start(forward([&main]).backend(backup.with("backup = true")).upstream(keys));
    for _ in 0..8 {
        forebay.get("/").is(200, "main");
    }
    main.go_down();
    for _ in 0..8 {
        forebay.get("/").is(200, "backup");
    }
    main.come_back();
    only(&forebay, "main");
}

#[test]
fn a_queued_request_goes_as_soon_as_there_is_room() {
    let gate = Gate::new();
    let origin = Origin::start(ok("next"));
    origin.once(script().wait(&gate).then(ok("first")));
    let keys = "queue = { length = 10, wait_max = \"1m\" }";
    let forebay = Forebay::start(forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys));
    let mut first = waiting(&forebay);
    eventually("the backend is full", || origin.held() == 1);
    let mut second = waiting(&forebay);
    forebay.eventually("the second waits", |gauges| gauges.queued == 1);
    gate.open();
    first.read_response().is(200, "first");
    second.read_response().is(200, "next");
}

#[test]
fn a_queued_request_goes_as_soon_as_a_backend_recovers() {
    let origin = Origin::refusing(ok("back"));
    let keys = "queue = { length = 10, wait_max = \"1m\" }\n[upstream.health]\nkind = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1";
    let forebay = Forebay::start(forward([&origin]).upstream(keys));
    let mut clients: Vec<_> = (0..5).map(|_| waiting(&forebay)).collect();
    forebay.eventually("all wait", |gauges| gauges.queued == 5);
    origin.come_back();
    for client in &mut clients {
        client.read_response().is(200, "back");
    }
}

#[test]
fn a_request_that_waits_too_long_is_told_when_to_try_again() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("")));
    let keys = "queue = { length = 10, wait_max = \"100ms\" }";
    let forebay = Forebay::start(forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys));
    let _first = waiting(&forebay);
    eventually("the backend is full", || origin.held() == 1);
    assert!(forebay.get("/").is_status(503).field("retry-after").is_some());
    assert_eq!(forebay.gauges().queued, 0);
    gate.open();
}

#[test]
fn a_queue_is_no_longer_than_it_may_be() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let keys = "queue = { length = 1, wait_max = \"1m\" }";
    let forebay = Forebay::start(forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys));
    let mut clients = [waiting(&forebay), waiting(&forebay)];
    forebay.eventually("one waits", |gauges| gauges.queued == 1);
    forebay.get("/").is_status(503);
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "done");
    }
}

#[test]
fn a_client_that_leaves_the_queue_makes_room_in_it() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let keys = "queue = { length = 1, wait_max = \"1m\" }";
    let forebay = Forebay::start(forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys));
    let _first = waiting(&forebay);
    eventually("the backend is full", || origin.held() == 1);
    let second = waiting(&forebay);
    forebay.eventually("one waits", |gauges| gauges.queued == 1);
    second.reset();
    forebay.eventually("none waits", |gauges| gauges.queued == 0);
    gate.open();
    assert_eq!(forebay.get("/").status, 200);
    assert_eq!(origin.seen(), 2);
}

#[test]
fn without_a_queue_a_full_upstream_is_unavailable_at_once() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let forebay = Forebay::start(forward([]).backend(origin.with("max_in_flight = 1")));
    let _first = waiting(&forebay);
    eventually("the backend is full", || origin.held() == 1);
    forebay.get("/").is_status(503);
    gate.open();
}

#[test]
fn a_backend_that_comes_back_starts_slowly() {
    let origins = Origin::row(2);
    let keys = "slow_start = \"1h\"\n[upstream.health]\nkind = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1";
    let forebay = Forebay::start(forward(&origins).upstream(keys));
    both(&forebay);
    origins[0].go_down();
    only(&forebay, "1");
    origins[0].come_back();
    let before = origins[0].seen();
    eventually("it is used again", || forebay.get("/").text() == "0" && origins[0].seen() > before);
    let share = (0..200).filter(|_| forebay.get("/").text() == "0").count();
    assert!(share < 60, "{share} of 200, not half");
}

#[test]
fn a_backend_that_is_back_from_the_dead_is_not_kept_out_by_what_it_failed_before() {
    let origins = vec![Origin::start(ok("0")), Origin::start(ok("1"))];
    let keys = "[upstream.ejection]\nconsecutive_failures = 1\nbase_time = \"60s\"";
    let forebay = Forebay::start(forward(&origins).upstream(keys));
    origins[0].go_down();
    assert!((0..6).all(|_| forebay.get("/").status == 200));
    let before = origins[0].seen();
    origins[0].come_back();
    eventually("it gets requests again", || {
        forebay.get("/").is_status(200);
        origins[0].seen() > before
    });
}

#[test]
fn a_trial_is_made_also_when_the_first_that_waits_for_it_has_left() {
    let (origins, gate) = (Origin::row(2), Gate::new());
    origins[0].now(script().wait(&gate).reset());
    origins[1].now(hang());
    let keys = "queue = { length = 10, wait_max = \"20s\" }\n[upstream.ejection]\nconsecutive_failures = 1\n\
                base_time = \"2s\"\n[upstream.retry]\nattempts = 0";
    let config =
        forward([]).backend(origins[0].with("max_in_flight = 1")).backend(origins[1].with("max_in_flight = 1"));
    let forebay = Forebay::start(config.upstream(keys));
    let ask = || {
        let mut client = forebay.client();
        client.send(GET);
        client
    };
    let _busy = [ask(), ask()];
    eventually("both backends are busy", || origins.iter().all(|origin| origin.seen() == 1));
    let first = ask();
    forebay.eventually("one waits", |gauges| gauges.queued == 1);
    let mut second = ask();
    forebay.eventually("two wait", |gauges| gauges.queued == 2);
    origins[0].now(ok("0"));
    gate.open();
    forebay.eventually("a backend has failed", |gauges| gauges.in_flight == 3);
    first.reset();
    second.read_response().is(200, "0");
}
