//! Declares `[[upstream]]` and the tables in it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use policy::endpoints::Family;
use policy::proxy_protocol::Version as SendProxy;

use super::backend::{self, Backend, BackendKeys};
use super::upstream_http2::{Protocol, UpstreamHttp2};
use super::upstream_tls::UpstreamTls;
use super::{DAY, HOUR, MIB, MILLISECOND, SECOND, table, words};
use crate::config::document::Section;
use crate::config::grammar::{StatusRanges, is_token, name, status_ranges};
use crate::config::units;
use crate::config::value::{Value as _, Words as _};

table! {
    /// A named group of backends that serve the same requests.
    pub struct Upstream "[[upstream]]" => http2_is_spoken;

    /// The name that routes use.
    name: Arc<str> as Text = required("routes name their upstream: name = \"users\"") => own_name;
    /// How forebay chooses the next backend: `round-robin`, one after the other; `weighted`, the same in proportion to
    /// weight; `least-connections`, the fewest requests in flight (of more than 64, the least busy of 16 drawn);
    /// `ip-hash`, by the client's address; `random`, by chance; `two-choices`, the less busy of two drawn by chance;
    /// `peak-ewma`, the faster of two drawn by chance; `hash`, by consistent hash of `hash_key`.
    balance: Balance = "round-robin" => balance;
    /// What `balance = "hash"` hashes: `header:NAME`, `cookie:NAME`, `query:NAME`, `path` or `client-ip`.
    hash_key as Text;
    /// The backends: URLs, or tables as below; at least one that is not a backup.
    backends: Vec<Backend> as TablesOrTexts(BackendKeys::SECTION) = required("name at least one: backends = [\"http://10.0.0.1:8080\"]") => backends;
    /// The version of HTTP that the backends get. `http1`: HTTP/1.1. `h2`: HTTP/2, over plain connections with prior
    /// knowledge, over TLS by ALPN. `auto`: over TLS what the backend chooses by ALPN, else HTTP/1.1.
    protocol as Choice(&["http1", "h2", "auto"]) = "http1";
    /// A queue for requests that arrive while every backend is full or unusable. Left out: they don't wait.
    queue: Option<Queue>;
    /// A backend that comes back gets its full share after this long; 0 is at once.
    slow_start: Duration as Duration(Duration::ZERO, HOUR) = "0s";
    /// Which `Host` the backends see: the client's, or their own.
    host: HostHeader = "client";
    /// How often forebay resolves the names of backends again. Each address of a name is a separate endpoint.
    resolve_interval: Duration as Duration(SECOND, DAY) = "30s";
    /// Which addresses of a name forebay uses. `auto`: the IPv4 addresses if there are any, else the IPv6 addresses.
    /// `ipv4`, `ipv6`: those of one family. `both`: all of them. At most 64 a name.
    address_family: Family = "auto";
    /// Connections begin with a PROXY protocol header of this version, which holds the address of the client. Each then
    /// carries requests of one client connection only, and closes with it: there are about as many connections to backends
    /// as from clients. Left out: no header, and connections are shared.
    send_proxy: Option<SendProxy>;
    /// The most idle connections to keep, for each worker and address.
    pool_max: usize as Count(0, 100_000) = "4096";
    /// The most header fields that a response may have; the client gets 502 for a response with more.
    response_fields_max: usize as Count(1, 1_000) = "200";
    /// Active checks. Left out: none.
    health: Option<Health>;
    /// Ejects backends by the failures of real traffic.
    ejection: Ejection;
    /// Repeats failed requests on another backend.
    retry: Retry;
    /// Time-outs towards backends.
    timeouts: Timeouts;
    /// TLS towards backends.
    tls: UpstreamTls;
    /// HTTP/2 towards backends.
    http2: UpstreamHttp2;
}

words! {
    impl SendProxy {
        "v1" => Self::V1,
        "v2" => Self::V2,
    }
}

table! {
    /// A queue for requests that no backend can take.
    pub struct Queue "queue = { … }";

    /// The most waiting requests, all workers together.
    length: usize as Count(1, 100_000) = "100";
    /// The longest wait.
    wait_max: Duration as Duration(MILLISECOND, HOUR) = "1s";
}

table! {
    /// Active checks: forebay sends a request to each backend at regular intervals.
    pub struct Health "[upstream.health]";

    /// Whether a check sends an HTTP request, or only opens a connection.
    check "kind": Check as Choice(&["http", "tcp"]) = "http" => check;
    /// The path of the request.
    path as Text = "/";
    /// The method of the request.
    method as Choice(&["GET", "HEAD", "OPTIONS"]) = "GET";
    /// The `Host` of the request. Left out: the backend's own.
    host as Text;
    /// The time from the end of one check to the start of the next, plus or minus a tenth.
    interval: Duration as Duration(Duration::from_millis(10), DAY) = "5s";
    /// The longest time of a check; a check that takes longer has failed.
    timeout: Duration as Duration(MILLISECOND, HOUR) = "2s";
    /// Passed checks in a row that make a backend usable again.
    rise: u32 as Count(1, 1_000) = "2";
    /// Failed checks in a row that make a backend unusable.
    fall: u32 as Count(1, 1_000) = "3";
    /// Which statuses pass: `"200"` or `"200-299"`.
    status as Texts = "200-399";
    /// A text that the first 64 KiB of the body must contain. Left out: the check ignores the body.
    body as Text;
}

table! {
    /// Ejects backends by the failures of real traffic; a lone endpoint is never ejected.
    pub struct Ejection "[upstream.ejection]" => check_ejection_times;

    /// Failures in a row that eject a backend: no connection, a reset, a time-out, a body cut short, or one of
    /// `statuses`. 0 turns it off.
    consecutive_failures: u32 as Count(0, 1_000) = "5";
    /// Which statuses count as failures: `"503"` or `"500-599"`; `[]` for none.
    statuses: StatusRanges = "500-599";
    /// How long the first ejection lasts; each further one lasts twice as long.
    base_time: Duration as Duration(MILLISECOND, DAY) = "10s";
    /// The longest ejection.
    max_time: Duration as Duration(MILLISECOND, DAY) = "5m";
    /// The most backends that are ejected at once, in percent; one always may be.
    percent_max: u32 as Count(0, 100) = "50";
}

table! {
    /// Repeats failed requests on another backend, only those that are safe to repeat: no POST runs twice.
    pub struct Retry "[upstream.retry]";

    /// Further attempts after the first; 0 turns retries off.
    attempts: u32 as Count(0, 10) = "2";
    /// Statuses that count as failed attempts.
    statuses: StatusRanges as Counts(400, 599) = "502 503 504" => single_statuses;
    /// Values of `grpc-status` for which a gRPC call is repeated although the backend has answered: 14 is `UNAVAILABLE`. Only
    /// a response without messages counts. The calls must be safe to repeat.
    grpc_statuses: Vec<u8> as Counts(1, 16) => grpc_statuses;
    /// The most retries, in percent of the requests of the last 10 s.
    budget_percent: u32 as Count(0, 100) = "20";
    /// Retries a second that are always allowed.
    budget_floor: u32 as Count(0, 1_000_000) = "3";
    /// The longest request body that forebay retains for a retry; a request with a longer one is not repeated.
    body_bytes_max: usize as Size(0, 64 * MIB) = "64KiB";
}

table! {
    /// Time-outs towards backends.
    pub struct Timeouts "[upstream.timeouts]";

    /// The longest time to open a connection.
    connect: Duration as Duration(MILLISECOND, HOUR) = "2s";
    /// The longest time from the end of the request to the head of the response, for each attempt.
    response_head: Duration as Duration(MILLISECOND, DAY) = "30s";
    /// The longest time between two pieces of a response body.
    body_idle: Duration as Duration(MILLISECOND, DAY) = "60s";
    /// How long forebay keeps an idle connection; 0 keeps none.
    pool_idle: Duration as Duration(Duration::ZERO, DAY) = "60s";
    /// The longest time from a request's head to the beginning of its last attempt, waiting in the queue included: the
    /// one deadline of a request and its retries.
    request: Duration as Duration(MILLISECOND, DAY) = "90s";
    /// How long a connection that has switched protocols (for example a WebSocket) may be silent.
    tunnel_idle: Duration as Duration(SECOND, DAY) = "1h";
}

words! {
    /// The `Host` of requests to backends.
    pub enum HostHeader {
        /// The client's.
        Client = "client",
        /// The backend's own authority.
        Backend = "backend",
    }
}

words! {
    impl Family {
        "auto" => Self::Auto,
        "ipv4" => Self::V4,
        "ipv6" => Self::V6,
        "both" => Self::Both,
    }
}

/// How the next endpoint is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// One after the other in proportion to weight, smoothly.
    Weighted,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// By a hash of the client's address.
    IpHash,
    /// By chance, in proportion to weight.
    Random,
    /// The less busy of two drawn by chance.
    TwoChoices,
    /// The cheaper of two drawn by chance, by recent latency and requests in flight.
    PeakEwma,
    /// Consistent hash of a key of the request, with bounded load.
    Hash(HashKey),
}

/// What `balance = "hash"` hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A request header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The path.
    Path,
    /// The client's address.
    ClientIp,
}

words! {
    impl Balance {
        "round-robin" => Self::RoundRobin,
        "weighted" => Self::Weighted,
        "least-connections" => Self::LeastConnections,
        "ip-hash" => Self::IpHash,
        "random" => Self::Random,
        "two-choices" => Self::TwoChoices,
        "peak-ewma" => Self::PeakEwma,
        // A placeholder: `balance` replaces it by `hash_key`.
        "hash" => Self::Hash(HashKey::Path),
    }
}

/// The kind of an active check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// An HTTP request.
    Http {
        /// Its method.
        method: Method,
        /// Its path and query.
        path: String,
        /// Its `Host`; `None`: the backend's authority.
        host: Option<HeaderValue>,
        /// Which statuses pass.
        status: StatusRanges,
        /// A text that the first 64 KiB of the body must contain; `None`: the check ignores the body.
        body: Option<String>,
    },
    /// Opening a connection.
    Tcp,
}

impl Balance {
    /// Its word in the file.
    #[must_use]
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted",
            Self::LeastConnections => "least-connections",
            Self::IpHash => "ip-hash",
            Self::Random => "random",
            Self::TwoChoices => "two-choices",
            Self::PeakEwma => "peak-ewma",
            Self::Hash(_) => "hash",
        }
    }

    const fn uses_weights(&self) -> bool {
        match self {
            Self::Weighted | Self::LeastConnections | Self::Random | Self::Hash(_) => true,
            Self::RoundRobin | Self::IpHash | Self::TwoChoices | Self::PeakEwma => false,
        }
    }
}

fn own_name(section: &Section<'_>, key: &str) -> Arc<str> {
    section.text(key).map_or_else(|| Arc::from(""), |text| name(section, &text))
}

fn balance(section: &Section<'_>, key: &str) -> Balance {
    let word = Balance::choose(section, key);
    let hashes = matches!(word, Some(Balance::Hash(_)));
    if section.has("hash_key") && word.is_some() && !hashes {
        let hint = "add balance = \"hash\", or leave it out";
        section.report.add(section.at("hash_key"), "hash_key has no effect", hint);
    }
    if hashes {
        section.missing("hash_key", "balance = \"hash\" needs one: hash_key = \"header:x-user\"");
    }
    let hash_key = hash_key(section).filter(|_| hashes);
    hash_key.map(Balance::Hash).or(word).unwrap_or(Balance::RoundRobin)
}

fn hash_key(section: &Section<'_>) -> Option<HashKey> {
    let text = section.text("hash_key")?;
    let key = match text.value.split_once(':') {
        None if text.value == "path" => Some(HashKey::Path),
        None if text.value == "client-ip" => Some(HashKey::ClientIp),
        Some(("header", name)) => name.parse().ok().map(HashKey::Header),
        Some(("cookie", name)) if is_token(name) => Some(HashKey::Cookie(name.to_owned())),
        Some(("query", name)) if !name.is_empty() => Some(HashKey::Query(name.to_owned())),
        Some(_) | None => None,
    };
    if key.is_none() {
        let hint = "one of header:NAME, cookie:NAME, query:NAME, path, client-ip";
        section.report.add(text.span.clone(), format!("hash_key can't be {text}"), hint);
    }
    key
}

fn backends(section: &Section<'_>, key: &str) -> Vec<Backend> {
    let word = Balance::choose(section, "balance");
    let protocol = Protocol::read(section, "protocol");
    backend::all(section, key, word.is_none_or(|balance| balance.uses_weights()), protocol)
}

/// Settings of HTTP/2 are for backends that speak it.
fn http2_is_spoken(upstream: &Upstream, section: &Section<'_>) {
    let is_spoken = upstream.backends.iter().any(|backend| backend.protocol != Protocol::Http1);
    if section.has("http2") && !upstream.backends.is_empty() && !is_spoken {
        let hint = "add protocol = \"h2\" or \"auto\", or leave it out";
        section.report.warn(section.at("http2"), "http2 has no effect: every backend gets HTTP/1.1", hint);
    }
    if upstream.send_proxy.is_some() && is_spoken {
        let hint = "leave one out: a connection of HTTP/2 carries the requests of many clients";
        section.report.add(section.at("send_proxy"), "send_proxy and HTTP/2 to backends exclude each other", hint);
    }
}

fn check(section: &Section<'_>, key: &str) -> Check {
    let tcp = section.choice(key, &[("http", false), ("tcp", true)]).unwrap_or(false);
    let methods = [("GET", Method::GET), ("HEAD", Method::HEAD), ("OPTIONS", Method::OPTIONS)];
    let method = section.choice("method", &methods).unwrap_or(Method::GET);
    let body = section.text("body");
    if let Some(text) = body.as_ref().filter(|_| method == Method::HEAD) {
        section.report.add(text.span.clone(), "an answer to HEAD has no body", "use method = \"GET\"");
    }
    if section.is_empty_list("status") {
        let hint = "name the statuses that pass: status = [\"200-399\"]";
        section.report.add(section.at("status"), "status is empty: no check could pass", hint);
    }
    let (path, host) = (check_path(section), check_host(section));
    let status = status_ranges(section, "status");
    if !tcp {
        return Check::Http { method, path, host, status, body: body.map(|text| text.value) };
    }
    for name in ["path", "method", "host", "status", "body"].into_iter().filter(|name| section.has(name)) {
        let hint = "a tcp check just opens a connection: leave it out, or kind = \"http\"";
        section.report.add(section.at(name), format!("{name} has no effect"), hint);
    }
    Check::Tcp
}

fn check_path(section: &Section<'_>) -> String {
    let Some(text) = section.text("path") else { return "/".to_owned() };
    if !text.value.starts_with('/')
        || text.value.contains('#')
        || text.value.parse::<http::uri::PathAndQuery>().is_err()
    {
        section.report.add(text.span.clone(), format!("{text} is no path to check"), "write path = \"/healthz\"");
    }
    text.value
}

fn check_host(section: &Section<'_>) -> Option<HeaderValue> {
    let text = section.text("host")?;
    let authority = text.value.parse::<http::uri::Authority>().ok().filter(|_| !text.value.contains('@'));
    if authority.is_none() {
        section.report.add(text.span.clone(), format!("{text} is no host"), "write host = \"users.example.com\"");
    }
    HeaderValue::from_str(authority?.as_str()).ok()
}

/// Reports a `base_time` that is longer than `max_time`.
fn check_ejection_times(ejection: &Ejection, section: &Section<'_>) {
    let (base, max) = (ejection.base_time, ejection.max_time);
    if base > max {
        let key = if section.has("base_time") { "base_time" } else { "max_time" };
        let hint = format!("base_time is {}, max_time {}", units::duration_text(base), units::duration_text(max));
        section.report.add(section.at(key), "the first ejection would be longer than the longest", hint);
    }
}

fn grpc_statuses(section: &Section<'_>, key: &str) -> Vec<u8> {
    section.counts(key).into_iter().filter_map(|status| u8::try_from(status).ok()).collect()
}

fn single_statuses(section: &Section<'_>, key: &str) -> StatusRanges {
    let single = |status| u16::try_from(status).ok().map(|status| status..=status);
    StatusRanges(section.counts(key).into_iter().filter_map(single).collect())
}
