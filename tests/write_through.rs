//! `write-through`: writes are forwarded first, then reads get what was written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{
    Client, Config, Forebay, Gate, Origin, Response, answer, eventually, forward, hang, ok, reset, script, validated,
};

const STORED: &str = "forebay; fwd=method; stored";

fn through(origin: &Origin) -> Config {
    forward([origin]).cached("mode = \"write-through\"\nttl = \"60s\"")
}

fn request(method: &str, target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

fn send(forebay: &Forebay, method: &str, target: &str, fields: &str, body: &str) -> Response {
    forebay.ask(request(method, target, fields, body))
}

fn put(forebay: &Forebay, body: &str) -> Response {
    send(forebay, "PUT", "/a", "Content-Type: text/plain\r\n", body)
}

/// A client that has sent a PUT and waits.
fn putting(forebay: &Forebay, body: &str) -> Client {
    let mut client = forebay.client();
    client.send(request("PUT", "/a", "", body));
    client
}

#[test]
fn what_was_put_is_what_reads_get() {
    let origin = Origin::start(ok("old"));
    let forebay = Forebay::start(through(&origin));
    forebay.get("/a").is(200, "old");
    origin.once(answer(204, &[("etag", "\"2\""), ("x-other", "1"), ("set-cookie", "a=b")], ""));
    let fields = "Content-Type: text/css\r\nContent-Language: de\r\nX-Own: 1\r\n";
    let written = send(&forebay, "PUT", "/a", fields, "new");
    written.is(204, "").says(STORED);
    assert_eq!(written.field("set-cookie"), Some("a=b"));
    let read = forebay.get("/a");
    read.is(200, "new").is_hit();
    let of = |name| read.field(name);
    assert_eq!((of("content-type"), of("content-language")), (Some("text/css"), Some("de")));
    assert_eq!((of("etag"), of("content-length")), (Some("\"2\""), Some("3")));
    assert_eq!((of("x-own"), of("x-other"), of("set-cookie")), (None, None, None));
    assert_eq!(origin.seen(), 2);
}

#[test]
fn conditions_ranges_and_head_are_answered_from_what_was_put() {
    let origin = Origin::start(answer(200, &[("etag", "\"2\"")], "done"));
    let forebay = Forebay::start(through(&origin));
    put(&forebay, "0123456789").is(200, "done").says(STORED);
    forebay.get_with("/a", "If-None-Match: \"2\"\r\n").is_status(304);
    forebay.get_with("/a", "Range: bytes=2-4\r\n").is(206, "234");
    let head = forebay.client().send("HEAD /a HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response_to("HEAD");
    assert_eq!((head.status, head.field("content-length")), (200, Some("10")));
    assert_eq!(origin.seen(), 1);
}

#[test]
fn an_empty_put_leaves_an_empty_entry() {
    let origin = Origin::start(ok("old"));
    let forebay = Forebay::start(through(&origin));
    put(&forebay, "").says(STORED);
    forebay.get("/a").is(200, "").is_hit();
}

#[test]
fn a_put_in_chunks_is_stored_too() {
    let origin = Origin::start(ok("old"));
    let forebay = Forebay::start(through(&origin));
    let head = "PUT /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    forebay.ask(format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).says(STORED);
    forebay.get("/a").is(200, "abcde").is_hit();
}

#[test]
fn content_that_is_too_long_is_forwarded_and_forgotten() {
    let origin = Origin::start(ok("old"));
    let forebay = Forebay::start(through(&origin).cache("object_bytes_max = \"100KiB\""));
    let long = "x".repeat(100 * 1024 + 1);
    forebay.get("/a").is(200, "old");
    put(&forebay, &long).is(200, "old").says("forebay; fwd=method");
    assert_eq!(origin.last().body.len(), long.len());
    forebay.get("/a").is(200, "old").is_stored();
    let head = "PUT /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    forebay.ask(format!("{head}{:x}\r\n{long}\r\n0\r\n\r\n", long.len())).says("forebay; fwd=method");
    forebay.get("/a").is(200, "old").is_stored();
    let most = "y".repeat(100 * 1024);
    put(&forebay, &most).says(STORED);
    forebay.get("/a").is(200, &most).is_hit();
}

#[test]
fn rfc9110_8_7_an_answer_that_is_the_representation_is_stored_instead() {
    let origin = Origin::start(ok("old"));
    origin.once(answer(201, &[("content-location", "/a"), ("content-type", "text/css")], "sorted"));
    let forebay = Forebay::start(through(&origin));
    put(&forebay, "sent").is(201, "sorted").says(STORED);
    let read = forebay.get("/a");
    read.is(200, "sorted").is_hit();
    assert_eq!(read.field("content-type"), Some("text/css"));
}

#[test]
fn rfc9110_8_7_an_answer_about_another_resource_gives_no_validators_and_is_forgotten_itself() {
    let origin = Origin::start(ok("old"));
    let forebay = Forebay::start(through(&origin));
    forebay.get("/b").is(200, "old");
    origin.once(answer(200, &[("content-location", "/b"), ("etag", "\"b\"")], "receipt"));
    put(&forebay, "new").is(200, "receipt").says(STORED);
    let read = forebay.get("/a");
    read.is(200, "new").is_hit();
    assert_eq!(read.field("etag"), None);
    forebay.get("/b").is(200, "old").is_stored();
}

#[test]
fn what_the_backend_refuses_changes_nothing_and_what_it_fails_at_is_forgotten() {
    for (status, is_hit) in [(400, true), (409, true), (412, true), (500, false), (503, false), (202, false)] {
        let origin = Origin::start(ok("old"));
        let forebay = Forebay::start(through(&origin).upstream("[upstream.retry]\nattempts = 0"));
        forebay.get("/a").is(200, "old");
        origin.once(answer(status, &[], ""));
        put(&forebay, "new").is_status(status).says("forebay; fwd=method");
        forebay.get("/a").is(200, "old");
        assert_eq!(origin.seen(), if is_hit { 2 } else { 3 }, "{status}");
    }
}

#[test]
fn what_may_not_be_stored_is_forgotten() {
    let answered: [&[(&str, &str)]; 4] = [
        &[("cache-control", "no-store")],
        &[("cache-control", "private")],
        &[("vary", "*")],
        &[("cache-control", "max-age=0")],
    ];
    for fields in answered {
        let origin = Origin::start(ok("old"));
        let forebay = Forebay::start(through(&origin));
        origin.once(answer(200, fields, ""));
        put(&forebay, "new").says("forebay; fwd=method");
        forebay.get("/a").is(200, "old").is_stored();
    }
    for fields in ["Authorization: Basic x\r\n", "Cache-Control: no-store\r\n", "Content-Range: bytes 0-2/9\r\n"] {
        let origin = Origin::start(ok("old"));
        let forebay = Forebay::start(through(&origin));
        send(&forebay, "PUT", "/a", fields, "new").says("forebay; fwd=method");
        forebay.get("/a").is(200, "old").is_stored();
    }
}

#[test]
fn other_methods_forget() {
    for method in ["DELETE", "PATCH", "POST", "MKCOL"] {
        let origin = Origin::start(ok("old"));
        let forebay = Forebay::start(through(&origin).upstream("[upstream.retry]\nattempts = 0"));
        put(&forebay, "new").says(STORED);
        send(&forebay, method, "/a", "", "x").is(200, "old");
        forebay.get("/a").is(200, "old").is_stored();
        origin.once(answer(409, &[], ""));
        send(&forebay, method, "/a", "", "x").is_status(409);
        forebay.get("/a").is(200, "old").is_hit();
        origin.once(answer(500, &[], ""));
        send(&forebay, method, "/a", "", "x").is_status(500);
        forebay.get("/a").is(200, "old").is_stored();
    }
}

#[test]
fn an_unknown_end_forgets_and_nothing_is_believed_for_a_while() {
    for broken in [reset(), hang(), answer(504, &[], "")] {
        let origin = Origin::start(ok("old"));
        let keys = "[upstream.timeouts]\nresponse_head = \"200ms\"\n[upstream.retry]\nattempts = 0";
        let forebay = Forebay::start(through(&origin).upstream(keys));
        put(&forebay, "one").says(STORED);
        origin.once(broken);
        // After a reset of a connection that was kept open it goes out once more, and may be applied twice.
        put(&forebay, "two").says_first("forebay; fwd=method");
        forebay.get("/a").is(200, "old").is_stored();
        put(&forebay, "three").is(200, "old").says("forebay; fwd=method");
        forebay.get("/a").is(200, "old").is_stored();
        testbed::advance(std::time::Duration::from_secs(121));
        put(&forebay, "four").says(STORED);
        forebay.get("/a").is(200, "four").is_hit();
    }
}

#[test]
fn a_write_that_was_never_sent_changes_nothing() {
    let origin = Origin::start(ok("old"));
    let forebay = Forebay::start(through(&origin).upstream("[upstream.retry]\nattempts = 0"));
    put(&forebay, "one").says(STORED);
    origin.go_down();
    assert!(put(&forebay, "two").status >= 500);
    forebay.get("/a").is(200, "one").is_hit();
}

#[test]
fn of_two_writers_at_once_neither_is_stored_whoever_is_answered_first() {
    for first_ends_first in [true, false] {
        let origin = Origin::start(ok("truth"));
        let gates = [Gate::new(), Gate::new()];
        origin.once(script().wait(&gates[0]).then(ok("")));
        let forebay = Forebay::start(through(&origin).server("workers = 2"));
        let mut first = putting(&forebay, "one");
        eventually("the first is there", || origin.seen() == 1);
        origin.once(script().wait(&gates[1]).then(ok("")));
        let mut second = putting(&forebay, "two");
        eventually("the second is there", || origin.seen() == 2);
        let (earlier, later) = if first_ends_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
        let order = if first_ends_first { [0, 1] } else { [1, 0] };
        gates[order[0]].open();
        earlier.read_response().is(200, "").says("forebay; fwd=method");
        gates[order[1]].open();
        later.read_response().is(200, "").says("forebay; fwd=method");
        forebay.get("/a").is(200, "truth").is_stored();
        put(&forebay, "three").says(STORED);
        forebay.get("/a").is(200, "three").is_hit();
    }
}

#[test]
fn a_write_by_another_route_counts_as_another_writer() {
    let (origin, gate) = (Origin::start(ok("truth")), Gate::new());
    origin.once(script().wait(&gate).then(ok("")));
    let other = "[[route]]\nupstream = \"origins\"\npath = \"/\"\nmethods = [\"PATCH\"]";
    let forebay = Forebay::start(through(&origin).more(other));
    let mut patching = forebay.client();
    patching.send(request("PATCH", "/a", "", "x"));
    eventually("the patch is there", || origin.seen() == 1);
    put(&forebay, "new").says("forebay; fwd=method");
    gate.open();
    patching.read_response().is(200, "");
    forebay.get("/a").is(200, "truth").is_stored();
    put(&forebay, "new").says(STORED);
}

#[test]
fn what_broke_off_under_way_leaves_nothing() {
    let origin = Origin::start(ok("truth"));
    let forebay = Forebay::start(through(&origin));
    put(&forebay, "one").says(STORED);
    let mut client = forebay.client();
    client.send("PUT /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
    client.read_response().is_status(400);
    forebay.get("/a").is(200, "truth").is_stored();
}

#[test]
fn a_fetch_begun_before_a_put_is_not_stored_over_it() {
    let (origin, gate) = (Origin::start(ok("")), Gate::new());
    origin.once(script().wait(&gate).then(ok("old")));
    let forebay = Forebay::start(through(&origin));
    let mut reading = forebay.client();
    reading.send("GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    eventually("the read is there", || origin.seen() == 1);
    put(&forebay, "new").says(STORED);
    gate.open();
    reading.read_response().is(200, "old");
    forebay.get("/a").is(200, "new").is_hit();
}

#[test]
fn a_fetch_begun_during_a_put_is_not_stored_over_it() {
    let (origin, gates) = (Origin::start(ok("")), [Gate::new(), Gate::new()]);
    origin.once(script().wait(&gates[0]).then(ok("")));
    let forebay = Forebay::start(through(&origin));
    let mut writing = putting(&forebay, "new");
    eventually("the write is there", || origin.seen() == 1);
    origin.once(script().wait(&gates[1]).then(ok("old")));
    let mut reading = forebay.client();
    reading.send("GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    eventually("the read is there", || origin.seen() == 2);
    gates[0].open();
    writing.read_response().says(STORED);
    gates[1].open();
    reading.read_response().is(200, "old");
    forebay.get("/a").is(200, "new").is_hit();
}

#[test]
fn a_put_whose_uri_is_purged_meanwhile_is_not_stored() {
    let (origin, gate) = (Origin::start(ok("truth")), Gate::new());
    origin.once(script().wait(&gate).then(ok("")));
    let forebay = Forebay::start(through(&origin));
    let mut writing = putting(&forebay, "new");
    eventually("the write is there", || origin.seen() == 1);
    origin.once(answer(200, &[("location", "/a")], ""));
    send(&forebay, "POST", "/other", "", "x").is(200, "");
    gate.open();
    writing.read_response().says("forebay; fwd=method");
    forebay.get("/a").is(200, "truth").is_stored();
}

#[test]
fn an_early_answer_leaves_nothing() {
    let origin = Origin::start(ok("truth"));
    origin.once(script().before_body().send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").hang());
    let forebay = Forebay::start(through(&origin));
    let mut client = forebay.client();
    client.send("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 9\r\n\r\nabc");
    client.read_response().is_status(200).says("forebay; fwd=method");
    forebay.get("/a").is(200, "truth").is_stored();
}

#[test]
fn a_client_that_leaves_meanwhile_leaves_nothing() {
    let (origin, gate) = (Origin::start(ok("truth")), Gate::new());
    let forebay = Forebay::start(through(&origin));
    put(&forebay, "one").says(STORED);
    origin.once(script().wait(&gate).then(ok("")));
    let writing = putting(&forebay, "two");
    eventually("the write is there", || origin.seen() == 2);
    writing.reset();
    eventually("the URI is invalidated", || forebay.get("/a").text() == "truth");
    gate.open();
    put(&forebay, "three").says("forebay; fwd=method");
}

#[test]
fn what_was_put_is_found_by_the_tags_of_its_answer_and_they_stay_here() {
    let origin = Origin::start(ok("old"));
    origin.once(answer(200, &[("surrogate-key", "x y")], ""));
    let forebay = Forebay::start(through(&origin).cache("purge_from = [\"127.0.0.1\"]"));
    let written = put(&forebay, "new");
    written.says(STORED);
    assert_eq!(written.field("surrogate-key"), None);
    let read = forebay.get("/a");
    read.is(200, "new").is_hit();
    assert_eq!(read.field("surrogate-key"), None);
    forebay
        .ask("PURGE / HTTP/1.1\r\nHost: shop.test\r\nforebay-purge: tag\r\nforebay-purge-tag: y\r\n\r\n")
        .is_status(200);
    forebay.get("/a").is(200, "old").is_stored();
}

#[test]
fn what_is_not_fresh_but_has_a_validator_is_confirmed_before_each_use() {
    let origin = Origin::start(validated("\"2\"", "old", &[("cache-control", "max-age=0")]));
    let forebay = Forebay::start(through(&origin));
    put(&forebay, "new").says(STORED);
    forebay.get("/a").is(200, "new");
    assert_eq!(origin.last().head.field("if-none-match"), Some("\"2\""));
}

#[test]
fn variants_of_before_are_gone_and_only_the_writers_own_is_there() {
    let origin = Origin::start(answer(200, &[("vary", "accept-language")], "old"));
    let forebay = Forebay::start(through(&origin));
    forebay.get_with("/a", "Accept-Language: de\r\n").is(200, "old");
    forebay.get_with("/a", "Accept-Language: en\r\n").is(200, "old");
    send(&forebay, "PUT", "/a", "Accept-Language: de\r\n", "new").says(STORED);
    forebay.get_with("/a", "Accept-Language: de\r\n").is(200, "new").is_hit();
    forebay.get_with("/a", "Accept-Language: en\r\n").is(200, "old").says("forebay; fwd=vary-miss; stored");
}
