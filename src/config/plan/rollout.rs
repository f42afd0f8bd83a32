//! The split of a route, its canary, and its mirror.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use policy::canary::rules::Rules;
use policy::compare;
use policy::route::split::{Share, Shares};

use super::{StickyCookie, Upstream};

/// `split`: shares the requests of a route among several upstreams.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Its sides, in file order; at least two, all of different upstreams.
    pub sides: Vec<Side>,
    /// The shares of the file.
    pub shares: Shares,
    /// What keeps a client on its side.
    pub sticky: Sticky,
    /// The request field by which a client can name a side.
    pub override_header: Option<HeaderName>,
    /// The response field with the side that answered, and what decided.
    pub side_header: Option<HeaderName>,
    /// Whether a stored response of one side may be served for another.
    pub shares_cache: bool,
    /// The canary, which moves the shares automatically; `None`: there is none.
    pub canary: Option<Canary>,
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The upstream's index in [`super::Plan::upstreams`].
    pub upstream: usize,
    /// The upstream's name, which identifies the side in logs, in state and in the API.
    pub name: Arc<str>,
}

/// `sticky`: what identifies a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Sticky {
    /// Nothing: each request is assigned by chance.
    None,
    /// A cookie that forebay sets.
    Cookie(StickyCookie),
    /// The client's address; of IPv6 the first 64 bits.
    ClientIp,
    /// A request field.
    Header(HeaderName),
    /// A cookie of the application.
    TheirCookie(String),
}

/// `[route.canary]`: moves the shares of a split automatically.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The side of the canary, an index into [`Split::sides`].
    pub side: usize,
    /// The steps, and the limits for its errors and latency.
    pub rules: Rules,
    /// The webhook that gets every change; `None`: there is none.
    pub webhook: Option<Arc<Webhook>>,
}

/// `webhook`: the receiver of an HTTP POST for each change.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// The receiver, as a separate upstream with one backend.
    pub upstream: Upstream,
    /// Path and query.
    pub target: String,
}

/// `[route.mirror]`: sends copies of requests to another upstream. Its responses reach no client.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// The upstream that gets the copies, an index into [`super::Plan::upstreams`].
    pub upstream: usize,
    /// The share of requests that are copied.
    pub share: Share,
    /// The methods that are copied.
    pub methods: Vec<Method>,
    /// The longest body that is copied or compared, in bytes.
    pub body_bytes_max: usize,
    /// The most copies in flight, all workers together; further ones are dropped.
    pub in_flight_max: usize,
    /// The longest time of a copy, until the end of its response.
    pub timeout: Duration,
    /// How responses are compared; `None`: they are not.
    pub compare: Option<Compare>,
}

/// `compare`: what is compared, and how many samples are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// What is compared.
    pub rules: compare::rules::Rules,
    /// The upstream that gets a second copy, whose differences are noise; an index into [`super::Plan::upstreams`].
    pub noise_from: Option<usize>,
    /// How many samples are kept.
    pub samples_max: usize,
    /// Whether samples show values.
    pub sample_values: bool,
}
