//! A write that must not overtake what is pending for its URI: it waits for its turn, and is forwarded then.

use std::pin::pin;
use std::sync::Arc;

use policy::cache::key::Target;
use policy::cache::overlap::Writer;

use super::invalidate;
use super::invalidation::{Outgoing, line};
use super::way::Way;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::upstream::send::UpstreamRequest;
use crate::write_queue::WriteQueue;
use crate::write_queue::enqueue::FOREBAY_WRITE;

/// Waits until all that is pending for the URI has gone out, and forwards the write then.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub(super) async fn forward(
    way: &Way<'_>,
    desk: &Arc<WriteQueue>,
    ex: &mut Exchange,
    mut draft: UpstreamRequest,
    target: &Target<'static>,
) -> Result<Answer, ProxyError> {
    way.site.counters.writes_through.up();
    draft.headers.drop_named(&FOREBAY_WRITE);
    let limit = way.onward.group.shared.plan.timeouts.request;
    let line = line(way.caching, target);
    let turn = {
        let waiting = pin!(desk.wait_turn(line.bytes()));
        ex.stream.deadline.wait(ex.started.mono + limit, waiting).await
    };
    let Ok(turn) = turn else { return Err(ProxyError::WaitedInVain) };
    let outgoing = Outgoing { draft: &draft, target, writer: Writer::Client };
    let answered = invalidate::forward(way.site, way.onward, ex, outgoing).await;
    drop(turn);
    let mut answer = answered?;
    answer.fields.set(&FOREBAY_WRITE, "through");
    way.caching.hide_tags(&mut answer.fields);
    Ok(answer)
}
