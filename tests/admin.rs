//! The admin listener over its sockets: who is let in, what each endpoint answers, how it ends. Behind it stands a
//! house that is made up, so that nothing else is tested here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use forebay::admin::api::rollout;
use forebay::admin::api::{Details, Entry, Facts, Header, JournalFacts, Page, State};
use forebay::admin::{self, House, Listen, Order, Part, Pending, Purge, Readiness, Refusal, Settings, Token};
use http::{HeaderMap, HeaderName, StatusCode};
use policy::write::kept::ShownValue;
use serde_json::{Value, json};
use testbed::{Client, Response};
use tokio::sync::oneshot;

/// A house that remembers what was asked of it.
#[derive(Default)]
struct Made {
    asked: Mutex<Vec<String>>,
    draining: AtomicBool,
    /// While it is held, a flush is not answered.
    gate: tokio::sync::Mutex<()>,
}

impl Made {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn entry(seq: u64, state: State) -> Entry {
    Entry {
        seq,
        state,
        route: "cart".to_owned(),
        upstream: "shop".to_owned(),
        method: "PUT".to_owned(),
        target: format!("/cart/{seq}"),
        body_bytes: 12,
        accepted_unix_ms: 1_700_000_000_000,
        attempts: 3,
        status: Some(503),
        reason: Some("unavailable".to_owned()),
        next_attempt_unix_ms: Some(1_700_000_001_000),
    }
}

fn settled(seq: u64) -> Result<(), Refusal> {
    match seq {
        7 => Ok(()),
        8 => Err(Refusal::new(StatusCode::CONFLICT, "write 8 is pending, not a dead letter")),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such write")),
    }
}

impl House for Made {
    fn splits(&self) -> Vec<rollout::Split> {
        Vec::new()
    }

    fn set_split(&self, _route: &str, _order: &rollout::SplitOrder) -> Result<rollout::Split, Refusal> {
        Err(Refusal::new(StatusCode::NOT_FOUND, "no such split"))
    }

    fn reset_split(&self, _route: &str, _by: Option<&str>) -> Result<rollout::Split, Refusal> {
        Err(Refusal::new(StatusCode::NOT_FOUND, "no such split"))
    }

    fn canaries(&self) -> Vec<rollout::Canary> {
        Vec::new()
    }

    fn direct(&self, _route: &str, _order: Order, _by: Option<&str>) -> Result<rollout::Canary, Refusal> {
        Err(Refusal::new(StatusCode::NOT_FOUND, "no such canary"))
    }

    fn mirrors(&self) -> Vec<rollout::Mirror> {
        Vec::new()
    }

    fn reset_mirror(&self, _route: &str) -> Result<rollout::Mirror, Refusal> {
        Err(Refusal::new(StatusCode::NOT_FOUND, "no such mirror"))
    }

    fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::SeqCst) { Readiness::Draining } else { Readiness::Ready }
    }

    fn facts(&self) -> Facts {
        Facts { requests: 17, journal: Some(JournalFacts { dead: 2, ..JournalFacts::default() }), ..Facts::default() }
    }

    fn purge(&self, what: &Purge, soft: bool) -> Result<u64, Refusal> {
        let what = match what {
            Purge::Url(place) => format!("url {} {} {:?}", place.host, place.path, place.query),
            Purge::Prefix(place) => format!("prefix {} {}", place.host, place.path),
            Purge::Tags(tags) if tags.iter().any(|tag| **tag == *"boom") => panic!("a purge that fails"),
            Purge::Tags(tags) => format!("tags {}", tags.join(",")),
            Purge::All => "all".to_owned(),
        };
        self.note(format!("{what} soft={soft}"));
        Ok(3)
    }

    fn event(&self, headers: &HeaderMap, body: &[u8]) -> Result<u64, Refusal> {
        let kind = headers.get("ce-type").map_or("none", |kind| kind.to_str().unwrap());
        self.note(format!("event {kind} {}", String::from_utf8_lossy(body)));
        if body == b"{}" {
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "the event has no data.user_id"));
        }
        Ok(4)
    }

    fn journal(&self, part: Part) -> Result<Page, Refusal> {
        self.note(format!("{part:?}"));
        Ok(Page { entries: vec![entry(7, State::Dead), entry(8, State::Pending)], next: Some(8) })
    }

    fn write(&self, seq: u64) -> Result<Details, Refusal> {
        settled(seq)?;
        let secret = (HeaderName::from_static("authorization"), ShownValue::Redacted);
        let kind = (HeaderName::from_static("content-type"), ShownValue::Text("text/plain"));
        let headers = [secret, kind].into_iter().map(|(name, value)| Header::shown(&name, value)).collect();
        Ok(Details { entry: entry(seq, State::Dead), headers })
    }

    fn retry(&self, seq: u64) -> Pending<'_, ()> {
        self.note(format!("retry {seq}"));
        Box::pin(async move { settled(seq) })
    }

    fn discard(&self, seq: u64) -> Pending<'_, ()> {
        self.note(format!("discard {seq}"));
        Box::pin(async move { settled(seq) })
    }

    fn flush(&self) -> Pending<'_, u64> {
        self.note("flush".to_owned());
        Box::pin(async move {
            let _open = self.gate.lock().await;
            Ok(5)
        })
    }
}

struct Listener {
    house: Arc<Made>,
    address: Option<SocketAddr>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(listen: Listen, token: Option<&str>) -> Self {
        let settings = Settings { listen, token: token.map(Token::new), hosts: vec!["ops.example.com".into()] };
        let opened = admin::open(&settings).unwrap();
        let address = opened.address();
        let house = Arc::new(Made::default());
        let (shutdown, end) = oneshot::channel();
        let served: Arc<Made> = Arc::clone(&house);
        let thread = std::thread::spawn(move || {
            let options = tokio::runtime::LocalOptions::default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap();
            runtime.block_on(opened.serve(served, async { _ = end.await })).unwrap();
        });
        Self { house, address, shutdown: Some(shutdown), thread: Some(thread) }
    }

    fn tcp(token: Option<&str>) -> Self {
        Self::start(Listen::Ip("127.0.0.1:0".parse().unwrap()), token)
    }

    fn client(&self) -> Client {
        Client::to(self.address.unwrap())
    }

    fn asks(&self, request: &str) -> Response {
        let method = request.split(' ').next().unwrap().to_owned();
        self.client().send(request).read_response_to(&method)
    }

    fn get(&self, target: &str) -> Response {
        self.asks(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn post(&self, target: &str, body: &str) -> Response {
        let length = body.len();
        self.asks(&format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    fn ends(&mut self) {
        _ = self.shutdown.take().map(|shutdown| shutdown.send(()));
        self.thread.take().unwrap().join().unwrap();
    }

    /// The command line against this listener.
    fn command(&self, words: &[&str], token: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(words).arg("--admin").arg(self.address.unwrap().to_string());
        command.env_remove("FOREBAY_ADMIN_TOKEN").envs(token.map(|token| ("FOREBAY_ADMIN_TOKEN", token)));
        command.output().unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.ends();
        }
    }
}

fn says(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.field("content-type"), Some("application/json"), "{}", response.text());
    serde_json::from_str(&response.text()).unwrap()
}

fn refuses(response: &Response, status: u16) {
    let told = says(response, status);
    assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{told}");
}

#[test]
fn health_needs_no_token_and_all_else_does() {
    let listener = Listener::tcp(Some("s3cret"));
    assert_eq!(says(&listener.get("/live"), 200), json!({"status": "live"}));
    assert_eq!(says(&listener.get("/ready"), 200), json!({"status": "ready"}));
    for (method, path) in admin::endpoints().into_iter().filter(|(_, path)| !["/live", "/ready"].contains(path)) {
        let target = path.replace("{seq}", "7");
        let request = format!("{} {target} HTTP/1.1\r\nHost: localhost\r\n", method.to_uppercase());
        let response = listener.asks(&format!("{request}\r\n"));
        refuses(&response, 401);
        assert!(response.field("www-authenticate").unwrap().starts_with("Bearer"), "{path}");
        refuses(&listener.asks(&format!("{request}Authorization: Bearer s3creT\r\n\r\n")), 401);
        let response = listener.asks(&format!("{request}Authorization: Bearer s3cret\r\n\r\n"));
        assert!(response.status < 300 || response.status == 400, "{path}: {}", response.text());
    }
}

#[test]
fn a_drain_shows_in_ready_and_not_in_live() {
    let listener = Listener::tcp(None);
    listener.house.draining.store(true, Ordering::SeqCst);
    assert_eq!(says(&listener.get("/ready"), 503), json!({"status": "draining"}));
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
        let response = listener.asks(&format!("GET /metrics HTTP/1.1\r\n{fields}\r\n\r\n"));
        assert_eq!(response.status, status, "{fields}: {}", response.text());
        assert_eq!(response.field("access-control-allow-origin"), None);
        assert_eq!(response.field("cache-control"), Some("no-store"));
    }
    let preflight = "OPTIONS /api/v1/purge HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    refuses(&listener.asks(preflight), 403);
    assert!(listener.house.asked().is_empty());
}

#[test]
fn a_purge_is_understood_and_counted() {
    let listener = Listener::tcp(None);
    for (body, asked) in [
        (r#"{"url":"http://Shop.example.com/a/../b?q=1"}"#, r#"url shop.example.com /b Some("q=1") soft=false"#),
        (r#"{"prefix":"//shop.example.com/api/","soft":true}"#, "prefix shop.example.com /api/ soft=true"),
        (r#"{"tags":["orders","user:7"]}"#, "tags orders,user:7 soft=false"),
        (r#"{"all":true}"#, "all soft=false"),
    ] {
        assert_eq!(says(&listener.post("/api/v1/purge", body), 200), json!({"purged": 3}));
        assert_eq!(listener.house.asked(), [asked]);
    }
    for body in ["", "{", "{}", "[]", r#"{"url":"/a"}"#, r#"{"all":true,"tags":["a"]}"#, r#"{"every":true}"#] {
        refuses(&listener.post("/api/v1/purge", body), 400);
    }
    assert!(listener.house.asked().is_empty());
}

#[test]
fn an_event_is_handed_on_with_its_headers() {
    let listener = Listener::tcp(None);
    let request =
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nce-type: Made\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
    assert_eq!(says(&listener.asks(request), 200), json!({"touched": 4}));
    assert_eq!(listener.house.asked(), ["event Made {\"a\":1}"]);
    refuses(&listener.post("/api/v1/events", "{}"), 422);
}

#[test]
fn the_journal_is_listed_in_parts() {
    let listener = Listener::tcp(None);
    let page = says(&listener.get("/api/v1/journal"), 200);
    assert_eq!(
        (&page["entries"][0]["seq"], &page["entries"][1]["state"], &page["next"]),
        (&json!(7), &json!("pending"), &json!(8))
    );
    assert_eq!(listener.house.asked(), ["Part { state: None, limit: 100, after: None }"]);
    listener.get("/api/v1/journal?state=dead&limit=5&after=6");
    assert_eq!(listener.house.asked(), ["Part { state: Some(Dead), limit: 5, after: Some(6) }"]);
    for query in ["state=gone", "limit=0", "limit=1001", "limit=x", "after=-1", "page=2"] {
        refuses(&listener.get(&format!("/api/v1/journal?{query}")), 400);
    }
}

#[test]
fn a_write_is_shown_without_its_secrets() {
    let listener = Listener::tcp(None);
    let response = listener.get("/api/v1/journal/7");
    let write = says(&response, 200);
    assert_eq!(write["headers"][0], json!({"name": "authorization", "value": "[redacted]"}));
    assert_eq!(write["headers"][1], json!({"name": "content-type", "value": "text/plain"}));
    assert!(!response.text().contains("hidden"));
    refuses(&listener.get("/api/v1/journal/9"), 404);
    refuses(&listener.get("/api/v1/journal/x"), 400);
}

#[test]
fn dead_letters_are_retried_and_discarded() {
    let listener = Listener::tcp(None);
    for (verb, outcome) in [("retry", "pending"), ("discard", "discarded")] {
        let target = |seq: &str| format!("/api/v1/journal/{seq}/{verb}");
        assert_eq!(says(&listener.post(&target("7"), ""), 200), json!({"seq": 7, "outcome": outcome}));
        refuses(&listener.post(&target("8"), ""), 409);
        refuses(&listener.post(&target("9"), ""), 404);
        refuses(&listener.get(&target("7")), 405);
        assert_eq!(listener.house.asked(), [format!("{verb} 7"), format!("{verb} 8"), format!("{verb} 9")]);
    }
    assert_eq!(says(&listener.post("/api/v1/journal/flush", ""), 202), json!({"pending": 5}));
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
    refuses(&listener.get("/"), 404);
    refuses(&listener.get("/api/v1/journal/7/more"), 404);
    let response = listener.get("/api/v1/purge");
    refuses(&response, 405);
    assert_eq!(response.field("allow"), Some("POST"));
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let listener = Listener::tcp(None);
    let whole = "x".repeat(admin::REQUEST_BYTES_MAX);
    assert_eq!(listener.post("/api/v1/events", &whole).status, 200);
    let over = admin::REQUEST_BYTES_MAX + 1;
    let head = format!("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {over}\r\n\r\n");
    refuses(&listener.asks(&head), 413);
    let chunk = format!("{over:x}\r\n{whole}x\r\n0\r\n\r\n");
    let head = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = listener.client();
    client.send(head).try_send(chunk);
    refuses(&client.read_response(), 413);
}

#[test]
fn a_failure_inside_is_answered_and_harms_no_other() {
    let listener = Listener::tcp(None);
    refuses(&listener.post("/api/v1/purge", r#"{"tags":["boom"]}"#), 500);
    assert_eq!(listener.post("/api/v1/purge", r#"{"all":true}"#).status, 200);
}

#[test]
fn more_requests_at_once_than_are_answered_are_refused_at_once() {
    let listener = Listener::tcp(None);
    let closed = listener.house.gate.blocking_lock();
    let mut waiting: Vec<Client> = (0..32).map(|_| listener.client()).collect();
    for client in &mut waiting {
        client.send("POST /api/v1/journal/flush HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    testbed::eventually("all wait", || listener.house.asked.lock().unwrap().len() == 32);
    refuses(&listener.get("/metrics"), 503);
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
    let closed = listener.house.gate.blocking_lock();
    let mut busy = listener.client();
    busy.send("POST /api/v1/journal/flush HTTP/1.1\r\nHost: localhost\r\n\r\n");
    testbed::eventually("it is under way", || !listener.house.asked.lock().unwrap().is_empty());
    listener.shutdown.take().unwrap().send(()).unwrap();
    testbed::eventually("the idle connection ends", || idle.is_closed());
    drop(closed);
    busy.read_response().is_status(202);
    listener.ends();
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
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 purged\n");
    listener.ends();
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
    assert_eq!(listener.house.asked(), ["url a.example /b None soft=true"]);
    assert_eq!(said(&["purge", "--tag", "a", "--tag", "b", "--json"]), "{\"purged\":3}\n");
    assert_eq!(listener.house.asked(), ["tags a,b soft=false"]);
    let list = said(&["journal", "list", "--dead"]);
    assert!(list.contains("/cart/7  (status 503: unavailable)") && list.ends_with("more: --after 8\n"), "{list}");
    assert_eq!(listener.house.asked(), ["Part { state: Some(Dead), limit: 100, after: None }"]);
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
fn the_description_names_every_endpoint_and_no_other() {
    let listener = Listener::tcp(None);
    let described = says(&listener.get("/api/v1/openapi.json"), 200);
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
    let described = says(&listener.get("/api/v1/openapi.json"), 200);
    let fields = |name: &str| -> BTreeSet<String> {
        let properties = described["components"]["schemas"][name]["properties"].as_object();
        properties.unwrap_or_else(|| panic!("{name}")).keys().cloned().collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let page = says(&listener.get("/api/v1/journal"), 200);
    let write = says(&listener.get("/api/v1/journal/7"), 200);
    let details = fields("Entry").union(&fields("Details")).cloned().collect::<BTreeSet<_>>();
    for (answer, expected) in [
        (&page, fields("Page")),
        (&page["entries"][0], fields("Entry")),
        (&write, details),
        (&write["headers"][0], fields("Header")),
        (&says(&listener.get("/live"), 200), fields("Status")),
        (&says(&listener.get("/none"), 404), fields("Problem")),
        (&says(&listener.post("/api/v1/purge", r#"{"all":true}"#), 200), fields("Purged")),
        (&says(&listener.post("/api/v1/events", "[]"), 200), fields("Touched")),
        (&says(&listener.post("/api/v1/journal/7/retry", ""), 200), fields("Settled")),
        (&says(&listener.post("/api/v1/journal/flush", ""), 202), fields("Flushing")),
    ] {
        assert_eq!(keys(answer), expected);
    }
}
