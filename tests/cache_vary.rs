//! `Vary`: which of several stored responses of a URI is selected (RFC 9111 §4.1).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Forebay, Origin, Script, advance, answer, forward, ok};

/// An answer that varies on these fields.
fn varying(on: &str, body: &str) -> Script {
    answer(200, &[("Cache-Control", "max-age=600"), ("Vary", on)], body)
}

fn before(script: Script) -> (Origin, Forebay) {
    let origin = Origin::start(script);
    let forebay = Forebay::start(forward([&origin]).cached("ttl = \"600s\""));
    (origin, forebay)
}

/// Whether the cached response to the first request, with this `Vary`, is served for the second.
#[track_caller]
fn serves(on: &str, first: &str, second: &str) -> bool {
    let (origin, forebay) = before(varying(on, "one"));
    forebay.get_with("/", first).is(200, "one").is_stored();
    origin.now(varying(on, "two"));
    let response = forebay.get_with("/", second);
    match origin.seen() {
        1 => {
            response.is(200, "one").is_hit();
            true
        }
        _ => {
            response.is(200, "two").says("forebay; fwd=vary-miss; stored");
            false
        }
    }
}

#[test]
fn each_choice_has_its_own_answer_and_all_are_kept() {
    let (origin, forebay) = before(varying("Accept-Language", "hello"));
    let (english, german) = ("Accept-Language: en\r\n", "Accept-Language: de\r\n");
    forebay.get_with("/", english).is(200, "hello").is_stored();
    origin.now(varying("Accept-Language", "hallo"));
    forebay.get_with("/", german).is(200, "hallo").says("forebay; fwd=vary-miss; stored");
    forebay.get_with("/", english).is(200, "hello").is_hit();
    forebay.get_with("/", german).is(200, "hallo").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn a_field_that_is_absent_chooses_only_what_was_asked_for_without_it() {
    assert!(serves("X-A", "", ""));
    assert!(!serves("X-A", "", "X-A: 1\r\n"));
    assert!(!serves("X-A", "X-A: 1\r\n", ""));
    assert!(!serves("X-A", "", "X-A: \r\n"));
}

#[test]
fn other_fields_do_not_matter() {
    assert!(serves("X-A", "X-A: 1\r\nX-B: 1\r\n", "X-A: 1\r\nX-B: 2\r\n"));
    assert!(serves("X-A", "X-A: 1\r\n", "X-A: 1\r\nUser-Agent: else\r\nCookie: a=b\r\n"));
}

#[test]
fn all_fields_that_are_named_must_choose_alike() {
    assert!(serves("X-A, X-B", "X-A: 1\r\nX-B: 2\r\n", "X-B: 2\r\nX-A: 1\r\n"));
    assert!(!serves("X-A, X-B", "X-A: 1\r\nX-B: 2\r\n", "X-A: 1\r\nX-B: 3\r\n"));
    assert!(!serves("X-A, X-B", "X-A: 1\r\nX-B: 2\r\n", "X-A: 2\r\nX-B: 1\r\n"));
}

#[test]
fn several_lines_of_vary_are_one_list() {
    let fields = [("Cache-Control", "max-age=600"), ("Vary", "X-A"), ("Vary", "X-B")];
    let (origin, forebay) = before(answer(200, &fields, "one"));
    forebay.get_with("/", "X-A: 1\r\nX-B: 2\r\n").is_stored();
    forebay.get_with("/", "X-A: 1\r\nX-B: 2\r\n").is_hit();
    forebay.get_with("/", "X-A: 1\r\nX-B: 3\r\n").says("forebay; fwd=vary-miss; stored");
    assert_eq!(origin.seen(), 2);
}

#[test]
fn names_have_no_case_and_values_do() {
    assert!(serves("x-a", "X-A: v\r\n", "X-a: v\r\n"));
    assert!(!serves("X-A", "X-A: v\r\n", "X-A: V\r\n"));
}

#[test]
fn space_around_a_value_is_not_part_of_it() {
    assert!(serves("X-A", "X-A: v\r\n", "X-A:   v \t\r\n"));
    assert!(!serves("X-A", "X-A: a b\r\n", "X-A: a  b\r\n"));
}

#[test]
fn several_lines_are_one_value() {
    assert!(serves("X-A", "X-A: 1\r\nX-A: 2\r\n", "X-A: 1, 2\r\n"));
    assert!(!serves("X-A", "X-A: 1\r\nX-A: 2\r\n", "X-A: 2\r\nX-A: 1\r\n"));
}

#[test]
fn encodings_are_taken_as_a_set() {
    let first = "Accept-Encoding: gzip, br\r\n";
    for same in ["br,gzip", "GZIP , br", "gzip,br,,br", "br\r\nAccept-Encoding: gzip"] {
        assert!(serves("Accept-Encoding", first, &format!("Accept-Encoding: {same}\r\n")), "{same}");
    }
    for other in ["gzip", "gzip, br, zstd", "gzip;q=0, br", ""] {
        assert!(!serves("Accept-Encoding", first, &format!("Accept-Encoding: {other}\r\n")), "{other}");
    }
}

#[test]
fn of_several_answers_that_fit_the_newest_is_served() {
    let (origin, forebay) = before(varying("X-A", "one"));
    forebay.get_with("/", "X-A: 1\r\n").is_stored();
    advance(Duration::from_secs(10));
    origin.now(varying("X-B", "two"));
    forebay.get_with("/", "X-A: 2\r\n").is(200, "two");
    forebay.get_with("/", "X-A: 1\r\n").is(200, "two").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn what_does_not_vary_is_served_where_nothing_that_does_fits() {
    let (origin, forebay) = before(varying("X-A", "one"));
    forebay.get_with("/", "X-A: 1\r\n").is_stored();
    advance(Duration::from_secs(10));
    origin.now(answer(200, &[("Cache-Control", "max-age=600")], "for all"));
    forebay.get("/").is(200, "for all");
    forebay.get_with("/", "X-A: 1\r\n").is(200, "one").is_hit();
    forebay.get_with("/", "X-A: 2\r\n").is(200, "for all").is_hit();
    assert_eq!(origin.seen(), 2);
}

#[test]
fn an_answer_that_stops_varying_serves_everyone() {
    let (origin, forebay) = before(varying("X-A", "one"));
    forebay.get_with("/", "X-A: 1\r\n").is_stored();
    origin.now(ok("for all"));
    advance(Duration::from_secs(10));
    forebay.get_with("/", "X-A: 1\r\nCache-Control: no-cache\r\n").is(200, "for all");
    forebay.get_with("/", "X-A: 1\r\n").is(200, "for all").is_hit();
    forebay.get_with("/", "X-A: 2\r\n").is(200, "for all").is_hit();
}

#[test]
fn a_variant_that_is_stale_does_not_let_another_stand_in_for_it() {
    let (origin, forebay) = before(answer(200, &[("Cache-Control", "max-age=60"), ("Vary", "X-A")], "short"));
    forebay.get_with("/", "X-A: 1\r\n").is_stored();
    origin.now(varying("X-A", "long"));
    forebay.get_with("/", "X-A: 2\r\n").says("forebay; fwd=vary-miss; stored");
    advance(Duration::from_secs(70));
    forebay.get_with("/", "X-A: 2\r\n").is(200, "long").is_hit();
    origin.now(varying("X-A", "new"));
    forebay.get_with("/", "X-A: 1\r\n").is(200, "new").says_first("forebay; fwd=stale");
}

#[test]
fn a_head_chooses_as_a_get_does() {
    let (_origin, forebay) = before(varying("X-A", "one"));
    forebay.get_with("/", "X-A: 1\r\n").is_stored();
    let head = |value| forebay.ask(format!("HEAD / HTTP/1.1\r\nHost: shop.test\r\nX-A: {value}\r\n\r\n"));
    head("1").is_status(200).is_hit();
    head("2").is_status(200).says_first("forebay; fwd=vary-miss");
}

#[test]
fn the_host_is_no_choice_among_answers() {
    assert!(serves("Host", "", ""));
}

#[test]
fn a_flood_of_choices_is_answered_and_the_newest_stay() {
    let (origin, forebay) = before(varying("X-A", "one"));
    for value in 0..200 {
        forebay.get_with("/", &format!("X-A: {value}\r\n")).is(200, "one");
    }
    forebay.get_with("/", "X-A: 199\r\n").is_hit();
    forebay.get_with("/", "X-A: 0\r\n").says("forebay; fwd=vary-miss; stored");
    assert_eq!(origin.seen(), 201);
}

#[test]
fn what_varies_on_more_than_can_be_read_is_never_served_to_another() {
    let names: Vec<String> = (0..40).map(|number| format!("X-{number}")).collect();
    let (origin, forebay) = before(varying(&names.join(", "), "one"));
    forebay.get_with("/", "X-39: 1\r\n").is(200, "one");
    origin.now(varying("X-0", "two"));
    forebay.get_with("/", "X-39: 2\r\n").is(200, "two");
}

#[test]
fn a_field_that_forebay_writes_itself_chooses_as_the_origin_sees_it() {
    let (origin, forebay) = before(varying("X-Forwarded-Host", "one"));
    forebay.get_with("/", "X-Forwarded-Host: evil\r\n").is(200, "one");
    forebay.get("/").is(200, "one").is_hit();
    assert_eq!((origin.seen(), origin.last().head.fields("x-forwarded-host")), (1, vec!["shop.test"]));
}
