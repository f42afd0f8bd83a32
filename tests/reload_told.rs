//! The event log of a reload: what has changed, and which keys wait for the next start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Origin, Process, StateDir, eventually, forward, hang, ok};

const BINARY: &str = env!("CARGO_BIN_EXE_forebay");

/// This configuration, with events of that level.
fn at_level(config: Config, level: &str) -> String {
    config.to_string().replace("level = \"error\"", &format!("level = \"{level}\""))
}

fn put(forebay: &Forebay) -> u16 {
    forebay.ask("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew").status
}

#[test]
fn the_event_log_says_what_a_reload_has_changed_and_what_waits_for_the_next_start() {
    let origin = Origin::start(ok(""));
    let process = Process::start(BINARY, at_level(forward([&origin]), "info"));
    process.reload(at_level(forward([&origin]), "info"));
    process.told(&["INFO", "reloaded: 1 route, 1 upstream, 1 backend; nothing has changed"]);
    let keys = "workers = 3\nidle_timeout = \"10s\"\nstate_dir = \"/var/lib/forebay\"";
    let other = forward([&origin]).server(keys).more("[[route]]\npath = \"/new\"\nrespond = {}");
    process.reload(at_level(other, "info"));
    process.told(&["INFO", "reloaded: 2 routes", "; routes added: /new; keys changed: server.idle_timeout"]);
    process.told(&["WARN", "takes effect at the next start: server.state_dir, server.workers"]);
}

#[test]
fn the_level_of_the_event_log_changes_with_a_reload() {
    let origin = Origin::start(ok(""));
    let process =
        Process::start(BINARY, forward([&origin]).to_string().replace("access = \"off\"", "access = \"json\""));
    process.reload(at_level(forward([&origin]).server("idle_timeout = \"9s\""), "info"));
    process.told(&["INFO", "keys changed: ", "log.level, server.idle_timeout"]);
}

#[test]
fn a_shorter_shutdown_timeout_holds_for_the_next_drain() {
    let origin = Origin::start(hang());
    let process = Process::start(BINARY, at_level(forward([&origin]).server("shutdown_timeout = \"10m\""), "info"));
    let mut client = process.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the backend has it", || origin.seen() == 1);
    process.reload(at_level(forward([&origin]).server("shutdown_timeout = \"100ms\""), "info"));
    process.told(&["reloaded", "keys changed: server.shutdown_timeout"]);
    process.signal("TERM");
    process.ended();
}

#[test]
fn a_route_made_write_back_queues_writes_at_once_where_there_is_a_journal() {
    let (state, origin) = (StateDir::new(), Origin::start(ok("")));
    let config =
        |mode: &str| forward([&origin]).server(&state.key()).cached(&format!("mode = \"{mode}\"\nttl = \"60s\""));
    let forebay = Forebay::start(config("cache-aside"));
    assert_eq!(put(&forebay), 200);
    let (told, waiting) = forebay.reload_told(config("write-back"));
    assert_eq!((told.as_str(), waiting), ("routes changed: /", None));
    eventually("writes are queued", || put(&forebay) == 202);
}

#[test]
fn a_route_made_write_back_without_a_journal_is_said_to_wait_and_writes_go_through() {
    let (state, origin) = (StateDir::new(), Origin::start(ok("")));
    let forebay = Forebay::start(forward([&origin]).cached("ttl = \"60s\""));
    let back = || forward([&origin]).server(&state.key()).cached("mode = \"write-back\"\nttl = \"60s\"");
    for _ in 0..2 {
        let (_, waiting) = forebay.reload_told(back());
        assert_eq!(waiting.as_deref(), Some("server.state_dir, mode = \"write-back\" of route /"));
    }
    assert_eq!(put(&forebay), 200);
    drop(forebay);
    assert_eq!(put(&Forebay::start(back())), 202);
}
