//! A write that its backend has accepted becomes a stored response, as with `write-through`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};

use testbed::{Forebay, Gate, Origin, Response, StateDir, answer, eventually, forward, ok, reset, script};

const TTL: &str = "ttl = \"60s\"";
const SOON: &str = "flush_interval = \"10ms\"\nretry = { base = \"10ms\", max = \"50ms\", attempts = 50 }";

/// A proxy that queues writes, its journal and its backend.
struct Kept {
    forebay: Forebay,
    origin: Origin,
    _state: StateDir,
}

impl Kept {
    /// `cache` are keys of the route's cache, `write_back` those of its write-back.
    fn start(origin: Origin, cache: &str, write_back: &str) -> Self {
        let state = StateDir::new();
        let config = forward([&origin])
            .server(&state.key())
            .upstream("[upstream.retry]\nattempts = 0")
            .cached(&format!("mode = \"write-back\"\n{cache}"))
            .more(&format!("[route.cache.write_back]\n{SOON}\n{write_back}"));
        Self { forebay: Forebay::start(config), origin, _state: state }
    }

    fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> Response {
        let length = body.len();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
        self.forebay.ask(request)
    }

    /// Sends a write, and waits until the backend has it and it is no longer pending.
    fn put(&self, fields: &str, body: &str) -> Response {
        let receipt = self.send("PUT", "/a", &format!("Content-Type: text/css\r\n{fields}"), body);
        receipt.is(202, "");
        self.is_flushed("PUT /a");
        receipt
    }

    fn is_flushed(&self, write: &str) {
        eventually("it has arrived", || self.origin.count_whole(write) > 0);
        eventually("nothing is pending", || self.forebay.gauges().pending_writes == 0);
    }

    fn get(&self) -> Response {
        self.forebay.get("/a")
    }
}

/// A backend that answers writes in this way, and reads with "of the backend".
fn backend(status: u16, fields: &[(&str, &str)]) -> Origin {
    let origin = Origin::start(ok("of the backend"));
    origin.once(answer(status, fields, ""));
    origin
}

#[test]
fn a_flushed_write_stays_readable_when_its_backend_goes_away() {
    let kept = Kept::start(backend(204, &[("etag", "\"1\"")]), TTL, "");
    kept.put("", "new");
    kept.origin.go_down();
    let read = kept.get();
    read.is(200, "new").is_hit();
    assert_eq!((read.field("content-type"), read.field("etag")), (Some("text/css"), Some("\"1\"")));
    assert_eq!(read.field("forebay-write"), None);
    assert_eq!(kept.forebay.get_with("/a", "Range: bytes=1-2\r\n").is(206, "ew").status, 206);
}

#[test]
fn without_a_time_and_a_validator_it_serves_while_no_backend_answers() {
    let kept = Kept::start(backend(204, &[]), "", "");
    kept.put("", "new");
    kept.origin.go_down();
    kept.get().is(200, "new").says("forebay; fwd=stale; detail=stale-if-error");
    kept.origin.come_back();
    eventually("the backend is asked again", || kept.get().text() == "of the backend");
    kept.origin.go_down();
    assert_eq!(kept.get().status / 100, 5, "its own answer names no time and is not stored");
}

#[test]
fn rfc9111_4_2_4_it_does_not_where_that_is_forbidden() {
    for forbidden in ["must-revalidate", "proxy-revalidate", "s-maxage=0", "no-store", "private", "no-cache"] {
        let kept = Kept::start(backend(204, &[("cache-control", forbidden)]), "", "");
        kept.put("", "new");
        kept.origin.go_down();
        assert_eq!(kept.get().status / 100, 5, "{forbidden}");
    }
    let kept = Kept::start(backend(204, &[]), "stale_if_error = \"0s\"", "");
    kept.put("", "new");
    kept.origin.go_down();
    assert_eq!(kept.get().status / 100, 5);
}

#[test]
fn the_tag_of_a_queued_write_ends_with_the_flush_and_the_backend_judges_it() {
    let kept = Kept::start(backend(200, &[("etag", "\"1\"")]), TTL, "");
    let tag = kept.put("", "new").field("etag").unwrap().to_owned();
    assert!(tag.starts_with("\"fb-"));
    kept.forebay.get_with("/a", &format!("If-None-Match: {tag}\r\n")).is(200, "new").is_hit();
    kept.forebay.get_with("/a", "If-None-Match: \"1\"\r\n").is_status(304);
    kept.origin.once(answer(412, &[], ""));
    let refused = kept.send("PUT", "/a", &format!("If-Match: {tag}\r\n"), "newer");
    assert_eq!((refused.status, refused.field("forebay-write")), (412, Some("through")));
    assert_eq!(kept.origin.last().head.field("if-match"), Some(&*tag));
    kept.get().is(200, "new").is_hit();
}

#[test]
fn without_a_tag_of_the_backend_s_what_was_flushed_has_none() {
    let kept = Kept::start(backend(204, &[]), TTL, "");
    let tag = kept.put("", "new").field("etag").unwrap().to_owned();
    assert_eq!(kept.get().is(200, "new").field("etag"), None);
    kept.forebay.get_with("/a", &format!("If-None-Match: {tag}\r\n")).is(200, "new").is_hit();
}

#[test]
fn rfc9111_3_5_what_was_written_with_credentials_is_kept_only_if_the_answer_lets_others_have_it() {
    let keep = "keep_headers = [\"authorization\", \"cookie\"]";
    for field in ["Authorization: Basic x\r\n", "Cookie: a=b\r\n"] {
        for (answered, is_kept) in [("max-age=60", false), ("public, max-age=60", true), ("s-maxage=60", true)] {
            let kept = Kept::start(backend(204, &[("etag", "\"1\""), ("cache-control", answered)]), TTL, keep);
            kept.put(field, "mine");
            kept.origin.go_down();
            let status = if is_kept { kept.get().is(200, "mine").status } else { kept.get().status };
            assert_eq!(status == 200, is_kept, "{field} {answered}");
        }
    }
}

#[test]
fn a_flushed_delete_leaves_nothing() {
    let kept = Kept::start(backend(204, &[]), TTL, "");
    kept.put("", "new");
    kept.get().is(200, "new").is_hit();
    kept.send("DELETE", "/a", "", "").is(202, "");
    kept.is_flushed("DELETE /a");
    kept.get().is(200, "of the backend").is_stored();
}

#[test]
fn what_was_flushed_is_replaced_by_the_next_write_at_once_and_for_good() {
    let kept = Kept::start(backend(204, &[]), TTL, "");
    kept.put("", "one");
    kept.origin.go_down();
    kept.send("PUT", "/a", "", "two").is(202, "");
    let read = kept.get();
    read.is(200, "two");
    assert!(read.field("forebay-write").unwrap().starts_with("pending"));
    kept.origin.come_back();
    kept.is_flushed("PUT /a");
    eventually("it has arrived, too", || kept.origin.last().body == b"two");
    kept.get().is(200, "two");
}

#[test]
fn a_write_that_came_meanwhile_keeps_it_dirty_and_nothing_older_comes_back() {
    let (origin, gates) = (Origin::start(ok("of the backend")), [Gate::new(), Gate::new()]);
    origin.once(script().wait(&gates[0]).then(answer(204, &[], "")));
    origin.once(script().wait(&gates[1]).then(answer(422, &[], "")));
    let kept = Kept::start(origin, TTL, "");
    kept.send("PUT", "/a", "", "one").is(202, "");
    eventually("the first is on its way", || kept.origin.count("PUT /a") == 1);
    kept.send("PUT", "/a", "", "two").is(202, "");
    gates[0].open();
    eventually("the second is on its way", || kept.origin.count("PUT /a") == 2);
    let read = kept.get();
    read.is(200, "two");
    assert!(read.field("forebay-write").unwrap().starts_with("pending"));
    gates[1].open();
    eventually("the second is refused", || kept.forebay.gauges().pending_writes == 0);
    kept.get().is(200, "of the backend").is_stored();
}

#[test]
fn no_reader_sees_anything_older_or_an_error_while_it_is_flushed() {
    let (origin, gate) = (Origin::start(answer(500, &[], "too early")), Gate::new());
    origin.once(ok("old"));
    origin.once(script().wait(&gate).then(answer(204, &[], "")));
    let state = StateDir::new();
    let config = forward([&origin])
        .server(&format!("{}\nworkers = 3", state.key()))
        .cached(&format!("mode = \"write-back\"\n{TTL}"))
        .more(&format!("[route.cache.write_back]\n{SOON}"));
    let forebay = Forebay::start(config);
    forebay.get("/a").is(200, "old");
    forebay.ask("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew").is(202, "");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|readers| {
        for _ in 0..3 {
            readers.spawn(|| {
                let mut client = forebay.client();
                while !is_over.load(Ordering::Relaxed) {
                    client.send("GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response().is(200, "new");
                }
            });
        }
        gate.open();
        eventually("it is flushed", || forebay.gauges().pending_writes == 0);
        forebay.get("/a").is(200, "new").is_hit();
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(origin.count("GET /a"), 1);
}

#[test]
fn a_purge_while_it_is_flushed_wins() {
    let (origin, gate) = (Origin::start(ok("of the backend")), Gate::new());
    origin.once(script().wait(&gate).then(answer(204, &[], "")));
    let state = StateDir::new();
    let config = forward([&origin])
        .server(&state.key())
        .cache("purge_from = [\"127.0.0.1\"]")
        .cached(&format!("mode = \"write-back\"\n{TTL}"))
        .more(&format!("[route.cache.write_back]\n{SOON}"));
    let forebay = Forebay::start(config);
    forebay.ask("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew").is(202, "");
    eventually("it is on its way", || origin.count("PUT /a") == 1);
    forebay.ask("PURGE /a HTTP/1.1\r\nHost: shop.test\r\n\r\n").is_status(200);
    forebay.get("/a").is(200, "new");
    gate.open();
    eventually("it is flushed", || forebay.gauges().pending_writes == 0);
    forebay.get("/a").is(200, "of the backend").is_stored();
}

#[test]
fn it_is_kept_also_if_it_took_several_attempts() {
    for failure in [answer(503, &[], ""), reset()] {
        let origin = Origin::start(ok("of the backend"));
        origin.once(failure);
        origin.once(answer(204, &[], ""));
        let kept = Kept::start(origin, TTL, "");
        kept.put("", "new");
        kept.origin.go_down();
        kept.get().is(200, "new").is_hit();
    }
}

#[test]
fn of_two_that_may_be_applied_in_either_order_nothing_is_kept() {
    let (origin, gate) = (Origin::start(ok("of the backend")), Gate::new());
    origin.once(script().wait(&gate).then(reset()));
    let kept = Kept::start(origin, TTL, "");
    kept.send("PUT", "/a", "", "one").is(202, "");
    eventually("the first is on its way", || kept.origin.count("PUT /a") == 1);
    kept.send("PUT", "/a", "", "two").is(202, "");
    gate.open();
    eventually("nothing is pending", || kept.forebay.gauges().pending_writes == 0);
    assert_eq!(kept.origin.last().body, b"two");
    kept.get().is(200, "of the backend").is_stored();
}

#[test]
fn rfc9110_8_7_an_answer_that_is_the_representation_is_kept_instead() {
    let long = "sorted ".repeat(20_000);
    let origin = Origin::start(ok("of the backend"));
    origin.once(answer(200, &[("content-location", "/a"), ("content-type", "text/plain")], &long));
    let kept = Kept::start(origin, TTL, "");
    kept.put("", "sent");
    kept.origin.go_down();
    let read = kept.get();
    read.is(200, &long).is_hit();
    assert_eq!(read.field("content-type"), Some("text/plain"));
}

#[test]
fn what_another_route_has_stored_of_it_goes() {
    let origin = Origin::start(ok("old"));
    let state = StateDir::new();
    let other =
        "[[route]]\nupstream = \"origins\"\npath = \"/\"\nheaders = { x-other = \"1\" }\n[route.cache]\nttl = \"60s\"";
    let config = forward([&origin])
        .server(&state.key())
        .cached(&format!("mode = \"write-back\"\n{TTL}"))
        .more(&format!("[route.cache.write_back]\n{SOON}\n{other}"));
    let forebay = Forebay::start(config);
    forebay.get_with("/a", "x-other: 1\r\n").is(200, "old");
    forebay.get_with("/a", "x-other: 1\r\n").is(200, "old").is_hit();
    forebay.ask("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew").is(202, "");
    eventually("it is flushed", || forebay.gauges().pending_writes == 0);
    origin.now(ok("newest"));
    forebay.get_with("/a", "x-other: 1\r\n").is(200, "newest");
}

#[test]
fn readers_get_what_was_written_in_the_coding_that_its_writer_takes() {
    let vary = [("vary", "accept-encoding"), ("cache-control", "max-age=60")];
    let kept = Kept::start(backend(204, &vary), "", "");
    kept.put("Accept-Encoding: gzip, br\r\n", "new");
    kept.origin.go_down();
    kept.forebay.get_with("/a", "Accept-Encoding: br, gzip\r\n").is(200, "new").is_hit();
    assert_eq!(kept.get().status / 100, 5);
}

#[test]
fn it_is_found_by_the_host_that_clients_name_whatever_the_backend_is_told() {
    for host in ["shop.test", "shop.test.", "SHOP.test:8080"] {
        for keys in ["", "set_request_headers = { x-forwarded-host = \"inner.test\" }"] {
            let (state, origin) = (StateDir::new(), backend(204, &[]));
            let config = forward([&origin])
                .server(&state.key())
                .upstream("host = \"backend\"")
                .route(keys)
                .cached(&format!("mode = \"write-back\"\n{TTL}"))
                .more(&format!("[route.cache.write_back]\n{SOON}"));
            let forebay = Forebay::start(config);
            let ask = |head: &str| forebay.ask(format!("{head} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
            ask("PUT /a").is(202, "");
            eventually("it is flushed", || forebay.gauges().pending_writes == 0);
            origin.go_down();
            ask("GET /a").is(200, "").is_hit();
        }
    }
}

#[test]
fn a_field_that_keys_are_made_of_has_to_be_kept() {
    for (keep, is_kept) in [("", false), ("keep_headers = [\"x-tenant\"]", true)] {
        let cache = format!("{TTL}\nkey = {{ headers = [\"x-tenant\"] }}");
        let kept = Kept::start(backend(204, &[]), &cache, keep);
        kept.put("X-Tenant: one\r\n", "of one");
        kept.origin.go_down();
        assert_eq!(kept.forebay.get_with("/a", "X-Tenant: one\r\n").status == 200, is_kept);
        assert_eq!(kept.get().status / 100, 5);
    }
}

#[test]
fn a_restart_leaves_nothing_of_what_its_backend_has() {
    let (state, origin) = (StateDir::new(), backend(204, &[]));
    let start = |origin: &Origin| {
        let config = forward([origin])
            .server(&state.key())
            .cached(&format!("mode = \"write-back\"\n{TTL}"))
            .more(&format!("[route.cache.write_back]\n{SOON}"));
        Forebay::start(config)
    };
    let forebay = start(&origin);
    forebay.ask("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew").is(202, "");
    eventually("it is flushed", || forebay.gauges().pending_writes == 0);
    forebay.get("/a").is(200, "new");
    drop(forebay);
    start(&origin).get("/a").is(200, "of the backend").is_stored();
}
