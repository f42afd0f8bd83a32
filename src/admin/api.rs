//! The JSON bodies of the API's requests and responses. `docs/openapi.json` describes them.
//!
//! Times are in milliseconds since the Unix epoch. Nothing here holds the body of a write, or the value of a header
//! that may be a secret.

use std::sync::Arc;

use http::HeaderName;
use policy::write::retained::ShownValue;
use serde::{Deserialize, Serialize};

use super::{Purge, PurgeUrl};

pub mod certificates;
pub mod rollout;
pub mod status;

/// Replaces the value of a header that may be a secret.
pub const REDACTED: &str = "[redacted]";

/// The body of `POST /api/v1/purge`. Exactly one of `url`, `prefix`, `tags` and `all` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// Purges one URL, given with its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Purges all URLs with this prefix, given with its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Purges all responses with one of these tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// `true`: purges everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Makes responses stale instead of removing them.
    #[serde(default)]
    pub soft: bool,
    /// Answers when the sweep is over, with the number of purged responses.
    #[serde(default)]
    pub wait: bool,
}

impl PurgeRequest {
    /// What the body asks to purge.
    ///
    /// # Errors
    /// A message when it has none or several of the four keys, or a malformed URL.
    pub fn purge(&self) -> Result<Purge, String> {
        let all = self.all.filter(|all| *all);
        match (&self.url, &self.prefix, &self.tags, all) {
            (Some(url), None, None, None) => Ok(Purge::Url(purge_url("url", url)?)),
            (None, Some(prefix), None, None) => Ok(Purge::Prefix(purge_url("prefix", prefix)?)),
            (None, None, Some(tags), None) => {
                let tags: Vec<Box<str>> = tags.iter().map(|tag| tag.trim().into()).collect();
                let is_valid = !tags.is_empty() && tags.iter().all(|tag| !tag.is_empty());
                if is_valid {
                    Ok(Purge::Tags(tags))
                } else {
                    Err("tags: the list, or one of the tags, is empty".to_owned())
                }
            }
            (None, None, None, Some(_)) => Ok(Purge::All),
            _ => Err("give exactly one of url, prefix, tags, and all = true".to_owned()),
        }
    }
}

fn purge_url(field: &str, text: &str) -> Result<PurgeUrl, String> {
    PurgeUrl::parse(text).map_err(|error| format!("{field}: {error}"))
}

/// The response to a purge: an epoch, a count, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// The invalidation epoch of a purge by prefix, tag or of everything; later purges have higher ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// How many responses were purged; missing while the sweep is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<u64>,
}

/// The response to an event: an epoch, a count, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// The invalidation epoch of the event's last purge by prefix or tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// How many responses were invalidated; missing while the sweep is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<u64>,
}

/// The body of an error response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The cause, in lower case without a full stop.
    pub error: String,
}

/// The response of `/live` and `/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `live`, `ready`, `starting` or `draining`.
    pub status: String,
}

/// The state of a write in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has not been accepted by its backend yet, and will be sent or retried.
    Pending,
    /// It is a dead letter: forebay does not send it unless an operator retries it.
    Dead,
}

/// A write of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its sequence number, which the 202 response had in `Forebay-Write`.
    pub seq: u64,
    /// Its state.
    pub state: State,
    /// The route that queued it.
    pub route: String,
    /// The upstream that it is sent to.
    pub upstream: String,
    /// Its method.
    pub method: String,
    /// Path and query as sent to the backend.
    pub target: String,
    /// The length of its body, in bytes.
    pub body_bytes: u64,
    /// When it was acknowledged, in milliseconds since the Unix epoch.
    pub accepted_unix_ms: u64,
    /// How often it has been sent.
    pub attempts: u32,
    /// The status of the response to the last attempt; `null`: there was none.
    pub status: Option<u16>,
    /// Why the last attempt failed, or why it is a dead letter.
    pub reason: Option<String>,
    /// When the next attempt is due, in milliseconds since the Unix epoch; `null`: at once, or never.
    pub next_attempt_unix_ms: Option<u64>,
}

/// The response of `GET /api/v1/journal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Writes, in the order of their sequence numbers.
    pub entries: Vec<Entry>,
    /// The value of `after` for the next page; `null`: this is the last page.
    pub next: Option<u64>,
}

/// One write of the journal, with its headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The write.
    #[serde(flatten)]
    pub entry: Entry,
    /// The headers that the journal has retained.
    pub headers: Vec<Header>,
}

/// A header of a write. Its value is redacted if it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    name: String,
    value: String,
}

impl Header {
    /// A header with the value as it may be shown.
    #[must_use]
    pub fn shown(name: &HeaderName, value: ShownValue<'_>) -> Self {
        let value = match value {
            ShownValue::Text(_) | ShownValue::Bytes(_) => value.to_string(),
            ShownValue::Redacted => REDACTED.to_owned(),
        };
        Self { name: name.as_str().to_owned(), value }
    }

    /// Its name, in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, or [`REDACTED`].
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// The response to a retry or a discard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The sequence number of the write.
    pub seq: u64,
    /// Its new state.
    pub outcome: Outcome,
}

/// What a retry or a discard did with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is pending again.
    Pending,
    /// It is deleted.
    Discarded,
}

/// The response to a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushing {
    /// How many writes are pending.
    pub pending: u64,
}

/// The values of `/metrics`. Counters start at 0 with the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The certificates that forebay orders.
    pub acme: certificates::AcmeMetrics,
    /// Requests finished.
    pub requests: u64,
    /// Responses by class of status, as `("2xx", 17)`. If the list is empty, the metric is left out.
    pub responses: Vec<(&'static str, u64)>,
    /// Requests aborted because the client closed its connection.
    pub abandoned: u64,
    /// Requests that could not be parsed.
    pub unreadable: u64,
    /// Requests sent again to another backend.
    pub retries: u64,
    /// Open client connections.
    pub connections: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that wait in an upstream's queue.
    pub queued: u64,
    /// Requests that wait for another request's coalesced fetch.
    pub following: u64,
    /// Open connections to backends.
    pub backend_connections: u64,
    /// Client connections that could not be accepted.
    pub accept_failures: u64,
    /// Client connections that began with a PROXY header.
    pub proxy_headers: u64,
    /// Client connections closed for lack of a usable PROXY header.
    pub proxy_refusals: u64,
    /// TLS handshakes with clients that succeeded.
    pub tls_handshakes: u64,
    /// Those of them by TLS 1.2.
    pub tls_1_2_handshakes: u64,
    /// When the certificates of listeners expire.
    pub certificates: Vec<CertificateMetrics>,
    /// How many of them resumed a session.
    pub tls_resumptions: u64,
    /// TLS handshakes with clients that failed.
    pub tls_failures: u64,
    /// Lines that the access log dropped.
    pub log_lines_dropped: u64,
    /// Events that the event log dropped.
    pub log_events_dropped: u64,
    /// The endpoints of each upstream.
    pub endpoints: Vec<EndpointMetrics>,
    /// The metrics of the routes, in file order.
    pub routes: Vec<RouteMetrics>,
    /// The metrics of the process.
    pub process: ProcessMetrics,
    /// The metrics of reloads.
    pub reloads: ReloadMetrics,
    /// The metrics of the cache.
    pub cache: CacheMetrics,
    /// The metrics of invalidation events.
    pub events: EventMetrics,
    /// The metrics of the journal; `None`: there is no journal.
    pub journal: Option<JournalMetrics>,
}

/// When a certificate of a listener expires.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateMetrics {
    /// The listener's address.
    pub listener: String,
    /// The path of the certificate.
    pub certificate: String,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
}

/// The metrics of one endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointMetrics {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The backend's name.
    pub backend: Arc<str>,
    /// Its address; empty if the backend's name contains it.
    pub address: Arc<str>,
    /// Whether it can be selected: it is neither down, ejected nor in doubt.
    pub is_usable: bool,
    /// Requests in flight.
    pub in_flight: u64,
    /// Why it gets no requests, as `("down", true)`: each possible reason.
    pub reasons: Vec<(&'static str, bool)>,
    /// Its weight.
    pub weight: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Failures by kind.
    pub failures: Vec<(&'static str, u64)>,
    /// The time from sending a request to the head of its response.
    pub response_time: HistogramMetrics,
}

/// The metrics of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteMetrics {
    /// Its name.
    pub name: Arc<str>,
    /// Requests by method and class of status; those without a request are left out.
    pub requests: Vec<(&'static str, &'static str, u64)>,
    /// The time from a request's head to the end of its response.
    pub duration: HistogramMetrics,
    /// Bytes of response bodies.
    pub bytes_sent: u64,
    /// Requests by result of the cache; empty if the route does not cache.
    pub cache: Vec<(&'static str, u64)>,
}

/// A histogram in the form of Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramMetrics {
    /// For each bound in seconds, ascending: how many values are not above it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all values, in seconds.
    pub sum: f64,
    /// The number of values.
    pub count: u64,
}

/// The metrics of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessMetrics {
    /// When it started, in seconds since the Unix epoch.
    pub started: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_descriptors: u64,
    /// The limit of open file descriptors.
    pub max_descriptors: u64,
}

/// The metrics of reloads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReloadMetrics {
    /// Reloads that took effect.
    pub succeeded: u64,
    /// Reloads that failed and changed nothing.
    pub failed: u64,
    /// Whether the last one took effect; `None`: there was none.
    pub last_succeeded: Option<bool>,
    /// When the configuration in force took effect, in seconds since the Unix epoch.
    pub in_force_since: f64,
}

/// The metrics of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheMetrics {
    /// Keys with a stored response, including invalidated ones that are not swept yet.
    pub keys: u64,
    /// Purges by prefix, by tag and of everything that are not swept yet.
    pub bans: u64,
    /// Purges that found the list of bans full, so that older bans were merged into a wider one.
    pub bans_merged: u64,
    /// The memory that the cache uses, in bytes.
    pub bytes: u64,
    /// The limit of the cache's memory, in bytes.
    pub bytes_max: u64,
    /// Requests by result of the look-up, as `("hit", 17)`. If the list is empty, the metric is left out.
    pub results: Vec<(&'static str, u64)>,
}

/// The metrics of invalidation events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventMetrics {
    /// Events whose type has a rule.
    pub known: u64,
    /// Events whose type has no rule.
    pub unknown: u64,
    /// Events that were refused: malformed, or without a value that a rule needs.
    pub refused: u64,
}

/// The metrics of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalMetrics {
    /// Pending writes.
    pub pending: u64,
    /// The memory of the pending writes, in bytes.
    pub pending_bytes: u64,
    /// The age of the oldest pending write, in milliseconds.
    pub oldest_ms: u64,
    /// Dead letters.
    pub dead: u64,
    /// Dead letters that were dropped because of the limits of `server.dead_letters`.
    pub dead_dropped: u64,
    /// Acknowledged writes.
    pub accepted: u64,
    /// Writes that their backends have accepted.
    pub sent: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Writes that were forwarded at once instead of queued.
    pub through: u64,
    /// Writes that were refused because the journal could not be written.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_asks_for_one_thing() {
        let order = |text: &str| serde_json::from_str::<PurgeRequest>(text).unwrap().purge();
        assert_eq!(order(r#"{"all":true}"#), Ok(Purge::All));
        assert_eq!(order(r#"{"tags":["a"," b "]}"#), Ok(Purge::Tags(vec!["a".into(), "b".into()])));
        assert!(matches!(order(r#"{"url":"http://a/b","soft":true}"#), Ok(Purge::Url(_))));
        assert!(matches!(order(r#"{"prefix":"http://a/b"}"#), Ok(Purge::Prefix(_))));
        for wrong in [
            "{}",
            r#"{"all":false}"#,
            r#"{"all":true,"url":"http://a/"}"#,
            r#"{"tags":[]}"#,
            r#"{"tags":["a",""]}"#,
            r#"{"url":"/b"}"#,
        ] {
            assert!(order(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<PurgeRequest>(r#"{"urls":["http://a/"]}"#).is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = |value| Header::shown(&http::header::CONTENT_TYPE, value);
        assert_eq!(shown(ShownValue::Redacted).value(), REDACTED);
        assert_eq!(shown(ShownValue::Text("text/plain")).value(), "text/plain");
        assert_eq!(shown(ShownValue::Bytes(3)).value(), "(3 bytes)");
    }
}
