//! Reports a canary's changes: one HTTP POST each, in order, with a few attempts.
//!
//! A slow or missing receiver does not delay a canary: reports that cannot be sent in time are dropped, and the log
//! says so.

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
use tokio::time::timeout_at;

use crate::config::plan::Webhook;
use crate::telemetry::clock;
use crate::upstream::client::{Deadlines, Error, InternalRequest};
use crate::upstream::local::LocalUpstream;
use crate::upstream::resolve;
use crate::upstream::resolver::Resolver;
use crate::upstream::shared::SharedUpstream;

/// The most reports that wait to be sent.
const REPORTS_MAX: usize = 64;
/// The number of attempts for each report.
const ATTEMPTS: u32 = 3;
/// The pause after the first attempt; doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest duration of an attempt.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A report for a receiver.
#[derive(Debug)]
struct Report {
    webhook: Arc<Webhook>,
    route: Box<str>,
    body: Bytes,
}

/// The queue of reports.
#[derive(Debug)]
pub(crate) struct Reports {
    sender: mpsc::Sender<Report>,
    receiver: Mutex<Option<mpsc::Receiver<Report>>>,
    resolver: Arc<dyn Resolver>,
}

/// The JSON body of a report.
#[derive(Debug, Serialize)]
struct ReportBody<'a> {
    route: &'a str,
    event: &'a str,
    weight: f64,
    reason: &'a str,
    at_ms: u64,
}

impl Reports {
    /// An empty queue; `resolver` resolves the names of receivers.
    #[must_use]
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        let (sender, receiver) = mpsc::channel(REPORTS_MAX);
        Self { sender, receiver: Mutex::new(Some(receiver)), resolver }
    }

    /// Queues a report of a change, if there is a receiver.
    pub(crate) fn queue(&self, route: &str, webhook: Option<&Arc<Webhook>>, change: &Change) {
        let Some(webhook) = webhook else { return };
        let Change { event, share, reason, at_ms } = change;
        let told = ReportBody { route, event: event.name(), weight: share.percent(), reason, at_ms: *at_ms };
        let body = Bytes::from(serde_json::to_vec(&told).unwrap_or_default());
        let report = Report { webhook: Arc::clone(webhook), route: route.into(), body };
        if self.sender.try_send(report).is_err() {
            tracing::warn!(%route, "webhook: too many changes wait for delivery; one is dropped");
        }
    }

    /// Sends queued reports. Never returns, except for a second caller, which returns at once.
    pub(crate) async fn run(&self) {
        let Some(mut reports) = self.receiver.lock().take() else { return };
        while let Some(report) = reports.recv().await {
            deliver(&report, &self.resolver).await;
        }
    }
}

async fn deliver(report: &Report, resolver: &Arc<dyn Resolver>) {
    let group =
        Arc::new(SharedUpstream::new(report.webhook.upstream.clone(), None, Arc::clone(resolver), clock::now()));
    let group = Rc::new(LocalUpstream::new(group, None, &Arc::default(), 1));
    let mut pause = PAUSE;
    for attempt in 1..=ATTEMPTS {
        let Err(why) = post(&group, report).await else { return };
        tracing::warn!(route = %report.route, attempt, "webhook: {why}");
        if attempt < ATTEMPTS {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    tracing::warn!(route = %report.route, "webhook: a change could not be delivered, and is dropped");
}

/// # Errors
/// Why the change was not delivered, for the log.
async fn post(group: &Rc<LocalUpstream>, report: &Report) -> Result<(), String> {
    let deadlines = Deadlines::within(TIMEOUT);
    let late = || format!("no answer within {TIMEOUT:?}");
    let resolved = timeout_at(deadlines.head, resolve::once(&group.shared)).await.map_err(|_| late())?;
    resolved.map_err(|error| format!("its name can't be resolved: {error}"))?;
    let mut fields = Fields::new();
    fields.set(Known::ContentType, "application/json");
    if let Some(backend) = group.shared.plan.backends.first() {
        fields.set(Known::Host, &backend.authority);
    }
    let target = report.webhook.target.parse().map_err(|_| "its target is none".to_owned())?;
    let body = Some(report.body.clone());
    let request = InternalRequest { method: Method::POST, target, fields, body, deadlines };
    match request.send(group).await {
        Ok(response) if response.status.is_success() => Ok(()),
        Ok(response) => Err(format!("answered {}", response.status)),
        Err(Error::Late) => Err(late()),
        Err(Error::Failed(fault)) => Err(fault.to_string()),
    }
}
