//! Writes that are acknowledged before their backend has them: seen at once, sent later, never lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use testbed::{Forebay, Origin, Response, answer, eventually, forward, ok, reset};

/// A directory of its own, removed in the end.
struct State(PathBuf);

impl State {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("forebay-write-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn forebay(&self, origin: &Origin, keys: &str) -> Forebay {
        let config = forward([origin])
            .server(&format!("state_dir = \"{}\"", self.0.display()))
            .cached("mode = \"write-back\"\nttl = \"60s\"")
            .more(&format!("[route.cache.write_back]\n{keys}"));
        Forebay::start(config)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

const LATER: &str = "flush_interval = \"1h\"";
const SOON: &str = "flush_interval = \"10ms\"\nretry = { base = \"10ms\", max = \"50ms\", attempts = 50 }";

fn send(forebay: &Forebay, method: &str, target: &str, fields: &str, body: &str) -> Response {
    let length = body.len();
    forebay
        .ask(format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
}

fn put(forebay: &Forebay, target: &str, body: &str) -> Response {
    send(forebay, "PUT", target, "Content-Type: text/plain\r\n", body)
}

#[test]
fn a_write_is_acknowledged_and_read_back_before_its_backend_has_it() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    forebay.get("/a").is(200, "old");
    let receipt = put(&forebay, "/a", "new");
    receipt.is(202, "");
    assert!(receipt.field("forebay-write").unwrap().starts_with("queued; seq="), "{}", receipt.head.text());
    let read = forebay.get("/a");
    read.is(200, "new");
    assert_eq!(read.field("content-type"), Some("text/plain"));
    assert_eq!(read.field("etag"), receipt.field("etag"));
    assert!(read.field("forebay-write").unwrap().starts_with("pending; seq="));
    assert_eq!(origin.count("PUT /a"), 0);
}

#[test]
fn it_reaches_the_backend_with_a_key_that_tells_it_from_others() {
    let (state, origin) = (State::new(), Origin::start(ok("fine")));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "new").is(202, "");
    eventually("it has arrived", || origin.count("PUT /a") == 1);
    let seen = origin.last();
    assert_eq!(seen.body, b"new");
    assert!(seen.head.field("idempotency-key").unwrap().starts_with("\"fb-"));
    assert!(seen.head.field("forebay-write").unwrap().starts_with("flush; seq="));
    eventually("reads are the backend's again", || forebay.get("/a").text() == "fine");
}

#[test]
fn of_several_writes_only_the_last_is_sent() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, "flush_interval = \"300ms\"");
    for body in ["one", "two", "three"] {
        put(&forebay, "/a", body).is(202, "");
    }
    forebay.get("/a").is(200, "three");
    eventually("it has arrived", || origin.count("PUT /a") == 1);
    assert_eq!(origin.last().body, b"three");
}

#[test]
fn what_was_deleted_is_gone_at_once() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    send(&forebay, "DELETE", "/a", "", "").is(202, "");
    forebay.get("/a").is_status(404);
}

#[test]
fn writes_are_taken_while_the_backend_is_down_and_arrive_when_it_is_back() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, SOON);
    origin.go_down();
    for number in 0..20 {
        put(&forebay, &format!("/{number}"), &format!("body {number}")).is(202, "");
    }
    forebay.get("/7").is(200, "body 7");
    origin.come_back();
    for number in 0..20 {
        eventually("it has arrived", || origin.count(&format!("PUT /{number}")) >= 1);
    }
}

#[test]
fn what_was_acknowledged_survives_a_restart() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "one").is(202, "");
    put(&forebay, "/a", "two").is(202, "");
    send(&forebay, "DELETE", "/b", "", "").is(202, "");
    drop(forebay);
    let forebay = state.forebay(&origin, LATER);
    eventually("it has arrived", || origin.count("PUT /a") == 1 && origin.count("DELETE /b") == 1);
    assert!(origin.requests().iter().any(|seen| seen.method == "PUT" && seen.body == b"two"));
    drop(forebay);
    let seen = origin.seen();
    let forebay = state.forebay(&origin, SOON);
    forebay.get("/c").is(200, "old");
    assert_eq!(origin.seen(), seen + 1, "nothing is sent again");
}

#[test]
fn what_fails_is_sent_again() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    origin.once(answer(503, &[], ""));
    origin.once(reset());
    origin.once(answer(500, &[], ""));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "new").is(202, "");
    eventually("it has arrived", || origin.count("PUT /a") == 4);
    let keys: Vec<String> =
        origin.requests().iter().map(|seen| seen.head.field("idempotency-key").unwrap().to_owned()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn what_is_refused_is_not_sent_again_and_reads_are_the_backend_s() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    origin.once(answer(422, &[], "no"));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "new").is(202, "");
    eventually("reads are the backend's again", || forebay.get("/a").text() == "old");
    assert_eq!(origin.count("PUT /a"), 1);
}

#[test]
fn a_write_that_wants_to_go_through_goes_behind_what_is_queued() {
    let (state, origin) = (State::new(), Origin::start(ok("done")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "one").is(202, "");
    let through = send(&forebay, "PUT", "/a", "forebay-write: through\r\n", "two");
    through.is(200, "done");
    assert_eq!(through.field("forebay-write"), Some("through"));
    let bodies: Vec<Vec<u8>> = origin.requests().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn conditions_are_judged_against_what_is_queued() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    let tag = put(&forebay, "/a", "one").field("etag").unwrap().to_owned();
    send(&forebay, "PUT", "/a", "If-Match: \"other\"\r\n", "two").is_status(412);
    send(&forebay, "PUT", "/a", &format!("If-Match: {tag}\r\n"), "three").is(202, "");
    forebay.get("/a").is(200, "three");
    forebay.get_with("/a", &format!("If-None-Match: {tag}\r\n")).is(200, "three");
    let now = forebay.get("/a").field("etag").unwrap().to_owned();
    forebay.get_with("/a", &format!("If-None-Match: {now}\r\n")).is_status(304);
    forebay.get_with("/a", "Range: bytes=1-2\r\n").is(206, "hr");
}

#[test]
fn a_post_goes_through_unless_the_route_queues_it() {
    let (state, origin) = (State::new(), Origin::start(ok("made")));
    let forebay = state.forebay(&origin, LATER);
    forebay.post("/a", "x").is(200, "made");
    drop(forebay);
    let state = State::new();
    let forebay = state.forebay(&origin, &format!("{LATER}\nqueue = [\"POST\"]"));
    forebay.post("/a", "x").is(202, "");
    let read = forebay.get("/a");
    read.is(200, "made");
    assert!(read.field("forebay-write").unwrap().starts_with("pending"));
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let _first = state.forebay(&origin, LATER);
    let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| state.forebay(&origin, LATER)));
    assert!(second.is_err());
}
