//! What is known of an exchange when it ends: the material of its log line.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version};
use message::Known;

use super::captured::Captured;
use super::request_id::RequestId;
use super::route_stats::RouteStats;

/// What is known of an exchange when it ends.
#[derive(Debug, Default)]
pub struct AccessRecord {
    /// Names this exchange in logs, to backends, and in error bodies.
    pub id: Option<RequestId>,
    /// The request as the client wrote it; `None` when nothing is logged.
    pub request: Option<Box<Request>>,
    /// The route.
    pub(crate) route: Option<Rc<RouteRecord>>,
    /// Which side of a split it went to, and what decided that: `override`, `sticky`, `weight` or `fallback`.
    pub side: Option<(Rc<str>, &'static str)>,
    /// The upstream's name.
    pub upstream: Option<Rc<str>>,
    /// The name of the backend that was asked last.
    pub backend: Option<Rc<str>>,
    /// Which address of its name that was; `None`: the backend's name says it.
    pub address: Option<Rc<str>>,
    /// What that backend answered.
    pub backend_status: Option<StatusCode>,
    /// How often the request was sent to a backend.
    pub tries: u32,
    /// The tries that failed, and the one that was answered after them; at most [`HISTORY_MAX`]. Empty where the first try
    /// was answered.
    pub history: Vec<Try>,
    /// How often it went out on a connection, wholly or in part: a connection that was just closed under it counts too.
    pub sends: u32,
    /// What the cache made of it: `hit`, `stale`, `revalidated`, `miss` or `bypass`; `None` where nothing caches.
    pub cache: Option<&'static str>,
    /// Why it was no hit, or why it was not stored.
    pub cache_reason: Option<&'static str>,
    /// Why it failed.
    pub fault: Option<String>,
    /// What the client was answered.
    pub status: Option<StatusCode>,
    /// Bytes of the answer's body handed to the client's connection.
    pub body_bytes_sent: u64,
    /// From the request's head to the backend's connection.
    pub connect_time: Option<Duration>,
    /// From the request's head to the backend's response head.
    pub header_time: Option<Duration>,
    /// What became of the connection after it had switched protocols; `None`: it has not.
    pub tunnel: Option<Box<Tunnel>>,
}

/// A route, as one worker records its requests.
#[derive(Debug)]
pub(crate) struct RouteRecord {
    /// Its name.
    pub(crate) name: Box<str>,
    /// What this worker has counted of its requests.
    pub(crate) stats: Arc<RouteStats>,
}

/// A connection that switched protocols, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// From the 101 to the end.
    pub time: Duration,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// Why it ended.
    pub end: &'static str,
}

/// The most tries that are remembered one by one.
pub(crate) const HISTORY_MAX: usize = 16;

/// One try to have a request answered.
#[derive(Debug)]
pub struct Try {
    /// The name of the backend that was asked.
    pub backend: Rc<str>,
    /// Which address of its name; `None`: the backend's name says it.
    pub address: Option<Rc<str>>,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, up to the response's head or the failure.
    pub took: Duration,
}

/// What came of a try.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered.
    Status(StatusCode),
    /// It failed, for this reason.
    ProxyError(String),
}

impl AccessRecord {
    /// Remembers a try.
    pub fn remember(&mut self, made: Try) {
        if self.history.len() < HISTORY_MAX {
            self.history.push(made);
        }
    }
}

/// The request as the client wrote it.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub target: Uri,
    /// Its version.
    pub version: Version,
    /// How it came: `http`, or `https` over TLS.
    pub scheme: &'static str,
    /// Its `Host`.
    pub host: Option<Bytes>,
    /// Its `Referer`.
    pub referer: Option<Bytes>,
    /// Its `User-Agent`.
    pub user_agent: Option<Bytes>,
    /// Its `X-Forwarded-For`.
    pub forwarded_for: Option<Bytes>,
    /// Its `Content-Length`.
    pub content_length: Option<Bytes>,
    /// Fields that the form of the log names.
    pub captured: Option<Box<Captured>>,
}

impl Request {
    /// A request of which only its line is known.
    #[must_use]
    pub(crate) fn of_line(method: Method, target: Uri, version: Version, scheme: &'static str) -> Self {
        Self {
            method,
            target,
            version,
            scheme,
            host: None,
            referer: None,
            user_agent: None,
            forwarded_for: None,
            content_length: None,
            captured: None,
        }
    }

    /// The same with those of its fields that every line has; `field` finds the first of a name.
    #[must_use]
    pub(crate) fn with_fields(self, field: impl Fn(Known) -> Option<Bytes>) -> Self {
        Self {
            host: field(Known::Host),
            referer: field(Known::Referer),
            user_agent: field(Known::UserAgent),
            forwarded_for: field(Known::XForwardedFor),
            content_length: field(Known::ContentLength),
            ..self
        }
    }
}
