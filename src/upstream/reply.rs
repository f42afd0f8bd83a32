//! From a backend's response to the client's answer: fields cleaned, body streamed, the connection put back.

use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use message::{Fields, Known};
use policy::message::{hop, list, trailers};
use policy::time::Now;

use super::pick::Claim;
use super::pool::Connection;
use super::rest::{Rest, Waits};
use super::send::Received;
use super::upload::Source;
use crate::exchange::body::{Body, Flow, StreamingBody};
use crate::exchange::deadline::Deadline;
use crate::exchange::fault::Fault;
use crate::exchange::{Answer, ClientConnection, Exchange};
use crate::observe::clock;
use crate::observe::tally::Tally;

/// A body of which at least so many bytes are still to come is moved by the kernel where it can be: below, taking the
/// stream out of hyper and giving it back costs about what copying does.
const MOVED_BYTES_MIN: u64 = 64 * 1024;

/// Makes the answer of a response whose head has been judged.
#[must_use]
pub fn answer(received: Received, source: Option<Rc<Source>>, ex: &Exchange) -> Answer {
    let Received { response, connection, claim, switched: _, is_reusable } = received;
    connection.link.switched.borrow_mut().take();
    let (head, incoming) = response.into_parts();
    let mut fields = Fields::from(head.headers);
    let persists = persists(head.version, &fields);
    // Nominations that may not be followed are ignored in a response, never refused.
    let own = hop::find(&fields, hop::Direction::Response).unwrap_or_default();
    fields.apply_all(own.edits());
    ex.sign(&mut fields, head.version);
    let failed = claim.group().shared.plan.ejection.statuses.holds(head.status);
    if failed {
        claim.failed(clock::now(), &format_args!("it answered {}", head.status.as_u16()));
    }
    // A head that says 5xx has counted as an error already.
    let tally = ex.tally.clone().filter(|_| !head.status.is_server_error());
    let hold = Hold { claim, connection, source, tally, failed, is_reusable };
    if incoming.is_end_stream() {
        hold.settle();
        return Answer { status: head.status, fields, body: Body::default() };
    }
    let idle_max = hold.claim.group().shared.plan.timeouts.body_idle;
    let flow: Flow = Box::pin(Reply {
        content: Content::Read(incoming),
        hold: Some(hold),
        deadline: Rc::clone(&ex.connection.deadline),
        idle_max,
        client: Rc::clone(&ex.connection),
        persists,
    });
    Answer { status: head.status, fields, body: Body::flow(flow) }
}

/// Whether the backend's connection goes on behind this response (RFC 9112 §9.3).
fn persists(version: Version, fields: &Fields) -> bool {
    let says = |option| list::holds(fields.values(Known::Connection), option);
    if version == Version::HTTP_11 { !says("close") } else { says("keep-alive") && !says("close") }
}

/// What a request holds of a backend until the end of its answer.
struct Hold {
    claim: Claim,
    connection: Connection,
    source: Option<Rc<Source>>,
    /// Where a body that breaks off is counted, if anywhere.
    tally: Option<Arc<Tally>>,
    /// The status alone has counted against the backend already.
    failed: bool,
    /// The connection may carry another request.
    is_reusable: bool,
}

impl Hold {
    /// The answer is whole.
    fn settle(self) {
        let now = Now::at(clock::mono());
        if !self.failed {
            self.claim.succeeded(now);
        }
        match self.source {
            // Answered early: the rest of the request's body goes nowhere, and neither may it seem to have ended.
            Some(source) if !source.has_ended() => source.abort(),
            Some(_) | None if !self.is_reusable => {}
            Some(_) | None => {
                let max = self.claim.group().shared.plan.pool_max;
                self.claim.endpoint().pool.put(self.connection, now.mono, max);
            }
        }
    }

    /// The answer broke off: by the backend's fault, unless it was the client who broke off its request's body, or
    /// left the backend waiting for it.
    fn broke(self, why: &dyn Display) {
        let is_the_clients = self.source.as_ref().is_some_and(|source| source.is_the_clients_fault());
        if !is_the_clients {
            if !self.failed {
                self.claim.failed(clock::now(), why);
            }
            if let Some(tally) = &self.tally {
                tally.broke();
            }
        }
        if let Some(source) = self.source {
            source.abort();
        }
    }
}

/// A response body on its way from a backend to the client.
struct Reply {
    content: Content,
    hold: Option<Hold>,
    deadline: Rc<Deadline>,
    idle_max: Duration,
    client: Rc<ClientConnection>,
    /// The backend's connection goes on behind the response.
    persists: bool,
}

/// Where a response body comes from.
enum Content {
    /// hyper reads it.
    Read(Incoming),
    /// The kernel moves the rest of it.
    Moved(Box<Rest>),
    /// Nowhere: it is at its end.
    Ended,
}

impl Reply {
    fn settle(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.settle();
        }
    }

    /// The next piece of a body that the kernel moves.
    fn poll_moved(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Content::Moved(rest) = &mut self.content else { return Poll::Ready(None) };
        let piece = match rest.poll_piece(cx) {
            Poll::Ready(Ok(piece)) if !piece.is_empty() => piece,
            Poll::Ready(Ok(_) | Err(_)) => {
                self.deadline.clear();
                return Poll::Ready(self.broke(|backend| Fault::BodyCut { backend }).map(Err));
            }
            Poll::Pending => {
                return match rest.waits() {
                    Waits::Backend => self.poll_silence(),
                    Waits::Client => Poll::Pending,
                };
            }
        };
        self.deadline.clear();
        if rest.left() == 0
            && let Content::Moved(rest) = std::mem::replace(&mut self.content, Content::Ended)
            && let Some(hold) = &mut self.hold
        {
            hold.is_reusable = hold.is_reusable && self.persists && rest.end(&mut hold.connection, cx);
            self.settle();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn broke(&mut self, fault: impl FnOnce(std::sync::Arc<str>) -> Fault) -> Option<Fault> {
        let hold = self.hold.take()?;
        let clients = hold.source.as_ref().and_then(|source| source.fault());
        let fault = clients.unwrap_or_else(|| fault(std::sync::Arc::clone(&hold.claim.endpoint().shared.label)));
        hold.broke(&fault.cause());
        Some(fault)
    }

    /// The backend is silent: since when, and is that too long?
    fn poll_silence(&mut self) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let deadline = &self.deadline;
        if deadline.at().is_none() {
            deadline.set(clock::mono() + self.idle_max);
        } else if deadline.has_passed() {
            deadline.clear();
            let limit = self.idle_max;
            let fault = self.broke(|backend| Fault::BodyStalled { backend, limit });
            return Poll::Ready(fault.map(Err));
        }
        Poll::Pending
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let reply = &mut *self;
        let Content::Read(incoming) = &mut reply.content else { return reply.poll_moved(cx) };
        let Poll::Ready(polled) = Pin::new(&mut *incoming).poll_frame(cx) else { return reply.poll_silence() };
        reply.deadline.clear();
        match polled {
            Some(Ok(frame)) => {
                let frame = clean(frame, reply.hold.as_ref());
                if incoming.is_end_stream() {
                    reply.settle();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_cut)) => Poll::Ready(reply.broke(|backend| Fault::BodyCut { backend }).map(Err)),
            None => {
                reply.settle();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Read(incoming) => incoming.is_end_stream(),
            Content::Moved(_) => false,
            Content::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Read(incoming) => incoming.size_hint(),
            Content::Moved(rest) => SizeHint::with_exact(rest.left()),
            Content::Ended => SizeHint::with_exact(0),
        }
    }
}

impl StreamingBody for Reply {
    fn wait_under(mut self: Pin<&mut Self>, deadline: &Rc<Deadline>) {
        self.deadline.clear();
        self.deadline = Rc::clone(deadline);
    }

    fn stand_aside(mut self: Pin<&mut Self>) {
        let Self { content, hold: Some(hold), client, .. } = &mut *self else { return };
        let Content::Read(incoming) = content else { return };
        let Some(left) = incoming.size_hint().exact().filter(|left| *left >= MOVED_BYTES_MIN) else { return };
        // Of a request's body some may still be in hyper's hands.
        if hold.source.is_some() || !hold.connection.link.is_flushed.get() {
            return;
        }
        if let Some(rest) = Rest::begin(&hold.connection, (incoming, left), &client.aside) {
            *content = Content::Moved(Box::new(rest));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if http_body::Body::is_end_stream(self) {
            self.settle();
        } else if let Some(hold) = self.hold.take() {
            // The client left: the backend's request is given up, and nobody is to blame.
            self.deadline.clear();
            if let Some(source) = &hold.source {
                source.abort();
            }
        }
    }
}

fn clean(frame: Frame<Bytes>, hold: Option<&Hold>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(fields) => {
            let mut fields = Fields::from(fields);
            let dropped = fields.retain(trailers::may_pass);
            if let Some(hold) = hold {
                hold.claim.group().counters.trailer_fields.add(dropped as u64);
            }
            Frame::trailers(fields.into_map())
        }
        Err(frame) => frame,
    }
}
