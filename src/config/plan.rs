//! What a checked configuration says, ready to run: immutable, every name resolved, every default filled in.
//!
//! Made by `check`, read by everyone. Nothing here is learnt at run time; that lives in the world.

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
pub use super::keys::upstream_tls::UpstreamTls;
pub use super::keys::write_back::{Durability, OnDiskError, WriteBack, WriteRetry};
pub use cache::{CacheMode, RouteCache};
pub use rollout::{Canary, Compare, Mirror, Side, Split, Sticky, Webhook};

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
    /// The prefix that forebay adds to the path before forwarding, after `strip_prefix`.
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
