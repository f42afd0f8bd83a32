//! Where a request begins, whatever the protocol of its client: clock and dice are read, and it goes down the spine.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::worker::Worker;
use crate::exchange::stream::Stream;
use crate::exchange::{Answer, ClientConnection, Exchange, Head, Incoming};
use crate::proxy::account::Open;
use crate::proxy::drive::{self, Passed, Step};
use crate::proxy::purge;
use crate::proxy::worker_state::WorkerState;
use crate::telemetry::access_record::AccessRecord;
use crate::telemetry::{clock, random};

/// An answer, or the wait for it.
pub(super) enum Answering {
    Now(Answer),
    Later(Awaited),
}

/// An answer to come. Dropped, the request is given up.
pub(super) enum Awaited {
    /// That of a request which is passed on: no future is made for it.
    Passed(Passing),
    /// The future of all others is large, and is not even made for what can be answered at once.
    Other(Pin<Box<dyn Future<Output = Answer>>>),
}

impl Future for Awaited {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match &mut *self {
            Self::Passed(passing) => passing.poll(cx),
            Self::Other(course) => course.as_mut().poll(cx),
        }
    }
}

/// A request that is passed on. Dropped, it gives up first what it holds of the backend.
pub(super) struct Passing {
    passed: Box<Passed>,
    site: Rc<WorkerState>,
    /// `None`: it is answered.
    open: Option<Box<Open>>,
}

impl Passing {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Self { passed, site, open } = self;
        let Some(exchange) = open.as_mut().map(|open| open.exchange()) else { return Poll::Pending };
        let handled = ready!(passed.poll(cx, site, exchange));
        open.take().map_or(Poll::Pending, |open| Poll::Ready(open.answer(handled)))
    }
}

/// Begins with a request of this client.
#[inline]
pub(super) fn begin(
    worker: &Worker,
    client: &Rc<ClientConnection>,
    stream: &Rc<Stream>,
    head: Head,
    body: Incoming,
) -> Answering {
    let site = worker.site();
    let exchange = Exchange {
        started: clock::now(),
        dice: random::roll(),
        head,
        body: Some(body),
        client: client.peer.ip().to_canonical(),
        connection: Rc::clone(client),
        stream: Rc::clone(stream),
        accept: None,
        key: 0,
        cache_status: None,
        grpc: None,
        tally: None,
        signature: site.signature().map(Rc::clone),
        record: AccessRecord::default(),
    };
    let mut open = Open::begin(exchange, Rc::clone(&worker.ledger));
    match drive::begin(&site, open.exchange()) {
        Ok(Step::Passed(passed)) => Answering::Later(Awaited::Passed(Passing { passed, site, open: Some(open) })),
        Ok(Step::Waits(waiting)) => Answering::Later(Awaited::Other(Box::pin(async move {
            let handled = drive::go_on(&site, open.exchange(), &waiting).await;
            open.answer(handled)
        }))),
        Ok(Step::Sweeps(banned)) => Answering::Later(Awaited::Other(Box::pin(async move {
            let answer = purge::swept(&site, open.exchange(), &banned).await;
            open.answer(Ok(answer))
        }))),
        Ok(Step::Answered(answer)) => Answering::Now(open.answer(Ok(answer))),
        Err(fault) => Answering::Now(open.answer(Err(fault))),
    }
}
