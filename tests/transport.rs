//! HTTP/1.1 towards backends: early responses, interim responses, stale and unexpected bytes, limits, aborts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixListener;

use testbed::{
    BodyEnd, Config, Ending, Forebay, Gate, Origin, Process, Script, answer, chunked, close, echo, eventually, forward,
    hang, ok, raw, routes, script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const EXPECTING: &str = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";

fn before(script: Script) -> (Origin, Forebay) {
    let origin = Origin::start(script);
    let forebay = Forebay::start(forward([&origin]));
    (origin, forebay)
}

/// No retries, except on a kept connection that was already closed.
fn without_retries(origin: &Origin) -> Config {
    forward([origin]).upstream("[upstream.retry]\nattempts = 0\n[upstream.ejection]\nconsecutive_failures = 0")
}

/// A response head with so many fields.
fn with_fields(count: usize) -> String {
    let mut head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n".to_owned();
    (1..count).for_each(|number| write!(head, "X-{number}: {number}\r\n").unwrap());
    head + "\r\nmany"
}

#[test]
fn an_early_answer_is_delivered_although_the_backend_closes_hard() {
    let early = script().before_body().then(answer(413, &[("Connection", "close")], "enough")).reset();
    let (origin, forebay) = before(early);
    let sent = "a".repeat(300_000);
    for round in 0..200 {
        let mut client = forebay.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n").try_send(&sent);
        let response = client.read_response();
        assert_eq!((response.status, response.text().as_str()), (413, "enough"), "round {round}");
    }
    assert_eq!(origin.seen(), 200);
    forebay.is_idle();
}

#[test]
fn a_backend_that_closes_during_the_upload_without_an_answer_is_a_bad_gateway() {
    let (_origin, forebay) = before(script().before_body().reset());
    for _ in 0..20 {
        let mut client = forebay.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n").try_send("a".repeat(300_000));
        client.read_response().is_status(502);
    }
    forebay.is_idle();
}

#[test]
fn the_rest_of_an_upload_goes_on_behind_an_early_answer() {
    let gate = Gate::new();
    let begin = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfir";
    let (origin, forebay) = before(script().before_body().send(begin).read_body().wait(&gate).send("st!"));
    let mut client = forebay.client();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc").read_until("\r\n\r\nfir");
    client.send("def");
    eventually("the body is there as a whole", || origin.last().body_end == BodyEnd::Complete);
    assert_eq!(origin.last().body, b"abcdef");
    gate.open();
    assert_eq!(client.read_some(), b"st!");
    client.send(GET).read_head();
    assert_eq!((origin.seen(), origin.accepted()), (2, 1), "request and response were whole: the connection is kept");
}

#[test]
fn an_upload_that_is_unfinished_when_its_answer_ends_is_cut_visibly() {
    for framing in ["Content-Length: 9\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let early = script().before_body().then(answer(200, &[], "early")).read_body();
        let (origin, forebay) = before(early);
        let mut client = forebay.client();
        client.send(format!("PUT / HTTP/1.1\r\nHost: h\r\n{framing}"));
        client.read_response().is(200, "early");
        eventually("the backend's connection is closed", || origin.open() == 0);
        assert_eq!((origin.last().body_end, origin.last().body), (BodyEnd::Broken, b"abc".to_vec()), "{framing}");
        drop(client);
        forebay.is_idle();
    }
}

#[test]
fn a_chunked_upload_is_exact_wherever_the_buffers_of_the_system_fill_up() {
    let origin = Origin::start(ok("done"));
    let forebay = Forebay::start(forward([&origin]));
    for size in [1, 1000, 2049, 4096, 16_384, 32_741, 65_000, 65_476] {
        let gate = Gate::new();
        origin.now(script().before_body().wait(&gate).read_body().then(ok("done")));
        let count = 3_000_000_usize.div_ceil(size).min(100_000);
        let body: Vec<u8> = (0..size * count).map(|place| b'a' + u8::try_from(place % 23).unwrap()).collect();
        let mut wire = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(size) {
            wire.extend(format!("{size:x}\r\n").bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
        }
        wire.extend(b"0\r\n\r\n");
        let mut client = forebay.client();
        std::thread::scope(|scope| {
            scope.spawn(|| client.send(&wire));
            eventually("the backend has the head", || origin.held() == 1);
            gate.open();
        });
        client.read_response().is(200, "done");
        let seen = origin.last();
        assert!(seen.body_end == BodyEnd::Complete && seen.body == body, "chunks of {size} bytes");
    }
}

#[test]
fn interim_responses_and_the_continue_come_in_order() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let processing = "HTTP/1.1 102 Processing\r\nConnection: x-a\r\nX-A: 1\r\n\r\n";
    let origin = Origin::start(ok(""));
    origin.now(script().before_body().send(hint).send(go_on).read_body().send(processing).then(ok("done")));
    let forebay = Forebay::start(forward([&origin]));
    for round in 1..=20 {
        let mut client = forebay.client();
        client.send(EXPECTING);
        let first = client.read_head();
        assert_eq!((first.start_line(), first.field("link")), ("HTTP/1.1 103 Early Hints", Some("</a.css>")));
        assert_eq!(client.read_head().start_line().get(9..12), Some("100"));
        client.send("abc");
        let last = client.read_head();
        assert_eq!((last.start_line().get(9..12), last.has("x-a")), (Some("102"), false));
        client.read_response().is(200, "done");
        assert_eq!((origin.seen(), origin.last().body), (round, b"abc".to_vec()));
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_switch_of_protocols_before_the_request_is_whole_is_a_bad_gateway() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (origin, forebay) = before(script().before_body().send(switch).hang());
    let mut client = forebay.client();
    client
        .send("PUT / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 9\r\n\r\nabc");
    client.read_response().is_status(502);
    eventually("the backend's connection is closed", || origin.abandoned() == 1);
}

#[test]
fn a_response_of_many_fields_passes_up_to_the_limit() {
    let (origin, forebay) = before(raw(with_fields(200)));
    let response = forebay.get("/");
    response.is(200, "many");
    assert!((1..200).all(|number| response.field(&format!("x-{number}")) == Some(number.to_string().as_str())));
    origin.now(raw(with_fields(201)));
    forebay.get("/").is_status(502);
    eventually("the backend's connection is closed", || origin.open() == 0);
}

#[test]
fn a_response_of_too_many_fields_is_named_in_the_log() {
    let origin = Origin::start(raw(with_fields(4)));
    let keys = "response_fields_max = 3\n[upstream.retry]\nattempts = 0";
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), forward([&origin]).upstream(keys));
    process.client().send(GET).read_response().is_status(502);
    let line = process.logged();
    assert!(line.contains("bad answer: over upstream.response_fields_max = 3 fields"), "{line}");
    origin.now(raw(with_fields(3)));
    process.client().send(GET).read_response().is(200, "many");
}

#[test]
fn trailers_of_a_request_pass_whether_or_not_they_are_announced() {
    for announcement in ["", "Trailer: X-Sum\r\n"] {
        let (origin, forebay) = before(ok("done"));
        let body = "3\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n";
        forebay
            .ask(format!("PUT / HTTP/1.1\r\nHost: h\r\n{announcement}Transfer-Encoding: chunked\r\n\r\n{body}"))
            .is(200, "done");
        let seen = origin.last();
        assert_eq!((seen.body, seen.trailers), (b"abc".to_vec(), vec![("x-sum".to_owned(), "7".to_owned())]));
    }
}

#[test]
fn framing_and_connection_fields_are_understood_in_any_case() {
    for (head, is_kept) in [
        ("HTTP/1.1 200 OK\r\nCONTENT-LENGTH:4\r\n\r\nbody", true),
        ("HTTP/1.1 200 OK\r\ncontent-LENGTH: \t4\t \r\n\r\nbody", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 004\r\n\r\nbody", true),
        ("HTTP/1.1 200 OK\r\ntransfer-ENCODING: CHUNKED\r\n\r\n4\r\nbody\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nCONNECTION: x, CLOSE\r\nContent-Length: 4\r\n\r\nbody", false),
        ("HTTP/1.0 200 OK\r\nconnection: KEEP-alive\r\nContent-Length: 4\r\n\r\nbody", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", false),
    ] {
        let (origin, forebay) = before(raw(head));
        for _ in 0..2 {
            let response = forebay.get("/");
            response.is(200, "body");
            let length = response.field("content-length").unwrap_or("4");
            assert_eq!((length, response.head.fields("x").len()), ("4", 0), "{head}");
        }
        assert_eq!(origin.accepted(), if is_kept { 1 } else { 2 }, "{head}");
    }
}

#[test]
fn a_get_on_a_connection_that_turns_out_to_be_closed_is_sent_again_on_a_fresh_one() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(without_retries(&origin));
    for round in 1..=5 {
        origin.once(ok("fine"));
        origin.once(close());
        forebay.get("/").is(200, "fine");
        forebay.get("/").is(200, "fine");
        assert_eq!(origin.seen(), 3 * round, "what was closed had been sent");
    }
}

#[test]
fn a_post_on_a_connection_that_turns_out_to_be_closed_is_not_sent_again() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(without_retries(&origin));
    for round in 1..=5 {
        origin.once(ok("fine"));
        origin.once(close());
        forebay.post("/", "body").is(200, "fine");
        forebay.post("/", "body").is_status(502);
        assert_eq!(origin.seen(), 2 * round);
    }
}

#[test]
fn a_fresh_connection_that_is_closed_at_once_is_not_stale() {
    let origin = Origin::start(close());
    let forebay = Forebay::start(without_retries(&origin));
    forebay.get("/").is_status(502);
    assert_eq!(origin.seen(), 1);
}

#[test]
fn a_head_that_breaks_off_on_a_kept_connection_is_no_stale_connection() {
    let origin = Origin::start(ok("fine"));
    let forebay = Forebay::start(without_retries(&origin));
    origin.once(ok("fine"));
    origin.once(raw("HTTP/1.1 200 OK\r\nConte").close());
    forebay.get("/").is(200, "fine");
    forebay.get("/").is_status(502);
    assert_eq!(origin.seen(), 2);
}

#[test]
fn whatever_a_backend_sends_unasked_reaches_no_client() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let origin = Origin::start(ok("next"));
    let forebay = Forebay::start(forward([&origin]));
    for round in 1..=50 {
        let gate = Gate::new();
        origin.once(ok("first").wait(&gate).send(evil).close());
        forebay.get("/").is(200, "first");
        gate.open();
        eventually("it is sent", || origin.open() == 0);
        forebay.post("/", "body").is(200, "next");
        assert_eq!(origin.accepted(), 2 * round);
        origin.go_down();
        origin.come_back();
    }
}

/// Asserts that nothing of a request is left after its client disconnects at a certain moment.
#[track_caller]
fn leaves_nothing(script: Script, request: &str, has_come: impl Fn(&Origin, &Forebay) -> bool) {
    for by_reset in [false, true] {
        let (origin, forebay) = before(script.clone());
        let mut client = forebay.client();
        client.send(request);
        eventually("the moment has come", || has_come(&origin, &forebay));
        if by_reset {
            client.reset()
        } else {
            drop(client)
        }
        forebay.is_idle();
        forebay.eventually("the backend's connection is closed", |gauges| gauges.backend_connections == 0);
        origin.now(ok("next"));
        forebay.get("/").is(200, "next");
    }
}

#[test]
fn a_client_that_leaves_at_any_moment_leaves_nothing_behind() {
    let is_held = |origin: &Origin, _: &Forebay| origin.held() == 1;
    let upload = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc";
    leaves_nothing(hang(), GET, is_held);
    leaves_nothing(script().send("HTTP/1.1 200 OK\r\nX: 1\r\n").hang(), GET, is_held);
    leaves_nothing(script().send("HTTP/1.1 103 Early Hints\r\n\r\n").hang(), GET, is_held);
    leaves_nothing(script().send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").hang(), GET, is_held);
    leaves_nothing(script().send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc").hang(), GET, is_held);
    leaves_nothing(script().send("HTTP/1.1 200 OK\r\n\r\nuntil").hang(), GET, is_held);
    leaves_nothing(ok("never"), upload, |origin, _| origin.seen() == 1);
    leaves_nothing(script().before_body().hang(), EXPECTING, is_held);
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    leaves_nothing(script().before_body().send(early).hang(), upload, is_held);
}

#[test]
fn chunked_and_endless_bodies_of_a_backend_are_exact() {
    let pieces: Vec<String> = (1..60).map(|length| "x".repeat(length * 37)).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let (origin, forebay) = before(chunked(&pieces, &[]));
    forebay.get("/").is(200, &pieces.concat());
    forebay.get("/").is(200, &pieces.concat());
    assert_eq!(origin.accepted(), 1);
    origin.now(raw(format!("HTTP/1.1 200 OK\r\n\r\n{}", pieces.concat())).close());
    let response = forebay.get("/");
    assert_eq!((response.is(200, &pieces.concat()).ending == Ending::CutShort, origin.accepted()), (false, 1));
}

#[test]
fn a_backend_on_a_unix_socket_is_one_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backend.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut wire = Vec::new();
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                wire.extend_from_slice(&bytes[..length]);
                if wire.ends_with(b"body") {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", wire.len());
                    let _gone = stream.write_all(&[head.as_bytes(), &wire].concat());
                    wire.clear();
                }
            }
        }
    });
    let upstream = format!("[[upstream]]\nname = \"u\"\nbackends = [\"unix:{}\"]\n", path.display());
    let forebay = Forebay::start(routes(&format!("{upstream}[[route]]\npath = \"/\"\nupstream = \"u\"\n")));
    for _ in 0..5 {
        let response = forebay.post("/a?b", "body");
        assert!(response.is_status(200).text().starts_with("POST /a?b HTTP/1.1\r\n"), "{}", response.text());
        assert!(response.text().contains("\r\nContent-Length: 4\r\n"), "{}", response.text());
    }
    assert_eq!(forebay.gauges().backend_connections, 1);
    forebay.is_idle();
}

/// A pseudo-random generator with the same numbers in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn no_client_gets_bytes_of_another_whenever_others_leave() {
    let origin = Origin::start(echo());
    let forebay = Forebay::start(forward([&origin]).upstream("pool_max = 4"));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let forebay = &forebay;
            scope.spawn(move || {
                let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (thread + 1));
                let mut client = forebay.client();
                for round in 0..150 {
                    let nonce = format!("{thread}-{round}-{}", numbers.below(u64::MAX)).repeat(1 + round % 40);
                    let request = format!(
                        "PUT /{thread}/{round} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{nonce}",
                        nonce.len()
                    );
                    let cut = usize::try_from(numbers.below(request.len() as u64)).unwrap();
                    match numbers.below(5) {
                        // Disconnects in the middle of its request.
                        0 => drop(client.send(&request.as_bytes()[..cut])),
                        // Disconnects after its request.
                        1 => drop(client.send(&request)),
                        // Disconnects in the middle of the response.
                        2 => drop(client.send(&request).read_some()),
                        _ => {
                            let answer = client.send(&request).read_response();
                            let text = answer.is_status(200).text();
                            assert!(
                                text.starts_with(&format!("PUT /{thread}/{round} ")) && text.ends_with(&nonce),
                                "{text}"
                            );
                            continue;
                        }
                    }
                    let left = std::mem::replace(&mut client, forebay.client());
                    if numbers.below(2) == 0 { left.reset() } else { drop(left) }
                }
            });
        }
    });
    forebay.is_idle();
}
