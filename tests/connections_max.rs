//! How many clients may be connected at once: all workers together, and within the descriptors that there are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use testbed::{Client, Config, Forebay, Origin, Process, eventually, forward, ok, routes};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const RESPOND: &str = "[[route]]\npath = \"/\"\nrespond = { body = \"here\" }\n";

fn config(max: usize) -> Config {
    routes(RESPOND).server(&format!("workers = 4\nconnections_max = {max}\nheader_timeout = \"1h\""))
}

/// Clients that have sent a request. The kernel has distributed them among the workers.
fn asking(forebay: &Forebay, count: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = forebay.client();
        client.send(GET);
        client
    };
    (0..count).map(ask).collect()
}

fn are_answered<'a>(clients: impl IntoIterator<Item = &'a mut Client>) {
    for client in clients {
        client.read_response().is(200, "here");
    }
}

#[test]
fn every_place_is_used_whichever_workers_the_clients_are_at() {
    let forebay = Forebay::start(config(8));
    for _ in 0..5 {
        let mut open = asking(&forebay, 8);
        are_answered(&mut open);
        let mut waiting = asking(&forebay, 8);
        assert_eq!(forebay.gauges().connections, 8);
        // Each that leaves makes room for another, at whichever worker that waits.
        drop(open);
        are_answered(&mut waiting);
        drop(waiting);
        forebay.is_idle();
    }
}

#[test]
fn a_reload_that_raises_the_limit_lets_those_in_who_wait_and_one_that_lowers_it_lets_nobody_in() {
    let forebay = Forebay::start(config(2));
    let mut open = asking(&forebay, 2);
    are_answered(&mut open);
    let mut waiting = asking(&forebay, 2);
    forebay.reload(config(4));
    are_answered(&mut waiting);
    forebay.reload(config(1));
    let mut last = asking(&forebay, 1);
    drop(waiting);
    open.pop();
    forebay.eventually("one is left, of those before", |gauges| gauges.connections == 1);
    open[0].send(GET).read_response().is(200, "here");
    assert_eq!(forebay.gauges().connections, 1);
    drop(open);
    are_answered(&mut last);
}

/// The binary, as it starts where no more than 64 descriptors are allowed.
fn with_few_descriptors(folder: &tempfile::TempDir) -> String {
    let script = folder.path().join("forebay");
    let text = format!("#!/bin/sh\nulimit -n 64\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_forebay"));
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}

#[test]
fn idle_clients_leave_descriptors_for_connections_to_backends() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start(ok("fine"));
    let config = forward([&origin]).server("header_timeout = \"1h\"").more("[admin]\nlisten = \"127.0.0.1:0\"\n");
    let process = Process::start(&with_few_descriptors(&folder), config);
    let mut clients: Vec<Client> = (0..60).map(|_| process.client()).collect();
    for client in &mut clients[..4] {
        client.send(GET).read_response().is(200, "fine");
    }
    assert!(clients.len() == 60, "they are all still there");
}

#[test]
fn without_a_descriptor_for_a_backend_an_unused_connection_to_another_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Origin::start(ok("one")), Origin::start(ok("other")));
    let more =
        format!("[admin]\nlisten = \"127.0.0.1:0\"\n[[route]]\npath = \"/other\"\nbackends = [\"{}\"]\n", other.url());
    let server = "connections_max = 1000\nheader_timeout = \"1h\"\nidle_timeout = \"1h\"";
    let health = "[upstream.health]\npath = \"/healthz\"\ninterval = \"100ms\"\nfall = 1";
    let config = forward([&one]).upstream(health).server(server).more(&more);
    let process = Process::start(&with_few_descriptors(&folder), config);
    process.told(&["WARN", "connections_max = 1000 may need 2064 open files", "the limit is 64, enough for 8"]);
    let mut client = process.client();
    client.send(GET).read_response().is(200, "one");
    let clients: Vec<Client> = (0..60).map(|_| process.client()).collect();
    process.told(&["WARN", "connections can't be accepted, they wait", "Too many open files"]);
    client.send("GET /other HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "other");
    // Checks fail for lack of a descriptor, which is not a fault of the backend.
    let begun = Instant::now();
    eventually("many checks have been due", || {
        client.send("GET /other HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "other");
        begun.elapsed() > Duration::from_secs(1)
    });
    drop(clients);
    process.client().send(GET).read_response().is(200, "one");
}
