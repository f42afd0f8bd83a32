//! A fixture: the admin listener in front of a fake service that records its calls.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use forebay::admin::api::certificates::{Certificate, CertificateOrder};
use forebay::admin::api::{Details, Entry, Header, JournalMetrics, Metrics, Page, State};
use forebay::admin::api::{rollout, status};
use forebay::admin::{
    self, ApiError, ApiFuture, CanaryCommand, Invalidated, JournalQuery, Listen, Purge, Readiness, Service, Settings,
    Sweep, Token,
};
use http::{HeaderName, StatusCode};
use message::Fields;
use policy::write::retained::ShownValue;
use serde_json::{Value, json};
use testbed::{Client, Response};
use tokio::sync::oneshot;

/// A service with fixed results that records its calls.
#[derive(Default)]
pub(crate) struct FakeService {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) draining: AtomicBool,
    /// While a test holds this lock, a flush does not finish.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

impl FakeService {
    fn record(&self, what: String) {
        self.calls.lock().unwrap().push(what);
    }

    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
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

fn retried_or_discarded(seq: u64) -> Result<(), ApiError> {
    match seq {
        7 => Ok(()),
        8 => Err(ApiError::new(StatusCode::CONFLICT, "write 8 is pending, not a dead letter")),
        _ => Err(ApiError::new(StatusCode::NOT_FOUND, "there is no such write")),
    }
}

fn split(route: &str) -> rollout::Split {
    let sides = json!([
        {"upstream": "users-v2", "weight": 20.0, "file_weight": 20.0, "usable": true, "requests": 200, "errors": 1,
         "p95_ms": 12.5},
        {"upstream": "legacy", "weight": 80.0, "file_weight": 80.0, "usable": true, "requests": 800, "errors": 0},
    ]);
    serde_json::from_value(json!({"route": route, "sticky": "cookie", "sides": sides})).unwrap()
}

fn canary(route: &str) -> rollout::Canary {
    let canary = json!({
        "route": route, "upstream": "users-v2", "phase": "stepping", "step": 2, "steps": [1.0, 20.0, 100.0],
        "weight": 20.0, "held_ms": 60_000, "hold_ms": 300_000, "reason": "waits for 300 requests",
        "canary": {"requests": 200, "errors": 1, "p95_ms": 12.5}, "stable": {"requests": 800, "errors": 0, "p95_ms": 11.0},
        "requests_min": 500, "compared": 90, "mismatched": 2, "kept": true,
        "history": [{"at_ms": 1_795_289_280_000_u64, "event": "promoted", "weight": 20.0, "reason": "step 1 held"}],
    });
    serde_json::from_value(canary).unwrap()
}

fn mirror(route: &str) -> rollout::Mirror {
    let difference = json!({"kind": "value", "path": "/items/*/price", "count": 2, "noise": 0});
    let found = json!({"kind": "value", "path": "/items/0/price", "ours": "number", "theirs": "text, 3"});
    let sample = json!({
        "at_ms": 1_795_289_280_000_u64, "method": "GET", "target": "/users/7?page", "id": "a1", "status": 200,
        "mirror_status": 200, "differences": [found],
    });
    let mirror = json!({
        "route": route, "upstream": "users-v2", "percent": 10.0, "in_flight": 1, "sent": 100, "failed": 3,
        "timed_out": 1, "dropped": {"busy": 4},
        "comparison": {"compared": 90, "mismatched": 2, "skipped": {"long": 6}, "differences": [difference],
                       "samples": [sample]},
    });
    serde_json::from_value(mirror).unwrap()
}

fn upstream(name: &str) -> status::Upstream {
    let change = status::HealthChange { event: "down".to_owned(), ..status::HealthChange::default() };
    let endpoint = status::Endpoint {
        backend: "http://a:1".to_owned(),
        reasons: vec!["down".to_owned()],
        history: vec![change],
        ..status::Endpoint::default()
    };
    status::Upstream { name: name.to_owned(), balance: "round-robin".to_owned(), endpoints: vec![endpoint] }
}

impl Service for FakeService {
    fn certificates(&self) -> Vec<Certificate> {
        let order = CertificateOrder { next_unix_ms: 1_795_289_280_000, failures: 1, failure: Some("why".to_owned()) };
        let names = vec!["a.test".to_owned()];
        let (source, not_after_unix_ms) = ("acme".to_owned(), 1_799_000_000_000);
        vec![Certificate { names, source, not_after_unix_ms, order: Some(order), ..Certificate::default() }]
    }

    fn splits(&self) -> Vec<rollout::Split> {
        vec![split("users"), split("/api/users")]
    }

    fn set_split(&self, route: &str, order: &rollout::WeightsRequest) -> Result<rollout::Split, ApiError> {
        self.record(format!("set {route} {:?} by {:?}", order.weights, order.by));
        let Some(weight) = order.weights.get("users-v2") else {
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "no side is called so"));
        };
        let mut split = split(route);
        split.sides[0].weight = *weight;
        split.sides[1].weight = 100.0 - *weight;
        let by = order.by.clone().unwrap_or_else(|| "api".to_owned());
        split.overridden = Some(rollout::Override { by, at_ms: 1_795_289_280_000, kept: true });
        Ok(split)
    }

    fn reset_split(&self, route: &str, by: Option<&str>) -> Result<rollout::Split, ApiError> {
        self.record(format!("reset {route} by {by:?}"));
        Ok(split(route))
    }

    fn canaries(&self) -> Vec<rollout::Canary> {
        vec![canary("users"), canary("/api/users")]
    }

    fn command_canary(
        &self,
        route: &str,
        command: CanaryCommand,
        by: Option<&str>,
    ) -> Result<rollout::Canary, ApiError> {
        self.record(format!("{command:?} {route} by {by:?}"));
        match route {
            "users" => Ok(canary(route)),
            _ => Err(ApiError::new(StatusCode::CONFLICT, "the canary is done")),
        }
    }

    fn mirrors(&self) -> Vec<rollout::Mirror> {
        vec![mirror("users")]
    }

    fn reset_mirror(&self, route: &str) -> Result<rollout::Mirror, ApiError> {
        self.record(format!("reset mirror {route}"));
        Ok(mirror(route))
    }

    fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::SeqCst) { Readiness::Draining } else { Readiness::Ready }
    }

    fn metrics(&self) -> Metrics {
        Metrics {
            requests: 17,
            journal: Some(JournalMetrics { dead: 2, ..JournalMetrics::default() }),
            ..Metrics::default()
        }
    }

    fn overview(&self) -> status::Overview {
        let reload = status::Reload { at_unix_ms: 1, succeeded: false, message: "wrong".to_owned() };
        let journal = Some(status::JournalState::default());
        status::Overview { status: "ready".to_owned(), reload: Some(reload), journal, ..status::Overview::default() }
    }

    fn history(&self) -> status::History {
        status::History { slots: vec![status::Slot::default()] }
    }

    fn upstreams(&self) -> Vec<status::Upstream> {
        vec![upstream("users")]
    }

    fn set_drained(
        &self,
        name: &str,
        order: &status::EndpointOrder,
        drains: bool,
    ) -> Result<status::Upstream, ApiError> {
        self.record(format!("drained={drains} {name} {} {:?} by {:?}", order.backend, order.address, order.by));
        Ok(upstream(name))
    }

    fn routes(&self) -> Vec<status::Route> {
        let cache = Some([("hit".to_owned(), 3)].into());
        vec![status::Route { name: "users".to_owned(), cache, ..status::Route::default() }]
    }

    fn purge(&self, what: &Purge, soft: bool) -> Result<Invalidated, ApiError> {
        let what = match what {
            Purge::Url(place) => format!("url {} {} {:?}", place.host, place.path, place.query),
            Purge::Prefix(place) => format!("prefix {} {}", place.host, place.path),
            Purge::Tags(tags) if tags.iter().any(|tag| **tag == *"boom") => panic!("a purge that fails"),
            Purge::Tags(tags) => format!("tags {}", tags.join(",")),
            Purge::All => "all".to_owned(),
        };
        let sweep = (!what.starts_with("url")).then(|| Sweep { epoch: 9, touched: Box::pin(async { 3 }) });
        self.record(format!("{what} soft={soft}"));
        Ok(Invalidated { counted: if sweep.is_some() { 0 } else { 3 }, sweep })
    }

    fn event(&self, fields: &Fields, body: &[u8]) -> Result<Invalidated, ApiError> {
        let kind = fields.first("ce-type").map_or("none", |kind| std::str::from_utf8(kind).unwrap());
        self.record(format!("event {kind} {}", String::from_utf8_lossy(body)));
        if body == b"{}" {
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "the event has no data.user_id"));
        }
        Ok(Invalidated { counted: 1, sweep: Some(Sweep { epoch: 10, touched: Box::pin(async { 3 }) }) })
    }

    fn journal(&self, query: JournalQuery) -> Result<Page, ApiError> {
        self.record(format!("{query:?}"));
        Ok(Page { entries: vec![entry(7, State::Dead), entry(8, State::Pending)], next: Some(8) })
    }

    fn write(&self, seq: u64) -> Result<Details, ApiError> {
        retried_or_discarded(seq)?;
        let secret = (HeaderName::from_static("authorization"), ShownValue::Redacted);
        let kind = (HeaderName::from_static("content-type"), ShownValue::Text("text/plain"));
        let headers = [secret, kind].into_iter().map(|(name, value)| Header::shown(&name, value)).collect();
        Ok(Details { entry: entry(seq, State::Dead), headers })
    }

    fn retry(&self, seq: u64) -> ApiFuture<'_, ()> {
        self.record(format!("retry {seq}"));
        Box::pin(async move { retried_or_discarded(seq) })
    }

    fn discard(&self, seq: u64) -> ApiFuture<'_, ()> {
        self.record(format!("discard {seq}"));
        Box::pin(async move { retried_or_discarded(seq) })
    }

    fn flush(&self) -> ApiFuture<'_, u64> {
        self.record("flush".to_owned());
        Box::pin(async move {
            let _open = self.gate.lock().await;
            Ok(5)
        })
    }
}

pub(crate) struct Listener {
    pub(crate) service: Arc<FakeService>,
    address: Option<SocketAddr>,
    pub(crate) shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn start(listen: Listen, token: Option<&str>) -> Self {
        let settings = Settings { listen, token: token.map(Token::new), hosts: vec!["ops.example.com".into()] };
        let opened = admin::open(&settings).unwrap();
        let address = opened.address();
        let service = Arc::new(FakeService::default());
        let (shutdown, end) = oneshot::channel();
        let served: Arc<FakeService> = Arc::clone(&service);
        let thread = std::thread::spawn(move || {
            let options = tokio::runtime::LocalOptions::default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap();
            runtime.block_on(opened.serve(served, async { _ = end.await })).unwrap();
        });
        Self { service, address, shutdown: Some(shutdown), thread: Some(thread) }
    }

    pub(crate) fn tcp(token: Option<&str>) -> Self {
        Self::start(Listen::Ip("127.0.0.1:0".parse().unwrap()), token)
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address.unwrap())
    }

    pub(crate) fn send(&self, request: &str) -> Response {
        let method = request.split(' ').next().unwrap().to_owned();
        self.client().send(request).read_response_to(&method)
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Response {
        let length = body.len();
        self.send(&format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    pub(crate) fn stop(&mut self) {
        _ = self.shutdown.take().map(|shutdown| shutdown.send(()));
        self.thread.take().unwrap().join().unwrap();
    }

    /// The command line against this listener.
    pub(crate) fn command(&self, words: &[&str], token: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(words).arg("--admin").arg(self.address.unwrap().to_string());
        command.env_remove("FOREBAY_ADMIN_TOKEN").envs(token.map(|token| ("FOREBAY_ADMIN_TOKEN", token)));
        command.output().unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

pub(crate) fn json_body(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.field("content-type"), Some("application/json"), "{}", response.text());
    serde_json::from_str(&response.text()).unwrap()
}

pub(crate) fn assert_error(response: &Response, status: u16) {
    let error = json_body(response, status);
    assert!(error["error"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
}
