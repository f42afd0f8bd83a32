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

/// A response, or its future: one of ours is large, and is not even made for what can be answered at once.
pub(super) enum Answering {
    Now(Answer),
    Later(Pin<Box<dyn Future<Output = Answer>>>),
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
        tally: None,
        signature: site.signature().map(Rc::clone),
        record: AccessRecord::default(),
    };
    let mut open = Open::begin(exchange, Rc::clone(&worker.ledger));
    match drive::begin(&site, open.exchange()) {
        Ok(Step::Passed(passed)) => Answering::Later(Box::pin(Passing { passed, site, open: Some(open) })),
        Ok(Step::Waits(waiting)) => Answering::Later(Box::pin(async move {
            let handled = drive::go_on(&site, open.exchange(), &waiting).await;
            open.answer(handled)
        })),
        Ok(Step::Sweeps(banned)) => Answering::Later(Box::pin(async move {
            let answer = purge::swept(&site, open.exchange(), &banned).await;
            open.answer(Ok(answer))
        })),
        Ok(Step::Answered(answer)) => Answering::Now(open.answer(Ok(answer))),
        Err(fault) => Answering::Now(open.answer(Err(fault))),
    }
}

/// The future of a request that is passed on. Dropped, it gives up first what it holds of the backend.
struct Passing {
    passed: Passed,
    site: Rc<WorkerState>,
    /// `None`: it is answered.
    open: Option<Box<Open>>,
}

impl Future for Passing {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Self { passed, site, open } = &mut *self;
        let Some(exchange) = open.as_mut().map(|open| open.exchange()) else { return Poll::Pending };
        let handled = ready!(passed.poll(cx, site, exchange));
        open.take().map_or(Poll::Pending, |open| Poll::Ready(open.answer(handled)))
    }
}
