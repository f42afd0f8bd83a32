//! Readers of one body that outgrew what may be stored, one of which does not keep up: the others are not held, and it
//! gets the rest of the same body, or visibly none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{
    Client, Config, Ending, Forebay, Gate, Origin, Script, answer, forward, leader_and_followers, ranged, raw, script,
};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const TAG: (&str, &str) = ("ETag", "\"a\"");

/// More than sockets hold on the way to a client that does not read.
fn body() -> String {
    (0..2 << 20).map(|place| format!("{place:07x}\n")).collect()
}

/// All of it in chunks, so that its length is not known beforehand, after the gate opens.
fn chunks(gate: &Gate, fields: &str, body: &str) -> Script {
    let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    script().wait(gate).send(format!("{head}{:x}\r\n", body.len())).send(body).send("\r\n0\r\n\r\n")
}

fn caching(origin: &Origin) -> Config {
    forward([origin]).cached("").cache("object_bytes_max = \"1MiB\"\nfetch_ahead_bytes_max = \"1MiB\"")
}

/// A client that stalls, after another client has received the whole body meanwhile.
fn stalled(forebay: &Forebay, origin: &Origin, gate: &Gate, body: &str) -> Client {
    let (stalled, mut quick) = leader_and_followers(forebay, origin, 1);
    gate.open();
    let response = quick[0].read_response();
    assert!(response.status == 200 && response.body == body.as_bytes(), "the quick one's body differs");
    stalled
}

#[test]
fn a_client_that_stalls_holds_nobody_and_gets_the_rest_by_itself() {
    let (gate, body) = (Gate::new(), body());
    let origin = Origin::start(ranged(&body, &[MINUTE, TAG]));
    origin.once(chunks(&gate, "ETag: \"a\"\r\n", &body));
    let forebay = Forebay::start(caching(&origin));
    let mut stalled = stalled(&forebay, &origin, &gate, &body);
    let response = stalled.read_response();
    assert!(response.body == body.as_bytes() && response.ending == Ending::Kept, "the body differs");
    let asked = origin.last().head;
    assert_eq!(asked.field("if-range"), Some("\"a\""));
    let range = asked.field("range").unwrap().to_owned();
    assert!(range.starts_with("bytes=") && range.ends_with('-') && range != "bytes=0-", "{range}");
    drop(stalled);
    forebay.is_idle();
}

#[test]
fn an_origin_that_ignores_ranges_is_read_again_if_it_is_the_same() {
    let (gate, body) = (Gate::new(), body());
    let origin = Origin::start(answer(200, &[MINUTE, TAG], &body));
    origin.once(chunks(&gate, "ETag: \"a\"\r\n", &body));
    let forebay = Forebay::start(caching(&origin));
    let mut stalled = stalled(&forebay, &origin, &gate, &body);
    assert!(stalled.read_response().body == body.as_bytes(), "the body differs");
    assert!(origin.seen() >= 2);
}

#[test]
fn what_can_not_be_continued_breaks_off_and_is_never_mixed() {
    let body = body();
    let other = ranged(&body.replace('0', "x"), &[MINUTE, ("ETag", "\"b\"")]);
    let shorter = ranged(body.trim_end_matches("01fffff\n"), &[MINUTE, ("ETag", "W/\"a\"")]);
    for then in [
        other,
        shorter,
        answer(503, &[TAG], "busy"),
        raw("HTTP/1.1 206 Partial\r\nETag: \"a\"\r\nContent-Range: bytes 0-2/9\r\n\r\nabc").close(),
    ] {
        let gate = Gate::new();
        let origin = Origin::start(then);
        origin.once(chunks(&gate, "ETag: \"a\"\r\n", &body));
        let forebay = Forebay::start(caching(&origin).upstream("[upstream.retry]\nattempts = 0"));
        let (mut first, mut second) = leader_and_followers(&forebay, &origin, 1);
        gate.open();
        let responses = [second[0].read_response(), first.read_response()];
        let broken = responses.iter().filter(|response| response.ending == Ending::CutShort).count();
        assert!(broken >= 1 && origin.seen() == 1 + broken, "{broken} {}", origin.seen());
        for response in &responses {
            assert!(body.as_bytes().starts_with(&response.body), "mixed with something else");
        }
        drop((first, second));
        forebay.is_idle();
    }
}

#[test]
fn a_client_that_stalls_and_can_get_the_rest_nowhere_holds_the_others_for_a_while_only() {
    let (gate, body) = (Gate::new(), body());
    let origin = Origin::start(chunks(&gate, "", &body));
    let forebay = Forebay::start(caching(&origin));
    let (mut stalled, mut quick) = leader_and_followers(&forebay, &origin, 1);
    gate.open();
    // In steps: each has the test's whole patience.
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n0\r\n\r\n") {
        got.extend(quick[0].read_some());
    }
    let response = stalled.read_response();
    assert_eq!((response.ending, origin.seen()), (Ending::CutShort, 1));
    assert!(body.as_bytes().starts_with(&response.body), "mixed with something else");
}

#[test]
fn a_client_that_stalls_and_leaves_makes_no_fetch() {
    let (gate, body) = (Gate::new(), body());
    let origin = Origin::start(ranged(&body, &[MINUTE, TAG]));
    origin.once(chunks(&gate, "ETag: \"a\"\r\n", &body));
    let forebay = Forebay::start(caching(&origin));
    stalled(&forebay, &origin, &gate, &body).reset();
    forebay.is_idle();
    assert!(origin.open() <= forebay.gauges().backend_connections, "a fetch goes on for nobody");
}

#[test]
fn readers_of_different_speed_get_all_of_what_can_not_be_continued() {
    let (gate, body) = (Gate::new(), body());
    let origin = Origin::start(chunks(&gate, "", &body));
    let forebay = Forebay::start(caching(&origin));
    let (mut slow, mut quick) = leader_and_followers(&forebay, &origin, 3);
    gate.open();
    std::thread::scope(|scope| {
        for client in quick.iter_mut().chain([&mut slow]) {
            scope.spawn(|| {
                let response = client.read_response();
                assert!(response.body == body.as_bytes() && response.ending == Ending::Kept, "the body differs");
            });
        }
    });
    assert_eq!(origin.seen(), 1);
}
