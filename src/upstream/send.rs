//! One try: takes or opens a connection to the claimed backend, sends the request, waits for the response's head.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri, Version};
use http1::{HEAD_BYTES_CAP, HeadLimits};
use message::Fields;
use policy::message::upgrade;
use policy::retry::{Progress, Replay};

use super::acquire::{Carrier, Failure, Wanted};
use super::endpoint::Endpoint;
use super::select::Lease;
use super::transport::any::AnyCall;
use super::transport::call::{Error, HeadRules};
use super::transport::head::{self, RequestHead};
use super::upload::{ReplayBody, Upload};
use crate::config::plan::HostHeader;
use crate::exchange::Exchange;
use crate::exchange::deadline::{Deadline, Expired, Wait};
use crate::exchange::error::ProxyError;
use crate::telemetry::clock;

/// A request that may not be repeated gets no pooled connection that has waited longer than this: the backend may be
/// about to close it.
const UNREPEATABLE_IDLE_MAX: Duration = Duration::from_secs(2);

/// A request as it goes to a backend, whichever that is.
#[derive(Debug)]
pub struct UpstreamRequest {
    /// The method.
    pub method: Method,
    /// The target, in origin form.
    pub target: Uri,
    /// The header fields, cleaned.
    pub headers: Fields,
    /// The body; `None`: there is none.
    pub source: Option<Rc<ReplayBody>>,
    /// The protocols that the client would switch to, if any.
    pub switches: Option<HeaderValue>,
}

impl UpstreamRequest {
    /// What of the body can be sent again.
    #[must_use]
    pub fn replay(&self) -> Replay {
        self.source.as_ref().map_or(Replay::Empty, |source| source.replay())
    }

    /// What it needs to go out on.
    pub(super) fn wanted(&self) -> Wanted {
        let idle_max = if self.method.is_idempotent() { Duration::MAX } else { UNREPEATABLE_IDLE_MAX };
        Wanted { switches: self.switches.is_some(), idle_max }
    }

    /// The request has its answer, or will have none: what held its fields holds those of another response, and nobody
    /// reads on in its body but a backend that answers meanwhile.
    pub(crate) fn recycle(&mut self) {
        self.source = None;
        head::keep_lines(std::mem::take(&mut self.headers));
    }

    /// Begins to send it. The draft stays as it is: whatever becomes of this try, the request may go out once more, if only
    /// on a fresh connection.
    fn send(&self, carrier: Carrier, claim: &Lease, now: Duration) -> AnyCall {
        let body = match &self.source {
            Some(source) => source.upload(now),
            None => Upload::Empty,
        };
        let has_own_host = claim.group().shared.plan.host == HostHeader::Backend;
        let host = has_own_host.then(|| &claim.endpoint().shared.authority);
        let head = RequestHead { method: &self.method, target: &self.target, fields: &self.headers, host };
        carrier.begin(&head, body)
    }
}

/// A response whose head has come and been judged.
pub(crate) struct Received {
    /// What its head is taken and its body comes from.
    pub call: AnyCall,
    /// The place the request holds.
    pub claim: Lease,
}

/// What the head of a response to this method must obey.
pub(super) fn head_rules(fields_max: usize, method: &Method) -> HeadRules {
    HeadRules { limits: HeadLimits::new(HEAD_BYTES_CAP, 0, fields_max), to_head: *method == Method::HEAD }
}

/// A request that went out on a connection and got no response head.
pub(crate) struct Failed {
    fault: ProxyError,
    progress: Progress,
    /// The connection was there already, and ended without a byte of answer; or the backend says that it has not processed
    /// the request.
    on_reused: bool,
}

impl Failed {
    /// Whether the connection was just closed under us, and the request may go out again as if nothing had happened.
    pub(crate) fn is_stale(&self, draft: &UpstreamRequest) -> bool {
        self.on_reused && policy::retry::may_repeat(&draft.method, self.progress, draft.replay())
    }

    /// Counts it against the backend, if it is the backend's fault.
    pub(crate) fn count(self, claim: &Lease) -> Failure {
        if self.fault.may_retry() {
            claim.failed(clock::now(), self.fault.failure_kind(), &self.fault.cause());
        }
        Failure { fault: self.fault, progress: self.progress }
    }
}

/// A request on its way on a connection, until its response's head is in.
pub(crate) struct Attempt {
    call: AnyCall,
    sent_at: Duration,
    wait: Wait<Rc<Deadline>>,
}

impl Attempt {
    /// Begins to send the request at this moment (monotonic time). Nothing is written before this is polled.
    pub(crate) fn begin(
        carrier: Carrier,
        claim: &Lease,
        ex: &mut Exchange,
        draft: &UpstreamRequest,
        sent_at: Duration,
    ) -> Self {
        ex.record.sends += 1;
        ex.stream.interim.begin();
        let call = draft.send(carrier, claim, sent_at);
        let head_max = head_max(claim, ex);
        let first = draft.source.as_ref().map_or(head_max, |source| source.first_wait(head_max));
        let until = ex.within_call(sent_at + first);
        Self { call, sent_at, wait: Wait::new(Rc::clone(&ex.stream.deadline), until) }
    }

    /// Sends the request, and waits for the response's head. Interim responses are passed on.
    ///
    /// # Errors
    /// What went wrong; it is not counted yet.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        claim: &Lease,
        ex: &mut Exchange,
        draft: &UpstreamRequest,
    ) -> Poll<Result<(), Failed>> {
        let source = draft.source.as_deref();
        let plan = &claim.group().shared.plan;
        let rules = head_rules(plan.response_fields_max, &draft.method);
        let pass_on = |status: StatusCode, fields: Fields| pass_on(ex, source, status, fields);
        match self.call.poll_head(cx, &rules, pass_on) {
            Poll::Ready(Ok(())) => {
                let now = clock::mono();
                ex.record.header_time = Some(now.saturating_sub(ex.started.mono));
                claim.answered(now.saturating_sub(self.sent_at), now);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(failed(&error, &self.call, claim, source))),
            Poll::Pending => {
                let limit = head_max(claim, ex);
                let later = || source.and_then(|source| source.extend(limit)).map(|at| ex.within_call(at));
                let Expired = ready!(self.wait.poll(|| later().filter(|at| *at > clock::mono())));
                let slow = source.and_then(ReplayBody::fault);
                if slow.is_none() && !ex.is_call_over(clock::mono()) {
                    self.call.doubt();
                }
                let late = || match ex.is_call_over(clock::mono()) {
                    true => ProxyError::CallDeadline,
                    false => ProxyError::HeadTimeout { backend: Arc::clone(&claim.endpoint().shared.label), limit },
                };
                let fault = slow.unwrap_or_else(late);
                Poll::Ready(Err(Failed { fault, progress: Progress::Sent, on_reused: false }))
            }
        }
    }

    /// The call, whose response's head is in.
    pub(crate) fn into_call(self) -> AnyCall {
        self.call
    }
}

/// How long the head of a response may be waited for. That of a gRPC call may come with its last message.
fn head_max(claim: &Lease, ex: &Exchange) -> Duration {
    let timeouts = &claim.group().shared.plan.timeouts;
    if ex.grpc.is_some() { timeouts.tunnel_idle } else { timeouts.response_head }
}

/// Passes an interim response on to a client that takes them. `false`: there were too many.
fn pass_on(ex: &Exchange, source: Option<&ReplayBody>, status: StatusCode, fields: Fields) -> bool {
    let interim = &ex.stream.interim;
    if status != StatusCode::CONTINUE && ex.head.version == Version::HTTP_11 {
        interim.push(&head::interim(status, fields));
    } else {
        interim.count();
    }
    if let Some(source) = source.filter(|_| status == StatusCode::CONTINUE) {
        source.release();
    }
    !interim.has_overflowed()
}

fn failed(error: &Error, call: &AnyCall, claim: &Lease, source: Option<&ReplayBody>) -> Failed {
    if let Some(fault) = source.and_then(ReplayBody::fault) {
        return Failed { fault, progress: Progress::Sent, on_reused: false };
    }
    let is_unprocessed = matches!(error, Error::Unprocessed);
    let progress = match (call.has_received(), call.has_sent()) {
        _ if is_unprocessed => Progress::Nothing,
        (true, _) => Progress::Answered,
        (false, true) => Progress::Sent,
        (false, false) => Progress::Nothing,
    };
    let fault = call_fault(error, &claim.endpoint().shared, claim.group().shared.plan.response_fields_max);
    let on_reused = is_unprocessed || (call.is_on_reused() && !call.has_received());
    Failed { fault, progress, on_reused }
}

/// Why a call to an endpoint got no response head.
pub(super) fn call_fault(error: &Error, endpoint: &Endpoint, fields_max: usize) -> ProxyError {
    let backend = Arc::clone(&endpoint.label);
    match error {
        Error::Closed => ProxyError::Reset { backend },
        Error::Unprocessed => ProxyError::Unprocessed { backend },
        Error::Request(fault) => fault.clone(),
        Error::Malformed(http1::Error::TooManyFields) => ProxyError::BadAnswer {
            backend,
            reason: format!("over upstream.response_fields_max = {fields_max} fields").into(),
        },
        Error::Malformed(_) | Error::Unholdable | Error::InterimStorm | Error::EarlySwitch | Error::Http2(_) => {
            ProxyError::BadAnswer { backend, reason: error.to_string().into() }
        }
    }
}

/// Judges a response head before anything of it is used.
///
/// # Errors
/// It is none that was asked for; it counts against the backend.
pub(crate) fn judged(call: &AnyCall, claim: &Lease, draft: &UpstreamRequest) -> Result<(), Failure> {
    let head = call.head();
    if head.status == StatusCode::SWITCHING_PROTOCOLS && !upgrade::was_asked_for(&head.fields, &draft.switches) {
        let reason = Arc::from("it switches to a protocol that nobody asked for");
        let fault = ProxyError::BadAnswer { backend: Arc::clone(&claim.endpoint().shared.label), reason };
        claim.failed(clock::now(), fault.failure_kind(), &fault.cause());
        return Err(Failure { fault, progress: Progress::Answered });
    }
    Ok(())
}
