//! The admin API of a real proxy: metrics, purges, events and the journal, also through the command line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Output};

use serde_json::{Value, json};
use socket2::SockRef;
use tempfile::TempDir;
use testbed::{Config, Forebay, Gate, Origin, Response, StateDir, answer, eventually, forward, ok, script};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn start(config: Config) -> Forebay {
    Forebay::start(config.more(ADMIN))
}

fn asks(forebay: &Forebay, method: &str, target: &str, fields: &str, body: &str) -> Response {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n");
    forebay.admin().send(format!("{head}{body}")).read_response_to(method)
}

fn told(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    serde_json::from_str(&response.text()).unwrap()
}

fn post(forebay: &Forebay, target: &str, order: &Value) -> Value {
    told(&asks(forebay, "POST", target, JSON, &order.to_string()), 200)
}

/// Purges, waits for the sweep, and returns how many responses were purged.
fn purge(forebay: &Forebay, order: &Value) -> u64 {
    let mut order = order.clone();
    order["wait"] = json!(true);
    post(forebay, "/api/v1/purge", &order)["purged"].as_u64().unwrap()
}

/// Sends an event, waits for the sweep, and returns how many responses were invalidated.
fn touched(forebay: &Forebay, event: &Value) -> u64 {
    post(forebay, "/api/v1/events?wait=true", event)["touched"].as_u64().unwrap()
}

fn metrics(forebay: &Forebay) -> String {
    asks(forebay, "GET", "/metrics", "", "").text()
}

fn has(metrics: &str, line: &str) -> bool {
    metrics.lines().any(|found| found == line)
}

/// A proxy with two URLs stored for two hosts.
fn stored(origin: &Origin, more: &str) -> Forebay {
    let forebay = start(forward([origin]).cached("ttl = \"60s\"").more(more));
    for target in ["/orders/7", "/orders/8"] {
        forebay.get(target).is_stored();
    }
    forebay
}

fn origin() -> Origin {
    let origin = Origin::start(ok("else"));
    origin.at("/orders/7", answer(200, &[("cache-tag", "orders,user:42")], "seven"));
    origin.at("/orders/8", answer(200, &[("cache-tag", "orders,user:43")], "eight"));
    origin
}

#[test]
fn the_numbers_are_those_of_the_proxy() {
    let origin = origin();
    let forebay = stored(&origin, "");
    forebay.get("/orders/7").is_hit();
    origin.at("/broken", answer(503, &[], ""));
    forebay.get("/broken").is_status(503);
    forebay.is_idle();
    let text = metrics(&forebay);
    for line in [
        "forebay_ready 1",
        "forebay_requests_total 4",
        "forebay_responses_total{class=\"2xx\"} 3",
        "forebay_responses_total{class=\"5xx\"} 1",
        "forebay_connections 0",
        "forebay_requests_in_flight 0",
        "forebay_cache_keys 2",
        "forebay_cache_results_total{result=\"hit\"} 1",
        "forebay_cache_results_total{result=\"miss\"} 3",
        "forebay_events_total{type=\"known\"} 0",
    ] {
        assert!(has(&text, line), "{line} in\n{text}");
    }
    assert!(!text.contains("journal"));
}

#[test]
fn readiness_tells_of_a_drain() {
    let origin = origin();
    let forebay = start(forward([&origin]));
    asks(&forebay, "GET", "/ready", "", "").is_status(200);
    forebay.drain();
    assert_eq!(told(&asks(&forebay, "GET", "/ready", "", ""), 503)["status"], "draining");
    asks(&forebay, "GET", "/live", "", "").is_status(200);
}

#[test]
fn a_url_is_purged_for_its_scheme_and_host_alone() {
    let origin = origin();
    let forebay = stored(&origin, "");
    assert_eq!(purge(&forebay, &json!({"url": "https://shop.test/orders/7"})), 0);
    assert_eq!(purge(&forebay, &json!({"url": "http://other.test/orders/7"})), 0);
    forebay.get("/orders/7").is_hit();
    assert_eq!(purge(&forebay, &json!({"url": "http://shop.test/orders/7"})), 1);
    forebay.get("/orders/7").is_stored();
    forebay.get("/orders/8").is_hit();
    assert_eq!(purge(&forebay, &json!({"url": "//shop.test/orders/8", "soft": true})), 1);
    assert_eq!(origin.count("GET /orders/8"), 1);
}

#[test]
fn tags_prefixes_and_everything_are_purged() {
    let origin = origin();
    let forebay = stored(&origin, "");
    assert_eq!(purge(&forebay, &json!({"tags": ["user:42"]})), 1);
    forebay.get("/orders/7").is_stored();
    forebay.get("/orders/8").is_hit();
    assert_eq!(purge(&forebay, &json!({"tags": ["orders"]})), 2);
    forebay.get("/orders/7").is_stored();
    assert_eq!(purge(&forebay, &json!({"prefix": "https://shop.test/orders/"})), 0);
    assert_eq!(purge(&forebay, &json!({"prefix": "http://shop.test/orders/"})), 1);
    forebay.get("/orders/7").is_stored();
    assert_eq!(purge(&forebay, &json!({"all": true})), 1);
    forebay.get("/orders/7").is_stored();
}

#[test]
fn a_purge_of_more_than_a_url_answers_its_epoch_and_is_counted_only_for_who_waits() {
    let origin = origin();
    let forebay = stored(&origin, RULES);
    assert_eq!(post(&forebay, "/api/v1/purge", &json!({"tags": ["user:42"]})), json!({"epoch": 1}));
    forebay.get("/orders/7").is_stored();
    forebay.get("/orders/8").is_hit();
    let waits = json!({"prefix": "http://shop.test/orders/7", "wait": true});
    assert_eq!(post(&forebay, "/api/v1/purge", &waits), json!({"epoch": 2, "purged": 1}));
    assert_eq!(post(&forebay, "/api/v1/events", &json!({"type": "Cleared"})), json!({"epoch": 3}));
    forebay.get("/orders/8").is_stored();
    assert_eq!(post(&forebay, "/api/v1/events", &json!({"type": "ShopMoved"})), json!({"touched": 0}));
    asks(&forebay, "POST", "/api/v1/events?wait=perhaps", JSON, "{}").is_status(400);
    eventually("all is swept", || has(&metrics(&forebay), "forebay_cache_bans 0"));
    assert!(has(&metrics(&forebay), "forebay_cache_bans_merged_total 0"));
    assert!(has(&metrics(&forebay), "forebay_cache_keys 1"));
}

const RULES: &str = "[[invalidate]]\nevent = \"OrderCreated\"\ntags = [\"user:{data.user_id}\"]\n\
     urls = [\"/orders/{aggregate_id}\"]\n\
     [[invalidate]]\nevent = \"ShopMoved\"\nurls = [\"http://shop.test/orders/7\"]\n\
     [[invalidate]]\nevent = \"Cleared\"\nprefixes = [\"/orders/\"]\n";

#[test]
fn an_event_makes_void_what_its_rule_says() {
    let origin = origin();
    let forebay = stored(&origin, RULES);
    let event = json!({"type": "OrderCreated", "aggregate_id": "8", "data": {"user_id": 42}});
    assert_eq!(touched(&forebay, &event), 2);
    forebay.get("/orders/7").is_stored();
    forebay.get("/orders/8").is_stored();
    assert_eq!(touched(&forebay, &json!({"type": "ShopMoved"})), 1);
    forebay.get("/orders/7").is_stored();
    forebay.get("/orders/8").is_hit();
    assert_eq!(touched(&forebay, &json!({"type": "Cleared"})), 2);
}

#[test]
fn a_url_without_a_host_is_meant_on_every_host_and_with_its_query_alone() {
    let origin = origin();
    let forebay = stored(&origin, RULES);
    let other = || forebay.ask("GET /orders/8 HTTP/1.1\r\nHost: other.test:8080\r\n\r\n");
    other().is_stored();
    forebay.get("/orders/8?full=1").is_stored();
    let event = json!({"type": "OrderCreated", "aggregate_id": "8", "data": {"user_id": 1}});
    assert_eq!(touched(&forebay, &event), 2);
    other().is_stored();
    forebay.get("/orders/8?full=1").is_hit();
    forebay.get("/orders/7").is_hit();
}

#[test]
fn a_url_of_an_event_is_normal_by_the_rules_of_each_route() {
    let origin = origin();
    let rule = "[[invalidate]]\nevent = \"Moved\"\nurls = [\"/orders/8?b=2&a={aggregate_id}&utm_source=x\"]\n";
    let config = forward([&origin]).cached("ttl = \"60s\"\nkey = { query = { sort = true, drop = [\"utm_*\"] } }");
    let forebay = start(config.more(rule));
    forebay.get("/orders/8?a=1&b=2").is_stored();
    let event = json!({"type": "Moved", "aggregate_id": "1"});
    assert_eq!(touched(&forebay, &event), 1);
    forebay.get("/orders/8?b=2&a=1&utm_medium=y").is_stored();
}

#[test]
fn a_soft_rule_makes_stale_what_may_be_served_so() {
    let origin = Origin::start(answer(200, &[("cache-control", "max-age=60, stale-while-revalidate=60")], "old"));
    let rule = "[[invalidate]]\nevent = \"Moved\"\nurls = [\"/a\"]\nsoft = true\n";
    let forebay = start(forward([&origin]).cached("").more(rule));
    forebay.get("/a").is_stored();
    assert_eq!(touched(&forebay, &json!({"type": "Moved"})), 1);
    forebay.get("/a").is(200, "old");
    eventually("it is fetched anew", || origin.count("GET /a") == 2);
}

#[test]
fn what_is_fetched_while_an_event_comes_is_not_stored() {
    let origin = origin();
    let gate = Gate::new();
    origin.once(script().wait(&gate).then(ok("seven")));
    let forebay = start(forward([&origin]).cached("ttl = \"60s\"").more(RULES));
    let mut client = forebay.client();
    client.send("GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    eventually("it is being fetched", || origin.count("GET /slow") == 1);
    let event = json!({"type": "OrderCreated", "aggregate_id": "x", "data": {"user_id": 1}});
    post(&forebay, "/api/v1/events", &event);
    let slow = "[[invalidate]]\nevent = \"Slow\"\nurls = [\"/slow\"]\n";
    forebay.reload(forward([&origin]).cached("ttl = \"60s\"").more(slow).more(ADMIN));
    post(&forebay, "/api/v1/events", &json!({"type": "Slow"}));
    gate.open();
    client.read_response().is_status(200);
    forebay.get("/slow").is_stored();
}

#[test]
fn cloud_events_are_events() {
    let origin = origin();
    let forebay = stored(&origin, RULES);
    let structured =
        r#"{"specversion":"1.0","type":"OrderCreated","source":"/s","id":"1","subject":"7","data":{"user_id":1}}"#;
    let answer = asks(
        &forebay,
        "POST",
        "/api/v1/events?wait=true",
        "Content-Type: application/cloudevents+json\r\n",
        structured,
    );
    assert_eq!(told(&answer, 200)["touched"], 1);
    forebay.get("/orders/7").is_stored();
    let fields = "ce-specversion: 1.0\r\nce-type: OrderCreated\r\nce-source: /s\r\nce-id: 2\r\nce-subject: 7\r\n";
    let answer = asks(&forebay, "POST", "/api/v1/events?wait=true", &format!("{fields}{JSON}"), r#"{"user_id":1}"#);
    assert_eq!(told(&answer, 200)["touched"], 1);
    forebay.get("/orders/7").is_stored();
}

#[test]
fn an_event_that_lacks_something_changes_nothing_and_an_unknown_one_is_counted() {
    let origin = origin();
    let forebay = stored(&origin, RULES);
    let lacking = json!({"type": "OrderCreated", "aggregate_id": "7"}).to_string();
    told(&asks(&forebay, "POST", "/api/v1/events", JSON, &lacking), 422);
    forebay.get("/orders/7").is_hit();
    assert_eq!(touched(&forebay, &json!({"type": "Other"})), 0);
    let text = metrics(&forebay);
    for (kind, count) in [("known", 0), ("unknown", 1), ("refused", 1)] {
        assert!(has(&text, &format!("forebay_events_total{{type=\"{kind}\"}} {count}")), "{kind} in\n{text}");
    }
}

#[test]
fn a_reload_brings_new_rules_and_leaves_the_listener_where_it_is() {
    let origin = origin();
    let config = || forward([&origin]).cached("ttl = \"60s\"");
    let forebay = start(config());
    forebay.get("/orders/7").is_stored();
    assert_eq!(touched(&forebay, &json!({"type": "Cleared"})), 0);
    forebay.reload(config().more(RULES));
    assert_eq!(touched(&forebay, &json!({"type": "Cleared"})), 1);
}

/// A configuration with a write-back route, whose journal is in this directory.
fn writing(origin: &Origin, keys: &str) -> (TempDir, Forebay) {
    let state = tempfile::tempdir().unwrap();
    let config = forward([origin])
        .server(&format!("state_dir = \"{}\"", state.path().display()))
        .cached("mode = \"write-back\"\nttl = \"60s\"")
        .more(&format!("[route.cache.write_back]\n{keys}"));
    let forebay = start(config);
    (state, forebay)
}

fn put(forebay: &Forebay, target: &str, body: &str) -> Response {
    let length = body.len();
    let fields = "Content-Type: text/plain\r\nIdempotency-Key: k\r\n";
    forebay.ask(format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
}

fn journal(forebay: &Forebay, query: &str) -> Value {
    told(&asks(forebay, "GET", &format!("/api/v1/journal{query}"), "", ""), 200)
}

#[test]
fn what_is_pending_is_listed_and_shown_and_sent_when_asked_for() {
    let origin = Origin::start(ok(""));
    let (_state, forebay) = writing(&origin, "flush_interval = \"1h\"");
    put(&forebay, "/a", "one").is(202, "");
    put(&forebay, "/b", "three").is(202, "");
    let page = journal(&forebay, "");
    assert_eq!(page["next"], Value::Null);
    let targets: Vec<&str> =
        page["entries"].as_array().unwrap().iter().map(|entry| entry["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["/a", "/b"]);
    let first = &page["entries"][0];
    assert_eq!(
        (&first["method"], &first["state"], &first["body_bytes"]),
        (&json!("PUT"), &json!("pending"), &json!(3))
    );
    let seq = first["seq"].as_u64().unwrap();
    let part = journal(&forebay, "?limit=1");
    assert_eq!((part["entries"].as_array().unwrap().len(), part["next"].as_u64()), (1, Some(seq)));
    assert_eq!(journal(&forebay, &format!("?after={seq}"))["entries"][0]["target"], "/b");
    let shown = journal(&forebay, &format!("/{seq}"));
    assert!(!shown["headers"].as_array().unwrap().is_empty() && !shown.to_string().contains("one"), "{shown}");
    told(&asks(&forebay, "POST", &format!("/api/v1/journal/{seq}/retry"), "", ""), 409);
    told(&asks(&forebay, "POST", "/api/v1/journal/9999/discard", "", ""), 404);
    assert_eq!(origin.seen(), 0);
    let text = metrics(&forebay);
    assert!(has(&text, "forebay_journal_pending 2") && has(&text, "forebay_journal_accepted_total 2"), "{text}");
    assert_eq!(told(&asks(&forebay, "POST", "/api/v1/journal/flush", "", ""), 202), json!({"pending": 2}));
    eventually("both have arrived", || origin.count("PUT /a") == 1 && origin.count("PUT /b") == 1);
    eventually("nothing is pending", || journal(&forebay, "")["entries"].as_array().unwrap().is_empty());
    assert!(has(&metrics(&forebay), "forebay_journal_sent_total 2"));
}

#[test]
fn a_flush_is_over_when_what_was_pending_has_gone() {
    let origin = Origin::start(ok(""));
    let (_state, forebay) = writing(&origin, "flush_interval = \"1h\"");
    let mut number = 0;
    eventually("a write waits for its time again", || {
        number += 1;
        if number == 1 {
            put(&forebay, "/first", "x").is(202, "");
            asks(&forebay, "POST", "/api/v1/journal/flush", "", "").is_status(202);
        }
        put(&forebay, &format!("/{number}"), "x").is(202, "");
        origin.count("PUT /first") == 1 && !journal(&forebay, "")["entries"].as_array().unwrap().is_empty()
    });
}

#[test]
fn a_dead_letter_can_be_sent_again_or_discarded() {
    let origin = Origin::start(answer(422, &[], "no"));
    let (_state, forebay) = writing(&origin, "flush_interval = \"10ms\"");
    for target in ["/a", "/b"] {
        put(&forebay, target, "new").is(202, "");
    }
    let dead = || journal(&forebay, "?state=dead")["entries"].as_array().unwrap().clone();
    eventually("both are dead", || dead().len() == 2);
    let letters = dead();
    assert_eq!((&letters[0]["status"], &letters[0]["attempts"]), (&json!(422), &json!(1)));
    assert!(has(&metrics(&forebay), "forebay_journal_dead 2"));
    origin.now(ok("fine"));
    let at = |target: &str| letters.iter().find(|letter| letter["target"] == target).unwrap()["seq"].as_u64().unwrap();
    let retried = told(&asks(&forebay, "POST", &format!("/api/v1/journal/{}/retry", at("/a")), "", ""), 200);
    assert_eq!(retried, json!({"seq": at("/a"), "outcome": "pending"}));
    eventually("it was sent again", || origin.count("PUT /a") == 2);
    let discarded = told(&asks(&forebay, "POST", &format!("/api/v1/journal/{}/discard", at("/b")), "", ""), 200);
    assert_eq!(discarded["outcome"], "discarded");
    eventually("none is left", || dead().is_empty());
    assert_eq!(origin.count("PUT /b"), 1);
    told(&asks(&forebay, "GET", &format!("/api/v1/journal/{}", at("/b")), "", ""), 404);
}

#[test]
fn without_a_journal_there_is_none_to_ask() {
    let forebay = start(forward([&Origin::start(ok(""))]));
    for target in ["/api/v1/journal", "/api/v1/journal/1"] {
        told(&asks(&forebay, "GET", target, "", ""), 404);
    }
    told(&asks(&forebay, "POST", "/api/v1/journal/flush", "", ""), 404);
}

/// The command line, with this configuration file.
fn command(config: &str, words: &[&str]) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(words).arg("-c").arg(file.path()).env_remove("FOREBAY_ADMIN_TOKEN");
    command.output().unwrap()
}

#[test]
fn commands_ask_the_listener_that_the_configuration_names() {
    let origin = origin();
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("admin.sock");
    let admin = format!("[admin]\nlisten = \"unix:{}\"\ntoken = \"a-token-that-is-long\"\n", socket.display());
    let config = forward([&origin]).cached("ttl = \"60s\"").more(&admin).to_string();
    let forebay = Forebay::start(&config);
    forebay.get("/orders/7").is_stored();
    let purged = command(&config, &["purge", "http://shop.test/orders/7"]);
    assert_eq!(String::from_utf8_lossy(&purged.stdout), "1 purged\n", "{purged:?}");
    forebay.get("/orders/7").is_stored();
    let purged = command(&config, &["purge", "--prefix", "http://shop.test/orders/"]);
    assert_eq!(String::from_utf8_lossy(&purged.stdout), "purged; memory is being swept (epoch 1)\n", "{purged:?}");
    let purged = command(&config, &["purge", "--all", "--wait"]);
    assert_eq!(String::from_utf8_lossy(&purged.stdout), "0 purged\n", "{purged:?}");
    drop(forebay);
    assert!(!socket.exists());
    assert_eq!(command(&config, &["purge", "--all"]).status.code(), Some(2));
}

#[test]
fn a_configuration_that_names_no_listener_or_has_problems_is_told() {
    let without = forward([&Origin::start(ok(""))]).to_string();
    let told = command(&without, &["journal", "list"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&told.stderr).contains("--admin"), "{told:?}");
    assert_eq!(command("listen = 7\n", &["journal", "list"]).status.code(), Some(1));
}

#[test]
fn an_admin_address_that_is_taken_keeps_the_proxy_from_starting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::start(ok(""));
    let config = forward([&origin]).more(&format!("[admin]\nlisten = \"{}\"\n", taken.local_addr().unwrap()));
    let plan = forebay::config::parse("test.toml", &config.to_string()).unwrap();
    let refused = forebay::supervisor::start(plan).unwrap_err().to_string();
    assert!(refused.starts_with("admin: can't listen on 127.0.0.1:"), "{refused}");
}

#[test]
fn an_answer_that_was_never_sent_is_not_counted_as_one() {
    let origin = origin();
    let forebay = stored(&origin, "");
    let mut heads = 0;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(forebay.address()).unwrap();
        stream.write_all(b"GET /orders/7 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = [0; 2048];
        while !answer.windows(5).any(|five| five == b"seven") {
            assert!(stream.read(&mut answer).unwrap() > 0);
        }
        // The request and the end of the stream arrive together: hyper often sees the end before it polls the response.
        SockRef::from(&stream).set_tcp_cork(true).unwrap();
        stream.write_all(b"HEAD /orders/7 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        heads += usize::from(!rest.is_empty());
    }
    forebay.is_idle();
    let text = metrics(&forebay);
    for line in [
        format!("forebay_responses_total{{class=\"2xx\"}} {}", 22 + heads),
        // The first one has another host than the stored responses.
        format!("forebay_cache_results_total{{result=\"hit\"}} {}", 19 + heads),
        format!("forebay_requests_abandoned_total {}", 20 - heads),
    ] {
        assert!(has(&text, &line), "no {line} in\n{text}");
    }
}

#[test]
fn a_dead_letter_is_shown_and_sent_again_from_the_disk_also_after_a_restart() {
    let origin = Origin::start(ok("fine"));
    origin.once(answer(422, &[], "no"));
    let state = StateDir::new();
    let keys = "flush_interval = \"10ms\"";
    let config = || {
        let cached = "mode = \"write-back\"\nttl = \"60s\"";
        forward([&origin]).server(&state.key()).cached(cached).more(&format!("[route.cache.write_back]\n{keys}"))
    };
    let forebay = start(config());
    let content = "of a dead letter ".repeat(1_000);
    put(&forebay, "/a", &content).is(202, "");
    let dead = |forebay: &Forebay| journal(forebay, "?state=dead")["entries"].as_array().unwrap().clone();
    eventually("it is dead", || dead(&forebay).len() == 1);
    assert_eq!(dead(&forebay)[0]["body_bytes"], content.len());
    drop(forebay);
    let forebay = start(config());
    let letter = dead(&forebay)[0].clone();
    assert_eq!((&letter["target"], &letter["body_bytes"]), (&json!("/a"), &json!(content.len())));
    told(&asks(&forebay, "POST", &format!("/api/v1/journal/{}/retry", letter["seq"]), "", ""), 200);
    eventually("it has arrived", || origin.count_whole("PUT /a") == 2);
    assert!(origin.last().body == content.as_bytes());
}
