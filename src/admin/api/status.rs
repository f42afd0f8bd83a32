//! The JSON of the proxy's state: the process, its routes, its upstreams and their endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The response of `GET /api/v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The version of forebay.
    pub version: String,
    /// `starting`, `ready` or `draining`.
    pub status: String,
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Worker threads.
    pub workers: usize,
    /// The last reload; `null`: there has been none.
    pub reload: Option<Reload>,
    /// Open client connections.
    pub connections: u64,
    /// Requests in flight.
    pub requests_in_flight: u64,
    /// Requests that wait in an upstream's queue.
    pub requests_queued: u64,
    /// Open connections to backends, idle ones included.
    pub backend_connections: u64,
    /// The requests of all routes in about the last minute.
    pub minute: Period,
    /// The requests of all routes in about the last 15 minutes.
    pub quarter: Period,
    /// How many endpoints get requests.
    pub endpoints_up: usize,
    /// How many endpoints there are.
    pub endpoints: usize,
    /// The cache.
    pub cache: CacheState,
    /// The journal of queued writes; `null` without `server.state_dir`.
    pub journal: Option<JournalState>,
}

/// The memory of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheState {
    /// Keys with a stored response.
    pub keys: u64,
    /// The memory that it uses.
    pub bytes: u64,
    /// The limit of that memory.
    pub bytes_max: u64,
}

/// Writes that were acknowledged and have not reached their backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalState {
    /// Writes that are still to be sent.
    pub pending: u64,
    /// The age of the oldest of them.
    pub oldest_ms: u64,
    /// Dead letters: writes that the backend refused, or that failed too often.
    pub dead: u64,
}

/// The response of `GET /api/v1/history`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The last 15 minutes in slots of 10 seconds, oldest first.
    pub slots: Vec<Slot>,
}

/// The requests of all routes in one slot of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// When the slot ended.
    pub at_unix_ms: u64,
    /// How long it lasted.
    pub seconds: f64,
    /// Requests that ended in it.
    pub requests: u64,
    /// Those of them with a status of 5xx.
    pub errors: u64,
    /// Requests on caching routes that the cache answered, fresh or stale.
    pub cache_hits: u64,
    /// Requests on caching routes.
    pub cache_requests: u64,
    /// Half of the requests took at most as long; `null`: there were none.
    pub p50_ms: Option<f64>,
    /// 95 % of the requests took at most as long.
    pub p95_ms: Option<f64>,
    /// 99 % of the requests took at most as long.
    pub p99_ms: Option<f64>,
}

/// A reload of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Whether the new configuration is in force.
    pub succeeded: bool,
    /// What has changed, or why nothing has.
    pub message: String,
}

/// The requests of a period that ends now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// The length of the period, in seconds.
    pub seconds: f64,
    /// Requests.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// Requests a second.
    pub rate: f64,
    /// The median duration, in milliseconds; `null`: there were no requests.
    pub p50_ms: Option<f64>,
    /// The 95th percentile of the duration, in milliseconds.
    pub p95_ms: Option<f64>,
    /// The 99th percentile of the duration, in milliseconds.
    pub p99_ms: Option<f64>,
}

/// The response of `GET /api/v1/upstreams`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Upstreams {
    /// All upstreams, in file order.
    pub upstreams: Vec<Upstream>,
}

/// An upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Its `balance`, as in the file.
    pub balance: String,
    /// Its endpoints: one for each backend, or for each address of its name.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The backend's URL.
    pub backend: String,
    /// Its address; `null` if the URL contains it.
    pub address: Option<String>,
    /// Whether it gets requests.
    pub up: bool,
    /// Why it gets none: `down`, `unreachable`, `ejected` or `drained`. Several can hold.
    pub reasons: Vec<String>,
    /// Used only for requests that no other endpoint can take.
    pub backup: bool,
    /// Its weight, as in the file.
    pub weight: u32,
    /// The most requests in flight; `null`: no limit.
    pub max_in_flight: Option<u32>,
    /// Requests in flight.
    pub requests_in_flight: u64,
    /// Requests sent since the start, retries included.
    pub requests: u64,
    /// Failures since the start, by kind; kinds without a failure are left out.
    pub failures: BTreeMap<String, u64>,
    /// Its requests in about the last minute. Durations are measured until the response's head.
    pub minute: Period,
    /// The same in about the last 15 minutes.
    pub quarter: Period,
    /// The last changes of its health, newest first.
    pub history: Vec<HealthChange>,
}

/// A change of an endpoint's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChange {
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// `down`, `up`, `unreachable`, `reachable`, `ejected`, `returned`, `drained` or `readied`.
    pub event: String,
    /// What caused it.
    pub reason: String,
}

/// The body of `POST /api/v1/upstreams/{upstream}/drain` and `/ready`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointOrder {
    /// The backend's URL, as the list of upstreams has it.
    pub backend: String,
    /// One address of its name; missing: all addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The name of the person or program that gives the order, for the event log and the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The response of `GET /api/v1/routes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// All routes, in file order.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// The upstreams that it forwards to; empty for a redirect or a fixed response.
    pub upstreams: Vec<String>,
    /// Requests since the start.
    pub requests: u64,
    /// How many of them had a status of 5xx.
    pub errors: u64,
    /// Bytes of response bodies since the start.
    pub bytes_sent: u64,
    /// Its requests by result of the cache since the start; `null`: it does not cache.
    pub cache: Option<BTreeMap<String, u64>>,
    /// Its requests in about the last minute. Durations are measured until the end of the response.
    pub minute: Period,
    /// The same in about the last 15 minutes.
    pub quarter: Period,
}
