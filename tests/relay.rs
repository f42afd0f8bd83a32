//! Large response bodies, which the kernel moves by `splice`: content, and reuse of both connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use testbed::{
    Config, Ending, Forebay, Gate, Origin, Process, Response, answer, chunked, eventually, forward, ok, raw, routes,
    script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const MIB: usize = 1024 * 1024;
/// As in the benchmark.
const MIDDLE: usize = 100 * 1024;
const LARGE: usize = 10 * MIB;

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
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
}

/// Compares without showing megabytes.
#[track_caller]
fn is_whole(response: &Response, body: &str) {
    assert_eq!((response.status, response.body.len()), (200, body.len()), "{:?}", response.ending);
    assert!(response.ending != Ending::CutShort, "the body is cut short");
    if response.body != body.as_bytes() {
        let differs = response.body.iter().zip(body.as_bytes()).position(|(got, sent)| got != sent);
        panic!("byte {differs:?} is wrong");
    }
}

/// An origin with this body, and forebay before it.
fn before(body: &str) -> (Origin, Forebay) {
    let origin = Origin::start(ok(body));
    let forebay = Forebay::start(forward([&origin]));
    (origin, forebay)
}

/// How many ends of pipes this process has open.
fn ends_of_pipes() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count()
}

#[test]
fn many_large_bodies_in_turn_are_exact_and_both_connections_are_kept() {
    let (origin, forebay) = before("");
    let mut client = forebay.client();
    for length in [MIDDLE, LARGE, 0, 65_535, 65_536, 65_537, 3 * MIB + 1, 10, MIDDLE, MIDDLE, LARGE, 200_000] {
        let body = text(length);
        origin.now(ok(&body));
        let response = client.send(GET).read_response();
        is_whole(&response, &body);
        assert_eq!(response.ending, Ending::Kept);
    }
    assert_eq!((origin.accepted(), forebay.gauges().connections), (1, 1));
    assert_eq!((forebay.gauges().backend_connections, forebay.gauges().in_flight), (1, 0));
}

#[test]
fn a_large_body_goes_through_a_pipe_that_is_kept_for_the_next() {
    let before_it = ends_of_pipes();
    let gate = Gate::new();
    let body = text(4 * MIB);
    let (first, second) = body.split_at(2 * MIB);
    let origin = Origin::start(script().send(head(body.len())).send(first).wait(&gate).send(second));
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send(GET);
    eventually("it is in a pipe", || ends_of_pipes() == before_it + 2);
    gate.open();
    is_whole(&client.read_response(), &body);
    is_whole(&client.send(GET).read_response(), &body);
    assert_eq!(ends_of_pipes(), before_it + 2);
}

#[test]
fn requests_that_wait_behind_a_large_answer_get_their_own() {
    let body = text(MIB);
    let (origin, forebay) = before(&body);
    origin.at("/small", ok("small"));
    let small = "GET /small HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut client = forebay.client();
    client.send(format!("{GET}{small}{GET}{GET}{small}"));
    for is_small in [false, true, false, false, true] {
        is_whole(&client.read_response(), if is_small { "small" } else { &body });
    }
    client.send(GET);
    is_whole(&client.read_response(), &body);
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_client_that_wants_it_so_gets_the_whole_body_and_then_the_end() {
    let body = text(MIB);
    let (_origin, forebay) = before(&body);
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\nConnection: close\r\n\r\n",
    ] {
        let response = forebay.ask(request);
        is_whole(&response, &body);
        assert_eq!(response.ending, Ending::Closed, "{request}");
    }
    forebay.is_idle();
}

#[test]
fn a_backend_that_closes_behind_its_answer_is_no_error() {
    let body = text(MIB);
    let origin = Origin::start(answer(200, &[("Connection", "close")], &body).close());
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    for asked in 1..=3 {
        is_whole(&client.send(GET).read_response(), &body);
        assert_eq!(origin.accepted(), asked);
    }
    let old = format!("HTTP/1.0 200 OK\r\nContent-Length: {MIB}\r\n\r\n{body}");
    origin.now(raw(old).close());
    is_whole(&client.send(GET).read_response(), &body);
    // It sends no response, and closes the connection.
    origin.now(raw(head(MIB) + &body).close());
    is_whole(&client.send(GET).read_response(), &body);
    origin.now(ok("again"));
    client.send(GET).read_response().is(200, "again");
}

#[test]
fn a_client_that_leaves_midway_leaves_nothing_behind() {
    for sent in [0, 10, 70_000, MIB] {
        let origin = Origin::start(script().send(head(LARGE)).send(text(sent)).hang());
        let forebay = Forebay::start(forward([&origin]));
        let mut client = forebay.client();
        client.send(GET).read_head();
        drop(client);
        eventually("the backend sees it", || origin.open() == 0);
        forebay.is_idle();
        forebay.eventually("the backend's connection is closed", |gauges| gauges.backend_connections == 0);
    }
}

#[test]
fn a_client_that_leaves_while_it_is_slow_leaves_nothing_behind() {
    let body = text(32 * MIB);
    let (origin, forebay) = before(&body);
    let mut client = forebay.client();
    client.send(GET).read_head();
    client.reset();
    forebay.is_idle();
    forebay.eventually("the backend's connection is closed", |gauges| gauges.backend_connections == 0);
    origin.now(ok("fine"));
    forebay.get("/").is(200, "fine");
}

/// Waits for so long, as slow clients do.
fn pause(length: Duration) {
    let begun = Instant::now();
    eventually("time passes", || begun.elapsed() >= length);
}

#[test]
fn a_slow_client_is_no_stalled_backend() {
    let body = text(16 * MIB);
    let origin = Origin::start(ok(&body));
    let forebay = Forebay::start(forward([&origin]).upstream("[upstream.timeouts]\nbody_idle = \"100ms\""));
    let mut client = forebay.client();
    client.send(GET).read_head();
    let mut all = client.read_some();
    while all.len() < body.len() / 4 {
        all.extend(client.read_some());
    }
    pause(Duration::from_millis(400));
    assert_eq!(forebay.gauges().in_flight, 1);
    drop(client);
    forebay.is_idle();
    let mut client = forebay.client();
    client.send(GET);
    pause(Duration::from_millis(400));
    is_whole(&client.read_response(), &body);
    assert_eq!(forebay.gauges().backend_connections, 1);
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let origin = Origin::start(ok(&text(32 * MIB)));
    let forebay = Forebay::start(forward([&origin]).server("write_timeout = \"200ms\""));
    let mut client = forebay.client();
    client.send(GET).read_head();
    forebay.is_idle();
    forebay.eventually("the backend's connection is closed", |gauges| gauges.backend_connections == 0);
}

#[test]
fn a_body_that_breaks_off_or_stalls_does_so_visibly() {
    let sent = text(MIB);
    let half = || script().send(head(2 * MIB)).send(&sent);
    let origin = Origin::start(ok(""));
    let keys = "[upstream.timeouts]\nbody_idle = \"200ms\"";
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), forward([&origin]).upstream(keys).admin());
    for (script, fault) in
        [(half().close(), "body cut short"), (half().reset(), "body cut short"), (half().hang(), "body stalled")]
    {
        origin.now(script);
        let response = process.client().send(GET).read_response();
        assert_eq!(response.ending, Ending::CutShort);
        let line = process.logged();
        assert!(line.contains(fault) && line.contains("\"status\":200"), "{line}");
        // A reset may overtake what was sent before it.
        if fault == "body stalled" {
            assert!(line.contains("\"body_bytes_sent\":1048576,"), "{line}");
            assert_eq!(response.body.len(), MIB, "what came was passed on");
        }
    }
    let body = text(MIDDLE);
    origin.now(ok(&body));
    is_whole(&process.client().send(GET).read_response(), &body);
    let line = process.logged();
    assert!(line.contains("\"body_bytes_sent\":102400,") && !line.contains("fault"), "{line}");
}

#[test]
fn what_comes_slowly_is_passed_on_at_once() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let body = text(MIB);
    let (first, rest) = body.split_at(200_000);
    let (second, third) = rest.split_at(7);
    let mut script = script().send(head(MIB)).wait(&gates[0]).send(first);
    script = script.wait(&gates[1]).send(second).wait(&gates[2]).send(third);
    let origin = Origin::start(script);
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send(GET).read_head();
    let mut all = Vec::new();
    for (gate, length) in gates.iter().zip([200_000, 200_007, MIB]) {
        gate.open();
        while all.len() < length {
            all.extend(client.read_some());
        }
    }
    assert!(all == body.as_bytes());
}

#[test]
fn a_drain_lets_a_large_body_finish() {
    let gate = Gate::new();
    let body = text(MIB);
    let (first, second) = body.split_at(200_000);
    let origin = Origin::start(script().send(head(MIB)).send(first).wait(&gate).send(second));
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send(GET).read_head();
    let mut all = Vec::new();
    while all.len() < 200_000 {
        all.extend(client.read_some());
    }
    forebay.drain();
    gate.open();
    all.extend(client.read_until_closed());
    assert!(all == body.as_bytes());
    forebay.wait();
}

#[test]
fn what_a_backend_says_beyond_its_body_is_nobodys_answer() {
    let body = text(MIDDLE);
    for surplus in ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", "x", "\r\n"] {
        let (origin, forebay) = before("fine");
        let mut client = forebay.client();
        for asked in 1..=3 {
            origin.once(raw(format!("{}{body}{surplus}", head(MIDDLE))));
            is_whole(&client.send(GET).read_response(), &body);
            client.send(GET).read_response().is(200, "fine");
            assert_eq!(origin.accepted(), asked + 1, "{surplus:?}");
            forebay.eventually("one connection is left", |gauges| gauges.backend_connections == 1);
            // The next large body comes on the connection that carried the small one.
        }
    }
}

#[test]
fn heads_and_parts_and_interim_responses_are_what_they_were() {
    let body = text(MIB);
    let (origin, forebay) = before(&body);
    let mut client = forebay.client();
    let asked = client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").read_response_to("HEAD");
    assert_eq!((asked.field("content-length"), asked.body.len()), (Some("1048576"), 0));
    origin.now(answer(206, &[("Content-Range", "bytes 0-1048575/9999999")], &body));
    let part = client.send("GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1048575\r\n\r\n").read_response();
    assert!(part.status == 206 && part.body == body.as_bytes());
    origin.now(raw("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").then(ok(&body)));
    for _ in 0..3 {
        let hinted = client.send(GET).read_response();
        is_whole(&hinted, &body);
        assert_eq!(hinted.interim.len(), 1);
    }
    origin.now(chunked(&[&body, "end"], &[]));
    is_whole(&client.send(GET).read_response(), &format!("{body}end"));
    origin.now(ok(&body));
    is_whole(&client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").read_response(), &body);
    is_whole(&client.send(GET).read_response(), &body);
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn what_is_stored_or_compared_is_seen_whole() {
    let body = text(MIB);
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60")], &body));
    let forebay = Forebay::start(forward([&origin]).cached(""));
    for _ in 0..3 {
        is_whole(&forebay.get("/"), &body);
    }
    assert_eq!(origin.seen(), 1);
    let (main, shadow) = (Origin::start(ok(&body)), Origin::start(ok(&body)));
    let keys = "compare = { }";
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, keys));
    is_whole(&forebay.get("/"), &body);
    let mirror = forebay.mirror_until("all", |mirror| mirror["comparison"]["compared"] == 1);
    assert_eq!(mirror["comparison"]["mismatched"], 0, "{mirror:#}");
}

#[test]
fn a_backend_on_a_unix_socket_has_its_bodies_moved_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backend");
    let listener = UnixListener::bind(&path).unwrap();
    let body = text(LARGE);
    let sent = head(LARGE) + &body;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            while stream.read(&mut request).is_ok_and(|length| length > 0) {
                let _gone = stream.write_all(sent.as_bytes());
            }
        }
    });
    let upstream = format!("[[upstream]]\nname = \"u\"\nbackends = [\"unix:{}\"]\n", path.display());
    let config: Config = routes(&format!("{upstream}[[route]]\npath = \"/\"\nupstream = \"u\"\n"));
    let forebay = Forebay::start(config);
    let mut client = forebay.client();
    for _ in 0..3 {
        is_whole(&client.send(GET).read_response(), &body);
    }
    assert_eq!(forebay.gauges().backend_connections, 1);
}

#[test]
fn many_at_once_get_each_their_own() {
    let (origin, forebay) = before("");
    let bodies: Vec<String> = (0..24).map(|place| text(300_000 + 50_000 * place)).collect();
    for (place, body) in bodies.iter().enumerate() {
        origin.at(&format!("/{place}"), ok(body));
    }
    std::thread::scope(|scope| {
        for offset in 0..8 {
            let (forebay, bodies) = (&forebay, &bodies);
            scope.spawn(move || {
                let mut client = forebay.client();
                for turn in 0..24 {
                    let place = (offset * 3 + turn) % 24;
                    client.send(format!("GET /{place} HTTP/1.1\r\nHost: h\r\n\r\n"));
                    is_whole(&client.read_response(), &bodies[place]);
                }
            });
        }
    });
    assert!(origin.accepted() <= 8, "{} connections", origin.accepted());
    forebay.is_idle();
}
