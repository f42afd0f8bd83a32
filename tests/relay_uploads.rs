//! Large request bodies, which the kernel moves by `splice`: content, and uploads that break off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fmt::Write as _;

use testbed::{Client, Forebay, Gate, Origin, answer, eventually, forward, ok, script};

const MIB: usize = 1024 * 1024;

/// A body in which all lines differ.
fn text(length: usize) -> String {
    let mut text = String::with_capacity(length + 512);
    let filling = "abcdefgh ".repeat(50);
    let mut place = 0;
    while text.len() < length {
        writeln!(text, "{place:07} {filling}").unwrap();
        place += 1;
    }
    text.truncate(length);
    text
}

fn head(length: usize) -> String {
    format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

/// An origin that answers when it has the whole request, and forebay before it.
fn before() -> (Origin, Forebay) {
    let origin = Origin::start(ok("it is here"));
    let forebay = Forebay::start(forward([&origin]));
    (origin, forebay)
}

/// Compares without showing megabytes.
#[track_caller]
fn has_arrived(origin: &Origin, body: &str) {
    let got = origin.last().body;
    assert_eq!(got.len(), body.len());
    let differs = got.iter().zip(body.as_bytes()).position(|(got, sent)| got != sent);
    assert_eq!(differs, None, "the first byte that is wrong");
}

/// How many ends of pipes this process has open.
fn ends_of_pipes() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count()
}

fn upload(client: &mut Client, origin: &Origin, body: &str) {
    client.send(head(body.len())).send(body).read_response().is(200, "it is here");
    has_arrived(origin, body);
}

#[test]
fn a_large_upload_goes_through_a_pipe_that_is_kept_for_the_next() {
    let before_it = ends_of_pipes();
    let (origin, forebay) = before();
    let body = text(4 * MIB);
    let (first, second) = body.split_at(2 * MIB);
    let mut client = forebay.client();
    client.send(head(body.len())).send(first);
    eventually("it is in a pipe", || ends_of_pipes() == before_it + 2);
    client.send(second).read_response().is(200, "it is here");
    has_arrived(&origin, &body);
    upload(&mut client, &origin, &body);
    assert_eq!(ends_of_pipes(), before_it + 2);
}

#[test]
fn many_uploads_in_turn_are_exact_and_both_connections_are_kept() {
    let (origin, forebay) = before();
    let mut client = forebay.client();
    for length in [100_000, 5 * MIB, 1, 65_535, 65_536, 65_537, 3 * MIB + 1, 10, 200_000, MIB] {
        upload(&mut client, &origin, &text(length));
    }
    assert_eq!((origin.accepted(), forebay.gauges().connections), (1, 1));
    assert_eq!((forebay.gauges().backend_connections, forebay.gauges().in_flight), (1, 0));
}

#[test]
fn chunks_of_any_length_and_trailers_arrive_as_they_were_sent() {
    let (origin, forebay) = before();
    let body = text(4 * MIB);
    for cuts in [vec![2 * MIB], vec![10, 70_000, 70_001, MIB, 3 * MIB], vec![65_536, 131_072, 4 * MIB - 1], vec![]] {
        for trailers in ["", "X-Sum: 7\r\n"] {
            let mut client = forebay.client();
            client.send("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
            let ends = cuts.iter().copied().chain([body.len()]);
            let (mut start, mut rest) = (0, body.as_str());
            for end in ends {
                let (chunk, behind) = rest.split_at(end - start);
                client.send(format!("{:x}\r\n", chunk.len())).send(chunk).send("\r\n");
                (start, rest) = (end, behind);
            }
            client.send(format!("0\r\n{trailers}\r\n")).read_response().is(200, "it is here");
            has_arrived(&origin, &body);
            assert_eq!(origin.last().trailers.len(), usize::from(!trailers.is_empty()));
        }
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_request_behind_a_large_upload_is_a_request_of_its_own() {
    let (origin, forebay) = before();
    let body = text(2 * MIB);
    let mut client = forebay.client();
    client.send(head(body.len())).send(&body).send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_response().is(200, "it is here");
    client.read_response().is(200, "it is here");
    assert_eq!((origin.last().target.as_str(), origin.requests()[0].body.len()), ("/next", body.len()));
}

#[test]
fn a_backend_that_is_slow_to_read_gets_all_of_it() {
    let gate = Gate::new();
    let origin = Origin::start(script().before_body().wait(&gate).read_body().then(ok("it is here")));
    let forebay = Forebay::start(forward([&origin]).server("body_bytes_max = \"1GiB\""));
    let body = text(24 * MIB);
    let mut client = forebay.client();
    let (first, second) = body.split_at(100_000);
    client.send(head(body.len())).send(first);
    eventually("the backend has the head", || origin.accepted() == 1);
    let opened = std::thread::spawn(move || gate.open());
    client.send(second).read_response().is(200, "it is here");
    opened.join().unwrap();
    has_arrived(&origin, &body);
}

#[test]
fn an_upload_that_breaks_off_never_looks_whole() {
    for sent in [0, 10, 70_000, MIB, 3 * MIB] {
        let (origin, forebay) = before();
        let mut client = forebay.client();
        client.send(head(4 * MIB)).send(text(sent));
        eventually("it is on its way", || origin.accepted() == 1);
        drop(client);
        eventually("the backend sees it", || origin.open() == 0);
        assert_eq!(origin.count_whole("PUT /"), 0);
        forebay.is_idle();
        forebay.eventually("the backend's connection is closed", |gauges| gauges.backend_connections == 0);
    }
}

#[test]
fn a_chunked_upload_over_the_limit_is_refused_and_never_looks_whole() {
    let origin = Origin::start(ok("it is here"));
    let forebay = Forebay::start(forward([&origin]).server("body_bytes_max = \"1MiB\""));
    let mut client = forebay.client();
    let body = text(4 * MIB);
    let begun = format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    client.send(begun).send(text(2 * MIB));
    assert_eq!(client.read_response().status, 413);
    eventually("the backend sees it", || origin.open() == 0);
    assert_eq!(origin.count_whole("PUT /"), 0);
}

#[test]
fn an_answer_that_comes_before_the_end_of_an_upload_reaches_the_client() {
    let origin = Origin::start(script().before_body().then(answer(403, &[], "no")).close());
    let forebay = Forebay::start(forward([&origin]).server("body_bytes_max = \"1GiB\""));
    let mut client = forebay.client();
    client.send(head(64 * MIB)).send(text(MIB));
    client.read_response().is(403, "no");
    forebay.eventually("the backend's connection is closed", |gauges| gauges.backend_connections == 0);
}

#[test]
fn an_upload_that_may_be_repeated_is_kept_and_not_moved() {
    let (broken, fine) = (Origin::start(testbed::reset()), Origin::start(ok("it is here")));
    let forebay = Forebay::start(forward([&broken, &fine]).upstream("[upstream.retry]\nbody_bytes_max = \"8MiB\""));
    let body = text(2 * MIB);
    for _ in 0..2 {
        upload(&mut forebay.client(), &fine, &body);
    }
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn what_is_left_in_the_pipe_of_an_upload_that_broke_off_gets_into_no_other() {
    let gate = Gate::new();
    let (origin, forebay) = before();
    origin.at("/stuck", script().before_body().wait(&gate).reset());
    let stuck = head(8 * MIB).replace("PUT /", "PUT /stuck");
    for round in 0..4 {
        let mut client = forebay.client();
        client.send(&stuck).send(text(MIB));
        eventually("it is on its way", || origin.count("PUT /stuck") == round + 1);
        client.reset();
        upload(&mut forebay.client(), &origin, &text(2 * MIB + round));
    }
    gate.open();
    forebay.is_idle();
}

#[test]
fn a_backend_that_resets_in_the_middle_of_an_upload_makes_no_request_of_its_rest() {
    let (origin, forebay) = before();
    origin.at("/reset", script().before_body().reset());
    for length in [70_000, 200_000, MIB, 4 * MIB] {
        let body = SMUGGLED.repeat(length / SMUGGLED.len());
        let mut client = forebay.client();
        client.send(head(body.len()).replace("PUT /", "PUT /reset"));
        client.try_send(&body).try_send("GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let (bytes, _) = client.read_to_end();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 502 ") || text.is_empty(), "{text}");
        assert!(text.matches("HTTP/1.1 ").count() <= 2, "{text}");
    }
    assert_eq!(origin.count("GET /smuggled"), 0);
    forebay.is_idle();
}

#[test]
fn an_early_answer_in_the_middle_of_an_upload_makes_no_request_of_its_rest() {
    let (origin, forebay) = before();
    for (path, script) in [
        ("/early", script().before_body().then(answer(200, &[], "early")).read_body()),
        ("/none", script().before_body().send("HTTP/1.1 204 No Content\r\n\r\n").read_body()),
        ("/closes", script().before_body().then(answer(200, &[("connection", "close")], "early")).close()),
    ] {
        origin.at(path, script);
        for length in [70_000, 300_000, MIB, 4 * MIB] {
            let body = SMUGGLED.repeat(length / SMUGGLED.len());
            let mut client = forebay.client();
            client.send(head(body.len()).replace("PUT /", &format!("PUT {path}")));
            client.try_send(&body).try_send("GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let (bytes, _) = client.read_to_end();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("HTTP/1.1 20") || text.is_empty(), "{text}");
            assert!(text.matches("HTTP/1.1 ").count() <= 2, "{text}");
        }
    }
    assert_eq!(origin.count("GET /smuggled"), 0);
    forebay.is_idle();
    upload(&mut forebay.client(), &origin, &text(MIB));
}

#[test]
fn a_client_that_waits_for_100_continue_sends_its_large_upload_whole() {
    let (origin, forebay) = before();
    let body = text(3 * MIB);
    let mut client = forebay.client();
    for _ in 0..3 {
        client.send(head(body.len()).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"));
        assert!(client.read_head().start_line().contains("100"));
        client.send(&body).read_response().is(200, "it is here");
        has_arrived(&origin, &body);
    }
}

#[test]
fn a_client_that_half_closes_in_the_middle_of_an_upload_is_no_whole_one_and_behind_it_gets_its_answer() {
    let (origin, forebay) = before();
    let body = text(3 * MIB);
    let mut client = forebay.client();
    client.send(head(body.len())).send(body.split_at(2 * MIB).0).half_close();
    eventually("the backend's connection is closed", || origin.accepted() == 1 && origin.open() == 0);
    assert_eq!(origin.count_whole("PUT /"), 0);
    let mut client = forebay.client();
    client.send(head(body.len())).send(&body).half_close().read_response().is(200, "it is here");
    has_arrived(&origin, &body);
}
