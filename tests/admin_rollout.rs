//! Splits, canaries and mirrors over the admin listener, by raw requests and by the command line. A fake service stands
//! behind it: the meaning of weights and verdicts is tested elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use service::{Listener, assert_error, json_body};

#[path = "admin/service.rs"]
mod service;

#[test]
fn splits_canaries_and_mirrors_are_listed() {
    let listener = Listener::tcp(None);
    let splits = json_body(&listener.get("/api/v1/split"), 200);
    assert_eq!(splits["splits"][1]["route"], json!("/api/users"));
    assert_eq!(splits["splits"][0]["sides"][0]["requests"], json!(200));
    let canaries = json_body(&listener.get("/api/v1/canary"), 200);
    assert_eq!(canaries["canaries"][0]["phase"], json!("stepping"));
    let mirrors = json_body(&listener.get("/api/v1/mirror"), 200);
    assert_eq!(mirrors["mirrors"][0]["comparison"]["differences"][0]["count"], json!(2));
    assert_eq!(mirrors["mirrors"][0]["comparison"]["samples"], json!([]));
    let mirror = json_body(&listener.get("/api/v1/mirror/users"), 200);
    assert_eq!(mirror["comparison"]["samples"][0]["id"], json!("a1"));
}

#[test]
fn a_route_is_named_by_one_segment_of_the_path() {
    let listener = Listener::tcp(None);
    for (segment, route) in [("users", "users"), ("%2Fapi%2Fusers", "/api/users"), ("%75sers", "users")] {
        for room in ["split", "canary"] {
            let found = json_body(&listener.get(&format!("/api/v1/{room}/{segment}")), 200);
            assert_eq!(found["route"], json!(route));
        }
    }
    let weights = r#"{"weights":{"users-v2":5}}"#;
    assert_eq!(json_body(&listener.post("/api/v1/split/%2Fapi%2Fusers", weights), 200)["route"], json!("/api/users"));
    assert_eq!(listener.service.take_calls(), [r#"set /api/users {"users-v2": 5.0} by None"#]);
    assert_error(&listener.get("/api/v1/split//api/users"), 404);
    assert_error(&listener.get("/api/v1/split/%FF"), 400);
}

#[test]
fn a_route_that_has_none_is_told_which_have_one() {
    let listener = Listener::tcp(None);
    for (target, known) in
        [("split/cart", "users, /api/users"), ("canary/cart", "users, /api/users"), ("mirror/%2Fapi%2Fusers", "users")]
    {
        let told = json_body(&listener.get(&format!("/api/v1/{target}")), 404)["error"].as_str().unwrap().to_owned();
        assert!(told.ends_with(&format!("routes that have one: {known}")), "{told}");
    }
    let weights = r#"{"weights":{"users-v2":5}}"#;
    assert_error(&listener.post("/api/v1/split/cart", weights), 404);
    for target in ["split/cart/reset", "canary/cart/pause", "mirror/cart/reset"] {
        assert_error(&listener.post(&format!("/api/v1/{target}"), ""), 404);
    }
    assert!(listener.service.take_calls().is_empty());
}

#[test]
fn weights_are_set_and_reset() {
    let listener = Listener::tcp(None);
    let split = json_body(&listener.post("/api/v1/split/users", r#"{"weights":{"users-v2":35},"by":"alice"}"#), 200);
    assert_eq!((&split["sides"][0]["weight"], &split["overridden"]["by"]), (&json!(35.0), &json!("alice")));
    assert_eq!(listener.service.take_calls(), [r#"set users {"users-v2": 35.0} by Some("alice")"#]);
    assert_error(&listener.post("/api/v1/split/users", r#"{"weights":{"none":35}}"#), 422);
    listener.service.take_calls();
    json_body(&listener.post("/api/v1/split/users/reset", ""), 200);
    json_body(&listener.post("/api/v1/split/users/reset", r#"{"by":"bob"}"#), 200);
    assert_eq!(listener.service.take_calls(), ["reset users by None", r#"reset users by Some("bob")"#]);
    for body in
        ["", "{", "{}", "[]", r#"{"weights":{"a":"1"}}"#, r#"{"weights":{"a":1e999}}"#, r#"{"weights":{},"x":1}"#]
    {
        assert_error(&listener.post("/api/v1/split/users", body), 400);
    }
    assert!(listener.service.take_calls().is_empty());
}

#[test]
fn a_canary_is_directed() {
    let listener = Listener::tcp(None);
    for (verb, order) in
        [("pause", "Pause"), ("resume", "Resume"), ("promote", "Promote"), ("abort", "Abort"), ("restart", "Restart")]
    {
        let target = format!("/api/v1/canary/users/{verb}");
        assert_eq!(json_body(&listener.post(&target, ""), 200)["route"], json!("users"));
        json_body(&listener.post(&target, r#"{"by":"alice"}"#), 200);
        json_body(&listener.post(&target, " \n"), 200);
        let named = format!("{order} users by Some(\"alice\")");
        let unnamed = format!("{order} users by None");
        assert_eq!(listener.service.take_calls(), [unnamed.clone(), named, unnamed]);
        assert_error(&listener.post(&format!("/api/v1/canary/%2Fapi%2Fusers/{verb}"), ""), 409);
        assert_error(&listener.get(&target), 405);
        listener.service.take_calls();
    }
    json_body(&listener.post("/api/v1/canary/users/promote", r#"{"full":true}"#), 200);
    assert_eq!(listener.service.take_calls(), ["PromoteFully users by None"]);
    assert_error(&listener.post("/api/v1/canary/users/halt", ""), 404);
}

#[test]
fn an_order_that_is_not_understood_does_nothing() {
    let listener = Listener::tcp(None);
    let long = "x".repeat(101);
    let orders = ["canary/users/pause", "split/users/reset", "mirror/users/reset"];
    let signed = |by: &str| json!({"by": by}).to_string();
    for target in orders {
        for body in ["{".to_owned(), r#"{"who":"a"}"#.to_owned(), r#"{"full":true}"#.to_owned(), "null".to_owned()] {
            assert_error(&listener.post(&format!("/api/v1/{target}"), &body), 400);
        }
        for by in ["", &long, "a\nb", "\u{1b}[2J"] {
            assert_error(&listener.post(&format!("/api/v1/{target}"), &signed(by)), 400);
        }
    }
    let weights = json!({"weights": {"users-v2": 5}, "by": long}).to_string();
    assert_error(&listener.post("/api/v1/split/users", &weights), 400);
    assert!(listener.service.take_calls().is_empty());
    json_body(&listener.post("/api/v1/canary/users/pause", &signed(&"ü".repeat(100))), 200);
}

#[test]
fn a_mirror_counts_anew() {
    let listener = Listener::tcp(None);
    json_body(&listener.post("/api/v1/mirror/users/reset", ""), 200);
    assert_eq!(listener.service.take_calls(), ["reset mirror users"]);
}

#[test]
fn metrics_have_them() {
    let listener = Listener::tcp(None);
    let text = listener.get("/metrics").text();
    for line in [
        r#"forebay_split_weight_percent{route="/api/users",side="legacy"} 80"#,
        r#"forebay_canary_phase{route="users",phase="stepping"} 1"#,
        r#"forebay_mirror_mismatched_total{route="users"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[test]
fn the_command_line_shows() {
    let listener = Listener::tcp(Some("s3cret"));
    let said = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let output = listener.command(&words, Some("s3cret"));
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let list = "\
ROUTE       SIDE      WEIGHT  FILE  SET BY  CANARY                 BACKENDS
users       users-v2    20 %  20 %  file    stepping, step 2 of 3  usable
users       legacy      80 %  80 %  file    -                      usable
/api/users  users-v2    20 %  20 %  file    stepping, step 2 of 3  usable
/api/users  legacy      80 %  80 %  file    -                      usable
";
    assert_eq!(said("canary list"), list);
    assert_eq!(said("canary"), list);
    let shown = said("canary show /api/users");
    assert!(shown.starts_with("route    /api/users\n") && shown.contains("reason     waits for 300 requests\n"));
    assert!(said("canary mirror").contains("users  users-v2    10 %   100"));
    assert!(said("canary mirror users").contains("value  /items/0/price  number / text, 3\n"));
    let both = said("canary show users --json");
    let both: Vec<Value> = both.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(both.len(), 2);
    assert_eq!((&both[0]["sticky"], &both[1]["phase"]), (&json!("cookie"), &json!("stepping")));
    assert!(listener.service.take_calls().is_empty());
}

#[test]
fn the_command_line_directs() {
    let listener = Listener::tcp(None);
    let said = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let output = listener.command(&words, None);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (words, asked, answered) in [
        (
            "set users users-v2=35 --by alice",
            r#"set users {"users-v2": 35.0} by Some("alice")"#,
            "users: users-v2 35 %, legacy 65 % (set by alice)\n",
        ),
        (
            "reset /api/users --by bob",
            r#"reset /api/users by Some("bob")"#,
            "/api/users: users-v2 20 %, legacy 80 % (as in the file)\n",
        ),
        (
            "promote users --full --by alice",
            r#"PromoteFully users by Some("alice")"#,
            "users: users-v2 stepping, step 2 of 3 at 20 %: waits for 300 requests\n",
        ),
    ] {
        assert_eq!(said(&format!("canary {words}")), answered);
        assert_eq!(listener.service.take_calls(), [asked]);
    }
    said("canary mirror users --reset");
    assert_eq!(listener.service.take_calls(), ["reset mirror users"]);
    for (words, code, told) in [
        ("canary abort /api/users", 2, "forebay: the canary is done (409 Conflict)\n"),
        ("canary set users none=5", 2, "forebay: no side is called so (422 Unprocessable Entity)\n"),
        ("canary set users a=1 a=2", 1, "forebay: side \"a\" is named twice\n"),
        ("canary set users a=200", 1, "error: invalid value 'a=200'"),
        ("canary show cart", 2, "forebay: route \"cart\" has no split; routes that have one: users, /api/users (404"),
    ] {
        let output = listener.command(&words.split(' ').collect::<Vec<_>>(), None);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words}: {stderr}");
        assert!(stderr.starts_with(told), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_description_and_the_answers_have_the_same_fields() {
    let listener = Listener::tcp(None);
    let described = json_body(&listener.get("/api/v1/openapi.json"), 200);
    let fields = |name: &str| -> BTreeSet<String> {
        let schema = &described["components"]["schemas"][name];
        let inherited = schema["allOf"].as_array().into_iter().flatten().map(|parent| {
            let name = parent["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            &described["components"]["schemas"][name]
        });
        let properties = inherited.chain([schema]).filter_map(|schema| schema["properties"].as_object());
        let names: BTreeSet<String> = properties.flat_map(|properties| properties.keys().cloned()).collect();
        assert!(!names.is_empty(), "{name}");
        names
    };
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let splits = json_body(&listener.get("/api/v1/split"), 200);
    let split = json_body(&listener.post("/api/v1/split/users", r#"{"weights":{"users-v2":35}}"#), 200);
    let canaries = json_body(&listener.get("/api/v1/canary"), 200);
    let canary = json_body(&listener.get("/api/v1/canary/users"), 200);
    let mirrors = json_body(&listener.get("/api/v1/mirror"), 200);
    let mirror = json_body(&listener.get("/api/v1/mirror/users"), 200);
    let comparison = &mirror["comparison"];
    for (answer, name) in [
        (&splits, "Splits"),
        (&split, "Split"),
        (&split["sides"][0], "Side"),
        (&split["overridden"], "Override"),
        (&canaries, "Canaries"),
        (&canary, "Canary"),
        (&canary["canary"], "Traffic"),
        (&canary["history"][0], "Change"),
        (&mirrors, "Mirrors"),
        (&mirror, "Mirror"),
        (comparison, "Comparison"),
        (&comparison["differences"][0], "Difference"),
        (&comparison["samples"][0], "Sample"),
        (&comparison["samples"][0]["differences"][0], "SampleDifference"),
    ] {
        assert_eq!(keys(answer), fields(name), "{name}");
    }
}
