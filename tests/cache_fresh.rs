//! Freshness lifetimes, `Age` and `Date`.
//!
//! Every test moves the clock of its process, so each needs its own process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Config, Forebay, Origin, advance, answer, date, forward, ok, raw};

/// The margin around the moment at which a response becomes stale, for slow machines.
const MARGIN_SECONDS: u64 = 5;

fn pass(seconds: u64) {
    advance(Duration::from_secs(seconds));
}

fn caching(origin: &Origin, keys: &str) -> Config {
    forward([origin]).upstream("[upstream.retry]\nattempts = 0").cached(keys)
}

/// Asserts that a response with this status and these fields is fresh for this many seconds and no longer.
#[track_caller]
fn status_lasts(keys: &str, status: u16, fields: &[(&str, &str)], seconds: u64) {
    let origin = Origin::start(answer(status, fields, "one"));
    let forebay = Forebay::start(caching(&origin, keys));
    forebay.get("/").is(status, "one").is_stored();
    pass(seconds - MARGIN_SECONDS);
    forebay.get("/").is(status, "one").is_hit();
    pass(2 * MARGIN_SECONDS);
    forebay.get("/").is(status, "one").says_first("forebay; fwd=stale");
    assert_eq!(origin.seen(), 2);
}

#[track_caller]
fn lasts(keys: &str, fields: &[(&str, &str)], seconds: u64) {
    status_lasts(keys, 200, fields, seconds);
}

/// Asserts that a response with these fields is never served without validation.
#[track_caller]
fn is_stale_from_the_start(keys: &str, fields: &[(&str, &str)]) {
    let origin = Origin::start(answer(200, fields, "one"));
    let forebay = Forebay::start(caching(&origin, keys));
    forebay.get("/").is(200, "one");
    let second = forebay.get("/");
    assert_eq!(origin.seen(), 2, "{fields:?}: {}", second.is(200, "one").cache_status());
}

#[test]
fn the_first_source_that_is_present_counts() {
    let modified = ("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT");
    let expires = date(500);
    let expires = ("Expires", expires.as_str());
    let all = ("Cache-Control", "max-age=200, s-maxage=100");
    lasts("", &[("CDN-Cache-Control", "max-age=50"), all, expires, modified], 50);
    lasts("", &[all, expires, modified], 100);
    lasts("", &[("Cache-Control", "max-age=200"), expires, modified], 200);
    let expires = date(500);
    lasts("", &[("Expires", &expires), modified], 500);
    let modified = date(-1000);
    lasts("", &[("Last-Modified", &modified)], 100);
}

#[test]
fn a_targeted_field_replaces_the_others_only_if_it_can_be_read() {
    let no_store = ("Cache-Control", "no-store");
    lasts("", &[("CDN-Cache-Control", "max-age=60"), no_store, ("Expires", "0")], 60);
    for value in ["", "max-age=60,", "Max-Age=60", "max-age=60 60"] {
        lasts("", &[("CDN-Cache-Control", value), ("Cache-Control", "max-age=100")], 100);
    }
}

#[test]
fn directives_are_read_whatever_their_case_spacing_and_company() {
    for value in [
        "Max-Age=60",
        "MAX-AGE=60",
        "max-age=60,",
        ",,max-age=60",
        "max-age=60\t,  unknown",
        "unknown=\"max-age=7, no-store\", max-age=60",
        "max-age=\"60\"",
        "max-age=060",
        "xmax-age=7, max-age=60",
        "max-age=60, max-age=60",
    ] {
        lasts("", &[("Cache-Control", value)], 60);
    }
    lasts("", &[("Cache-Control", "public"), ("Cache-Control", "max-age=60")], 60);
}

#[test]
fn a_time_that_cannot_be_read_or_contradicts_itself_is_none() {
    for value in [
        "max-age",
        "max-age=",
        "max-age=x",
        "max-age=-60",
        "max-age=60.5",
        "max-age=60s",
        "max-age='60'",
        "max-age=\"60",
        "max-age=1, max-age=60",
        "s-maxage=x, max-age=60",
        "max-age=0",
    ] {
        is_stale_from_the_start("ttl = \"60s\"", &[("Cache-Control", value)]);
    }
    is_stale_from_the_start("", &[("Cache-Control", "max-age=60"), ("Cache-Control", "max-age=100")]);
}

#[test]
fn a_time_of_centuries_is_one_of_decades() {
    for value in ["max-age=2147483648", "max-age=99999999999999999999999", "s-maxage=9223372036854775808"] {
        let origin = Origin::start(answer(200, &[("Cache-Control", value)], "one"));
        let forebay = Forebay::start(caching(&origin, ""));
        forebay.get("/").is_stored();
        pass(365 * 86_400);
        forebay.get("/").is_hit();
    }
}

#[test]
fn expires_is_read_in_all_three_forms_of_a_date() {
    for form in [fixdate, rfc850, asctime] {
        let expires = form(&date(60));
        lasts("", &[("Expires", &expires)], 60);
    }
}

fn fixdate(date: &str) -> String {
    date.to_owned()
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`.
fn rfc850(date: &str) -> String {
    let words: Vec<&str> = date.split(' ').collect();
    let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let day = days.iter().find(|day| day.get(..3) == words[0].get(..3)).unwrap();
    format!("{day}, {}-{}-{} {} GMT", words[1], words[2], words[3].get(2..).unwrap(), words[4])
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(date: &str) -> String {
    let words: Vec<&str> = date.split(' ').collect();
    let day: u32 = words[1].parse().unwrap();
    format!("{} {} {day:>2} {} {}", words[0].trim_end_matches(','), words[2], words[4], words[3])
}

#[test]
fn expires_that_cannot_be_read_has_passed() {
    let (past, wrong_zone) = (date(-60), date(60).replace("GMT", "UTC"));
    for value in ["0", "-1", "", "never", "60", &past, &wrong_zone, "Sun, 06 Abc 2094 08:49:37 GMT"] {
        is_stale_from_the_start("ttl = \"60s\"", &[("Expires", value)]);
    }
    let (soon, later) = (date(60), date(600));
    is_stale_from_the_start("", &[("Expires", &soon), ("Expires", &later)]);
}

#[test]
fn expires_counts_from_the_date_of_the_answer() {
    for offset in [-20, 0, 100] {
        let (made, expires) = (date(offset), date(offset + 100));
        lasts("", &[("Date", &made), ("Expires", &expires)], if offset < 0 { 80 } else { 100 });
    }
    let (made, expires) = (date(-200), date(-100));
    is_stale_from_the_start("", &[("Date", &made), ("Expires", &expires)]);
}

#[test]
fn a_date_that_cannot_be_read_is_the_moment_of_arrival() {
    let expires = date(100);
    lasts("", &[("Date", "yesterday"), ("Expires", &expires)], 100);
}

#[test]
fn a_guess_is_a_tenth_of_the_time_unchanged_and_has_a_limit() {
    let modified = date(-2000);
    lasts("", &[("Last-Modified", &modified)], 200);
    let modified = date(-100_000_000);
    lasts("", &[("Last-Modified", &modified)], 86_400);
    lasts("heuristic_max = \"30s\"", &[("Last-Modified", &modified)], 30);
    let (made, modified) = (date(-20), date(-1020));
    lasts("", &[("Date", &made), ("Last-Modified", &modified)], 80);
}

#[test]
fn the_route_s_time_counts_where_the_origin_names_none() {
    let modified = date(-2000);
    lasts("ttl = \"60s\"", &[], 60);
    lasts("ttl = \"60s\"", &[("Last-Modified", &modified)], 60);
    lasts("ttl = \"60s\"", &[("Cache-Control", "max-age=100")], 100);
    lasts("ttl = \"60s\"", &[("Cache-Control", "public")], 60);
    status_lasts("ttl = \"60s\"", 404, &[], 60);
}

#[test]
fn a_time_for_a_status_counts_for_that_status_only() {
    let keys = "ttl = \"60s\"\nttl_status = { 404 = \"20s\", 503 = \"30s\" }";
    status_lasts(keys, 404, &[], 20);
    status_lasts(keys, 503, &[], 30);
    status_lasts(keys, 410, &[], 60);
    status_lasts(keys, 404, &[("Cache-Control", "max-age=100")], 100);
}

#[test]
fn a_forced_time_beats_the_origin_s() {
    for value in ["max-age=600", "s-maxage=600", "max-age=0", "no-cache", "no-cache, max-age=600"] {
        lasts("ttl_force = \"60s\"", &[("Cache-Control", value)], 60);
    }
    lasts("ttl_force = \"60s\"", &[("CDN-Cache-Control", "max-age=600")], 60);
    lasts("ttl_force = \"60s\"", &[("Expires", "0")], 60);
    status_lasts("ttl_force = \"60s\"", 500, &[("Cache-Control", "max-age=100")], 100);
}

#[test]
fn an_age_that_an_inner_cache_gives_counts() {
    lasts("", &[("Age", "40"), ("Cache-Control", "max-age=100")], 60);
    lasts("", &[("Age", "40, 90"), ("Cache-Control", "max-age=100")], 60);
    lasts("", &[("Age", "x"), ("Cache-Control", "max-age=100")], 100);
    lasts("", &[("Age", "-40"), ("Cache-Control", "max-age=100")], 100);
    is_stale_from_the_start("", &[("Age", "100"), ("Cache-Control", "max-age=100")]);
    is_stale_from_the_start("", &[("Age", "99999999999999999999"), ("Cache-Control", "max-age=100")]);
}

#[test]
fn an_old_date_counts_as_age() {
    let made = date(-40);
    lasts("", &[("Date", &made), ("Cache-Control", "max-age=100")], 60);
    let made = date(-100);
    is_stale_from_the_start("", &[("Date", &made), ("Cache-Control", "max-age=100")]);
}

#[test]
fn age_and_what_is_left_run_with_the_clock() {
    let origin = Origin::start(answer(200, &[("Age", "10"), ("Cache-Control", "max-age=100")], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").is_stored();
    for passed in [0, 30, 60] {
        let hit = forebay.get("/");
        let (age, ttl) = (hit.is_hit().age().unwrap(), hit.ttl().unwrap());
        assert!((passed + 10..passed + 14).contains(&age), "{age} after {passed} s");
        assert!((86 - passed..=90 - passed).contains(&ttl), "{ttl} after {passed} s");
        assert_eq!(hit.head.fields("age").len(), 1);
        pass(30);
    }
}

#[test]
fn an_answer_straight_from_the_origin_has_no_age_of_ours() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=100")], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    assert_eq!(forebay.get("/").is_stored().field("age"), None);
    assert_eq!(forebay.get("/").is_hit().age(), Some(0));
}

#[test]
fn the_origin_s_date_is_kept_however_old_the_answer_gets() {
    let made = date(-20);
    let origin = Origin::start(answer(200, &[("Date", &made), ("Cache-Control", "max-age=100")], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    assert_eq!(forebay.get("/").is_stored().head.fields("date"), [made.as_str()]);
    pass(50);
    assert_eq!(forebay.get("/").is_hit().head.fields("date"), [made.as_str()]);
}

#[test]
fn an_answer_without_a_date_gets_that_of_its_arrival() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=100")], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    let first = forebay.get("/");
    let given = first.is_stored().field("date").unwrap().to_owned();
    pass(50);
    assert_eq!(forebay.get("/").is_hit().head.fields("date"), [given.as_str()]);
    assert_ne!(given, date(0));
}

#[test]
fn a_later_answer_is_timed_anew() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60")], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").is_stored();
    pass(70);
    origin.now(answer(200, &[("Cache-Control", "max-age=600")], "two"));
    forebay.get("/").is(200, "two").says_first("forebay; fwd=stale");
    pass(500);
    forebay.get("/").is(200, "two").is_hit();
}

#[test]
fn an_answer_that_replaces_another_and_is_not_for_storing_takes_it_away() {
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60")], "one"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").is_stored();
    pass(70);
    origin.now(answer(200, &[("Cache-Control", "no-store")], "two"));
    forebay.get("/").is(200, "two");
    forebay.get_with("/", "Cache-Control: max-stale=1000\r\n").is(200, "two");
    assert_eq!(origin.seen(), 3);
}

#[test]
fn time_spent_on_the_way_counts_as_age() {
    let gate = testbed::Gate::new();
    let fresh = "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 3\r\n\r\none";
    let origin = Origin::start(testbed::script().wait(&gate).send(fresh));
    let forebay = Forebay::start(caching(&origin, ""));
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    testbed::eventually("the origin has the request", || origin.held() == 1);
    pass(20);
    gate.open();
    client.read_response().is(200, "one");
    let age = forebay.get("/").is_hit().age().unwrap();
    assert!((20..25).contains(&age), "{age}");
}

#[test]
fn routes_have_times_of_their_own() {
    let origin = Origin::start(ok("one"));
    let more = "[[route]]\npath = \"/short\"\nupstream = \"origins\"\n[route.cache]\nttl = \"20s\"";
    let forebay = Forebay::start(caching(&origin, "ttl = \"100s\"").more(more));
    forebay.get("/long").is_stored();
    forebay.get("/short").is_stored();
    pass(50);
    forebay.get("/long").is_hit();
    forebay.get("/short").says_first("forebay; fwd=stale");
}

#[test]
fn an_http_1_0_answer_is_timed_like_any_other() {
    let expires = date(60);
    let origin =
        Origin::start(raw(format!("HTTP/1.0 200 OK\r\nExpires: {expires}\r\nContent-Length: 3\r\n\r\none")).close());
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/").is(200, "one").is_stored();
    pass(50);
    forebay.get("/").is(200, "one").is_hit();
    pass(20);
    forebay.get("/").is(200, "one").says_first("forebay; fwd=stale");
}
