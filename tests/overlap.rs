//! Concurrent events: early responses, broken uploads, queues, trials of endpoints, reloads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::{Duration, Instant};

use testbed::{
    Client, Config, Forebay, Gate, Origin, answer, close, eventually, forward, hang, ok, raw, reset, script,
};

const CHUNKED_PUT: &str = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A client that has sent this and waits.
fn asking(forebay: &Forebay, request: &str) -> Client {
    let mut client = forebay.client();
    client.send(request);
    client
}

/// Waits until so much time has passed since `begun`.
fn until(begun: Instant, passed: Duration) {
    eventually("time passes", || begun.elapsed() >= passed);
}

/// The second backend gets a request only if the first is out of use or was tried.
fn first_and_other(first: &Origin, other: &Origin) -> Config {
    forward([first]).backend(other.with("backup = true"))
}

fn ejecting(origins: &[Origin], failures: u32, base_time: &str) -> Config {
    forward(origins).upstream(&format!(
        "[upstream.ejection]\nconsecutive_failures = {failures}\nbase_time = \"{base_time}\"\n[upstream.retry]\nattempts = 0"
    ))
}

#[test]
fn a_request_sent_again_on_a_fresh_connection_keeps_its_fields() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]).upstream("[upstream.retry]\nattempts = 0"));
    forebay.get("/").is(200, "fine");
    origin.once(close());
    forebay.get_with("/", "X-Mark: here\r\n").is(200, "fine");
    let last = origin.last();
    assert_eq!(origin.seen(), 3);
    assert!(last.head.text().contains("shop.test") && last.head.text().contains("here"), "{}", last.head.text());
}

#[test]
fn a_put_answered_early_is_repeated_with_its_whole_body() {
    let early = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
    let busy = Origin::start(script().before_body().send(early).hang());
    let fine = Origin::start(ok("fine"));
    let forebay = Forebay::start(first_and_other(&busy, &fine).upstream("[upstream.retry]\nbody_bytes_max = \"1KiB\""));
    let piece = "p".repeat(700);
    let mut client = asking(&forebay, CHUNKED_PUT);
    client.send(format!("2bc\r\n{piece}\r\n"));
    eventually("it is repeated", || fine.seen() == 1);
    for _ in 0..4 {
        client.send(format!("2bc\r\n{piece}\r\n"));
    }
    client.send("0\r\n\r\n");
    client.read_response().is(200, "fine");
    assert_eq!(fine.last().body, piece.repeat(5).as_bytes());
    forebay.eventually("the busy one is left alone", |gauges| gauges.backend_connections == 1);
}

#[test]
fn an_upload_that_breaks_under_an_answer_ejects_nobody() {
    let origins = Origin::row(2);
    for origin in &origins {
        origin.at("/early", script().before_body().send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang());
    }
    let forebay = Forebay::start(ejecting(&origins, 2, "1m"));
    for _ in 0..10 {
        let mut client =
            asking(&forebay, "POST /early HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        client.read_head();
        client.send("zz\r\n");
        client.read_until_closed();
    }
    let answers: Vec<String> = (0..4).map(|_| forebay.get("/").text()).collect();
    assert!(answers.contains(&"0".to_owned()) && answers.contains(&"1".to_owned()), "{answers:?}");
}

#[test]
fn an_upload_that_stalls_under_an_answer_ejects_nobody() {
    let origins = Origin::row(2);
    for origin in &origins {
        origin.at("/early", script().before_body().send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang());
    }
    let forebay = Forebay::start(ejecting(&origins, 2, "1m").upstream("[upstream.timeouts]\nbody_idle = \"50ms\""));
    for _ in 0..6 {
        asking(&forebay, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc").read_until_closed();
    }
    let answers: Vec<String> = (0..4).map(|_| forebay.get("/").text()).collect();
    assert!(answers.contains(&"0".to_owned()) && answers.contains(&"1".to_owned()), "{answers:?}");
}

#[test]
fn time_in_the_queue_is_not_taken_from_the_backend() {
    let (first_gate, second_gate) = (Gate::new(), Gate::new());
    let origin = Origin::start(script().wait(&second_gate).then(ok("second")));
    origin.once(raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").wait(&first_gate).send("first"));
    let keys = "queue = { length = 10, wait_max = \"1m\" }\n[upstream.timeouts]\nresponse_head = \"300ms\"\n[upstream.retry]\nattempts = 0";
    let forebay = Forebay::start(forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys));
    let mut first = asking(&forebay, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the backend is full", || origin.held() == 1);
    let begun = Instant::now();
    let mut second = asking(&forebay, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    forebay.eventually("the second waits", |gauges| gauges.queued == 1);
    until(begun, Duration::from_millis(400));
    first_gate.open();
    first.read_response().is(200, "first");
    eventually("the second is there", || origin.seen() == 2);
    let begun = Instant::now();
    until(begun, Duration::from_millis(50));
    second_gate.open();
    second.read_response().is(200, "second");
}

#[test]
fn time_in_the_queue_does_not_make_a_body_slow() {
    let gate = Gate::new();
    let origin = Origin::start(ok("second"));
    origin.once(script().wait(&gate).then(ok("first")));
    let keys = "queue = { length = 10, wait_max = \"1m\" }";
    let config = forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys);
    let forebay = Forebay::start(config.server("body_timeout = \"100ms\"\nbody_rate_min = \"1KiB\""));
    let mut first = asking(&forebay, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the backend is full", || origin.held() == 1);
    let begun = Instant::now();
    let mut second = asking(&forebay, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    forebay.eventually("the second waits", |gauges| gauges.queued == 1);
    until(begun, Duration::from_millis(300));
    gate.open();
    first.read_response().is(200, "first");
    second.read_response().is(200, "second");
}

#[test]
fn a_large_post_goes_elsewhere_when_nobody_listens() {
    let dead = Origin::refusing(ok(""));
    let fine = Origin::start(ok("fine"));
    let forebay = Forebay::start(first_and_other(&dead, &fine));
    let body = "b".repeat(200_000);
    forebay.post("/", &body).is(200, "fine");
    assert_eq!(fine.last().body.len(), body.len());
}

#[test]
fn a_request_with_trailers_leaves_its_connection_usable() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin]));
    for _ in 0..5 {
        forebay.ask(format!("{CHUNKED_PUT}3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")).is(200, "fine");
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_trial_whose_client_leaves_is_made_by_the_next_request() {
    let origins = Origin::row(2);
    origins[0].now(answer(500, &[], "broken"));
    let forebay = Forebay::start(ejecting(&origins, 1, "1s"));
    (0..4).for_each(|_| drop(forebay.get("/")));
    assert_eq!(origins[0].seen(), 1);
    origins[0].now(hang());
    let mut client = None;
    eventually("the trial is under way", || {
        let asked = asking(&forebay, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("somebody has it", || forebay.gauges().in_flight == 0 || origins[0].held() == 1);
        client = Some(asked);
        origins[0].held() == 1
    });
    let left = Instant::now();
    client.take().expect("a client").reset();
    eventually("it is given up", || origins[0].abandoned() == 1);
    origins[0].now(ok("back"));
    eventually("another trial brings it back", || forebay.get("/").text() == "back");
    assert!(left.elapsed() < Duration::from_millis(700), "only after {:?}", left.elapsed());
}

#[test]
fn no_trial_goes_to_a_backend_whose_checks_fail() {
    let origins = Origin::row(2);
    origins.iter().for_each(|origin| origin.at("/health", ok("")));
    origins[0].now(answer(500, &[], "broken"));
    let keys = "[upstream.health]\npath = \"/health\"\ninterval = \"20ms\"\nfall = 1";
    let forebay = Forebay::start(ejecting(&origins, 1, "200ms").upstream(keys));
    eventually("it is ejected", || {
        drop(forebay.get("/"));
        origins[0].count("GET /") == 1
    });
    origins[0].at("/health", answer(500, &[], ""));
    let checks = origins[0].count("GET /health");
    eventually("its checks fail", || origins[0].count("GET /health") > checks + 3);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        forebay.get("/").is(200, "1");
    }
    assert_eq!(origins[0].count("GET /"), 1);
    origins[0].at("/health", ok(""));
    origins[0].now(ok("back"));
    eventually("it comes back", || forebay.get("/").text() == "back");
}

#[test]
fn a_failure_under_a_plan_that_is_gone_takes_no_backend_out_for_ever() {
    let gate = Gate::new();
    let origins = Origin::row(2);
    origins.iter().for_each(|origin| origin.at("/held", script().wait(&gate).then(reset())));
    let forebay = Forebay::start(ejecting(&origins, 1, "100ms"));
    let mut old = asking(&forebay, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("a backend has it", || origins.iter().any(|origin| origin.held() == 1));
    forebay.reload(ejecting(&origins, 2, "100ms").route("set_response_headers = { x-plan = \"new\" }"));
    eventually("the new plan is used", || forebay.get("/").field("x-plan") == Some("new"));
    gate.open();
    old.read_response().is_status(502);
    let (mut first, mut second) = (0, 0);
    eventually("both are used", || {
        let text = forebay.get("/").text();
        if text == "0" {
            first += 1
        } else {
            second += 1
        }
        first > 3 && second > 3
    });
}

#[test]
fn who_waits_under_the_old_plan_keeps_nobody_of_the_new_one_waiting() {
    let (old_gate, new_gate) = (Gate::new(), Gate::new());
    let old = Origin::start(script().wait(&old_gate).then(ok("old")));
    let new = Origin::start(script().wait(&new_gate).then(ok("new")));
    let keys = "queue = { length = 10, wait_max = \"1m\" }";
    let config = |origin: &Origin| forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys);
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let forebay = Forebay::start(config(&old));
    let mut before = [asking(&forebay, get), asking(&forebay, get)];
    forebay.eventually("one waits", |gauges| gauges.queued == 1 && old.held() == 1);
    forebay.reload(config(&new));
    let mut after = vec![asking(&forebay, get)];
    eventually("the new backend is asked at once", || new.held() == 1);
    after.extend([asking(&forebay, get), asking(&forebay, get)]);
    forebay.eventually("three wait", |gauges| gauges.queued == 3);
    new_gate.open();
    for client in &mut after {
        client.read_response().is(200, "new");
    }
    old_gate.open();
    for client in &mut before {
        client.read_response().is(200, "old");
    }
}

#[test]
fn who_waits_is_served_in_turn() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let keys = "queue = { length = 10, wait_max = \"1m\" }";
    let forebay = Forebay::start(forward([]).backend(origin.with("max_in_flight = 1")).upstream(keys));
    let mut clients: Vec<Client> = (0..6)
        .map(|place| {
            let client = asking(&forebay, &format!("GET /{place} HTTP/1.1\r\nHost: h\r\n\r\n"));
            forebay.eventually("it waits", |gauges| gauges.queued == place || gauges.in_flight == 1 && place == 0);
            client
        })
        .collect();
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "done");
    }
    let targets: Vec<String> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4", "/5"]);
}

#[test]
fn a_backend_that_fails_fast_does_not_look_quick() {
    let origins = vec![Origin::start(reset()), Origin::start(ok("fine"))];
    let keys = "balance = \"peak-ewma\"\n[upstream.ejection]\nconsecutive_failures = 0\n[upstream.retry]\nattempts = 0";
    let forebay = Forebay::start(forward(&origins).upstream(keys));
    let failed = (0..20).filter(|_| forebay.get("/").status != 200).count();
    assert!(failed <= 2, "{failed} of 20 went to the one that fails");
}

#[test]
fn a_body_in_too_many_pieces_is_not_kept() {
    let origins = [Origin::start(reset()), Origin::start(ok("fine"))];
    let forebay = Forebay::start(first_and_other(&origins[0], &origins[1]));
    let body = "1\r\nx\r\n".repeat(2000);
    let mut client = asking(&forebay, CHUNKED_PUT);
    client.try_send(format!("{body}0\r\n\r\n"));
    client.read_response().is_status(502);
    assert_eq!(origins[1].seen(), 0);
}

#[test]
fn an_answer_given_up_leaves_no_connection_behind() {
    let origin = Origin::start(script().send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang());
    let forebay = Forebay::start(forward([&origin]).upstream("[upstream.timeouts]\nbody_idle = \"50ms\""));
    forebay.client().send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_until_closed();
    eventually("the backend is left", || origin.abandoned() == 1);
    let forebay = Forebay::start(forward([&origin]));
    let mut client = asking(&forebay, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_head();
    client.reset();
    eventually("the backend is left again", || origin.abandoned() == 2);
    forebay.eventually("no connection is left", |gauges| gauges.backend_connections == 0);
}

#[test]
fn a_reader_that_pauses_is_not_taken_for_a_silent_backend() {
    let body = "0123456789abcdef".repeat(1_000_000);
    let origin = Origin::start(ok(&body));
    let forebay = Forebay::start(forward([&origin]).upstream("[upstream.timeouts]\nbody_idle = \"50ms\""));
    let mut client = asking(&forebay, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until(Instant::now(), Duration::from_millis(400));
    assert_eq!(client.read_response().body.len(), body.len());
}

#[test]
fn a_removed_backend_is_left_though_a_client_stays_busy() {
    let (old, new) = (Origin::start(ok("old")), Origin::start(ok("new")));
    let forebay = Forebay::start(forward([&old]));
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "old");
    forebay.reload(forward([&new]));
    eventually("the old one is left", || {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is_status(200);
        old.open() == 0
    });
}

#[test]
fn nobody_who_waits_is_forgotten_though_others_leave() {
    let origin = Origin::start(ok("done"));
    let config = |plan: u32| {
        let keys = format!("queue = {{ length = 100, wait_max = \"{}ms\" }}", 4000 + plan);
        forward([]).backend(origin.with("max_in_flight = 2")).upstream(&keys).server("workers = 2")
    };
    let forebay = Forebay::start(config(0));
    std::thread::scope(|scope| {
        for place in 0..12 {
            let forebay = &forebay;
            scope.spawn(move || {
                for turn in 0..40 {
                    let mut client = asking(forebay, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
                    if (place + turn) % 3 == 0 {
                        client.reset();
                    } else {
                        client.read_response().is(200, "done");
                    }
                }
            });
        }
        for plan in 1..50 {
            forebay.reload(config(plan));
            std::thread::yield_now();
        }
    });
    forebay.is_idle();
    assert_eq!(forebay.get("/").status, 200);
}
