//! From a backend's response to the client's answer: fields cleaned, body streamed, the connection put back.

use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use message::Fields;
use policy::message::{grpc, hop, trailers};
use policy::time::Now;

use super::select::Lease;
use super::send::{Received, UpstreamRequest};
use super::transport::any::AnyCall;
use super::transport::call::Error;
use super::transport::head::Head;
use super::upload::ReplayBody;
use super::verdict::Verdict;
use crate::exchange::body::{Body, Flow, StreamingBody};
use crate::exchange::deadline::Deadline;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::splice::Pipe;
use crate::telemetry::clock;
use crate::telemetry::endpoint_stats::FailureKind;
use crate::telemetry::target_stats::TargetStats;

/// Makes the answer of a response whose head has been judged.
#[must_use]
pub(crate) fn answer(received: Received, draft: &UpstreamRequest, ex: &Exchange) -> Answer {
    let Received { mut call, claim } = received;
    let Head { status, version, mut fields } = call.take_head();
    if fields.has(hop::HOP_BY_HOP) {
        // Nominations that may not be followed are ignored in a response, never refused.
        let own = hop::find(&fields, hop::Direction::Response).unwrap_or_default();
        own.apply(&mut fields);
    }
    ex.sign(&mut fields, version);
    let plan = &claim.group().shared.plan;
    let verdict = Verdict::of(ex, status, &fields);
    let failed = verdict.fails(&plan.ejection);
    if failed {
        claim.failed(clock::now(), FailureKind::Status, &verdict);
    }
    let since = ex.started.mono + ex.record.header_time.unwrap_or_default();
    if let Some(whole) = call.take_whole() {
        settle(claim, call, failed, Now::at(since));
        return Answer { status, fields, body: Body::whole(whole) };
    }
    // A head that says so has counted as an error already.
    let tally = ex.tally.clone().filter(|_| !verdict.is_server_error());
    let is_call = ex.grpc.is_some();
    let idle_max = if is_call { plan.timeouts.tunnel_idle } else { plan.timeouts.body_idle };
    let hold = Hold { claim, call, source: draft.source.clone(), tally, failed, is_call, since, has_waited: false };
    let flow: Flow = Box::pin(Reply {
        hold: Some(hold),
        has_ended: false,
        deadline: Rc::clone(&ex.stream.deadline),
        idle_max,
        until: ex.call_until(),
        is_cut: false,
    });
    Answer { status, fields, body: Body::flow(flow) }
}

/// A response has ended. `failed`: its status alone has counted against the backend already.
fn settle(claim: Lease, call: AnyCall, failed: bool, now: Now) {
    if !failed {
        claim.succeeded(now);
    }
    // Answered early, the rest of the request's body goes nowhere, and the connection closes without its end, or the stream
    // is reset.
    if let AnyCall::Http1(call) = call
        && let Some(connection) = call.finish()
    {
        let max = claim.group().shared.plan.pool_max;
        claim.pool().put(connection, now.mono, max);
    }
}

/// What a request holds of a backend until the end of its answer.
struct Hold {
    claim: Lease,
    call: AnyCall,
    source: Option<Rc<ReplayBody>>,
    /// Where a body that breaks off is counted, if anywhere.
    tally: Option<Arc<TargetStats>>,
    /// The status alone has counted against the backend already.
    failed: bool,
    /// It is that of a gRPC call, whose trailers say how it has ended.
    is_call: bool,
    /// When the head was in (monotonic time).
    since: Duration,
    /// Some of the body was waited for.
    has_waited: bool,
}

impl Hold {
    /// Judges how a call has ended.
    fn judge(&mut self, trailers: &HeaderMap) {
        let Some(value) = trailers.get(grpc::STATUS).filter(|_| self.is_call) else { return };
        let status = grpc::Status::parse(value.as_bytes());
        if status.is_unavailable() && !std::mem::replace(&mut self.failed, true) {
            let why = format_args!("it answered grpc-status {}", status.number());
            self.claim.failed(clock::now(), FailureKind::Status, &why);
        }
        if status.is_server_error()
            && let Some(tally) = self.tally.take()
        {
            tally.broke();
        }
    }

    /// The answer is whole.
    fn settle(self) {
        // A body that was there with its head needs no second look at the clock.
        let now = Now::at(if self.has_waited { clock::mono() } else { self.since });
        settle(self.claim, self.call, self.failed, now);
    }

    /// The answer broke off: by the backend's fault, unless it was the client who broke off its request's body, or
    /// left the backend waiting for it.
    fn broke(self, why: &dyn Display) {
        let is_the_clients = self.source.as_ref().is_some_and(|source| source.is_the_clients_fault());
        if !is_the_clients {
            if !self.failed {
                self.claim.failed(clock::now(), FailureKind::Body, why);
            }
            if let Some(tally) = &self.tally {
                tally.broke();
            }
        }
    }
}

/// A response body on its way from a backend to the client.
struct Reply {
    /// `None`: it has ended, or broken off.
    hold: Option<Hold>,
    has_ended: bool,
    deadline: Rc<Deadline>,
    idle_max: Duration,
    /// When the client gives its call up (monotonic time).
    until: Option<Duration>,
    /// It has broken off; said one poll later, so that what came before is written first.
    is_cut: bool,
}

impl Reply {
    fn settle(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.has_ended = true;
            hold.settle();
        }
    }

    /// Goes on with what a poll of the call has brought.
    fn take<T>(&mut self, cx: &Context<'_>, polled: Poll<Result<T, Error>>) -> Poll<Result<T, ProxyError>> {
        match polled {
            Poll::Ready(Ok(brought)) => {
                self.deadline.clear();
                if self.hold.as_ref().is_some_and(|hold| hold.call.has_ended()) {
                    self.settle();
                }
                Poll::Ready(Ok(brought))
            }
            Poll::Ready(Err(_)) => {
                self.deadline.clear();
                self.is_cut = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                if let Some(hold) = &mut self.hold {
                    hold.has_waited = true;
                }
                self.poll_silence().map(Err)
            }
        }
    }

    fn broke(&mut self, fault: impl FnOnce(Arc<str>) -> ProxyError) -> ProxyError {
        let Some(hold) = self.hold.take() else { return ProxyError::ClientLeft };
        let clients = hold.source.as_ref().and_then(|source| source.fault());
        let fault = clients.unwrap_or_else(|| fault(Arc::clone(&hold.claim.endpoint().shared.label)));
        hold.broke(&fault.cause());
        fault
    }

    /// The call's time is over: its backend is not to blame.
    fn end_call(&mut self) -> Option<ProxyError> {
        self.until.filter(|until| clock::mono() >= *until)?;
        self.deadline.clear();
        self.hold.take().map(|_given_up| ProxyError::CallDeadline)
    }

    /// The backend is silent: since when, and is that too long?
    fn poll_silence(&mut self) -> Poll<ProxyError> {
        let deadline = &self.deadline;
        if deadline.at().is_none() {
            let idle = clock::mono() + self.idle_max;
            deadline.set(self.until.map_or(idle, |until| until.min(idle)));
        } else if deadline.has_passed() {
            deadline.clear();
            if let Some(fault) = self.end_call() {
                return Poll::Ready(fault);
            }
            let limit = self.idle_max;
            if let Some(hold) = &self.hold {
                hold.call.doubt();
            }
            return Poll::Ready(self.broke(|backend| ProxyError::BodyStalled { backend, limit }));
        }
        Poll::Pending
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let reply = &mut *self;
        if reply.is_cut && reply.hold.is_some() {
            return Poll::Ready(Some(Err(reply.broke(|backend| ProxyError::BodyCut { backend }))));
        }
        if let Some(fault) = reply.end_call() {
            return Poll::Ready(Some(Err(fault)));
        }
        let Some(hold) = &mut reply.hold else { return Poll::Ready(None) };
        let polled = hold.call.poll_frame(cx).map_ok(|frame| frame.map(|frame| clean(frame, &hold.claim)));
        if let Poll::Ready(Ok(Some(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            hold.judge(trailers);
        }
        Poll::Ready(ready!(reply.take(cx, polled)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        match &self.hold {
            Some(hold) => hold.call.length_left().map_or_else(SizeHint::default, SizeHint::with_exact),
            None => SizeHint::with_exact(0),
        }
    }
}

impl StreamingBody for Reply {
    fn wait_under(mut self: Pin<&mut Self>, deadline: &Rc<Deadline>) {
        self.deadline.clear();
        self.deadline = Rc::clone(deadline);
    }

    fn drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let reply = &mut *self;
        if let Some(hold) = &mut reply.hold {
            // What breaks here is said when the body is asked for.
            reply.is_cut |= hold.call.drive(cx).is_err();
        }
    }

    fn spliceable_bytes(&self) -> u64 {
        self.hold.as_ref().filter(|_| !self.is_cut).map_or(0, |hold| hold.call.spliceable_bytes())
    }

    fn poll_splice(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        let Some(hold) = &mut self.hold else { return Poll::Ready(Ok(0)) };
        let polled = hold.call.poll_splice(cx, pipe);
        self.take(cx, polled)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // Before its end the client has left: the backend's request is given up, and no fault is counted.
        if self.hold.is_some() {
            self.deadline.clear();
        }
    }
}

fn clean(frame: Frame<Bytes>, claim: &Lease) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(fields) => {
            let mut fields = Fields::from(fields);
            claim.group().counters.trailer_fields.add(fields.retain(trailers::may_pass) as u64);
            Frame::trailers(fields.to_map())
        }
        Err(frame) => frame,
    }
}
