//! The admin listener: health, metrics, purges, events, and the journal, over HTTP/1.1 for people and programs nearby.
//!
//! What it tells and does comes through one trait, [`Service`]: this room knows the way in (sockets, who may ask, limits,
//! JSON), and nothing of cache or journal. It runs on the control thread's runtime, away from the traffic of clients.

use std::pin::Pin;

use message::Fields;

pub mod api;
mod guard;
mod listener;
mod metrics;
mod place;
mod routes;

pub use guard::REQUEST_BYTES_MAX;
pub use listener::{OpenError, Opened, open};
pub use place::{BadPlace, Place};
pub use routes::endpoints;

pub use crate::config::plan::{Admin as Settings, AdminAddress as Listen, Token};
pub use policy::canary::machine::Order;

/// How ready the proxy is for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does not listen yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It takes no new ones.
    Draining,
}

/// What to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// All that is stored for one URL.
    Url(Place),
    /// All whose path begins so, on this host. Its query means nothing.
    Prefix(Place),
    /// All that carries one of these tags; at least one.
    Tags(Vec<Box<str>>),
    /// Everything.
    All,
}

/// A part of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Only writes in this state; `None`: in any.
    pub state: Option<api::State>,
    /// At most so many, at least one.
    pub limit: usize,
    /// Only writes with a higher number.
    pub after: Option<u64>,
}

/// Why something is not done: a status, and a text for people that holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// A status of 4xx or 5xx.
    pub status: http::StatusCode,
    /// Why, in lower case without a full stop.
    pub message: String,
}

impl Refusal {
    /// A refusal with this status and text.
    #[must_use]
    pub fn new(status: http::StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// What a purge or an event has done. It holds; what is not counted yet, a sweep counts.
pub struct Done {
    /// How many responses it has touched at once.
    pub counted: u64,
    /// What it has banned.
    pub sweep: Option<Sweep>,
}

/// What is banned and waits for the sweep.
pub struct Sweep {
    /// The number of the last ban.
    pub epoch: u64,
    /// How many responses the bans have touched, when all is swept.
    pub touched: Pin<Box<dyn Future<Output = u64> + Send>>,
}

/// An answer that has to wait for the disk.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// What the listener tells of the proxy and has it do.
///
/// [`Service::purge`] and [`Service::event`] may take long: they are called on a thread that serves no requests. All other
/// functions are called on the control thread.
pub trait Service: Send + Sync {
    /// How ready it is for clients.
    fn readiness(&self) -> Readiness;

    /// The numbers of `/metrics`.
    fn facts(&self) -> api::Facts;

    /// Forgets (`soft`: makes stale) what is stored.
    ///
    /// # Errors
    /// When there is no such thing to purge.
    fn purge(&self, what: &Purge, soft: bool) -> Result<Done, Refusal>;

    /// Takes an event, as its request's fields and body tell it, and forgets what it makes void.
    ///
    /// # Errors
    /// When the event can't be read, or lacks what a rule needs (400, 422); then nothing has changed.
    fn event(&self, fields: &Fields, body: &[u8]) -> Result<Done, Refusal>;

    /// A part of the journal, in the order of numbers.
    ///
    /// # Errors
    /// When there is no journal (404).
    fn journal(&self, part: Part) -> Result<api::Page, Refusal>;

    /// One write of the journal.
    ///
    /// # Errors
    /// When there is no journal or no such write in it (404).
    fn write(&self, seq: u64) -> Result<api::Details, Refusal>;

    /// Makes a dead letter pending again.
    ///
    /// # Errors
    /// No such write (404), or not a dead letter (409).
    fn retry(&self, seq: u64) -> Pending<'_, ()>;

    /// Gives a dead letter up for good.
    ///
    /// # Errors
    /// No such write (404), or not a dead letter (409).
    fn discard(&self, seq: u64) -> Pending<'_, ()>;

    /// Every split, in file order.
    fn splits(&self) -> Vec<api::rollout::Split>;

    /// Gives the sides of a route's split other weights.
    ///
    /// # Errors
    /// When the route has no split (404), or the weights are none (422).
    fn set_split(&self, route: &str, order: &api::rollout::SplitOrder) -> Result<api::rollout::Split, Refusal>;

    /// Gives the sides of a route's split the file's weights again.
    ///
    /// # Errors
    /// When the route has no split (404).
    fn reset_split(&self, route: &str, by: Option<&str>) -> Result<api::rollout::Split, Refusal>;

    /// Every canary, in file order.
    fn canaries(&self) -> Vec<api::rollout::Canary>;

    /// Has a route's canary do something.
    ///
    /// # Errors
    /// When the route has no canary (404), or its phase does not allow it (409).
    fn direct(&self, route: &str, order: Order, by: Option<&str>) -> Result<api::rollout::Canary, Refusal>;

    /// Every mirror, in file order.
    fn mirrors(&self) -> Vec<api::rollout::Mirror>;

    /// Begins to count a mirror's comparisons anew.
    ///
    /// # Errors
    /// When the route has no mirror that compares (404).
    fn reset_mirror(&self, route: &str) -> Result<api::rollout::Mirror, Refusal>;

    /// Sends what is pending now, without waiting for its time. Returns when that has begun, with how much is pending.
    ///
    /// # Errors
    /// When there is no journal (404).
    fn flush(&self) -> Pending<'_, u64>;
}
