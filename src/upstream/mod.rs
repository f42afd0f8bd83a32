//! The way to a backend and back: pick, connect, send, judge, and again if need be.
//!
//! `forwarding::Forwarding` owns the order of things. A backend has one endpoint, or one for each address of its name. Which there are
//! is kept by `shared::SharedUpstream` and how they stand by `standing::Standing`, shared by all workers; connections and
//! balancers live in `local::LocalUpstream`, one a worker.

mod acquire;
pub(crate) mod client;
mod client_pools;
pub(crate) mod endpoint;
pub(crate) mod endpoints;
pub(crate) mod forwarding;
pub(crate) mod health_history;
pub(crate) mod local;
mod pieces;
pub(crate) mod place;
pub(crate) mod probe;
pub(crate) mod queue;
pub(crate) mod reply;
pub mod resolve;
pub mod resolver;
pub(crate) mod select;
pub(crate) mod send;
pub(crate) mod shared;
pub(crate) mod standing;
pub(crate) mod transport;
pub(crate) mod tunnel;
pub(crate) mod upload;
mod verdict;

use std::future::poll_fn;
use std::rc::Rc;

use self::forwarding::Forwarding;
use self::local::LocalUpstream;
use self::send::UpstreamRequest;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};

/// Sends a request to the upstream, and makes the answer of what comes back.
///
/// # Errors
/// The fault of the last try, when no other may be made.
pub async fn forward(
    group: &Rc<LocalUpstream>,
    ex: &mut Exchange,
    draft: &UpstreamRequest,
) -> Result<Answer, ProxyError> {
    let mut forwarding = Forwarding::begin(group, ex, draft);
    poll_fn(|cx| forwarding.poll(cx, ex, draft)).await
}
