//! The admin API over HTTP/1.1: health, metrics, purges, events, the journal, splits, canaries and mirrors.
//!
//! This folder has the listener, access control, limits and JSON. What an endpoint reports or changes comes through one
//! trait, [`Service`], so that nothing here knows the cache or the journal. It runs on the control thread's runtime,
//! apart from the workers.

use std::pin::Pin;

use message::Fields;

pub mod api;
mod guard;
mod listener;
mod metrics;
mod page;
mod purge_url;
mod routes;

pub use guard::REQUEST_BYTES_MAX;
pub use listener::{OpenError, Opened, open};
pub use purge_url::{BadPurgeUrl, PurgeUrl};
pub use routes::endpoints;

pub use crate::config::plan::{Admin as Settings, AdminAddress as Listen, Token};
pub use policy::canary::machine::CanaryCommand;

/// How ready the proxy is for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does not accept connections yet.
    Starting,
    /// It accepts connections.
    Ready,
    /// It drains: requests in flight finish.
    Draining,
}

/// Which stored responses a purge invalidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// All responses of one URL.
    Url(PurgeUrl),
    /// All responses of this host whose path begins with the URL's path. The URL's query is ignored.
    Prefix(PurgeUrl),
    /// All responses with one of these tags; the list is not empty.
    Tags(Vec<Box<str>>),
    /// All responses.
    All,
}

/// Which entries of the journal to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalQuery {
    /// Only writes in this state; `None`: all.
    pub state: Option<api::State>,
    /// The most entries; at least 1.
    pub limit: usize,
    /// Only writes with a higher sequence number.
    pub after: Option<u64>,
}

/// An error response of the API: a status, and a message without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// A status of 4xx or 5xx.
    pub status: http::StatusCode,
    /// The cause, in lower case without a full stop.
    pub message: String,
}

impl ApiError {
    /// An error with this status and message.
    #[must_use]
    pub fn new(status: http::StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// The result of a purge or an event. All of it is invalidated already; the sweep only counts the rest.
pub struct Invalidated {
    /// How many responses were invalidated by URL.
    pub counted: u64,
    /// The bans by prefix, tag or of everything; `None`: there are none.
    pub sweep: Option<Sweep>,
}

/// Bans whose sweep is not over yet.
pub struct Sweep {
    /// The invalidation epoch of the last ban.
    pub epoch: u64,
    /// Resolves when the sweep is over, to the number of responses that the bans matched.
    pub touched: Pin<Box<dyn Future<Output = u64> + Send>>,
}

/// A result that may have to wait for the disk.
pub type ApiFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// What the endpoints of the API report and change.
///
/// [`Service::purge`] and [`Service::event`] may take long, and are called on a blocking thread. All other functions
/// are called on the control thread.
pub trait Service: Send + Sync {
    /// The readiness for clients, for `/ready`.
    fn readiness(&self) -> Readiness;

    /// The values of `/metrics`.
    fn metrics(&self) -> api::Metrics;

    /// The state of the process and the load of all routes.
    fn overview(&self) -> api::status::Overview;

    /// The requests of the last 15 minutes, in slots.
    fn history(&self) -> api::status::History;

    /// Every upstream with its endpoints, in file order.
    fn upstreams(&self) -> Vec<api::status::Upstream>;

    /// Drains an endpoint (`drains`): it gets no new requests. Otherwise re-enables it.
    ///
    /// # Errors
    /// When there is no such upstream or endpoint (404).
    fn set_drained(
        &self,
        upstream: &str,
        order: &api::status::EndpointOrder,
        drains: bool,
    ) -> Result<api::status::Upstream, ApiError>;

    /// Every route, in file order.
    fn routes(&self) -> Vec<api::status::Route>;

    /// Purges stored responses: removes them, or with `soft` makes them stale.
    ///
    /// # Errors
    /// When the purge is not possible.
    fn purge(&self, what: &Purge, soft: bool) -> Result<Invalidated, ApiError>;

    /// Parses the event of a request, and purges what the rules of `[[invalidate]]` say.
    ///
    /// # Errors
    /// When the event can't be parsed, or lacks a value that a rule needs (400, 413, 415, 422); then nothing has
    /// changed.
    fn event(&self, fields: &Fields, body: &[u8]) -> Result<Invalidated, ApiError>;

    /// Lists entries of the journal, in the order of their sequence numbers.
    ///
    /// # Errors
    /// When there is no journal (404).
    fn journal(&self, query: JournalQuery) -> Result<api::Page, ApiError>;

    /// One write of the journal, with its headers.
    ///
    /// # Errors
    /// When there is no journal, or no such write in it (404).
    fn write(&self, seq: u64) -> Result<api::Details, ApiError>;

    /// Makes a dead letter pending again.
    ///
    /// # Errors
    /// No such write (404), or not a dead letter (409).
    fn retry(&self, seq: u64) -> ApiFuture<'_, ()>;

    /// Deletes a dead letter.
    ///
    /// # Errors
    /// No such write (404), or not a dead letter (409).
    fn discard(&self, seq: u64) -> ApiFuture<'_, ()>;

    /// The certificates of all listeners.
    fn certificates(&self) -> Vec<api::certificates::Certificate>;

    /// Every split, in file order.
    fn splits(&self) -> Vec<api::rollout::Split>;

    /// Overrides the weights of a route's split.
    ///
    /// # Errors
    /// When the route has no split (404), or the weights are invalid (422).
    fn set_split(&self, route: &str, order: &api::rollout::WeightsRequest) -> Result<api::rollout::Split, ApiError>;

    /// Sets the weights of a route's split back to those of the file.
    ///
    /// # Errors
    /// When the route has no split (404).
    fn reset_split(&self, route: &str, by: Option<&str>) -> Result<api::rollout::Split, ApiError>;

    /// Every canary, in file order.
    fn canaries(&self) -> Vec<api::rollout::Canary>;

    /// Applies an operator's order to a route's canary.
    ///
    /// # Errors
    /// When the route has no canary (404), or its phase does not allow it (409).
    fn command_canary(
        &self,
        route: &str,
        command: CanaryCommand,
        by: Option<&str>,
    ) -> Result<api::rollout::Canary, ApiError>;

    /// Every mirror, in file order.
    fn mirrors(&self) -> Vec<api::rollout::Mirror>;

    /// Resets the counts and samples of a mirror's comparison.
    ///
    /// # Errors
    /// When the route has no mirror that compares (404).
    fn reset_mirror(&self, route: &str) -> Result<api::rollout::Mirror, ApiError>;

    /// Begins to send all pending writes at once, without waiting for their flush interval. Returns how many are
    /// pending.
    ///
    /// # Errors
    /// When there is no journal (404).
    fn flush(&self) -> ApiFuture<'_, u64>;
}
