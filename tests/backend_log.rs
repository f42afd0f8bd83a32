//! The log events about backends: why one is out of use, where a request was tried, and no events without a change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use serde_json::Value;
use testbed::{Config, Origin, Process, answer, close, eventually, forward, ok};

const BINARY: &str = env!("CARGO_BIN_EXE_forebay");
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Two backends, of which each request tries the first one first.
fn first_and_backup(first: &Origin, backup: &Origin) -> Config {
    forward([first]).backend(backup.with("backup = true"))
}

/// The log line of a request.
fn logged(process: &Process) -> Value {
    process.client().send(GET).read_response();
    serde_json::from_str(&process.logged()).unwrap()
}

/// Active checks at short intervals; the first failed check makes a backend unusable.
fn checked(origins: &[Origin], keys: &str) -> Config {
    let health = format!("[upstream.health]\npath = \"/healthz\"\ninterval = \"20ms\"\nrise = 1\nfall = 1\n{keys}");
    forward(origins).upstream(&health)
}

#[test]
fn a_retry_names_each_try() {
    let (first, backup) = (Origin::start(close()), Origin::start(ok("backup")));
    let process = Process::start(BINARY, first_and_backup(&first, &backup));
    let line = logged(&process);
    let tries = line["tries"].as_array().expect("each try is named");
    assert_eq!(tries.len(), 2, "{line}");
    assert_eq!((&tries[0]["backend"], &tries[1]["backend"]), (&first.url().into(), &backup.url().into()));
    assert_eq!((&tries[0]["fault"], &tries[1]["status"]), (&"closed before its answer".into(), &200.into()));
    assert!(tries.iter().all(|made| made["ms"].is_u64()), "{line}");
    assert_eq!(line["backend"], backup.url());
}

#[test]
fn an_answer_that_is_tried_again_for_is_named_by_its_status() {
    let (first, backup) = (Origin::start(answer(503, &[], "")), Origin::start(ok("backup")));
    let process = Process::start(BINARY, first_and_backup(&first, &backup));
    let line = logged(&process);
    assert_eq!((&line["tries"][0]["status"], &line["tries"][1]["status"]), (&503.into(), &200.into()), "{line}");
}

#[test]
fn a_request_that_fails_everywhere_names_each_try() {
    let (first, backup) = (Origin::refusing(ok("")), Origin::start(close()));
    let process = Process::start(BINARY, first_and_backup(&first, &backup));
    let line = logged(&process);
    let fault = |place: usize| line["tries"][place]["fault"].as_str().unwrap_or_default().to_owned();
    assert!(fault(0).contains("refused"), "{line}");
    assert_eq!((fault(1).as_str(), line["status"].as_u64()), ("closed before its answer", Some(502)), "{line}");
}

#[test]
fn a_request_that_is_answered_at_once_names_no_tries() {
    let origin = Origin::start(ok(""));
    let process = Process::start(BINARY, forward([&origin]));
    assert!(logged(&process).get("tries").is_none());
}

#[test]
fn a_backend_by_name_is_logged_with_its_address() {
    let origin = Origin::start(ok(""));
    let url = format!("http://localhost:{}", origin.address().port());
    let process = Process::start(BINARY, forward([]).backend(format!("\"{url}\"")));
    let line = logged(&process);
    assert_eq!((&line["backend"], &line["upstream_addr"]), (&url.into(), &origin.address().to_string().into()));
    let by_address = Process::start(BINARY, forward([&origin]));
    assert!(logged(&by_address).get("upstream_addr").is_none());
}

#[test]
fn a_check_that_fails_says_what_it_got_and_what_it_wanted() {
    let origins = Origin::row(1);
    let process = Process::start(BINARY, checked(&origins, "body = \"fine\"\ntimeout = \"500ms\""));
    let url = origins[0].url();
    let is_down = |why: &str| process.told(&[&format!("backend {url} is down: check got "), why]);
    let fine = || origins[0].at("/healthz", ok("fine"));
    is_down("but not \"fine\" in its body");
    fine();
    process_is_up(&process, &origins[0]);
    origins[0].at("/healthz", answer(503, &[], ""));
    let line = is_down("got 503 in ");
    assert!(line.contains(" ms, wanted 200-399"), "{line}");
    fine();
    process_is_up(&process, &origins[0]);
    origins[0].at("/healthz", close());
    is_down("no whole answer");
    fine();
    process_is_up(&process, &origins[0]);
    origins[0].at("/healthz", testbed::hang());
    is_down("no answer within 500 ms");
    fine();
    process_is_up(&process, &origins[0]);
    origins[0].go_down();
    is_down("Connection refused");
}

/// Waits until a request reaches the origin: it is up again.
#[track_caller]
fn process_is_up(process: &Process, origin: &Origin) {
    let before = origin.count("GET /");
    eventually("it is up", || {
        process.client().send(GET).read_response();
        origin.count("GET /") > before
    });
}

#[test]
fn an_ejection_and_a_refused_connection_say_why() {
    let origins = Origin::row(2);
    let keys = "[upstream.ejection]\nconsecutive_failures = 1\n[upstream.retry]\nattempts = 0";
    let process = Process::start(BINARY, forward(&origins).upstream(keys));
    origins[0].now(answer(500, &[], ""));
    (0..2).for_each(|_| drop(process.client().send(GET).read_response()));
    process.told(&[&origins[0].url(), "is ejected for 10.0 s", "it answered 500"]);
    origins[1].go_down();
    (0..2).for_each(|_| drop(process.client().send(GET).read_response()));
    process.told(&[&origins[1].url(), "takes no connection", "Connection refused"]);
}

#[test]
fn a_reload_does_not_say_again_that_backends_are_up() {
    let origins = Origin::row(2);
    origins.iter().for_each(|origin| origin.at("/healthz", ok("fine")));
    let told = |config: Config| config.to_string().replacen("level = \"error\"", "level = \"info\"", 1);
    let process = Process::start(BINARY, told(checked(&origins, "")));
    let mut seen = Vec::new();
    let is_up =
        |seen: &[String], origin: &Origin| seen.iter().any(|line| line.contains(&format!("{} is up", origin.url())));
    while !origins.iter().all(|origin| is_up(&seen, origin)) {
        seen.extend(process.told_up_to(&["is up: check got 200 in"]));
    }
    process.reload(told(checked(&origins, "timeout = \"1s\"")));
    process.told(&["reloaded"]);
    let checks = |origin: &Origin| origin.count("GET /healthz");
    let before: Vec<usize> = origins.iter().map(checks).collect();
    eventually("both are checked again", || {
        origins.iter().zip(&before).all(|(origin, count)| checks(origin) > count + 3)
    });
    origins[0].at("/healthz", answer(503, &[], ""));
    let since = process.told_up_to(&[&origins[0].url(), "is down"]);
    assert!(!since.iter().any(|line| line.contains("is up")), "{since:#?}");
}
