//! A write on its way to the backend: forwarded, and what it has made void is forgotten.

use policy::cache::forget::{self, forgotten};

use super::invalidation::{Outgoing, Underway, ended, forget_target};
use super::onward::Onward;
use super::site::Site;
use crate::exchange::fault::Fault;
use crate::exchange::{Answer, Exchange};

/// Forwards a request, and forgets what it has made void (RFC 9111 §4.4).
pub(super) async fn forward(
    site: &Site,
    onward: &Onward,
    ex: &mut Exchange,
    outgoing: Outgoing<'_>,
) -> Result<Answer, Fault> {
    let Outgoing { draft, target, writer: _ } = outgoing;
    let method = draft.method.clone();
    if forget::is_safe(&method) {
        return onward.forward(ex, draft).await;
    }
    let underway = Underway::begin(site, outgoing);
    let answered = onward.forward(ex, draft).await;
    let is_success = answered.as_ref().is_ok_and(|answer| answer.status.is_success());
    underway.end(ended(&answered, ex), is_success, |_is_alone| match &answered {
        Ok(answer) => {
            for target in forgotten(&method, target, answer.status, &answer.fields) {
                forget_target(site, &target);
            }
        }
        Err(fault) if fault.leaves_doubt() => forget_target(site, target),
        Err(_) => {}
    });
    answered
}
