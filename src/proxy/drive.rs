//! The course of a request: every state and every step from one to the next.
//!
//! [`begin`] takes a request as far as it gets without waiting, [`go_on`] the rest of the way. A state is what a stage has
//! returned: `Admitted`, then a route and `SelectedTarget`, then a `Course` with what it takes, then an `Answer`. Stages never call
//! each other. What comes of a request ends in `finish`.

use std::task::{Context, Poll, ready};

use message::Known;
use policy::cache::invalidation::is_safe;
use policy::cache::overlap::Writer;

use super::admit::{self, Admitted};
use super::challenge::{self, Challenged};
use super::course::{self, Course};
use super::enqueue::{Enqueue, Enqueued};
use super::invalidation::Outgoing;
use super::posted::Posted;
use super::split::{self, SelectedTarget};
use super::target::{Forwarded, RouteTarget};
use super::way::Way;
use super::worker_state::WorkerState;
use super::{invalidate, lookup, purge, routing, turn, write_through};
use crate::cache::purge::Banned;
use crate::config::plan::{Action, Route};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;
use crate::upstream::send::UpstreamRequest;
use crate::write_queue::enqueue::FOREBAY_WRITE;

/// How far a request gets without waiting for anybody.
pub(crate) enum Step {
    /// To its answer: a stored or fixed one, a redirect.
    Answered(Answer),
    /// To its backend: [`Passed::poll`] asks it.
    Passed(Box<Passed>),
    /// To where somebody has to be asked: [`go_on`] asks.
    Waits(Waiting),
    /// To where a `PURGE` waits until all is swept: [`purge::swept`] waits.
    Sweeps(Banned),
}

/// A request that has a route, and a target there.
pub(crate) struct Waiting {
    /// The route's index.
    route: usize,
    chosen: SelectedTarget,
    errand: Errand,
}

/// A request that is forwarded, and that is all: most requests on a route that does not cache. Polled as it is, since a
/// future of all that may become of a request takes longer to make and to move than such a request takes.
pub(crate) struct Passed {
    route: usize,
    chosen: SelectedTarget,
    draft: UpstreamRequest,
    forwarded: Forwarded,
}

/// What is to be done where a request goes.
enum Errand {
    /// Decide on a caching route's course.
    Decide(Admitted),
    /// Forward it, and invalidate what it changes in what other routes have stored.
    Invalidate(Admitted),
}

/// The course of a request, as far as it goes without waiting. Most answers of a cache go no further: they never become a
/// future, which would have to be kept and moved.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub(crate) fn begin(site: &WorkerState, ex: &mut Exchange) -> Result<Step, ProxyError> {
    let admitted = admit::admit(site, ex)?;
    if admitted.ends_here {
        return Ok(Step::Answered(routing::options()));
    }
    let peer = match challenge::find(site, ex) {
        Some(Challenged::Answered(answer)) => return Ok(Step::Answered(answer)),
        Some(Challenged::Forwarded(peer)) => Some(peer),
        None => None,
    };
    if let Some(port) = routing::redirect_https(&admitted).filter(|_| peer.is_none()) {
        return routing::by_https(port, ex, &admitted).map(Step::Answered);
    }
    match purge::answer(site, ex, &admitted) {
        Some(purge::Outcome::Answered(answer)) => return Ok(Step::Answered(answer)),
        Some(purge::Outcome::Sweeps(banned)) => return Ok(Step::Sweeps(banned)),
        None => {}
    }
    let (index, route) = match peer {
        Some(peer) => routing::known(site, ex, peer)?,
        None => routing::route(site, ex, &admitted)?,
    };
    let chosen = match &route.action {
        Action::Redirect(redirect) => {
            return routing::redirect(redirect, ex, &admitted).map(|answer| done(route, answer));
        }
        Action::Respond(respond) => return Ok(done(route, routing::respond(respond, &ex.head.method))),
        Action::Forward(_) | Action::Split(_) => split::choose(site, index, ex, &admitted)?,
    };
    // A call is never stored, and changes nothing that is.
    let is_call = ex.grpc.is_some();
    let errand = match site.caching(index, chosen.side).filter(|_| !is_call) {
        Some(caching) => match lookup::at_once(site, (route, caching), ex, &admitted) {
            Some(answer) => return Ok(Step::Answered(marked(&chosen, route, answer))),
            None => Errand::Decide(admitted),
        },
        None if site.caches() && !is_call && !is_safe(&ex.head.method) => Errand::Invalidate(admitted),
        None => {
            admit::stamp(site, ex, &admitted, &admitted.host.authority);
            if !route.request_headers.is_empty() {
                // Before they change it.
                ex.accept = ex.head.fields.first_shared(Known::Accept);
            }
            let draft = routing::draft(site, route, &chosen.onward.group, (ex, &admitted))?;
            let forwarded = chosen.onward.begin(ex, &draft);
            return Ok(Step::Passed(Box::new(Passed { route: index, chosen, draft, forwarded })));
        }
    };
    Ok(Step::Waits(Waiting { route: index, chosen, errand }))
}

impl Passed {
    /// The rest of the course of a request that is forwarded.
    ///
    /// # Errors
    /// What the client is to be told instead of an answer.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        site: &WorkerState,
        ex: &mut Exchange,
    ) -> Poll<Result<Answer, ProxyError>> {
        let answered = ready!(self.chosen.onward.poll(cx, &mut self.forwarded, ex, &self.draft));
        let Some(route) = site.plan().routes.get(self.route) else { return Poll::Ready(Err(ProxyError::NoRoute)) };
        if answered.is_err() && route.request_headers.is_empty() {
            // The error body has the form that `Accept` asks for.
            ex.accept = self.draft.headers.first_shared(Known::Accept);
        }
        self.draft.recycle();
        Poll::Ready(answered.map(|answer| marked(&self.chosen, route, answer)))
    }
}

/// The rest of another request's course.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub(crate) async fn go_on(site: &WorkerState, ex: &mut Exchange, waiting: &Waiting) -> Result<Answer, ProxyError> {
    let Waiting { route: index, chosen, errand } = waiting;
    let route = site.plan().routes.get(*index).ok_or(ProxyError::NoRoute)?;
    let onward = &chosen.onward;
    ex.accept = ex.head.fields.first_shared(Known::Accept);
    let answer = match errand {
        Errand::Decide(admitted) => {
            let caching = site.caching(*index, chosen.side).ok_or(ProxyError::NoRoute)?;
            Box::pin(cached(&Way { site, route, onward, caching }, ex, admitted)).await?
        }
        Errand::Invalidate(admitted) => Box::pin(changed(site, (route, onward), ex, admitted)).await?,
    };
    Ok(marked(chosen, route, answer))
}

/// The response with the split's header, its cookie, and the changes of the route.
fn marked(chosen: &SelectedTarget, route: &Route, mut answer: Answer) -> Answer {
    chosen.mark(&mut answer.fields);
    routing::edit(&mut answer.fields, &route.response_headers);
    answer
}

/// The course of a request that changes something, on a route that does not cache. Apart, as [`cached`] is, so that the future
/// of what is forwarded has no room for it.
async fn changed(
    site: &WorkerState,
    (route, onward): (&Route, &RouteTarget),
    ex: &mut Exchange,
    admitted: &Admitted,
) -> Result<Answer, ProxyError> {
    admit::stamp(site, ex, admitted, &admitted.host.authority);
    let target = lookup::target(ex, admitted).into_owned();
    let draft = routing::draft(site, route, &onward.group, (ex, admitted))?;
    let outgoing = Outgoing { draft: &draft, target: &target, writer: Writer::Client };
    invalidate::forward(site, onward, ex, outgoing).await
}

/// The course of a request on a route that caches, if nothing was found for it at once.
async fn cached(way: &Way<'_>, ex: &mut Exchange, admitted: &Admitted) -> Result<Answer, ProxyError> {
    admit::stamp_settled(way.site, ex, admitted);
    let target = &lookup::target(ex, admitted).into_owned();
    let course = match is_safe(&ex.head.method) {
        true => course::read(way, ex, admitted, target),
        false => course::write(way, ex, admitted, target)?,
    };
    match course {
        Course::Answer(answer) => Ok(*answer),
        Course::Refuse(fault) => Err(fault),
        Course::Lookup(key) => lookup::answer(way, ex, admitted, key).await,
        Course::Forward { is_pending } => {
            let draft = routing::draft(way.site, way.route, &way.onward.group, (ex, admitted))?;
            let mut answer = way.untagged(way.onward.forward(ex, &draft).await?);
            if is_pending {
                answer.fields.set(&FOREBAY_WRITE, "pending");
            }
            Ok(answer)
        }
        Course::Invalidate(draft, key) => {
            let posted = Posted::begin(key.as_ref(), &draft, clock::now());
            let outgoing = Outgoing { draft: &draft, target, writer: Writer::Client };
            let answer = Box::pin(invalidate::forward(way.site, way.onward, ex, outgoing)).await?;
            Ok(Posted::keep(posted, way, ex, target, answer))
        }
        Course::WriteThrough(draft, key) => {
            let posted = Posted::begin(key.as_ref(), &draft, clock::now());
            let outgoing = Outgoing { draft: &draft, target, writer: Writer::Client };
            let key = key.filter(|_| posted.is_none());
            let sent = write_through::write(way.through(), ex, outgoing, key);
            let answer = Box::pin(sent).await?;
            Ok(Posted::keep(posted, way, ex, target, answer))
        }
        Course::Enqueue(queue, draft) => match Box::pin(Enqueue { way, queue, target }.enqueue(ex, draft)).await? {
            Enqueued::Accepted(answer) => Ok(answer),
            Enqueued::MustWait(draft, _room) => Box::pin(turn::forward(way, queue.desk, ex, draft, target)).await,
        },
        Course::WaitTurn(desk, draft) => Box::pin(turn::forward(way, desk, ex, draft, target)).await,
    }
}

fn done(route: &Route, mut answer: Answer) -> Step {
    routing::edit(&mut answer.fields, &route.response_headers);
    Step::Answered(answer)
}
