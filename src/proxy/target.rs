//! Where a route's requests go on: its upstream, or one side of its split, who counts what comes back, and who gets copies.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use policy::message::grpc;

use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::rollout::mirror::{Mirror, Sampled};
use crate::telemetry::target_stats::TargetStats;
use crate::upstream::forwarding::Forwarding;
use crate::upstream::local::LocalUpstream;
use crate::upstream::send::UpstreamRequest;

/// Where a route's requests go on, as one worker has it.
#[derive(Clone, Debug)]
pub(crate) struct RouteTarget {
    /// The upstream.
    pub group: Rc<LocalUpstream>,
    /// Where its answers are counted; `None`: they need not be, as it is no side of a split.
    pub tally: Option<Arc<TargetStats>>,
    /// Gets copies; `None`: there is no mirror, or it is this upstream itself.
    pub mirror: Option<Arc<Mirror>>,
}

/// A request on its way from a route to a backend and back.
pub(crate) struct Forwarded {
    forwarding: Forwarding,
    /// To be copied when the answer begins.
    sampled: Option<Box<Sampled>>,
}

impl RouteTarget {
    /// Forwards a request.
    ///
    /// # Errors
    /// What the client is to be told instead of an answer.
    pub(crate) async fn forward(&self, ex: &mut Exchange, draft: &UpstreamRequest) -> Result<Answer, ProxyError> {
        let mut forwarded = self.begin(ex, draft);
        poll_fn(|cx| self.poll(cx, &mut forwarded, ex, draft)).await
    }

    /// Begins to forward a request.
    pub(crate) fn begin(&self, ex: &mut Exchange, draft: &UpstreamRequest) -> Forwarded {
        ex.tally.clone_from(&self.tally);
        let sampled = self.mirror.as_ref().and_then(|mirror| mirror.sample(draft, ex)).map(Box::new);
        Forwarded { forwarding: Forwarding::begin(&self.group, ex, draft), sampled }
    }

    /// Goes on with a request that was begun with these.
    ///
    /// # Errors
    /// What the client is to be told instead of an answer.
    pub(crate) fn poll(
        &self,
        cx: &mut Context<'_>,
        forwarded: &mut Forwarded,
        ex: &mut Exchange,
        draft: &UpstreamRequest,
    ) -> Poll<Result<Answer, ProxyError>> {
        let answered = ready!(forwarded.forwarding.poll(cx, ex, draft));
        if let Some(tally) = &self.tally {
            note(tally, &answered, ex);
        }
        Poll::Ready(match forwarded.sampled.take() {
            None => answered,
            Some(sampled) => answered.map(|answer| sampled.send(answer, ex)),
        })
    }
}

/// A body that breaks off is noted where it does.
fn note(tally: &TargetStats, answered: &Result<Answer, ProxyError>, ex: &Exchange) {
    match answered {
        Ok(answer) => {
            let call = ex.grpc.and_then(|_| grpc::Status::of_head(&answer.fields));
            let is_error = answer.status.is_server_error() || call.is_some_and(grpc::Status::is_server_error);
            tally.answered(ex.record.header_time.unwrap_or_default(), is_error);
        }
        Err(fault) if fault.status().is_server_error() => tally.unanswered(),
        Err(_) => {}
    }
}
