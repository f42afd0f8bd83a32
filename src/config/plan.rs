//! The Plan: a checked configuration with references resolved and defaults filled in. It is immutable.
//!
//! `check` builds it. State of the run time is not here, but in `shared_state`.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use policy::events;
use policy::message::target;
use policy::route::Table;
use policy::route::template::Template;

use super::settings::Settings;

mod cache;
mod listener;
mod rollout;

pub use super::grammar::StatusRanges;
pub use super::keys::acme::Acme;
pub use super::keys::admin::{Admin, AdminAddress};
pub use super::keys::backend::{Address, Backend};
pub use super::keys::cache::Cache;
pub use super::keys::listener::{ListenAddress, Listener, Protocols, ProxyProtocol};
pub use super::keys::log::{AccessLog, Level, Log, LogTarget};
pub use super::keys::log_format::{LogFormat, LogPart, Variable};
pub use super::keys::route::Respond;
pub use super::keys::server::{HalfClose, Http2, MergeSlashes, Server};
pub use super::keys::split::{SameSite, StickyCookie};
pub use super::keys::tls::{CertificateFiles, ClientAuth, Tls, TlsVersion, UnknownSni};
pub use super::keys::token::Token;
pub use super::keys::upstream::{
    Balance, Check, Ejection, HashKey, Health, HostHeader, Queue, Retry, Timeouts, Upstream,
};
pub use super::keys::upstream_http2::{Protocol, UpstreamHttp2};
pub use super::keys::upstream_tls::UpstreamTls;
pub use super::keys::write_back::{Durability, OnDiskError, WriteBack, WriteRetry};
pub use cache::{CacheMode, RouteCache};
pub use rollout::{Canary, Compare, Mirror, Side, Split, Sticky, Webhook};

/// One whole configuration.
#[derive(Debug)]
pub struct Plan {
    /// Where clients connect, in file order; each address is there once.
    pub listeners: Vec<Listener>,
    /// Certificates that renew themselves; `None`: there are none.
    pub acme: Option<Acme>,
    /// The index in [`Plan::routes`] of the route to the node that may know what this one does not of challenges.
    pub challenge_peer: Option<usize>,
    /// Limits and time-outs towards clients.
    pub server: Server,
    /// The access log and the event log.
    pub log: Log,
    /// The cache that all caching routes share.
    pub cache: Cache,
    /// The admin listener; `None`: there is none.
    pub admin: Option<Admin>,
    /// `[[invalidate]]`: what events invalidate in the cache, in file order.
    pub invalidate: Vec<events::EventRule>,
    /// The upstreams. [`Action::Forward`] holds an index into this list.
    pub upstreams: Vec<Upstream>,
    /// The routes, in file order. [`Plan::table`] returns an index into this list.
    pub routes: Vec<Route>,
    /// Finds the route of a request.
    pub table: Table,
    /// A digest of each key, to compare two files.
    pub settings: Settings,
}

impl Plan {
    /// The path that routes are matched with, for a path in normal form.
    #[must_use]
    pub fn match_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.server.merge_slashes {
            MergeSlashes::Match | MergeSlashes::Forward => target::merged(path),
            MergeSlashes::Off => Cow::Borrowed(path),
        }
    }

    /// The path in cache keys, for a path in normal form.
    #[must_use]
    pub fn key_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.server.merge_slashes {
            MergeSlashes::Forward => target::merged(path),
            MergeSlashes::Match | MergeSlashes::Off => Cow::Borrowed(path),
        }
    }
}

/// `[[route]]`: what forebay does with the requests that match.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name; for a route without one, its path.
    pub name: Arc<str>,
    /// What the route does with a request.
    pub action: Action,
    /// How the route caches; `None`: it does not.
    pub cache: Option<Arc<RouteCache>>,
    /// The mirror; `None`: there is none.
    pub mirror: Option<Arc<Mirror>>,
    /// Whether it has conditions beside host and path. Then other routes may answer for the same URI, and its responses
    /// have separate cache keys.
    pub is_conditional: bool,
    /// The prefix that forebay removes from the path before forwarding, in whole segments.
    pub strip_prefix: Option<String>,
    /// The prefix that forebay adds to the path before forwarding, after `strip_prefix`.
    pub add_prefix: Option<String>,
    /// The path and query that backends see. It replaces `strip_prefix` and `add_prefix`.
    pub rewrite: Option<Template>,
    /// Changes to the request before forwarding.
    pub request_headers: Edits,
    /// Changes to the response before it goes to the client.
    pub response_headers: Edits,
}

/// Changes to a header section: removals first, then what is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Fields to remove.
    pub remove: Vec<HeaderName>,
    /// Fields to set, which replaces all their values.
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
