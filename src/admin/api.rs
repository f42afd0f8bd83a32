//! The JSON of the API: what goes in and what comes out, field by field. `docs/openapi.json` describes it.
//!
//! Times are milliseconds since the epoch. Nothing here holds a body, nor the value of a header that may be a secret.

use std::sync::Arc;

use http::HeaderName;
use policy::write::kept::ShownValue;
use serde::{Deserialize, Serialize};

use super::{Place, Purge};

pub mod rollout;

/// What stands for the value of a header that is not shown.
pub const REDACTED: &str = "[redacted]";

/// The body of `POST /api/v1/purge`: one of the four kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeOrder {
    /// One URL, with its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The beginning of URLs, with their host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Tags, as responses carry them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// `true`: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Makes stale instead of forgetting.
    #[serde(default)]
    pub soft: bool,
    /// Answers when all that is stored has been swept, with the count.
    #[serde(default)]
    pub wait: bool,
}

impl PurgeOrder {
    /// The one thing that it asks for.
    ///
    /// # Errors
    /// With a text for people when it asks for none or several, or for a URL that is none.
    pub fn purge(&self) -> Result<Purge, String> {
        let all = self.all.filter(|all| *all);
        match (&self.url, &self.prefix, &self.tags, all) {
            (Some(url), None, None, None) => Ok(Purge::Url(place("url", url)?)),
            (None, Some(prefix), None, None) => Ok(Purge::Prefix(place("prefix", prefix)?)),
            (None, None, Some(tags), None) => {
                let tags: Vec<Box<str>> = tags.iter().map(|tag| tag.trim().into()).collect();
                let names_some = !tags.is_empty() && tags.iter().all(|tag| !tag.is_empty());
                if names_some { Ok(Purge::Tags(tags)) } else { Err("tags: one of them, or all, are empty".to_owned()) }
            }
            (None, None, None, Some(_)) => Ok(Purge::All),
            _ => Err("say one of url, prefix, tags, or all = true".to_owned()),
        }
    }
}

fn place(field: &str, text: &str) -> Result<Place, String> {
    Place::parse(text).map_err(|error| format!("{field}: {error}"))
}

/// The answer to a purge: an epoch, a count, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Its number, if it was about more than URLs; later ones have higher numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// How many responses it touched, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<u64>,
}

/// The answer to an event: an epoch, a count, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// The number of the last of its purges that was about more than URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// How many responses it touched, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<u64>,
}

/// The answer when something is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Why.
    pub error: String,
}

/// The answer of `/live` and `/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `live`, `ready`, `starting` or `draining`.
    pub status: String,
}

/// What has become of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is still to be sent, or sent again.
    Pending,
    /// It was given up, and waits for a person.
    Dead,
}

/// A write of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, as its receipt told it.
    pub seq: u64,
    /// What has become of it.
    pub state: State,
    /// The route that took it.
    pub route: String,
    /// The upstream that it is for.
    pub upstream: String,
    /// Its method.
    pub method: String,
    /// Path and query, as the backend gets them.
    pub target: String,
    /// The length of its body.
    pub body_bytes: u64,
    /// When it was acknowledged.
    pub accepted_unix_ms: u64,
    /// How often it has been sent.
    pub attempts: u32,
    /// The status of the last attempt's answer, if there was one.
    pub status: Option<u16>,
    /// Why the last attempt failed, or why it was given up.
    pub reason: Option<String>,
    /// When it is sent next; `null`: at once, or never.
    pub next_attempt_unix_ms: Option<u64>,
}

/// A part of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Its writes, by number.
    pub entries: Vec<Entry>,
    /// What to ask for as `after` to get the next part; `null`: this was the last.
    pub next: Option<u64>,
}

/// One write of the journal, with its headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The write.
    #[serde(flatten)]
    pub entry: Entry,
    /// The headers that are kept of it.
    pub headers: Vec<Header>,
}

/// A header of a write, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    name: String,
    value: String,
}

impl Header {
    /// A header as it may be shown; [`REDACTED`] instead of a secret.
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

/// The answer to a retry or a discard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The number of the write.
    pub seq: u64,
    /// What is to become of it now.
    pub outcome: Outcome,
}

/// What is to become of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is pending again.
    Pending,
    /// It is given up for good.
    Discarded,
}

/// The answer to a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushing {
    /// How many writes are pending.
    pub pending: u64,
}

/// The numbers of `/metrics`. Those that count began at 0 with the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Requests finished.
    pub requests: u64,
    /// Answers by class, as `("2xx", 17)`; left out when empty.
    pub responses: Vec<(&'static str, u64)>,
    /// Requests given up because the client left.
    pub abandoned: u64,
    /// Requests that could not be read.
    pub unreadable: u64,
    /// Requests sent again to another backend.
    pub retries: u64,
    /// Client connections open.
    pub connections: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that wait for a backend.
    pub queued: u64,
    /// Requests that wait for what another's fetch brings.
    pub following: u64,
    /// Connections to backends open.
    pub backend_connections: u64,
    /// Client connections that could not be accepted.
    pub accept_failures: u64,
    /// TLS handshakes with clients that succeeded.
    pub tls_handshakes: u64,
    /// Those of them that resumed a session.
    pub tls_resumptions: u64,
    /// TLS handshakes with clients that failed.
    pub tls_failures: u64,
    /// Lines that the access log dropped.
    pub log_lines_dropped: u64,
    /// Events that the event log dropped.
    pub log_events_dropped: u64,
    /// The endpoints of each upstream.
    pub endpoints: Vec<EndpointFacts>,
    /// The cache's.
    pub cache: CacheFacts,
    /// Those of invalidating events.
    pub events: EventFacts,
    /// The journal's; `None`: there is none.
    pub journal: Option<JournalFacts>,
}

/// One endpoint's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointFacts {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The backend's name.
    pub backend: Arc<str>,
    /// Its address; empty where the backend's name says it.
    pub address: Arc<str>,
    /// Whether it is neither down, ejected nor doubted.
    pub is_usable: bool,
    /// Requests in flight.
    pub in_flight: u64,
}

/// The cache's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheFacts {
    /// Keys under which something is stored, be it invalidated and not swept yet.
    pub keys: u64,
    /// Purges by prefix, tag and of all that are not swept yet.
    pub bans: u64,
    /// Purges that found the list of those full, so that older ones were merged into a wider one.
    pub bans_merged: u64,
    /// What is stored, in bytes.
    pub bytes: u64,
    /// What it may grow to, in bytes.
    pub bytes_max: u64,
    /// Requests by what the cache did for them, as `("hit", 17)`; left out when empty.
    pub results: Vec<(&'static str, u64)>,
}

/// The numbers of invalidating events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFacts {
    /// Events for which there was a rule.
    pub known: u64,
    /// Events of a type for which there is none.
    pub unknown: u64,
    /// Events that could not be read.
    pub refused: u64,
}

/// The journal's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalFacts {
    /// Writes pending.
    pub pending: u64,
    /// What they take, in bytes.
    pub pending_bytes: u64,
    /// How long the oldest has been pending, in milliseconds.
    pub oldest_ms: u64,
    /// Dead letters.
    pub dead: u64,
    /// Dead letters that were dropped, as there were more than are kept.
    pub dead_dropped: u64,
    /// Writes acknowledged.
    pub accepted: u64,
    /// Writes that their backends have taken.
    pub sent: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Writes that went through at once, as the journal could not take them.
    pub through: u64,
    /// Writes refused, as the journal could not take them.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_asks_for_one_thing() {
        let order = |text: &str| serde_json::from_str::<PurgeOrder>(text).unwrap().purge();
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
        assert!(serde_json::from_str::<PurgeOrder>(r#"{"urls":["http://a/"]}"#).is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = |value| Header::shown(&http::header::CONTENT_TYPE, value);
        assert_eq!(shown(ShownValue::Redacted).value(), REDACTED);
        assert_eq!(shown(ShownValue::Text("text/plain")).value(), "text/plain");
        assert_eq!(shown(ShownValue::Bytes(3)).value(), "(3 bytes)");
    }
}
