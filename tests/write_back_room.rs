//! Memory limits of queued writes: what is reserved before a write is read, and which writes are forwarded instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use testbed::{Forebay, Origin, Response, StateDir, forward, hang, ok};

/// A route for which this much may be pending; nothing is sent before its time.
fn forebay(state: &StateDir, origin: &Origin, keys: &str) -> Forebay {
    let config = forward([origin])
        .server(&state.key())
        .cached("mode = \"write-back\"\nttl = \"60s\"")
        .more(&format!("[route.cache.write_back]\nflush_interval = \"1h\"\n{keys}"));
    Forebay::start(config)
}

/// Room for three times 40 kB.
const ROOM: &str = "pending_bytes_max = \"128KiB\"\nbody_bytes_max = \"128KiB\"";

fn head(target: &str, bytes: usize) -> String {
    format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {bytes}\r\n\r\n")
}

fn put(forebay: &Forebay, target: &str, bytes: usize) -> Response {
    forebay.ask(head(target, bytes) + &"x".repeat(bytes))
}

fn went_through(response: &Response) -> bool {
    response.field("forebay-write") == Some("through")
}

#[test]
fn room_is_set_aside_before_content_is_read_and_given_back_when_its_client_leaves() {
    let (state, origin) = (StateDir::new(), Origin::start(ok("done")));
    let forebay = forebay(&state, &origin, ROOM);
    let mut clients: Vec<_> = (0..3).map(|_| forebay.client()).collect();
    for client in &mut clients {
        client.send(head("/slow", 40_000) + "begun");
    }
    forebay.eventually("they are under way", |gauges| gauges.in_flight == 3);
    assert!(went_through(put(&forebay, "/a", 40_000).is(200, "done")));
    clients.into_iter().for_each(testbed::Client::reset);
    forebay.is_idle();
    put(&forebay, "/b", 40_000).is(202, "");
}

#[test]
fn content_of_unknown_length_for_which_room_runs_out_goes_through_whole() {
    let (state, origin) = (StateDir::new(), Origin::start(ok("done")));
    let forebay = forebay(&state, &origin, ROOM);
    // Held back, so that its reservation stays.
    let mut holder = forebay.client();
    holder.send(head("/holder", 50_000) + "begun");
    forebay.eventually("it is under way", |gauges| gauges.in_flight == 1);
    let content: String = (0..20_000).map(|number| format!("{number:05} ")).collect();
    for (target, bytes, status) in [("/short", 1_000, 202), ("/long", 110_000, 200)] {
        let (content, _) = content.split_at(bytes);
        let pieces = content.as_bytes().chunks(7_001);
        let pieces = pieces.map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
        let head = format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = forebay.ask(format!("{head}{}0\r\n\r\n", pieces.collect::<String>()));
        assert_eq!((answer.status, went_through(&answer)), (status, status == 200));
        if status == 200 {
            assert!(origin.last().body == content.as_bytes(), "it arrives whole");
        }
    }
}

#[test]
fn what_a_pending_write_takes_beside_its_content_counts() {
    let (state, origin) = (StateDir::new(), Origin::start(ok("done")));
    let keys = "pending_bytes_max = \"16KiB\"\nbody_bytes_max = \"1KiB\"\nconcurrency = 1";
    let forebay = forebay(&state, &origin, keys);
    // From half of it on, writes are sent: the first never ends, and those behind it wait.
    origin.at("/0", hang());
    let queued = (0..100).take_while(|number| !went_through(&put(&forebay, &format!("/{number}"), 5))).count();
    assert!((8..=30).contains(&queued), "{queued} take 16 KiB");
}
