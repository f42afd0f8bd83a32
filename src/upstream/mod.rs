//! The way to a backend and back: pick, connect, send, judge, and again if need be.
//!
//! [`forward`] owns the order of things. A backend has one endpoint, or one for each address of its name. Which there are
//! is kept by `shared::SharedUpstream` and how they stand by `standing::Standing`, shared by all workers; connections and
//! balancers live in `local::LocalUpstream`, one a worker.

pub(crate) mod client;
pub(crate) mod endpoint;
pub(crate) mod endpoints;
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

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use policy::retry::{Progress, may_repeat};

use self::local::{LocalEndpoint, LocalUpstream};
use self::select::Lease;
use self::send::{Failure, Received, UpstreamRequest};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::access_record::{Outcome, Try};
use crate::telemetry::clock;
use crate::telemetry::endpoint_stats::FailureKind;

/// Sends a request to the upstream, and makes the answer of what comes back.
///
/// # Errors
/// The fault of the last try, when no other may be made.
pub async fn forward(
    group: &Rc<LocalUpstream>,
    ex: &mut Exchange,
    draft: &UpstreamRequest,
) -> Result<Answer, ProxyError> {
    let plan = &group.shared.plan;
    let mut tries = Tries { until: ex.started.mono + plan.timeouts.request, repeats: 0, tried: Vec::new() };
    group.budget.borrow_mut().request(ex.started);
    let mut claim = match select::claim_at_once(group, ex) {
        Some(claim) => claim,
        // Boxed, as is whatever else is seldom waited for: the room of a request is moved with it.
        None => Box::pin(select::line_up(group, ex, tries.until)).await?,
    };
    loop {
        ex.record.tries += 1;
        ex.record.backend = Some(Rc::clone(&claim.endpoint().backend));
        ex.record.address.clone_from(&claim.endpoint().address);
        let call = match send::attempt(&claim, draft, ex).await {
            Ok(call) => call,
            Err(failure) => {
                remember(ex, &claim, Outcome::ProxyError(failure.fault.cause().to_string()));
                tries.tried.push(Rc::clone(claim.endpoint()));
                // Given up before another is looked for.
                drop(claim);
                claim = Box::pin(tries.next(group, ex, draft, failure)).await?;
                continue;
            }
        };
        let status = call.head().status;
        ex.record.backend_status = Some(status);
        let instead =
            if plan.retry.statuses.holds(status) { tries.instead_of(&claim, status, ex, draft) } else { None };
        if instead.is_some() || !ex.record.history.is_empty() {
            remember(ex, &claim, Outcome::Status(status));
        }
        match instead {
            Some(other) => claim = other,
            None => return Ok(answer(Received { call, claim }, draft, ex)),
        }
    }
}

/// Notes what has become of the try that this claim was for.
fn remember(ex: &mut Exchange, claim: &Lease, outcome: Outcome) {
    let asked = claim.endpoint();
    let took = clock::mono().saturating_sub(claim.since());
    let (backend, address) = (Rc::clone(&asked.backend), asked.address.clone());
    ex.record.remember(Try { backend, address, outcome, took });
}

fn answer(received: Received, draft: &UpstreamRequest, ex: &Exchange) -> Answer {
    if received.call.head().status == StatusCode::SWITCHING_PROTOCOLS {
        tunnel::answer(received, ex)
    } else {
        reply::answer(received, draft, ex)
    }
}

/// What was tried for one request, and what may still be.
struct Tries {
    /// No try begins after this moment (monotonic time).
    until: Duration,
    /// How often the request was repeated after a backend may have seen it, or after everybody was asked in vain.
    repeats: u32,
    /// The endpoints that were asked.
    tried: Vec<Rc<LocalEndpoint>>,
}

impl Tries {
    /// A backend for another try after one that failed.
    ///
    /// # Errors
    /// The fault itself, when there may be no other try.
    async fn next(
        &mut self,
        group: &Rc<LocalUpstream>,
        ex: &Exchange,
        draft: &UpstreamRequest,
        failure: Failure,
    ) -> Result<Lease, ProxyError> {
        if !failure.fault.may_retry() || !self.may_go_on(group, draft, failure.progress) {
            return Err(failure.fault);
        }
        if failure.progress != Progress::Nothing {
            self.repeats += 1;
        }
        let now = clock::now();
        if let Some(claim) = select::claim(group, ex, &self.tried, now) {
            if !group.budget.borrow_mut().withdraw(now) {
                return Err(failure.fault);
            }
            group.counters.retries.up();
            return Ok(claim);
        }
        if group.shared.plan.queue.is_none() {
            return Err(failure.fault);
        }
        // Everybody was asked. The request waits until one of them is back: that multiplies no load, so the budget is
        // not asked.
        self.tried.clear();
        self.repeats += 1;
        select::claim_or_wait(group, ex, self.until).await
    }

    /// Another backend's place for a request whose answer, of this status, is one to try again for; if that may be.
    fn instead_of(
        &mut self,
        asked: &Lease,
        status: StatusCode,
        ex: &Exchange,
        draft: &UpstreamRequest,
    ) -> Option<Lease> {
        let group = asked.group();
        if !self.may_go_on(group, draft, Progress::Answered) {
            return None;
        }
        let now = clock::now();
        self.tried.push(Rc::clone(asked.endpoint()));
        let claim = select::claim(group, ex, &self.tried, now)?;
        if !group.budget.borrow_mut().withdraw(now) {
            return None;
        }
        self.repeats += 1;
        group.counters.retries.up();
        if group.shared.plan.ejection.statuses.holds(status) {
            asked.failed(now, FailureKind::Status, &format_args!("it answered {}", status.as_u16()));
        } else {
            asked.succeeded(now);
        }
        Some(claim)
    }

    fn may_go_on(&self, group: &LocalUpstream, draft: &UpstreamRequest, progress: Progress) -> bool {
        let attempts = group.shared.plan.retry.attempts;
        let left = if progress == Progress::Nothing {
            attempts > 0 && self.repeats <= attempts
        } else {
            self.repeats < attempts
        };
        left && clock::mono() < self.until && may_repeat(&draft.method, progress, draft.replay())
    }
}
