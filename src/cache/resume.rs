//! What a client still needs of a shared body that it has fallen too far behind: fetched for it alone.
//!
//! Only the continuation of the very same representation will do: see `policy::cache::partial::Missing`. Where none can
//! be had the client's response breaks off, visibly.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use http_body::{Frame, SizeHint};
use message::{Fields, Known};
use policy::cache::partial::{Missing, is_resumable};
use policy::message::range::ContentRange;
use policy::time::Now;

use super::entry::{Entry, StoredContent};
use super::head::{StoredHead, add_date};
use super::origin::{Fetch, Request};
use super::serve::Window;
use crate::exchange::body::{Flow, StreamingBody};
use crate::exchange::deadline::{Deadline, attended};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, ClientConnection, Exchange};
use crate::telemetry::clock;

/// Lets an answer that reads along from a body go on by itself when it falls too far behind. `object_bytes_max`: of
/// bodies that are no longer than that, all is kept for everybody.
#[must_use]
pub(crate) fn resumable<F: Fetch>(ex: &Exchange, request: &Request<F>, entry: &Entry, answer: Answer) -> Answer {
    let StoredContent::Growing(growth) = &entry.content else { return answer };
    let complete = growth.length();
    let is_kept = complete.is_some_and(|length| length <= request.caching.limits.object_bytes_max);
    // Without a strong validator readers are waited for.
    let head = &entry.head;
    if is_kept || !is_resumable(head.status(), &head.fields, head.stored.received().wall) {
        return answer;
    }
    let range = match answer.fields.first(Known::ContentRange).map(ContentRange::parse) {
        Some(Some(ContentRange::Part(range, _))) => Some(range),
        Some(_) => return answer,
        None => None,
    };
    let missing =
        Missing { first: range.map_or(0, |range| range.first()), last: range.map(|range| range.last()), complete };
    let own = Own {
        fetch: request.fetch.clone(),
        headers: request.headers.clone(),
        head: Arc::clone(head),
        connection: Rc::clone(&ex.connection),
        client: ex.client,
        key: ex.key,
        dice: ex.dice,
    };
    let deadline = Rc::clone(&ex.stream.deadline);
    let resume =
        |flow| -> Flow { Box::pin(Resuming { stage: ResumeStage::Along(flow), missing, own: Some(own), deadline }) };
    Answer { body: answer.body.map_flow(resume), ..answer }
}

/// A body that is read along, and then perhaps fetched.
struct Resuming<F> {
    stage: ResumeStage,
    /// What the client has not got yet.
    missing: Missing,
    /// How to fetch that; `None`: it has been tried.
    own: Option<Own<F>>,
    /// What its own fetch waits under.
    deadline: Rc<Deadline>,
}

enum ResumeStage {
    /// It reads along.
    Along(Flow),
    /// It has asked for the rest.
    Asking(Pin<Box<dyn Future<Output = Result<Flow, ProxyError>>>>),
    /// It reads what came.
    Own(Flow),
    /// Nothing more will come.
    Over,
}

impl<F: Fetch> http_body::Body for Resuming<F> {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                ResumeStage::Along(flow) => {
                    let polled = ready!(flow.as_mut().poll_frame(cx));
                    if let Some(Err(ProxyError::Outpaced)) = &polled
                        && let Some(own) = this.own.take()
                    {
                        this.stage = ResumeStage::Asking(Box::pin(own.ask(this.missing)));
                        continue;
                    }
                    if let Some(Ok(frame)) = &polled {
                        this.missing.first += frame.data_ref().map_or(0, Bytes::len) as u64;
                    }
                    return Poll::Ready(polled);
                }
                ResumeStage::Asking(asking) => match ready!(asking.as_mut().poll(cx)) {
                    Ok(mut flow) => {
                        flow.as_mut().wait_under(&this.deadline);
                        this.stage = ResumeStage::Own(flow);
                    }
                    Err(fault) => {
                        this.stage = ResumeStage::Over;
                        return Poll::Ready(Some(Err(fault)));
                    }
                },
                ResumeStage::Own(flow) => return flow.as_mut().poll_frame(cx),
                ResumeStage::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.stage {
            ResumeStage::Along(flow) | ResumeStage::Own(flow) => flow.is_end_stream(),
            ResumeStage::Asking(_) => false,
            ResumeStage::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stage {
            ResumeStage::Along(flow) | ResumeStage::Own(flow) => flow.size_hint(),
            ResumeStage::Asking(_) | ResumeStage::Over => SizeHint::default(),
        }
    }
}

impl<F: Fetch> StreamingBody for Resuming<F> {
    fn wait_under(mut self: Pin<&mut Self>, deadline: &Rc<Deadline>) {
        self.deadline = Rc::clone(deadline);
        if let ResumeStage::Along(flow) | ResumeStage::Own(flow) = &mut self.stage {
            flow.as_mut().wait_under(deadline);
        }
    }
}

/// What a fetch of one's own takes.
struct Own<F> {
    fetch: F,
    /// The client's request.
    headers: Fields,
    /// The response that it has got the beginning of.
    head: Arc<StoredHead>,
    connection: Rc<ClientConnection>,
    client: IpAddr,
    key: u64,
    dice: u64,
}

impl<F: Fetch> Own<F> {
    /// Fetches what is missing.
    async fn ask(self, missing: Missing) -> Result<Flow, ProxyError> {
        let now = clock::now();
        let begun = &self.head.fields;
        let mut headers = self.headers;
        headers.apply_all(missing.ask(begun, now.wall).ok_or(ProxyError::Outpaced)?);
        // No exchange of the client's: that is over where its response's head has gone out.
        let mut ex = Exchange::alone(self.connection.peer, now, self.dice.rotate_left(32));
        (ex.client, ex.key, ex.connection) = (self.client, self.key, self.connection);
        let deadline = Rc::clone(&ex.stream.deadline);
        let answer = attended(&deadline, self.fetch.fetch(&mut ex, Method::GET, headers)).await?;
        continued(begun, missing, answer, clock::now()).ok_or(ProxyError::Outpaced)
    }
}

/// What is missing, if this answer holds it.
fn continued(begun: &Fields, missing: Missing, answer: Answer, now: Now) -> Option<Flow> {
    let mut newer = answer.fields.clone();
    // Without a `Date` it has been made now; a strong `Last-Modified` cannot be told without (RFC 9110 §6.6.1).
    add_date(&mut newer, now);
    let found = missing.find(begun, answer.status, &newer, now.wall)?;
    let flow = answer.body.into_flow()?;
    Some(Box::pin(Window { flow, skip: found.skip_bytes, left: found.bytes }))
}
