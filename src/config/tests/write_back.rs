//! Tests of `mode` of a route's cache and `[route.cache.write_back]`: accepted values, and problems.

use std::time::Duration;

use http::Method;

use super::{LISTEN, fine, problems, refused};
use crate::config::plan::{CacheMode, Durability, OnDiskError, WriteBack, WriteRetry};

/// A file with a state directory and one forwarding route whose cache table holds these lines.
fn caching(lines: &str) -> String {
    format!("{LISTEN}[server]\nstate_dir = \"/s\"\n{}", route("/", lines))
}

fn route(path: &str, lines: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nbackends = [\"http://a\"]\n[route.cache]\n{lines}\n")
}

/// The same with `mode = "write-back"` and these lines in its table.
fn writing_back(lines: &str) -> String {
    caching(&format!("mode = \"write-back\"\n[route.cache.write_back]\n{lines}"))
}

fn write_back_of(text: &str) -> WriteBack {
    match &fine(text).routes[0].cache.as_deref().expect("it caches").mode {
        CacheMode::Back(write_back) => write_back.clone(),
        CacheMode::Aside | CacheMode::Through => panic!("no write-back"),
    }
}

#[test]
fn what_is_left_out_of_write_back_has_its_default() {
    let expected = WriteBack {
        flush_interval: Duration::from_secs(5),
        pending_bytes_max: 64 << 20,
        body_bytes_max: 8 << 20,
        durability: Durability::Fsync,
        ack_timeout: Duration::from_secs(5),
        retry: WriteRetry { base: Duration::from_secs(1), max: Duration::from_secs(30), attempts: 8 },
        queue: Vec::new(),
        keep_headers: Vec::new(),
        on_disk_error: OnDiskError::Refuse,
        concurrency: 16.try_into().unwrap(),
        rate_max: None,
        timeout: Duration::from_secs(30),
    };
    assert_eq!(write_back_of(&caching("mode = \"write-back\"")), expected);
    assert_eq!(write_back_of(&writing_back("")), expected);
}

#[test]
fn every_key_of_write_back_is_read() {
    let expected = WriteBack {
        flush_interval: Duration::ZERO,
        pending_bytes_max: 1 << 20,
        body_bytes_max: 64 << 10,
        durability: Durability::Batch,
        ack_timeout: Duration::from_millis(700),
        retry: WriteRetry { base: Duration::from_millis(10), max: Duration::from_secs(1), attempts: 1 },
        queue: vec![Method::PATCH, Method::POST],
        keep_headers: vec!["authorization".parse().unwrap(), "x-user".parse().unwrap()],
        on_disk_error: OnDiskError::Through,
        concurrency: 1.try_into().unwrap(),
        rate_max: 100.try_into().ok(),
        timeout: Duration::from_secs(2),
    };
    let lines = "flush_interval = 0\npending_bytes_max = \"1MiB\"\nbody_bytes_max = \"64KiB\"\n\
                 durability = \"batch-5ms\"\nack_timeout = \"700ms\"\nretry = { base = \"10ms\", max = \"1s\", attempts = 1 }\n\
                 queue = [\"PATCH\", \"POST\", \"PATCH\"]\nkeep_headers = [\"Authorization\", \"x-user\", \"X-User\"]\n\
                 on_disk_error = \"through\"\nconcurrency = 1\nrate_max = 100\ntimeout = \"2s\"";
    assert_eq!(write_back_of(&writing_back(lines)), expected);
    assert_eq!(write_back_of(&writing_back("durability = \"os\"")).durability, Durability::Os);
}

#[test]
fn the_defaults_give_way_to_a_small_memory() {
    let small = |lines: &str| format!("[cache]\nmemory_max = \"4MiB\"\n{lines}");
    let text = writing_back("").replace("[[route]]", &small("[[route]]"));
    let write_back = write_back_of(&text);
    assert_eq!((write_back.pending_bytes_max, write_back.body_bytes_max), (2 << 20, 1 << 20));
    assert_eq!(write_back_of(&writing_back("pending_bytes_max = \"1MiB\"")).body_bytes_max, 1 << 20);
}

#[test]
fn write_through_stores_for_a_time() {
    for time in ["ttl = \"1m\"", "ttl_force = \"1m\""] {
        let plan = fine(&caching(&format!("mode = \"write-through\"\n{time}")));
        assert_eq!(plan.routes[0].cache.as_deref().unwrap().mode, CacheMode::Through);
    }
    refused(&caching("mode = \"write-through\""), "write-through has no time to store for | say for how long: add ttl");
}

#[test]
fn write_back_needs_a_place_for_its_journal() {
    let text = writing_back("").replace("state_dir = \"/s\"", "");
    refused(&text, "write-back has nowhere to keep its journal | name a directory: state_dir = \"/var/lib/forebay\"");
}

#[test]
fn the_table_is_for_write_back_alone() {
    let table = "[route.cache.write_back]\nconcurrency = 2";
    refused(&caching(&format!("ttl = \"1m\"\n{table}")), "write_back has no effect | it is for mode = \"write-back\"");
    refused(&caching(&format!("mode = \"write-through\"\nttl = \"1m\"\n{table}")), "write_back has no effect");
    assert!(fine(&caching(&format!("mode = \"off\"\n{table}"))).routes[0].cache.is_none());
    refused(&caching("mode = \"off\"\nwrite_back = { timeout = 5 }"), "timeout has no unit");
}

#[test]
fn keys_of_write_back_are_checked() {
    for (lines, words) in [
        ("flush = \"5s\"", "unknown key \"flush\" in [route.cache.write_back]"),
        ("flush_interval = 5", "flush_interval has no unit | write it as \"5s\""),
        ("flush_interval = \"2h\"", "flush_interval is out of range | from 0 to 1h"),
        ("pending_bytes_max = \"512B\"", "pending_bytes_max is out of range | from 1KiB"),
        (
            "pending_bytes_max = \"129MiB\"",
            "pending_bytes_max is more than half of the cache's memory_max | at most 128MiB",
        ),
        ("body_bytes_max = \"9MiB\"", "body_bytes_max is more than the cache's object_bytes_max | at most 8MiB"),
        (
            "pending_bytes_max = \"1MiB\"\nbody_bytes_max = \"2MiB\"",
            "body_bytes_max is more than pending_bytes_max | at most 1MiB",
        ),
        ("durability = \"sync\"", "durability can't be \"sync\" | did you mean \"fsync\"?"),
        ("durability = \"batch\"", "durability can't be \"batch\" |"),
        ("retry = 3", "retry is a table, not a whole number | write retry = { … }"),
        ("retry = { tries = 3 }", "unknown key \"tries\" in retry = { … }"),
        ("retry = { base = \"0s\" }", "base is out of range | from 1ms to 1h"),
        ("retry = { base = \"1m\" }", "the first wait is longer than the longest | base is 1m, max 30s"),
        ("retry = { max = \"1ms\" }", "the first wait is longer than the longest | base is 1s, max 1ms"),
        ("retry = { attempts = 0 }", "attempts is out of range | from 1 to 1000000"),
        ("queue = [\"PUT\"]", "\"PUT\" can't be queued | POST or PATCH; PUT and DELETE are always queued"),
        ("queue = [\"post\"]", "\"post\" can't be queued"),
        ("queue = \"POST\"", "queue is a list of strings, not a string"),
        ("keep_headers = [\"a b\"]", "no name of a header field"),
        ("keep_headers = [\"If-Match\"]", "if-match can't be kept | leave it out"),
        ("keep_headers = [\"content-length\"]", "content-length can't be kept"),
        ("keep_headers = [\"idempotency-key\"]", "idempotency-key can't be kept"),
        ("on_disk_error = \"fail\"", "on_disk_error can't be \"fail\" | one of refuse, through"),
        ("concurrency = 0", "concurrency is out of range | from 1 to 1024"),
        ("rate_max = -1", "rate_max is out of range | from 0 to 1000000"),
        ("timeout = 0", "timeout is out of range | from 1ms to 1h"),
    ] {
        refused(&writing_back(lines), words);
    }
}

#[test]
fn what_may_wait_on_all_routes_must_fit_into_the_memory() {
    let mode = "mode = \"write-back\"";
    let two = format!("{}{}", caching(mode), route("/b", mode));
    fine(&two);
    let words = "the pending_bytes_max of all routes up to this are more than half of memory_max | at most 128MiB";
    refused(&format!("{two}{}", route("/c", mode)), words);
    assert_eq!(problems(&format!("{two}{}{}", route("/c", mode), route("/d", mode))).len(), 1);
}
