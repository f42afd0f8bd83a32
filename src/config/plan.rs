//! What a checked configuration says, ready to run: immutable, every name resolved, every default filled in.
//!
//! Made by `check`, read by everyone. Nothing here is learnt at run time; that lives in the world.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use policy::endpoints::Family;
use policy::events;
use policy::message::target;
use policy::route::Table;
use policy::route::template::Template;

use super::settings::Settings;

mod admin;
mod cache;
mod listener;
mod log;
mod rollout;

pub use super::keys::server::{HalfClose, MergeSlashes, Server};
pub use admin::{Admin, AdminAddress, Token};
pub use cache::{Cache, CacheMode, Durability, OnDiskError, RouteCache, WriteBack, WriteRetry};
pub use listener::{ListenAddress, Listener};
pub use log::{AccessLog, Level, Log, LogFormat, LogPart, LogTarget, Variable};
pub use rollout::{Canary, Compare, Mirror, SameSite, Side, Split, Sticky, StickyCookie, Webhook};

/// One whole configuration.
#[derive(Debug)]
pub struct Plan {
    /// Where clients connect, in file order; each address is there once.
    pub listeners: Vec<Listener>,
    /// Limits and time-outs towards clients.
    pub server: Server,
    /// What is logged, and how.
    pub log: Log,
    /// The cache that all caching routes share.
    pub cache: Cache,
    /// Where people and programs ask and direct it; `None`: nowhere.
    pub admin: Option<Admin>,
    /// `[[invalidate]]`: what events make the cache forget, in file order.
    pub invalidate: Vec<events::Rule>,
    /// The groups of backends; a route's [`Action::Forward`] is an index into it.
    pub upstreams: Vec<Upstream>,
    /// The routes, in file order; [`Plan::table`] answers with an index into it.
    pub routes: Vec<Route>,
    /// Finds the route of a request.
    pub table: Table,
    /// What the file says key by key, to compare it with another.
    pub settings: Settings,
}

impl Plan {
    /// The path that routes match for a path in normal form.
    #[must_use]
    pub fn match_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.server.merge_slashes {
            MergeSlashes::Match | MergeSlashes::Forward => target::merged(path),
            MergeSlashes::Off => Cow::Borrowed(path),
        }
    }

    /// The path that the cache's keys hold for a path in normal form.
    #[must_use]
    pub fn key_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.server.merge_slashes {
            MergeSlashes::Forward => target::merged(path),
            MergeSlashes::Match | MergeSlashes::Off => Cow::Borrowed(path),
        }
    }
}

/// `[[upstream]]`: a named group of backends that can stand in for one another.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name; for backends given in a route, the route's name.
    pub name: Arc<str>,
    /// How the next backend is chosen.
    pub balance: Balance,
    /// The backends, in file order; at least one.
    pub backends: Vec<Backend>,
    /// Active checks; `None`: none.
    pub health: Option<Health>,
    /// Passive ejection.
    pub ejection: Ejection,
    /// Repeating failed requests.
    pub retry: Retry,
    /// Time-outs towards backends.
    pub timeouts: Timeouts,
    /// Where requests wait when no backend can take them; `None`: they don't.
    pub queue: Option<Queue>,
    /// A backend that comes back gets its full share after this long; zero: at once.
    pub slow_start: Duration,
    /// Which `Host` the backends see.
    pub host: HostHeader,
    /// How often backend names are resolved anew.
    pub resolve_interval: Duration,
    /// Which addresses of a name are used.
    pub address_family: Family,
    /// Unused connections kept, for each worker and endpoint.
    pub pool_max: usize,
    /// The most fields of a response head.
    pub response_fields_max: usize,
}

/// How the next backend is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// One after the other in proportion to weight, smoothly.
    Weighted,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// By the client's address.
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

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// How logs and state name it: its URL in one normal form. Unique within the upstream.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// Its authority, for `Host` when the upstream says `host = "backend"` and for checks.
    pub authority: HeaderValue,
    /// The share of each of its addresses; 1 unless given.
    pub weight: u32,
    /// The most requests in flight, for each of its addresses, all workers together; `None`: no limit.
    pub max_in_flight: Option<u32>,
    /// Used only for requests that no other backend can take.
    pub backup: bool,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A name that DNS knows, and a port.
    Name {
        /// The host name, in lower case.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// `[upstream.health]`: active checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// From the end of one check to the start of the next, give or take a tenth.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Passed checks in a row that make a backend usable again.
    pub rise: u32,
    /// Failed checks in a row that make it unusable.
    pub fall: u32,
}

/// What an active check asks.
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
        /// A text that the first 64 KiB of the body must hold; `None`: the body is not looked at.
        body: Option<String>,
    },
    /// Whether a connection can be opened.
    Tcp,
}

/// A set of status codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusRanges(pub Vec<std::ops::RangeInclusive<u16>>);

impl fmt::Display for StatusRanges {
    /// As the file says it: `200-299, 304`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl StatusRanges {
    /// Whether the set holds this status.
    #[must_use]
    pub fn holds(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

/// `[upstream.ejection]`: taking a backend out for what real traffic shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row that eject; 0: never.
    pub consecutive_failures: u32,
    /// Which statuses count as failures.
    pub statuses: StatusRanges,
    /// How long the first ejection lasts; doubles with each that follows.
    pub base_time: Duration,
    /// The longest ejection.
    pub max_time: Duration,
    /// The most backends ejected at once, in percent of the upstream's (one may always be, unless it is alone).
    pub percent_max: u32,
}

/// `[upstream.retry]`: repeating failed requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further tries after the first; 0: none.
    pub attempts: u32,
    /// Statuses that count as failed tries.
    pub statuses: StatusRanges,
    /// Retries, in percent of the requests of the last 10 s.
    pub budget_percent: u32,
    /// Retries a second that are always allowed.
    pub budget_floor: u32,
    /// The longest request body kept for repeating, in bytes.
    pub body_bytes_max: usize,
}

/// `[upstream.timeouts]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening a connection.
    pub connect: Duration,
    /// From the end of what was sent to the response head, for each try.
    pub response_head: Duration,
    /// Between two pieces of a response body.
    pub body_idle: Duration,
    /// How long an unused connection is kept.
    pub pool_idle: Duration,
    /// From a request's head to the beginning of its last try, waiting in the queue included.
    pub request: Duration,
    /// How long a connection that has switched protocols may be silent.
    pub tunnel_idle: Duration,
}

/// `queue`: where requests wait when no backend can take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The most requests waiting, all workers together.
    pub length: usize,
    /// The longest wait.
    pub wait_max: Duration,
}

/// Which `Host` a backend sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    Client,
    /// The backend's own authority.
    Backend,
}

/// `[[route]]`: what is done with the requests that match it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name; for a route without one, its path.
    pub name: Arc<str>,
    /// What is done.
    pub action: Action,
    /// How it caches; `None`: it does not.
    pub cache: Option<Arc<RouteCache>>,
    /// Where copies of its requests go; `None`: nowhere.
    pub mirror: Option<Arc<Mirror>>,
    /// Whether it asks for more than a host and a path: then its answers are its own, whatever the URI.
    pub is_conditional: bool,
    /// Taken off the front of the path (whole segments) before forwarding.
    pub strip_prefix: Option<String>,
    /// Put in front of the path before forwarding, after `strip_prefix`.
    pub add_prefix: Option<String>,
    /// The path and query that backends see, instead of those.
    pub rewrite: Option<Template>,
    /// Changes to the request before forwarding.
    pub request_headers: Edits,
    /// Changes to the response before it goes to the client.
    pub response_headers: Edits,
}

/// Changes to a header section: removals first, then what is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Fields taken away.
    pub remove: Vec<HeaderName>,
    /// Fields that have just this value afterwards.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

impl Edits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward to the upstream with this index in [`Plan::upstreams`].
    Forward(usize),
    /// Forward to one of several upstreams.
    Split(Arc<Split>),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer with a fixed response.
    Respond(Respond),
}

/// `redirect = { to = "https://{host}{path}{query}", status = 308 }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The `Location`.
    pub to: Template,
}

/// `respond = { status = 200, content_type = "text/plain", body = "…" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// Any final status.
    pub status: StatusCode,
    /// The `Content-Type`; `None`: no such field.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}
