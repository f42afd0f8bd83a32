//! Where a route's requests go on: its upstream, or one side of its split, who counts what comes back, and who gets copies.

use std::rc::Rc;
use std::sync::Arc;

use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::rollout::mirror::Mirror;
use crate::telemetry::target_stats::TargetStats;
use crate::upstream;
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

impl RouteTarget {
    /// Forwards a request.
    ///
    /// # Errors
    /// What the client is to be told instead of an answer.
    pub(crate) async fn forward(&self, ex: &mut Exchange, draft: &UpstreamRequest) -> Result<Answer, ProxyError> {
        ex.tally.clone_from(&self.tally);
        match self.mirror.as_ref().and_then(|mirror| mirror.sample(draft, ex)) {
            None => self.counted(ex, draft).await,
            // Boxed: only a request that is copied has room for its copy.
            Some(sampled) => Box::pin(self.counted(ex, draft)).await.map(|answer| sampled.send(answer, ex)),
        }
    }

    async fn counted(&self, ex: &mut Exchange, draft: &UpstreamRequest) -> Result<Answer, ProxyError> {
        let answered = upstream::forward(&self.group, ex, draft).await;
        if let Some(tally) = &self.tally {
            note(tally, &answered, ex);
        }
        answered
    }
}

/// A body that breaks off is noted where it does.
fn note(tally: &TargetStats, answered: &Result<Answer, ProxyError>, ex: &Exchange) {
    match answered {
        Ok(answer) => tally.answered(ex.record.header_time.unwrap_or_default(), answer.status.is_server_error()),
        Err(fault) if fault.status().is_server_error() => tally.unanswered(),
        Err(_) => {}
    }
}
