//! Telling others of a canary's changes: one HTTP POST each, in order, tried a few times.
//!
//! A receiver that is slow or gone delays no canary: what can't be told in time is dropped, and said in the log.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use message::{Fields, Known};
use parking_lot::Mutex;
use policy::canary::progress::Change;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::config::plan::Webhook;
use crate::exchange::Exchange;
use crate::exchange::deadline::attended;
use crate::telemetry::counters::Counters;
use crate::telemetry::{clock, random};
use crate::upstream;
use crate::upstream::local::LocalUpstream;
use crate::upstream::resolve;
use crate::upstream::resolver::Resolver;
use crate::upstream::send::UpstreamRequest;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::upload::{Limits, ReplayBody};

/// The most changes that wait to be told.
const REPORTS_MAX: usize = 64;
/// How often each is tried.
const ATTEMPTS: u32 = 3;
/// How long the first pause between tries is; doubles with each that follows.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A change on its way to its receiver.
#[derive(Debug)]
struct Report {
    webhook: Arc<Webhook>,
    route: Box<str>,
    body: Vec<u8>,
}

/// Where changes are told.
#[derive(Debug)]
pub(crate) struct Reports {
    sender: mpsc::Sender<Report>,
    receiver: Mutex<Option<mpsc::Receiver<Report>>>,
    resolver: Arc<dyn Resolver>,
}

/// What a receiver gets.
#[derive(Debug, Serialize)]
struct Told<'a> {
    route: &'a str,
    event: &'a str,
    weight: f64,
    reason: &'a str,
    at_ms: u64,
}

impl Reports {
    /// With nothing to tell yet; the names of receivers are looked up by this resolver.
    #[must_use]
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        let (sender, receiver) = mpsc::channel(REPORTS_MAX);
        Self { sender, receiver: Mutex::new(Some(receiver)), resolver }
    }

    /// Tells of a change, if anybody wants to know.
    pub(crate) fn tell(&self, route: &str, webhook: Option<&Arc<Webhook>>, change: &Change) {
        let Some(webhook) = webhook else { return };
        let Change { event, share, reason, at_ms } = change;
        let told = Told { route, event: event.name(), weight: share.percent(), reason, at_ms: *at_ms };
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let report = Report { webhook: Arc::clone(webhook), route: route.into(), body };
        if self.sender.try_send(report).is_err() {
            tracing::warn!(%route, "webhook: too many changes wait for delivery; one is dropped");
        }
    }

    /// Sends what is to be told, for as long as it is polled. The second caller has nothing to do.
    pub(crate) async fn run(&self) {
        let Some(mut reports) = self.receiver.lock().take() else { return };
        while let Some(report) = reports.recv().await {
            deliver(&report, &self.resolver).await;
        }
    }
}

async fn deliver(report: &Report, resolver: &Arc<dyn Resolver>) {
    let counters: Arc<Counters> = Arc::default();
    let group =
        Arc::new(SharedUpstream::new(report.webhook.upstream.clone(), None, Arc::clone(resolver), clock::now()));
    let group = Rc::new(LocalUpstream::new(group, None, &counters, 1));
    let mut pause = PAUSE;
    for attempt in 1..=ATTEMPTS {
        let why = match tokio::time::timeout(TIMEOUT, post(&group, report, &counters)).await {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_late) => format!("no answer within {TIMEOUT:?}"),
        };
        tracing::warn!(route = %report.route, attempt, "webhook: {why}");
        if attempt < ATTEMPTS {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    tracing::warn!(route = %report.route, "webhook: a change could not be delivered, and is dropped");
}

async fn post(group: &Rc<LocalUpstream>, report: &Report, counters: &Arc<Counters>) -> Result<(), String> {
    resolve::once(&group.shared).await.map_err(|error| format!("its name can't be resolved: {error}"))?;
    let body = Bytes::from(report.body.clone());
    let mut headers = Fields::new();
    headers.set(Known::ContentType, "application/json");
    headers.set(Known::ContentLength, body.len().to_string());
    if let Some(backend) = group.shared.plan.backends.first() {
        headers.set(Known::Host, &backend.authority);
    }
    let limits = Limits { bytes_max: None, stall_max: TIMEOUT, rate_min: 0, kept_max: body.len() };
    let source = Rc::new(ReplayBody::whole(body, limits, Arc::clone(counters)));
    let target = report.webhook.target.parse().map_err(|_| "its target is none".to_owned())?;
    let draft = UpstreamRequest { method: Method::POST, target, headers, source: Some(source), switches: None };
    let mut ex = Exchange::alone(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), clock::now(), random::roll());
    let deadline = Rc::clone(&ex.stream.deadline);
    let answer =
        attended(&deadline, upstream::forward(group, &mut ex, &draft)).await.map_err(|fault| fault.to_string())?;
    let status = answer.status;
    if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
}
