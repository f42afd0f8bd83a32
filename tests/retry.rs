//! Retries: which requests are sent again after a failed attempt, and which never are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{BodyEnd, Config, Forebay, Origin, Script, answer, close, eventually, forward, hang, ok, raw, reset};

/// Never ejects, so that failing backends go on to be tried.
fn patient(origins: &[Origin]) -> Config {
    forward(origins).upstream("[upstream.ejection]\nconsecutive_failures = 0")
}

/// One origin that fails in this way, one that answers "fine", and forebay in front of them.
fn failing(script: Script) -> (Vec<Origin>, Forebay) {
    let origins = vec![Origin::start(script), Origin::start(ok("fine"))];
    let forebay = Forebay::start(patient(&origins).upstream("[upstream.retry]\nbudget_floor = 100"));
    (origins, forebay)
}

/// How many requests reached any of them.
fn seen(origins: &[Origin]) -> usize {
    origins.iter().map(Origin::seen).sum()
}

/// Asserts that ten GETs succeed, some of them by a second attempt.
#[track_caller]
fn is_retried_on(script: Script) {
    let (origins, forebay) = failing(script);
    for _ in 0..10 {
        forebay.get("/").is(200, "fine");
    }
    assert!(origins[0].seen() > 0 && origins[1].seen() == 10);
}

#[test]
fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let origins = vec![Origin::refusing(ok("")), Origin::start(ok("fine"))];
    let forebay = Forebay::start(patient(&origins).upstream("[upstream.retry]\nbudget_floor = 100"));
    for _ in 0..10 {
        forebay.get("/").is(200, "fine");
        forebay.post("/", "body").is(200, "fine");
    }
    assert_eq!(origins[1].count("POST /"), 10);
    assert!(origins[1].requests().iter().all(|seen| seen.method == "GET" || seen.body == b"body"));
}

#[test]
fn a_reset_before_the_head_is_tried_elsewhere() {
    is_retried_on(reset());
}

#[test]
fn a_close_before_the_head_is_tried_elsewhere() {
    is_retried_on(close());
}

#[test]
fn a_broken_head_is_tried_elsewhere() {
    is_retried_on(raw("HTTP/1.1 2OO OK\r\n\r\n").close());
}

#[test]
fn a_listed_status_is_tried_elsewhere() {
    is_retried_on(answer(503, &[("Retry-After", "1")], "busy"));
}

#[test]
fn an_unlisted_status_is_the_answer() {
    let (origins, forebay) = failing(answer(500, &[], "broken"));
    let broken = (0..10).filter(|_| forebay.get("/").status == 500).count();
    assert_eq!((broken, seen(&origins)), (5, 10));
}

#[test]
fn the_last_answer_is_the_client_s_when_every_try_fails() {
    let origins = vec![Origin::start(answer(503, &[], "busy")), Origin::start(answer(503, &[], "busy"))];
    Forebay::start(patient(&origins)).get("/").is(503, "busy");
    assert_eq!((origins[0].seen(), origins[1].seen()), (1, 1));
}

#[test]
fn a_post_is_never_run_twice() {
    for script in [reset(), close(), raw("HTTP/1.1 2OO\r\n\r\n").close(), answer(503, &[], "busy")] {
        let (origins, forebay) = failing(script);
        let failed = (0..10).filter(|_| forebay.post("/", "body").status != 200).count();
        assert_eq!((failed, seen(&origins)), (5, 10));
    }
}

#[test]
fn a_post_to_a_backend_that_hangs_is_never_run_twice() {
    let origins = vec![Origin::start(hang()), Origin::start(hang())];
    let keys = "[upstream.timeouts]\nresponse_head = \"150ms\"";
    let forebay = Forebay::start(patient(&origins).upstream(keys));
    for turn in 1..=3 {
        forebay.post("/", "body").is_status(504);
        assert_eq!(seen(&origins), turn);
    }
}

#[test]
fn a_put_is_sent_again_with_exactly_its_body() {
    let body = "0123456789".repeat(3000);
    let (origins, forebay) = failing(reset());
    for _ in 0..6 {
        forebay
            .ask(format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .is(200, "fine");
    }
    assert!(origins[0].seen() > 0 && origins[1].seen() == 6);
    assert!(
        origins[1].requests().iter().all(|seen| seen.body == body.as_bytes() && seen.body_end == BodyEnd::Complete)
    );
}

#[test]
fn a_chunked_put_is_sent_again_with_exactly_its_body() {
    let (origins, forebay) = failing(reset());
    for _ in 0..4 {
        let chunks = "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
        forebay.ask(format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")).is(200, "fine");
    }
    assert!(origins[0].seen() > 0 && origins[1].requests().iter().all(|seen| seen.body == b"abcdefg"));
}

#[test]
fn a_body_longer_than_is_kept_is_not_sent_again() {
    let origins = vec![Origin::start(reset()), Origin::start(ok("fine"))];
    let forebay = Forebay::start(patient(&origins).upstream("[upstream.retry]\nbody_bytes_max = \"1KiB\""));
    let body = "a".repeat(4096);
    let put = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4096\r\n\r\n{body}");
    let failed = (0..6).filter(|_| forebay.ask(&put).status == 502).count();
    assert_eq!((failed, seen(&origins)), (3, 6));
}

#[test]
fn an_answer_that_has_begun_is_never_begun_again() {
    let (origins, forebay) = failing(raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").close());
    let cut = (0..10).filter(|_| forebay.get("/").ending == testbed::Ending::CutShort).count();
    assert_eq!((cut, seen(&origins)), (5, 10));
}

#[test]
fn without_attempts_nothing_is_sent_again() {
    let origins = vec![Origin::start(reset()), Origin::start(ok("fine"))];
    let forebay = Forebay::start(patient(&origins).upstream("[upstream.retry]\nattempts = 0"));
    let failed = (0..10).filter(|_| forebay.get("/").status == 502).count();
    assert_eq!((failed, seen(&origins)), (5, 10));
}

#[test]
fn each_try_goes_to_another_backend_and_no_further_than_allowed() {
    let origins: Vec<_> = (0..4).map(|_| Origin::start(reset())).collect();
    Forebay::start(patient(&origins)).get("/").is_status(502);
    assert_eq!(seen(&origins), 3, "the first try and two more");
    assert!(origins.iter().all(|origin| origin.seen() <= 1));
}

#[test]
fn retries_stay_within_their_budget() {
    let origins: Vec<_> = (0..3).map(|_| Origin::start(reset())).collect();
    let keys = "[upstream.retry]\nbudget_percent = 20\nbudget_floor = 0";
    let forebay = Forebay::start(patient(&origins).upstream(keys));
    for _ in 0..100 {
        forebay.get("/").is_status(502);
    }
    assert!((100..=121).contains(&seen(&origins)), "{} tries for 100 requests", seen(&origins));
}

#[test]
fn a_kept_connection_that_went_stale_never_costs_a_get() {
    let origin = Origin::start(ok("fine").close());
    let forebay = Forebay::start(forward([&origin]));
    for _ in 0..40 {
        forebay.get("/").is(200, "fine");
    }
    assert_eq!(origin.seen(), 40);
}

#[test]
fn a_kept_connection_that_went_stale_runs_no_post_twice() {
    let origin = Origin::start(ok("fine").close());
    let forebay = Forebay::start(forward([&origin]));
    let whole = (0..40).filter(|_| forebay.post("/", "body").status == 200).count();
    assert!(origin.seen() <= 40 && whole <= origin.seen());
}

#[test]
fn a_kept_connection_whose_backend_restarted_never_costs_a_post() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    for _ in 0..5 {
        forebay.post("/", "body").is(200, "fine");
        origin.go_down();
        origin.come_back();
        forebay.eventually("the dead connection is dropped", |gauges| gauges.backend_connections == 0);
    }
    forebay.post("/", "body").is(200, "fine");
    assert_eq!(origin.count("POST /"), 6);
}

#[test]
fn a_client_that_leaves_is_not_retried_for() {
    let origins = vec![Origin::start(hang()), Origin::start(hang())];
    let forebay = Forebay::start(patient(&origins));
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("a backend has it", || origins.iter().any(|origin| origin.held() == 1));
    client.reset();
    eventually("it is given up", || origins.iter().map(Origin::abandoned).sum::<usize>() == 1);
    forebay.is_idle();
    assert_eq!(seen(&origins), 1);
}
