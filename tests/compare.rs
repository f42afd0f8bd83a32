//! Mirrors that compare: differences of two responses, noise, and samples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use testbed::{
    Compared, Forebay, Gate, Origin, Script, answer, chunked, eventually, forward, hang, ok, places, raw, reset,
    script, skipped, validated,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// Compares all there is, with these keys of `compare` besides.
fn all(more: &str) -> String {
    let basic = "status = true, headers = [\"content-type\", \"x-kind\"], json_body = true, other_body = true";
    format!("timeout = \"500ms\"\ncompare = {{ {basic}{more} }}")
}

fn json(body: &str) -> Script {
    answer(200, &[("Content-Type", "application/json")], body)
}

fn text(body: &str) -> Script {
    answer(200, &[("Content-Type", "text/plain")], body)
}

/// 200 with these bytes in this coding.
fn coded(coding: &str, kind: &str, bytes: &[u8]) -> Script {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    raw([head.as_bytes(), bytes].concat())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn without_compare_nothing_is_compared() {
    let pair = Compared::by("");
    pair.answer(&text("one"), &text("two"));
    pair.forebay.get("/").is(200, "one");
    let mirror = pair.forebay.mirror_until("all", |mirror| mirror["sent"] == 1 && mirror["in_flight"] == 0);
    assert!(mirror["comparison"].is_null(), "{mirror:#}");
    pair.forebay.mirror_api("POST", "/all/reset").is_status(404);
}

#[test]
fn equal_answers_are_equal() {
    let pair = Compared::by(&all(""));
    let document = r#"{"id":7,"name":"a","tags":["x","y"],"none":null}"#;
    pair.are_equal(&json(document), &json(document));
    pair.are_equal(&text("plain"), &text("plain"));
    pair.are_equal(&ok(""), &ok(""));
    pair.are_equal(&answer(404, &[], "none"), &answer(404, &[], "none"));
    pair.are_equal(&answer(204, &[], ""), &answer(204, &[], ""));
    pair.are_equal(&ok("abcdef"), &chunked(&["abc", "def"], &[]));
}

#[test]
fn pairs_are_counted() {
    let pair = Compared::by(&all(""));
    pair.answer(&text("one"), &text("one"));
    (0..5).for_each(|_| drop(pair.forebay.get("/")));
    let found = pair.after(5);
    assert!(found["compared"] == 5 && found["mismatched"] == 0, "{found:#}");
    pair.answer(&text("one"), &text("two"));
    (0..3).for_each(|_| drop(pair.forebay.get("/")));
    let found = pair.after(8);
    assert!(found["compared"] == 8 && found["mismatched"] == 3, "{found:#}");
    assert!(found["differences"][0]["count"] == 3 && found["differences"][0]["noise"] == 0, "{found:#}");
}

#[test]
fn statuses_and_listed_fields_are_compared() {
    let pair = Compared::by(&all(""));
    pair.differ(&answer(200, &[], "same"), &answer(404, &[], "same"), &[("status", "")]);
    pair.differ(
        &answer(200, &[("Content-Type", "text/plain")], "same"),
        &answer(200, &[("Content-Type", "text/html")], "same"),
        &[("header", "content-type")],
    );
    pair.differ(&answer(200, &[("X-Kind", "a")], ""), &answer(200, &[], ""), &[("header", "x-kind")]);
    let twice = [("X-Kind", "a"), ("X-Kind", "b")];
    pair.are_equal(&answer(200, &twice, ""), &answer(200, &twice, ""));
    pair.differ(&answer(200, &twice, ""), &answer(200, &twice[..1], ""), &[("header", "x-kind")]);
    pair.are_equal(&answer(200, &[("X-Other", "a")], ""), &answer(200, &[("X-Other", "b")], ""));
}

#[test]
fn only_what_is_asked_for_is_compared() {
    let none = "status = false, headers = [], json_body = false, other_body = false";
    for (keys, ours, theirs) in [
        (none.replace("status = false", "status = true"), answer(200, &[], "a"), answer(200, &[("X-Kind", "b")], "b")),
        (none.replace("json_body = false", "json_body = true"), text("a"), answer(404, &[("X-Kind", "b")], "b")),
        (none.replace("other_body = false", "other_body = true"), ok("a"), answer(500, &[("X-Kind", "b")], "a")),
        (
            none.replace("[]", "[\"x-kind\"]"),
            answer(200, &[("X-Kind", "b")], "a"),
            answer(500, &[("X-Kind", "b")], "b"),
        ),
    ] {
        Compared::by(&format!("compare = {{ {keys} }}")).are_equal(&ours, &theirs);
    }
}

#[test]
fn json_is_compared_by_its_structure() {
    let pair = Compared::by(&all(""));
    for (ours, theirs, wanted) in [
        (r#"{"a":1}"#, r#"{"a":2}"#, [("value", "/a")].as_slice()),
        (r#"{"a":"x","b":{"c":"y"}}"#, r#"{"a":"x","b":{"c":"z"}}"#, &[("value", "/b/c")]),
        (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, &[("missing", "/b")]),
        (r#"{"a":1,"b":null}"#, r#"{"a":1}"#, &[("missing", "/b")]),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, &[("added", "/b")]),
        (r#"{"a":1}"#, r#"{"a":"1"}"#, &[("type", "/a")]),
        (r#"{"a":null}"#, r#"{"a":{}}"#, &[("type", "/a")]),
        (r"[1,2]", r"[1,2,3]", &[("length", "")]),
        (r#"{"a":[1,2]}"#, r#"{"a":[9]}"#, &[("length", "/a"), ("value", "/a/*")]),
        (r#"{"a":[{"b":1},{"b":2}]}"#, r#"{"a":[{"b":1},{"b":3}]}"#, &[("value", "/a/*/b")]),
        (r#"{"a":[{"b":1},{"b":2}]}"#, r#"{"a":[{},{}]}"#, &[("missing", "/a/*/b")]),
        (r#"{"a/b":{"c~d":1}}"#, r#"{"a/b":{"c~d":2}}"#, &[("value", "/a~1b/c~0d")]),
        (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#, &[("value", "/a")]),
        (r#""one""#, r#""two""#, &[("value", "")]),
    ] {
        pair.differ(&json(ours), &json(theirs), wanted);
    }
}

#[test]
fn how_json_is_written_does_not_matter() {
    let pair = Compared::by(&all(""));
    for (ours, theirs) in [
        (r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{ "b": { "d": 3, "c": 2 }, "a": 1 }"#),
        (r#"{"a":1}"#, r#"{"a":1.0}"#),
        (r#"{"a":100}"#, r#"{"a":1e2}"#),
        (r#"{"a":"é"}"#, "{\"a\":\"\\u00e9\"}\n"),
    ] {
        pair.are_equal(&json(ours), &json(theirs));
    }
}

#[test]
fn json_goes_by_many_names() {
    let pair = Compared::by("compare = { status = true, headers = [], json_body = true, other_body = true }");
    let named = |name, body| answer(200, &[("Content-Type", name)], body);
    for name in ["application/json; charset=utf-8", "application/problem+json", "Application/JSON"] {
        pair.are_equal(&named(name, r#"{"a":1,"b":2}"#), &json(r#"{"b":2,"a":1}"#));
    }
    pair.differ(&named("text/plain", r#"{"a":1,"b":2}"#), &named("text/plain", r#"{"b":2,"a":1}"#), &[("body", "")]);
    pair.differ(&json(r#"{"a":1}"#), &named("text/html", "<p>"), &[("body", "")]);
    pair.differ(&json(r#"{"a":1}"#), &json(r#"{"a":"#), &[("body", "")]);
}

#[test]
fn other_bodies_are_compared_byte_by_byte() {
    let pair = Compared::by(&all(""));
    pair.differ(&text("one"), &text("two"), &[("body", "")]);
    pair.differ(&text("one"), &text("one "), &[("body", "")]);
    pair.differ(&text("one"), &text(""), &[("body", "")]);
    let long = "0123456789".repeat(10_000);
    pair.are_equal(&text(&long), &text(&long));
    pair.differ(&text(&long), &text(&(long.clone() + "x")), &[("body", "")]);
}

#[test]
fn what_is_to_be_ignored_is() {
    let pair = Compared::by(&all(", ignore = [\"/at\", \"/items/*/seen\", \"/deep\", \"/a~1b\"]"));
    for (ours, theirs) in [
        (r#"{"id":1,"at":5}"#, r#"{"id":1,"at":6}"#),
        (r#"{"id":1,"at":5}"#, r#"{"id":1}"#),
        (r#"{"id":1}"#, r#"{"id":1,"at":[]}"#),
        (r#"{"items":[{"id":1,"seen":1},{"id":2,"seen":1}]}"#, r#"{"items":[{"id":1,"seen":2},{"id":2}]}"#),
        (r#"{"items":{"x":{"seen":1}}}"#, r#"{"items":{"x":{"seen":2}}}"#),
        (r#"{"deep":{"a":{"b":[1,2]}}}"#, r#"{"deep":{"a":"b"}}"#),
        (r#"{"a/b":1}"#, r#"{"a/b":2}"#),
    ] {
        pair.are_equal(&json(ours), &json(theirs));
    }
    pair.differ(
        &json(r#"{"at":1,"id":1,"items":[{"at":1,"seen":1}]}"#),
        &json(r#"{"at":2,"id":2,"items":[{"at":2,"seen":2}]}"#),
        &[("value", "/id"), ("value", "/items/*/at")],
    );
    pair.differ(&json(r#"{"seen":1}"#), &json(r#"{"seen":2}"#), &[("value", "/seen")]);
}

#[test]
fn compressed_bodies_are_compared_by_what_they_say() {
    let pair = Compared::by(&all(""));
    let (one, other) = (r#"{"a":1,"b":[1,2]}"#, r#"{"b":[1,2],"a":2}"#);
    let zipped = |body: &str| coded("gzip", "application/json", &gzip(body.as_bytes()));
    pair.are_equal(&zipped(one), &json(one));
    pair.are_equal(&json(one), &zipped(one));
    pair.are_equal(&zipped(one), &zipped(one));
    pair.differ(&zipped(one), &json(other), &[("value", "/a")]);
    pair.differ(&zipped(one), &zipped(other), &[("value", "/a")]);
    pair.are_equal(&coded("gzip", "text/plain", &gzip(b"same")), &text("same"));
    pair.differ(&coded("gzip", "text/plain", &gzip(b"same")), &text("other"), &[("body", "")]);
}

#[test]
fn the_client_of_a_compressed_body_gets_it_as_it_is() {
    let pair = Compared::by(&all(""));
    let zipped = gzip(b"same");
    pair.answer(&coded("gzip", "text/plain", &zipped), &text("same"));
    let response = pair.forebay.get_with("/", "Accept-Encoding: gzip\r\n");
    assert_eq!((response.field("content-encoding"), &response.body), (Some("gzip"), &zipped));
}

#[test]
fn what_can_not_be_inflated_within_bounds_is_skipped() {
    let pair = Compared::by(&all(""));
    let bomb = gzip(&vec![b' '; 9 * 1024 * 1024]);
    pair.are_skipped(&coded("gzip", "text/plain", &bomb), &text("same"), "long");
    pair.are_skipped(&text("same"), &coded("gzip", "text/plain", &bomb), "long");
    pair.are_skipped(&text("same"), &coded("unheard-of", "text/plain", b"same"), "coding");
    let cut = gzip(b"a text of some length, cut short").split_last_chunk::<9>().unwrap().0.to_vec();
    pair.are_skipped(&text("same"), &coded("gzip", "text/plain", &cut), "");
    pair.are_skipped(&text("same"), &coded("gzip", "text/plain", b"not gzip at all"), "");
    pair.are_equal(&text("same"), &text("same"));
}

#[test]
fn what_is_too_long_is_skipped_unless_it_differs_before() {
    let pair = Compared::by(&format!("body_bytes_max = \"1KiB\"\n{}", all("")));
    let (fitting, long) = ("a".repeat(1024), "a".repeat(1025));
    pair.are_equal(&text(&fitting), &text(&fitting));
    pair.are_skipped(&text(&long), &text(&long), "long");
    pair.are_skipped(&text(&long), &text("short"), "long");
    pair.are_skipped(&text("short"), &text(&long), "long");
    pair.differ(&answer(200, &[], &long), &answer(500, &[], "short"), &[("status", "")]);
    pair.forebay.get("/").is(200, &long);
}

#[test]
fn what_is_not_the_whole_answer_is_skipped() {
    let pair = Compared::by(&all(""));
    let part = answer(206, &[("Content-Range", "bytes 0-1/9")], "ab");
    pair.are_skipped(&part, &part, "status");
    let tagged = validated("\"a\"", "body", &[]);
    pair.answer(&tagged, &tagged);
    pair.forebay.reset_mirror("all");
    pair.forebay.get_with("/", "If-None-Match: \"a\"\r\n").is_status(304);
    let found = pair.after(1);
    assert!(found["compared"] == 0 && found["skipped"]["status"] == 1, "{found:#}");
}

#[test]
fn what_was_not_answered_is_skipped() {
    let pair = Compared::by(&all(""));
    pair.are_skipped(&text("ours"), &hang(), "unanswered");
    pair.are_skipped(&text("ours"), &reset(), "unanswered");
    pair.are_skipped(&text("ours"), &raw("garbage\r\n\r\n").close(), "");
    pair.shadow.go_down();
    pair.are_skipped(&text("ours"), &text("ours"), "unanswered");
    pair.shadow.come_back();
    pair.are_equal(&text("ours"), &text("ours"));
}

#[test]
fn what_broke_off_on_either_side_is_skipped() {
    let pair = Compared::by(&all(""));
    let broken = raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nabc").close();
    pair.are_skipped(&text("abcdefghi"), &broken, "");
    pair.are_skipped(&broken, &text("abcdefghi"), "");
    pair.are_equal(&text("abc"), &text("abc"));
}

#[test]
fn an_answer_whose_client_left_is_no_mismatch() {
    let pair = Compared::by(&all(""));
    let gate = Gate::new();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nabc";
    pair.answer(&script().send(head).wait(&gate).send("def"), &text("abcdef"));
    let mut client = pair.forebay.client();
    client.send(GET).read_until("abc");
    pair.shadow.after(1);
    drop(client);
    eventually("the backend's answer is given up", || pair.main.held() == 0);
    gate.open();
    pair.answer(&text("same"), &text("same"));
    pair.forebay.get("/").is(200, "same");
    let found = pair.forebay.mirror_until("all", |mirror| mirror["comparison"]["compared"] == 1)["comparison"].clone();
    assert_eq!(found["mismatched"], 0, "{found:#}");
}

#[test]
fn answers_to_head_are_compared_without_bodies() {
    let pair = Compared::by(&all(""));
    pair.answer(&text("one"), &text("another"));
    pair.forebay.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").is(200, "");
    assert_eq!(pair.after(1)["mismatched"], 0);
    pair.answer(&text("one"), &answer(404, &[("Content-Type", "text/plain")], ""));
    pair.forebay.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").is(200, "");
    let found = pair.after(2);
    assert_eq!((found["mismatched"].as_u64(), places(&found["differences"])), (Some(1), vec![("status", "")]));
}

#[test]
fn what_differs_anyway_is_noise_and_what_differs_really_is_not() {
    let pair = Compared::by(&all(", noise_from = \"origins\""));
    let document = |at: u32, name: &str| json(&format!(r#"{{"at":{at},"name":"{name}"}}"#));
    let ask = |pairs: u64, [ours, again]: [&Script; 2], theirs: &Script| {
        // The first response is the client's; the second is that of the copy for noise.
        pair.main.once(ours.clone());
        pair.main.once(again.clone());
        pair.shadow.now(theirs.clone());
        pair.forebay.get("/").is_status(200);
        pair.after(pairs)
    };
    let found = ask(1, [&document(1, "a"), &document(2, "a")], &document(3, "a"));
    assert_eq!(found["mismatched"], 0, "{found:#}");
    let found = ask(2, [&document(4, "a"), &document(5, "a")], &document(6, "b"));
    assert!(found["mismatched"] == 1 && found["samples"].as_array().unwrap().len() == 1, "{found:#}");
    assert_eq!(places(&found["samples"][0]["differences"]), [("value", "/name")]);
    let of = |path: &str| found["differences"].as_array().unwrap().iter().find(|one| one["path"] == path).cloned();
    assert_eq!(of("/name").map(|one| (one["count"].clone(), one["noise"].clone())), Some((1.into(), 0.into())));
    assert!(of("/at").is_none_or(|one| one["noise"].as_u64() > Some(0)), "{found:#}");
    let found = ask(3, [&document(7, "a"), &document(7, "a")], &document(8, "a"));
    assert_eq!(found["mismatched"], 1, "what was noise once is noise: {found:#}");
    let marked: Vec<bool> = pair.main.requests().iter().map(|seen| seen.head.has("forebay-mirror")).collect();
    assert_eq!(marked, [false, true, false, true, false, true]);
}

#[test]
fn a_noise_copy_that_fails_harms_nobody() {
    let pair = Compared::by(&all(", noise_from = \"origins\""));
    pair.shadow.now(text("one"));
    for _ in 0..5 {
        pair.main.once(text("one"));
        pair.main.once(reset());
        let seen = pair.main.seen();
        pair.forebay.get("/").is(200, "one");
        eventually("the copy for noise was tried", || pair.main.seen() == seen + 2);
        pair.forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0);
    }
    pair.main.now(text("one"));
    pair.forebay.get("/").is(200, "one");
}

#[test]
fn a_reset_begins_anew() {
    let pair = Compared::by(&all(""));
    pair.found(&text("one"), &text("two"));
    pair.shadow.now(hang());
    pair.forebay.get("/").is(200, "one");
    pair.after(2);
    let found = pair.forebay.reset_mirror("all")["comparison"].clone();
    assert!(found["compared"] == 0 && found["mismatched"] == 0 && skipped(&found) == 0, "{found:#}");
    assert_eq!((&found["differences"], &found["samples"]), (&json!([]), &json!([])));
    pair.are_equal(&text("one"), &text("one"));
}

#[test]
fn a_document_that_differs_everywhere_does_not_fill_the_memory() {
    let document = |value: u32| {
        let members: Vec<String> = (0..5_000).map(|name| format!("\"m{name}\":{value}")).collect();
        json(&format!("{{{}}}", members.join(",")))
    };
    let pair = Compared::by(&all(""));
    let found = pair.found(&document(1), &document(2));
    assert_eq!(found["mismatched"], 1);
    assert!(found["differences"].as_array().unwrap().len() <= 1_000);
    assert!(found["samples"][0]["differences"].as_array().unwrap().len() <= 32);
}

#[test]
fn a_document_that_is_too_deep_is_compared_as_bytes() {
    let deep = |depth: usize| json(&("[".repeat(depth) + &"]".repeat(depth)));
    let pair = Compared::by(&all(""));
    pair.are_equal(&deep(20_000), &deep(20_000));
    pair.differ(&deep(20_000), &deep(20_001), &[("body", "")]);
}

#[test]
fn what_is_served_from_the_cache_is_not_compared() {
    let fields = [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")];
    let (main, shadow) = (Origin::start(answer(200, &fields, "one")), Origin::start(text("one")));
    let forebay = Forebay::start(forward([&main]).cached("").mirrored(&shadow, &all("")));
    let pair = Compared { main, shadow, forebay };
    pair.forebay.get("/").is(200, "one").is_stored();
    pair.after(1);
    for _ in 0..5 {
        pair.forebay.get("/").is(200, "one").is_hit();
    }
    pair.forebay.get("/end").is(200, "one");
    let found = pair.after(2);
    assert!(found["compared"] == 2 && found["mismatched"] == 0, "{found:#}");
}

#[test]
fn what_was_found_outlives_a_reload_that_changes_nothing_of_it() {
    let pair = Compared::by(&all(""));
    pair.found(&text("one"), &text("two"));
    let config = forward([&pair.main]).route("set_response_headers = { x-plan = \"new\" }");
    pair.forebay.reload(config.mirrored(&pair.shadow, &all("")));
    eventually("the new plan is used", || pair.forebay.get("/").field("x-plan") == Some("new"));
    let found = pair.forebay.mirror("all")["comparison"].clone();
    assert!(found["mismatched"].as_u64() >= Some(1) && !found["samples"].as_array().unwrap().is_empty(), "{found:#}");
}

#[test]
fn an_answer_that_stalls_at_the_client_keeps_no_copy_under_way() {
    let gate = Gate::new();
    let pair = Compared::by(&all(""));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nabc";
    pair.answer(&script().send(head).wait(&gate).send("def"), &text("abcdef"));
    let mut client = pair.forebay.client();
    client.send(GET).read_until("abc");
    pair.forebay.mirror_until("all", |mirror| mirror["sent"] == 1 && mirror["in_flight"] == 0);
    gate.open();
    client.read_until("def");
}
