//! A split of a route's requests, its canary, and its mirror.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use policy::canary::rules::Rules;
use policy::compare;
use policy::route::split::{Share, Shares};

use super::{StickyCookie, Upstream};

/// `split`: which of several upstreams a request goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Its sides, in file order; at least two, all of different upstreams.
    pub sides: Vec<Side>,
    /// Their shares as the file says them.
    pub shares: Shares,
    /// Whether, and by what, a client stays on its side.
    pub sticky: Sticky,
    /// The request field that may name a side by hand.
    pub override_header: Option<HeaderName>,
    /// The response field that tells which side answered, and why that one.
    pub side_header: Option<HeaderName>,
    /// Whether what is stored of one side may be served for another.
    pub shares_cache: bool,
    /// Moves the shares by itself.
    pub canary: Option<Canary>,
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The upstream's index in [`super::Plan::upstreams`].
    pub upstream: usize,
    /// The upstream's name: how logs, state and people call the side.
    pub name: Arc<str>,
}

/// `sticky`: what a client is known by.
#[derive(Clone, Debug, PartialEq)]
pub enum Sticky {
    /// Nothing: each request is drawn anew.
    None,
    /// A cookie of ours.
    Cookie(StickyCookie),
    /// Its address; of IPv6 the first 64 bits.
    ClientIp,
    /// A request field.
    Header(HeaderName),
    /// A cookie of the application's.
    TheirCookie(String),
}

/// `[route.canary]`: moves the shares of a split by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The side that is tried, an index into [`Split::sides`].
    pub side: usize,
    /// What it goes by.
    pub rules: Rules,
    /// Who is told of every change.
    pub webhook: Option<Arc<Webhook>>,
}

/// `webhook`: where changes are told by an HTTP POST.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// The receiver, as an upstream of its own with one backend.
    pub upstream: Upstream,
    /// Path and query.
    pub target: String,
}

/// `[route.mirror]`: copies of requests go to another upstream; what it answers reaches no client.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// The upstream that gets them, an index into [`super::Plan::upstreams`].
    pub upstream: usize,
    /// How many requests are copied.
    pub share: Share,
    /// Which methods.
    pub methods: Vec<Method>,
    /// The longest body that is copied or compared, in bytes.
    pub body_bytes_max: usize,
    /// Copies under way at once, all workers together; over that they are dropped.
    pub in_flight_max: usize,
    /// How long a copy may take.
    pub timeout: Duration,
    /// Whether, and how, the answers are compared.
    pub compare: Option<Compare>,
}

/// `compare`: what is compared, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// What is compared.
    pub rules: compare::rules::Rules,
    /// The upstream that is asked a second time, to see what differs anyway; an index into [`super::Plan::upstreams`].
    pub noise_from: Option<usize>,
    /// How many samples are kept.
    pub samples_max: usize,
    /// Whether samples show values.
    pub sample_values: bool,
}
