//! Where a request begins, whatever the protocol of its client: clock and dice are read, and it goes down the spine.

use std::pin::Pin;
use std::rc::Rc;

use super::worker::Worker;
use crate::exchange::stream::Stream;
use crate::exchange::{Answer, ClientConnection, Exchange, Head, Incoming};
use crate::proxy::account::Open;
use crate::proxy::drive::{self, Step};
use crate::proxy::purge;
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
