//! One try: gets a connection to the claimed backend, sends the request, waits for the response head.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use message::Fields;
use policy::message::response::{self, Framing, Settled};
use policy::message::upgrade;
use policy::retry::{Progress, Replay};
use tokio::sync::oneshot;

use super::dial;
use super::pick::Claim;
use super::pool::Connection;
use super::upload::{Source, Upload};
use crate::config::plan::HostHeader;
use crate::exchange::Exchange;
use crate::exchange::fault::Fault;
use crate::exchange::interim::Interim;
use crate::exchange::tunnel::End;
use crate::observe::clock;

/// A request that may not be repeated gets no pooled connection that has waited longer than this: the backend may be
/// about to close it.
const UNREPEATABLE_IDLE_MAX: Duration = Duration::from_secs(2);

/// A request as it goes to a backend, whichever that is.
#[derive(Debug)]
pub struct Draft {
    /// The method.
    pub method: Method,
    /// The target, in origin form.
    pub target: Uri,
    /// The header fields, cleaned.
    pub headers: Fields,
    /// The body; `None`: there is none.
    pub source: Option<Rc<Source>>,
    /// The protocols that the client would switch to, if any.
    pub switches: Option<HeaderValue>,
}

impl Draft {
    /// What of the body can be sent again.
    #[must_use]
    pub fn replay(&self) -> Replay {
        self.source.as_ref().map_or(Replay::Empty, |source| source.replay())
    }

    fn request(&self, claim: &Claim) -> Request<Upload> {
        let body = match &self.source {
            Some(source) => source.upload(),
            None => Upload::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        // A copy: whatever becomes of this try, the request may go out once more, if only on a fresh connection.
        *request.headers_mut() = self.headers.clone().into_map();
        if claim.group().shared.plan.host == HostHeader::Backend {
            request.headers_mut().insert(header::HOST, claim.endpoint().shared.authority.clone());
        }
        request
    }
}

/// A response head, and what its body comes from.
pub struct Received {
    /// The head, and the body as it will come.
    pub response: Response<Incoming>,
    /// The connection it comes from.
    pub connection: Connection,
    /// The place the request holds.
    pub claim: Claim,
    /// Where the stream comes out if the backend switches protocols.
    pub switched: Option<oneshot::Receiver<End>>,
    /// Whether its framing leaves no doubt where the next response begins.
    pub is_reusable: bool,
}

/// A try that failed.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub fault: Fault,
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
pub async fn attempt(claim: Claim, draft: &Draft, ex: &mut Exchange) -> Result<Received, Failure> {
    let repeatable = draft.method.is_idempotent();
    let age_max = if repeatable { Duration::MAX } else { UNREPEATABLE_IDLE_MAX };
    if let Some(connection) = claim.endpoint().pool.take(claim.since(), age_max) {
        match exchange(connection, &claim, draft, (ex, claim.since())).await {
            Ok(exchanged) => return received(exchanged, claim, draft),
            Err(failed) if failed.is_stale(draft) => {}
            Err(failed) => return Err(failed.count(&claim)),
        }
    }
    let connection = Box::pin(connect(&claim, ex)).await?;
    match exchange(connection, &claim, draft, (ex, clock::mono())).await {
        Ok(exchanged) => received(exchanged, claim, draft),
        Err(failed) => Err(failed.count(&claim)),
    }
}

async fn connect(claim: &Claim, ex: &mut Exchange) -> Result<Connection, Failure> {
    let endpoint = &claim.endpoint().shared;
    let limit = claim.group().shared.plan.timeouts.connect;
    let dialled = pin!(dial::connect(endpoint, &claim.group().counters));
    let fault = match ex.connection.deadline.wait(clock::mono() + limit, dialled).await {
        Ok(Ok(connection)) => {
            ex.record.connect_time = Some(clock::mono().saturating_sub(ex.started.mono));
            return Ok(connection);
        }
        Ok(Err(error)) if dial::is_exhaustion(&error) => {
            let fault = Fault::Exhausted { backend: Arc::clone(&endpoint.label), reason: Arc::from(error.to_string()) };
            return Err(Failure { fault, progress: Progress::Nothing });
        }
        Ok(Err(error)) => Fault::Connect { backend: Arc::clone(&endpoint.label), reason: Arc::from(error.to_string()) },
        Err(_expired) => Fault::ConnectTimeout { backend: Arc::clone(&endpoint.label), limit },
    };
    claim.failed(clock::now(), &fault.cause());
    claim.doubt(&fault.cause());
    Err(Failure { fault, progress: Progress::Nothing })
}

type Exchanged = (Response<Incoming>, Connection, Option<oneshot::Receiver<End>>);

/// A request that went out on a connection and got no response head.
struct Failed {
    fault: Fault,
    progress: Progress,
    /// The connection had carried a request before, and ended without a byte of answer.
    on_reused: bool,
}

impl Failed {
    /// Whether the connection was just closed under us, and the request may go out again as if nothing had happened.
    fn is_stale(&self, draft: &Draft) -> bool {
        self.on_reused && policy::retry::may_repeat(&draft.method, self.progress, draft.replay())
    }

    /// Counts it against the backend, if it is the backend's fault.
    fn count(self, claim: &Claim) -> Failure {
        if self.fault.may_retry() {
            claim.failed(clock::now(), &self.fault.cause());
        }
        Failure { fault: self.fault, progress: self.progress }
    }
}

async fn exchange(
    mut connection: Connection,
    claim: &Claim,
    draft: &Draft,
    (ex, sent_at): (&mut Exchange, Duration),
) -> Result<Exchanged, Failed> {
    let request = draft.request(claim);
    ex.record.sends += 1;
    let source = draft.source.clone();
    let link = Rc::clone(&connection.link);
    let listening = link.ear.listen(&ex.connection, ex.head.version == Version::HTTP_11);
    let switched = draft.switches.is_some().then(|| {
        let (sender, receiver) = oneshot::channel();
        *connection.link.switched.borrow_mut() = Some(sender);
        receiver
    });
    let head_max = claim.group().shared.plan.timeouts.response_head;
    let first = source.as_ref().map_or(head_max, |source| source.first_wait(head_max));
    let sending = pin!(connection.sender.try_send_request(request));
    let watched = pin!(watch(sending, &ex.connection.interim, source.as_deref()));
    let extend = || source.as_ref().and_then(|source| source.extend(head_max));
    let waited = ex.connection.deadline.wait_while(sent_at + first, watched, extend).await;
    drop(listening);
    match waited {
        Ok(Ok(response)) => {
            let now = clock::mono();
            ex.record.header_time = Some(now.saturating_sub(ex.started.mono));
            claim.answered(now.saturating_sub(sent_at), now);
            Ok((response, connection, switched))
        }
        Ok(Err(error)) => Err(failed(error, &connection, claim, source.as_deref())),
        Err(_expired) => {
            let slow = source.as_ref().and_then(|source| source.fault());
            let backend = Arc::clone(&claim.endpoint().shared.label);
            let fault = slow.unwrap_or(Fault::HeadTimeout { backend, limit: head_max });
            Err(Failed { fault, progress: Progress::Sent, on_reused: false })
        }
    }
}

/// What a try can end with before a response head.
enum Broken {
    Hyper(Box<TrySendError<Request<Upload>>>),
    /// More 1xx responses than anyone needs.
    Storm,
}

/// Waits for the response head, and meanwhile passes on what the backend says of the request's body.
fn watch<'a>(
    mut sending: Pin<&'a mut impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Upload>>>>>,
    interim: &'a Interim,
    source: Option<&'a Source>,
) -> impl Future<Output = Result<Response<Incoming>, Broken>> + 'a {
    poll_fn(move |cx| {
        if let Poll::Ready(done) = sending.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(|error| Broken::Hyper(Box::new(error))));
        }
        interim.attach_if_alone(cx.waker());
        if interim.has_overflowed() {
            return Poll::Ready(Err(Broken::Storm));
        }
        if let Some(source) = source.filter(|source| source.is_held() && interim.is_continued()) {
            source.release();
        }
        Poll::Pending
    })
}

fn failed(broken: Broken, connection: &Connection, claim: &Claim, source: Option<&Source>) -> Failed {
    let backend = Arc::clone(&claim.endpoint().shared.label);
    let error = match broken {
        Broken::Hyper(error) => *error,
        Broken::Storm => {
            let fault = Fault::BadAnswer { backend, reason: Arc::from("too many 1xx responses") };
            return Failed { fault, progress: Progress::Answered, on_reused: false };
        }
    };
    if let Some(fault) = source.and_then(Source::fault) {
        return Failed { fault, progress: Progress::Sent, on_reused: false };
    }
    let untouched = error.message().is_some();
    let error = error.into_error();
    if error.is_parse() {
        let fault = Fault::BadAnswer { backend, reason: Arc::from(error.to_string()) };
        return Failed { fault, progress: Progress::Answered, on_reused: false };
    }
    let progress = if untouched { Progress::Nothing } else { Progress::Sent };
    Failed { fault: Fault::Reset { backend }, progress, on_reused: connection.reused }
}

/// Judges a response head before anything of it is used.
fn received((mut response, connection, switched): Exchanged, claim: Claim, draft: &Draft) -> Result<Received, Failure> {
    let status = response.status();
    let mut fields = Fields::from(std::mem::take(response.headers_mut()));
    let reason: Arc<str> = match response::settle(status, &fields) {
        Ok(_) if status == StatusCode::SWITCHING_PROTOCOLS && !upgrade::was_asked_for(&fields, &draft.switches) => {
            Arc::from("it switches to a protocol that nobody asked for")
        }
        Ok(Settled { framing, length }) => {
            fields.apply_all(length);
            *response.headers_mut() = fields.into_map();
            let is_reusable = framing == Framing::Sound;
            return Ok(Received { response, connection, claim, switched, is_reusable });
        }
        Err(bad) => Arc::from(bad.to_string()),
    };
    let fault = Fault::BadAnswer { backend: Arc::clone(&claim.endpoint().shared.label), reason };
    claim.failed(clock::now(), &fault.cause());
    Err(Failure { fault, progress: Progress::Answered })
}
