//! One try: gets a connection to the claimed backend, sends the request, waits for the response head.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri, Version};
use http1::{HEAD_BYTES_CAP, HeadLimits};
use message::Fields;
use policy::message::upgrade;
use policy::retry::{Progress, Replay};

use super::endpoint::Endpoint;
use super::select::Lease;
use super::transport::call::{Call, Error, HeadRules};
use super::transport::connect;
use super::transport::connection::Connection;
use super::transport::head::{self, RequestHead};
use super::upload::{ReplayBody, Upload};
use crate::config::plan::HostHeader;
use crate::exchange::Exchange;
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

    /// Begins to send it. The draft stays as it is: whatever becomes of this try, the request may go out once more, if only
    /// on a fresh connection.
    fn send(&self, connection: Connection, claim: &Lease, now: Duration) -> Box<Call> {
        let body = match &self.source {
            Some(source) => source.upload(now),
            None => Upload::Empty,
        };
        let has_own_host = claim.group().shared.plan.host == HostHeader::Backend;
        let host = has_own_host.then(|| &claim.endpoint().shared.authority);
        let head = RequestHead { method: &self.method, target: &self.target, fields: &self.headers, host };
        Call::new(connection, &head, body)
    }
}

/// A response whose head has come and been judged.
pub(crate) struct Received {
    /// What its head is taken and its body comes from.
    pub call: Box<Call>,
    /// The place the request holds.
    pub claim: Lease,
}

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub fault: ProxyError,
    /// How far the request got.
    pub progress: Progress,
}

/// Tries one backend.
///
/// A pooled connection that turns out to be closed is no fault of anyone's: the request goes out once more on a fresh
/// one, if it may.
///
/// # Errors
/// What went wrong; the backend's failures are counted already.
pub(crate) async fn attempt(claim: &Lease, draft: &UpstreamRequest, ex: &mut Exchange) -> Result<Box<Call>, Failure> {
    let age_max = if draft.method.is_idempotent() { Duration::MAX } else { UNREPEATABLE_IDLE_MAX };
    let mut pooled = claim.endpoint().pool.take(claim.since(), age_max);
    loop {
        let (connection, sent_at) = match pooled.take() {
            Some(connection) => (connection, claim.since()),
            None => (Box::pin(connect(claim, ex)).await?, clock::mono()),
        };
        match exchange(connection, claim, draft, (ex, sent_at)).await {
            Ok(call) => return judged(call, claim, draft),
            Err(failed) if failed.is_stale(draft) => {}
            Err(failed) => return Err(failed.count(claim)),
        }
    }
}

async fn connect(claim: &Lease, ex: &mut Exchange) -> Result<Connection, Failure> {
    let endpoint = &claim.endpoint().shared;
    let limit = claim.group().shared.plan.timeouts.connect;
    let dialled = pin!(connect::connect(endpoint, &claim.group().shared, &claim.group().counters));
    let fault = match ex.stream.deadline.wait(clock::mono() + limit, dialled).await {
        Ok(Ok(connection)) => {
            ex.record.connect_time = Some(clock::mono().saturating_sub(ex.started.mono));
            return Ok(connection);
        }
        Ok(Err(error)) if connect::is_exhaustion(&error) => {
            return Err(Failure { fault: connect_fault(&error, endpoint), progress: Progress::Nothing });
        }
        Ok(Err(error)) => connect_fault(&error, endpoint),
        Err(_expired) => ProxyError::ConnectTimeout { backend: Arc::clone(&endpoint.label), limit },
    };
    claim.failed(clock::now(), fault.failure_kind(), &fault.cause());
    claim.doubt(&fault.cause());
    Err(Failure { fault, progress: Progress::Nothing })
}

/// Why no connection could be opened to an endpoint: `Exhausted` where it is this machine that lacks something.
pub(super) fn connect_fault(error: &io::Error, endpoint: &Endpoint) -> ProxyError {
    let (backend, reason) = (Arc::clone(&endpoint.label), Arc::from(error.to_string()));
    if connect::is_exhaustion(error) {
        ProxyError::Exhausted { backend, reason }
    } else {
        ProxyError::Connect { backend, reason }
    }
}

/// What the head of a response to this method must obey.
pub(super) fn head_rules(fields_max: usize, method: &Method) -> HeadRules {
    HeadRules { limits: HeadLimits::new(HEAD_BYTES_CAP, 0, fields_max), to_head: *method == Method::HEAD }
}

/// A request that went out on a connection and got no response head.
struct Failed {
    fault: ProxyError,
    progress: Progress,
    /// The connection had carried a request before, and ended without a byte of answer.
    on_reused: bool,
}

impl Failed {
    /// Whether the connection was just closed under us, and the request may go out again as if nothing had happened.
    fn is_stale(&self, draft: &UpstreamRequest) -> bool {
        self.on_reused && policy::retry::may_repeat(&draft.method, self.progress, draft.replay())
    }

    /// Counts it against the backend, if it is the backend's fault.
    fn count(self, claim: &Lease) -> Failure {
        if self.fault.may_retry() {
            claim.failed(clock::now(), self.fault.failure_kind(), &self.fault.cause());
        }
        Failure { fault: self.fault, progress: self.progress }
    }
}

async fn exchange(
    connection: Connection,
    claim: &Lease,
    draft: &UpstreamRequest,
    (ex, sent_at): (&mut Exchange, Duration),
) -> Result<Box<Call>, Failed> {
    ex.record.sends += 1;
    let source = draft.source.as_deref();
    let plan = &claim.group().shared.plan;
    let mut call = draft.send(connection, claim, sent_at);
    let rules = head_rules(plan.response_fields_max, &draft.method);
    let (interim, passes) = (&ex.stream.interim, ex.head.version == Version::HTTP_11);
    interim.begin();
    let pass_on = |status: StatusCode, fields: Fields| {
        if status != StatusCode::CONTINUE && passes {
            interim.push(&head::interim(status, fields));
        } else {
            interim.count();
        }
        if let Some(source) = source.filter(|_| status == StatusCode::CONTINUE) {
            source.release();
        }
        !interim.has_overflowed()
    };
    let head_max = plan.timeouts.response_head;
    let first = source.map_or(head_max, |source| source.first_wait(head_max));
    let polled = pin!(poll_fn(|cx| call.poll_head(cx, &rules, pass_on)));
    let extend = || source.and_then(|source| source.extend(head_max));
    match ex.stream.deadline.wait_while(sent_at + first, polled, extend).await {
        Ok(Ok(())) => {
            let now = clock::mono();
            ex.record.header_time = Some(now.saturating_sub(ex.started.mono));
            claim.answered(now.saturating_sub(sent_at), now);
            Ok(call)
        }
        Ok(Err(error)) => Err(failed(&error, &call, claim, source)),
        Err(_expired) => {
            let backend = Arc::clone(&claim.endpoint().shared.label);
            let slow = source.and_then(ReplayBody::fault);
            let fault = slow.unwrap_or(ProxyError::HeadTimeout { backend, limit: head_max });
            Err(Failed { fault, progress: Progress::Sent, on_reused: false })
        }
    }
}

fn failed(error: &Error, call: &Call, claim: &Lease, source: Option<&ReplayBody>) -> Failed {
    if let Some(fault) = source.and_then(ReplayBody::fault) {
        return Failed { fault, progress: Progress::Sent, on_reused: false };
    }
    let progress = match (call.has_received(), call.has_sent()) {
        (true, _) => Progress::Answered,
        (false, true) => Progress::Sent,
        (false, false) => Progress::Nothing,
    };
    let fault = call_fault(error, &claim.endpoint().shared, claim.group().shared.plan.response_fields_max);
    Failed { fault, progress, on_reused: call.is_on_reused() && !call.has_received() }
}

/// Why a call to an endpoint got no response head.
pub(super) fn call_fault(error: &Error, endpoint: &Endpoint, fields_max: usize) -> ProxyError {
    let backend = Arc::clone(&endpoint.label);
    match error {
        Error::Closed => ProxyError::Reset { backend },
        Error::Request(fault) => fault.clone(),
        Error::Malformed(http1::Error::TooManyFields) => ProxyError::BadAnswer {
            backend,
            reason: format!("over upstream.response_fields_max = {fields_max} fields").into(),
        },
        Error::Malformed(_) | Error::Unholdable | Error::InterimStorm | Error::EarlySwitch => {
            ProxyError::BadAnswer { backend, reason: error.to_string().into() }
        }
    }
}

/// Judges a response head before anything of it is used.
fn judged(call: Box<Call>, claim: &Lease, draft: &UpstreamRequest) -> Result<Box<Call>, Failure> {
    let head = call.head();
    if head.status == StatusCode::SWITCHING_PROTOCOLS && !upgrade::was_asked_for(&head.fields, &draft.switches) {
        let reason = Arc::from("it switches to a protocol that nobody asked for");
        let fault = ProxyError::BadAnswer { backend: Arc::clone(&claim.endpoint().shared.label), reason };
        claim.failed(clock::now(), fault.failure_kind(), &fault.cause());
        return Err(Failure { fault, progress: Progress::Answered });
    }
    Ok(call)
}
