//! Faults of the journal's disk: errors, a full disk, truncated files, flipped bits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::PathBuf;

use testbed::{Forebay, Origin, Response, StateDir, answer, eventually, forward, ok};

/// The directory whose content survives restarts.
struct State(StateDir);

impl State {
    fn new() -> Self {
        Self(StateDir::new())
    }

    fn forebay(&self, origin: &Origin, keys: &str) -> Forebay {
        let config = forward([origin])
            .server(&self.0.key())
            .cached("mode = \"write-back\"\nttl = \"60s\"")
            .more(&format!("[route.cache.write_back]\n{keys}"));
        Forebay::start(config)
    }

    fn journal(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// The names of the journal's files, in order.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.journal()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "lock").collect();
        names.sort();
        names
    }

    /// Changes the bytes of one of its files.
    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.journal().join(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    }
}

const LATER: &str = "flush_interval = \"1h\"";
const SOON: &str = "flush_interval = \"10ms\"\nretry = { base = \"10ms\", max = \"50ms\", attempts = 50 }";
const FIRST: &str = "000000000001.log";
const SECOND: &str = "000000000002.log";

fn put(forebay: &Forebay, target: &str, body: &str) -> Response {
    let length = body.len();
    forebay.ask(format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\n{body}"))
}

fn number(receipt: &Response) -> u64 {
    let receipt = receipt.field("forebay-write").unwrap();
    receipt.split_once("seq=").unwrap().1.split(';').next().unwrap().parse().unwrap()
}

fn is_done(forebay: &Forebay, target: &str) {
    eventually("it is done with", || forebay.get(target).field("forebay-write").is_none());
}

/// The place of this text in a file.
fn place(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

#[test]
fn a_journal_that_can_t_be_written_refuses_writes_and_takes_them_again_by_itself() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    let away = state.0.path().join("away");
    fs::rename(state.journal(), &away).unwrap();
    for _ in 0..3 {
        put(&forebay, "/a", "new").is_status(503);
    }
    forebay.get("/a").is(200, "old");
    fs::rename(&away, state.journal()).unwrap();
    assert_eq!(state.files(), [""; 0], "failures leave nothing behind");
    put(&forebay, "/a", "new").is(202, "");
    forebay.get("/a").is(200, "new");
}

#[test]
fn what_was_not_written_to_its_end_is_cut_off_wherever_it_is() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    origin.go_down();
    for target in ["/a", "/b"] {
        let forebay = state.forebay(&origin, LATER);
        put(&forebay, target, "whole").is(202, "");
        put(&forebay, "/torn", "in part").is(202, "");
    }
    for segment in [FIRST, SECOND] {
        state.change(segment, |bytes| bytes.truncate(bytes.len() - 3));
    }
    let forebay = state.forebay(&origin, SOON);
    forebay.get("/a").is(200, "whole");
    forebay.get("/b").is(200, "whole");
    origin.come_back();
    ["/a", "/b", "/torn"].iter().for_each(|target| is_done(&forebay, target));
    assert_eq!(origin.count("PUT /torn"), 0);
    put(&forebay, "/c", "next").is(202, "");
    eventually("nothing is called damaged", || state.files() == ["000000000003.log"]);
}

#[test]
fn a_number_is_not_used_twice_though_its_record_is_lost() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    let forebay = state.forebay(&origin, LATER);
    put(&forebay, "/a", "one").is(202, "");
    let lost = number(put(&forebay, "/b", "two").is(202, ""));
    drop(forebay);
    state.change(FIRST, |bytes| bytes.truncate(place(bytes, "/b") - 60));
    let forebay = state.forebay(&origin, LATER);
    assert!(number(put(&forebay, "/c", "three").is(202, "")) > lost);
}

#[test]
fn a_damaged_record_loses_itself_only_and_its_file_is_set_aside() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    origin.go_down();
    let forebay = state.forebay(&origin, LATER);
    for number in 0..9 {
        put(&forebay, &format!("/{number}"), &format!("content {number}")).is(202, "");
    }
    drop(forebay);
    state.change(FIRST, |bytes| {
        let place = place(bytes, "content 4");
        bytes[place] ^= 1;
    });
    let forebay = state.forebay(&origin, SOON);
    origin.come_back();
    (0..9).for_each(|number| is_done(&forebay, &format!("/{number}")));
    assert_eq!(origin.count("PUT /4"), 0);
    for number in (0..9).filter(|number| *number != 4) {
        assert!(origin.count(&format!("PUT /{number}")) >= 1, "{number}");
    }
    put(&forebay, "/a", "next").is(202, "");
    eventually("it is aside", || state.files() == [format!("{FIRST}.damaged"), SECOND.to_owned()]);
}

#[test]
fn a_write_through_is_not_undone_by_what_was_settled_before_it() {
    let (state, origin) = (State::new(), Origin::start(ok("")));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "queued").is(202, "");
    let through = "PUT /a HTTP/1.1\r\nHost: shop.test\r\nforebay-write: through\r\nContent-Length: 7\r\n\r\nthrough";
    forebay.ask(through).is_status(200);
    // The files as they would be after a crash.
    let copy = State::new();
    fs::create_dir(copy.journal()).unwrap();
    for name in state.files() {
        fs::copy(state.journal().join(&name), copy.journal().join(&name)).unwrap();
    }
    drop(forebay);
    let before = origin.count("PUT /a");
    let forebay = copy.forebay(&origin, SOON);
    put(&forebay, "/b", "after").is(202, "");
    is_done(&forebay, "/b");
    assert_eq!(origin.count("PUT /a"), before);
}

#[test]
fn a_dead_letter_survives_restarts_without_being_sent() {
    let (state, origin) = (State::new(), Origin::start(ok("old")));
    origin.once(answer(422, &[], "no"));
    let forebay = state.forebay(&origin, SOON);
    put(&forebay, "/a", "bad").is(202, "");
    is_done(&forebay, "/a");
    drop(forebay);
    for _ in 0..2 {
        let forebay = state.forebay(&origin, SOON);
        put(&forebay, "/b", "good").is(202, "");
        is_done(&forebay, "/b");
        assert_eq!(origin.count("PUT /a"), 1);
        assert!(state.files().contains(&FIRST.to_owned()), "it is kept");
    }
}

#[test]
fn where_the_route_says_so_writes_go_through_while_the_journal_can_t_be_written() {
    let (state, origin) = (State::new(), Origin::start(ok("done")));
    let forebay = state.forebay(&origin, &format!("{SOON}\non_disk_error = \"through\""));
    fs::rename(state.journal(), state.0.path().join("away")).unwrap();
    for _ in 0..3 {
        let through = put(&forebay, "/a", "new");
        through.is(200, "done");
        assert_eq!(through.field("forebay-write"), Some("through"));
        assert_eq!(origin.last().body, b"new");
    }
}
