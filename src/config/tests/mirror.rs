//! Tests of `[route.mirror]`: accepted values, and problems.

use std::time::Duration;

use http::Method;
use policy::compare::rules::{Pointer, Rules};
use policy::route::split::Share;

use super::rollout::{EVERY_KEY, field, mirror_of, mirroring, percent, route, splitting};
use super::{fine, refused};
use crate::config::plan::{Compare, Mirror};

/// A route to `old` whose mirror compares by these lines.
fn comparing(lines: &str) -> String {
    mirroring(&format!("[route.mirror.compare]\n{lines}"))
}

#[test]
fn every_key_of_a_mirror_is_read() {
    let pointer = |text| Pointer::parse(text).unwrap();
    let rules = Rules {
        status: false,
        headers: vec![field("etag")],
        json_body: true,
        other_body: false,
        ignore: vec![pointer("/updated_at"), pointer("/items/*/seen")],
    };
    let expected = Mirror {
        upstream: 0,
        share: percent(12.5),
        methods: vec![Method::GET, Method::POST],
        body_bytes_max: 2 << 20,
        in_flight_max: 8,
        timeout: Duration::from_secs(2),
        compare: Some(Compare { rules, noise_from: Some(1), samples_max: 5, sample_values: true }),
    };
    assert_eq!(mirror_of(&route(EVERY_KEY)), expected);
}

#[test]
fn what_is_left_out_of_a_mirror_has_its_default() {
    let expected = Mirror {
        upstream: 0,
        share: Share::WHOLE,
        methods: vec![Method::GET, Method::HEAD],
        body_bytes_max: 1 << 20,
        in_flight_max: 64,
        timeout: Duration::from_secs(10),
        compare: None,
    };
    assert_eq!(mirror_of(&mirroring("")), expected);
    let rules = Rules {
        status: true,
        headers: vec![field("content-type")],
        json_body: true,
        other_body: true,
        ignore: Vec::new(),
    };
    let compare = Compare { rules, noise_from: None, samples_max: 50, sample_values: false };
    assert_eq!(mirror_of(&mirroring("compare = {}")).compare, Some(compare));
}

#[test]
fn keys_of_a_mirror_are_checked() {
    for (lines, words) in [
        ("percent = 0", "percent is 0: nothing would be copied | leave the whole table out"),
        ("percent = 0.0001", "percent is finer than a thousandth"),
        ("percent = 100.1", "percent is out of range | from 0 to 100"),
        ("methods = []", "methods is empty: nothing would be copied"),
        ("methods = [\"get\"]", "\"get\" is no method | methods are case-sensitive"),
        ("methods = [\"CONNECT\"]", "\"CONNECT\" can't be copied | it reaches no backend"),
        ("methods = [\"GET\", \"TRACE\"]", "\"TRACE\" can't be copied"),
        ("body_bytes_max = \"65MiB\"", "body_bytes_max is out of range | from 0 to 64MiB"),
        ("in_flight_max = 0", "in_flight_max is out of range | from 1 to 100000"),
        ("timeout = 0", "timeout is out of range | from 1ms to 1h"),
        ("compare = true", "compare is a table, not true or false | write [route.mirror.compare]"),
        ("precent = 5", "did you mean \"percent\"?"),
    ] {
        refused(&mirroring(lines), words);
    }
}

#[test]
fn keys_of_comparing_are_checked() {
    for (lines, words) in [
        ("headers = [\"a b\"]", "this is no name of a header field"),
        ("ignore = [\"updated_at\"]", "\"updated_at\" is no JSON pointer | write \"/items/*/seen\""),
        ("ignore = [\"\"]", "\"\" is no JSON pointer"),
        ("ignore = [\"/a~2\"]", "\"/a~2\" is no JSON pointer"),
        ("json_body = false\nignore = [\"/a\"]", "ignore has no effect | it is for json_body = true"),
        ("noise_from = \"odl\"", "upstream \"odl\" is not defined | did you mean \"old\"?"),
        ("noise_from = \"new\"", "noise_from is the mirror's own upstream | name the one that answers clients"),
        ("samples_max = 1001", "samples_max is out of range | from 0 to 1000"),
        ("status = false\nheaders = []\njson_body = false\nother_body = false", "compare compares nothing"),
    ] {
        refused(&comparing(lines), words);
    }
    let many = vec!["\"/a\""; 101].join(", ");
    refused(&comparing(&format!("ignore = [{many}]")), "there are 101 places to ignore | at most 100");
}

#[test]
fn a_mirror_copies_to_another_upstream() {
    refused(&route("upstream = \"old\"\n[route.mirror]"), "upstream is missing | say where the copies go");
    let own = "the mirror is the route's own upstream | name another";
    refused(&route("upstream = \"old\"\nmirror = { upstream = \"old\" }"), own);
    let in_place = "name = \"a\"\nbackends = [\"http://a\"]\n";
    refused(&route(&format!("{in_place}mirror = {{ upstream = \"a\" }}")), own);
    fine(&route(&format!("{in_place}mirror = {{ upstream = \"old\" }}")));
    fine(&splitting("mirror = { upstream = \"old\" }"));
    let undefined = "upstream \"thrid\" is not defined | did you mean \"third\"?";
    refused(&route("upstream = \"old\"\nmirror = { upstream = \"thrid\" }"), undefined);
    for action in ["respond = {}", "redirect = { to = \"/\" }"] {
        let words = "mirror has no effect | it is for requests that go to an upstream";
        refused(&route(&format!("{action}\nmirror = {{ upstream = \"new\" }}")), words);
    }
}
