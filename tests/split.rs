//! Splits: the side is selected by weight, by `override_header` or as a fallback, and `side_header` shows which and
//! why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Origin, Process, Sides, answer, eventually, is_share, ok, script, split};

const BY_HAND: &str = "override_header = \"x-side\"";
const TELLING: &str = "side_header = \"x-answered-by\"";
/// Refused connections are noticed at once, and so is a listener that is back.
const CHECKED: &str = "[upstream.health]\nkind = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1";

fn by_hand(side: &str) -> String {
    format!("X-Side: {side}\r\n")
}

/// The value of `side_header` in the response to a request with these fields.
#[track_caller]
fn told(forebay: &Forebay, fields: &str) -> String {
    forebay.get_with("/", fields).is_status(200).field("x-answered-by").expect("the side is told").to_owned()
}

/// Asserts that these sides gave these shares of 2,000 responses, in percent, and no other side any.
#[track_caller]
fn are_shares(config: Config, wanted: &[(&str, f64)]) {
    let tally = Forebay::start(config).tally(2000);
    assert_eq!(tally.values().sum::<usize>(), 2000);
    assert!(tally.keys().all(|side| wanted.iter().any(|(name, _)| name == side)), "{tally:?}");
    for (side, percent) in wanted {
        let count = tally.get(*side).copied().unwrap_or_default();
        assert!(is_share(count, 2000, *percent), "{side}: {count} of 2000 are not {percent} %");
    }
}

#[test]
fn each_side_gets_its_share() {
    let sides = Sides::start();
    are_shares(sides.split(20.0), &[("new", 20.0), ("old", 80.0)]);
}

#[test]
fn three_sides_get_their_shares_and_one_may_be_a_fraction() {
    let sides = Sides::start();
    let third = Origin::start(ok("third"));
    let config = split(&[("new", &sides.new, 12.5), ("old", &sides.old, 57.375), ("third", &third, 30.125)]);
    are_shares(config, &[("new", 12.5), ("old", 57.375), ("third", 30.125)]);
}

#[test]
fn a_side_of_nothing_gets_nothing_and_a_side_of_all_gets_all() {
    let sides = Sides::start();
    are_shares(sides.split(0.0), &[("new", 0.0), ("old", 100.0)]);
    are_shares(sides.split(100.0), &[("new", 100.0), ("old", 0.0)]);
}

#[test]
fn all_workers_draw_alike() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(50.0).server("workers = 2"));
    let is_new = |_: &usize| forebay.get("/").text() == "new";
    let count = (0..400).filter(is_new).count();
    assert!(is_share(count, 400, 50.0), "{count}");
}

#[test]
fn a_side_named_by_hand_answers_whatever_its_weight() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0).route(BY_HAND));
    for _ in 0..20 {
        forebay.get_with("/", &by_hand("new")).is(200, "new");
        forebay.get_with("/", &by_hand("old")).is(200, "old");
        forebay.get("/").is(200, "old");
    }
}

#[test]
fn a_side_named_by_hand_beats_a_sticky_one() {
    let sides = Sides::start();
    let config = sides.split(50.0).route(BY_HAND).route(TELLING).route("sticky = \"header:x-user\"");
    let forebay = Forebay::start(config);
    for user in 0..20 {
        let fields = format!("X-User: {user}\r\n");
        assert_eq!(told(&forebay, &(fields.clone() + &by_hand("new"))), "new; by=override");
        assert_eq!(told(&forebay, &(fields + &by_hand("old"))), "old; by=override");
    }
}

#[test]
fn what_names_no_side_is_as_if_it_were_not_there() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0).route(BY_HAND).route(TELLING));
    for other in ["", "newer", "NEW", "new, old", "\"new\"", "origins", "0", "%6eew", "new;q=1"] {
        assert_eq!(told(&forebay, &by_hand(other)), "old; by=weight", "{other:?}");
    }
}

#[test]
fn the_field_that_names_a_side_reaches_no_backend() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0).route(BY_HAND));
    for fields in [by_hand("new"), by_hand("old"), by_hand("neither"), by_hand("new") + &by_hand("old")] {
        forebay.get_with("/", &fields).is_status(200);
    }
    let requests = [sides.new.requests(), sides.old.requests()].concat();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| !request.head.has("x-side")), "{requests:?}");
}

#[test]
fn without_override_header_nothing_names_a_side() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(0.0).route(TELLING));
    for name in ["X-Forebay-Upstream", "X-Side", "X-Answered-By", "Forebay-Upstream"] {
        assert_eq!(told(&forebay, &format!("{name}: new\r\n")), "old; by=weight");
    }
}

#[test]
fn a_field_that_names_a_side_on_one_route_is_any_field_on_another() {
    let sides = Sides::start();
    let plain = "[[route]]\npath = \"/plain\"\nupstream = \"old\"";
    let forebay = Forebay::start(sides.split(0.0).route(BY_HAND).more(plain));
    forebay.get_with("/plain", &by_hand("new")).is(200, "old");
    assert_eq!(sides.old.last().head.field("x-side"), Some("new"));
}

#[test]
fn an_answer_tells_its_side_only_when_asked_to() {
    let sides = Sides::start();
    let quiet = Forebay::start(sides.split(100.0)).get("/");
    assert!(!quiet.head.text().contains("by=") && !quiet.head.text().contains("new"), "{}", quiet.head.text());
    let forebay = Forebay::start(sides.split(100.0).route(TELLING));
    sides.new.now(answer(404, &[("X-Answered-By", "me")], "none"));
    let response = forebay.get("/");
    assert_eq!(response.is(404, "none").head.fields("x-answered-by"), ["new; by=weight"]);
}

#[test]
fn a_split_route_still_changes_what_it_forwards() {
    let sides = Sides::start();
    let keys = "path = \"/api\"\nstrip_prefix = \"/api\"\nset_request_headers = { x-from = \"here\" }";
    let forebay = Forebay::start(sides.split(50.0).route(keys));
    for _ in 0..20 {
        forebay.get("/api/a?b=c").is_status(200);
    }
    let requests = [sides.new.requests(), sides.old.requests()].concat();
    assert_eq!(requests.len(), 20);
    for request in requests {
        assert_eq!((request.target.as_str(), request.head.field("x-from")), ("/a?b=c", Some("here")));
    }
}

#[test]
fn what_switches_protocols_has_a_side_too() {
    let sides = Sides::start();
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    sides.new.now(script().send(switched).tunnel());
    let forebay = Forebay::start(sides.split(100.0).route(TELLING));
    let mut client = forebay.client();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    client.send(format!("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n"));
    let head = client.read_head();
    assert!(
        head.start_line().contains("101") && head.field("x-answered-by") == Some("new; by=weight"),
        "{}",
        head.text()
    );
    assert_eq!(client.send("ping").read_some(), b"ping");
}

#[test]
fn the_access_log_tells_the_side_and_why() {
    let sides = Sides::start();
    let config = sides.split(100.0).route(BY_HAND).route("sticky = \"header:x-user\"").upstream(CHECKED);
    let plain = "[[route]]\npath = \"/plain\"\nbackends = [\"http://127.0.0.1:9\"]";
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), config.more(plain));
    let mut caller = process.caller();
    let mut line = |target: &str, fields: &str| {
        drop(caller.get(target, fields));
        process.logged()
    };
    let says = |line: &str, side: &str, by: &str| {
        line.contains(&format!("\"side\":\"{side}\"")) && line.contains(&format!("\"side_by\":\"{by}\""))
    };
    for (fields, side, by) in
        [("", "new", "weight"), ("X-User: 1\r\n", "new", "sticky"), ("X-Side: old\r\n", "old", "override")]
    {
        let line = line("/", fields);
        assert!(says(&line, side, by), "{line}");
    }
    let line = line("/plain", "");
    assert!(!line.contains("\"side\"") && !line.contains("side_by"), "{line}");
}

#[test]
fn the_access_log_tells_who_stands_in() {
    let sides = Sides::start();
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), sides.split(50.0).upstream(CHECKED));
    sides.new.go_down();
    let mut caller = process.caller();
    eventually("the log tells of a side that stands in", || {
        drop(caller.get("/", ""));
        let line = process.logged();
        line.contains("\"side\":\"old\"") && line.contains("\"side_by\":\"fallback\"")
    });
}

#[test]
fn another_side_stands_in_for_one_that_is_down() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(50.0).upstream(CHECKED).route(TELLING));
    sides.new.go_down();
    eventually("nobody notices", || forebay.tally(20).get("old") == Some(&20));
    let told: Vec<String> = (0..60).map(|_| told(&forebay, "")).collect();
    assert!(told.iter().all(|told| told == "old; by=weight" || told == "old; by=fallback"), "{told:?}");
    let stood_in = told.iter().filter(|told| told.ends_with("fallback")).count();
    assert!(is_share(stood_in, 60, 50.0), "{stood_in}");
    sides.new.come_back();
    eventually("it is back", || forebay.get("/").text() == "new");
    eventually("nobody stands in", || (0..20).all(|_| self::told(&forebay, "").ends_with("weight")));
}

#[test]
fn another_side_stands_in_when_connections_are_refused_and_nobody_checks() {
    let sides = Sides::start();
    sides.new.go_down();
    let forebay = Forebay::start(sides.split(50.0));
    eventually("nobody notices any more", || forebay.tally(20).get("old") == Some(&20));
}

#[test]
fn another_side_takes_a_write_too() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(99.0).upstream(CHECKED));
    sides.new.go_down();
    eventually("the side is out", || forebay.tally(5).get("old") == Some(&5));
    forebay.post("/orders", "one").is(200, "old");
    assert_eq!((sides.old.last().method.as_str(), sides.old.last().body.as_slice()), ("POST", b"one".as_slice()));
}

#[test]
fn standing_in_counts_as_a_failure_of_the_side_that_could_not() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(99.0).upstream(CHECKED));
    sides.new.go_down();
    let api = forebay.api();
    let counts = |side: &str| {
        let side = api.side("all", side);
        (side["requests"].as_u64().unwrap(), side["errors"].as_u64().unwrap())
    };
    eventually("the side is known to be out", || api.side("all", "new")["usable"] == false);
    let before = counts("new");
    let tally = forebay.tally(40);
    assert_eq!(tally.get("old"), Some(&40), "{tally:?}");
    eventually("they are counted", || counts("old").0 == 40);
    let after = counts("new");
    let failed = after.1 - before.1;
    assert!((30..=40).contains(&failed) && after.0 - before.0 == failed, "{before:?} {after:?}");
    assert_eq!(counts("old"), (40, 0));
    assert_eq!(api.side("all", "old")["usable"], true);
}

#[test]
fn a_client_goes_back_to_its_side_when_the_side_is_back() {
    let sides = Sides::start();
    let config = sides.split(50.0).upstream(CHECKED).route(TELLING).route("sticky = \"header:x-user\"");
    let forebay = Forebay::start(config);
    let user = (0..100).map(|user| format!("X-User: {user}\r\n")).find(|user| told(&forebay, user) == "new; by=sticky");
    let user = user.expect("of 100 users one is on the new side");
    sides.new.go_down();
    let said = || forebay.get_with("/", &user).field("x-answered-by").map(str::to_owned);
    eventually("another side stands in", || said().as_deref() == Some("old; by=fallback"));
    sides.new.come_back();
    eventually("the user is back", || said().as_deref() == Some("new; by=sticky"));
}

#[test]
fn nobody_stands_in_for_a_side_named_by_hand() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(50.0).upstream(CHECKED).route(BY_HAND));
    sides.new.go_down();
    eventually("it is refused", || forebay.get_with("/", &by_hand("new")).status == 503);
    for _ in 0..10 {
        forebay.get_with("/", &by_hand("new")).is_status(503);
    }
    forebay.get_with("/", &by_hand("old")).is(200, "old");
}

#[test]
fn a_side_of_nothing_stands_in_for_nobody() {
    let sides = Sides::start();
    let none = Origin::start(ok("none"));
    let config = split(&[("new", &sides.new, 60.0), ("old", &sides.old, 40.0), ("none", &none, 0.0)]);
    let forebay = Forebay::start(config.upstream(CHECKED));
    sides.new.go_down();
    eventually("the old side stands in", || forebay.tally(20).get("old") == Some(&20));
    sides.old.go_down();
    eventually("none is left", || forebay.tally(20).get("503") == Some(&20));
    assert_eq!(none.seen(), 0);
}

#[test]
fn those_who_stand_in_share_by_their_weights() {
    let sides = Sides::start();
    let third = Origin::start(ok("third"));
    let config = split(&[("new", &sides.new, 96.0), ("old", &sides.old, 3.0), ("third", &third, 1.0)]);
    let forebay = Forebay::start(config.upstream(CHECKED));
    sides.new.go_down();
    eventually("the side is out", || !forebay.tally(20).keys().any(|side| side.parse::<u16>().is_ok()));
    let old = forebay.tally(400).get("old").copied().unwrap_or_default();
    assert!(is_share(old, 400, 75.0), "{old}");
}

#[test]
fn a_second_try_stays_on_the_side() {
    let sides = Sides::start();
    let refusing = Origin::refusing(ok("refused"));
    let config = Config::default().side("new", [&refusing, &sides.new], 100.0).side("old", [&sides.old], 0.0);
    let forebay = Forebay::start(config.route(TELLING));
    for _ in 0..20 {
        assert_eq!(told(&forebay, ""), "new; by=weight");
    }
}

#[test]
fn a_backend_that_fails_is_not_gone() {
    let sides = Sides::start();
    let config = sides.split(100.0).upstream("[upstream.ejection]\nconsecutive_failures = 0");
    let forebay = Forebay::start(config.route(TELLING));
    sides.new.now(answer(500, &[], "broken"));
    for _ in 0..20 {
        assert_eq!(forebay.get("/").is(500, "broken").field("x-answered-by"), Some("new; by=weight"));
    }
    assert_eq!(sides.old.seen(), 0);
}
