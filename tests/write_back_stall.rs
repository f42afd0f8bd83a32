//! A stalled journal disk: memory stays bounded, and writes that were not acknowledged in time are not sent.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use testbed::{Client, Config, Disk, Origin, Process, StateDir, eventually, forward, ok};

const SOON: &str = "flush_interval = \"10ms\"\nack_timeout = \"300ms\"";

fn config(state: &StateDir, origin: &Origin) -> Config {
    let cached = "mode = \"write-back\"\nttl = \"60s\"";
    forward([origin]).server(&state.key()).cached(cached).more(&format!("[route.cache.write_back]\n{SOON}"))
}

fn start(state: &StateDir, origin: &Origin, disk: &Disk) -> Process {
    Process::start_in(env!("CARGO_BIN_EXE_forebay"), config(state, origin), &disk.environment())
}

fn write(target: &str, fields: &str) -> String {
    format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: 3\r\n\r\nnew")
}

/// A client that has sent this request.
fn asking(forebay: &Process, request: &str) -> Client {
    let mut client = forebay.client();
    client.send(request);
    client
}

/// A write that arrives shows that all before it is decided.
fn arrives(forebay: &Process, origin: &Origin, target: &str) {
    asking(forebay, &write(target, "")).read_response().is(202, "");
    eventually("it has arrived", || origin.count(&format!("PUT {target}")) == 1);
}

#[test]
fn what_is_not_safe_in_time_is_answered_503_and_never_sent() {
    let (state, origin, disk) = (StateDir::new(), Origin::start(ok("old")), Disk::new());
    let forebay = start(&state, &origin, &disk);
    disk.stands_still();
    // The first is being written when its client is told; the second has not been begun with.
    let mut first = asking(&forebay, &write("/a", ""));
    first.read_response().is_status(503);
    asking(&forebay, &write("/b", "")).read_response().is_status(503);
    asking(&forebay, "GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is(200, "old");
    disk.goes_on();
    arrives(&forebay, &origin, "/c");
    forebay.kill();
    let forebay = start(&state, &origin, &disk);
    arrives(&forebay, &origin, "/d");
    assert_eq!((origin.count("PUT /a"), origin.count("PUT /b")), (0, 0));
}

#[test]
fn if_that_does_not_reach_the_disk_either_it_is_sent_after_a_crash() {
    let (state, origin, disk) = (StateDir::new(), Origin::start(ok("old")), Disk::new());
    let forebay = start(&state, &origin, &disk);
    disk.stands_still();
    asking(&forebay, &write("/a", "")).read_response().is_status(503);
    forebay.kill();
    disk.goes_on();
    let _forebay = start(&state, &origin, &disk);
    eventually("it has arrived", || origin.count("PUT /a") == 1);
}

#[test]
fn writes_whose_clients_have_left_do_not_pile_up() {
    let (state, origin, disk) = (StateDir::new(), Origin::start(ok("old")), Disk::new());
    let forebay = start(&state, &origin, &disk);
    disk.stands_still();
    let clients: Vec<Client> = (0..50).map(|number| asking(&forebay, &write(&format!("/{number}"), ""))).collect();
    // One that waits too long: then all others have been read.
    asking(&forebay, &write("/late", "")).read_response().is_status(503);
    clients.into_iter().for_each(Client::reset);
    disk.goes_on();
    arrives(&forebay, &origin, "/last");
    assert_eq!(origin.count("PUT /late"), 0);
    assert!((0..50).all(|number| origin.count(&format!("PUT /{number}")) == 0));
}

#[test]
fn a_write_through_waits_until_what_was_taken_back_is_so_for_good() {
    let (state, origin, disk) = (StateDir::new(), Origin::start(ok("done")), Disk::new());
    let forebay = start(&state, &origin, &disk);
    disk.stands_still();
    asking(&forebay, &write("/a", "")).read_response().is_status(503);
    let mut through = asking(&forebay, &write("/a", "forebay-write: through\r\n"));
    asking(&forebay, &write("/b", "")).read_response().is_status(503);
    assert_eq!(origin.count("PUT /a"), 0, "a crash now would send the other over it");
    disk.goes_on();
    through.read_response().is(200, "done");
    forebay.kill();
    let forebay = start(&state, &origin, &disk);
    arrives(&forebay, &origin, "/c");
    assert_eq!(origin.count("PUT /a"), 1);
}
