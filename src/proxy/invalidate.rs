//! A write on its way to the backend: forwarded, and what it has made void is invalidated.

use policy::cache::invalidation::{self, invalidated};

use super::invalidation::{Outgoing, Underway, ended, invalidate_target};
use super::target::RouteTarget;
use super::worker_state::WorkerState;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};

/// Forwards a request, and forgets what it has made void (RFC 9111 §4.4).
pub(super) async fn forward(
    site: &WorkerState,
    onward: &RouteTarget,
    ex: &mut Exchange,
    outgoing: Outgoing<'_>,
) -> Result<Answer, ProxyError> {
    let Outgoing { draft, target, writer: _ } = outgoing;
    let method = draft.method.clone();
    if invalidation::is_safe(&method) {
        return onward.forward(ex, draft).await;
    }
    let underway = Underway::begin(site, outgoing);
    let answered = onward.forward(ex, draft).await;
    let is_success = answered.as_ref().is_ok_and(|answer| answer.status.is_success());
    underway.end(ended(&answered, ex), is_success, |_is_alone| match &answered {
        Ok(answer) => {
            for target in invalidated(&method, target, answer.status, &answer.fields) {
                invalidate_target(site, &target);
            }
        }
        Err(fault) if fault.leaves_doubt() => invalidate_target(site, target),
        Err(_) => {}
    });
    answered
}
