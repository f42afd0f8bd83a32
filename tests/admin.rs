//! The admin listener over its sockets: access control, the response of each endpoint, shutdown. A fake service stands
//! behind it, so that nothing else is tested here. Splits, canaries and mirrors: `admin_rollout.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;

use forebay::admin::{self, Listen};
use serde_json::{Value, json};
use testbed::Client;

use service::{Listener, assert_error, json_body};

#[path = "admin/service.rs"]
mod service;

#[test]
fn health_needs_no_token_and_all_else_does() {
    let listener = Listener::tcp(Some("s3cret"));
    assert_eq!(json_body(&listener.get("/live"), 200), json!({"status": "live"}));
    assert_eq!(json_body(&listener.get("/ready"), 200), json!({"status": "ready"}));
    for (method, path) in admin::endpoints().into_iter().filter(|(_, path)| !["/live", "/ready"].contains(path)) {
        let target = path.replace("{seq}", "7").replace("{route}", "users").replace("{upstream}", "users");
        let request = format!("{} {target} HTTP/1.1\r\nHost: localhost\r\n", method.to_uppercase());
        let response = listener.send(&format!("{request}\r\n"));
        assert_error(&response, 401);
        assert!(response.field("www-authenticate").unwrap().starts_with("Bearer"), "{path}");
        assert_error(&listener.send(&format!("{request}Authorization: Bearer s3creT\r\n\r\n")), 401);
        let response = listener.send(&format!("{request}Authorization: Bearer s3cret\r\n\r\n"));
        assert!(response.status < 300 || response.status == 400, "{path}: {}", response.text());
    }
}

#[test]
fn a_drain_shows_in_ready_and_not_in_live() {
    let listener = Listener::tcp(None);
    listener.service.draining.store(true, Ordering::SeqCst);
    assert_eq!(json_body(&listener.get("/ready"), 503), json!({"status": "draining"}));
    assert_eq!(listener.get("/live").status, 200);
    assert!(listener.get("/metrics").text().contains("forebay_ready 0\n"));
}

#[test]
fn other_names_and_pages_of_other_sites_are_refused() {
    let listener = Listener::tcp(None);
    for (fields, status) in [
        ("Host: localhost:1234", 200),
        ("Host: OPS.example.com", 200),
        ("Host: [::1]", 200),
        ("Host: evil.example", 421),
        ("Host: 192.0.2.1", 421),
        ("Host: a b", 400),
        ("Host: localhost\r\nHost: localhost", 400),
        ("X-None: 1", 400),
        ("Host: localhost\r\nOrigin: http://localhost", 200),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nOrigin: null", 403),
    ] {
        let response = listener.send(&format!("GET /metrics HTTP/1.1\r\n{fields}\r\n\r\n"));
        assert_eq!(response.status, status, "{fields}: {}", response.text());
        assert_eq!(response.field("access-control-allow-origin"), None);
        assert_eq!(response.field("cache-control"), Some("no-store"));
    }
    let preflight = "OPTIONS /api/v1/purge HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    assert_error(&listener.send(preflight), 403);
    assert!(listener.service.take_calls().is_empty());
}

#[test]
fn a_purge_is_understood_and_counted() {
    let listener = Listener::tcp(None);
    let url = r#"{"url":"http://Shop.example.com/a/../b?q=1"}"#;
    let prefix = r#"{"prefix":"//shop.example.com/api/","soft":true,"wait":true}"#;
    for (body, asked, answer) in [
        (url, r#"url shop.example.com /b Some("q=1") soft=false"#, json!({"purged": 3})),
        (prefix, "prefix shop.example.com /api/ soft=true", json!({"epoch": 9, "purged": 3})),
        (r#"{"tags":["orders","user:7"]}"#, "tags orders,user:7 soft=false", json!({"epoch": 9})),
        (r#"{"all":true}"#, "all soft=false", json!({"epoch": 9})),
    ] {
        assert_eq!(json_body(&listener.post("/api/v1/purge", body), 200), answer);
        assert_eq!(listener.service.take_calls(), [asked]);
    }
    for body in ["", "{", "{}", "[]", r#"{"url":"/a"}"#, r#"{"all":true,"tags":["a"]}"#, r#"{"every":true}"#] {
        assert_error(&listener.post("/api/v1/purge", body), 400);
    }
    assert!(listener.service.take_calls().is_empty());
}

#[test]
fn an_event_is_handed_on_with_its_headers() {
    let listener = Listener::tcp(None);
    for (query, answer) in [("", json!({"epoch": 10})), ("?wait=true", json!({"epoch": 10, "touched": 4}))] {
        let request = format!(
            "POST /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\nce-type: Made\r\nContent-Length: 7\r\n\r\n{{\"a\":1}}"
        );
        assert_eq!(json_body(&listener.send(&request), 200), answer);
        assert_eq!(listener.service.take_calls(), ["event Made {\"a\":1}"]);
    }
    assert_error(&listener.post("/api/v1/events", "{}"), 422);
}

#[test]
fn the_journal_is_listed_in_parts() {
    let listener = Listener::tcp(None);
    let page = json_body(&listener.get("/api/v1/journal"), 200);
    assert_eq!(
        (&page["entries"][0]["seq"], &page["entries"][1]["state"], &page["next"]),
        (&json!(7), &json!("pending"), &json!(8))
    );
    assert_eq!(listener.service.take_calls(), ["JournalQuery { state: None, limit: 100, after: None }"]);
    listener.get("/api/v1/journal?state=dead&limit=5&after=6");
    assert_eq!(listener.service.take_calls(), ["JournalQuery { state: Some(Dead), limit: 5, after: Some(6) }"]);
    for query in ["state=gone", "limit=0", "limit=1001", "limit=x", "after=-1", "page=2"] {
        assert_error(&listener.get(&format!("/api/v1/journal?{query}")), 400);
    }
}

#[test]
fn a_write_is_shown_without_its_secrets() {
    let listener = Listener::tcp(None);
    let response = listener.get("/api/v1/journal/7");
    let write = json_body(&response, 200);
    assert_eq!(write["headers"][0], json!({"name": "authorization", "value": "[redacted]"}));
    assert_eq!(write["headers"][1], json!({"name": "content-type", "value": "text/plain"}));
    assert!(!response.text().contains("hidden"));
    assert_error(&listener.get("/api/v1/journal/9"), 404);
    assert_error(&listener.get("/api/v1/journal/x"), 400);
}

#[test]
fn dead_letters_are_retried_and_discarded() {
    let listener = Listener::tcp(None);
    for (verb, outcome) in [("retry", "pending"), ("discard", "discarded")] {
        let target = |seq: &str| format!("/api/v1/journal/{seq}/{verb}");
        assert_eq!(json_body(&listener.post(&target("7"), ""), 200), json!({"seq": 7, "outcome": outcome}));
        assert_error(&listener.post(&target("8"), ""), 409);
        assert_error(&listener.post(&target("9"), ""), 404);
        assert_error(&listener.get(&target("7")), 405);
        assert_eq!(listener.service.take_calls(), [format!("{verb} 7"), format!("{verb} 8"), format!("{verb} 9")]);
    }
    assert_eq!(json_body(&listener.post("/api/v1/journal/flush", ""), 202), json!({"pending": 5}));
}

#[test]
fn metrics_are_text_for_prometheus() {
    let listener = Listener::tcp(None);
    let response = listener.get("/metrics");
    assert_eq!(response.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in ["forebay_requests_total 17", "forebay_journal_dead 2", "# TYPE forebay_connections gauge"] {
        assert!(response.text().lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn what_is_not_there_is_told_in_json() {
    let listener = Listener::tcp(None);
    assert_error(&listener.get("/none"), 404);
    assert_error(&listener.get("/api/v1/journal/7/more"), 404);
    let response = listener.get("/api/v1/purge");
    assert_error(&response, 405);
    assert_eq!(response.field("allow"), Some("POST"));
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let listener = Listener::tcp(None);
    let whole = "x".repeat(admin::REQUEST_BYTES_MAX);
    assert_eq!(listener.post("/api/v1/events", &whole).status, 200);
    let over = admin::REQUEST_BYTES_MAX + 1;
    let head = format!("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {over}\r\n\r\n");
    assert_error(&listener.send(&head), 413);
    let chunk = format!("{over:x}\r\n{whole}x\r\n0\r\n\r\n");
    let head = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = listener.client();
    client.send(head).try_send(chunk);
    assert_error(&client.read_response(), 413);
}

#[test]
fn a_failure_inside_is_answered_and_harms_no_other() {
    let listener = Listener::tcp(None);
    assert_error(&listener.post("/api/v1/purge", r#"{"tags":["boom"]}"#), 500);
    assert_eq!(listener.post("/api/v1/purge", r#"{"all":true}"#).status, 200);
}

#[test]
fn more_requests_at_once_than_are_answered_are_refused_at_once() {
    let listener = Listener::tcp(None);
    let closed = listener.service.gate.blocking_lock();
    let mut waiting: Vec<Client> = (0..32).map(|_| listener.client()).collect();
    for client in &mut waiting {
        client.send("POST /api/v1/journal/flush HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    testbed::eventually("all wait", || listener.service.calls.lock().unwrap().len() == 32);
    assert_error(&listener.get("/metrics"), 503);
    assert_eq!(listener.get("/live").status, 200);
    drop(closed);
    for mut client in waiting {
        client.read_response().is_status(202);
    }
    assert_eq!(listener.get("/metrics").status, 200);
}

#[test]
fn the_end_waits_for_requests_under_way_and_for_nobody_else() {
    let mut listener = Listener::tcp(None);
    let mut idle = listener.client();
    idle.send("GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response().is_status(200);
    let closed = listener.service.gate.blocking_lock();
    let mut busy = listener.client();
    busy.send("POST /api/v1/journal/flush HTTP/1.1\r\nHost: localhost\r\n\r\n");
    testbed::eventually("it is under way", || !listener.service.calls.lock().unwrap().is_empty());
    listener.shutdown.take().unwrap().send(()).unwrap();
    testbed::eventually("the idle connection ends", || idle.is_closed());
    drop(closed);
    busy.read_response().is_status(202);
    listener.stop();
}

#[test]
fn a_unix_socket_answers_and_goes_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("run/admin.sock");
    let mut listener = Listener::start(Listen::Unix(path.clone()), None);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    let output = command.args(["purge", "--all", "--admin"]).arg(format!("unix:{}", path.display())).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "purged; memory is being swept (epoch 9)\n");
    listener.stop();
    assert!(!path.exists());
}

#[test]
fn the_command_line_asks_and_prints() {
    let listener = Listener::tcp(Some("s3cret"));
    let said = |words: &[&str]| {
        let output = listener.command(words, Some("s3cret"));
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["purge", "http://a.example/b", "--soft"]), "3 purged\n");
    assert_eq!(listener.service.take_calls(), ["url a.example /b None soft=true"]);
    assert_eq!(said(&["purge", "--tag", "a", "--tag", "b", "--json"]), "{\"epoch\":9}\n");
    assert_eq!(listener.service.take_calls(), ["tags a,b soft=false"]);
    assert_eq!(said(&["purge", "--tag", "a", "--tag", "b", "--wait"]), "3 purged\n");
    assert_eq!(listener.service.take_calls(), ["tags a,b soft=false"]);
    let list = said(&["journal", "list", "--dead"]);
    assert!(list.contains("/cart/7  (status 503: unavailable)") && list.ends_with("more: --after 8\n"), "{list}");
    assert_eq!(listener.service.take_calls(), ["JournalQuery { state: Some(Dead), limit: 100, after: None }"]);
    assert!(said(&["journal", "show", "7"]).contains("authorization: [redacted]"));
    assert_eq!(said(&["journal", "retry", "7"]), "7 is pending again\n");
    assert_eq!(said(&["journal", "discard", "7"]), "7 is discarded\n");
    assert_eq!(said(&["journal", "flush"]), "5 pending\n");
}

#[test]
fn the_command_line_tells_what_was_refused() {
    let listener = Listener::tcp(Some("s3cret"));
    let told = |words: &[&str], token| {
        let output = listener.command(words, token);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(told(&["journal", "flush"], None), "forebay: a bearer token is needed (401 Unauthorized)\n");
    let conflict = told(&["journal", "retry", "8"], Some("s3cret"));
    assert_eq!(conflict, "forebay: write 8 is pending, not a dead letter (409 Conflict)\n");
}

#[test]
fn the_dashboard_is_served_without_a_token_and_names_only_what_is_served_here() {
    let listener = Listener::tcp(Some("s3cret"));
    let mut text = String::new();
    for (path, kind) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let response = listener.get(path);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.field("content-type").unwrap().starts_with(kind));
        let policy = response.field("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        text.push_str(&response.text());
    }
    let elsewhere: Vec<&str> =
        text.lines().filter(|line| line.contains("http://") || line.contains("https://")).collect();
    assert!(elsewhere.iter().all(|line| line.contains("http://www.w3.org/2000/svg")), "{elsewhere:?}");
    assert!(!text.contains("innerHTML") && !text.contains("eval("));
    let endpoints = admin::endpoints();
    // `api/v1/split/${encodeURIComponent(…)}/reset` begins as an endpoint's path does.
    let mut named = BTreeSet::new();
    for part in text.split("api/v1/").skip(1) {
        let name = part.split(|c: char| !c.is_ascii_lowercase()).next().unwrap();
        named.insert(name.to_owned());
    }
    named.remove("");
    assert!(named.len() >= 5, "{named:?}");
    for name in named {
        let is_served = endpoints.iter().any(|(_, path)| {
            path.strip_prefix("/api/v1/").is_some_and(|path| path.split('/').next() == Some(name.as_str()))
        });
        assert!(is_served, "/api/v1/{name}");
    }
}

#[test]
fn the_description_names_every_endpoint_and_no_other() {
    let listener = Listener::tcp(None);
    let described = json_body(&listener.get("/api/v1/openapi.json"), 200);
    let mut found = BTreeSet::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            found.insert((method.clone(), path.clone()));
        }
    }
    let endpoints = admin::endpoints().into_iter().map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(found, endpoints.collect());
}

#[test]
fn the_description_and_the_answers_have_the_same_fields() {
    let listener = Listener::tcp(None);
    let described = json_body(&listener.get("/api/v1/openapi.json"), 200);
    let fields = |name: &str| -> BTreeSet<String> {
        let properties = described["components"]["schemas"][name]["properties"].as_object();
        properties.unwrap_or_else(|| panic!("{name}")).keys().cloned().collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let page = json_body(&listener.get("/api/v1/journal"), 200);
    let write = json_body(&listener.get("/api/v1/journal/7"), 200);
    let details = fields("Entry").union(&fields("Details")).cloned().collect::<BTreeSet<_>>();
    let order = r#"{"backend":"http://a:1"}"#;
    let routes = json_body(&listener.get("/api/v1/routes"), 200);
    let upstreams = json_body(&listener.get("/api/v1/upstreams"), 200);
    let upstream = json_body(&listener.get("/api/v1/upstreams/users"), 200);
    let drained = json_body(&listener.post("/api/v1/upstreams/users/drain", order), 200);
    let overview = json_body(&listener.get("/api/v1/status"), 200);
    let history = json_body(&listener.get("/api/v1/history"), 200);
    let certificates = json_body(&listener.get("/api/v1/certificates"), 200);
    let certificate = &certificates["certificates"][0];
    let endpoint = &upstream["endpoints"][0];
    for (answer, expected) in [
        (&overview, fields("Overview")),
        (&overview["reload"], fields("Reload")),
        (&overview["cache"], fields("CacheState")),
        (&overview["journal"], fields("JournalState")),
        (&history, fields("History")),
        (&history["slots"][0], fields("Slot")),
        (&overview["minute"], fields("Period")),
        (&certificates, fields("Certificates")),
        (certificate, fields("Certificate")),
        (&certificate["order"], fields("CertificateOrder")),
        (&routes, fields("Routes")),
        (&routes["routes"][0], fields("RouteState")),
        (&upstreams, fields("Upstreams")),
        (&upstream, fields("Upstream")),
        (&drained, fields("Upstream")),
        (endpoint, fields("Endpoint")),
        (&endpoint["history"][0], fields("HealthChange")),
        (&page, fields("Page")),
        (&page["entries"][0], fields("Entry")),
        (&write, details),
        (&write["headers"][0], fields("Header")),
        (&json_body(&listener.get("/live"), 200), fields("Status")),
        (&json_body(&listener.get("/none"), 404), fields("Problem")),
        (&json_body(&listener.post("/api/v1/purge", r#"{"all":true,"wait":true}"#), 200), fields("Purged")),
        (&json_body(&listener.post("/api/v1/events?wait=true", "[]"), 200), fields("Touched")),
        (&json_body(&listener.post("/api/v1/journal/7/retry", ""), 200), fields("Settled")),
        (&json_body(&listener.post("/api/v1/journal/flush", ""), 202), fields("Flushing")),
    ] {
        assert_eq!(keys(answer), expected);
    }
}
